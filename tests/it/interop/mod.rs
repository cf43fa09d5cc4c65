//! The bridge between real archives and real clients, none of which knows of the other.

mod harness;
