//! The front ends: protocols that clients speak.
pub mod http;
