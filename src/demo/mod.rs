//! The built-in test archive: a real, small, fast DIMSE server over made-up studies, or over a folder of files.
//!
//! [`Archive::builder`] makes one, [`Running`] handles it while it serves. It does C-ECHO, C-FIND, C-GET, C-MOVE and
//! C-STORE as the standard has it, and anything but that when a [`Fault`] asks for it.

mod archive;
mod body;
mod delivery;
mod faults;
mod files;
mod find;
mod get;
mod head;
pub mod instance;
mod levels;
mod light;
mod line;
mod move_;
mod noise;
mod observe;
pub mod plain;
mod plan;
mod search;
mod server;
mod session;
mod storage;
mod store;
pub mod studies;

pub use archive::{Archive, Running};
pub use faults::{Fault, FaultKind, UnknownFault};
pub use instance::Instance;
pub use observe::{Associations, Observations, Request};
pub use plain::Plain;
