//! Connections that say next to nothing, in numbers: whoever says something is served as fast as before.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use gantry::demo::Archive;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use tokio::time::sleep;

use crate::support::bridge::Bridge;
use crate::support::dimse::{Client, echo, proposal};
use crate::support::http::{Version, get_with};
use crate::support::objects::{IMPLICIT, Kind, study};
use crate::support::process::free_port;

/// Slow connections: of HTTP, and of DIMSE.
const SLOW: (usize, usize) = (1000, 200);
/// How much longer the median may be.
const MOST: f64 = 1.5;
/// Other tests run beside this one: of so many attempts one must do.
const ATTEMPTS: usize = 5;
/// Requests of which the median is taken.
const REQUESTS: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_thousand_slow_connections_and_two_hundred_of_dimse_slow_nobody_down() {
    let archive =
        Archive::builder().ae_title("PACS".parse().unwrap()).studies(study(1, 1, 3, &Kind::default()));
    let archive = archive.start().await.unwrap();
    let (port, address) = (free_port(), archive.addr());
    let configuration = format!(
        "[archive.main]\nae_title = \"PACS\"\naddress = \"{address}\"\n[ae.CLIENT]\n\
         [dimse]\nlisten = \"127.0.0.1:{port}\"\ntimeouts = {{ artim = \"1h\" }}\n"
    );
    let bridge =
        tokio::task::spawn_blocking(move || Bridge::with_configuration(&configuration)).await.unwrap();
    let (http, dimse) = (bridge.http.parse().unwrap(), SocketAddr::from(([127, 0, 0, 1], port)));
    let mut seen = Vec::new();
    for _ in 0..ATTEMPTS {
        let before = medians(http, dimse).await;
        let slow = slow(http, dimse).await;
        let under = medians(http, dimse).await;
        drop(slow);
        let ratio =
            |at: fn(&(Duration, Duration)) -> Duration| at(&under).as_secs_f64() / at(&before).as_secs_f64();
        let ratios = (ratio(|medians| medians.0), ratio(|medians| medians.1));
        eprintln!("{SLOW:?} slow connections: {before:?} before, {under:?} under attack");
        if ratios.0 < MOST && ratios.1 < MOST {
            return;
        }
        seen.push(ratios);
        sleep(Duration::from_millis(500)).await;
    }
    panic!("{seen:?}");
}

/// Connections that have begun a request each and go on by a byte every now and then, for as long as they are held.
async fn slow(http: SocketAddr, dimse: SocketAddr) -> tokio_util::task::AbortOnDropHandle<()> {
    let mut streams = Vec::new();
    for n in 0..SLOW.0 + SLOW.1 {
        let (address, begin) =
            if n < SLOW.0 { (http, &b"GET / HTTP/1.1\r\nA: "[..]) } else { (dimse, &[1, 0, 0, 0][..]) };
        // From several addresses, as one has not so many.
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 1, (n % 4) as u8], 0))).unwrap();
        let mut stream = socket.connect(address).await.unwrap();
        stream.write_all(begin).await.unwrap();
        streams.push(stream);
    }
    tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
        loop {
            for stream in &mut streams {
                // A zero goes on with both, and is wrong in the end.
                let _ = stream.write_all(b"0").await;
                sleep(Duration::from_millis(1)).await;
            }
        }
    }))
}

/// How long a search and a C-ECHO take, each on a connection of its own, in the median.
async fn medians(http: SocketAddr, dimse: SocketAddr) -> (Duration, Duration) {
    let (mut searches, mut echoes) = (Vec::new(), Vec::new());
    for _ in 0..REQUESTS {
        let begin = Instant::now();
        let reply =
            get_with(http, "/dicom-web/studies", Version::Http11, "Accept: application/dicom+json").await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        searches.push(begin.elapsed());
        let begin = Instant::now();
        let proposals = vec![proposal("1.2.840.10008.1.1", &[IMPLICIT])];
        let mut client = Client::to(dimse, "GANTRY", "CLIENT", proposals).await.unwrap();
        assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0);
        client.release().await;
        echoes.push(begin.elapsed());
    }
    let median = |mut times: Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    (median(searches), median(echoes))
}
