//! Sockets: accept loops, aborting a connection with RST, DIMSE socket options, write time-outs.

mod dimse_socket;

pub use dimse_socket::DimseSocket;
