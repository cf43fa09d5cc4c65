//! TLS: who stands at the other end of a connection, and what nobody between can read or change.

mod peer;

pub use peer::PeerCertificate;
