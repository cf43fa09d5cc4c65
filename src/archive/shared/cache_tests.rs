//! What the cache promises to those who write into it and read from it.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::cache::{Cache, Key, Purge};
use super::claim::{Claim, Reader};
use super::config::Config;
use super::memory::ENTRY;
use super::writer::{Reserve, Writer};
use crate::archive::Form;
use crate::dicom::Uid;
use crate::dicom::object::{BrokenObject, Cursor, Head};
use crate::metrics::{Metrics, Of};

const MIB: usize = 1 << 20;
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const JPEG: &str = "1.2.840.10008.1.2.4.50";

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

fn cache(memory: usize) -> Cache {
    Cache::new(Config { memory: memory as u64, ..Config::default() }, Metrics::default())
}

fn key(instance: &str) -> Key {
    Key { archive: "main".into(), study: uid("1"), instance: uid(instance), form: Form::AsStored }
}

fn head(instance: &str, syntax: &'static str) -> Head {
    Head {
        sop_class: uid("1.2.840.10008.5.1.4.1.1.2"),
        sop_instance: uid(instance),
        transfer_syntax: Uid::from_static(syntax),
    }
}

fn begin(cache: &Cache, instance: &str, reserve: &Reserve) -> Writer {
    cache.begin(key(instance), head(instance, EXPLICIT), Some(uid("1.1")), reserve)
}

/// Bytes that differ from place to place, in a block of their own.
fn bytes(length: usize) -> Bytes {
    (0..length).map(|n| (n / 251 + n) as u8).collect::<Vec<_>>().into()
}

async fn put(cache: &Cache, instance: &str, content: &Bytes) {
    let mut writer = begin(cache, instance, &cache.reserve());
    writer.append(content.clone()).await;
    writer.finish();
}

async fn all(mut cursor: Cursor) -> Result<Vec<u8>, BrokenObject> {
    let mut out = Vec::new();
    while let Some(piece) = cursor.next().await {
        out.extend_from_slice(&piece?);
    }
    Ok(out)
}

/// The next bytes, if there are any at this moment.
async fn now(cursor: &mut Cursor) -> Option<usize> {
    let next = timeout(Duration::ZERO, cursor.next()).await;
    next.ok().map(|next| next.map_or(0, |bytes| bytes.unwrap().len()))
}

fn claim(reader: &Reader, instance: &str) -> Option<Claim> {
    reader.claim(&key(instance))
}

#[tokio::test]
async fn every_reader_gets_every_byte_whenever_it_comes() {
    let cache = cache(4 * MIB);
    let content = bytes(MIB);
    let mut writer = begin(&cache, "1.1.1", &cache.reserve());
    let early = claim(&cache.reader(), "1.1.1").unwrap();
    assert!(!early.is_whole());
    let early = tokio::spawn(all(early.read()));
    writer.append(content.slice(..MIB / 2)).await;
    let midway = claim(&cache.reader(), "1.1.1").unwrap();
    for at in (MIB / 2..MIB).step_by(16 << 10) {
        writer.append(content.slice(at..at + (16 << 10))).await;
    }
    assert!(!cache.has(&key("1.1.1")));
    writer.finish();
    assert!(cache.has(&key("1.1.1")) && midway.is_whole());
    let late = claim(&cache.reader(), "1.1.1").unwrap();
    assert_eq!(late.head(), &head("1.1.1", EXPLICIT));
    assert_eq!(late.series(), Some(&uid("1.1")));
    assert_eq!(early.await.unwrap().unwrap(), content);
    assert_eq!(all(midway.read()).await.unwrap(), content);
    assert_eq!(all(late.read()).await.unwrap(), content);
    assert_eq!(cache.state().objects, 1);
}

#[tokio::test]
async fn a_writer_dropped_without_finish_is_an_error_for_every_reader() {
    let cache = cache(4 * MIB);
    let mut writer = begin(&cache, "1.1.1", &cache.reserve());
    writer.append(bytes(100)).await;
    let reader = cache.reader();
    let (unread, read) = (claim(&reader, "1.1.1").unwrap(), claim(&reader, "1.1.1").unwrap());
    let mut read = read.read();
    assert_eq!(now(&mut read).await, Some(100));
    drop(writer);
    assert!(!unread.start());
    assert_eq!(all(unread.read()).await, Err(BrokenObject));
    assert_eq!(read.next().await, Some(Err(BrokenObject)));
    assert_eq!(read.next().await, None);
    assert!(claim(&reader, "1.1.1").is_none());
    assert_eq!(cache.state().memory, 0);
}

#[tokio::test]
async fn a_wrong_study_form_or_archive_is_no_hit_and_native_objects_are_of_both_forms() {
    let cache = cache(4 * MIB);
    put(&cache, "1.1.1", &bytes(10)).await;
    let jpeg = cache.begin(key("1.1.2"), head("1.1.2", JPEG), Some(uid("1.1")), &cache.reserve());
    jpeg.finish();
    let native = |instance| Key { form: Form::Native, ..key(instance) };
    assert!(cache.has(&native("1.1.1")) && cache.has(&key("1.1.2")));
    assert!(!cache.has(&native("1.1.2")), "compressed is not native");
    assert!(!cache.has(&Key { study: uid("2"), ..key("1.1.1") }));
    assert!(!cache.has(&Key { archive: "other".into(), ..key("1.1.1") }));
    let whole = |series: Option<&str>, form| {
        let series = series.map(uid);
        cache.whole("main", &uid("1"), series.as_ref(), form).len()
    };
    assert_eq!(whole(None, Form::AsStored), 2);
    assert_eq!(whole(Some("1.1"), Form::AsStored), 2);
    assert_eq!(whole(Some("1.2"), Form::AsStored), 0);
    assert_eq!(whole(None, Form::Native), 1);
}

#[tokio::test(start_paused = true)]
async fn an_object_is_found_until_its_time_is_over() {
    let cache = cache(4 * MIB);
    put(&cache, "1.1.1", &bytes(10)).await;
    sleep(Duration::from_secs(599)).await;
    let held = claim(&cache.reader(), "1.1.1").unwrap();
    sleep(Duration::from_secs(2)).await;
    assert!(!cache.has(&key("1.1.1")) && claim(&cache.reader(), "1.1.1").is_none());
    assert!(cache.whole("main", &uid("1"), None, Form::AsStored).is_empty());
    assert_eq!(all(held.read()).await.unwrap().len(), 10, "who has claimed it in time gets it");
    assert_eq!(cache.state().memory, 0);
}

#[tokio::test]
async fn hazard_small_objects_do_not_pin_the_blocks_they_were_received_in() {
    let cache = cache(64 * MIB);
    let blocks: Vec<Bytes> = (0..100).map(|_| bytes(256 << 10)).collect();
    for (n, block) in blocks.iter().enumerate() {
        put(&cache, &format!("1.1.{n}"), &block.slice(1000..1200)).await;
    }
    assert_eq!(cache.state().memory, 100 * (200 + ENTRY));
    assert!(blocks.into_iter().all(|block| block.is_unique()));
}

#[tokio::test]
async fn hazard_what_objects_cost_beside_their_bytes_is_within_the_budget() {
    let cache = cache(MIB);
    let content = bytes(100);
    for n in 0..2000 {
        put(&cache, &format!("1.1.{n}"), &content).await;
    }
    let here = (0..2000).filter(|n| cache.has(&key(&format!("1.1.{n}")))).count();
    assert!((500..=1000).contains(&here), "{here} objects in one MiB");
}

#[tokio::test]
async fn slices_of_one_block_are_charged_once_and_what_is_left_of_a_block_is_copied() {
    let cache = cache(64 * MIB);
    let block = bytes(256 << 10);
    let edge = bytes(256 << 10);
    let mut writer = begin(&cache, "1.1.1", &cache.reserve());
    for at in (0..block.len()).step_by(16 << 10) {
        writer.append(block.slice(at + 12..at + (16 << 10))).await;
        assert_eq!(cache.state().memory, 256 << 10);
    }
    writer.append(edge.slice(..50 << 10)).await;
    writer.finish();
    assert_eq!(cache.state().memory, (256 << 10) + (50 << 10));
    assert!(edge.is_unique() && !block.is_unique());
}

#[tokio::test]
async fn memory_is_bounded_and_the_longest_unused_makes_room() {
    let cache = cache(4 * MIB);
    let content = bytes(MIB);
    for n in 1..=4 {
        put(&cache, &format!("1.1.{n}"), &content).await;
    }
    drop(claim(&cache.reader(), "1.1.1"));
    let held = claim(&cache.reader(), "1.1.2").unwrap();
    for n in 5..=6 {
        put(&cache, &format!("1.1.{n}"), &content).await;
        assert!(cache.state().memory <= 4 * MIB as u64);
    }
    let here: Vec<u32> = (1..=6).filter(|n| cache.has(&key(&format!("1.1.{n}")))).collect();
    assert_eq!(here, [1, 2, 5, 6]);
    assert_eq!(all(held.read()).await.unwrap(), content);
}

#[tokio::test]
async fn an_object_larger_than_the_memory_streams_through() {
    for (memory, reads) in [(2 * MIB, true), (0, true), (2 * MIB, false)] {
        let cache = cache(memory);
        let piece = bytes(256 << 10);
        let reserve = cache.reserve();
        let mut writer = begin(&cache, "1.1.1", &reserve);
        let cursor = reads.then(|| claim(&cache.reader(), "1.1.1").unwrap().read());
        let reading = tokio::spawn(async move {
            match cursor {
                Some(cursor) => all(cursor).await.unwrap().len(),
                None => 0,
            }
        });
        for _ in 0..64 {
            writer.append(Bytes::from(piece.to_vec())).await;
            assert!(cache.state().memory <= memory as u64);
        }
        assert!(cache.reader().claim(&key("1.1.1")).is_none(), "its beginning is gone");
        writer.finish();
        assert_eq!(reading.await.unwrap(), if reads { 16 * MIB } else { 0 });
        assert_eq!(cache.state().memory, 0);
        assert!(!cache.has(&key("1.1.1")));
    }
}

#[tokio::test(start_paused = true)]
async fn the_writer_waits_for_its_only_reader_and_cuts_it_when_it_takes_nothing() {
    let cache = cache(MIB);
    let reserve = cache.reserve();
    let mut writer = begin(&cache, "1.1.1", &reserve);
    let reader = cache.reader();
    let mut cursor = claim(&reader, "1.1.1").unwrap().read();
    for _ in 0..8 {
        writer.append(bytes(256 << 10)).await;
    }
    let begin = Instant::now();
    assert!(timeout(Duration::from_secs(1), writer.append(bytes(256 << 10))).await.is_err());
    assert!(!reader.is_cut());
    writer.append(bytes(256 << 10)).await;
    let waited = begin.elapsed().as_secs_f64();
    assert!((30.0..31.0).contains(&waited), "{waited}");
    assert!(reader.is_cut());
    assert_eq!(cursor.next().await, Some(Err(BrokenObject)));
}

#[tokio::test(start_paused = true)]
async fn a_reader_far_behind_in_a_large_object_loses_it_when_others_wait_for_the_rest_and_is_counted() {
    let metrics = Metrics::default();
    let cut = || metrics.readers_cut.get_or_create(&Of { archive: "main".into() }).get();
    let cache = Cache::new(Config { memory: MIB as u64, ..Config::default() }, metrics.clone());
    let reserve = cache.reserve();
    let mut writer = begin(&cache, "1.1.1", &reserve);
    let mut slow = claim(&cache.reader(), "1.1.1").unwrap().read();
    let fast = tokio::spawn(all(claim(&cache.reader(), "1.1.1").unwrap().read()));
    writer.append(bytes(256 << 10)).await;
    assert!(now(&mut slow).await.is_some());
    let begin = Instant::now();
    for _ in 0..40 {
        tokio::task::yield_now().await;
        writer.append(bytes(256 << 10)).await;
    }
    let waited = begin.elapsed().as_secs_f64();
    assert!((3.0..4.0).contains(&waited), "{waited}");
    assert_eq!((slow.next().await, cut()), (Some(Err(BrokenObject)), 1));
    writer.finish();
    assert_eq!(fast.await.unwrap().unwrap().len(), 41 * (256 << 10));
}

#[tokio::test(start_paused = true)]
async fn the_slowest_reader_loses_what_it_has_not_begun_when_others_wait() {
    let cache = cache(2 * MIB);
    let reserve = cache.reserve();
    let (slow, fast) = (cache.reader(), cache.reader());
    let mut kept = Vec::new();
    let content = bytes(MIB);
    let begin_at = Instant::now();
    for n in 1..=8 {
        let instance = format!("1.1.{n}");
        let mut writer = begin(&cache, &instance, &reserve);
        kept.push(writer.claim_for(&slow));
        let reading = tokio::spawn(all(writer.claim_for(&fast).read()));
        tokio::task::yield_now().await;
        for at in (0..MIB).step_by(256 << 10) {
            writer.append(content.slice(at..at + (256 << 10))).await;
            tokio::task::yield_now().await;
        }
        writer.finish();
        assert_eq!(reading.await.unwrap().unwrap(), content);
    }
    let waited = begin_at.elapsed();
    assert!(waited >= Duration::from_millis(500) && waited < Duration::from_millis(1500), "{waited:?}");
    assert!(!kept[0].start() && !slow.is_cut());
    assert!(kept.iter().any(Claim::start), "what there is room for stays");
}

#[tokio::test]
async fn a_purge_drops_what_it_names_and_disturbs_nobody_who_reads() {
    let cache = cache(8 * MIB);
    for instance in ["1.1.1", "1.1.2", "1.1.3"] {
        put(&cache, instance, &bytes(1000)).await;
    }
    let held = claim(&cache.reader(), "1.1.1").unwrap();
    let purged = cache.purge(&Purge { instance: Some(uid("1.1.1")), ..Purge::default() });
    assert_eq!((purged.objects, purged.bytes), (1, 1000));
    assert!(!cache.has(&key("1.1.1")) && cache.has(&key("1.1.2")));
    assert_eq!(all(held.read()).await.unwrap().len(), 1000);
    assert_eq!(cache.purge(&Purge { series: Some(uid("9")), ..Purge::default() }).objects, 0);
    assert_eq!(cache.purge(&Purge { archive: Some("other".into()), ..Purge::default() }).objects, 0);
    cache.forget("main", &uid("1.1.2"));
    assert_eq!(cache.purge(&Purge::default()).objects, 1);
    assert_eq!(cache.state().memory, 0);
}

#[tokio::test]
async fn hazard_what_was_purged_while_it_came_is_not_found_when_it_is_whole() {
    let cache = cache(8 * MIB);
    let mut copies = Vec::new();
    for _ in 0..2 {
        let mut writer = begin(&cache, "1.1.1", &cache.reserve());
        let reading = writer.claim_for(&cache.reader()).read();
        writer.append(bytes(1000)).await;
        copies.push((writer, reading));
    }
    cache.forget("main", &uid("1.1.1"));
    for (writer, reading) in copies {
        writer.finish();
        assert!(!cache.has(&key("1.1.1")));
        assert_eq!(all(reading).await.unwrap().len(), 1000, "who was there gets it");
    }
    assert_eq!(cache.state().memory, 0);
    put(&cache, "1.1.1", &bytes(500)).await;
    assert!(cache.has(&key("1.1.1")));
}

#[tokio::test]
async fn what_is_in_memory_costs_microseconds() {
    let cache = cache(8 * MIB);
    let content = bytes(512 << 10);
    put(&cache, "1.1.1", &content).await;
    // The best of several, as the machine may be busy, and the build not optimized.
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let begin = std::time::Instant::now();
        for _ in 0..1000 {
            let mut cursor = claim(&cache.reader(), "1.1.1").unwrap().read();
            let mut length = 0;
            while let Some(piece) = cursor.next().await {
                length += piece.unwrap().len();
            }
            assert_eq!(length, content.len());
        }
        best = best.min(begin.elapsed());
    }
    assert!(best < Duration::from_millis(500), "{best:?} for a thousand");
}
