//! Web and DIMSE clients at once.
