//! A web client that writes its requests byte by byte, before an archive that has no manners: no panic, no answer that blames
//! the bridge, and when the client has gone nothing of it is left.
//!
//! An input says how the archive accepts associations, how many bytes of it are the archive's, and what the client sends.

#[allow(dead_code, reason = "the target `archive` looks at what was sent, too")]
#[allow(clippy::duplicate_mod, reason = "each target is a program of its own, and a module of the tests")]
#[path = "../support/peer.rs"]
mod peer;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use gantry::access::Access;
use gantry::archive::Archive;
use gantry::archive::activity::Activity;
use gantry::archive::dimse::DimseArchive;
use gantry::archive::dimse::config::{Config as ArchiveConfig, Timeouts};
use gantry::archive::shared::{Cache, Config as CacheConfig, Shared};
use gantry::event::Events;
use gantry::front::http::{Config, Kept, Services, app};
use gantry::metrics::Metrics;
use gantry::net::Connection;
use gantry::router::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::task::yield_now;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use peer::Peer;

/// Longer than the bridge waits for anybody.
const LONG: Duration = Duration::from_secs(3600);

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let [how, length, rest @ ..] = data else { return };
    let (script, client) = rest.split_at(usize::from(*length).min(rest.len()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(play(Peer::new(*how, script), client));
}

async fn play(peer: Arc<Peer>, client: &[u8]) {
    let title = |text: &str| text.parse().expect("an AE title");
    let timeouts = Timeouts { silence: Duration::from_secs(5), ..Timeouts::default() };
    let config = ArchiveConfig {
        timeouts,
        ..ArchiveConfig::new("main".into(), title("PACS"), "memory".into(), title("GANTRY"))
    };
    let (metrics, shutdown) = (Metrics::default(), CancellationToken::new());
    let archive = DimseArchive::over(config, None, None, metrics.clone(), |_| peer.connector());
    let cache = Cache::new(CacheConfig::default(), metrics.clone());
    let shared = Shared::new(Arc::new(archive.clone()), cache.clone(), metrics.clone());
    let services = Services {
        archives: Router::new([Arc::new(shared) as Arc<dyn Archive>], None),
        access: Access::open(),
        kept: Kept::new(Config::default().limits, &metrics),
        cache,
        metrics,
        events: Events::none(),
        activity: Activity::default(),
        dimse: None,
        shutdown,
    };
    let config = Config {
        trusted_proxies: vec!["127.0.0.0/8".parse().expect("a network")],
        hosts: ["b", "bridge.example"].map(|name| name.parse().expect("a name")).to_vec(),
        cors_origins: vec!["https://viewer.example".parse().expect("an origin")],
        ..Config::default()
    };
    let connection = Connection::of(([127, 0, 0, 1], 4).into());
    let service = TowerToHyperService::new(app(config, services).layer(Extension(connection)));
    let (mut ours, theirs) = duplex(1 << 14);
    let server = tokio::spawn(async move {
        let mut http = hyper::server::conn::http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30)).half_close(true);
        let _ = http.serve_connection(TokioIo::new(theirs), service).await;
    });
    let mut answers = Vec::new();
    {
        let (mut answer, mut request) = tokio::io::split(&mut ours);
        let send = async {
            let _ = request.write_all(client).await;
            let _ = request.shutdown().await;
        };
        let talk = async { tokio::join!(send, answer.read_to_end(&mut answers)) };
        assert!(timeout(LONG, talk).await.is_ok(), "it waits for a client that has nothing to say");
    }
    drop(ours);
    assert!(timeout(LONG, server).await.is_ok(), "the client has gone, and is still served");
    assert!(!contains(&answers, b" 500 Internal Server Error\r\n"), "{}", String::from_utf8_lossy(&answers));
    archive.shut_down(Instant::now() + LONG).await;
    drop(archive);
    for _ in 0..64 {
        yield_now().await;
    }
    assert_eq!(peer.open(), 0, "associations are left open");
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}
