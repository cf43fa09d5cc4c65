//! More than the cache holds: who waits for whom.

use super::*;

/// Bytes of an object here, and how many of them the cache holds.
const OBJECT: usize = 1 << 20;
const ROOM: u64 = 4;

fn narrow() -> Scene {
    scene_with(Config { memory: ROOM * OBJECT as u64, ..Config::default() }, false)
}

/// Sends objects as large as that, in receive blocks.
async fn objects(pacs: &Pacs, at: usize, numbers: std::ops::RangeInclusive<usize>) {
    for number in numbers {
        let log = pacs.begin(at, "1.1", &format!("1.1.{number}"), EXPLICIT);
        for _ in 0..4 {
            log.append(&Bytes::from(vec![number as u8; OBJECT / 4])).await;
        }
        log.finish();
    }
}

/// Reads an object and looks at every byte of it.
async fn take(mut object: Object) -> std::result::Result<usize, BrokenObject> {
    let number: usize = object.head.sop_instance.as_str().rsplit('.').next().unwrap().parse().unwrap();
    let mut length = 0;
    while let Some(bytes) = object.body.next().await {
        let bytes = bytes?;
        assert!(bytes.iter().all(|&byte| byte == number as u8));
        length += bytes.len();
    }
    assert_eq!(length, OBJECT);
    Ok(number)
}

/// Reads all there is.
async fn take_all(mut feed: Feed<Object>) -> Vec<usize> {
    let mut numbers = Vec::new();
    loop {
        match feed.next().await {
            Step::Item(object) => numbers.push(take(object).await.unwrap()),
            Step::End(end) => {
                end.unwrap();
                return numbers;
            }
        }
    }
}

impl Scene {
    /// A reader that reads as the test says.
    async fn reader(&self, uids: &[&str]) -> Feed<Object> {
        let retrieve = Retrieve::new(target(uids), Form::AsStored);
        self.shared.retrieve(&interactive(), retrieve).await.unwrap().objects
    }
}

/// Readers that read all there is, who have all come before the first of them reads.
async fn join(scene: &Scene, count: usize) -> Vec<tokio::task::JoinHandle<Vec<usize>>> {
    let mut readers = Vec::new();
    for _ in 0..count {
        readers.push(scene.reader(&["1"]).await);
    }
    readers.into_iter().map(|reader| tokio::spawn(take_all(reader))).collect()
}

#[tokio::test(start_paused = true)]
async fn more_than_the_cache_holds_passes_through_it() {
    let scene = narrow();
    let shared = Arc::clone(&scene.shared);
    let reader = tokio::spawn(async move {
        let retrieve = Retrieve::new(target(&["1"]), Form::AsStored);
        take_all(shared.retrieve(&interactive(), retrieve).await.unwrap().objects).await
    });
    let at = scene.pacs.wait_for(&["1"]).await;
    scene.pacs.open(at, &[], &[]);
    objects(&scene.pacs, at, 1..=1).await;
    objects(&scene.pacs, at, 2..=20).await;
    scene.pacs.complete(at);
    assert_eq!(reader.await.unwrap(), (1..=20).collect::<Vec<_>>());
    assert!(scene.cache.state().memory <= ROOM * OBJECT as u64);
    assert_eq!(scene.pacs.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn hazard_a_reader_that_takes_nothing_holds_up_the_others_for_half_a_second() {
    let scene = narrow();
    let (slow, at) = scene.begin_by_hand().await;
    objects(&scene.pacs, at, 1..=20).await;
    scene.pacs.complete(at);
    let mut slow = slow.await.unwrap().unwrap().objects;
    let Step::Item(mut first) = slow.next().await else { panic!() };
    let begun = first.body.next().await.unwrap().unwrap();
    sleep(Duration::from_secs(5)).await;
    let begin = Instant::now();
    let fast: Vec<_> = join(&scene, 5).await;
    // Of the first, only what its reader has yet to read was kept: it is asked for once more, once for all.
    let again = scene.pacs.wait_for(&["1", "1.1", "1.1.1"]).await;
    scene.pacs.open(again, &[], &[]);
    objects(&scene.pacs, again, 1..=1).await;
    scene.pacs.complete(again);
    for reader in fast {
        let mut got = timeout(PATIENCE, reader).await.expect("it hangs").unwrap();
        got.sort_unstable();
        assert_eq!(got, (1..=20).collect::<Vec<_>>());
    }
    assert!(begin.elapsed() < Duration::from_secs(1), "{:?}", begin.elapsed());
    assert_eq!(scene.pacs.count(), 2);
    let mut length = begun.len();
    while let Some(bytes) = first.body.next().await {
        length += bytes.unwrap().len();
    }
    assert_eq!(length, OBJECT, "what it had begun is kept for it");
}

#[tokio::test(start_paused = true)]
async fn hazard_what_was_handed_out_is_kept_for_its_reader_however_far_behind_that_is() {
    let scene = narrow();
    let (slow, at) = scene.begin_by_hand().await;
    objects(&scene.pacs, at, 1..=2).await;
    scene.pacs.complete(at);
    settle().await;
    let mut slow = slow.await.unwrap().unwrap().objects;
    let Step::Item(first) = slow.next().await else { panic!() };
    // Its client has room for nothing yet.
    scene.cache.with(|memory| {
        let readers: Vec<_> = memory.readers.keys().copied().collect();
        readers.into_iter().for_each(|reader| memory.set_lagging(reader, true));
        while memory.evict() {}
    });
    assert!(!scene.cache.has(&scene.shared.engine.groups.key(&uid("1"), &uid("1.1.2"), Form::AsStored)));
    assert_eq!(take(first).await, Ok(1));
}
