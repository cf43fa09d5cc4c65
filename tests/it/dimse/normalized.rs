//! Normalized operations.
