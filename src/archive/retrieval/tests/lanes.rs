//! Retrievals over several associations, and in turns with others: an archive in memory, some milliseconds away.

use std::sync::atomic::AtomicUsize;

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};

use super::*;

/// An archive, the way to it, and what was seen of it.
struct Far {
    pacs: Arc<Pacs>,
    associations: Arc<AtomicUsize>,
    archive: DimseArchive,
}

impl Far {
    /// An archive whose answers take `round_trip`, and which takes connections as `accepts` says of the how-manieth.
    fn new(
        pacs: Pacs,
        round_trip: Duration,
        max_associations: usize,
        accepts: impl Fn(usize) -> bool + Send + Sync + Copy + 'static,
    ) -> Self {
        let (pacs, associations) = (Arc::new(pacs), Arc::new(AtomicUsize::new(0)));
        let (connected, count) = (Arc::clone(&pacs), Arc::clone(&associations));
        let config = Config { max_associations, ..Pacs::config(Method::Auto) };
        let archive = DimseArchive::over(config, None, None, Metrics::default(), move |_| {
            let (pacs, count) = (Arc::clone(&connected), Arc::clone(&count));
            Arc::new(move |_| {
                let (pacs, number) = (Arc::clone(&pacs), count.fetch_add(1, Ordering::SeqCst) + 1);
                Box::pin(async move {
                    tokio::time::sleep(round_trip).await;
                    if !accepts(number) {
                        return Err(std::io::ErrorKind::ConnectionRefused.into());
                    }
                    let (ours, near) = duplex(1 << 16);
                    let (far, theirs) = duplex(1 << 16);
                    let ((near_in, near_out), (far_in, far_out)) = (split(near), split(far));
                    tokio::spawn(carry(near_in, far_out, round_trip / 2));
                    tokio::spawn(carry(far_in, near_out, round_trip / 2));
                    tokio::spawn(pacs.serve(theirs));
                    Ok(Box::new(ours) as Box<dyn Io>)
                })
            })
        });
        Self { pacs, associations, archive }
    }

    fn associations(&self) -> usize {
        self.associations.load(Ordering::SeqCst)
    }

    /// How long the study takes, which is to come whole.
    async fn study(&self) -> Duration {
        let begin = Instant::now();
        let came = run(&self.archive, None, Form::AsStored).await.unwrap();
        let all: BTreeSet<String> = came.iter().cloned().collect();
        assert_eq!((came.len(), all.len()), (2 * self.pacs.slices, 2 * self.pacs.slices));
        begin.elapsed()
    }
}

/// Carries bytes, each as long as the way takes.
async fn carry(mut from: ReadHalf<DuplexStream>, mut to: WriteHalf<DuplexStream>, delay: Duration) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let reading = async move {
        let mut buffer = vec![0; 1 << 16];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            let _ = sender.send((Instant::now() + delay, buffer[..length].to_vec()));
        }
    };
    let writing = async move {
        while let Some((due, bytes)) = receiver.recv().await {
            tokio::time::sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(reading, writing);
}

fn pacs(slices: usize) -> Pacs {
    Pacs::with(EXPLICIT_VR_LE, slices, Mutex::default())
}

const RTT: Duration = Duration::from_millis(20);

#[tokio::test(start_paused = true)]
async fn a_study_of_an_archive_far_away_comes_over_several_associations_and_all_the_sooner() {
    let one = Far::new(pacs(100), RTT, 2, |_| true);
    let alone = one.study().await;
    assert!(one.associations() <= 2, "one for objects, one for the searches beside");
    let several = Far::new(pacs(100), RTT, 5, |_| true);
    let first = several.study().await;
    let again = several.study().await;
    assert!(several.associations() <= 5, "{}", several.associations());
    assert!(alone > first.mul_f64(2.0), "{alone:?} {first:?}");
    assert!(alone > again.mul_f64(3.0), "{alone:?} {again:?}: what pays is known by now");
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_is_near_and_fast_is_asked_once_over_one_association() {
    let near = Far::new(pacs(100), Duration::ZERO, 5, |_| true);
    for _ in 0..3 {
        near.study().await;
    }
    assert_eq!(*near.pacs.gets.lock().unwrap(), vec![("STUDY".to_owned(), 0); 3]);
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_sends_one_object_at_a_time_to_all_is_not_asked_over_several_again() {
    let mut pacs = pacs(100);
    pacs.one_at_a_time = Some(tokio::sync::Mutex::default());
    let queueing = Far::new(pacs, RTT, 5, |_| true);
    queueing.study().await;
    let before = queueing.pacs.gets();
    queueing.study().await;
    assert_eq!(queueing.pacs.gets(), before + 1, "one operation over one association");
}

#[tokio::test(start_paused = true)]
async fn a_further_association_that_the_archive_refuses_costs_no_object() {
    let strict = Far::new(pacs(50), RTT, 5, |number| number <= 2);
    strict.study().await;
    assert!(strict.associations() <= 4, "it is not tried again and again: {}", strict.associations());
}

#[tokio::test(start_paused = true)]
async fn what_an_association_that_is_lost_has_not_begun_comes_over_the_others() {
    let far = Far::new(pacs(50), RTT, 5, |_| true);
    *far.pacs.script.lock().unwrap() = [Get::Serve, Get::Serve, Get::Cut].into();
    far.study().await;
    assert!(far.pacs.script.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn hazard_a_list_that_the_archive_caps_without_a_word_is_not_cut_into_operations() {
    for counts in [true, false] {
        let mut pacs = pacs(50);
        (pacs.lists, pacs.counts) = (Some(30), counts);
        let far = Far::new(pacs, RTT, 5, |_| true);
        far.study().await;
        far.study().await;
    }
}

#[tokio::test(start_paused = true)]
async fn where_the_archive_takes_no_lists_of_uids_series_are_asked_for() {
    let mut pacs = pacs(50);
    pacs.knows_lists = false;
    let far = Far::new(pacs, RTT, 5, |_| true);
    far.study().await;
    far.study().await;
}

#[tokio::test(start_paused = true)]
async fn with_one_association_a_search_waits_for_one_operation_and_nobody_starves() {
    let only = Far::new(pacs(150), RTT, 1, |_| true);
    // What it takes is known from here on.
    only.study().await;
    let caller = Caller { client: None, priority: Priority::Interactive, title: None };
    let target = Target { study: STUDY.parse().unwrap(), series: None, instance: None };
    let studying = only.study();
    let searching = async {
        let mut waits = Vec::new();
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let begin = Instant::now();
            only.archive.inner.series_of(&caller, &target).await.unwrap();
            waits.push(begin.elapsed());
        }
        waits
    };
    let (took, waits) = tokio::join!(studying, searching);
    let longest = waits.iter().max().unwrap();
    assert!(*longest < Duration::from_secs(1), "{waits:?}");
    assert!(took < Duration::from_secs(30), "{took:?}");
}
