//! The coded character sets that code extensions switch between, and their escape sequences (PS3.3 Tables
//! C.12-3 and C.12-4).

use encoding_rs::{
    EUC_JP, EUC_KR, Encoding, GBK, ISO_8859_2, ISO_8859_3, ISO_8859_4, ISO_8859_5, ISO_8859_6, ISO_8859_7,
    ISO_8859_8, ISO_8859_15, WINDOWS_874, WINDOWS_1252, WINDOWS_1254,
};

/// A coded character set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Set {
    /// ISO IR 6.
    Ascii,
    /// ISO IR 14, the Latin half of JIS X 0201: ASCII but for the yen sign and the overline.
    JisRoman,
    /// ISO IR 13, the katakana half of JIS X 0201.
    Katakana,
    /// The upper half of one of the single-byte sets, by its registration number.
    Upper(Upper),
    /// ISO IR 87.
    Jis0208,
    /// ISO IR 159.
    Jis0212,
    /// ISO IR 149.
    Ksx1001,
    /// ISO IR 58.
    Gb2312,
}

/// A single-byte set whose lower half is ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Upper {
    registration: u16,
    encoding: &'static Encoding,
    final_byte: u8,
}

/// Half of the code table that a set is designated to: bytes below 0x80, or above.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    G0,
    G1,
}

// Where encoding_rs has a Windows superset only, the C1 area is all that differs; what stands there was meant
// as the Windows character.
const UPPERS: [Upper; 11] = [
    Upper { registration: 100, encoding: WINDOWS_1252, final_byte: b'A' },
    Upper { registration: 101, encoding: ISO_8859_2, final_byte: b'B' },
    Upper { registration: 109, encoding: ISO_8859_3, final_byte: b'C' },
    Upper { registration: 110, encoding: ISO_8859_4, final_byte: b'D' },
    Upper { registration: 126, encoding: ISO_8859_7, final_byte: b'F' },
    Upper { registration: 127, encoding: ISO_8859_6, final_byte: b'G' },
    Upper { registration: 138, encoding: ISO_8859_8, final_byte: b'H' },
    Upper { registration: 144, encoding: ISO_8859_5, final_byte: b'L' },
    Upper { registration: 148, encoding: WINDOWS_1254, final_byte: b'M' },
    Upper { registration: 166, encoding: WINDOWS_874, final_byte: b'T' },
    Upper { registration: 203, encoding: ISO_8859_15, final_byte: b'b' },
];

impl Set {
    /// The set with this number in the ISO registry.
    pub(super) fn by_registration(number: u16) -> Option<Self> {
        Some(match number {
            6 => Self::Ascii,
            13 => Self::Katakana,
            14 => Self::JisRoman,
            58 => Self::Gb2312,
            87 => Self::Jis0208,
            149 => Self::Ksx1001,
            159 => Self::Jis0212,
            _ => Self::Upper(*UPPERS.iter().find(|u| u.registration == number)?),
        })
    }

    /// The single-byte set that this encoding holds.
    pub(super) fn by_encoding(encoding: &'static Encoding) -> Option<Self> {
        UPPERS.iter().find(|u| u.encoding == encoding).copied().map(Self::Upper)
    }

    pub(super) fn registration(self) -> u16 {
        match self {
            Self::Ascii => 6,
            Self::Katakana => 13,
            Self::JisRoman => 14,
            Self::Gb2312 => 58,
            Self::Jis0208 => 87,
            Self::Ksx1001 => 149,
            Self::Jis0212 => 159,
            Self::Upper(upper) => upper.registration,
        }
    }

    pub(super) fn half(self) -> Half {
        match self {
            Self::Ascii | Self::JisRoman | Self::Jis0208 | Self::Jis0212 => Half::G0,
            Self::Katakana | Self::Upper(_) | Self::Ksx1001 | Self::Gb2312 => Half::G1,
        }
    }

    pub(super) fn is_double_byte(self) -> bool {
        matches!(self, Self::Jis0208 | Self::Jis0212 | Self::Ksx1001 | Self::Gb2312)
    }

    /// The escape sequence that designates the set.
    pub(super) fn escape(self) -> Vec<u8> {
        match self {
            Self::Ascii => b"\x1B(B".to_vec(),
            Self::JisRoman => b"\x1B(J".to_vec(),
            Self::Katakana => b"\x1B)I".to_vec(),
            Self::Jis0208 => b"\x1B$B".to_vec(),
            Self::Jis0212 => b"\x1B$(D".to_vec(),
            Self::Ksx1001 => b"\x1B$)C".to_vec(),
            Self::Gb2312 => b"\x1B$)A".to_vec(),
            Self::Upper(upper) => vec![0x1B, b'-', upper.final_byte],
        }
    }

    /// The set that the escape sequence at the beginning of `bytes` designates, and the sequence's length.
    /// Also takes the older `ESC $ @` and `ESC $ ( B` for JIS X 0208.
    pub(super) fn designated(bytes: &[u8]) -> Option<(Self, usize)> {
        Some(match bytes {
            [_, b'(', b'B', ..] => (Self::Ascii, 3),
            [_, b'(', b'J', ..] => (Self::JisRoman, 3),
            [_, b')', b'I', ..] => (Self::Katakana, 3),
            [_, b'$', b'B' | b'@', ..] => (Self::Jis0208, 3),
            [_, b'$', b'(', b'B' | b'@', ..] => (Self::Jis0208, 4),
            [_, b'$', b'(', b'D', ..] => (Self::Jis0212, 4),
            [_, b'$', b')', b'C', ..] => (Self::Ksx1001, 4),
            [_, b'$', b')', b'A', ..] => (Self::Gb2312, 4),
            [_, b'-', last, ..] => (Self::Upper(*UPPERS.iter().find(|u| u.final_byte == *last)?), 3),
            _ => return None,
        })
    }

    /// Decodes a run of bytes of this set, appending to `out`; `true` when some had no meaning.
    pub(super) fn decode(self, run: &[u8], out: &mut String) -> bool {
        let (encoding, bytes): (_, Vec<u8>) = match self {
            Self::Ascii => {
                out.extend(run.iter().copied().map(char::from));
                return false;
            }
            Self::JisRoman => {
                out.extend(run.iter().map(|b| match b {
                    b'\\' => '¥',
                    b'~' => '‾',
                    b => char::from(*b),
                }));
                return false;
            }
            Self::Katakana => {
                let decoded = run.iter().map(|b| match b {
                    0xA1..=0xDF => char::from_u32(0xFF61 + u32::from(b - 0xA1)),
                    _ => None,
                });
                out.extend(decoded.map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)));
                return run.iter().any(|b| !(0xA1..=0xDF).contains(b));
            }
            Self::Upper(upper) => (upper.encoding, run.to_vec()),
            // The encodings named EUC hold these sets with the high bits set; a third set behind 0x8F.
            Self::Jis0208 => (EUC_JP, run.iter().map(|b| b | 0x80).collect()),
            Self::Jis0212 => (
                EUC_JP,
                run.chunks(2).flat_map(|c| [0x8F].into_iter().chain(c.iter().map(|b| b | 0x80))).collect(),
            ),
            Self::Ksx1001 => (EUC_KR, run.to_vec()),
            Self::Gb2312 => (GBK, run.to_vec()),
        };
        let (text, damaged) = encoding.decode_without_bom_handling(&bytes);
        out.push_str(&text);
        damaged
    }

    /// The bytes of a character in this set, in the half that it is designated to.
    pub(super) fn encode(self, character: char) -> Option<Vec<u8>> {
        let encoding = match self {
            Self::Ascii => return character.is_ascii().then(|| vec![character as u8]),
            Self::JisRoman => {
                return match character {
                    '¥' => Some(b"\\".to_vec()),
                    '‾' => Some(b"~".to_vec()),
                    '\\' | '~' => None,
                    c => c.is_ascii().then(|| vec![c as u8]),
                };
            }
            Self::Katakana => {
                let offset = u32::from(character).checked_sub(0xFF61).filter(|o| *o <= 0xDF - 0xA1)?;
                return u8::try_from(0xA1 + offset).ok().map(|b| vec![b]);
            }
            Self::Upper(upper) => upper.encoding,
            Self::Jis0208 => EUC_JP,
            // The Encoding Standard has no encoder for it, and archives that know it are rare.
            Self::Jis0212 => return None,
            Self::Ksx1001 => EUC_KR,
            Self::Gb2312 => GBK,
        };
        let mut utf8 = [0; 4];
        let (bytes, _, unmappable) = encoding.encode(character.encode_utf8(&mut utf8));
        // The supersets that these encodings are reach outside of the 94 or 96 columns of the set.
        let width = if self.is_double_byte() { 2 } else { 1 };
        if unmappable || bytes.len() != width || bytes.iter().any(|&b| b < 0xA0) {
            return None;
        }
        // Some write a character in the place of one that looks like it.
        if !encoding.decode_without_bom_handling(&bytes).0.chars().eq([character]) {
            return None;
        }
        Some(match self.half() {
            Half::G0 => bytes.iter().map(|b| b & 0x7F).collect(),
            Half::G1 => bytes.into_owned(),
        })
    }
}
