//! An archive that dies, and what its clients see of it: an error, or a body that is visibly broken.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::bridge::Bridge;
use crate::support::curl::{curl, header_accepting_as_stored};
use crate::support::peers::{Archive, Destination, data, manifest, nginx};
use crate::support::process::Scratch;

/// How much a client has read when the archive dies: some objects, far from all of 260 MB.
const READ_BEFORE: u64 = 4 << 20;
/// How fast it reads, so that the archive is still sending then.
const RATE: &str = "40M";
/// When a test gives up waiting for a client.
const DEADLINE: Duration = Duration::from_secs(120);
/// Between two looks at it.
const POLL: Duration = Duration::from_millis(10);

/// Waits for `done`, within bounds.
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < deadline, "{what}: still not after {DEADLINE:?}");
        thread::sleep(POLL);
    }
}

/// curl, writing the study at `url` to a file, slowly.
fn reading(url: &str, protocol: &str, file: &str) -> Child {
    let accept = header_accepting_as_stored();
    Command::new("/usr/bin/curl")
        .args(["--silent", protocol, "--limit-rate", RATE, "--output", file, "-H", accept, url])
        .stdin(Stdio::null())
        .spawn()
        .unwrap()
}

/// Kills the archive under clients of each protocol, and wants each of them to fail; then brings it back.
fn a_broken_body_is_visible(archive: &mut Archive, bridge: &Bridge) {
    let study = manifest(&data("ct", &["--slices", "500"]))[0]["study"].as_str().unwrap().to_owned();
    let (_proxy, proxy) = nginx(&bridge.http);
    let direct = format!("{}/studies/{study}", bridge.url);
    let proxied = format!("http://127.0.0.1:{proxy}/dicom-web/studies/{study}");
    for (url, protocol) in [
        (&direct, "--http1.0"),
        (&direct, "--http1.1"),
        (&direct, "--http2-prior-knowledge"),
        (&proxied, "--http1.1"),
    ] {
        let scratch = Scratch::new("broken");
        let file = scratch.path().join("body");
        let mut client = reading(url, protocol, file.to_str().unwrap());
        wait_for("the body begins", || fs::metadata(&file).is_ok_and(|file| file.len() > READ_BEFORE));
        archive.server.kill();
        let mut exit = None;
        wait_for("the client ends", || {
            exit = client.try_wait().unwrap();
            exit.is_some()
        });
        let read = fs::metadata(&file).unwrap().len();
        assert!(!exit.is_some_and(|exit| exit.success()), "{protocol} {url}: a good end after {read} bytes");

        let down = curl(&direct, &["-H", header_accepting_as_stored()]);
        assert!((500..600).contains(&down.status), "with the archive down: {}", down.status);
        archive.server.restart();
        let after = curl(&format!("{}/studies?StudyInstanceUID={study}", bridge.url), &[]);
        assert_eq!(after.status, 200, "the first request after the restart: {after:?}");
    }
}

#[test]
fn an_archive_killed_in_a_c_get_leaves_a_visibly_broken_body() {
    let own = Destination::new("GANTRY");
    let folder = data("ct", &["--slices", "500"]);
    let holds = folder.join("manifest.json");
    let mut archive = Archive::dcmqrscp(&folder, &holds, std::slice::from_ref(&own), &[]);
    let bridge = Bridge::start(&archive, &own, "get", "");
    a_broken_body_is_visible(&mut archive, &bridge);
}

#[test]
fn an_archive_killed_in_a_c_move_leaves_a_visibly_broken_body() {
    let own = Destination::new("GANTRY");
    let folder = data("ct", &["--slices", "500"]);
    let holds = folder.join("manifest.json");
    let mut archive = Archive::dcmqrscp(&folder, &holds, std::slice::from_ref(&own), &["--disable-get"]);
    let bridge = Bridge::start(&archive, &own, "move", "");
    a_broken_body_is_visible(&mut archive, &bridge);
}
