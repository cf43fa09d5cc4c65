//! The connecting end.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{TlsConnector, TlsStream};

use super::failure::{End, Failure, explain_handshake};
use super::peer::host_in;
use super::pem::{certificates, private_key};
use super::standing::Standing;
use super::stream::{Stream, below};
use super::trust::{Listed, PinnedServer};
use super::{ClientConfig, Identity, VERSIONS, provider};
use crate::net::{FileError, Files, LOOK_EVERY};

/// Opens TLS connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Client {
    files: Arc<Files<rustls::ClientConfig>>,
    server_name: Option<Arc<str>>,
}

impl Client {
    /// With these files, which are read with the first connection; [`ClientConfig::check`] reads them before.
    pub fn new(config: ClientConfig) -> Self {
        Self::looking_every(LOOK_EVERY, config)
    }

    pub(super) fn looking_every(look_every: Duration, config: ClientConfig) -> Self {
        let identity = config.identity.iter().flat_map(|own| [own.certificate.clone(), own.key.clone()]);
        let paths = config.ca.iter().chain(&config.revoked).cloned().chain(identity).collect();
        let server_name = config.server_name.as_deref().map(Arc::from);
        Self { files: Arc::new(Files::new("TLS", paths, look_every, move || read(&config))), server_name }
    }

    /// For a server that shows this certificate, and no other, under whichever of its names: our own.
    ///
    /// # Errors
    /// The certificate cannot be read, or is for no name.
    pub fn of_ourselves(identity: &Identity) -> Result<Self, FileError> {
        let ca = identity.certificate.clone();
        let shown = certificates(&ca)?;
        let name = shown.first().and_then(|own| host_in(own));
        let name = name.ok_or_else(|| FileError::new(&ca, "the first certificate in it is for no host"))?;
        Ok(Self::new(ClientConfig { ca: Some(ca), server_name: Some(name), ..ClientConfig::default() }))
    }

    #[cfg(test)]
    pub(super) fn load_now(&self) {
        self.files.load().expect("the files are good");
    }

    /// Shakes hands with the server at the other end, whose certificate must be for `host` unless the configuration says
    /// for which name, until `deadline`.
    ///
    /// # Errors
    /// It does not speak TLS, or none that is good enough; its certificate is no good or for another name; it took too
    /// long ([`io::ErrorKind::TimedOut`]). A [`Failure`] within says what to do.
    pub async fn connect<S>(&self, io: S, host: &str, deadline: Instant) -> io::Result<Stream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = self.server_name.as_deref().unwrap_or(host);
        let name = ServerName::try_from(name.to_owned()).map_err(|_| {
            let what = format!("no certificate can be for the name {name}");
            Failure::new(what, "say in `server_name` for which name the peer's is")
        })?;
        let shaken = timeout_at(deadline, async {
            let config = self.files.current().await.map_err(|error| {
                Failure::new(
                    error.to_string(),
                    "put the file right: it is read again with the next connection",
                )
            })?;
            TlsConnector::from(config).connect(name, below(io)).await
        });
        match shaken.await {
            Ok(Ok(tls)) => Ok(Stream::new(TlsStream::Client(tls), End::Client, Standing::default())),
            Ok(Err(error)) => Err(explain_handshake(error, End::Client)),
            Err(_) => Err(Failure::late(End::Client).into()),
        }
    }
}

/// The host in `host:port`, without the brackets of an IPv6 address.
pub fn host_of(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

impl Identity {
    /// What is wrong between certificate and key.
    pub(super) fn misfit(&self, error: rustls::Error) -> FileError {
        let certificate = self.certificate.display();
        let text = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("is not the key of the first certificate in {certificate}: put both right")
            }
            rustls::Error::InvalidCertificate(_) => {
                format!("the first certificate in {certificate} cannot be read")
            }
            _ => {
                "is no key that can be used: give RSA from 2048 bits on, ECDSA on P-256 or P-384, or Ed25519"
                    .to_owned()
            }
        };
        FileError::new(&self.key, text)
    }
}

/// What the files come to.
pub(super) fn read(config: &ClientConfig) -> Result<rustls::ClientConfig, FileError> {
    let provider = provider();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(VERSIONS)
        .expect("the provider has suites for both versions");
    let listed = match &config.ca {
        Some(path) => Listed::read(path)?,
        None => Listed::authorities(system_roots()?),
    };
    let listed = listed.without_revoked(config.revoked.as_deref())?;
    let verifier = PinnedServer::new(listed, provider)?;
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    let mut built = match &config.identity {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let (chain, key) = (certificates(&own.certificate)?, private_key(&own.key)?);
            builder.with_client_auth_cert(chain, key).map_err(|error| own.misfit(error))?
        }
    };
    // A session that is taken up again would stand on a certificate that may have expired since.
    built.resumption = Resumption::disabled();
    Ok(built)
}

/// Whom the system trusts: `/etc/ssl/certs`, or where `SSL_CERT_FILE` and `SSL_CERT_DIR` point.
fn system_roots() -> Result<RootCertStore, FileError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(found.certs);
    if good == 0 {
        let text = "the system trusts no authority: install ca-certificates, or name those to trust in `ca`";
        return Err(FileError::new(&PathBuf::from("/etc/ssl/certs"), text));
    }
    Ok(roots)
}
