//! `gantry doctor` before real archives, each with something else that is wrong: it is named rightly, with its remedy.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use gantry::config::Config;
use gantry::demo::{Archive as Demo, Running};
use gantry::net::tls::ClientCertificates;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::support::bridge::{Bridge, before};
use crate::support::certificates::{Subject, self_signed};
use crate::support::command::{Ran, command, gantry, gantry_beside};
use crate::support::objects::{Kind, study, study_uid};
use crate::support::peers::{Archive, Destination, data};
use crate::support::process::{Scratch, bounded, free_port};
use crate::tls::Pki;
use crate::tls::archives::terminator;

/// A report of one archive, and how the command ended.
struct Report {
    code: i32,
    json: Value,
}

impl Report {
    fn of(ran: Ran) -> Self {
        let json: Value = serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        Self { code: ran.code, json: json["archives"][0].clone() }
    }

    fn finding(&self, code: &str) -> Option<&Value> {
        self.json["findings"].as_array().unwrap().iter().find(|finding| finding["code"] == code)
    }

    fn has(&self, code: &str) -> bool {
        self.finding(code).is_some()
    }

    /// That this was found, as bad as that, with these words in what is to be done; and exit code 1 for an error.
    #[track_caller]
    fn tells(&self, code: &str, level: &str, words: &[&str]) {
        let finding = self.finding(code).unwrap_or_else(|| panic!("no {code}: {:#}", self.json));
        assert_eq!(finding["level"], level, "{finding:#}");
        let remedy = finding["remedy"].as_str().unwrap_or_default();
        assert!(words.iter().all(|word| remedy.contains(word)), "{words:?}: {finding:#}");
        assert!(level != "error" || self.code == 1, "exit code {}", self.code);
    }

    /// That all is well but for these.
    #[track_caller]
    fn is_well(&self) {
        assert_eq!(self.code, 0, "{:#}", self.json);
        for code in [
            "resolved",
            "connected",
            "associated",
            "echoed",
            "query-contexts",
            "found-studies",
            "found-series",
            "found-instances",
            "charset-good",
            "move-works",
            "retrieval-works",
        ] {
            assert!(self.has(code), "no {code}: {:#}", self.json);
        }
    }
}

/// A configuration in a file.
struct Scene {
    scratch: Scratch,
}

impl Scene {
    fn new(configuration: &str) -> Self {
        let scratch = Scratch::new("doctor");
        let http = if configuration.contains("[http]") { "" } else { "[http]\nlisten = \"127.0.0.1:9\"\n" };
        scratch.write("gantry.toml", &format!("{configuration}\n{http}"));
        Self { scratch }
    }

    fn of(archive: &Archive, own: &Destination, retrieve: &str) -> Self {
        Self::new(&before(archive, own, retrieve, ""))
    }

    fn file(&self) -> PathBuf {
        self.scratch.path().join("gantry.toml")
    }

    fn examine(&self, more: &[&str]) -> Report {
        let file = self.file();
        Report::of(gantry(&[&["doctor", "--json", "--config", file.to_str().unwrap()], more].concat()))
    }

    async fn examine_beside(&self, more: &[&str]) -> Report {
        let file = self.file();
        Report::of(
            gantry_beside(&[&["doctor", "--json", "--config", file.to_str().unwrap()], more].concat()).await,
        )
    }
}

fn slices() -> PathBuf {
    data("ct", &["--slices", "40"])
}

/// The configuration before an archive at this address, with more tables behind.
fn configuration(archive: SocketAddr, port: u16, more: &str) -> String {
    format!(
        "[dimse]\nlisten = \"127.0.0.1:{port}\"\n[archive.main]\nae_title = \"PACS\"\naddress = \"{archive}\"\n\
         timeouts = {{ connect = \"3s\", association = \"3s\", silence = \"5s\" }}\n{more}\n"
    )
}

async fn demo() -> Running {
    Demo::builder()
        .ae_title("PACS".parse().unwrap())
        .studies(study(1, 2, 3, &Kind::default()))
        .start()
        .await
        .unwrap()
}

#[test]
fn orthanc_that_knows_us_is_well_and_the_block_that_is_suggested_is_a_good_configuration() {
    let own = Destination::new("GANTRY");
    let archive = Archive::orthanc(&slices(), std::slice::from_ref(&own), json!({}));
    let report = Scene::of(&archive, &own, "auto").examine(&[]);
    report.is_well();
    report.tells("get-works", "ok", &[]);
    let entry = &report.json["entry"];
    assert_eq!((&entry["ae_title"], &entry["port"]), (&json!("GANTRY"), &json!(own.port)));
    let suggested = Config::parse(report.json["suggested"].as_str().unwrap(), []).unwrap();
    assert_eq!(suggested.archives[0].address, format!("127.0.0.1:{}", archive.port));
}

#[test]
fn dcmqrscp_without_c_get_is_well_by_c_move_and_nobody_is_asked_for_more_than_it_has() {
    let (own, folder) = (Destination::new("GANTRY"), slices());
    let to = std::slice::from_ref(&own);
    let archive = Archive::dcmqrscp(&folder, &folder.join("manifest.json"), to, &["--disable-get"]);
    let report = Scene::of(&archive, &own, "auto").examine(&[]);
    report.is_well();
    report.tells("get-refused", "note", &["C-MOVE"]);
    report.tells("hierarchical-only", "note", &[]);
    assert!(report.json["suggested"].as_str().unwrap().contains("retrieve = \"move\""));
}

#[test]
fn an_archive_that_does_not_know_our_title_gets_the_entry_that_it_lacks() {
    let (own, folder) = (Destination::new("GANTRY"), slices());
    let other = Destination::new("OTHER");
    let to = std::slice::from_ref(&other);
    let archive = Archive::dcmqrscp(&folder, &folder.join("manifest.json"), to, &["--disable-get"]);
    let report = Scene::of(&archive, &own, "auto").examine(&[]);
    report.tells("destination-unknown", "error", &["entry below"]);
    report.tells("retrieval-impossible", "error", &[]);
    assert!(report.finding("destination-unknown").unwrap()["what"].as_str().unwrap().contains("A801"));
    assert_eq!(report.json["entry"]["host"], "127.0.0.1");
}

#[test]
fn a_way_back_that_is_blocked_is_named_and_is_a_warning_only_where_c_get_works() {
    let (own, folder) = (Destination::new("GANTRY"), slices());
    // The archive's entry has a port at which nobody listens.
    let wrong = Destination::new("GANTRY");
    let to = std::slice::from_ref(&wrong);
    let remedy = ["entry", "firewalls"];
    let archive = Archive::orthanc(&folder, to, json!({}));
    let report = Scene::of(&archive, &own, "auto").examine(&[]);
    report.tells("return-blocked", "warning", &remedy);
    assert_eq!(report.code, 0);
    Scene::of(&archive, &own, "move").examine(&[]).tells("return-blocked", "error", &remedy);
    let archive = Archive::dcmqrscp(&folder, &folder.join("manifest.json"), to, &["--disable-get"]);
    Scene::of(&archive, &own, "auto").examine(&[]).tells("return-blocked", "error", &remedy);
    let archive = Archive::built_in(&folder, to, &["--no-get"]);
    Scene::of(&archive, &own, "auto").examine(&[]).tells("return-blocked", "error", &remedy);
}

#[test]
fn a_wrong_title_a_closed_port_and_a_name_that_is_none_are_told_apart() {
    let folder = slices();
    let archive = Archive::orthanc(&folder, &[], json!({}));
    let at = format!("127.0.0.1:{}", archive.port);
    let listen = format!("127.0.0.1:{}", free_port());
    let examine = |archive: &str| Report::of(gantry(&["doctor", archive, "--json", "--listen", &listen]));
    let report = examine(&format!("NOTORTHANC@{at}"));
    report.tells("called-title-refused", "error", &["ae_title"]);
    assert!(!report.has("associated"));
    examine(&format!("ORTHANC@127.0.0.1:{}", free_port())).tells("connect-refused", "error", &["port"]);
    examine("ORTHANC@no-such-host.invalid:104").tells("name-unknown", "error", &["DNS"]);
    // A web server is no archive.
    let rest = archive.rest.strip_prefix("http://").unwrap();
    let report = examine(&format!("ORTHANC@{rest}"));
    let named = ["not-dicom", "association-aborted", "association-timeout"];
    assert!(report.code == 1 && named.iter().any(|code| report.has(code)), "{:#}", report.json);
}

#[test]
fn an_archive_that_takes_calls_of_known_titles_only_is_told_of_ours() {
    let folder = slices();
    let known = json!({ "DicomAlwaysAllowEcho": false, "DicomAlwaysAllowFind": false, "DicomAlwaysAllowGet": false,
        "DicomAlwaysAllowMove": false, "DicomAlwaysAllowStore": false });
    let archive = Archive::orthanc(&folder, &[], known);
    let peer = format!("ORTHANC@127.0.0.1:{}", archive.port);
    let listen = format!("127.0.0.1:{}", free_port());
    let report = Report::of(gantry(&["doctor", &peer, "--json", "--listen", &listen, "--calling", "NOBODY"]));
    assert_eq!(report.code, 1, "{:#}", report.json);
    assert_eq!(report.json["entry"]["ae_title"], "NOBODY");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_on_one_end_only_is_named_both_ways() {
    let (pki, archive) = (Pki::new(), demo().await);
    let tls = terminator(&pki, "server", ClientCertificates::None, archive.addr()).await;
    let plainly = Scene::new(&configuration(tls.address, free_port(), ""));
    plainly.examine_beside(&[]).await.tells("tls-required", "error", &["[archive.main.tls]"]);
    let trust = format!("[archive.main.tls]\nca = \"{}\"\n", pki.path("ca.pem"));
    let secured = Scene::new(&configuration(archive.addr(), free_port(), &trust));
    secured.examine_beside(&[]).await.tells("tls-not-spoken", "error", &["[archive.main.tls]", "2762"]);
    let good = Scene::new(&configuration(tls.address, free_port(), &trust));
    let report = good.examine_beside(&[]).await;
    report.tells("tls-agreed", "ok", &[]);
    report.tells("get-works", "ok", &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_nobody_whom_we_trust_has_signed_is_told_with_the_line_that_is_missing() {
    let (pki, theirs, archive) = (Pki::new(), Pki::new(), demo().await);
    let (own, subject) = (Pki::new(), Subject { name: "pacs", ..Subject::default() });
    own.keep("server", &self_signed(&subject));
    for (shown, words) in [(&theirs, "signed by nobody"), (&own, "signed itself")] {
        let tls = terminator(shown, "server", ClientCertificates::None, archive.addr()).await;
        let listed = pki.path("ca.pem");
        let trust = format!("[archive.main.tls]\nca = \"{listed}\"\n");
        let report = Scene::new(&configuration(tls.address, free_port(), &trust)).examine_beside(&[]).await;
        report.tells("tls-untrusted", "error", &["archive.main.tls.ca", &listed]);
        let what = report.finding("tls-untrusted").unwrap()["what"].as_str().unwrap().to_owned();
        assert!(what.contains(words) && !what.contains("Ca") && !what.contains("Error"), "{what}");
        // Without a file the system's authorities count, among which there is neither.
        let scene = Scene::new(&configuration(tls.address, free_port(), "[archive.main.tls]\n"));
        let mut examine = command(&["doctor", "--json", "--config", scene.file().to_str().unwrap()]);
        examine.env("SSL_CERT_FILE", &listed);
        let ran = tokio::task::spawn_blocking(move || Ran::from(examine.output().unwrap())).await.unwrap();
        let report = Report::of(ran);
        report.tells("tls-untrusted", "error", &["ca = \"", "[archive.main.tls]", "openssl s_client"]);
        let suggested = report.json["suggested"].as_str().unwrap();
        assert!(suggested.contains("\nca = \"/etc/gantry/pacs-ca.pem\""), "{suggested}");
        // What is suggested helps: a file with the authority, or with the certificate itself.
        let named = shown.path(if std::ptr::eq(shown, &own) { "server.pem" } else { "ca.pem" });
        let trust = format!("[archive.main.tls]\nca = \"{named}\"\n");
        let report = Scene::new(&configuration(tls.address, free_port(), &trust)).examine_beside(&[]).await;
        report.tells("tls-agreed", "ok", &[]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_sends_from_an_address_of_which_nobody_knows_is_let_in_by_what_is_suggested() {
    let port = free_port();
    let archive = Demo::builder()
        .ae_title("PACS".parse().unwrap())
        .studies(study(1, 1, 2, &Kind::default()))
        .listen("127.0.0.2:0".parse().unwrap())
        .no_get()
        .destination("GANTRY".parse().unwrap(), format!("127.0.0.1:{port}"))
        .start()
        .await
        .unwrap();
    let report = Scene::new(&configuration(archive.addr(), port, "")).examine_beside(&[]).await;
    report.tells("return-refused-here", "error", &["store_from", "PACS", "127.0.0.1"]);
    let allowed = "[[archive.main.store_from]]\nae_title = \"PACS\"\nnetwork = \"127.0.0.1\"\n";
    let report = Scene::new(&configuration(archive.addr(), port, allowed)).examine_beside(&[]).await;
    report.tells("move-works", "ok", &[]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_doctor_does_no_harm() {
    let archive = demo().await;
    let report = Scene::new(&configuration(archive.addr(), free_port(), "")).examine_beside(&[]).await;
    report.tells("get-works", "ok", &[]);
    let seen = archive.observations();
    assert_eq!(seen.stores, 0);
    assert!(seen.objects_sent <= 2, "one instance by each method: {}", seen.objects_sent);
    assert_eq!((seen.associations.most_open, seen.associations.open), (1, 0), "{:?}", seen.associations);
    assert!(!report.json.to_string().contains("Owner1"), "a patient is named: {:#}", report.json);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_study_that_is_named_is_retrieved_whole() {
    let archive = demo().await;
    let scene = Scene::new(&configuration(archive.addr(), free_port(), ""));
    let report = scene.examine_beside(&["--study", &study_uid(1)]).await;
    let what = report.finding("get-works").unwrap()["what"].as_str().unwrap().to_owned();
    assert!(what.starts_with("6 objects"), "{what}");
    scene.examine_beside(&["--study", "1.2.3"]).await.tells("study-unknown", "error", &["UID"]);
}

#[test]
fn where_a_gantry_runs_it_tries_the_way_back_itself() {
    let own = Destination::new("GANTRY");
    let archive = Archive::orthanc(&slices(), std::slice::from_ref(&own), json!({}));
    let bridge = Bridge::start(&archive, &own, "auto", "");
    let running = |file: &Path| Report::of(gantry(&["doctor", "--json", "--config", file.to_str().unwrap()]));
    let report = running(&bridge.server.folder().join("gantry.toml"));
    report.tells("port-of-gantry", "ok", &[]);
    report.is_well();
    // A bridge that does not have the archive says so.
    let text = before(&archive, &own, "auto", "").replace("[archive.main]", "[archive.other]");
    let scene = Scene::new(&format!("{text}\n[http]\nlisten = \"{}\"", bridge.http));
    scene.examine(&[]).tells("bridge-unaware", "warning", &["configuration"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_somebody_else_has_is_told() {
    let archive = demo().await;
    let somebody = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = somebody.local_addr().unwrap().port();
    let report = Scene::new(&configuration(archive.addr(), port, "")).examine_beside(&[]).await;
    report.tells("port-taken", "warning", &["ss -ltnp", &port.to_string()]);
    report.tells("get-works", "ok", &[]);
    let moved = configuration(archive.addr(), port, "retrieve = \"move\"");
    Scene::new(&moved).examine_beside(&[]).await.tells("port-taken", "error", &["dimse.listen"]);
}

#[test]
fn for_people_there_is_text_without_colours_where_there_is_no_terminal() {
    let folder = slices();
    let archive = Archive::built_in(&folder, &[], &[]);
    let peer = format!("PACS@127.0.0.1:{}", archive.port);
    let listen = format!("127.0.0.1:{}", free_port());
    let ran = gantry(&["doctor", &peer, "--listen", &listen]);
    assert!(!ran.out.contains('\u{1b}'), "{}", ran.out);
    for part in [
        "resolve",
        "C-ECHO",
        "What the PACS administrator has to enter:",
        "AE title GANTRY",
        "[archive.pacs]",
    ] {
        assert!(ran.out.contains(part), "{part}: {}", ran.out);
    }
    assert_eq!(gantry(&["doctor", "main", "--config", "/nowhere/gantry.toml"]).code, 2);
}

#[test]
fn colours_are_for_terminals_and_no_color_turns_them_off() {
    let peer = format!("PACS@127.0.0.1:{}", free_port());
    let listen = format!("127.0.0.1:{}", free_port());
    let line = format!("{} doctor {peer} --listen {listen}", env!("CARGO_BIN_EXE_gantry"));
    let on_terminal = |no_color: bool| {
        let mut script = bounded("script");
        script.args(["-qec", &line, "/dev/null"]).env("TERM", "xterm-256color").env_remove("NO_COLOR");
        if no_color {
            script.env("NO_COLOR", "1");
        }
        String::from_utf8_lossy(&script.stdin(Stdio::null()).output().unwrap().stdout).into_owned()
    };
    const RED: &str = "\u{1b}[31m";
    let (coloured, plain) = (on_terminal(false), on_terminal(true));
    assert!(coloured.contains(RED) && coloured.contains("connect-refused"), "{coloured:?}");
    assert!(!plain.contains(RED) && plain.contains("connect-refused"), "{plain:?}");
}
