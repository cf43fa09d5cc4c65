//! The vocabulary every other module speaks: identifiers, data sets and queries. No I/O.

pub mod ae_title;
pub mod bulk;
pub(crate) mod byte_order;
pub mod calendar;
pub mod charset;
pub mod dataset;
pub mod deidentify;
pub mod dictionary;
pub mod encode;
pub mod head;
pub mod matching;
pub mod native;
pub mod object;
pub mod part10;
pub mod query;
pub mod reencode;
pub mod retitle;
pub mod scan;
pub mod sop_class;
pub mod transfer_syntax;
pub mod uid;

pub use ae_title::AeTitle;
pub use dicom_core::{Tag, VR};
pub use dicom_dictionary_std::tags;
pub use uid::Uid;

/// Implementation Class UID of the bridge (PS3.7 D.3.3.2), from a random UUID (PS3.5 B.2).
pub const IMPLEMENTATION_CLASS_UID: &str = "2.25.278855643562977254940227901854365427490";
/// Implementation Version Name of the bridge, at most 16 characters.
pub const IMPLEMENTATION_VERSION_NAME: &str = "GANTRY_0_1";
