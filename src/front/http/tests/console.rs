//! The operators' pages.

use super::qido::lay;
use super::*;
use crate::access::config::Config as AuthConfig;
use crate::access::fresh_token;
use crate::archive::activity::Observed;
use crate::archive::{Error, Kind};
use crate::dicom::dataset::DataSet;
use crate::dicom::{VR, tags};
use crate::event::{Outcome, Recorder, What};
use crate::net::Connection;

const HERE: &str = "127.0.0.1:40000";
const AWAY: &str = "10.0.0.7:40000";
const OWN: (&str, &str) = ("Origin", "http://localhost:8080");
/// Name of what becomes a script where it is not escaped.
const HOSTILE: &str = "<script>alert(1)</script>^\"'><img src=x onerror=alert(2)>";

/// A server with a console whose events are kept, over one archive that is watched.
struct Site {
    bridge: Bridge,
    recorder: Recorder,
    tokens: Vec<(&'static str, String)>,
    _folder: tempfile::TempDir,
}

impl Site {
    /// Nobody has to say who they are.
    fn open() -> Self {
        Self::new(Config::default(), &[])
    }

    /// These have tokens, and may do so much.
    fn new(config: Config, somebody: &[(&'static str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (mut tokens, mut text) = (Vec::new(), String::new());
        for (name, allow) in somebody {
            let (token, entry) = fresh_token(name).unwrap();
            text.push_str(&format!("[{name}]\n{}\n{allow}\n", entry.lines().nth(1).unwrap()));
            tokens.push((*name, token));
        }
        let path = folder.path().join("tokens.toml");
        std::fs::write(&path, text).unwrap();
        let auth = AuthConfig { tokens: (!tokens.is_empty()).then_some(path), ..AuthConfig::default() };
        let (archive, shutdown, activity) =
            (Fake::named("main"), CancellationToken::new(), Activity::default());
        let observed = Observed::new(archive.clone(), activity.clone());
        let archives = router::Router::new([Arc::new(observed) as Arc<_>], None);
        let (events, recorder) = Events::recorded();
        let access = Access::new(auth).unwrap();
        let services = Services { access, events, activity, ..services(archives, shutdown.clone()) };
        let bridge = Bridge { archive, app: app(config, services), shutdown };
        Self { bridge, recorder, tokens, _folder: folder }
    }

    async fn ask(
        &self,
        client: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path).header("Host", "localhost:8080");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if method == "POST" {
            request = request.header("Content-Type", "application/x-www-form-urlencoded");
        }
        let request = request.extension(Connection::of(client.parse().unwrap()));
        let request = request.body(body.into()).unwrap();
        Answer::of(self.bridge.app.clone().oneshot(request).await.unwrap()).await
    }

    /// What stands in the forms of this page.
    fn token(page: &Answer) -> String {
        let text = page.text();
        let (_, rest) = text.split_once("name=\"token\" value=\"").expect("there is a form");
        format!("token={}", rest.split('"').next().unwrap())
    }

    /// Posts a form as the console's own pages do.
    async fn post(&self, path: &str, fields: &str) -> Answer {
        let token = Self::token(&self.get("/console/").await);
        self.ask(HERE, "POST", path, &[OWN], format!("{token}&{fields}")).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask(HERE, "GET", path, &[], "").await
    }

    async fn as_who(&self, who: &str, method: &str, path: &str) -> Answer {
        let token = &self.tokens.iter().find(|(name, _)| *name == who).unwrap().1;
        let authorization = format!("Bearer {token}");
        let headers = [("Authorization", authorization.as_str()), OWN];
        let overview = self.ask(AWAY, "GET", "/console/", &headers, "").await;
        let token = if overview.status == 200 { Self::token(&overview) } else { String::new() };
        self.ask(AWAY, method, path, &headers, token).await
    }
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }

    /// Asserts that this is a page of this status, and returns its text.
    fn page(&self, status: u16) -> String {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), "text/html; charset=utf-8");
        self.text()
    }
}

fn study() -> DataSet {
    let mut data_set = DataSet::new();
    for (tag, vr, text) in [
        (tags::STUDY_INSTANCE_UID, VR::UI, "1.2"),
        (tags::PATIENT_NAME, VR::PN, HOSTILE),
        (tags::PATIENT_ID, VR::LO, "\"><script>alert(3)</script>"),
        (tags::STUDY_DESCRIPTION, VR::LO, "</title><script>alert(4)</script>"),
        (tags::STUDY_DATE, VR::DA, "<b>2026"),
        (tags::MODALITIES_IN_STUDY, VR::CS, "<i>"),
        (tags::ACCESSION_NUMBER, VR::SH, "' onmouseover='x"),
    ] {
        data_set.set_str(tag, vr, text);
    }
    data_set
}

#[tokio::test]
async fn every_page_answers_and_says_what_a_browser_must_not_do_with_it() {
    let site = Site::open();
    for path in ["/console/", "/console/search", "/console/transfers", "/console/failures"] {
        let answer = site.get(path).await;
        let text = answer.page(200);
        assert!(text.contains("<html lang=\"en\">") && text.contains("aria-current=\"page\""), "{path}");
        assert!(!text.contains("<script>") && !text.contains(" style="), "{path}: {text}");
    }
    for path in ["/console/", "/console/nowhere", "/console/console.css", "/console/archives/x/echo"] {
        let answer = site.get(path).await;
        let policy = answer.header("content-security-policy");
        for part in
            ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'"]
        {
            assert!(policy.contains(part) && !policy.contains("unsafe"), "{path}: {policy}");
        }
        assert_eq!(answer.header("cache-control"), "no-store", "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("set-cookie"), "", "{path}");
    }
    assert_eq!(site.get("/console").await.header("location"), "/console/");
    site.get("/console/nowhere").await.page(404);
}

#[tokio::test]
async fn without_its_key_there_is_no_console() {
    let site = Site::new(Config { console: false, ..Config::default() }, &[]);
    for path in ["/console", "/console/", "/console/search", "/console/console.css"] {
        site.get(path).await.problem(404);
    }
    assert!(!site.get("/").await.text().contains("console"));
    assert!(Site::open().get("/").await.text().contains("href=\"console/\""));
}

#[tokio::test]
async fn hazard_where_nobody_signs_in_it_is_for_browsers_on_this_machine_alone() {
    let site = Site::open();
    site.ask(AWAY, "GET", "/console/", &[], "").await.page(403);
    site.ask(HERE, "GET", "/console/", &[("X-Forwarded-For", "203.0.113.9")], "").await.page(403);
    let request = Request::get("/console/").header("Host", "evil.example:8080");
    let request = request.extension(Connection::of(HERE.parse().unwrap())).body(Body::empty()).unwrap();
    let answer = Answer::of(site.bridge.app.clone().oneshot(request).await.unwrap()).await;
    assert!(answer.page(421).contains("localhost"));
}

#[tokio::test]
async fn who_is_no_operator_is_told_so_on_a_page_and_who_is_unknown_is_asked_who_they_are() {
    let somebody = [
        ("operator", "allow = [\"admin\"]"),
        ("reader", "allow = [\"search\", \"retrieve\", \"store\"]"),
        ("patient", "allow = [\"search\", \"retrieve\", \"admin\"]\npatients = [\"P\"]"),
    ];
    let site = Site::new(Config::default(), &somebody);
    let unknown = site.ask(HERE, "GET", "/console/", &[], "").await;
    unknown.page(401);
    assert!(unknown.header("www-authenticate").starts_with("Bearer"), "{:?}", unknown.headers);
    for who in ["reader", "patient"] {
        for path in ["/console/", "/console/search?archive=main", "/console/transfers", "/console/failures"] {
            assert!(site.as_who(who, "GET", path).await.page(403).contains("admin"), "{who} {path}");
        }
        site.as_who(who, "POST", "/console/archives/main/echo").await.page(403);
    }
    assert!(site.as_who("operator", "GET", "/console/").await.page(200).contains("operator"));
    assert!(site.bridge.archive.queries().is_empty());
}

#[tokio::test]
async fn hazard_who_operates_the_bridge_does_not_see_patients_by_that_alone() {
    let somebody = [("operator", "allow = [\"admin\"]"), ("searcher", "allow = [\"admin\", \"search\"]")];
    let site = Site::new(Config::default(), &somebody);
    let page = site.as_who("operator", "GET", "/console/search?archive=main&name=A").await.page(403);
    assert!(page.contains("no archive that you may search"), "{page}");
    for path in ["/console/archives/main/studies/1.2", "/console/archives/main/studies/1.2/series/1.3"] {
        assert!(site.as_who("operator", "GET", path).await.page(403).contains("“search”"), "{path}");
    }
    let preview = "/console/archives/main/studies/1.2/series/1.3/instances/1.4/preview";
    for who in ["operator", "searcher"] {
        site.as_who(who, "GET", preview).await.page(403);
        site.as_who(who, "POST", "/console/archives/main/studies/1.2/send").await.page(403);
    }
    assert!(site.bridge.archive.queries().is_empty() && site.bridge.archive.retrieves().is_empty());
    lay(&site.bridge, [study()]);
    let found = site.as_who("searcher", "GET", "/console/search?archive=main").await.page(200);
    assert!(found.contains("One study"), "{found}");
}

#[tokio::test]
async fn hazard_what_an_archive_says_never_becomes_part_of_a_page() {
    let site = Site::open();
    lay(&site.bridge, [study()]);
    let search =
        site.get("/console/search?archive=main&name=%22%3E%3Cscript%3Ealert(5)%3C%2Fscript%3E").await;
    lay(&site.bridge, [study()]);
    let mut series = study();
    series.set_str(tags::SERIES_INSTANCE_UID, VR::UI, "1.3");
    series.set_str(tags::MODALITY, VR::CS, "<svg onload=alert(6)>");
    lay(&site.bridge, [series]);
    let page = site.get("/console/archives/main/studies/1.2").await;
    for text in [search.page(200), page.page(200)] {
        for tag in ["<script>alert", "<img src=x", "<svg onload", "<b>2026", "<i>", "' onmouseover="] {
            assert!(!text.contains(tag), "{tag}: {text}");
        }
        assert!(text.contains("alert(1)"), "it is shown: {text}");
    }
}

#[tokio::test]
async fn hazard_a_page_of_another_site_makes_it_do_nothing() {
    let site = Site::open();
    let echo = "/console/archives/main/echo";
    for headers in [
        &[][..],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site"), OWN],
        &[("Origin", "http://127.0.0.1:8080")],
    ] {
        site.ask(HERE, "POST", echo, headers, "").await.page(403);
        site.ask(HERE, "POST", "/console/transfers/send/1/cancel", headers, "").await.page(403);
    }
    let page = site.get("/console/").await.page(200);
    assert!(!page.contains("C-ECHO answered"), "{page}");
    let stranger = Site::token(&Site::open().get("/console/").await);
    for form in [String::new(), "token=".to_owned(), stranger] {
        assert!(site.ask(HERE, "POST", echo, &[OWN], form).await.page(403).contains("out of date"));
    }
    let answer = site.post(echo, "").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/console/#main"));
    assert!(site.get("/console/").await.page(200).contains("C-ECHO answered in"));
    // What changes something is never asked for by a link.
    assert_eq!(site.get(echo).await.status, 405);
}

#[tokio::test]
async fn hazard_pages_that_may_use_dicomweb_may_not_use_the_console() {
    let page = "https://viewer.example";
    let config = Config { cors_origins: vec![page.parse().unwrap()], ..Config::default() };
    let site = Site::new(config, &[]);
    for method in ["GET", "POST"] {
        let answer = site.ask(HERE, method, "/console/archives/main/echo", &[("Origin", page)], "").await;
        assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (403, ""));
    }
    let preflight = [("Origin", page), ("Access-Control-Request-Method", "POST")];
    let answer = site.ask(HERE, "OPTIONS", "/console/", &preflight, "").await;
    assert_eq!(answer.header("access-control-allow-methods"), "");
}

#[tokio::test]
async fn a_search_is_recorded_as_any_other_and_its_failure_stands_beside_the_form() {
    let site = Site::open();
    lay(&site.bridge, [study()]);
    site.get("/console/search?archive=main&id=P1").await.page(200);
    let events = site.recorder.take();
    let What::Query(query) = &events[0].what else { panic!("{events:?}") };
    assert_eq!((events.len(), query.archive.as_str()), (1, "main"));
    assert_eq!(query.text, b"studies?includefield=StudyDescription&PatientID=P1");
    let comment = Some("no patient Doe^John".to_owned());
    let kind = Kind::Status { operation: "C-FIND", code: 0xA700, comment, client_keys: false };
    site.bridge.archive.push_search(Err(Error::new("main", kind)));
    let page = site.get("/console/search?archive=main&id=P1").await.page(503);
    assert!(page.contains("A700") && page.contains("value=\"P1\"") && !page.contains("Doe"), "{page}");
    assert_eq!(site.recorder.take()[0].outcome, Outcome::SeriousFailure);
    let failures = site.get("/console/failures").await.page(200);
    assert!(failures.contains("Search at main") && failures.contains("Out of resources"), "{failures}");
    assert!(!failures.contains("Doe"));
    let overview = site.get("/console/").await.page(200);
    assert!(overview.contains("class=\"state failing\""), "{overview}");
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_in_words() {
    let site = Site::open();
    for (path, status) in [
        ("/console/search?archive=main&from=yesterday", 400),
        ("/console/archives/nowhere/studies/1.2", 404),
        ("/console/archives/main/studies/1..2", 400),
        ("/console/search?name=%FF", 400),
    ] {
        site.get(path).await.page(status);
    }
    let send = "/console/archives/main/studies/1.2/send";
    assert!(site.post(send, "to=NOWHERE").await.page(400).contains("destination"));
    site.post(send, &"a".repeat(9 << 10)).await.page(413);
    site.post("/console/transfers/other/1/cancel", "").await.page(404);
    assert_eq!(site.post("/console/transfers/send/99/cancel", "").await.status, 303);
}
