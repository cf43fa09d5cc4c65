//! What a person at a terminal sees: colours where they are wanted, lines that fit, and nothing from the wire that the
//! terminal would take for a command.

pub(super) mod progress;
mod table;
mod text;

pub(super) use table::Table;
pub(super) use text::{harmless, wrapped};

use console::Term;

/// Width of what is printed where there is no terminal that has one.
const PLAIN_WIDTH: usize = 100;
/// Narrower ones are taken for this wide.
const LEAST_WIDTH: usize = 40;
/// Longer lines are hard to read.
const MOST_WIDTH: usize = 160;

/// How wide the standard output is, in columns.
pub(super) fn width() -> usize {
    let term = Term::stdout();
    let told = term.size_checked().map(|(_, columns)| usize::from(columns));
    told.unwrap_or(PLAIN_WIDTH).clamp(LEAST_WIDTH, MOST_WIDTH)
}

/// Whether a person sees the standard output.
pub(super) fn is_terminal() -> bool {
    Term::stdout().is_term()
}
