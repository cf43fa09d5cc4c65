//! Who may do what, in every resource.

use std::collections::BTreeMap;

use super::qido::lay;
use super::*;
use crate::access::config::Config as AuthConfig;
use crate::access::fresh_token;
use crate::dicom::dataset::DataSet;
use crate::dicom::{VR, tags};
use crate::event::{Event, Outcome, Recorder, What};
use crate::net::Connection;

/// Where the operator has an archive move something to the bridge.
const RETURN_PATH: &str = "/admin/archives/main/return-path?study=1.2";

/// A server over two archives that wants to know who asks, and tokens by the names of those who have them.
struct Guarded {
    bridge: Bridge,
    other: Arc<Fake>,
    tokens: BTreeMap<&'static str, String>,
    recorder: Recorder,
    _folder: tempfile::TempDir,
}

const SOMEBODY: [(&str, &str); 7] = [
    ("operator", "allow = [\"admin\"]"),
    ("all", "allow = [\"search\", \"retrieve\", \"store\", \"admin\"]"),
    ("searcher", "allow = [\"search:main\"]"),
    ("reader", "allow = [\"search:other\", \"retrieve:other\", \"store:other\"]"),
    ("mixed", "allow = [\"search:main\", \"retrieve:other\", \"store:other\"]"),
    ("patient", "allow = [\"search\", \"retrieve\", \"store\", \"admin\"]\npatients = [\"P\"]"),
    ("study", "allow = [\"search\", \"retrieve\", \"store\"]\nstudies = [\"1.1\"]"),
];

impl Guarded {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut tokens, mut text) = (BTreeMap::new(), String::new());
        for (name, allow) in SOMEBODY {
            let (token, entry) = fresh_token(name).unwrap();
            let hash = entry.lines().nth(1).unwrap();
            text.push_str(&format!("[{name}]\n{hash}\n{allow}\n"));
            tokens.insert(name, token);
        }
        let path = folder.path().join("tokens.toml");
        std::fs::write(&path, text).unwrap();
        let access = Access::new(AuthConfig { tokens: Some(path), ..AuthConfig::default() }).unwrap();
        let (archive, other) = (Fake::named("main"), Fake::named("other"));
        let shutdown = CancellationToken::new();
        let archives =
            router::Router::new([archive.clone() as Arc<_>, other.clone() as Arc<_>], Some("main"));
        let (events, recorder) = Events::recorded();
        let access = access.telling(events.clone());
        let services = Services { access, events, ..services(archives, shutdown.clone()) };
        let config =
            Config { cors_origins: vec!["https://viewer.example".parse().unwrap()], ..Config::default() };
        let bridge = Bridge { archive, app: app(config, services), shutdown };
        Self { bridge, other, tokens, recorder, _folder: folder }
    }

    async fn ask(&self, who: &str, method: &str, path: &str) -> Answer {
        let authorization = self.tokens.get(who).map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> =
            authorization.iter().map(|value| ("Authorization", value.as_str())).collect();
        self.bridge.ask_with(method, path, &headers).await
    }

    async fn store(&self, who: &str, path: &str, body: Vec<u8>) -> Answer {
        let authorization = format!("Bearer {}", self.tokens[who]);
        let content_type = "multipart/related; type=\"application/dicom\"; boundary=b";
        let headers = [("Authorization", authorization.as_str()), ("Content-Type", content_type)];
        super::stow::send(&self.bridge.app, path, &headers, body.into()).await
    }

    /// Nobody has asked an archive for anything.
    fn assert_unasked(&self, what: &str) {
        for archive in [&self.bridge.archive, &self.other] {
            assert!(archive.queries().is_empty() && archive.retrieves().is_empty(), "{what}");
            assert!(archive.stored().is_empty(), "{what}");
        }
    }
}

/// Every resource with UIDs in it, below a service: its method, and what one has to be allowed to do.
fn every_resource(service: &str) -> Vec<(&'static str, String, Operation)> {
    let fill = |path: &str| {
        let path = path.replace("{study}", "1.2").replace("{series}", "1.3").replace("{instance}", "1.4");
        format!("{service}{}", path.replace("{frames}", "1").replace("{*path}", "7FE00010"))
    };
    let uri = "?requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=1.4&contentType=application/dicom";
    let get = RESOURCES.iter().map(|(path, resource)| {
        let query = if *resource == Resource::WadoUri { uri } else { "" };
        ("GET", fill(path) + query, resource.operation())
    });
    let post = STORES.iter().map(|path| ("POST", fill(path), Operation::Store));
    get.chain(post).collect()
}

fn matched(study: &str, patient: &str) -> DataSet {
    let mut data_set = DataSet::new();
    data_set.set_str(tags::STUDY_INSTANCE_UID, VR::UI, study);
    data_set.set_str(tags::PATIENT_ID, VR::LO, patient);
    data_set
}

#[tokio::test]
async fn whoever_is_not_known_gets_401_whatever_they_ask_for() {
    let guarded = Guarded::new();
    let mut paths = every_resource("/dicom-web");
    paths.extend(every_resource("/archives/main"));
    paths.extend(every_resource("/archives/nowhere"));
    let pages = ["/metrics", "/admin/cache", "/nowhere", "/dicom-web/nowhere", "/dicom-web"];
    paths.extend(pages.map(|path| ("GET", path.to_owned(), Operation::Admin)));
    paths.extend(
        ["/", "/dicom-web", "/archives/main"].map(|path| ("OPTIONS", path.to_owned(), Operation::Search)),
    );
    paths.push(("DELETE", "/admin/cache".to_owned(), Operation::Admin));
    paths.push(("POST", RETURN_PATH.to_owned(), Operation::Admin));
    let mut bodies = std::collections::BTreeSet::new();
    for (method, path, _) in &paths {
        let answer = guarded.ask("nobody", method, path).await;
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"gantry\"", "{path}");
        bodies.insert(answer.problem(401));
    }
    assert_eq!(bodies.len(), 1, "the answer tells nothing of what there is");
    guarded.assert_unasked("by nobody");
}

#[tokio::test]
async fn what_a_load_balancer_and_a_browser_ask_first_is_for_everybody_and_tells_of_no_archive() {
    let guarded = Guarded::new();
    for path in ["/health/live", "/health/ready", "/", "/openapi.yaml"] {
        for method in ["GET", "HEAD"] {
            let answer = guarded.ask("nobody", method, path).await;
            assert_eq!(answer.status, 200, "{path}");
            let body = String::from_utf8_lossy(&answer.body);
            let names = ["archive main", "archives/main", "\"main\""].iter().any(|name| body.contains(name));
            assert!(path == "/openapi.yaml" || !names, "{path}: {body}");
        }
    }
    assert!(guarded.ask("operator", "GET", "/health/ready").await.json()["archives"]["main"].is_object());
    let welcome = guarded.ask("reader", "GET", "/").await;
    let welcome = String::from_utf8_lossy(&welcome.body).into_owned();
    assert!(welcome.contains("/archives/other") && !welcome.contains("/archives/main"), "{welcome}");
}

#[tokio::test]
async fn who_may_not_do_such_a_thing_anywhere_gets_403_before_any_archive_is_looked_for() {
    let guarded = Guarded::new();
    for service in ["/dicom-web", "/archives/main", "/archives/nowhere"] {
        for (method, path, operation) in every_resource(service) {
            if operation == Operation::Search {
                continue;
            }
            let answer = guarded.ask("searcher", method, &path).await;
            assert!(answer.header("www-authenticate").contains("insufficient_scope"), "{path}");
            answer.problem(403);
        }
    }
    guarded.assert_unasked("by who may only search");
    for who in ["searcher", "patient"] {
        guarded.ask(who, "GET", "/metrics").await.problem(403);
        guarded.ask(who, "DELETE", "/admin/cache").await.problem(403);
        guarded.ask(who, "POST", RETURN_PATH).await.problem(403);
    }
    assert_eq!(guarded.ask("operator", "GET", "/metrics").await.status, 200);
    // The operator gets as far as an archive that is reached by no C-MOVE.
    guarded.ask("operator", "POST", RETURN_PATH).await.problem(409);
}

#[tokio::test]
async fn attack_an_archive_at_which_nothing_is_allowed_is_one_that_does_not_exist() {
    let guarded = Guarded::new();
    for (known, unknown) in
        every_resource("/archives/main").into_iter().zip(every_resource("/archives/nowhere"))
    {
        let (method, path, _) = known;
        let known = guarded.ask("reader", method, &path).await;
        let unknown = guarded.ask("reader", method, &unknown.1).await;
        assert_eq!(known.problem(404), unknown.problem(404), "{path}");
        assert_eq!(known.headers, unknown.headers, "{path}");
    }
    for (method, path, _) in every_resource("/dicom-web") {
        guarded.ask("reader", method, &path).await.problem(404);
    }
    guarded.ask("reader", "OPTIONS", "/archives/main").await.problem(404);
    assert_eq!(guarded.ask("reader", "OPTIONS", "/archives/other").await.status, 200);
    guarded.assert_unasked("at another archive");
}

#[tokio::test]
async fn a_right_at_one_archive_is_none_at_another() {
    let guarded = Guarded::new();
    for (method, path, operation) in every_resource("/archives/main") {
        if operation != Operation::Search {
            guarded.ask("mixed", method, &path).await.problem(403);
        }
    }
    guarded.assert_unasked("for what is allowed elsewhere");
    lay(&guarded.bridge, [matched("1.1", "P")]);
    assert_eq!(guarded.ask("mixed", "GET", "/archives/main/studies").await.status, 200);
}

#[tokio::test]
async fn attack_a_study_outside_is_answered_as_an_unknown_one_in_every_resource() {
    let guarded = Guarded::new();
    let get = |(method, _, operation): &(&str, String, Operation)| {
        *method == "GET" && *operation == Operation::Retrieve
    };
    for (method, path, _) in every_resource("/dicom-web").into_iter().filter(get) {
        let outside = guarded.ask("study", method, &path).await;
        lay(&guarded.bridge, [matched("1.2", "Q")]);
        let foreign = guarded.ask("patient", method, &path).await;
        let empty: [DataSet; 0] = [];
        // Whose it was is remembered: an unknown one has another UID.
        lay(&guarded.bridge, empty);
        let unknown = path.replace("1.2", "1.7");
        let unknown = guarded.ask("patient", method, &unknown).await;
        let text = outside.problem(404);
        assert_eq!((&foreign.problem(404), &unknown.problem(404)), (&text, &text), "{path}");
        assert_eq!((&foreign.headers, &unknown.headers), (&outside.headers, &outside.headers), "{path}");
        forget(&guarded);
    }
    assert!(guarded.bridge.archive.retrieves().is_empty());
    let body = b"\r\n--b\r\nContent-Type: application/dicom\r\n\r\nx\r\n--b--\r\n".to_vec();
    guarded.store("study", "/dicom-web/studies/1.2", body.clone()).await.problem(404);
    let empty: [DataSet; 0] = [];
    lay(&guarded.bridge, empty);
    guarded.store("patient", "/dicom-web/studies/1.8", body).await.problem(404);
    assert!(guarded.bridge.archive.stored().is_empty());
}

/// Searches that were laid ready and not asked for are none of the next one's.
fn forget(guarded: &Guarded) {
    guarded.bridge.archive.clear_searches();
}

#[tokio::test]
async fn attack_pages_of_a_search_are_not_those_of_somebody_else() {
    let guarded = Guarded::new();
    let path = "/dicom-web/studies?limit=1";
    lay(&guarded.bridge, [matched("1.1", "P"), matched("1.2", "Q"), matched("1.3", "Q")]);
    assert_eq!(guarded.ask("all", "GET", path).await.status, 200);
    lay(&guarded.bridge, [matched("1.1", "P"), matched("1.2", "Q"), matched("1.3", "Q")]);
    let first = guarded.ask("patient", "GET", path).await;
    assert_eq!(first.json().as_array().unwrap().len(), 1);
    assert!(first.headers.get("warning").is_none(), "nothing tells of matches that are not theirs");
    lay(&guarded.bridge, [matched("1.1", "P"), matched("1.2", "Q"), matched("1.3", "Q")]);
    let second = guarded.ask("patient", "GET", "/dicom-web/studies?limit=1&offset=1").await;
    assert_eq!(second.status, 204);
    forget(&guarded);
}

#[tokio::test]
async fn refusals_can_be_read_by_pages_and_preflights_pass_without_credentials() {
    let guarded = Guarded::new();
    let origin = ("Origin", "https://viewer.example");
    let refused = guarded.bridge.ask_with("GET", "/dicom-web/studies", &[origin]).await;
    refused.problem(401);
    assert_eq!(refused.header("access-control-allow-origin"), "https://viewer.example");
    assert!(refused.header("access-control-expose-headers").contains("www-authenticate"));
    let authorization = format!("Bearer {}", guarded.tokens["operator"]);
    let forbidden = [origin, ("Authorization", authorization.as_str())];
    let forbidden = guarded.bridge.ask_with("GET", "/dicom-web/studies", &forbidden).await;
    forbidden.problem(403);
    assert_eq!(forbidden.header("access-control-allow-origin"), "https://viewer.example");
    let preflight = [origin, ("Access-Control-Request-Method", "GET")];
    let preflight = guarded.bridge.ask_with("OPTIONS", "/dicom-web/studies", &preflight).await;
    assert_eq!(preflight.status, 204);
    assert!(preflight.header("access-control-allow-headers").contains("authorization"));
}

#[tokio::test]
async fn attack_cookies_and_queries_are_no_credentials() {
    let guarded = Guarded::new();
    let token = &guarded.tokens["all"];
    let cookie = format!("token={token}; access_token={token}");
    guarded.bridge.ask_with("GET", "/dicom-web/studies", &[("Cookie", &cookie)]).await.problem(401);
    let path = format!("/dicom-web/studies?access_token={token}");
    guarded.bridge.ask_with("GET", &path, &[]).await.problem(401);
    let bearer = format!("Bearer {token}");
    let twice = [("Authorization", bearer.as_str()), ("Authorization", "Bearer x")];
    guarded.bridge.ask_with("GET", "/dicom-web/studies", &twice).await.problem(401);
}

#[tokio::test]
async fn what_somebody_tried_and_may_not_is_told() {
    let guarded = Guarded::new();
    let alerts = |events: Vec<Event>| -> Vec<Event> {
        events.into_iter().filter(|event| matches!(event.what, What::SecurityAlert { .. })).collect()
    };
    guarded.ask("searcher", "GET", "/dicom-web/studies/1.2").await.problem(403);
    guarded.ask("reader", "GET", "/archives/main/studies").await.problem(404);
    let told = alerts(guarded.recorder.take());
    assert_eq!(told.len(), 2);
    assert_eq!(told[0].who.user.as_deref(), Some("searcher"));
    assert_eq!(told[1].who.user.as_deref(), Some("reader"));
    assert!(told.iter().all(|event| event.outcome == Outcome::MinorFailure));
}

#[tokio::test]
async fn attack_a_page_whose_name_is_made_to_mean_this_machine_reads_nothing() {
    let bridge = Bridge::new();
    let as_asked = async |host: &str, method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).header("Host", host);
        let request = request.body(Body::empty()).unwrap();
        Answer::of(bridge.app.clone().oneshot(request).await.unwrap()).await
    };
    let mut reached: Vec<(&str, String)> =
        every_resource("/dicom-web").into_iter().map(|(method, path, _)| (method, path)).collect();
    reached.extend(["/metrics", "/admin/cache"].map(|path| ("GET", path.to_owned())));
    reached.extend([("OPTIONS", "/".to_owned()), ("GET", "/nowhere".to_owned())]);
    for (method, path) in &reached {
        let text = as_asked("evil.example:8080", method, path).await.problem(421);
        assert!(text.contains("http.hosts") && !text.contains("evil"), "{path}: {text}");
    }
    assert!(bridge.archive.queries().is_empty() && bridge.archive.retrieves().is_empty());
    assert!(bridge.archive.stored().is_empty());
    for path in ["/", "/health/live", "/health/ready", "/openapi.yaml"] {
        let answer = as_asked("evil.example", "GET", path).await;
        assert_eq!(answer.status, 200, "{path}");
        let text = String::from_utf8_lossy(&answer.body);
        assert!(!text.contains("/archives/main") && !text.contains("\"main\""), "{path} tells of no archive");
    }
    for host in ["localhost:8080", "127.0.0.1", "[::1]:8080", "bridge.example"] {
        lay(&bridge, []);
        assert_eq!(as_asked(host, "GET", "/dicom-web/studies").await.status, 204, "{host}");
    }
}

#[tokio::test]
async fn with_credentials_this_server_is_asked_by_any_name() {
    let guarded = Guarded::new();
    lay(&guarded.bridge, []);
    assert_eq!(guarded.ask("searcher", "GET", "/dicom-web/studies").await.status, 204);
}

#[tokio::test]
async fn the_operator_may_come_from_elsewhere_once_they_have_said_who_they_are() {
    let guarded = Guarded::new();
    let from_elsewhere = async |who: &str| {
        let connection = Connection::of("10.0.0.7:40000".parse().unwrap());
        let request =
            Request::builder().uri("/admin/cache").header("Host", "localhost").extension(connection);
        let request = request.header("Authorization", format!("Bearer {}", guarded.tokens[who]));
        Answer::of(guarded.bridge.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap())
            .await
    };
    assert_eq!(from_elsewhere("operator").await.status, 200);
    from_elsewhere("searcher").await.problem(403);
}
