//! Sockets: accept loops, TLS, aborting a connection with RST, DIMSE socket options, write time-outs.

mod block;
mod dimse_socket;
mod file_stamp;
mod files;
mod http_server;
mod http_socket;
mod http_streams;
mod network;
mod notify;
mod places;
pub mod tls;

pub use block::Block;
pub use dimse_socket::DimseSocket;
pub use file_stamp::FileStamp;
pub use files::{FileError, Files, LOOK_EVERY};
pub use http_server::{HttpSettings, serve_http};
pub use http_socket::{Connection, HttpSocket};
pub use http_streams::HttpStream;
pub use network::{InvalidNetwork, Network, is_this_machine};
pub use notify::Notify;
pub use places::{Place, Places, counted_as};
pub use tls::PeerCertificate;
