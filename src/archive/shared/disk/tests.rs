//! What the tier on disk promises: what it gives is what was written, or nothing; and its directory stays its own.

mod damage;
mod limits;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use tempfile::TempDir;

use super::Disk as Tier;
use super::file::{self, Draft, Found};
use super::format::{BLOCK, Damaged, Description};
use super::index::Index;
use super::space::{Slot, Space, lock};
use crate::archive::Form;
use crate::archive::shared::cache::{Cache, Key, Purge};
use crate::archive::shared::claim::Claim;
use crate::archive::shared::config::{Config, Disk};
use crate::archive::shared::memory::ENTRY;
use crate::dicom::Uid;
use crate::dicom::object::{BrokenObject, Cursor, Head};
use crate::metrics::Metrics;

const MIB: usize = 1 << 20;

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

fn key(instance: &str) -> Key {
    Key { archive: "main".into(), study: uid("1.2"), instance: uid(instance), form: Form::AsStored }
}

fn head(instance: &str) -> Head {
    Head {
        sop_class: uid("1.2.840.10008.5.1.4.1.1.2"),
        sop_instance: uid(instance),
        transfer_syntax: uid("1.2.840.10008.1.2.1"),
    }
}

fn bytes(length: usize) -> Bytes {
    (0..length).map(|n| (n / 251 + n) as u8).collect::<Vec<_>>().into()
}

/// A directory of its own, and a cache upon it.
fn at(path: &Path, memory: usize, size: usize) -> Cache {
    let disk = Some(Disk { path: path.to_owned(), size: size as u64 });
    Cache::new(Config { memory: memory as u64, disk, ..Config::default() }, Metrics::default())
}

fn directory() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("cache");
    (home, path)
}

/// Waits until something is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn ready(cache: &Cache) {
    until("the disk can be written", || cache.with(|memory| memory.can_save)).await;
}

/// Ends the cache, and waits until the directory is free.
async fn end(cache: Cache) {
    let lock = cache.state().disk.unwrap().path.join("lock");
    drop(cache);
    until("the lock is free", || fs::File::open(&lock).unwrap().try_lock().is_ok()).await;
}

async fn put(cache: &Cache, instance: &str, content: &Bytes) {
    let mut writer = cache.begin(key(instance), head(instance), Some(uid("1.2.1")), &cache.reserve());
    for at in (0..content.len()).step_by(100_000) {
        writer.append(content.slice(at..content.len().min(at + 100_000))).await;
    }
    writer.finish();
}

async fn written(cache: &Cache, objects: u64) {
    until("it is written", || cache.disk().unwrap().objects() == objects).await;
    until("the writer rests", || cache.with(|memory| memory.queued == 0)).await;
}

async fn all(mut cursor: Cursor) -> Result<Vec<u8>, BrokenObject> {
    let mut out = Vec::new();
    while let Some(piece) = cursor.next().await {
        out.extend_from_slice(&piece?);
    }
    Ok(out)
}

/// A claim that is verified.
async fn claim(cache: &Cache, instance: &str) -> Option<Claim> {
    cache.reader().recall(&key(instance)).await
}

async fn read(cache: &Cache, instance: &str) -> Option<Result<Vec<u8>, BrokenObject>> {
    let claim = claim(cache, instance).await?;
    assert_eq!((claim.head(), claim.series()), (&head(instance), Some(&uid("1.2.1"))));
    Some(all(claim.read()).await)
}

fn objects(path: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some()).collect()
}

fn damaged(cache: &Cache) -> u64 {
    cache.disk().unwrap().figures.damaged.get()
}

#[tokio::test]
async fn hazard_after_a_restart_objects_are_the_same_byte_for_byte() {
    let (_home, path) = directory();
    let contents = [bytes(0), bytes(200), bytes(BLOCK as usize), bytes(600_001), bytes(9 * MIB + 1)];
    let cache = at(&path, 64 * MIB, 100 * MIB);
    ready(&cache).await;
    for (n, content) in contents.iter().enumerate() {
        put(&cache, &format!("1.2.1.{n}"), content).await;
    }
    written(&cache, 5).await;
    for file in objects(&path) {
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!file.to_str().unwrap().contains("1.2"), "no UIDs in names");
    }
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    end(cache).await;

    for memory in [64 * MIB, 0] {
        let cache = at(&path, memory, 100 * MIB);
        ready(&cache).await;
        assert_eq!(cache.state().objects, 5);
        assert_eq!(cache.whole("main", &uid("1.2"), Some(&uid("1.2.1")), Form::Native).len(), 5);
        for (n, content) in contents.iter().enumerate() {
            let instance = format!("1.2.1.{n}");
            assert!(cache.has(&key(&instance)));
            assert_eq!(read(&cache, &instance).await.unwrap().unwrap(), *content, "{memory} {n}");
        }
        assert_eq!(damaged(&cache), 0);
        let small = (1..4).map(|n| contents[n].len() as u64 + ENTRY).sum();
        assert_eq!(
            cache.state().memory,
            if memory > 0 { small } else { 0 },
            "small ones are in memory again"
        );
        end(cache).await;
    }
}

/// A file of one object, written as the cache writes it.
fn sample(home: &Path, content: &Bytes) -> (Arc<Space>, PathBuf) {
    let space = Space::new(1 << 30);
    let description = Description {
        key: key("1.2.1.1"),
        head: head("1.2.1.1"),
        series: None,
        expires: SystemTime::now() + Duration::from_secs(60),
    };
    let mut draft = Draft::new(&space, home.join("draft"), &description).unwrap();
    for at in (0..content.len()).step_by(BLOCK as usize) {
        draft.write(&[content.slice(at..content.len().min(at + BLOCK as usize))]).unwrap();
    }
    draft.finish(home).unwrap().slot().keep(true);
    let path = home.join(format!("{}.obj", Description::name(&description.key)));
    (space, path)
}

fn load(space: &Arc<Space>, path: &Path) -> Result<Vec<u8>, Damaged> {
    let slot = Slot::new(space, path.to_owned(), 0).unwrap();
    slot.keep(true);
    let found = file::find(&slot, &fs::File::open(path).unwrap())?;
    found.backing.load(found.length, u64::MAX).map(|blocks| blocks.concat())
}

/// What is found of the file of one object.
fn found(space: &Arc<Space>, path: &Path) -> Found {
    let slot = Slot::new(space, path.to_owned(), 0).unwrap();
    file::find(&slot, &fs::File::open(path).unwrap()).unwrap()
}

#[test]
fn hazard_what_was_dropped_at_the_last_moment_is_not_found_by_the_next_run() {
    let (home, path) = directory();
    let (_, stored) = sample(home.path(), &bytes(1000));
    let tier = Tier::new(&Disk { path, size: 1 << 30 }, &Metrics::default());
    assert!(lock(&tier.index).insert(&found(&tier.space, &stored)));
    assert_eq!(tier.purge(&Purge::default()).len(), 1);
    tier.close();
    assert!(!stored.exists());
}

#[test]
fn hazard_what_is_dropped_while_an_earlier_runs_files_are_looked_through_is_not_taken_in() {
    let home = tempfile::tempdir().unwrap();
    let (space, stored) = sample(home.path(), &bytes(1000));
    let found = found(&space, &stored);
    let is_taken_in = |what: Purge, is_over: bool| {
        let mut index = Index::default();
        index.note(&what);
        if is_over {
            index.stock_is_taken();
        }
        index.take_in(&found, SystemTime::now())
    };
    let study = |text| Purge { study: Some(uid(text)), ..Purge::default() };
    let instance = |text| Purge { instance: Some(uid(text)), ..Purge::default() };
    assert!(!is_taken_in(Purge::default(), false));
    assert!(!is_taken_in(study("1.2"), false) && !is_taken_in(instance("1.2.1.1"), false));
    assert!(is_taken_in(study("1.3"), false) && is_taken_in(instance("1.2.1.2"), false));
    assert!(is_taken_in(Purge::default(), true), "it came afterwards");
    found.backing.slot().keep(false);
}

#[tokio::test]
async fn hazard_what_went_to_disk_up_to_its_last_byte_so_far_is_not_cut_off_there() {
    let (_home, path) = directory();
    let cache = at(&path, 8 * MIB, 100 * MIB);
    ready(&cache).await;
    let (reader, content) = (cache.reader(), bytes(300 << 10));
    let (first, block) = (content.slice(..200 << 10), bytes::Bytes::from(content[200 << 10..].to_vec()));
    let mut writer = cache.begin(key("1.2.1.1"), head("1.2.1.1"), None, &cache.reserve());
    let cursor = writer.claim_for(&reader).read();
    writer.append(first.to_vec().into()).await;
    writer.append(block.slice(..56 << 10)).await;
    assert!(cache.with(|memory| memory.spill()));
    until("the writer rests", || cache.with(|memory| memory.queued == 0)).await;
    while cache.with(|memory| memory.drop_saved(0)) {}
    writer.append(block.slice(56 << 10..)).await;
    writer.finish();
    assert!(all(cursor).await.unwrap() == content);
}

#[tokio::test]
async fn a_purge_removes_files_and_disturbs_nobody_who_reads() {
    let (_home, path) = directory();
    let cache = at(&path, 0, 100 * MIB);
    ready(&cache).await;
    for instance in ["1.2.1.1", "1.2.1.2"] {
        put(&cache, instance, &bytes(MIB)).await;
        until("the writer rests", || cache.with(|memory| memory.queued == 0)).await;
    }
    written(&cache, 2).await;
    let mut reading = claim(&cache, "1.2.1.1").await.unwrap().read();
    let first = reading.next().await.unwrap().unwrap();
    let purged = cache.purge(&Purge { study: Some(uid("1.2")), ..Purge::default() });
    assert_eq!((purged.objects, purged.bytes), (2, 2 * MIB as u64));
    assert!(read(&cache, "1.2.1.1").await.is_none() && read(&cache, "1.2.1.2").await.is_none());
    until("one file is left, for its reader", || objects(&path).len() == 1).await;
    until("it is found no more by another process", || {
        objects(&path).iter().all(|path| path.extension().unwrap() == "tmp")
    })
    .await;
    let rest = all(reading).await.unwrap();
    assert_eq!([&first[..], &rest].concat(), bytes(MIB));
    until("nothing is left", || objects(&path).is_empty() && cache.state().disk.unwrap().bytes == 0).await;
}
