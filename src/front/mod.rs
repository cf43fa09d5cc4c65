//! The front ends: protocols that clients speak.
pub mod dimse;
pub mod http;
