//! What becomes of the association, and of the search, when something goes wrong.

use super::*;

#[tokio::test]
async fn a_search_streams_its_matches_and_gives_the_association_back() {
    let pacs = Pacs::new(|_| found((0..1000).map(study).collect()));
    let archive = pacs.archive();
    for _ in 0..3 {
        let (matches, warnings) = run(&archive, query(Level::Study)).await.unwrap();
        assert_eq!((matches.len(), warnings.len()), (1000, 0));
        assert!(matches[0].contains(tags::PATIENT_NAME), "what answers have is there, if empty");
        assert!(!matches[0].contains(tags::QUERY_RETRIEVE_LEVEL));
    }
    assert_eq!((pacs.finds().len(), pacs.associations()), (3, 1));
}

#[tokio::test]
async fn hazard_a_search_with_limit_leaves_no_responses_on_a_pooled_association() {
    let pacs = Pacs::new(|identifier| match identifier.string(tags::PATIENT_ID) {
        Some(_) => found(vec![data_set(&[(tags::STUDY_INSTANCE_UID, "2.1"), (tags::PATIENT_ID, "P")])]),
        None => Answer::Endless(study(1), 50),
    });
    let archive = pacs.archive();
    for round in 1..=5 {
        let mut search = archive.search(&caller(), query(Level::Study)).await.unwrap();
        for _ in 0..3 {
            assert!(matches!(search.matches.next().await, Step::Item(_)));
        }
        drop(search);
        let next = query_with(Level::Study, &[(tags::PATIENT_ID, "P")]);
        assert_eq!(values(&archive, next, tags::STUDY_INSTANCE_UID).await, ["2.1"]);
        while pacs.cancels() < round {
            tokio::task::yield_now().await;
        }
    }
    assert!(pacs.associations() <= 2, "cancelled associations are clean and used again");
}

#[tokio::test(start_paused = true)]
async fn hazard_a_client_that_leaves_cancels_at_once_and_a_deaf_archive_is_aborted() {
    let pacs = Pacs::new(|_| Answer::OneThenSilence(study(1)));
    let archive = pacs.archive();
    let mut search = archive.search(&caller(), query(Level::Study)).await.unwrap();
    assert!(matches!(search.matches.next().await, Step::Item(_)));
    drop(search);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!((pacs.cancels(), archive.inner.query.in_use()), (1, (1, 0)));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(archive.inner.query.in_use(), (0, 0), "its association is gone");
}

#[tokio::test]
async fn hazard_a_flood_after_the_cancel_is_not_drained_for_ever() {
    let pacs = Pacs::new(|_| Answer::Endless(study(1), 100_000));
    let archive = pacs.archive();
    let search = archive.search(&caller(), query(Level::Study)).await.unwrap();
    drop(search);
    let gone = async {
        while archive.inner.query.in_use() != (0, 0) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), gone).await.expect("the association is still drained");
    assert_eq!(pacs.cancels(), 1);
}

#[tokio::test]
async fn a_search_dropped_before_its_first_match_is_cancelled_too() {
    let pacs = Pacs::new(|_| {
        let mut other = study(1);
        other.set_str(tags::PATIENT_ID, vr_of(tags::PATIENT_ID), "OTHER");
        Answer::Endless(other, 0)
    });
    let archive = pacs.archive();
    let key = query_with(Level::Study, &[(tags::PATIENT_ID, "P")]);
    let caller = caller();
    assert!(timeout(Duration::from_millis(200), archive.search(&caller, key)).await.is_err());
    while pacs.cancels() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn hazard_a_failure_status_is_an_error_and_never_an_empty_list() {
    for (status, keys, blames_client) in [
        (0xA700, &[(tags::PATIENT_ID, "P")][..], false),
        (0xC001, &[(tags::PATIENT_ID, "P")], false),
        (0xA900, &[(tags::PATIENT_ID, "P")], true),
        (0xA900, &[], false),
        (0x0122, &[], false),
        (0xFE00, &[], false),
    ] {
        let pacs = Pacs::new(move |_| refused(status));
        let error = run(&pacs.archive(), query_with(Level::Study, keys)).await.unwrap_err();
        let Kind::Status { operation: "C-FIND", code, client_keys, .. } = error.kind else {
            panic!("{error:?}")
        };
        assert_eq!((code, client_keys), (status, blames_client), "{status:04X}");
    }
}

#[tokio::test]
async fn hazard_a_failure_after_matches_ends_the_feed_with_an_error() {
    let pacs = Pacs::new(|_| Answer::Matches(0xFF00, vec![study(1), study(2)], 0xA700));
    let archive = pacs.archive();
    let mut search = archive.search(&caller(), query(Level::Study)).await.unwrap();
    assert!(matches!(search.matches.next().await, Step::Item(_)));
    assert!(matches!(search.matches.next().await, Step::Item(_)));
    let Step::End(Err(error)) = search.matches.next().await else { panic!("a good end") };
    assert!(matches!(error.kind, Kind::Status { code: 0xA700, .. }));
}

#[tokio::test]
async fn hazard_matches_that_end_with_a_warning_are_not_all_there_are() {
    for (status, is_whole) in
        [(0xB000, false), (0xB007, false), (0xBFFF, false), (0x0001, true), (0x0107, true)]
    {
        let pacs = Pacs::new(move |_| Answer::Matches(0xFF00, vec![study(1)], status));
        let outcome = run(&pacs.archive(), query(Level::Study)).await;
        assert_eq!(outcome.is_ok(), is_whole, "{status:04X}");
    }
}

#[tokio::test]
async fn hazard_an_archive_that_dies_in_the_middle_is_an_error() {
    let pacs = Pacs::new(|_| Answer::Cut(vec![study(1)]));
    let error = run(&pacs.archive(), query(Level::Study)).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Aborted(_)), "{error:?}");
}

#[tokio::test]
async fn only_a_reused_association_that_said_nothing_is_tried_again_and_only_once() {
    let finds = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&finds);
    let pacs = Pacs::new(move |_| match count.fetch_add(1, Ordering::SeqCst) {
        0 | 2 => found(vec![study(1)]),
        _ => Answer::Cut(vec![]),
    });
    let archive = pacs.archive();
    run(&archive, query(Level::Study)).await.unwrap();
    // The second C-FIND is cut off without a response on a reused association; the third succeeds.
    assert_eq!(run(&archive, query(Level::Study)).await.unwrap().0.len(), 1);
    assert_eq!(finds.load(Ordering::SeqCst), 3);
    // The fourth and the fifth are cut off.
    assert!(run(&archive, query(Level::Study)).await.is_err());
    assert_eq!(finds.load(Ordering::SeqCst), 5);
    // On a new association there is no second try.
    assert!(run(&archive, query(Level::Study)).await.is_err());
    assert_eq!(finds.load(Ordering::SeqCst), 6);
}

#[tokio::test]
async fn hazard_responses_that_the_protocol_does_not_allow_are_errors() {
    let scripts: [fn() -> Answer; 3] = [
        || Answer::WrongMessageId,
        || Answer::NoDataSet,
        || Answer::Raw(Bytes::from_static(&[0x08, 0x00, 0x20, 0x00, b'D', b'A', 0xF0, 0x00, b'2'])),
    ];
    for script in scripts {
        let pacs = Pacs::new(move |_| script());
        let error = run(&pacs.archive(), query(Level::Study)).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Protocol(_)), "{error:?}");
    }
}

#[tokio::test]
async fn hazard_a_response_after_the_final_one_harms_no_later_search() {
    let first = AtomicUsize::new(0);
    let pacs = Pacs::new(move |_| match first.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::TwoFinals,
        _ => found(vec![study(1)]),
    });
    let archive = pacs.archive();
    assert_eq!(run(&archive, query(Level::Study)).await.unwrap().0.len(), 0);
    assert_eq!(run(&archive, query(Level::Study)).await.unwrap().0.len(), 1);
}

#[tokio::test]
async fn one_bad_element_does_not_lose_the_match() {
    let mut bytes =
        data_set(&[(tags::STUDY_INSTANCE_UID, "1.2")]).encode(Layout::ExplicitLe, QueryCharset::Auto);
    // Rows of three bytes.
    bytes.extend([0x28, 0x00, 0x10, 0x00, b'U', b'S', 3, 0, 1, 2, 3]);
    let bytes = Bytes::from(bytes);
    let pacs = Pacs::new(move |_| Answer::Raw(bytes.clone()));
    let uids = values(&pacs.archive(), query(Level::Study), tags::STUDY_INSTANCE_UID).await;
    assert_eq!(uids, ["1.2"]);
}

#[tokio::test]
async fn a_refused_query_cuts_no_association() {
    let pacs = Pacs::new(|_| found(vec![]));
    let archive = pacs.archive();
    let bad = query_with(Level::Study, &[(tags::SOP_INSTANCE_UID, "1.2")]);
    let error = run(&archive, bad).await.unwrap_err();
    assert!(matches!(error.kind, Kind::BadKeys(_)));
    run(&archive, query(Level::Study)).await.unwrap();
    assert_eq!(pacs.associations(), 1);
}
