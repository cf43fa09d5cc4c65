//! The accepting end.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, NoServerSessionStorage};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::{TlsAcceptor, TlsStream};

use super::failure::{End, Failure, explain_handshake};
use super::pem::{certificates, private_key};
use super::standing::Standing;
use super::stream::{Stream, below};
use super::trust::{Listed, PinnedClients};
use super::{ClientCertificates, ServerConfig, VERSIONS, provider};
use crate::net::{FileError, Files, LOOK_EVERY};

/// What is spoken over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2 or HTTP/1.1, as the client chooses (RFC 7301).
    Http,
    /// DIMSE, which has no name there.
    Dimse,
}

/// Accepts TLS connections. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Server {
    files: Arc<Files<Built>>,
}

/// What the files come to.
#[derive(Debug)]
pub(super) struct Built {
    config: Arc<rustls::ServerConfig>,
    /// Who clients may be, where they show a certificate.
    pub(super) clients: Option<Arc<PinnedClients>>,
}

impl Server {
    /// With these files, which are read at once.
    ///
    /// # Errors
    /// A file cannot be used.
    pub fn open(config: ServerConfig, protocol: Protocol) -> Result<Self, FileError> {
        Self::looking_every(LOOK_EVERY, config, protocol)
    }

    pub(super) fn looking_every(
        look_every: Duration,
        config: ServerConfig,
        protocol: Protocol,
    ) -> Result<Self, FileError> {
        let mut paths = vec![config.identity.certificate.clone(), config.identity.key.clone()];
        paths.extend(match &config.clients {
            ClientCertificates::None => None,
            ClientCertificates::Optional(ca) | ClientCertificates::Required(ca) => Some(ca.clone()),
        });
        paths.extend(config.revoked.clone());
        let files = Arc::new(Files::new("TLS", paths, look_every, move || read(&config, protocol)));
        files.load()?;
        Ok(Self { files })
    }

    /// Shakes hands with a client, until `deadline`.
    ///
    /// # Errors
    /// It does not speak TLS, or none that is good enough; its certificate is missing or no good; it took too long
    /// ([`io::ErrorKind::TimedOut`]). A [`Failure`] within says what to do.
    pub async fn accept<S>(&self, io: S, deadline: Instant) -> io::Result<Stream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shaken = timeout_at(deadline, async {
            let built = self.files.current().await.map_err(io::Error::other)?;
            if let Some(clients) = &built.clients {
                clients.tell_if_old();
            }
            let tls = TlsAcceptor::from(Arc::clone(&built.config)).accept(below(io)).await?;
            Ok((tls, built))
        });
        match shaken.await {
            Ok(Ok((tls, built))) => {
                let shown = tls.get_ref().1.peer_certificates().unwrap_or_default();
                let standing = Standing::new(shown, Arc::clone(&self.files), built);
                Ok(Stream::new(TlsStream::Server(tls), End::Server, standing))
            }
            Ok(Err(error)) => Err(explain_handshake(error, End::Server)),
            Err(_) => Err(Failure::late(End::Server).into()),
        }
    }
}

/// Reads the files.
pub(super) fn read(config: &ServerConfig, protocol: Protocol) -> Result<Built, FileError> {
    let provider = provider();
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(VERSIONS)
        .expect("the provider has suites for both versions");
    let clients = match &config.clients {
        ClientCertificates::None => None,
        ClientCertificates::Optional(path) | ClientCertificates::Required(path) => {
            let is_required = matches!(config.clients, ClientCertificates::Required(_));
            let listed = Listed::read(path)?.without_revoked(config.revoked.as_deref())?;
            Some(PinnedClients::new(listed, provider, is_required)?)
        }
    };
    let verifier: Arc<dyn ClientCertVerifier> = match &clients {
        None => Arc::new(NoClientAuth),
        Some(clients) => Arc::clone(clients) as Arc<_>,
    };
    let identity = &config.identity;
    let (chain, key) = (certificates(&identity.certificate)?, private_key(&identity.key)?);
    let built = builder.with_client_cert_verifier(verifier).with_single_cert(chain, key);
    let mut built = built.map_err(|error| identity.misfit(error))?;
    if config.clients != ClientCertificates::None {
        // A session that is taken up again would stand on a certificate that may have expired since.
        built.session_storage = Arc::new(NoServerSessionStorage {});
        built.send_tls13_tickets = 0;
    }
    if protocol == Protocol::Http {
        // Whoever names something else only is turned away (RFC 7301 3.2); who names nothing is served.
        built.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), b"http/1.0".to_vec()];
    }
    Ok(Built { config: Arc::new(built), clients })
}
