//! Application Entity titles (PS3.5 6.2, VR AE; PS3.8 9.3.2).

use std::fmt;
use std::str::FromStr;

/// An AE title: 1 to 16 characters of the default repertoire without backslash and control characters.
///
/// Spaces at both ends mean nothing and are dropped (PS3.5 6.2); case counts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AeTitle(Box<str>);

/// The text is not an AE title (PS3.5 6.2).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an AE title: 1 to 16 printable ASCII characters without backslash, not only spaces (PS3.5 6.2)")]
pub struct InvalidAeTitle;

impl AeTitle {
    /// Longest title, in characters; the field of the association PDUs has this size (PS3.8 9.3.2).
    pub const MAX_LENGTH: usize = 16;

    /// The title without padding.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The title as the value of an element of VR AE or a command set field, padded to even length.
    pub fn to_padded(&self) -> Vec<u8> {
        let mut bytes = self.0.as_bytes().to_vec();
        if bytes.len() % 2 == 1 {
            bytes.push(b' ');
        }
        bytes
    }
}

impl FromStr for AeTitle {
    type Err = InvalidAeTitle;

    fn from_str(text: &str) -> Result<Self, InvalidAeTitle> {
        let title = text.trim_matches([' ', '\0']);
        let well_formed = (1..=Self::MAX_LENGTH).contains(&title.len())
            && title.bytes().all(|b| (0x20..0x7F).contains(&b) && b != b'\\');
        if well_formed { Ok(Self(title.into())) } else { Err(InvalidAeTitle) }
    }
}

impl fmt::Display for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for AeTitle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for AeTitle {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_padding_and_refuses_what_would_break_a_header_or_a_log_line() {
        assert_eq!(" PACS 1 ".parse::<AeTitle>().unwrap().as_str(), "PACS 1");
        for bad in ["", "                ", "A\\B", "A\r\nB", "SEVENTEEN_LETTERS", "Ä"] {
            assert_eq!(bad.parse::<AeTitle>(), Err(InvalidAeTitle), "{bad:?}");
        }
    }
}
