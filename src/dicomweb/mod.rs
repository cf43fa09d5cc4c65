//! PS3.18 syntax: URLs, media types, multipart bodies, DICOM JSON. No server framework.

pub mod json;
pub mod media_type;
pub mod multipart;
pub mod request;
