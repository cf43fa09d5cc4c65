//! The built-in test archive: a real, small, fast DIMSE server over made-up studies.

mod head;
pub mod instance;
mod noise;
pub mod studies;
