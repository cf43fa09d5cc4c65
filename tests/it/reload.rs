//! A configuration that is read again while the bridge runs: what has changed holds at once, and what runs goes on.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use gantry::demo::{Archive, Fault, Instance, Running};
use gantry::dicom::sop_class;
use gantry::dicom::transfer_syntax::EXPLICIT_VR_LE;

use crate::retrieval::{Outcome, judge, study_path};
use crate::support::app::TestApp;
use crate::support::bridge::Bridge;
use crate::support::dimse::{Client, echo, proposal};
use crate::support::http::{Reply, Version, get, get_with, open, read};
use crate::support::objects::{Kind, expected, study};
use crate::support::process::{bounded, free_port};
use crate::support::{DEADLINE, until};

/// A built-in archive that gives its objects by C-GET.
async fn pacs(instances: &[Instance], faults: &[Fault]) -> Running {
    let archive = Archive::builder().ae_title("PACS".parse().unwrap()).studies(instances.to_vec());
    faults.iter().fold(archive, |archive, fault| archive.fault(*fault)).start().await.unwrap()
}

/// The bridge before `archives`, each with its name, on these ports.
fn configuration(archives: &[(&str, &Running)], more: &str) -> String {
    let section = |(name, archive): &(&str, &Running)| {
        format!("[archive.{name}]\nae_title = \"PACS\"\naddress = \"{}\"\n", archive.addr())
    };
    let sections: String = archives.iter().map(section).collect();
    let default = archives[0].0;
    format!(
        "default_archive = \"{default}\"\n[dimse]\nlisten = \"127.0.0.1:0\"\n{sections}{more}\n[cache]\nmemory = \"64MiB\"\n"
    )
}

/// What a search for studies is answered.
async fn search(http: SocketAddr, service: &str) -> Reply {
    get_with(http, &format!("{service}/studies"), Version::Http11, "Accept: application/dicom+json").await
}

/// Whether an archive of this name is served.
async fn serves(app: &TestApp, name: &str) -> bool {
    search(app.http, &format!("/archives/{name}")).await.status == 200
}

async fn caller(app: &TestApp, calling: &str) -> Option<Client> {
    let verification = proposal(sop_class::VERIFICATION, &[EXPLICIT_VR_LE]);
    Client::to(app.dimse, "GANTRY", calling, vec![verification]).await.ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn archives_come_and_go_and_what_is_wrong_changes_nothing() {
    let instances = study(1, 1, 2, &Kind::default());
    let (first, second) = (pacs(&instances, &[]).await, pacs(&instances, &[]).await);
    let one = configuration(&[("main", &first)], "");
    let app = TestApp::start(&one).await;
    assert!(serves(&app, "main").await && !serves(&app, "other").await);
    let two = configuration(&[("main", &first), ("other", &second)], "");
    assert_eq!(app.reload(&two).await.unwrap(), "archive.other (new)");
    assert!(serves(&app, "main").await && serves(&app, "other").await);
    let wrong = app.reload(&two.replace("default_archive", "default_arhcive")).await.unwrap_err();
    assert!(wrong.contains("default_arhcive"), "{wrong}");
    assert!(serves(&app, "main").await && serves(&app, "other").await);
    assert_eq!(app.reload(&one).await.unwrap(), "archive.other (gone)");
    assert!(serves(&app, "main").await && !serves(&app, "other").await);
    assert_eq!(app.reload(&one).await.unwrap(), "nothing has changed");
    // What it was is what it was connected by.
    assert_eq!(first.observations().associations.opened, 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retrieval_from_an_archive_that_goes_away_ends_whole() {
    let instances = study(1, 1, 20, &Kind::default());
    let slow = pacs(&instances, &[Fault::LastLate(1_500)]).await;
    let other = pacs(&study(2, 1, 1, &Kind::default()), &[]).await;
    let app = TestApp::start(&configuration(&[("main", &slow)], "")).await;
    let mut running = open(app.http, &study_path(1)).await;
    until("objects are on their way", DEADLINE, async || slow.observations().objects_sent > 0).await;
    app.reload(&configuration(&[("other", &other)], "")).await.unwrap();
    assert!(!serves(&app, "main").await);
    let reply = read(&mut running).await;
    assert_eq!(judge(&reply, &expected(&instances), "while it goes away"), Outcome::Complete);
    until("its association is released", DEADLINE, async || slow.observations().associations.open == 0).await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_what_one_archive_delivered_is_not_served_for_another_of_its_name() {
    let (old, new) = (study(1, 1, 2, &Kind::default()), study(1, 1, 3, &Kind::default()));
    let (before, after) = (pacs(&old, &[]).await, pacs(&new, &[]).await);
    let app = TestApp::start(&configuration(&[("main", &before)], "")).await;
    for (archive, held) in [(&before, &old), (&after, &new)] {
        app.reload(&configuration(&[("main", archive)], "")).await.unwrap();
        for what in ["from the archive", "from the cache"] {
            let reply = get(app.http, &study_path(1)).await;
            assert_eq!(judge(&reply, &expected(held), what), Outcome::Complete);
        }
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_fails_while_the_configuration_is_read_again() {
    let instances = study(1, 1, 3, &Kind::default());
    let (first, second) = (pacs(&instances, &[]).await, pacs(&instances, &[]).await);
    let configurations: Vec<String> = (1..=4)
        .map(|n| {
            let archive = if n % 2 == 0 { &first } else { &second };
            let aes: String = (0..n).map(|n| format!("[ae.WS{n}]\n")).collect();
            configuration(&[("main", archive)], &format!("max_associations = {n}\n{aes}"))
        })
        .collect();
    let app = TestApp::start(&configurations[0]).await;
    let (http, dimse) = (app.http, app.dimse);
    let asks = |n: usize| {
        let wanted = expected(&instances);
        tokio::spawn(async move {
            let mut asked = 0;
            for _ in 0..60 {
                let reply = match n {
                    0 => search(http, "/dicom-web").await,
                    _ => get(http, &study_path(1)).await,
                };
                assert_eq!((reply.status, reply.whole), (200, true), "{}", reply.text());
                if n > 0 {
                    assert_eq!(judge(&reply, &wanted, "meanwhile"), Outcome::Complete);
                }
                asked += 1;
            }
            asked
        })
    };
    let clients: Vec<_> = (0..3).map(asks).collect();
    // One that every configuration knows keeps its association.
    let echoes = tokio::spawn(async move {
        let verification = proposal(sop_class::VERIFICATION, &[EXPLICIT_VR_LE]);
        let mut client = Client::to(dimse, "GANTRY", "WS0", vec![verification]).await.unwrap();
        for _ in 0..200 {
            assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0);
        }
        client.release().await;
    });
    let mut reloads = 0;
    while clients.iter().any(|client| !client.is_finished()) {
        let next = &configurations[reloads % configurations.len()];
        app.reload(next).await.unwrap();
        reloads += 1;
    }
    for client in clients {
        assert_eq!(client.await.unwrap(), 60);
    }
    echoes.await.unwrap();
    assert!(reloads > 10, "{reloads}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_client_that_is_listed_no_more_is_served_no_more() {
    let archive = pacs(&study(1, 1, 1, &Kind::default()), &[]).await;
    let with = |aes: &str| configuration(&[("main", &archive)], aes);
    let app = TestApp::start(&with("[ae.A]\n[ae.B]\n[ae.C]\n")).await;
    let mut clients = Vec::new();
    for title in ["A", "B", "C"] {
        let mut client = caller(&app, title).await.unwrap();
        assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0);
        clients.push(client);
    }
    app.reload(&with("[ae.A]\n[ae.C]\nallow = [\"echo\"]\n[ae.D]\n")).await.unwrap();
    let [a, b, c] = clients.try_into().ok().unwrap();
    for (mut client, stays) in [(a, true), (b, false), (c, false)] {
        assert_eq!(client.ask(echo(), None).await.is_ok(), stays);
    }
    for (title, is_known) in [("A", true), ("B", false), ("C", true), ("D", true)] {
        assert_eq!(caller(&app, title).await.is_some(), is_known, "{title}");
    }
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_come_changes_with_the_next_request() {
    let archive = pacs(&study(1, 1, 1, &Kind::default()), &[]).await;
    let scratch = tempfile::tempdir().unwrap();
    let file = scratch.path().join("tokens.toml");
    fs::write(&file, format!("[viewer]\nsha256 = \"{}\"\nallow = [\"search\"]\n", "0".repeat(64))).unwrap();
    let open_to_all = configuration(&[("main", &archive)], "");
    let app = TestApp::start(&open_to_all).await;
    assert_eq!(search(app.http, "/dicom-web").await.status, 200);
    let guarded = format!("{open_to_all}[auth.tokens]\nfile = \"{}\"\n", file.display());
    assert_eq!(app.reload(&guarded).await.unwrap(), "auth");
    assert_eq!(search(app.http, "/dicom-web").await.status, 401);
    // Where the file is missing, nobody is let in by mistake.
    fs::remove_file(&file).unwrap();
    let other = guarded.replace("tokens.toml", "others.toml");
    assert!(app.reload(&other).await.unwrap_err().contains("others.toml"));
    assert_eq!(search(app.http, "/dicom-web").await.status, 401);
    app.stop().await;
}

/// Waits until the bridge serves an archive, or serves it no more.
fn wait_until_served(bridge: &Bridge, name: &str, is_served: bool) {
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    loop {
        let url = format!("http://{}/archives/{name}/studies?limit=1", bridge.http);
        let asked =
            bounded("curl").args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &url]).output().unwrap();
        if (asked.stdout != b"404") == is_served {
            return;
        }
        assert!(std::time::Instant::now() < deadline, "{name} is served: {}", !is_served);
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn hang_up(bridge: &Bridge) {
    let pid = bridge.server.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
}

#[test]
fn sighup_and_a_changed_file_are_noticed_and_what_needs_a_restart_is_said() {
    let archive = |name: &str| format!("[archive.{name}]\nae_title = \"PACS\"\naddress = \"127.0.0.1:1\"\n");
    let port = free_port();
    let dimse = |port: u16| format!("[dimse]\nlisten = \"127.0.0.1:{port}\"\n");
    let bridge = Bridge::with_configuration(&format!("{}{}", archive("main"), dimse(port)));
    let file = bridge.server.folder().join("gantry.toml");
    let begin = fs::read_to_string(&file).unwrap();
    wait_until_served(&bridge, "main", true);
    // The file alone.
    fs::write(&file, begin.replace("archive.main", "archive.watched")).unwrap();
    wait_until_served(&bridge, "watched", true);
    wait_until_served(&bridge, "main", false);
    // The signal, and a key that cannot change.
    let other = begin.replace("archive.main", "archive.signalled").replace(&dimse(port), &dimse(free_port()));
    fs::write(&file, other).unwrap();
    hang_up(&bridge);
    wait_until_served(&bridge, "signalled", true);
    fs::write(&file, "[archive").unwrap();
    hang_up(&bridge);
    let deadline = std::time::Instant::now() + Duration::from_secs(30);
    while !bridge.server.whole_log().contains("the new configuration is wrong, and the one before stays") {
        assert!(std::time::Instant::now() < deadline, "nothing is said");
        std::thread::sleep(Duration::from_millis(50));
    }
    wait_until_served(&bridge, "signalled", true);
    let log = bridge.server.whole_log();
    assert!(log.contains("which stay as they were: dimse.listen"), "{log}");
}
