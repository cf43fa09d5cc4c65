//! Unique identifiers (PS3.5 chapter 9).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A DICOM UID: 1 to 64 characters, digits and dots, no empty component.
///
/// Components with leading zeros are accepted: PS3.5 9.1 forbids them, archives hold them all the same, and
/// an object must stay reachable under the name that its archive gave it. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(Arc<str>);

/// The text is not a UID (PS3.5 9.1).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a DICOM UID: 1 to 64 digits and dots, without empty components (PS3.5 9.1)")]
pub struct InvalidUid;

impl Uid {
    /// Longest UID, in characters (PS3.5 9.1).
    pub const MAX_LENGTH: usize = 64;

    /// Parses the value of an element of VR UI, whose padding (NUL, or the space that some senders use) is
    /// dropped.
    pub fn from_padded(bytes: &[u8]) -> Result<Self, InvalidUid> {
        let text = std::str::from_utf8(bytes).map_err(|_| InvalidUid)?;
        text.trim_matches(['\0', ' ']).parse()
    }

    /// A UID that is a constant of this program; the caller vouches for its form.
    pub fn from_static(text: &'static str) -> Self {
        debug_assert!(text.parse::<Self>().is_ok(), "a malformed UID constant: {text}");
        Self(text.into())
    }

    /// The UID without padding.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Uid {
    type Err = InvalidUid;

    fn from_str(text: &str) -> Result<Self, InvalidUid> {
        let well_formed = (1..=Self::MAX_LENGTH).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
            && text.split('.').all(|component| !component.is_empty());
        if well_formed { Ok(Self(text.into())) } else { Err(InvalidUid) }
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for Uid {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_archives_hold_and_nothing_else() {
        for good in ["1", "1.2.840.10008.1.1", "2.25.0123", "1.02.3"] {
            assert_eq!(good.parse::<Uid>().unwrap().as_str(), good);
        }
        let long = "1".repeat(65);
        for bad in ["", ".", "1.", ".1", "1..2", "1.2a", "1.2 ", "1/2", "..", long.as_str(), "１.2"] {
            assert_eq!(bad.parse::<Uid>(), Err(InvalidUid), "{bad}");
        }
        assert_eq!(Uid::from_padded(b"1.2.3\0").unwrap().as_str(), "1.2.3");
        assert_eq!(Uid::from_padded(b"1.2.3 ").unwrap().as_str(), "1.2.3");
    }
}
