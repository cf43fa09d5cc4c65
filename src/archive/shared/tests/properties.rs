//! Whatever comes, leaves, breaks and ends in whatever order: each reader gets exactly the objects of its target, each
//! once, or an error.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// What the archive holds: two series of a study.
const SERIES: [(&str, &[&str]); 2] = [("1.1", &["1.1.1", "1.1.2", "1.1.3"]), ("1.2", &["1.2.1", "1.2.2"])];
/// Bytes of an object: the cache holds some, or all.
const OBJECT: usize = 200 << 10;

/// What a reader asks for.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Study,
    Series(usize),
    Instance(usize, usize),
    Frames(usize, usize),
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Ask(Wanted),
    /// The reader with this number leaves.
    Leave(usize),
    /// So many milliseconds pass.
    Pass(u64),
    /// The archive sends so many objects for the retrieval with this number.
    Send(usize, usize),
    /// It sends half of the next one, which then breaks off.
    Break(usize),
    /// It ends the retrieval well, with all that is still to come.
    Complete(usize),
    /// It fails.
    Fail(usize),
    /// The cache is emptied.
    Purge,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    prop_oneof![
        Just(Wanted::Study),
        (0..2_usize).prop_map(Wanted::Series),
        (0..2_usize, 0..2_usize).prop_map(|(series, at)| Wanted::Instance(series, at)),
        (0..2_usize, 0..2_usize).prop_map(|(series, at)| Wanted::Frames(series, at)),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => wanted().prop_map(Event::Ask),
        2 => (0..8_usize).prop_map(Event::Leave),
        3 => prop_oneof![Just(1), Just(40), Just(400), Just(10_000)].prop_map(Event::Pass),
        4 => (0..8_usize, 1..3_usize).prop_map(|(at, count)| Event::Send(at, count)),
        1 => (0..8_usize).prop_map(Event::Break),
        2 => (0..8_usize).prop_map(Event::Complete),
        1 => (0..8_usize).prop_map(Event::Fail),
        1 => Just(Event::Purge),
    ]
}

/// The UIDs in the URL, and the objects below it.
fn target_of(wanted: Wanted) -> (Vec<&'static str>, BTreeSet<String>) {
    let all = |series: &(&str, &'static [&'static str])| series.1.iter().map(ToString::to_string);
    match wanted {
        Wanted::Study => (vec!["1"], SERIES.iter().flat_map(all).collect()),
        Wanted::Series(series) => (vec!["1", SERIES[series].0], all(&SERIES[series]).collect()),
        Wanted::Instance(series, at) | Wanted::Frames(series, at) => {
            let instance = SERIES[series].1[at];
            (vec!["1", SERIES[series].0, instance], [instance.to_owned()].into())
        }
    }
}

/// The objects that a retrieval is to bring, each with its series.
fn to_bring(retrieve: &Retrieve) -> Vec<(&'static str, &'static str)> {
    let all =
        SERIES.iter().flat_map(|(series, objects)| objects.iter().map(move |object| (*series, *object)));
    let target = &retrieve.target;
    all.filter(|(series, object)| {
        target.series.as_ref().is_none_or(|uid| uid.as_str() == *series)
            && target.instance.as_ref().is_none_or(|uid| uid.as_str() == *object)
            && !retrieve.having.iter().any(|uid| uid.as_str() == *object)
    })
    .collect()
}

/// The archive's side: what each retrieval has been sent.
struct Server {
    scene: Scene,
    sent: Vec<usize>,
    ended: Vec<bool>,
}

impl Server {
    fn bytes(object: &str) -> Bytes {
        Bytes::from(object.repeat(OBJECT / object.len()))
    }

    /// Begins to answer what was asked; which of them still run.
    fn answer(&mut self) -> Vec<usize> {
        let count = self.scene.pacs.count();
        for at in self.sent.len()..count {
            let retrieve = self.scene.pacs.asked()[at].retrieve.clone();
            let confirmed: Vec<&str> = retrieve.having.iter().map(Uid::as_str).collect();
            self.scene.pacs.open(at, &[], &confirmed);
            self.sent.push(0);
            self.ended.push(false);
        }
        let runs = |at: &usize| !self.ended[*at] && !self.scene.pacs.is_cancelled(*at);
        (0..count).filter(runs).collect()
    }

    fn pick(&mut self, number: usize) -> Option<usize> {
        let running = self.answer();
        (!running.is_empty()).then(|| running[number % running.len()])
    }

    async fn send(&mut self, at: usize, count: usize, whole: bool) {
        let all = to_bring(&self.scene.pacs.asked()[at].retrieve.clone());
        for (series, object) in all.iter().skip(self.sent[at]).take(count) {
            let log = self.scene.pacs.begin(at, series, object, EXPLICIT);
            let mut bytes = Self::bytes(object);
            if whole {
                log.append(&bytes.split_to(OBJECT / 2)).await;
                log.append(&bytes).await;
                log.finish();
                self.sent[at] += 1;
            } else {
                log.append(&bytes.split_to(OBJECT / 2)).await;
            }
        }
    }

    async fn complete(&mut self, at: usize) {
        self.send(at, usize::MAX, true).await;
        self.scene.pacs.complete(at);
        self.ended[at] = true;
    }
}

/// What a reader has got: the objects in order, and how it ended.
type Seen = (Vec<String>, std::result::Result<(), String>);

async fn reads(shared: Arc<Shared>, retrieve: Retrieve) -> Seen {
    let mut objects = Vec::new();
    let mut retrieval = match shared.retrieve(&interactive(), retrieve).await {
        Ok(retrieval) => retrieval,
        Err(error) => return (objects, Err(error.to_string())),
    };
    loop {
        match retrieval.objects.next().await {
            Step::Item(mut object) => {
                let name = object.head.sop_instance.to_string();
                let (expected, mut bytes) = (Server::bytes(&name), Vec::new());
                while let Some(piece) = object.body.next().await {
                    let Ok(piece) = piece else { return (objects, Err(format!("{name} broke off"))) };
                    bytes.extend_from_slice(&piece);
                    assert!(expected.starts_with(&bytes), "{name} has other bytes");
                }
                assert_eq!(bytes.len(), expected.len(), "{name} ends early");
                objects.push(name);
            }
            Step::End(end) => return (objects, end.map(drop).map_err(|error| error.to_string())),
        }
    }
}

async fn play(events: Vec<Event>, memory: u64) {
    let config = Config { memory, ..Config::default() };
    let mut server = Server { scene: scene_with(config, false), sent: Vec::new(), ended: Vec::new() };
    let mut readers: Vec<(Wanted, Option<tokio::task::JoinHandle<Seen>>)> = Vec::new();
    let mut all_is_well = true;
    for event in events {
        match event {
            Event::Ask(wanted) => {
                let (uids, _) = target_of(wanted);
                let ahead = matches!(wanted, Wanted::Frames(..));
                let retrieve = Retrieve { ahead, ..Retrieve::new(target(&uids), Form::AsStored) };
                let shared = Arc::clone(&server.scene.shared);
                readers.push((wanted, Some(tokio::spawn(reads(shared, retrieve)))));
                tokio::task::yield_now().await;
            }
            Event::Leave(number) => {
                if let Some((_, reader)) = readers.get_mut(number) {
                    reader.take().into_iter().for_each(|reader| reader.abort());
                }
            }
            Event::Pass(milliseconds) => sleep(Duration::from_millis(milliseconds)).await,
            Event::Send(number, count) => {
                if let Some(at) = server.pick(number) {
                    server.send(at, count, true).await;
                }
            }
            Event::Break(number) => {
                all_is_well = false;
                if let Some(at) = server.pick(number) {
                    server.send(at, 1, false).await;
                }
            }
            Event::Complete(number) => {
                if let Some(at) = server.pick(number) {
                    server.complete(at).await;
                }
            }
            Event::Fail(number) => {
                all_is_well = false;
                if let Some(at) = server.pick(number) {
                    server.scene.pacs.fail(at, Kind::Timeout("a test"));
                    server.ended[at] = true;
                }
            }
            Event::Purge => drop(server.scene.cache.purge(&Purge::default())),
        }
    }
    // The archive serves whatever is still asked for, until every reader has its end.
    let deadline = Instant::now() + Duration::from_secs(600);
    while readers.iter().flat_map(|(_, reader)| reader).any(|reader| !reader.is_finished()) {
        assert!(Instant::now() < deadline, "a reader hangs");
        for at in server.answer() {
            server.complete(at).await;
        }
        sleep(Duration::from_millis(1)).await;
    }
    for (wanted, reader) in readers {
        let Some(reader) = reader else { continue };
        let (got, well) = reader.await.unwrap();
        let expected = target_of(wanted).1;
        let once: BTreeSet<String> = got.iter().cloned().collect();
        assert_eq!(once.len(), got.len(), "{wanted:?}: twice: {got:?}");
        assert!(once.is_subset(&expected), "{wanted:?}: not asked for: {got:?}");
        assert!(well.is_err() || once == expected, "{wanted:?}: short, with a good end: {got:?}");
        assert!(well.is_ok() || !all_is_well, "{wanted:?}: {well:?} after {got:?}, though nothing failed");
    }
    // Nothing is left of it, as soon as what was left behind is cancelled.
    let Server { scene, ended, .. } = server;
    sleep(Duration::from_secs(1)).await;
    drop(scene.shared);
    settle().await;
    let running = ended.iter().enumerate().filter(|(at, ended)| !**ended && !scene.pacs.is_cancelled(*at));
    assert_eq!(running.count(), 0, "a retrieval runs for nobody");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn each_reader_gets_exactly_the_objects_of_its_target_or_an_error(
        events in prop::collection::vec(event(), 1..40),
        memory in prop_oneof![Just(512_u64 << 10), Just(1 << 20), Just(64 << 20)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(play(events, memory));
    }
}
