//! Sessions on associations of their own.
