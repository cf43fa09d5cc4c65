//! Where a value stands in an object, as metadata write it into a URL: `7FE00010`, `54000100/1/54001010`.

use std::fmt;
use std::str::FromStr;

use crate::dicom::Tag;
use crate::dicom::scan::MAX_DEPTH;

/// The place of a value: the sequences around it, each with the number of its item from 1, and its tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BulkPath {
    sequences: Vec<(Tag, u32)>,
    tag: Tag,
}

/// The text is no place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a value is named by its tag, as 7FE00010, behind the sequences around it and their items, as 54000100/1/54001010"
)]
pub struct BadPath;

impl BulkPath {
    pub(super) fn new(sequences: Vec<(Tag, u32)>, tag: Tag) -> Self {
        Self { sequences, tag }
    }

    /// The tag of the value itself.
    pub fn tag(&self) -> Tag {
        self.tag
    }

    /// Whether the value stands in the data set itself, and in no sequence.
    pub fn is_at_top(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Whether this is the place of the element with this tag in these sequences.
    pub(super) fn is(&self, sequences: &[(Tag, u32)], tag: Tag) -> bool {
        self.tag == tag && self.sequences == sequences
    }
}

impl FromStr for BulkPath {
    type Err = BadPath;

    fn from_str(text: &str) -> Result<Self, BadPath> {
        let mut sequences = Vec::new();
        let mut rest = text;
        loop {
            let (tag, behind) = rest.split_once('/').unwrap_or((rest, ""));
            let digits = tag.len() == 8 && tag.bytes().all(|b| b.is_ascii_hexdigit());
            let number = u32::from_str_radix(tag, 16).ok().filter(|_| digits).ok_or(BadPath)?;
            let tag = Tag((number >> 16) as u16, (number & 0xFFFF) as u16);
            if behind.is_empty() {
                return if rest.ends_with('/') { Err(BadPath) } else { Ok(Self { sequences, tag }) };
            }
            let (item, behind) = behind.split_once('/').ok_or(BadPath)?;
            let digits = item.bytes().all(|b| b.is_ascii_digit());
            let item = item.parse().ok().filter(|&item: &u32| digits && item > 0).ok_or(BadPath)?;
            if sequences.len() == MAX_DEPTH {
                return Err(BadPath);
            }
            sequences.push((tag, item));
            rest = behind;
        }
    }
}

impl fmt::Display for BulkPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (Tag(group, element), item) in &self.sequences {
            write!(f, "{group:04X}{element:04X}/{item}/")?;
        }
        let Tag(group, element) = self.tag;
        write!(f, "{group:04X}{element:04X}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_reads_as_it_is_written() {
        for text in ["7FE00010", "54000100/1/54001010", "54000100/12/54001010/3/00091010"] {
            assert_eq!(text.parse::<BulkPath>().unwrap().to_string(), text);
        }
        assert_eq!("7fe00010".parse::<BulkPath>().unwrap().to_string(), "7FE00010");
        let deep = "00080001/1/".repeat(MAX_DEPTH + 1) + "00080001";
        for bad in [
            "",
            "/",
            "7FE00010/",
            "7FE0001",
            "7FE000100",
            "PixelData",
            "54000100/0/54001010",
            "54000100/1",
            "54000100/1/",
            "54000100/x/54001010",
            "54000100//54001010",
            "+7FE0001",
            deep.as_str(),
        ] {
            assert_eq!(bad.parse::<BulkPath>(), Err(BadPath), "{bad}");
        }
        assert!(deep[11..].parse::<BulkPath>().is_ok());
    }
}
