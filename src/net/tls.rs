//! TLS: who stands at the other end of a connection, and that nobody between can read or change what is said.
//!
//! TLS 1.3 and 1.2 with forward secrecy and authenticated encryption, and nothing older (BCP 195; PS3.15 B.12). All files
//! are read again when they have changed: what is new holds for the next handshake, what is open goes on.

mod client;
mod failure;
mod peer;
mod pem;
mod probe;
mod revoked;
mod server;
mod standing;
mod stream;
mod trust;

use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

use rustls::SupportedProtocolVersion;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;

use super::FileError;

pub use client::{Client, host_of};
pub use failure::Failure;
pub use peer::PeerCertificate;
pub use probe::is_spoken;
pub use server::{Protocol, Server};
pub use standing::{Lapsed, Standing};
pub use stream::Stream;

/// What a listener shows, and whom it wants to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Our certificate, and the private key that belongs to it.
    pub identity: Identity,
    /// Whether clients show a certificate.
    pub clients: ClientCertificates,
    /// Lists of certificates that the authorities of clients have taken back, in PEM.
    pub revoked: Option<PathBuf>,
}

/// How we connect to a peer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientConfig {
    /// The authorities that may have signed the peer's certificate, or this certificate itself, in PEM; `None`: those that
    /// the system trusts.
    pub ca: Option<PathBuf>,
    /// Lists of certificates that these authorities have taken back, in PEM.
    pub revoked: Option<PathBuf>,
    /// What we show to peers that ask for it.
    pub identity: Option<Identity>,
    /// The name that the peer's certificate must be for; `None`: the host that we connect to.
    pub server_name: Option<String>,
}

/// A certificate and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate in PEM, followed by those of the authorities between it and a root.
    pub certificate: PathBuf,
    /// The private key in PEM: PKCS #8, PKCS #1 or SEC 1, without a password.
    pub key: PathBuf,
}

/// Whether clients show a certificate. The file holds the authorities that may have signed it, or these certificates
/// themselves, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked for one.
    None,
    /// Whoever shows one must show a good one.
    Optional(PathBuf),
    /// Whoever shows none gets no connection.
    Required(PathBuf),
}

impl ClientConfig {
    /// Whether a certificate can be for this name.
    pub fn is_server_name(text: &str) -> bool {
        ServerName::try_from(text).is_ok()
    }

    /// Reads all files, and says what is wrong with them.
    ///
    /// # Errors
    /// What stands in the way of a connection.
    pub fn check(&self) -> Result<(), FileError> {
        client::read(self).map(drop)
    }
}

/// A name that the first certificate in a file is for, as a connection to whoever shows it has to know; `None`: it names no
/// host.
///
/// # Errors
/// The file cannot be used.
pub fn name_in(certificate: &Path) -> Result<Option<String>, FileError> {
    let chain = pem::certificates(certificate)?;
    let names = chain.first().map(|first| PeerCertificate::of(first).names).unwrap_or_default();
    Ok(names.into_iter().find(|name| ClientConfig::is_server_name(name)))
}

impl ServerConfig {
    /// Reads all files, and says what is wrong with them.
    ///
    /// # Errors
    /// What stands in the way of a connection.
    pub fn check(&self) -> Result<(), FileError> {
        server::read(self, Protocol::Dimse).map(drop)
    }
}

/// Newest first.
const VERSIONS: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];

/// The one implementation of cryptography: never the process's default, which any library might have set.
fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> =
        LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));
    Arc::clone(&PROVIDER)
}

#[cfg(test)]
#[path = "../../tests/support/certificates.rs"]
pub(crate) mod certificates;
#[cfg(test)]
mod tests;
