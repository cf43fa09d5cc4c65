//! PS3.18 syntax: URLs, media types, multipart bodies, DICOM JSON, Native XML. No server framework.

pub mod bulk;
pub mod compose;
mod document;
pub mod json;
pub mod media_type;
pub mod metadata;
pub mod multipart;
pub mod range;
pub mod report;
pub mod request;
pub mod store_response;
pub mod transcribe;
pub mod wado_uri;
pub mod xml;
pub mod zip;

pub use document::Besides;
