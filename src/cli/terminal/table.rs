//! A table that fits the terminal: columns as wide as they need; where there is no room, the last one below the others and
//! the widest of these cut.

use std::fmt::Write as _;

use console::{Alignment, measure_text_width, pad_str, style};

use super::text::harmless;

/// Between two columns.
const GAP: &str = "  ";
/// No column is cut to less than this.
const LEAST: usize = 6;

/// Rows under one head.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns.
    pub(in crate::cli) fn new(head: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row; its text may have come from anywhere.
    pub(in crate::cli) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().map(|cell| harmless(&cell)).collect());
    }

    /// The table in this width; `None`: as wide as it needs, for what reads it line by line.
    pub(in crate::cli) fn text(&self, width: Option<usize>) -> String {
        let of_head: Vec<usize> = self.head.iter().map(|cell| measure_text_width(cell)).collect();
        let mut of_cells = vec![0; self.head.len()];
        for row in &self.rows {
            for (width, cell) in of_cells.iter_mut().zip(row) {
                *width = (*width).max(measure_text_width(cell));
            }
        }
        let mut widths: Vec<usize> =
            of_head.iter().zip(&of_cells).map(|(head, cells)| *head.max(cells)).collect();
        let mut is_below = false;
        if let Some(most) = width
            && total(&widths) > most
            && widths.len() > 1
        {
            // What tells a row from the others is no use by half.
            is_below = true;
            widths.pop();
            of_cells.pop();
            // A title is cut before what stands below it.
            narrow(&mut widths, &of_cells, most);
            narrow(&mut widths, &[], most);
        }
        let mut text = String::new();
        for (row, cells) in std::iter::once(&self.head).chain(&self.rows).enumerate() {
            let mut line = line(cells, &widths);
            if let Some(last) = cells.last().filter(|_| is_below) {
                line = format!("{}\n{GAP}{last}", line.trim_end());
            }
            let line = line.trim_end();
            // Writing to a string cannot fail.
            let _ = match row {
                0 => writeln!(text, "{}", style(line).bold()),
                _ => writeln!(text, "{line}"),
            };
        }
        text
    }
}

/// The cells that have a width.
fn line(cells: &[String], widths: &[usize]) -> String {
    let cells = cells.iter().zip(widths);
    let padded = cells.map(|(cell, width)| pad_str(cell, *width, Alignment::Left, Some("…")));
    padded.map(|cell| cell.into_owned()).collect::<Vec<_>>().join(GAP)
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1)
}

/// Takes from the widest columns until they are no wider than `most` together, or none can give more: none becomes narrower
/// than its `floors` say, and none than [`LEAST`].
fn narrow(widths: &mut [usize], floors: &[usize], most: usize) {
    while total(widths) > most {
        let floor = |n: usize| floors.get(n).copied().unwrap_or_default().max(LEAST);
        let candidates = widths.iter_mut().enumerate().filter(|(n, width)| **width > floor(*n));
        let Some((_, widest)) = candidates.max_by_key(|(_, width)| **width) else { return };
        *widest -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(["Name", "Date"]);
        table.row(["Müller^Jürgen".to_owned(), "20260102".to_owned()]);
        table.row(["山田^太郎".to_owned(), String::new()]);
        table
    }

    #[test]
    fn columns_stand_below_each_other_whatever_the_script() {
        console::set_colors_enabled(false);
        let text = table().text(None);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["Name           Date", "Müller^Jürgen  20260102", "山田^太郎"]);
    }

    #[test]
    fn on_a_narrow_terminal_what_comes_last_stands_below_and_the_widest_column_is_cut() {
        console::set_colors_enabled(false);
        let mut table = Table::new(["NumberOfInstances", "Name", "UID"]);
        table.row(["7".to_owned(), "Müller^Jürgen".to_owned(), "1.2.3.4.5".to_owned()]);
        let text = table.text(Some(24));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines, ["NumberOf…  Name", "  UID", "7          Müller^Jürgen", "  1.2.3.4.5"]);
        let text = table.text(Some(17));
        assert!(text.contains("Number…  Müller^…\n") || text.contains("7       Müller^J…\n"), "{text}");
        assert!(text.contains("\n  1.2.3.4.5\n"), "{text}");
    }

    #[test]
    fn hazard_a_name_with_an_escape_sequence_does_not_reach_the_terminal() {
        let mut table = Table::new(["Name"]);
        table.row(["\u{1b}]0;owned\u{7}".to_owned()]);
        let text = table.text(None);
        assert!(!text.contains("\u{1b}]") && !text.contains('\u{7}'), "{text:?}");
    }
}
