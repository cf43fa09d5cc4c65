//! Whatever is done to the cache, in whatever order: readers get an object's own bytes or an error, memory stays within
//! its bound, and nothing is left when all is dropped.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use tokio::time::timeout;

use super::cache::{Cache, Key, Purge};
use super::claim::{Claim, Reader};
use super::config::{Config, Disk};
use super::memory::{Memory, RESERVE};
use super::writer::{Reserve, Writer};
use crate::archive::Form;
use crate::dicom::Uid;
use crate::dicom::object::{Cursor, Head};
use crate::metrics::Metrics;

/// Most bytes of an object.
const MOST: usize = 3 << 20;
const READERS: usize = 4;

/// What all objects are cut from, each at its own place.
static PATTERN: LazyLock<Bytes> = LazyLock::new(|| {
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..MOST + 100_000).map(next).collect::<Vec<u8>>().into()
});

#[derive(Debug, Clone)]
enum Step {
    Begin { key: u8, reserve: u8 },
    Append { writer: u8, length: u32, copied: bool },
    Finish(u8),
    Break(u8),
    Claim { reader: u8, key: u8 },
    Recall { reader: u8, key: u8 },
    Read { claim: u8, pieces: u8 },
    Leave(u8),
    Purge(Option<u8>),
    Lag { reader: u8, lagging: bool },
    Cut(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..5_u8, 0..2_u8).prop_map(|(key, reserve)| Step::Begin { key, reserve }),
        12 => (any::<u8>(), 1..260_000_u32, any::<bool>())
            .prop_map(|(writer, length, copied)| Step::Append { writer, length, copied }),
        3 => any::<u8>().prop_map(Step::Finish),
        1 => any::<u8>().prop_map(Step::Break),
        5 => (0..READERS as u8, 0..5_u8).prop_map(|(reader, key)| Step::Claim { reader, key }),
        2 => (0..READERS as u8, 0..5_u8).prop_map(|(reader, key)| Step::Recall { reader, key }),
        8 => (any::<u8>(), 1..9_u8).prop_map(|(claim, pieces)| Step::Read { claim, pieces }),
        2 => any::<u8>().prop_map(Step::Leave),
        1 => proptest::option::of(0..5_u8).prop_map(Step::Purge),
        1 => (0..READERS as u8, any::<bool>()).prop_map(|(reader, lagging)| Step::Lag { reader, lagging }),
        1 => (0..READERS as u8).prop_map(Step::Cut),
    ]
}

/// An object as the test knows it.
#[derive(Debug, Default)]
struct Known {
    length: usize,
    finished: bool,
    broken: bool,
}

enum Hold {
    Claim(Claim),
    Cursor(Cursor),
}

/// One claim: of which object, whose, how far, and whether an error is in order.
struct Held {
    hold: Option<Hold>,
    object: usize,
    reader: usize,
    at: usize,
    forsaken: bool,
}

struct Model {
    cache: Cache,
    reserves: Vec<Reserve>,
    objects: Vec<Known>,
    writers: Vec<(usize, Writer)>,
    readers: Vec<Reader>,
    held: Vec<Held>,
}

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

fn key(number: u8) -> Key {
    Key {
        archive: "main".into(),
        study: uid("1"),
        instance: uid(&format!("1.{number}")),
        form: Form::AsStored,
    }
}

fn pick<T>(of: &[T], number: u8) -> Option<usize> {
    (!of.is_empty()).then(|| usize::from(number) % of.len())
}

impl Model {
    fn new(cache: Cache) -> Self {
        let readers = (0..READERS).map(|_| cache.reader()).collect();
        let reserves = (0..2).map(|_| cache.reserve()).collect();
        Self { cache, reserves, objects: Vec::new(), writers: Vec::new(), readers, held: Vec::new() }
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Begin { key: number, reserve } => {
                let object = self.objects.len();
                self.objects.push(Known::default());
                let head = Head {
                    sop_class: uid(&object.to_string()),
                    sop_instance: uid("1"),
                    transfer_syntax: uid("1.2.840.10008.1.2.1"),
                };
                let reserve = &self.reserves[usize::from(reserve)];
                self.writers.push((object, self.cache.begin(key(number), head, None, reserve)));
            }
            Step::Append { writer, length, copied } => {
                let Some(index) = pick(&self.writers, writer) else { return };
                let (object, writer) = &mut self.writers[index];
                let known = &mut self.objects[*object];
                let end = (known.length + length as usize).min(MOST);
                let piece = PATTERN.slice(*object + known.length..*object + end);
                let piece = if copied { Bytes::copy_from_slice(&piece) } else { piece };
                if timeout(Duration::ZERO, writer.append(piece)).await.is_ok() {
                    known.length = end;
                }
            }
            Step::Finish(writer) => {
                if let Some(index) = pick(&self.writers, writer) {
                    let (object, writer) = self.writers.swap_remove(index);
                    writer.finish();
                    self.objects[object].finished = true;
                }
            }
            Step::Break(writer) => {
                if let Some(index) = pick(&self.writers, writer) {
                    let (object, _) = self.writers.swap_remove(index);
                    self.objects[object].broken = true;
                }
            }
            Step::Claim { reader, key: number } => {
                let reader = usize::from(reader);
                let claim = self.readers[reader].claim(&key(number));
                self.hold(reader, claim);
            }
            Step::Recall { reader, key: number } => {
                let reader = usize::from(reader);
                let claim = self.readers[reader].recall(&key(number)).await;
                self.hold(reader, claim);
            }
            Step::Read { claim, pieces } => {
                let Some(index) = pick(&self.held, claim) else { return };
                for _ in 0..pieces {
                    if self.read(index, Duration::ZERO).await {
                        self.held.swap_remove(index);
                        return;
                    }
                }
            }
            Step::Leave(claim) => {
                if let Some(index) = pick(&self.held, claim) {
                    self.held.swap_remove(index);
                }
            }
            Step::Purge(number) => {
                let instance = number.map(|number| key(number).instance);
                self.cache.purge(&Purge { instance, ..Purge::default() });
            }
            Step::Lag { reader, lagging } => {
                let reader = usize::from(reader);
                self.cache.with(|memory| memory.set_lagging(self.readers[reader].id(), lagging));
                self.forsake(reader, |held| matches!(held.hold, Some(Hold::Claim(_))));
            }
            Step::Cut(reader) => {
                let reader = usize::from(reader);
                self.cache.with(|memory| memory.cut(self.readers[reader].id()));
                self.forsake(reader, |_| true);
                self.readers[reader] = self.cache.reader();
            }
        }
    }

    fn hold(&mut self, reader: usize, claim: Option<Claim>) {
        let Some(claim) = claim else { return };
        let object = claim.head().sop_class.as_str().parse().unwrap();
        let lagging = self.cache.with(|memory| memory.readers[&self.readers[reader].id()].lagging);
        self.held.push(Held { hold: Some(Hold::Claim(claim)), object, reader, at: 0, forsaken: lagging });
    }

    fn forsake(&mut self, reader: usize, which: impl Fn(&Held) -> bool) {
        self.held
            .iter_mut()
            .filter(|held| held.reader == reader && which(held))
            .for_each(|held| held.forsaken = true);
    }

    /// Reads one piece. `true`: that was the end.
    async fn read(&mut self, index: usize, patience: Duration) -> bool {
        let held = &mut self.held[index];
        let mut cursor = match held.hold.take() {
            Some(Hold::Claim(claim)) => claim.read(),
            Some(Hold::Cursor(cursor)) => cursor,
            None => return true,
        };
        let known = &self.objects[held.object];
        match timeout(patience, cursor.next()).await {
            Err(_) => {}
            Ok(Some(Ok(piece))) => {
                let expected = &PATTERN[held.object + held.at..held.object + held.at + piece.len()];
                assert!(piece == expected, "other bytes at {} of {}", held.at, held.object);
                held.at += piece.len();
                assert!(held.at <= known.length);
            }
            Ok(Some(Err(_))) => {
                assert!(held.forsaken || known.broken, "broken without a reason: {known:?}");
                return true;
            }
            Ok(None) => {
                assert!(known.finished && held.at == known.length, "a short object: {} {known:?}", held.at);
                return true;
            }
        }
        held.hold = Some(Hold::Cursor(cursor));
        false
    }

    /// What must hold at any time.
    fn check(&self) {
        self.cache.with(|memory| {
            assert!(memory.used <= memory.size, "{} bytes of {}", memory.used, memory.size);
            let mut reserved = 0;
            let mut shared = 0;
            let mut begun = HashMap::new();
            for (id, entry) in &memory.entries {
                let begins = entry.claims.values().filter(|place| place.started).count();
                begun.extend((begins > 0).then_some((*id, begins)));
                let is_backed = entry.file.is_some() && !entry.runs.is_empty();
                assert!(!is_backed || memory.backed.contains(id));
                let charges = entry.charges();
                shared += charges.0;
                reserved += charges.1;
                let lags = |reader| memory.readers.get(reader).is_some_and(|r| r.lagging);
                let hard = entry.claims.values().filter(|p| p.started || !lags(&p.reader)).count();
                assert_eq!(entry.held_by, hard + usize::from(entry.writing));
                assert!(entry.stamp.is_none() || entry.held_by == 0);
                let in_memory: u64 = entry.runs.iter().map(|run| run.end - run.start).sum();
                assert_eq!(entry.first + in_memory, entry.length);
            }
            assert_eq!(memory.begun, begun);
            assert!(memory.backed.iter().all(|id| memory.entries.contains_key(id)));
            assert_eq!(memory.used, shared);
            assert_eq!(reserved, self.reserves.iter().map(|reserve| reserve.of().load(Relaxed)).sum::<u64>());
            assert!(reserved <= 2 * RESERVE);
            hungry(memory);
        });
    }

    /// Lets everything come to its end: afterwards nothing is left.
    async fn end(mut self) {
        for (object, writer) in self.writers.drain(..) {
            writer.finish();
            self.objects[object].finished = true;
        }
        while !self.held.is_empty() {
            while !self.read(0, Duration::from_secs(20)).await {}
            self.held.swap_remove(0);
        }
        self.cache.purge(&Purge::default());
        self.readers.clear();
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        let writing = |memory: &mut Memory| memory.entries.values().any(|entry| entry.writing);
        while self.cache.with(writing) && std::time::Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.check();
        self.cache.with(|memory| {
            assert!(memory.entries.is_empty() && memory.readers.is_empty());
            assert_eq!((memory.used, memory.queued), (0, 0));
        });
    }
}

/// Who waits is counted right.
fn hungry(memory: &Memory) {
    let mut waiting: HashMap<_, usize> = HashMap::new();
    for place in memory.entries.values().flat_map(|entry| entry.claims.values()) {
        *waiting.entry(place.reader).or_default() += usize::from(place.waker.is_some());
    }
    for (id, reader) in &memory.readers {
        assert_eq!(reader.hungry, waiting.get(id).copied().unwrap_or(0));
    }
}

fn run(memory: u64, disk: bool, steps: Vec<Step>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let home = tempfile::tempdir().unwrap();
    runtime.block_on(async {
        let disk = disk.then(|| Disk { path: home.path().join("cache"), size: 8 << 20 });
        let with_disk = disk.is_some();
        let cache = Cache::new(Config { memory, disk, ..Config::default() }, Metrics::default());
        while with_disk && !cache.with(|memory| memory.can_save) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut model = Model::new(cache);
        for step in steps {
            model.step(step).await;
            model.check();
        }
        model.end().await;
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn in_memory_every_reader_gets_the_objects_bytes_or_an_error_and_nothing_leaks(
        memory in prop_oneof![Just(0_u64), Just(400_000), Just(1 << 20), Just(3 << 20)],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        run(memory, false, steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn with_a_disk_every_reader_gets_the_objects_bytes_or_an_error_and_nothing_leaks(
        memory in prop_oneof![Just(0_u64), Just(400_000), Just(1 << 20), Just(3 << 20)],
        steps in prop::collection::vec(step(), 1..120),
    ) {
        run(memory, true, steps);
    }
}
