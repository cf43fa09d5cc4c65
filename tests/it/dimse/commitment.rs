//! Storage commitment: each client gets its own report.
