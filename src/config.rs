//! File and environment → a validated configuration, or every error at once.
