//! Which transfer syntax pixel data is in, by what its parts say and by what they are (PS3.18 8.7.3).
//!
//! Labels are weighed against the bytes: native values that are labelled as compressed, or the other way round,
//! would be read wrongly by everybody after us, and nobody would notice.

use super::Error;
use crate::dicom::Uid;
use crate::dicom::transfer_syntax::{
    DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE, codec, is_encapsulated,
};

/// How pixel data is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Form {
    /// Little endian words.
    Native,
    /// Encapsulated in fragments, in this transfer syntax.
    Encapsulated(Uid),
}

/// What is known about a value of pixel data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Evidence<'a> {
    /// The media type of its parts; empty where it is not said.
    pub(super) media_type: &'a str,
    /// The `transfer-syntax` parameter of its parts.
    pub(super) labelled: Option<&'a Uid>,
    /// What the metadata says the object is in: (0002,0010), else (0008,3002).
    pub(super) declared: Option<&'a Uid>,
    /// Its length in bytes.
    pub(super) length: u64,
    /// The length that it has when it is native; `None`: the metadata does not say enough.
    pub(super) native_length: Option<u64>,
    /// The first bytes.
    pub(super) beginning: &'a [u8],
}

/// How many bytes of pixel data are looked at: enough for the headers of a compressed frame, with colour profiles
/// and comments in front.
pub(super) const BEGINNING: u64 = 64 * 1024;

impl Evidence<'_> {
    /// How the value is encoded.
    pub(super) fn form(&self) -> Result<Form, Error> {
        if let Some(labelled) = self.labelled {
            return match labelled.as_str() {
                EXPLICIT_VR_LE | IMPLICIT_VR_LE => Ok(Form::Native),
                EXPLICIT_VR_BE | DEFLATED_EXPLICIT_VR_LE => Err(Error::UnsupportedPixelData),
                _ => Ok(Form::Encapsulated(labelled.clone())),
            };
        }
        if matches!(self.media_type, "" | "application/octet-stream") {
            return Ok(self.unlabelled());
        }
        let syntaxes = syntaxes_of(self.media_type).ok_or(Error::UnsupportedPixelData)?;
        let possible = compatible(self.beginning).unwrap_or(syntaxes);
        let possible: Vec<&str> = possible.iter().filter(|s| syntaxes.contains(s)).copied().collect();
        let declared = self.declared.filter(|syntax| possible.contains(&syntax.as_str()));
        match (declared, possible.first()) {
            (Some(declared), _) => Ok(Form::Encapsulated(declared.clone())),
            (None, Some(first)) => {
                first.parse().map(Form::Encapsulated).map_err(|_| Error::UnsupportedPixelData)
            }
            // A JPEG-LS image labelled as image/jp2, say.
            (None, None) => Err(Error::UnsupportedPixelData),
        }
    }

    /// Octets are native (PS3.18 Table 8.7.3-1), unless the metadata says otherwise and the bytes agree. What a
    /// client got from an archive as octets and sends back may still be declared as the archive held it.
    fn unlabelled(&self) -> Form {
        match self.declared {
            Some(declared) if is_encapsulated(declared) && !self.is_native_by_length() => {
                let agrees = match compatible(self.beginning) {
                    Some(possible) => possible.contains(&declared.as_str()),
                    None => self.native_length.is_some() && !is_recognisable(declared),
                };
                if agrees { Form::Encapsulated(declared.clone()) } else { Form::Native }
            }
            _ => Form::Native,
        }
    }

    fn is_native_by_length(&self) -> bool {
        self.native_length
            .is_some_and(|native| self.length == native || self.length == native.next_multiple_of(2))
    }
}

/// Whether a syntax's images would have been recognised by their beginning.
fn is_recognisable(syntax: &Uid) -> bool {
    ["image/jpeg", "image/jls", "image/jp2", "image/dicom-rle"]
        .iter()
        .filter_map(|media_type| syntaxes_of(media_type))
        .any(|syntaxes| syntaxes.contains(&syntax.as_str()))
}

/// The transfer syntaxes of a media type, its default first (PS3.18 Tables 8.7.3-2 to 8.7.3-5).
fn syntaxes_of(media_type: &str) -> Option<&'static [&'static str]> {
    Some(match media_type {
        "image/jpeg" | "image/jpg" => &[JPEG_LOSSLESS_SV1, JPEG_BASELINE, JPEG_EXTENDED, JPEG_LOSSLESS],
        "image/jls" => &[JPEG_LS_LOSSLESS, JPEG_LS],
        "image/jp2" => &[JPEG_2000_LOSSLESS, JPEG_2000],
        "image/jpx" => &["1.2.840.10008.1.2.4.92", "1.2.840.10008.1.2.4.93"],
        "image/jphc" => &["1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"],
        "image/jxl" => &["1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112"],
        "image/dicom-rle" | "image/x-dicom-rle" => &[RLE],
        "video/mpeg" | "video/mpeg2" => &["1.2.840.10008.1.2.4.100", "1.2.840.10008.1.2.4.101"],
        "video/mp4" => &[
            "1.2.840.10008.1.2.4.102",
            "1.2.840.10008.1.2.4.103",
            "1.2.840.10008.1.2.4.104",
            "1.2.840.10008.1.2.4.105",
            "1.2.840.10008.1.2.4.106",
            "1.2.840.10008.1.2.4.107",
            "1.2.840.10008.1.2.4.108",
        ],
        "video/h265" => &["1.2.840.10008.1.2.4.107", "1.2.840.10008.1.2.4.108"],
        _ => return None,
    })
}

/// Whether the syntax is of video: one bit stream for all frames.
pub(super) fn is_video(syntax: &Uid) -> bool {
    codec(syntax).is_video()
}

const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
const JPEG_EXTENDED: &str = "1.2.840.10008.1.2.4.51";
const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.57";
const JPEG_LOSSLESS_SV1: &str = "1.2.840.10008.1.2.4.70";
const JPEG_LS_LOSSLESS: &str = "1.2.840.10008.1.2.4.80";
const JPEG_LS: &str = "1.2.840.10008.1.2.4.81";
const JPEG_2000_LOSSLESS: &str = "1.2.840.10008.1.2.4.90";
const JPEG_2000: &str = "1.2.840.10008.1.2.4.91";
const RLE: &str = "1.2.840.10008.1.2.5";

/// The transfer syntaxes that a frame with this beginning may be in, the narrowest first; `None`: it is none that
/// tells by its beginning.
fn compatible(beginning: &[u8]) -> Option<&'static [&'static str]> {
    match beginning {
        [0xFF, 0xD8, 0xFF, ..] => jpeg(beginning),
        [0xFF, 0x4F, 0xFF, 0x51, ..] => jpeg_2000(beginning),
        // The number of segments, then the offset of the first, which is the header's length (PS3.5 G.5).
        [1..=15, 0, 0, 0, 64, 0, 0, 0, ..] => Some(&[RLE]),
        _ => None,
    }
}

/// By the frame header, and the scan header where that has to say more (ITU-T T.81 B.2, T.87 C.2).
fn jpeg(image: &[u8]) -> Option<&'static [&'static str]> {
    let mut frame = None;
    let mut rest = &image[2..];
    loop {
        let [0xFF, marker, after @ ..] = rest else { return frame_default(frame) };
        if *marker == 0xFF {
            // A fill byte.
            rest = &rest[1..];
            continue;
        }
        let length: [u8; 2] = *after.first_chunk()?;
        let length = usize::from(u16::from_be_bytes(length));
        let segment = after.get(2..length.max(2));
        match marker {
            0xC0 => return Some(&[JPEG_BASELINE, JPEG_EXTENDED]),
            0xC1 => return Some(&[JPEG_EXTENDED]),
            0xC3 | 0xF7 => frame = Some(*marker),
            // Progressive, arithmetic and hierarchical ones have no transfer syntax any more.
            0xC2 | 0xC5..=0xC7 | 0xC9..=0xCB | 0xCD..=0xCF => return Some(&[]),
            0xDA => {
                let segment = segment?;
                // Behind the components: the predictor of lossless JPEG, the error bound of JPEG-LS.
                let parameter = *segment.get(1 + 2 * usize::from(*segment.first()?))?;
                return match (frame?, parameter) {
                    (0xC3, 1) => Some(&[JPEG_LOSSLESS_SV1, JPEG_LOSSLESS]),
                    (0xC3, _) => Some(&[JPEG_LOSSLESS]),
                    (_, 0) => Some(&[JPEG_LS_LOSSLESS, JPEG_LS]),
                    _ => Some(&[JPEG_LS]),
                };
            }
            _ => {}
        }
        rest = after.get(length.max(2)..).unwrap_or_default();
    }
}

/// What a frame header allows whose scan header is too far off to be seen: the most general syntax.
fn frame_default(frame: Option<u8>) -> Option<&'static [&'static str]> {
    match frame? {
        0xC3 => Some(&[JPEG_LOSSLESS]),
        _ => Some(&[JPEG_LS]),
    }
}

/// By the wavelet transformation of the default coding style (ISO/IEC 15444-1 A.6.1). `None` for high-throughput
/// code blocks, which have syntaxes of their own.
fn jpeg_2000(image: &[u8]) -> Option<&'static [&'static str]> {
    let mut rest = image.get(2..)?;
    while let [0xFF, marker, after @ ..] = rest {
        let length: [u8; 2] = *after.first_chunk()?;
        let length = usize::from(u16::from_be_bytes(length)).max(2);
        match marker {
            // Extended capabilities: high throughput.
            0x50 => return None,
            0x52 => {
                return Some(match after.get(11)? {
                    1 => &[JPEG_2000_LOSSLESS, JPEG_2000],
                    _ => &[JPEG_2000],
                });
            }
            // The first tile: the main header is over.
            0x90 => return None,
            _ => rest = after.get(length..)?,
        }
    }
    None
}

#[cfg(test)]
mod tests;
