//! The cache's tier on disk, under the bridge as it is run: killed, started again, with damaged files and no room.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::net::SocketAddr;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use gantry::demo::{Archive, Fault, Instance, Running};
use serde_json::Value;

use crate::retrieval::{Method, Outcome, configuration, judge, study_path};
use crate::support::bridge::Bridge;
use crate::support::http::get;
use crate::support::metrics::Figures;
use crate::support::objects::{Kind, expected, instance_uid, series_uid, study};
use crate::support::part10::File;
use crate::support::process::{Scratch, free_port};
use crate::support::{DEADLINE, until};

/// Objects of the study, and bytes of each: several blocks of a cache file, and a rest.
const OBJECTS: usize = 24;
const SIZE: usize = 600_000;
/// Most bytes of the files: the least that can be configured, and more than all objects.
const ON_DISK: u64 = 64 << 20;

/// An archive, a bridge that keeps what it brings on disk, and the directory for that.
struct Scene {
    archive: Running,
    bridge: Bridge,
    directory: PathBuf,
    expected: BTreeMap<String, File>,
    _scratch: Scratch,
}

impl Scene {
    /// The bridge keeps objects in `directory` below a folder of the test's own.
    async fn new(faults: &[Fault], directory: impl FnOnce(&Path) -> PathBuf) -> Self {
        Self::of(OBJECTS, SIZE, faults, directory).await
    }

    /// The same, where the study has so many objects of so many bytes.
    async fn of(
        objects: usize,
        size: usize,
        faults: &[Fault],
        directory: impl FnOnce(&Path) -> PathBuf,
    ) -> Self {
        let objects = study(1, 1, objects, &Kind { pixels: size, ..Kind::default() });
        Self::before(Bridge::with_configuration, objects, faults, directory).await
    }

    /// The same, where the archive holds these, and the bridge is started in this way.
    async fn before(
        start: impl FnOnce(&str) -> Bridge,
        objects: Vec<Instance>,
        faults: &[Fault],
        directory: impl FnOnce(&Path) -> PathBuf,
    ) -> Self {
        let archive = Archive::builder().ae_title("PACS".parse().unwrap()).studies(objects.clone());
        let archive = faults.iter().fold(archive, |archive, fault| archive.fault(*fault));
        let archive = archive.start().await.unwrap();
        let scratch = Scratch::new("cache");
        let directory = directory(scratch.path());
        let more = format!(
            "[cache]\nmemory = \"64MiB\"\ndisk = {{ path = \"{}\", size = \"{ON_DISK}B\" }}\n",
            directory.display()
        );
        let bridge = start(&configuration(archive.addr(), free_port(), Method::Get, &more));
        Self { archive, bridge, directory, expected: expected(&objects), _scratch: scratch }
    }

    fn http(&self) -> SocketAddr {
        self.bridge.http.parse().unwrap()
    }

    async fn figures(&self) -> Figures {
        Figures::of(self.http()).await
    }

    async fn on_disk(&self) -> u64 {
        self.figures().await.sum("cache_objects", &["tier=\"disk\""])
    }

    /// Waits until so many objects are known to lie on disk.
    async fn wait_for_disk(&self, objects: u64) {
        until("objects on disk", DEADLINE, async || self.on_disk().await >= objects).await;
    }

    /// Asks for the study, which is to come whole and as it is stored.
    async fn assert_study(&self, what: &str) {
        assert_eq!(judge(&get(self.http(), &study_path(1)).await, &self.expected, what), Outcome::Complete);
    }

    /// Asks for every instance by itself.
    async fn assert_instances(&self, what: &str) {
        for number in 1..=OBJECTS {
            let uid = instance_uid(1, 1, number);
            let path = format!("{}/series/{}/instances/{uid}", study_path(1), series_uid(1, 1));
            let one = [(uid.clone(), self.expected[&uid].clone())].into();
            assert_eq!(judge(&get(self.http(), &path).await, &one, what), Outcome::Complete);
        }
    }

    /// The files of objects.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.directory).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|extension| extension == "obj")).collect()
    }

    /// Kills the bridge as a crash would, does something to its files, and starts it again.
    fn crash(&mut self, meanwhile: impl FnOnce(&[PathBuf])) {
        self.bridge.server.kill();
        meanwhile(&self.files());
        self.bridge.server.restart();
    }

    /// The cache's disk, as `/health/ready` tells of it.
    async fn disk_in_health(&self) -> Value {
        let ready = get(self.http(), "/health/ready").await;
        assert_eq!(ready.status, 200, "a cache without its disk is no reason to turn requests away");
        serde_json::from_slice::<Value>(&ready.body).unwrap()["cache"]["disk"].clone()
    }
}

fn own(folder: &Path) -> PathBuf {
    folder.join("objects")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_killed_in_mid_retrieval_the_bridge_serves_what_is_on_disk_and_fetches_the_rest() {
    let mut scene = Scene::new(&[Fault::ObjectsSlow(40)], own).await;
    let http = scene.http();
    let reader = tokio::spawn(async move { get(http, &study_path(1)).await });
    scene.wait_for_disk(5).await;
    scene.crash(|files| assert!(files.len() >= 5, "{files:?}"));
    let broken = reader.await.unwrap();
    assert!(!broken.whole, "the bridge died while it sent");
    assert!(scene.archive.observations().objects_sent < OBJECTS, "it was to be killed in mid-retrieval");
    scene.archive.clear_faults();
    scene.wait_for_disk(5).await;
    let kept = scene.on_disk().await;
    let before = scene.archive.observations().objects_sent;
    scene.assert_instances("after the crash").await;
    let figures = scene.figures().await;
    assert!(figures.requests("hit") >= kept, "{kept} on disk: {figures:?}");
    let brought = scene.archive.observations().objects_sent - before;
    assert_eq!(brought, OBJECTS - kept as usize, "what was on disk is not brought again");
    scene.assert_study("of both").await;
    assert_eq!(scene.figures().await.sum("cache_damaged_total", &[]), 0, "a crash damages nothing");
}

/// Fills the disk, kills the bridge, damages every file with `damage`, and asks for everything again.
async fn survive(what: &str, damage: fn(&fs::File, u64)) {
    let mut scene = Scene::new(&[], own).await;
    scene.assert_study("first").await;
    scene.wait_for_disk(OBJECTS as u64).await;
    scene.crash(|files| {
        assert_eq!(files.len(), OBJECTS, "{files:?}");
        for file in files {
            let file = OpenOptions::new().read(true).write(true).open(file).unwrap();
            damage(&file, file.metadata().unwrap().len());
        }
    });
    scene.assert_study(what).await;
    scene.assert_instances(what).await;
    let figures = scene.figures().await;
    let damaged = figures.sum("cache_damaged_total", &[]);
    assert_eq!(damaged, OBJECTS as u64, "{what}: {figures:?}");
    assert_eq!(scene.archive.observations().objects_sent, 2 * OBJECTS, "{what}: fetched again, once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_flipped_byte_in_each_cache_file_is_found_counted_and_fetched_again() {
    survive("a byte near the end", |file, length| flip(file, length - 100)).await;
    survive("a byte in the middle", |file, length| flip(file, length / 2)).await;
    survive("a byte at the beginning", |file, _| flip(file, 20)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_torn_cache_file_is_found_counted_and_fetched_again() {
    survive("cut in the middle", |file, length| file.set_len(length / 2).unwrap()).await;
    survive("cut by a byte", |file, length| file.set_len(length - 1).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_damage_in_a_large_cache_file_breaks_the_answer_that_meets_it_and_is_healed_by_the_next() {
    // So large that they are not read as a whole before their first byte goes out, and so small that both may wait to be
    // written.
    let mut scene = Scene::of(2, 6 << 20, &[], own).await;
    scene.assert_study("first").await;
    scene.wait_for_disk(2).await;
    scene.crash(|files| {
        let file = OpenOptions::new().read(true).write(true).open(&files[0]).unwrap();
        flip(&file, file.metadata().unwrap().len() / 2);
    });
    scene.wait_for_disk(2).await;
    let met = get(scene.http(), &study_path(1)).await;
    assert_eq!(judge(&met, &scene.expected, "who meets it"), Outcome::Broken);
    for who in ["the next", "and the next"] {
        scene.assert_study(who).await;
        assert_eq!(scene.archive.observations().objects_sent, 3, "{who}: the one, once more");
    }
    assert_eq!(scene.figures().await.sum("cache_damaged_total", &[]), 1);
    assert_eq!(scene.disk_in_health().await["problem"], Value::Null);
}

/// Changes one bit of the byte at this place.
fn flip(file: &fs::File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_serves_everything_from_disk_and_asks_the_archive_for_nothing() {
    let mut scene = Scene::new(&[], own).await;
    scene.assert_study("first").await;
    scene.wait_for_disk(OBJECTS as u64).await;
    scene.crash(|_| {});
    scene.wait_for_disk(OBJECTS as u64).await;
    scene.assert_instances("after a restart").await;
    // The archive is asked what there is, and for no object.
    scene.assert_study("after a restart").await;
    assert_eq!(scene.archive.observations().objects_sent, OBJECTS);
    let figures = scene.figures().await;
    assert_eq!((figures.requests("hit"), figures.requests("ahead")), (OBJECTS as u64, 0), "{figures:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_directory_that_can_be_written_service_goes_on_and_health_and_log_say_so() {
    // Whoever runs the tests may be root, for whom no directory is read-only: one cannot be made below a file.
    let below_a_file = |folder: &Path| {
        fs::write(folder.join("file"), "no directory").unwrap();
        folder.join("file/objects")
    };
    serve_without_disk(Scene::new(&[], below_a_file).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_disk_that_is_full_service_goes_on_and_health_and_log_say_so() {
    // Half an object has room.
    let start = |configuration: &str| Bridge::with_small_files(configuration, 300);
    let objects = study(1, 1, OBJECTS, &Kind { pixels: SIZE, ..Kind::default() });
    serve_without_disk(Scene::before(start, objects, &[], own).await).await;
}

/// Everything is served from memory, and the disk is told to be out of use, once.
async fn serve_without_disk(scene: Scene) {
    for round in ["first", "second"] {
        scene.assert_study(round).await;
        scene.assert_instances(round).await;
    }
    assert_eq!(scene.archive.observations().objects_sent, OBJECTS, "memory goes on");
    let told = async || scene.disk_in_health().await["problem"].as_str().is_some_and(|p| !p.is_empty());
    until("health tells of the disk", DEADLINE, told).await;
    let log = scene.bridge.server.whole_log();
    let warnings: Vec<_> =
        log.lines().filter(|line| line.contains("WARN") && line.contains("cache")).collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_smaller_than_the_study_is_never_filled_beyond_its_size() {
    let objects = ON_DISK as usize / SIZE + 10;
    let scene = Scene::of(objects, SIZE, &[], own).await;
    for round in ["first", "second"] {
        scene.assert_study(round).await;
        let lengths = scene.files().into_iter().filter_map(|path| fs::metadata(path).ok());
        assert!(lengths.map(|file| file.len()).sum::<u64>() <= ON_DISK, "{round}");
        assert!(scene.figures().await.sum("cache_bytes", &["tier=\"disk\""]) <= ON_DISK, "{round}");
    }
    assert_eq!(scene.disk_in_health().await["problem"], Value::Null);
}
