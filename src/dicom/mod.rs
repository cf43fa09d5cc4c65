//! The vocabulary every other module speaks: identifiers, data sets and queries. No I/O.

pub mod ae_title;
pub mod charset;
pub mod dataset;
pub mod encode;
pub mod object;
pub mod query;
pub mod reencode;
pub mod scan;
pub mod sop_class;
pub mod transfer_syntax;
pub mod uid;

pub use ae_title::AeTitle;
pub use dicom_core::{Tag, VR};
pub use dicom_dictionary_std::tags;
pub use uid::Uid;
