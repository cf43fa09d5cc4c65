//! Peers that break the protocol.
