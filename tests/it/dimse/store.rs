//! C-STORE.
