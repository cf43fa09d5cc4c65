//! Sets up logs.
