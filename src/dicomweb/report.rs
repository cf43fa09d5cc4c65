//! Structured reports as text for a person to read (PS3.3 C.17.3, PS3.18 8.7.4): a tree of what was found, each with its
//! name and its value.
//!
//! The report of a data set is a list of lines, each as deep as its content item lies; [`Report::to_text`] and
//! [`Report::to_html`] write it. Nothing of an object becomes part of a page but as text: the template engine escapes it.

mod evidence;
mod header;
mod item;
mod page;
mod value;

use crate::dicom::dataset::DataSet;
use crate::dicom::{Uid, tags};

use self::evidence::Evidence;

pub use self::page::policy;

/// Most content items of a report that are written. The largest ones, of computer-aided detection and of dose, have some
/// ten thousand.
pub const MAX_ITEMS: usize = 50_000;

/// The root of the SOP classes of structured reports (PS3.4 B.5, PS3.6 Annex A).
const CLASSES: &str = "1.2.840.10008.5.1.4.1.1.88.";

/// A structured report, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it is a report of: the name of the root content item, or of the SOP class.
    pub title: String,
    /// Whose it is, and who vouches for it: what each is, and in words.
    pub header: Vec<(&'static str, String)>,
    /// The content items below the root, in the order of the report.
    pub content: Vec<Line>,
    /// Whether there are more than [`MAX_ITEMS`], which are left out.
    pub is_cut: bool,
}

/// A content item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How many others it lies within, from 0.
    pub depth: usize,
    /// Where it stands: `1.2.1`, as other items refer to it (PS3.3 C.17.3.2.5).
    pub place: String,
    /// Its relationship to the one it lies within; empty for the usual one, that it is contained.
    pub relationship: &'static str,
    /// Its concept name; empty where it has none.
    pub name: String,
    /// Its value, in parts; none of a container.
    pub value: Vec<Part>,
    /// Whether it is a heading for what lies within it.
    pub is_container: bool,
}

/// A part of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// Text, perhaps of several lines.
    Text(String),
    /// The name of another object, and the URL where this bridge shows it.
    Link {
        /// What it is called.
        text: String,
        /// Where it is.
        url: String,
    },
}

/// Whether objects of this SOP class are structured reports.
pub fn is_report(sop_class: &Uid) -> bool {
    sop_class.as_str().starts_with(CLASSES)
}

impl Report {
    /// The report of this data set. Links lead below `service_url`.
    pub fn read(data_set: &DataSet, service_url: &str) -> Self {
        let evidence = Evidence::read(data_set, service_url);
        let name = value::concept(data_set.items(tags::CONCEPT_NAME_CODE_SEQUENCE));
        let title = Some(name).filter(|name| !name.is_empty()).unwrap_or_else(|| header::class(data_set));
        let (content, is_cut) = item::lines(data_set, &evidence);
        Self { title, header: header::read(data_set, &evidence), content, is_cut }
    }
}

#[cfg(test)]
mod tests;
