//! Sockets: accept loops, aborting a connection with RST, DIMSE socket options, write time-outs.
