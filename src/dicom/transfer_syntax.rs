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
