//! C-GET and C-MOVE.
