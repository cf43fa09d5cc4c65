//! The built-in test archive: a real, small, fast DIMSE server over made-up studies.

pub mod instance;
