//! What the tier on disk promises: what it gives is what was written, or nothing; and its directory stays its own.

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
        let small = (1..4).map(|n| contents[n].len() as u64).sum();
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

#[test]
fn hazard_every_byte_that_is_changed_is_found_out() {
    let home = tempfile::tempdir().unwrap();
    let (space, path) = sample(home.path(), &bytes(1000));
    assert_eq!(load(&space, &path).unwrap(), bytes(1000));
    let good = fs::read(&path).unwrap();
    for n in 0..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[n] ^= flip;
            fs::write(&path, bad).unwrap();
            assert_eq!(load(&space, &path), Err(Damaged), "byte {n}");
        }
    }
}

#[test]
fn hazard_a_file_cut_anywhere_or_too_long_is_found_out() {
    let home = tempfile::tempdir().unwrap();
    let (space, path) = sample(home.path(), &bytes(1000));
    let good = fs::read(&path).unwrap();
    for length in 0..good.len() {
        fs::write(&path, &good[..length]).unwrap();
        assert_eq!(load(&space, &path), Err(Damaged), "{length} bytes");
    }
    fs::write(&path, [&good[..], &[0]].concat()).unwrap();
    assert_eq!(load(&space, &path), Err(Damaged));
}

#[test]
fn blocks_that_changed_places_are_found_out() {
    let home = tempfile::tempdir().unwrap();
    let (space, path) = sample(home.path(), &Bytes::from(vec![7; 2 * BLOCK as usize]));
    let mut bytes = fs::read(&path).unwrap();
    let start = bytes.len() - 24 - 2 * (BLOCK as usize + 16);
    let (first, rest) = bytes[start..].split_at_mut(BLOCK as usize + 16);
    first.swap_with_slice(&mut rest[..BLOCK as usize + 16]);
    fs::write(&path, bytes).unwrap();
    assert_eq!(load(&space, &path), Err(Damaged));
}

#[tokio::test]
async fn hazard_what_was_damaged_while_it_lay_there_is_fetched_again() {
    let (_home, path) = directory();
    let content = bytes(6 * MIB);
    for (instance, content, at_end) in [("1.2.1.1", bytes(1000), 500), ("1.2.1.2", content, 3 * MIB)] {
        let cache = at(&path, 8 * MIB, 100 * MIB);
        ready(&cache).await;
        put(&cache, instance, &content).await;
        written(&cache, 1).await;
        end(cache).await;
        let file = objects(&path).into_iter().find(|path| path.extension().unwrap() == "obj").unwrap();
        let mut bad = fs::read(&file).unwrap();
        let place = bad.len() - at_end;
        bad[place] ^= 1;
        fs::write(&file, bad).unwrap();

        let cache = at(&path, 8 * MIB, 100 * MIB);
        ready(&cache).await;
        match read(&cache, instance).await {
            None => assert_eq!(content.len(), 1000, "small ones are verified before they are claimed"),
            Some(read) => assert_eq!((read, content.len()), (Err(BrokenObject), 6 * MIB)),
        }
        assert_eq!(damaged(&cache), 1);
        assert!(!cache.has(&key(instance)) && read(&cache, instance).await.is_none());
        until("the file is removed", || !file.exists()).await;
        put(&cache, instance, &content).await;
        assert_eq!(read(&cache, instance).await.unwrap().unwrap(), content);
        written(&cache, 1).await;
        cache.purge(&Purge::default());
        end(cache).await;
        fs::remove_dir_all(&path).unwrap();
    }
}

#[tokio::test]
async fn hazard_what_a_killed_process_left_is_removed_and_what_is_foreign_is_left_alone() {
    let (home, path) = directory();
    let cache = at(&path, MIB, 10 * MIB);
    ready(&cache).await;
    put(&cache, "1.2.1.1", &bytes(1000)).await;
    written(&cache, 1).await;
    end(cache).await;
    let file = objects(&path).into_iter().find(|path| path.extension().unwrap() == "obj").unwrap();
    let torn = path.join(format!("{}.7.tmp", file.file_stem().unwrap().to_str().unwrap()));
    fs::copy(&file, &torn).unwrap();
    let misnamed = path.join(format!("{}.obj", "0".repeat(32)));
    fs::copy(&file, &misnamed).unwrap();
    let outside = home.path().join("outside");
    fs::write(&outside, "precious").unwrap();
    let link = path.join(format!("{}.obj", "1".repeat(32)));
    symlink(&outside, &link).unwrap();
    let foreign = path.join("notes.txt");
    fs::write(&foreign, "mine").unwrap();

    let cache = at(&path, MIB, 10 * MIB);
    ready(&cache).await;
    assert!(!torn.exists() && !misnamed.exists());
    assert!(link.is_symlink() && foreign.exists() && outside.exists());
    assert_eq!(cache.state().objects, 1);
    assert_eq!(cache.state().disk.unwrap().bytes, fs::metadata(&file).unwrap().len());
    assert_eq!(read(&cache, "1.2.1.1").await.unwrap().unwrap(), bytes(1000));
}

#[tokio::test]
async fn what_cannot_be_used_is_told_and_the_cache_goes_on_without() {
    let (home, path) = directory();
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let open = home.path().join("open");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let first = at(&path, MIB, 10 * MIB);
    ready(&first).await;
    let cases = [
        (path.clone(), "another process"),
        (file, "cannot be made"),
        (PathBuf::from("/proc/gantry"), "cannot be made"),
        (open, "others may write"),
    ];
    for (path, words) in cases {
        let cache = at(&path, MIB, 10 * MIB);
        until("it is told", || cache.state().disk.unwrap().problem.is_some()).await;
        let problem = cache.state().disk.unwrap().problem.unwrap();
        assert!(problem.contains(words), "{problem}");
        put(&cache, "1.2.1.1", &bytes(1000)).await;
        assert_eq!(read(&cache, "1.2.1.1").await.unwrap().unwrap(), bytes(1000));
    }
}

#[tokio::test]
async fn a_disk_that_fails_is_told_and_left_alone() {
    let (_home, path) = directory();
    let cache = at(&path, 8 * MIB, 10 * MIB);
    ready(&cache).await;
    cache.disk().unwrap().fails.store(true, std::sync::atomic::Ordering::Relaxed);
    put(&cache, "1.2.1.1", &bytes(MIB)).await;
    until("it is told", || cache.state().disk.unwrap().problem.is_some()).await;
    assert!(cache.state().disk.unwrap().problem.unwrap().contains("make room"));
    put(&cache, "1.2.1.2", &bytes(MIB)).await;
    for instance in ["1.2.1.1", "1.2.1.2"] {
        assert_eq!(read(&cache, instance).await.unwrap().unwrap(), bytes(MIB));
    }
    until("nothing is left", || objects(&path).is_empty() && cache.state().disk.unwrap().bytes == 0).await;
    assert!(!cache.with(|memory| memory.can_save));
}

#[tokio::test]
async fn files_never_exceed_their_size_and_the_longest_unused_make_room() {
    let (_home, path) = directory();
    let size = 3 * MIB + MIB / 2;
    let cache = at(&path, 64 * MIB, size);
    ready(&cache).await;
    let on_disk = || {
        let files = objects(&path).into_iter().filter_map(|path| fs::metadata(path).ok());
        files.map(|file| file.len()).sum::<u64>()
    };
    for n in 0..6 {
        put(&cache, &format!("1.2.1.{n}"), &bytes(MIB)).await;
        until("the writer rests", || cache.with(|memory| memory.queued == 0)).await;
        assert!(on_disk() <= size as u64 && cache.state().disk.unwrap().bytes <= size as u64);
        // What is in memory as well is in use, and its file makes no room.
        cache.with(|memory| while memory.evict() {});
    }
    let here: Vec<u32> = (0..6).filter(|n| cache.has(&key(&format!("1.2.1.{n}")))).collect();
    assert_eq!(here, [3, 4, 5]);
    assert_eq!(on_disk(), cache.state().disk.unwrap().bytes);
    put(&cache, "1.2.2.1", &bytes(4 * MIB)).await;
    until("the writer rests", || cache.with(|memory| memory.queued == 0)).await;
    assert!(on_disk() <= size as u64, "what is larger than all is not written");
}

#[tokio::test]
async fn a_slow_reader_holds_no_memory_and_gets_everything_from_disk() {
    for (objects, length) in [(1, 24 * MIB), (24, MIB)] {
        let (_home, path) = directory();
        let cache = at(&path, 3 * MIB, 100 * MIB);
        ready(&cache).await;
        let (reader, reserve) = (cache.reader(), cache.reserve());
        let content = bytes(length);
        let mut cursors = Vec::new();
        let begin = Instant::now();
        for n in 0..objects {
            let instance = format!("1.2.1.{n}");
            let mut writer = cache.begin(key(&instance), head(&instance), None, &reserve);
            cursors.push(writer.claim_for(&reader).read());
            for at in (0..length).step_by(64 << 10) {
                writer.append(content.slice(at..at + (64 << 10)).to_vec().into()).await;
                assert!(cache.state().memory <= 3 * MIB as u64);
            }
            writer.finish();
        }
        assert!(begin.elapsed() < Duration::from_secs(15), "nobody waited for the reader");
        assert!(!reader.is_cut());
        for cursor in cursors {
            assert!(all(cursor).await.unwrap() == content);
        }
    }
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
