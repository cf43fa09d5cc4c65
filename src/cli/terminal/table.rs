//! A table that fits the terminal: columns as wide as they need, the widest cut where there is no room.

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
        let mut widths: Vec<usize> = self.head.iter().map(|cell| measure_text_width(cell)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(measure_text_width(cell));
            }
        }
        if let Some(width) = width {
            narrow(&mut widths, width);
        }
        let mut text = String::new();
        let head = self.line(&self.head, &widths);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", style(head.trim_end()).bold());
        for row in &self.rows {
            let _ = writeln!(text, "{}", self.line(row, &widths).trim_end());
        }
        text
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let cells = cells.iter().zip(widths);
        let padded = cells.map(|(cell, width)| pad_str(cell, *width, Alignment::Left, Some("…")));
        padded.map(|cell| cell.into_owned()).collect::<Vec<_>>().join(GAP)
    }
}

/// Takes from the widest columns until the table is no wider than `most`, or none can give more.
fn narrow(widths: &mut [usize], most: usize) {
    let gaps = GAP.len() * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > most {
        let Some(widest) = widths.iter_mut().max() else { return };
        if *widest <= LEAST {
            return;
        }
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
    fn a_narrow_terminal_cuts_the_widest_column() {
        console::set_colors_enabled(false);
        let text = table().text(Some(20));
        assert!(text.lines().all(|line| measure_text_width(line) <= 20), "{text}");
        assert!(text.contains("Müller^Jü…  20260102"), "{text}");
    }

    #[test]
    fn hazard_a_name_with_an_escape_sequence_does_not_reach_the_terminal() {
        let mut table = Table::new(["Name"]);
        table.row(["\u{1b}]0;owned\u{7}".to_owned()]);
        let text = table.text(None);
        assert!(!text.contains("\u{1b}]") && !text.contains('\u{7}'), "{text:?}");
    }
}
