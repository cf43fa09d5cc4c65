//! A small issuer of tokens (OpenID Connect) for tests: discovery and keys over HTTP or HTTPS on loopback, keys that rotate, and the
//! ways in which an issuer can fail.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::signer::Signer;

/// How an issuer behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manners {
    Good,
    /// Status 500.
    Broken,
    /// The keys lie where a redirect points.
    Redirects,
    /// Keys without end.
    Endless,
    /// No answer.
    Silent,
    /// Another name than it is asked by.
    OtherName,
}

/// An issuer that runs. Dropped, it is gone.
pub(crate) struct Issuer {
    /// Its URL.
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
    _task: AbortOnDropHandle<()>,
}

struct State {
    keys: Vec<Value>,
    manners: Manners,
    asked: usize,
}

impl Issuer {
    /// An issuer with these keys on a free port.
    pub(crate) async fn start(signers: &[&Signer]) -> Self {
        Self::start_over(signers, None).await
    }

    /// The same over TLS, at `localhost`, with this certificate and its key in PEM.
    #[allow(dead_code)] // The library's own tests use this file, too, by its path.
    pub(crate) async fn start_over_tls(signers: &[&Signer], certificate: &str, key: &str) -> Self {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let builder = rustls::ServerConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
        let config = builder.with_single_cert(chain, key).unwrap();
        Self::start_over(signers, Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    async fn start_over(signers: &[&Signer], tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let url = match tls {
            Some(_) => format!("https://localhost:{}", address.port()),
            None => format!("http://{address}"),
        };
        let state = State { keys: Vec::new(), manners: Manners::Good, asked: 0 };
        let state = Arc::new(Mutex::new(state));
        let (own, own_url) = (Arc::clone(&state), url.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (url, state, tls) = (own_url.clone(), Arc::clone(&own), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => answer(stream, url, state).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                answer(stream, url, state).await;
                            }
                        }
                    }
                });
            }
        });
        let issuer = Self { url, state, _task: AbortOnDropHandle::new(task) };
        issuer.publish(signers);
        issuer
    }

    /// Has these keys from now on, and no others.
    pub(crate) fn publish(&self, signers: &[&Signer]) {
        self.state.lock().unwrap().keys = signers.iter().map(|signer| signer.jwk()).collect();
    }

    /// Behaves so from now on.
    pub(crate) fn behave(&self, manners: Manners) {
        self.state.lock().unwrap().manners = manners;
    }

    /// How often it was asked for its keys.
    pub(crate) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }

    /// The claims of a good token for `audience`, with these besides.
    pub(crate) fn claims(&self, audience: &str, more: &Value) -> Value {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims =
            json!({ "iss": self.url, "aud": audience, "sub": "anna", "iat": now, "exp": now + 3600 });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    }
}

async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, url: String, state: Arc<Mutex<State>>) {
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|four| four == b"\r\n\r\n") {
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&piece[..length]),
        }
    }
    let is_keys = request.starts_with(b"GET /keys ");
    let (manners, keys) = {
        let mut state = state.lock().unwrap();
        state.asked += usize::from(is_keys);
        (state.manners, json!({ "keys": state.keys }).to_string())
    };
    let name = if manners == Manners::OtherName { "https://other.example".to_owned() } else { url.clone() };
    let discovery = json!({ "issuer": name, "jwks_uri": format!("{url}/keys") }).to_string();
    let ok = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let text = match manners {
        Manners::Silent => {
            let _ = tokio::time::timeout(Duration::from_secs(60), stream.read(&mut piece)).await;
            return;
        }
        Manners::Broken => "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n".to_owned(),
        Manners::Redirects if is_keys => {
            format!("HTTP/1.1 302 Found\r\nLocation: {url}/other\r\nContent-Length: 0\r\n\r\n")
        }
        Manners::Endless if is_keys => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n{\"keys\":[").await;
            while stream.write_all(&[b' '; 8192]).await.is_ok() {}
            return;
        }
        _ if is_keys => ok(&keys),
        _ => ok(&discovery),
    };
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.flush().await;
}
