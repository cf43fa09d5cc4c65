//! Short JSON documents of the issuer, over HTTP/1.1: bounded in length and time, and never from where a redirect points.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HOST, USER_AGENT};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use crate::access::OpenError;
use crate::net::{is_this_machine, tls};

/// Longest document, in bytes: a hundred keys, each with its certificates.
const MAX_DOCUMENT: usize = 1 << 20;
/// How long the connection may take to come.
const CONNECT: Duration = Duration::from_secs(5);

/// Why a document did not come.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("not a URL that is asked here: https, or http at this machine alone")]
    BadUrl,
    #[error("no connection: {0}")]
    Connect(std::io::Error),
    #[error("it did not answer in time")]
    Timeout,
    #[error("it broke the protocol: {0}")]
    Protocol(#[from] hyper::Error),
    #[error("it answered with status {0}; redirects are not followed")]
    Status(StatusCode),
    #[error("its answer broke off or is longer than {MAX_DOCUMENT} bytes")]
    Body,
    #[error("its answer is not the JSON that was expected")]
    NotJson,
    #[error("its keys lie at a URL without TLS")]
    PlainKeys,
    #[error("it names another issuer than the configuration does")]
    OtherIssuer,
    #[error("it has no key of a kind that is taken here")]
    NoKeys,
}

/// Asks an issuer.
#[derive(Debug)]
pub(super) struct Fetch {
    tls: tls::Client,
}

/// A connection, whatever lies below.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Fetch {
    /// One that trusts the authorities of this file, else the system's.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, OpenError> {
        let config = tls::ClientConfig { ca: ca.map(Path::to_owned), ..tls::ClientConfig::default() };
        if ca.is_some() {
            config.check().map_err(|error| OpenError {
                key: "auth.oidc.ca",
                path: error.path,
                why: error.text,
            })?;
        }
        Ok(Self { tls: tls::Client::new(config) })
    }

    /// The document at this URL.
    pub(super) async fn json<T: DeserializeOwned>(&self, url: &str) -> Result<T, FetchError> {
        let uri: Uri = url.parse().map_err(|_| FetchError::BadUrl)?;
        let authority = uri.authority().ok_or(FetchError::BadUrl)?.clone();
        let stream = timeout_at(Instant::now() + CONNECT, self.connect(&uri)).await;
        let stream = stream.map_err(|_| FetchError::Timeout)??;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with this call, whatever becomes of it.
        let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::get(path)
            .header(HOST, authority.as_str())
            .header(ACCEPT, "application/json")
            .header(USER_AGENT, concat!("gantry/", env!("CARGO_PKG_VERSION")));
        if let Some(parent) = crate::trace::parent() {
            request = request.header("traceparent", parent);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|_| FetchError::BadUrl)?;
        let response = sender.send_request(request).await?;
        if response.status() != StatusCode::OK {
            return Err(FetchError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_DOCUMENT).collect().await;
        let bytes = body.map_err(|_| FetchError::Body)?.to_bytes();
        serde_json::from_slice(&bytes).map_err(|_| FetchError::NotJson)
    }

    async fn connect(&self, uri: &Uri) -> Result<Box<dyn Stream>, FetchError> {
        let host = uri.host().ok_or(FetchError::BadUrl)?.trim_matches(['[', ']']);
        let (is_secure, port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") if is_this_machine(host) => (false, 80),
            _ => return Err(FetchError::BadUrl),
        };
        let port = uri.port_u16().unwrap_or(port);
        let stream = TcpStream::connect((host, port)).await.map_err(FetchError::Connect)?;
        if !is_secure {
            return Ok(Box::new(stream));
        }
        let stream = self.tls.connect(stream, host, Instant::now() + CONNECT).await;
        Ok(Box::new(stream.map_err(FetchError::Connect)?))
    }
}
