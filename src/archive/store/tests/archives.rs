//! Archives that refuse, fail, fall silent and die.

use super::*;

async fn ct(number: usize, pixels: usize) -> Object {
    let head = head(CT, EXPLICIT_VR_LE, number);
    whole(&head, &data_set(&head, pixels), 5000).await
}

#[tokio::test]
async fn warnings_are_stored_and_failures_are_the_archives_own() {
    let statuses = [0xB000, 0xB006, 0xB007, 0x0107, 0xA700, 0xA900, 0xC001, 0x0124, 0xFE00];
    let pacs = Pacs::new(everything, &statuses.map(Does::Answer));
    let archive = pacs.archive();
    for status in statuses {
        let comment = Some("as told".to_owned());
        match store(&archive, ct(1, 100).await).await {
            Ok(stored) => assert_eq!((stored.status, stored.comment), (status, comment)),
            Err(error) => {
                let wanted = Kind::Status { operation: "C-STORE", code: status, comment, client_keys: false };
                assert_eq!(error.kind, wanted);
            }
        }
    }
    assert_eq!(pacs.associations(), 1, "a failure status ends no association");
}

#[tokio::test]
async fn hazard_a_failure_in_the_middle_stops_the_object_and_its_association() {
    let pacs = Pacs::new(everything, &[Does::Early(10_000, 0xA700), Does::Early(10_000, 0)]);
    let archive = pacs.archive();
    let head = head(CT, EXPLICIT_VR_LE, 1);
    let bytes = data_set(&head, 8 << 20);
    let error = store(&archive, whole(&head, &bytes, 5000).await).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Status { code: 0xA700, .. }), "{error}");
    let error = store(&archive, whole(&head, &bytes, 5000).await).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Protocol(_)), "success for half an object: {error}");
    assert!(pacs.bytes.load(Ordering::SeqCst) < 6 << 20, "it went on sending");
    assert!(pacs.stored().is_empty());
    settle(&archive).await;
    assert_eq!(archive.associations(), (0, 0));
}

#[tokio::test]
async fn hazard_a_writer_of_a_refused_object_is_not_held_up() {
    let pacs = Pacs::new(everything, &[Does::Early(100, 0xA700)]);
    let archive = pacs.archive();
    let head = head(CT, EXPLICIT_VR_LE, 1);
    let bytes = data_set(&head, 1 << 20);
    let (log, object) = ObjectLog::new(head.clone(), &Budget::new(4096));
    let write = async {
        for piece in bytes.chunks(4096) {
            log.append(&Bytes::copy_from_slice(piece)).await;
        }
    };
    let both = async { tokio::join!(store(&archive, object), write).0 };
    let error = timeout(Duration::from_secs(30), both).await.expect("the writer hangs").unwrap_err();
    assert!(matches!(error.kind, Kind::Status { code: 0xA700, .. }), "{error}");
}

#[tokio::test]
async fn an_archive_that_dies_or_breaks_the_protocol_is_an_error() {
    let script =
        [Does::Abort(1000), Does::Cut(1000), Does::WrongMessageId, Does::Pending, Does::Abort(100_000)];
    for does in script {
        let pacs = Pacs::new(everything, &[does]);
        let archive = pacs.archive();
        let error = store(&archive, ct(1, 300_000).await).await.unwrap_err();
        match does {
            Does::WrongMessageId | Does::Pending => {
                assert!(matches!(error.kind, Kind::Protocol(_)), "{error}")
            }
            _ => assert!(matches!(error.kind, Kind::Aborted(_)), "{error}"),
        }
        settle(&archive).await;
        assert_eq!(archive.associations(), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_never_answers_or_reads_no_further_times_out() {
    for does in [Does::Silence, Does::Deaf(10_000)] {
        let pacs = Pacs::new(everything, &[does]);
        let archive = pacs.archive();
        let begin = Instant::now();
        let error = store(&archive, ct(1, 3 << 20).await).await.unwrap_err();
        assert_eq!(error.kind, Kind::Timeout("silence"), "{does:?}");
        assert!((5..7).contains(&begin.elapsed().as_secs()), "{does:?}: {:?}", begin.elapsed());
        settle(&archive).await;
    }
    let pacs = Pacs::new(everything, &[Does::Late(Duration::from_secs(4))]);
    store(&pacs.archive(), ct(1, 100).await).await.unwrap();
}

#[tokio::test]
async fn hazard_an_association_that_died_while_idle_fails_no_store() {
    let pacs = Pacs::new(everything, &[]);
    let archive = pacs.archive();
    store(&archive, ct(1, 100).await).await.unwrap();
    *pacs.stale.lock().unwrap() = true;
    store(&archive, ct(2, 600_000).await).await.unwrap();
    assert_eq!((pacs.stored().len(), pacs.associations()), (2, 2));
    let head = head(CT, EXPLICIT_VR_LE, 2);
    assert!(pacs.stored()[1] == (head.clone(), data_set(&head, 600_000).to_vec()));
}

#[tokio::test]
async fn hazard_a_piece_whose_check_was_interrupted_is_not_left_out_the_second_time() {
    let pacs = Pacs::new(everything, &[]);
    let archive = pacs.archive();
    let first = head(CT, DEFLATED_EXPLICIT_VR_LE, 1);
    store(&archive, whole(&first, &data_set(&first, 100), 5000).await).await.unwrap();
    *pacs.stale.lock().unwrap() = true;
    // Its second piece swells to so much that the association is seen to be lost while it is walked over.
    let head = head(CT, DEFLATED_EXPLICIT_VR_LE, 2);
    let mut bytes = data_set(&head, 32 << 20).to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    let (log, object) = ObjectLog::new(head.clone(), &Budget::new(1 << 20));
    let bytes = Bytes::from(bytes);
    assert!(bytes.len() < 1 << 20, "all of it is kept");
    log.append(&bytes.slice(..100)).await;
    log.append(&bytes.slice(100..)).await;
    log.finish();
    store(&archive, object).await.unwrap();
    assert!(pacs.stored().pop() == Some((head, bytes.to_vec())));
    assert_eq!(pacs.associations(), 2);
}

#[tokio::test]
async fn an_object_is_not_sent_again_where_a_new_association_is_lost() {
    let pacs = Pacs::new(everything, &[Does::Cut(1000)]);
    let archive = pacs.archive();
    assert!(store(&archive, ct(1, 100_000).await).await.is_err());
    assert_eq!((pacs.stored().len(), pacs.associations()), (0, 1));
}

#[tokio::test]
async fn a_refused_class_is_told_and_costs_one_association_however_often() {
    let pacs = Pacs::new(no_ct, &[]);
    let archive = pacs.archive();
    for number in 1..10 {
        let error = store(&archive, ct(number, 100).await).await.unwrap_err();
        assert_eq!(error.kind, Kind::ClassRefused(CT.parse().unwrap()));
        settle(&archive).await;
    }
    assert_eq!(pacs.associations(), 1);
}

#[tokio::test]
async fn a_study_of_two_classes_is_stored_over_one_association_once_both_are_known() {
    let pacs = Pacs::new(everything, &[]);
    let archive = pacs.archive();
    for number in 1..20 {
        let head = head([CT, SR][number % 2], EXPLICIT_VR_LE, number);
        store(&archive, whole(&head, &data_set(&head, 100), 5000).await).await.unwrap();
    }
    assert_eq!((pacs.stored().len(), pacs.associations()), (19, 2));
}

#[tokio::test]
async fn several_stores_at_once_take_several_associations_up_to_the_cap() {
    let pacs = Pacs::new(everything, &[]);
    let archive = pacs.archive();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 1..=12 {
        let (archive, object) = (archive.clone(), ct(number, 100_000).await);
        tasks.spawn(async move { store(&archive, object).await.unwrap() });
    }
    assert_eq!(tasks.join_all().await.len(), 12);
    assert_eq!((pacs.stored().len(), pacs.associations()), (12, 2));
}

#[tokio::test]
async fn a_dropped_store_leaves_nothing_behind() {
    let pacs = Pacs::new(everything, &[]);
    let archive = pacs.archive();
    let head = head(CT, EXPLICIT_VR_LE, 1);
    let (log, object) = ObjectLog::new(head.clone(), &Budget::new(1 << 20));
    log.append(&data_set(&head, 10_000).slice(..5000)).await;
    let dropped = timeout(Duration::from_millis(50), archive.store(&caller(), object)).await;
    assert!(dropped.is_err());
    settle(&archive).await;
    assert_eq!(archive.associations(), (0, 0));
    assert!(pacs.stored().is_empty());
}

#[tokio::test]
async fn hazard_an_archive_that_aborts_at_many_contexts_is_sent_objects_of_many_classes_all_the_same() {
    let pacs = Arc::new(Pacs { most_contexts: 4, ..Pacs::with(everything, &[]) });
    let archive = pacs.archive();
    for (class, number) in [(CT, 1), (SR, 2), (CT, 3)] {
        let head = head(class, EXPLICIT_VR_LE, number);
        store(&archive, whole(&head, &data_set(&head, 100), 5000).await).await.unwrap();
    }
    assert_eq!(pacs.stored().len(), 3);
}
