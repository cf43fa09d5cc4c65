//! Transfer syntaxes: how a data set is encoded (PS3.5 chapter 10, Annex A).

use super::Uid;

/// Implicit VR Little Endian, the DICOM default.
pub const IMPLICIT_VR_LE: &str = "1.2.840.10008.1.2";
/// Explicit VR Little Endian.
pub const EXPLICIT_VR_LE: &str = "1.2.840.10008.1.2.1";
/// Explicit VR Big Endian, retired.
pub const EXPLICIT_VR_BE: &str = "1.2.840.10008.1.2.2";
/// Deflated Explicit VR Little Endian.
pub const DEFLATED_EXPLICIT_VR_LE: &str = "1.2.840.10008.1.2.1.99";

/// The layout of the elements of a data set, below any deflation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Implicit VR, little endian.
    ImplicitLe,
    /// Explicit VR, little endian: also every encapsulated syntax.
    ExplicitLe,
    /// Explicit VR, big endian.
    ExplicitBe,
}

/// The element layout under a transfer syntax. Unknown syntaxes are Explicit VR Little Endian, as PS3.5 A.4
/// demands of every encapsulated one.
pub fn layout(syntax: &Uid) -> Layout {
    match syntax.as_str() {
        IMPLICIT_VR_LE => Layout::ImplicitLe,
        EXPLICIT_VR_BE => Layout::ExplicitBe,
        _ => Layout::ExplicitLe,
    }
}

/// Whether pixel data under this syntax is native: neither encapsulated nor deflated.
pub fn is_native(syntax: &Uid) -> bool {
    matches!(syntax.as_str(), IMPLICIT_VR_LE | EXPLICIT_VR_LE | EXPLICIT_VR_BE)
}

/// Whether pixel data under this syntax comes in fragments (PS3.5 A.4).
pub fn is_encapsulated(syntax: &Uid) -> bool {
    !is_native(syntax) && syntax.as_str() != DEFLATED_EXPLICIT_VR_LE
}

/// How pixel data is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Not at all, or in a way that is not known here.
    Other,
    /// JPEG: Baseline, Extended, Lossless.
    Jpeg,
    /// JPEG-LS.
    JpegLs,
    /// JPEG 2000.
    Jpeg2000,
    /// JPEG 2000 Part 2, multi-component.
    Jpeg2000Part2,
    /// High-Throughput JPEG 2000.
    Htj2k,
    /// JPEG XL.
    JpegXl,
    /// RLE Lossless.
    Rle,
    /// MPEG-2 video.
    Mpeg2,
    /// MPEG-4 AVC/H.264 video.
    Mpeg4,
    /// HEVC/H.265 video.
    Hevc,
}

impl Codec {
    /// Whether the whole pixel data is one stream (PS3.5 8.2.5 to 8.2.9).
    pub const fn is_video(self) -> bool {
        matches!(self, Self::Mpeg2 | Self::Mpeg4 | Self::Hevc)
    }

    /// Whether a codestream ends with the bytes FFD9: EOI of JPEG and JPEG-LS, EOC of JPEG 2000.
    pub const fn has_end_marker(self) -> bool {
        matches!(self, Self::Jpeg | Self::JpegLs | Self::Jpeg2000 | Self::Jpeg2000Part2 | Self::Htj2k)
    }
}

/// How pixel data under a transfer syntax is compressed (PS3.6 Table A-1).
pub fn codec(syntax: &Uid) -> Codec {
    let Some(kind) = syntax.as_str().strip_prefix("1.2.840.10008.1.2.") else { return Codec::Other };
    match kind {
        "4.50" | "4.51" | "4.57" | "4.70" => Codec::Jpeg,
        "4.80" | "4.81" => Codec::JpegLs,
        "4.90" | "4.91" => Codec::Jpeg2000,
        "4.92" | "4.93" => Codec::Jpeg2000Part2,
        "4.201" | "4.202" | "4.203" => Codec::Htj2k,
        "4.110" | "4.111" | "4.112" => Codec::JpegXl,
        "5" => Codec::Rle,
        "4.100" | "4.100.1" | "4.101" | "4.101.1" => Codec::Mpeg2,
        "4.102" | "4.102.1" | "4.103" | "4.103.1" | "4.104" | "4.104.1" | "4.105" | "4.105.1" | "4.106"
        | "4.106.1" => Codec::Mpeg4,
        "4.107" | "4.108" => Codec::Hevc,
        // The retired processes of JPEG.
        "4.52" | "4.53" | "4.54" | "4.55" | "4.56" | "4.58" | "4.59" | "4.60" | "4.61" | "4.62" | "4.63"
        | "4.64" | "4.65" | "4.66" => Codec::Jpeg,
        _ => Codec::Other,
    }
}

/// Whether the syntax may go over DICOMweb: all but Implicit VR and Big Endian (PS3.18 8.7.3).
pub fn is_allowed_on_the_web(syntax: &Uid) -> bool {
    !matches!(syntax.as_str(), IMPLICIT_VR_LE | EXPLICIT_VR_BE)
}

/// Whether objects under this syntax may have lost something when they were compressed (PS3.5 8.2): JPEG
/// Baseline and Extended, JPEG-LS near-lossless, JPEG 2000, JPEG XL, HTJ2K in their general forms, video.
pub fn is_lossy(syntax: &Uid) -> bool {
    LOSSY.contains(&syntax.as_str())
}

/// Syntaxes whose images may have been compressed lossily.
pub const LOSSY: [&str; 19] = [
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.102",
    "1.2.840.10008.1.2.4.103",
    "1.2.840.10008.1.2.4.100",
    "1.2.840.10008.1.2.4.101",
    "1.2.840.10008.1.2.4.104",
    "1.2.840.10008.1.2.4.105",
    "1.2.840.10008.1.2.4.106",
    "1.2.840.10008.1.2.4.107",
    "1.2.840.10008.1.2.4.108",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.4.93",
    "1.2.840.10008.1.2.4.111",
    "1.2.840.10008.1.2.4.112",
    "1.2.840.10008.1.2.4.53",
    "1.2.840.10008.1.2.4.55",
];

/// Lossless compressed syntaxes, most common first.
pub const LOSSLESS: [&str; 9] = [
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.92",
    "1.2.840.10008.1.2.4.110",
];
