//! A report as plain text, and as a page.

use std::fmt::Write as _;
use std::sync::LazyLock;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use super::{Line, Part, Report};

/// How the page looks. It stands in the page, which loads nothing.
const STYLE: &str = include_str!("report.css");

/// What a browser may do with a page (Content Security Policy): show it, in this style. It runs nothing, loads nothing and
/// sends nothing.
pub fn policy() -> &'static str {
    static POLICY: LazyLock<String> = LazyLock::new(|| {
        let style = STANDARD.encode(digest(&SHA256, STYLE.as_bytes()));
        format!(
            "default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'; sandbox"
        )
    });
    &POLICY
}

impl Report {
    /// The report as plain text, each content item a line at least, indented by two blanks for each that it lies within.
    pub fn to_text(&self) -> String {
        let title = on_one_line(&self.title);
        let mut out = format!("{title}\n{}\n\n", "=".repeat(title.chars().count()));
        for (label, value) in &self.header {
            let _ = writeln!(out, "{label}: {}", on_one_line(value));
        }
        out.push('\n');
        for line in &self.content {
            let indent = "  ".repeat(line.depth);
            let _ = write!(out, "{indent}{}", line.place);
            if !line.relationship.is_empty() {
                let _ = write!(out, " ({})", line.relationship);
            }
            if !line.name.is_empty() {
                let colon = if line.value.is_empty() { "" } else { ":" };
                let _ = write!(out, " {}{colon}", on_one_line(&line.name));
            }
            for part in &line.value {
                match part {
                    Part::Link { text, url } => {
                        let _ = write!(out, " {text} <{url}>");
                    }
                    Part::Text(text) => {
                        let mut lines = text_lines(text).into_iter();
                        let _ = write!(out, " {}", lines.next().unwrap_or_default());
                        lines.for_each(|line| {
                            let _ = write!(out, "\n{indent}    {line}");
                        });
                    }
                }
            }
            out.push('\n');
        }
        if self.is_cut {
            out.push_str("\nThere is more in this report than is shown here.\n");
        }
        out
    }

    /// The report as an HTML page, which stands for itself. `None`: the template engine failed, which it does for no text.
    pub fn to_html(&self) -> Option<String> {
        let rows = self.content.iter().enumerate().map(|(n, line)| {
            let next = self.content.get(n + 1).map_or(0, |next| next.depth);
            Row {
                line,
                opens: n == 0 || line.depth > self.content[n - 1].depth,
                has_more: self.content.get(n + 1).is_some_and(|next| next.depth > line.depth),
                closes: (line.depth + usize::from(n + 1 == self.content.len())).saturating_sub(next),
            }
        });
        Page { report: self, rows: rows.collect(), style: STYLE }.render().ok()
    }
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    report: &'a Report,
    rows: Vec<Row<'a>>,
    style: &'static str,
}

/// A line in nested lists.
struct Row<'a> {
    line: &'a Line,
    /// It is the first of its list.
    opens: bool,
    /// There is a list within it.
    has_more: bool,
    /// How many lists end with it.
    closes: usize,
}

/// The lines of a text, whatever ends them.
fn text_lines(text: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.trim_end_matches('\n').split('\n').map(|line| line.replace(char::is_control, "")).collect()
}

fn on_one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}
