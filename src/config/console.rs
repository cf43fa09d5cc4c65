//! `[console]`: the operators' pages.

use super::section::Section;

/// Reads `[console]`: whether there is one.
pub(super) fn read(mut section: Section<'_>) -> bool {
    let enabled = section.flag("enabled");
    section.finish();
    enabled.unwrap_or(true)
}
