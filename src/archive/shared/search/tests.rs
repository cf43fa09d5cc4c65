//! Shared searches over an archive that the tests drive.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{advance, timeout};

use super::*;
use crate::archive::shared::{Cache, Config, Shared};
use crate::archive::testing::{Driver, Fake};
use crate::archive::{Error, Kind, Retrieval, Retrieve, Step, Stored};
use crate::dicom::dataset::DataSet;
use crate::dicom::object::{Budget, Head, Object, ObjectLog};
use crate::dicom::query::{Level, MatchingKey};
use crate::dicom::{Tag, Uid, VR, tags};

struct Scene {
    fake: Arc<Fake>,
    shared: Arc<Shared>,
    cache: Cache,
    metrics: Metrics,
}

impl Scene {
    fn new(lifetime: Option<Duration>) -> Self {
        let (fake, metrics) = (Fake::named("main"), Metrics::default());
        let cache = Cache::new(Config { searches: lifetime, ..Config::off() }, metrics.clone());
        let shared = Shared::new(fake.clone(), cache.clone(), metrics.clone());
        Self { fake, shared: Arc::new(shared), cache, metrics }
    }

    /// Lays a search ready whose driver is the test.
    fn lay(&self) -> Driver<Arc<DataSet>> {
        let (driver, matches) = Driver::new();
        self.fake.push_search(Ok(Search { matches, warnings: vec!["fuzzy".to_owned()] }));
        driver
    }

    async fn search(&self, query: Query) -> Result<Search> {
        self.shared.search(&caller(), query).await
    }

    fn count(&self, outcome: &'static str) -> u64 {
        self.metrics.searches.get_or_create(&Outcome { archive: "main".into(), outcome }).get()
    }

    fn bytes(&self) -> usize {
        self.cache.searches().0.bytes.load(Ordering::Relaxed)
    }
}

fn caller() -> Caller {
    Caller { client: None, priority: Priority::Interactive, title: None }
}

fn query(keys: &[(Tag, &str)]) -> Query {
    let key = |(tag, value): &(Tag, &str)| MatchingKey {
        path: (*tag).into(),
        vr: VR::LO,
        values: vec![(*value).to_owned()],
    };
    Query {
        level: Level::Study,
        within: None,
        keys: keys.iter().map(key).collect(),
        include: Vec::new(),
        include_all: false,
        as_said: false,
        fuzzy: false,
        empty_value: false,
        multiple_value: false,
        offset: 0,
        limit: None,
    }
}

fn study(number: usize) -> Arc<DataSet> {
    study_of(number, 0)
}

fn study_of(number: usize, bytes: usize) -> Arc<DataSet> {
    let mut data_set = DataSet::new();
    data_set.set_str(tags::STUDY_INSTANCE_UID, VR::UI, format!("1.{number}"));
    data_set.set_str(tags::PATIENT_COMMENTS, VR::LT, "x".repeat(bytes));
    Arc::new(data_set)
}

/// How many matches come until the end, which is as told; each is checked to be the next one.
async fn read(mut search: Search) -> (usize, Result<()>) {
    let mut count = 0;
    loop {
        match timeout(Duration::from_secs(60), search.matches.next()).await.expect("the search hangs") {
            Step::Item(found) => {
                assert_eq!(found.string(tags::STUDY_INSTANCE_UID), Some(&*format!("1.{count}")));
                count += 1;
            }
            Step::End(end) => return (count, end.map(drop)),
        }
    }
}

#[tokio::test]
async fn fifty_who_ask_the_same_at_once_share_one_search_and_get_all_of_it() {
    let scene = Arc::new(Scene::new(None));
    let driver = scene.lay();
    let mut readers = JoinSet::new();
    for n in 0..50 {
        let scene = Arc::clone(&scene);
        readers.spawn(async move {
            let search = scene.search(Query { limit: Some(n), offset: n, ..query(&[]) }).await.unwrap();
            assert_eq!(search.warnings, ["fuzzy"]);
            read(search).await
        });
        if n % 10 == 0 {
            (0..20).for_each(|m| driver.item(study(2 * n + m)));
            tokio::task::yield_now().await;
        }
    }
    while scene.count("shared") < 49 {
        tokio::task::yield_now().await;
    }
    driver.complete();
    while let Some(read) = readers.join_next().await {
        assert_eq!(read.unwrap(), (100, Ok(())));
    }
    assert_eq!((scene.fake.queries().len(), scene.count("asked"), scene.bytes()), (1, 1, 0));
}

#[tokio::test]
async fn only_the_same_question_is_the_same_search() {
    let scene = Scene::new(None);
    let (a, b) = ((tags::PATIENT_ID, "7"), (tags::STUDY_ID, "8"));
    let _drivers: Vec<_> = (0..4).map(|_| scene.lay()).collect();
    let mut open = vec![scene.search(query(&[a, b])).await.unwrap()];
    open.push(scene.search(query(&[b, a])).await.unwrap());
    assert_eq!((scene.count("asked"), scene.count("shared")), (1, 1), "the order of keys says nothing");
    open.push(scene.search(query(&[a])).await.unwrap());
    open.push(scene.search(Query { fuzzy: true, ..query(&[a, b]) }).await.unwrap());
    let bulk = Caller { priority: Priority::Bulk, ..caller() };
    open.push(scene.shared.search(&bulk, query(&[a, b])).await.unwrap());
    assert_eq!((scene.count("asked"), scene.count("shared")), (4, 1));
}

#[tokio::test]
async fn a_search_goes_on_when_who_asked_first_leaves_and_is_cancelled_when_the_last_one_does() {
    let scene = Scene::new(None);
    let driver = scene.lay();
    driver.item(study(0));
    let mut first = scene.search(query(&[])).await.unwrap();
    assert!(matches!(first.matches.next().await, Step::Item(_)));
    let mut second = scene.search(query(&[])).await.unwrap();
    {
        // The first drives, the second waits for its turn.
        let (mut one, mut two) = (
            Box::pin(first.matches.next()),
            Box::pin(async {
                second.matches.next().await;
                second.matches.next().await
            }),
        );
        tokio::select! {
            biased;
            _ = &mut one => panic!("nothing has come"),
            _ = &mut two => panic!("nothing has come"),
            () = tokio::task::yield_now() => {}
        }
        drop(one);
        driver.item(study(1));
        assert!(matches!(two.await, Step::Item(_)));
    }
    drop(first);
    assert!(!driver.cancelled.is_cancelled());
    drop(second);
    assert!(driver.cancelled.is_cancelled());
    let _driver = scene.lay();
    scene.search(query(&[])).await.unwrap();
    assert_eq!(scene.count("asked"), 2, "what nobody reads is not joined");
}

#[tokio::test]
async fn who_leaves_while_the_search_opens_leaves_it_to_the_others() {
    let slow = Slow::default();
    let (archive, searches) = (slow.archive(), Searches::new(None, Metrics::default()));
    let (who, open) = (caller(), slow.open.clone());
    {
        let mut one = Box::pin(searches.run(&archive, &who, query(&[])));
        assert!(timeout(Duration::ZERO, &mut one).await.is_err());
        let mut two = Box::pin(searches.run(&archive, &who, query(&[])));
        assert!(timeout(Duration::ZERO, &mut two).await.is_err());
        drop(one);
        open.notify_one();
        assert_eq!(read(two.await.unwrap()).await, (1, Ok(())));
    }
    assert_eq!(slow.searches.load(Ordering::SeqCst), 1);
    let mut three = Box::pin(searches.run(&archive, &who, query(&[])));
    assert!(timeout(Duration::ZERO, &mut three).await.is_err());
    drop(three);
    assert_eq!(slow.given_up.load(Ordering::SeqCst), 1, "nobody waits any more");
}

#[tokio::test]
async fn an_error_is_told_to_all_and_never_remembered() {
    let scene = Scene::new(Some(Duration::from_secs(60)));
    let error = || Error::new("main", Kind::QueueFull);
    let driver = scene.lay();
    driver.item(study(0));
    let (one, two) = (scene.search(query(&[])).await.unwrap(), scene.search(query(&[])).await.unwrap());
    driver.fail(error());
    assert_eq!(read(one).await, (1, Err(error())));
    // The failed one is still being read, and nobody new joins it.
    let next = scene.lay();
    next.complete();
    assert_eq!(read(scene.search(query(&[])).await.unwrap()).await, (0, Ok(())));
    assert_eq!(read(two).await, (1, Err(error())));
    scene.fake.push_search(Err(error()));
    assert_eq!(scene.search(query(&[(tags::STUDY_ID, "1")])).await.unwrap_err(), error());
    assert_eq!((scene.count("asked"), scene.count("shared"), scene.count("remembered")), (3, 1, 0));
}

#[tokio::test]
async fn a_driver_that_dies_is_an_error_for_all_and_no_end() {
    let scene = Scene::new(None);
    let driver = scene.lay();
    let (one, two) = (scene.search(query(&[])).await.unwrap(), scene.search(query(&[])).await.unwrap());
    drop(driver);
    for search in [one, two] {
        assert_eq!(read(search).await, (0, Err(Error::new("main", Kind::DriverDied))));
    }
}

#[tokio::test]
async fn hazard_what_is_too_large_to_be_kept_is_not_shared_with_who_comes_late() {
    let scene = Scene::new(Some(Duration::from_secs(60)));
    let driver = scene.lay();
    let (mut one, mut two) =
        (scene.search(query(&[])).await.unwrap(), scene.search(query(&[])).await.unwrap());
    for n in 0..100 {
        driver.item(study_of(n, 100_000));
        assert!(matches!(one.matches.next().await, Step::Item(_)));
        assert!(matches!(two.matches.next().await, Step::Item(_)));
        assert!(scene.bytes() <= MAX_BYTES);
    }
    assert_eq!(scene.bytes(), 0, "given back as soon as nobody can join");
    scene.lay().complete();
    assert_eq!(read(scene.search(query(&[])).await.unwrap()).await, (0, Ok(())));
    driver.complete();
    assert!(matches!(one.matches.next().await, Step::End(Ok(_))));
    assert!(matches!(two.matches.next().await, Step::End(Ok(_))));
    assert_eq!((scene.count("asked"), scene.count("shared")), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn hazard_a_reader_that_takes_nothing_holds_up_the_others_for_a_moment_only() {
    let scene = Scene::new(None);
    let driver = scene.lay();
    let (one, mut stalled) =
        (scene.search(query(&[])).await.unwrap(), scene.search(query(&[])).await.unwrap());
    (0..200).for_each(|n| driver.item(study_of(n, 100_000)));
    driver.complete();
    assert_eq!(read(one).await, (200, Ok(())));
    let end = loop {
        match stalled.matches.next().await {
            Step::Item(_) => {}
            Step::End(end) => break end,
        }
    };
    assert_eq!(end.unwrap_err().kind, Kind::ReaderStalled);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_remembered_for_its_time_and_until_something_is_stored() {
    let lifetime = Duration::from_secs(10);
    let scene = Scene::new(Some(lifetime));
    let lay = |count| {
        let driver = scene.lay();
        (0..count).for_each(|n| driver.item(study(n)));
        driver.complete();
    };
    let find = || async { read(scene.search(query(&[])).await.unwrap()).await.0 };
    lay(3);
    assert_eq!((find().await, find().await, find().await), (3, 3, 3));
    assert_eq!((scene.count("asked"), scene.count("remembered")), (1, 2));
    advance(lifetime).await;
    lay(4);
    assert_eq!((find().await, find().await), (4, 4));
    let uid = || "1.2".parse::<Uid>().unwrap();
    let head = Head { sop_class: uid(), sop_instance: uid(), transfer_syntax: uid() };
    let (_log, object) = ObjectLog::new(head, &Budget::new(1 << 16));
    drop(scene.shared.store(&caller(), object));
    lay(5);
    assert_eq!((find().await, find().await), (5, 5));
    scene.cache.purge(&crate::archive::shared::Purge::default());
    lay(6);
    assert_eq!((find().await, scene.count("asked")), (6, 4));
}

#[tokio::test]
async fn hazard_a_search_from_before_a_store_is_neither_joined_nor_remembered_after_it() {
    let scene = Scene::new(Some(Duration::from_secs(60)));
    let before = scene.lay();
    let early = scene.search(query(&[])).await.unwrap();
    scene.cache.searches().forget(Some("other"));
    let joined = scene.search(query(&[])).await.unwrap();
    scene.cache.searches().forget(Some("main"));
    let after = scene.lay();
    let late = scene.search(query(&[])).await.unwrap();
    after.item(study(0));
    after.complete();
    assert_eq!(read(late).await, (1, Ok(())));
    before.complete();
    assert_eq!((read(early).await, read(joined).await), ((0, Ok(())), (0, Ok(()))));
    assert_eq!(read(scene.search(query(&[])).await.unwrap()).await, (1, Ok(())));
    assert_eq!((scene.count("asked"), scene.count("shared"), scene.count("remembered")), (2, 1, 1));
}

#[tokio::test]
async fn what_is_remembered_is_bounded_by_bytes_and_the_oldest_gives_way() {
    let scene = Scene::new(Some(Duration::from_secs(60)));
    let ask = |n: usize| query(&[(tags::STUDY_ID, Box::leak(n.to_string().into_boxed_str()))]);
    for n in 0..6 {
        let driver = scene.lay();
        (0..30).for_each(|m| driver.item(study_of(m, 100_000)));
        driver.complete();
        assert_eq!(read(scene.search(ask(n)).await.unwrap()).await, (30, Ok(())));
        assert!(scene.bytes() <= MAX_BYTES);
    }
    for n in [5, 4, 3, 2, 1] {
        scene.search(ask(n)).await.unwrap();
    }
    assert_eq!((scene.count("asked"), scene.count("remembered")), (6, 5));
    scene.lay();
    scene.search(ask(0)).await.unwrap();
    assert_eq!(scene.count("asked"), 7);
    scene.cache.searches().forget(None);
    assert_eq!(scene.bytes(), 0);
}

/// An archive whose searches open when the test says so, and have one match.
#[derive(Default)]
struct Slow {
    open: Arc<tokio::sync::Notify>,
    searches: Arc<AtomicUsize>,
    given_up: Arc<AtomicUsize>,
}

impl Slow {
    fn archive(&self) -> Arc<dyn Archive> {
        let Self { open, searches, given_up } = self;
        Arc::new(Self { open: open.clone(), searches: searches.clone(), given_up: given_up.clone() })
    }
}

impl Archive for Slow {
    fn name(&self) -> &str {
        "main"
    }

    fn search(&self, _caller: &Caller, _query: Query) -> Fut<'_, Result<Search>> {
        struct Waiting<'a>(Option<&'a AtomicUsize>);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.map(|given_up| given_up.fetch_add(1, Ordering::SeqCst));
            }
        }
        self.searches.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            let mut waiting = Waiting(Some(&self.given_up));
            self.open.notified().await;
            waiting.0 = None;
            let (driver, matches) = Driver::new();
            driver.item(study(0));
            driver.complete();
            Ok(Search { matches, warnings: Vec::new() })
        })
    }

    fn retrieve(&self, _caller: &Caller, _retrieve: Retrieve) -> Fut<'_, Result<Retrieval>> {
        unreachable!("it is only searched")
    }

    fn store(&self, _caller: &Caller, _object: Object) -> Fut<'_, Result<Stored>> {
        unreachable!("it is only searched")
    }

    fn verify(&self, _caller: &Caller) -> Fut<'_, Result<()>> {
        unreachable!("it is only searched")
    }
}
