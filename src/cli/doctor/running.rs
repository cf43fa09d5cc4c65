//! A Gantry that runs on this machine, asked over HTTP to try the way back that a C-MOVE takes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONNECTION, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

use crate::config::Config;
use crate::dicom::query::Target;
use crate::doctor::{Code, Finding};
use crate::net::tls;

/// How long it may take to answer that it is there.
const ALIVE: Duration = Duration::from_secs(3);
/// How much of an answer is read, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// A bridge that runs by this configuration.
pub(super) struct Running<'a> {
    config: &'a Config,
    address: SocketAddr,
    /// What is shown where `[auth]` wants to know who asks.
    token: Option<&'a str>,
}

/// Why there is no answer.
type Unanswered = String;

impl<'a> Running<'a> {
    /// The bridge at `http.listen`, if one answers there as a Gantry does.
    pub(super) async fn find(config: &'a Config, token: Option<&'a str>) -> Option<Self> {
        let listen = config.http.listen;
        let host = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            other => other,
        };
        let running = Self { config, address: SocketAddr::new(host, listen.port()), token };
        let answered = timeout(ALIVE, running.ask(Method::GET, "/health/live")).await;
        matches!(answered, Ok(Ok((StatusCode::OK, body))) if body.starts_with(b"live")).then_some(running)
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it finds when it has the archive move `target` to itself.
    pub(super) async fn try_return_path(
        &self,
        archive: &str,
        target: &Target,
        patient: Option<&str>,
        time: Duration,
    ) -> Finding {
        let mut path = format!("/admin/archives/{archive}/return-path?study={}", target.study);
        for (name, uid) in [("series", &target.series), ("instance", &target.instance)] {
            path.extend(uid.iter().map(|uid| format!("&{name}={uid}")));
        }
        path.extend(patient.map(|id| format!("&patient={}", utf8_percent_encode(id, NON_ALPHANUMERIC))));
        let at = self.address;
        let unaware = |what: String| Finding::new(Code::BridgeUnaware, format!("the Gantry at {at} {what}"));
        let answered = match timeout_at(Instant::now() + time, self.ask(Method::POST, &path)).await {
            Ok(answered) => answered,
            Err(_) => Err("it takes too long".to_owned()),
        };
        let untried = "whether objects of a C-MOVE come back is not known";
        match answered {
            Err(why) => unaware(format!("does not answer: {why}")).means(untried).remedy("see its log"),
            Ok((StatusCode::OK, body)) => serde_json::from_slice(&body).unwrap_or_else(|_| {
                unaware("is of another version, and answers something else".to_owned())
                    .means(untried)
                    .remedy("use the gantry that runs there, or stop it for the time of the examination")
            }),
            Ok((StatusCode::NOT_FOUND, _)) => unaware(format!("has no archive {archive}, or is of an older version"))
                .means(untried)
                .remedy("have it read the configuration again, or stop it for the time of the examination"),
            Ok((StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _)) => unaware("does not let us ask".to_owned())
                .means(untried)
                .remedy("put a token that has the right `admin` into a file and name that by --token-file; or run this on the machine that it runs on"),
            Ok((status, _)) => unaware(format!("answers with status {}", status.as_u16())).means(untried).remedy("see its log"),
        }
    }

    async fn ask(&self, method: Method, path: &str) -> Result<(StatusCode, Bytes), Unanswered> {
        let socket = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        match &self.config.http.tls {
            None => self.exchange(socket, method, path).await,
            Some(own) => {
                // Its certificate lies on this machine: nobody else can show it.
                let ca = Some(own.identity.certificate.clone());
                let name = tls::name_in(&own.identity.certificate).map_err(|error| error.to_string())?;
                let client = tls::Client::new(tls::ClientConfig {
                    ca,
                    server_name: name,
                    ..tls::ClientConfig::default()
                });
                let host = self.address.ip().to_string();
                let shaken = client.connect(socket, &host, Instant::now() + ALIVE).await;
                self.exchange(shaken.map_err(|error| error.to_string())?, method, path).await
            }
        }
    }

    async fn exchange<S>(&self, io: S, method: Method, path: &str) -> Result<(StatusCode, Bytes), Unanswered>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(io)).await.map_err(|error| error.to_string())?;
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(CONNECTION, "close");
        if let Some(token) = self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let answered = async {
            let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            Ok((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        tokio::pin!(answered);
        tokio::select! {
            answered = &mut answered => answered,
            ended = connection => match ended {
                // The answer may have come with the end.
                Ok(()) => answered.await,
                Err(error) => Err(error.to_string()),
            },
        }
    }
}
