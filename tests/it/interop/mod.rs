//! The bridge between real archives and real clients, none of which knows of the other.

mod clients;
mod faults;
mod harness;
mod move_destination;
mod names;
mod retrieval;
