//! Character sets: the bytes of text values to Unicode and back (PS3.3 C.12.1.1.2, PS3.5 6.1).
//!
//! A [`Charset`] is what Specific Character Set (0008,0005) says. Most name one set for the whole value; those
//! with code extensions switch sets within a value by escape sequences (ISO/IEC 2022), in `iso2022`.
//! Decoding never fails: what has no meaning becomes U+FFFD, and the caller is told.

mod iso2022;
mod sets;

use std::fmt;
use std::str::FromStr;

use encoding_rs::{Encoding, GB18030, GBK, UTF_8};

use self::iso2022::CodeExtensions;
use self::sets::Set;
use super::VR;

/// A Specific Character Set, with one value or several.
#[derive(Clone, PartialEq, Eq)]
pub struct Charset {
    /// The values of (0008,0005), in the standard's spelling where it has one. Empty: the default repertoire.
    values: Vec<String>,
    kind: Kind,
    known: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Kind {
    /// One encoding for everything, without code extensions.
    Whole(&'static Encoding),
    CodeExtensions(CodeExtensions),
}

/// Which character set identifiers are sent in.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum QueryCharset {
    /// The narrowest that holds the text: none for ASCII, ISO_IR 100 for Latin-1, else ISO_IR 192.
    #[default]
    Auto,
    /// Always this one, so that archives which answer in the set of the request do; ISO_IR 192 for text that
    /// it cannot hold.
    Forced(Charset),
}

/// The name is not a character set of PS3.3 C.12.1.1.2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a Specific Character Set such as ISO_IR 100, ISO_IR 192 or GB18030 (PS3.3 C.12.1.1.2)")]
pub struct UnknownCharset;

/// Text as decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decoded {
    /// The text; several values are still separated by backslashes.
    pub text: String,
    /// Some bytes had no meaning in the character set and became U+FFFD.
    pub damaged: bool,
}

impl Charset {
    /// The default repertoire, ISO IR 6: ASCII.
    ///
    /// Bytes above it are taken for UTF-8 where they are well-formed UTF-8, and are not guessed at otherwise:
    /// a name with gaps is noticed, a name with wrong letters is not.
    pub fn ascii() -> Self {
        Self::from_values::<&str>(&[])
    }

    /// ISO_IR 100, Latin-1.
    pub fn latin1() -> Self {
        Self::from_values(&["ISO_IR 100"])
    }

    /// ISO_IR 192, UTF-8.
    pub fn utf8() -> Self {
        Self::from_values(&["ISO_IR 192"])
    }

    /// The character set that the values of (0008,0005) name.
    ///
    /// Labels are taken as archives write them: any case, `-`, `_` or spaces, `ISO 2022 IR` for `ISO_IR` and
    /// the other way round, and names from outside of DICOM such as `UTF-8`. An unknown one stands for the
    /// default repertoire; see [`Self::is_known`].
    pub fn from_values<S: AsRef<str>>(values: &[S]) -> Self {
        let labels: Vec<Label> = values.iter().map(|v| Label::parse(v.as_ref())).collect();
        let whole = labels.iter().find_map(|l| match l {
            Label::Whole(encoding) => Some(*encoding),
            _ => None,
        });
        let kind = match whole {
            Some(encoding) => Kind::Whole(encoding),
            None => Kind::CodeExtensions(CodeExtensions::new(labels.iter().map(|l| match l {
                Label::Set(set) => Some(*set),
                _ => None,
            }))),
        };
        let values: Vec<String> = match whole {
            Some(encoding) => vec![name_of(encoding)],
            None => {
                values.iter().zip(&labels).map(|(v, l)| l.spelled(v.as_ref(), values.len() > 1)).collect()
            }
        };
        let values = if values.iter().all(String::is_empty) { Vec::new() } else { values };
        Self { values, kind, known: labels.iter().all(Label::is_standard) }
    }

    /// The values of Specific Character Set (0008,0005); empty for the default repertoire.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Whether every label is one of the standard's, give or take its spelling.
    pub fn is_known(&self) -> bool {
        self.known
    }

    /// Decodes the bytes of a value, or of several separated by backslashes, of this VR.
    ///
    /// VRs that (0008,0005) does not apply to (PS3.5 6.1.2.2) should be ASCII; where they are not, the character
    /// set is applied all the same.
    pub fn decode(&self, bytes: &[u8], vr: VR) -> Decoded {
        if let Some(text) = self.as_ascii(bytes, vr) {
            return Decoded { text: text.to_owned(), damaged: false };
        }
        match &self.kind {
            Kind::Whole(encoding) => {
                let (text, damaged) = encoding.decode_without_bom_handling(bytes);
                Decoded { text: text.into_owned(), damaged }
            }
            Kind::CodeExtensions(extensions) => extensions.decode(bytes, Delimiters::of(vr)),
        }
    }

    /// The bytes of a value of this VR as text, where every one of them is an ASCII character.
    pub(crate) fn as_ascii<'a>(&self, bytes: &'a [u8], vr: VR) -> Option<&'a str> {
        let is_ascii =
            self.has_ascii(vr) && bytes.iter().fold(true, |all, b| all & (*b < 0x80) & (*b != ESC));
        if is_ascii { std::str::from_utf8(bytes).ok() } else { None }
    }

    /// Whether ASCII in a value of this VR is ASCII, up to the first escape character.
    #[inline]
    pub(crate) fn has_ascii(&self, vr: VR) -> bool {
        match &self.kind {
            Kind::Whole(_) => true,
            Kind::CodeExtensions(extensions) => extensions.begins_with_ascii() || !is_affected(vr),
        }
    }

    /// Encodes a single value of this VR; `None` when it has a character that the set has not.
    pub fn encode(&self, text: &str, vr: VR) -> Option<Vec<u8>> {
        match &self.kind {
            Kind::Whole(encoding) => {
                let (bytes, _, unmappable) = encoding.encode(text);
                // Those of Japanese write a yen sign as the backslash that would separate two values.
                let is_same = !unmappable && encoding.decode_without_bom_handling(&bytes).0 == text;
                is_same.then(|| bytes.into_owned())
            }
            Kind::CodeExtensions(extensions) => {
                let bytes = extensions.encode(text, Delimiters::of(vr))?;
                // Where the set does not apply, the overline of JIS X 0201 would be read as a tilde.
                let is_same = is_affected(vr) || self.decode(&bytes, vr).text == text;
                is_same.then_some(bytes)
            }
        }
    }
}

/// Whether Specific Character Set applies to values of this VR (PS3.5 6.1.2.2).
pub fn is_affected(vr: VR) -> bool {
    use VR::{LO, LT, PN, SH, ST, UC, UT};
    matches!(vr, LO | LT | PN | SH | ST | UC | UT)
}

/// The escape character, which begins the designation of another set.
const ESC: u8 = 0x1B;

/// The characters that end the reach of an escape sequence besides CR, LF, FF and TAB (PS3.5 6.1.2.5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Delimiters {
    backslash: bool,
    /// `^` and `=`.
    person_name: bool,
}

impl Delimiters {
    fn of(vr: VR) -> Self {
        use VR::{LT, PN, ST, UR, UT};
        Self { backslash: !matches!(vr, LT | ST | UR | UT), person_name: vr == PN }
    }

    fn contains(self, byte: u8) -> bool {
        match byte {
            b'\\' => self.backslash,
            b'^' | b'=' => self.person_name,
            _ => is_format_effector(byte),
        }
    }
}

fn is_format_effector(byte: u8) -> bool {
    matches!(byte, b'\t' | b'\n' | 0x0C | b'\r')
}

/// One value of (0008,0005), understood.
enum Label {
    Set(Set),
    Whole(&'static Encoding),
    Unknown,
}

impl Label {
    fn parse(text: &str) -> Self {
        let text = text.trim_matches([' ', '\0']).to_ascii_uppercase().replace(['_', '-'], " ");
        let prefixes = ["ISO 2022 IR", "ISO IR", "ISO 2022", "IR"];
        let name = prefixes.iter().find_map(|p| text.strip_prefix(p)).map(str::trim_start);
        if let Some(number) = name.and_then(|n| n.parse().ok()) {
            return match number {
                192 => Self::Whole(UTF_8),
                _ => Set::by_registration(number).map_or(Self::Unknown, Self::Set),
            };
        }
        match name.unwrap_or(&text) {
            "" => Self::Set(Set::Ascii),
            "GB18030" => Self::Whole(GB18030),
            "GBK" | "GB2312" => Self::Whole(GBK),
            name => match Encoding::for_label(name.replace(' ', "-").as_bytes()) {
                // What is no superset of ASCII cannot hold the delimiters.
                Some(encoding) if encoding.is_ascii_compatible() => {
                    Set::by_encoding(encoding).map_or(Self::Whole(encoding), Self::Set)
                }
                _ => Self::Unknown,
            },
        }
    }

    fn is_standard(&self) -> bool {
        match self {
            Self::Set(_) => true,
            Self::Whole(encoding) => [UTF_8, GB18030, GBK].contains(encoding),
            Self::Unknown => false,
        }
    }

    fn spelled(&self, original: &str, extended: bool) -> String {
        match self {
            Self::Set(Set::Ascii) if !extended || original.trim().is_empty() => String::new(),
            Self::Set(set) => {
                let prefix = if extended || set.is_double_byte() { "ISO 2022 IR" } else { "ISO_IR" };
                format!("{prefix} {}", set.registration())
            }
            Self::Whole(encoding) => name_of(encoding),
            Self::Unknown => original.trim().to_owned(),
        }
    }
}

fn name_of(encoding: &'static Encoding) -> String {
    if encoding == UTF_8 {
        "ISO_IR 192".to_owned()
    } else if encoding == GB18030 {
        "GB18030".to_owned()
    } else {
        encoding.name().to_owned()
    }
}

impl fmt::Debug for Charset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Charset({})", self.values.join("\\"))
    }
}

impl FromStr for Charset {
    type Err = UnknownCharset;

    /// Takes one label, or several separated by backslashes, as (0008,0005) holds them.
    fn from_str(text: &str) -> Result<Self, UnknownCharset> {
        let charset = Self::from_values(&text.split('\\').collect::<Vec<_>>());
        if charset.is_known() { Ok(charset) } else { Err(UnknownCharset) }
    }
}

impl FromStr for QueryCharset {
    type Err = UnknownCharset;

    /// Takes `auto`, or what [`Charset`] takes.
    fn from_str(text: &str) -> Result<Self, UnknownCharset> {
        if text == "auto" { Ok(Self::Auto) } else { text.parse().map(Self::Forced) }
    }
}

impl<'de> serde::Deserialize<'de> for Charset {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl<'de> serde::Deserialize<'de> for QueryCharset {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
