//! Traces as a collector gets them: OTLP over HTTP, decoded here.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use gantry::demo::Fault;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::{archive, ask, bridge};
use crate::retrieval::study_path;
use crate::support::metrics::Figures;
use crate::support::objects::{Kind, study};
use crate::support::{DEADLINE, until};

/// The trace that the client's request is part of, and its own span there.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CLIENT: &str = "00f067aa0ba902b7";

/// A collector on loopback.
#[derive(Debug, Clone)]
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
    /// The paths that were posted to, and what the bridge calls itself.
    seen: Arc<Mutex<BTreeSet<(String, String)>>>,
}

impl Collector {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let collector = Self { address, spans: Arc::default(), seen: Arc::default() };
        let taking = collector.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(taking.clone().take(stream));
            }
        });
        collector
    }

    async fn take(self, mut stream: TcpStream) {
        let mut bytes = Vec::new();
        let (head, length) = loop {
            if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                break (head.clone(), end + 4 + length.unwrap().parse::<usize>().unwrap());
            }
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
        };
        while bytes.len() < length && stream.read_buf(&mut bytes).await.unwrap_or(0) > 0 {}
        let body = &bytes[head.len() + 4..];
        let request = ExportTraceServiceRequest::decode(body).unwrap();
        let path = head.split(' ').nth(1).unwrap().to_owned();
        for of_resource in request.resource_spans {
            let resource = of_resource.resource.unwrap();
            let name = resource.attributes.iter().find(|it| it.key == "service.name").unwrap();
            self.seen
                .lock()
                .unwrap()
                .insert((path.clone(), text(name.value.as_ref().unwrap().value.as_ref())));
            let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.spans.lock().unwrap().extend(spans);
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    }

    fn spans(&self) -> Vec<Span> {
        self.spans.lock().unwrap().clone()
    }

    fn find(&self, name: &str) -> Option<Span> {
        self.spans().into_iter().find(|span| span.name == name)
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|it| it.key == key);
    text(found.and_then(|it| it.value.as_ref()?.value.as_ref()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn milliseconds(span: &Span) -> u64 {
    (span.end_time_unix_nano - span.start_time_unix_nano) / 1_000_000
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retrieval_is_told_from_the_clients_own_span_to_the_last_object() {
    let archive = archive(study(1, 1, 3, &Kind::default())).await;
    archive.set_fault(Fault::ObjectsSlow(60));
    let collector = Collector::start().await;
    for cache in ["", "[cache]\nmemory = \"64MiB\"\n"] {
        collector.spans.lock().unwrap().clear();
        let more = format!("[telemetry]\notlp = \"http://{}\"\n{cache}", collector.address);
        let bridge = bridge(archive.addr(), &more);
        let header = format!(
            "Accept: multipart/related; type=\"application/dicom\"\r\ntraceparent: 00-{TRACE}-{CLIENT}-01"
        );
        let reply = ask(&bridge, &study_path(1), &header).await;
        assert_eq!((reply.status, reply.whole), (200, true));
        until("the request's span", DEADLINE, async || collector.find("GET /studies/{study}").is_some())
            .await;
        until("the retrieval's span", DEADLINE, async || collector.find("retrieve").is_some()).await;
        let span = |name: &str| {
            let names = || collector.spans().into_iter().map(|span| span.name).collect::<Vec<_>>();
            collector.find(name).unwrap_or_else(|| panic!("{name}: {:?}", names()))
        };
        let (request, retrieve) = (span("GET /studies/{study}"), span("retrieve"));
        assert_eq!(hex(&request.parent_span_id), CLIENT);
        assert_eq!(retrieve.parent_span_id, request.span_id);
        for (name, parent) in [
            ("first object", &retrieve),
            ("objects", &retrieve),
            ("C-GET", &retrieve),
            ("association", &retrieve),
        ] {
            let all = collector.spans();
            let any = all.iter().any(|span| span.name == name && span.parent_span_id == parent.span_id);
            assert!(any, "{cache}: {name}");
        }
        let associations: Vec<_> =
            collector.spans().into_iter().filter(|it| it.name == "association").collect();
        assert!(associations.iter().any(|it| it.span_id == span("associate").parent_span_id));
        for span in collector.spans() {
            assert_eq!(hex(&span.trace_id), TRACE, "{}", span.name);
        }
        // Two more objects come 60 ms apart.
        assert!(milliseconds(&span("objects")) >= 100, "{}", milliseconds(&span("objects")));
        let parts = milliseconds(&span("first object")) + milliseconds(&span("objects"));
        assert!(milliseconds(&retrieve) + 50 >= parts && milliseconds(&request) >= 100);
        assert_eq!(attribute(&request, "http.response.status_code"), "200");
        assert_eq!(attribute(&request, "http.response.body.size"), reply.body.len().to_string());
        assert_eq!(attribute(&request, "gantry.archive"), "main");
        assert_eq!(attribute(&retrieve, "gantry.outcome"), "complete");
        assert_eq!(attribute(&retrieve, "gantry.objects"), "3");
        assert_eq!(attribute(&span("C-GET"), "dimse.status"), "0000");
        // Nothing of a patient, nor which study it was.
        let told = format!("{:?}", collector.spans());
        assert!(!told.contains("2.25.") && !told.contains("Owner1") && !told.contains("P1-1"), "{told}");
        let seen = collector.seen.lock().unwrap().clone();
        assert_eq!(seen, BTreeSet::from([("/v1/traces".to_owned(), "gantry".to_owned())]));
        // The collector has them a little before that is counted.
        let address = bridge.http.parse().unwrap();
        let counted = async || Figures::of(address).await.sum("spans_sent_total", &[]) > 0;
        until("sent spans are counted", DEADLINE, counted).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_collector_that_is_away_holds_nobody_up_and_what_is_lost_is_counted() {
    let archive = archive(study(1, 1, 2, &Kind::default())).await;
    let nobody = crate::support::process::free_port();
    let bridge = bridge(archive.addr(), &format!("[telemetry]\notlp = \"http://127.0.0.1:{nobody}\"\n"));
    let reply = ask(&bridge, &study_path(1), "Accept: multipart/related; type=\"application/dicom\"").await;
    assert!(reply.whole);
    let lost = async || Figures::of(bridge.http.parse().unwrap()).await.sum("spans_lost_total", &[]);
    until("what is lost is counted", DEADLINE, async || lost().await > 0).await;
    assert!(bridge.server.whole_log().contains("traces are not taken"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trace_that_the_client_does_not_make_is_not_made_here() {
    let archive = archive(study(1, 1, 2, &Kind::default())).await;
    let collector = Collector::start().await;
    let bridge = bridge(archive.addr(), &format!("[telemetry]\notlp = \"http://{}\"\n", collector.address));
    let with =
        |flags: &str| format!("Accept: application/dicom+json\r\ntraceparent: 00-{TRACE}-{CLIENT}-{flags}");
    assert_eq!(ask(&bridge, "/dicom-web/studies?limit=1", &with("00")).await.status, 200);
    // A header that is none begins a trace of our own.
    for forged in ["nonsense", "00-0-0-01", "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"] {
        let header = format!("Accept: application/dicom+json\r\ntraceparent: {forged}");
        assert_eq!(ask(&bridge, "/dicom-web/series?limit=1", &header).await.status, 200);
    }
    let ours = || collector.spans().iter().filter(|span| span.name == "GET /series").count();
    until("three traces of our own", DEADLINE, async || ours() == 3).await;
    assert!(collector.find("GET /studies").is_none());
    assert!(collector.spans().iter().all(|span| hex(&span.trace_id) != TRACE));
}
