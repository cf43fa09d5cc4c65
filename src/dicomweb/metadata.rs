//! Data sets as web clients describe them, in DICOM JSON (PS3.18 Annex F) or Native XML (PS3.19 Annex A.1).
//!
//! Both forms are read into [`Metadata`]: what was said in place, and where bulk data belongs that comes beside
//! it. What can be understood is kept: one bad element is left out and is one warning. Only a document whose
//! structure cannot be followed is an error. Neither reader recurses.

use std::cmp::Ordering;
use std::fmt;

use crate::dicom::dataset::DataSet;
use crate::dicom::{Tag, VR};

mod builder;
mod json;
mod value;
mod xml;

pub use json::read_json;
pub use xml::read_xml;

/// Longest document, in bytes, that is read into memory: room for the metadata of some thousand instances, or
/// for the contours of a large structure set. What is larger belongs into bulk data.
pub const MAX_DOCUMENT: usize = 64 << 20;
/// Most elements of a document, those in items included. Each costs some hundred bytes in memory however short
/// its text is; enhanced multi-frame objects have some dozens a frame.
pub const MAX_ELEMENTS: usize = 500_000;
/// Most values of a document, over all its elements: some 50 bytes each in memory, three in the text.
pub const MAX_VALUES: usize = 2_000_000;
/// Most warnings that are kept of a data set. What more there were is not told.
pub const MAX_WARNINGS: usize = 1000;

/// A data set as a client describes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// What could be understood, in Unicode, without group 0002. An element whose value is bulk data is there
    /// without a value. Specific Character Set (0008,0005), where there is one or text beyond ASCII, says
    /// ISO_IR 192, as JSON and XML are in UTF-8 whatever it said (PS3.18 F.2.2).
    pub data_set: DataSet,
    /// File Meta elements (group 0002), which have no place in a data set and which some clients send all the
    /// same.
    pub file_meta: DataSet,
    /// The elements whose value comes as bulk data, in the order in which the data set holds them.
    pub bulk: Vec<BulkReference>,
    /// What could not be understood, at most [`MAX_WARNINGS`].
    pub warnings: Vec<Warning>,
}

/// An element whose value comes in a part of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkReference {
    /// The element.
    pub path: ElementPath,
    /// Its value representation.
    pub vr: VR,
    /// The BulkDataURI as it was written, or the UUID of Native XML.
    pub uri: String,
}

/// Where an element stands: the items around it, then its tag.
///
/// Ordered as the elements are in the data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ElementPath {
    /// The sequences around the element, outermost first, each with the number of the item, from 0.
    pub within: Vec<(Tag, usize)>,
    /// The element's tag.
    pub tag: Tag,
}

impl Ord for ElementPath {
    fn cmp(&self, other: &Self) -> Ordering {
        let steps = |path: &Self| path.within.clone().into_iter().chain([(path.tag, 0)]);
        steps(self).cmp(steps(other))
    }
}

impl PartialOrd for ElementPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for ElementPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (tag, item) in &self.within {
            write!(f, "{tag}[{item}].")?;
        }
        write!(f, "{}", self.tag)
    }
}

/// Something that was wrong with one element. Names no value: it may be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The element; `None` where what should name one does not.
    pub path: Option<ElementPath>,
    /// What is wrong.
    pub kind: WarningKind,
}

/// What is wrong with an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarningKind {
    /// Neither eight hexadecimal digits nor a keyword of the data dictionary; left out.
    UnknownAttribute,
    /// No attribute of a data set: a command element, an item, File Meta within an item; left out.
    Misplaced,
    /// It was there before; the first one is kept.
    Duplicate,
    /// A value representation that the standard does not have. That of the dictionary was taken.
    UnknownVr,
    /// A private or unknown element whose values nobody can encode, as no value representation is given;
    /// left out.
    NoVr,
    /// A value of a kind that the value representation does not have; left out.
    WrongKind,
    /// A number that is none, or that is beyond the value representation's range; left out.
    BadNumber,
    /// Inline binary data that is not base64, or text in it that is not UTF-8; left out.
    BadInlineBinary,
    /// Not a whole number of words; what is left over was dropped.
    BrokenWord,
    /// Several of a value, inline binary data and a bulk data URI; the first of these is kept.
    Ambiguous,
    /// Half of a surrogate pair, which is no character; U+FFFD stands for it.
    BrokenText,
}

impl WarningKind {
    /// Whether the archive gets less than was sent: an element is missing, or is not all there.
    pub fn discards(self) -> bool {
        !matches!(self, Self::UnknownVr | Self::Ambiguous | Self::BrokenText)
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            WarningKind::UnknownAttribute => "is no tag and no keyword and was left out",
            WarningKind::Misplaced => "has no place in a data set and was left out",
            WarningKind::Duplicate => "comes twice; the first one was kept",
            WarningKind::UnknownVr => "has an unknown value representation; that of the dictionary was taken",
            WarningKind::NoVr => "has no value representation and was left out",
            WarningKind::WrongKind => "has a value that its value representation has not and was left out",
            WarningKind::BadNumber => "is not a number of its value representation and was left out",
            WarningKind::BadInlineBinary => "has unreadable inline binary data and was left out",
            WarningKind::BrokenWord => "is no whole number of words; the rest was dropped",
            WarningKind::Ambiguous => "has more than one of a value, inline binary data and a bulk data URI",
            WarningKind::BrokenText => "has text with half a character",
        };
        match &self.path {
            Some(path) => write!(f, "{path} {what}"),
            None => write!(f, "the name of an attribute {what}"),
        }
    }
}

/// The document cannot be followed: the client's fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[error("{kind}, at byte {offset}")]
pub struct ReadError {
    /// Where, in bytes from the beginning of the document.
    pub offset: usize,
    /// What is wrong.
    pub kind: ReadErrorKind,
}

/// What is wrong with a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum ReadErrorKind {
    /// Not JSON (RFC 8259).
    #[error("not well-formed JSON")]
    Json,
    /// Not XML, or XML with what has no place here: a document type, an entity of its own.
    #[error("not well-formed XML, or with a document type or entities of its own")]
    Xml,
    /// JSON or XML, but not of data sets.
    #[error("not a data set in the DICOM JSON Model or the Native DICOM Model")]
    Model,
    /// Not in UTF-8.
    #[error("not in UTF-8")]
    NotUtf8,
    /// It ends before its end.
    #[error("the document breaks off")]
    Truncated,
    /// Longer than [`MAX_DOCUMENT`].
    #[error("the document is longer than {MAX_DOCUMENT} bytes; large values belong into bulk data")]
    TooLong,
    /// Nested deeper than data sets are read, see [`MAX_DEPTH`](crate::dicom::scan::MAX_DEPTH).
    #[error("nested too deep")]
    TooDeep,
    /// More than [`MAX_ELEMENTS`].
    #[error("more than {MAX_ELEMENTS} elements")]
    TooManyElements,
    /// More than [`MAX_VALUES`].
    #[error("more than {MAX_VALUES} values; large values belong into bulk data")]
    TooManyValues,
}

/// The document as text, without the byte order mark that some writers put in front.
fn text_of(document: &[u8]) -> Result<&str, ReadError> {
    if document.len() > MAX_DOCUMENT {
        return Err(ReadError { offset: MAX_DOCUMENT, kind: ReadErrorKind::TooLong });
    }
    let text = std::str::from_utf8(document)
        .map_err(|e| ReadError { offset: e.valid_up_to(), kind: ReadErrorKind::NotUtf8 })?;
    Ok(text.strip_prefix('\u{FEFF}').unwrap_or(text))
}

#[cfg(test)]
mod round_trip_tests;
