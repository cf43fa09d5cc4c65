//! The built-in archive over real sockets, with the crate's own association as client.

mod polite;
mod rude;
mod rude_retrieval;
