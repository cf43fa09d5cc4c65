//! What is stored: the object, and nothing but the whole object.

use super::*;

#[tokio::test]
async fn an_object_arrives_as_it_is_in_whatever_pieces_it_comes() {
    let pacs = Pacs::new(everything, &[]);
    let archive = pacs.archive();
    for (number, size) in [1, 7, 4096, usize::MAX].into_iter().enumerate() {
        for syntax in [EXPLICIT_VR_LE, IMPLICIT_VR_LE, EXPLICIT_VR_BE, DEFLATED_EXPLICIT_VR_LE, RLE] {
            let head = head(CT, syntax, number + 1);
            let bytes = data_set(&head, 3001);
            let stored = store(&archive, whole(&head, &bytes, size).await).await.unwrap();
            assert_eq!(stored, Stored { status: 0, comment: Some("as told".into()) });
            let mut wanted = bytes.to_vec();
            // A deflated one is padded (PS3.5 A.5).
            wanted.resize(wanted.len().next_multiple_of(2), 0);
            assert_eq!(pacs.stored().pop(), Some((head, wanted)), "in pieces of {size}");
        }
    }
    settle(&archive).await;
}

#[tokio::test]
async fn a_native_object_is_re_encoded_for_an_archive_that_takes_implicit_vr_only() {
    let pacs = Pacs::new(implicit_only, &[]);
    let archive = pacs.archive();
    let wanted = head(CT, IMPLICIT_VR_LE, 1);
    for syntax in [EXPLICIT_VR_LE, IMPLICIT_VR_LE, EXPLICIT_VR_BE, DEFLATED_EXPLICIT_VR_LE] {
        let sent = head(CT, syntax, 1);
        let object = whole(&sent, &data_set(&sent, 40_000), 1000).await;
        store(&archive, object).await.unwrap();
        assert!(
            pacs.stored().pop() == Some((wanted.clone(), data_set(&wanted, 40_000).to_vec())),
            "{syntax}"
        );
    }
    let compressed = head(CT, RLE, 2);
    let object = whole(&compressed, &data_set(&compressed, 10), 1000).await;
    let error = store(&archive, object).await.unwrap_err();
    assert_eq!(error.kind, Kind::SyntaxRefused(compressed.transfer_syntax));
}

#[tokio::test]
async fn hazard_an_object_that_breaks_off_is_aborted_and_never_ends_well_at_the_archive() {
    let pacs = Pacs::new(everything, &[]);
    let archive = pacs.archive();
    let head = head(CT, EXPLICIT_VR_LE, 1);
    let bytes = data_set(&head, 200_000);
    for cut in [1, 60, 5000, 150_000, bytes.len() - 1, bytes.len()] {
        for finished in [false, true] {
            if finished && cut == bytes.len() {
                continue;
            }
            let (log, object) = ObjectLog::new(head.clone(), &Budget::new(1 << 20));
            for piece in bytes[..cut].chunks(1000) {
                log.append(&Bytes::copy_from_slice(piece)).await;
            }
            if finished {
                log.finish();
            } else {
                drop(log);
            }
            let error = store(&archive, object).await.unwrap_err();
            assert_eq!(error.kind, Kind::SourceBroke, "cut at {cut}, {finished}");
            settle(&archive).await;
        }
    }
    assert!(pacs.stored().is_empty());
    store(&archive, whole(&head, &bytes, 1000).await).await.unwrap();
    assert_eq!(pacs.stored().len(), 1);
}

#[tokio::test]
async fn what_is_not_the_announced_object_never_reaches_the_archive() {
    let pacs = Pacs::new(everything, &[]);
    let archive = pacs.archive();
    let announced = head(CT, EXPLICIT_VR_LE, 1);
    let other_instance = data_set(&head(CT, EXPLICIT_VR_LE, 2), 10);
    let other_class = data_set(&head(SR, EXPLICIT_VR_LE, 1), 10);
    let odd: Bytes = [&data_set(&announced, 10)[..], b"\xE1\x7F\x10\0OB\0\0\x01\0\0\0X"].concat().into();
    let without_vrs = data_set(&head(CT, IMPLICIT_VR_LE, 1), 10);
    let garbage = b"\x08\x00\x32\x10SQ\0\0\x10\0\0\0\xFE\xFF\x00\xE0\xFF\0\0\0 and so on, and so on";
    for bytes in [other_instance, other_class, without_vrs, Bytes::from_static(garbage), Bytes::new()] {
        let error = store(&archive, whole(&announced, &bytes, 4096).await).await.unwrap_err();
        assert_eq!(error.kind, Kind::SourceBroke, "{error}");
    }
    let deflated = head(CT, DEFLATED_EXPLICIT_VR_LE, 1);
    let plain = data_set(&announced, 100);
    let error = store(&archive, whole(&deflated, &plain, 4096).await).await.unwrap_err();
    assert_eq!(error.kind, Kind::SourceBroke);
    assert_eq!(pacs.associations(), 0);
    let error = store(&archive, whole(&announced, &odd, 4096).await).await.unwrap_err();
    assert_eq!(error.kind, Kind::SourceBroke);
    let cut = data_set(&deflated, 100_000);
    let cut = cut.slice(..cut.len() - 5);
    let error = store(&archive, whole(&deflated, &cut, 100).await).await.unwrap_err();
    assert_eq!(error.kind, Kind::SourceBroke);
    assert!(pacs.stored().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_object_that_does_not_come_holds_no_association_for_ever() {
    let pacs = Pacs::new(everything, &[]);
    let archive = pacs.archive();
    let head = head(CT, EXPLICIT_VR_LE, 1);
    let bytes = data_set(&head, 10_000);
    let begin = Instant::now();
    for sent in [0, 5000] {
        let (log, object) = ObjectLog::new(head.clone(), &Budget::new(1 << 20));
        log.append(&bytes.slice(..sent)).await;
        let error = store(&archive, object).await.unwrap_err();
        assert_eq!(error.kind, Kind::SourceBroke);
        drop(log);
    }
    assert!((PATIENCE * 2..PATIENCE * 2 + Duration::from_secs(2)).contains(&begin.elapsed()));
    assert_eq!(pacs.associations(), 1);
    settle(&archive).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_object_is_not_the_silence_of_the_archive_and_goes_on_as_it_comes() {
    let pacs = Pacs::new(everything, &[Does::Answer(0)]);
    let archive = pacs.archive();
    let head = head(CT, EXPLICIT_VR_LE, 1);
    let bytes = data_set(&head, 10_000);
    let (log, object) = ObjectLog::new(head.clone(), &Budget::new(1 << 20));
    let feed = async {
        let mut fed = 0;
        for piece in bytes.chunks(1001) {
            log.append(&Bytes::copy_from_slice(piece)).await;
            fed += piece.len();
            tokio::time::sleep(Duration::from_secs(20)).await;
            let there = pacs.bytes.load(Ordering::SeqCst);
            assert!(there + 2 >= fed && there < fed, "{there} of {fed}");
        }
        log.finish();
    };
    let (stored, ()) = tokio::join!(store(&archive, object), feed);
    assert_eq!(stored.unwrap().status, 0);
    assert_eq!(pacs.stored(), [(head, bytes.to_vec())]);
}

/// As a DIMSE peer's object is passed on.
fn as_it_is() -> Manner {
    Manner { checked: false, originator: None }
}

#[tokio::test]
async fn a_broken_object_that_is_not_checked_is_passed_on_as_it_is() {
    let pacs = Pacs::new(everything, &[]);
    let archive = pacs.archive();
    let announced = head(CT, EXPLICIT_VR_LE, 1);
    let good = data_set(&announced, 10_000);
    let other_instance = data_set(&head(CT, EXPLICIT_VR_LE, 2), 10);
    let short = good.slice(..(good.len() / 2) & !1);
    let without_vrs = data_set(&head(CT, IMPLICIT_VR_LE, 1), 10);
    let garbage = Bytes::from_static(b"no data set at all");
    for bytes in [good, other_instance, short, without_vrs, garbage] {
        let object = whole(&announced, &bytes, 999).await;
        assert_eq!(store_as(&archive, object, as_it_is()).await.unwrap().status, 0);
        assert!(pacs.stored().pop() == Some((announced.clone(), bytes.to_vec())));
    }
}

#[tokio::test]
async fn hazard_what_breaks_off_or_is_empty_is_no_object_though_nobody_checks_it() {
    let pacs = Pacs::new(everything, &[]);
    let archive = pacs.archive();
    let head = head(CT, EXPLICIT_VR_LE, 1);
    let bytes = data_set(&head, 200_000);
    for sent in [0, 5000, bytes.len()] {
        let (log, object) = ObjectLog::new(head.clone(), &Budget::new(1 << 20));
        log.append(&bytes.slice(..sent)).await;
        drop(log);
        let error = store_as(&archive, object, as_it_is()).await.unwrap_err();
        assert_eq!(error.kind, Kind::SourceBroke, "after {sent} bytes");
    }
    let error = store_as(&archive, whole(&head, &Bytes::new(), 1).await, as_it_is()).await.unwrap_err();
    assert_eq!(error.kind, Kind::SourceBroke);
    settle(&archive).await;
    assert!(pacs.stored().is_empty());
}

#[tokio::test]
async fn what_is_not_checked_is_re_encoded_all_the_same_where_it_can_be_followed() {
    let pacs = Pacs::new(implicit_only, &[]);
    let archive = pacs.archive();
    let sent = head(CT, EXPLICIT_VR_LE, 1);
    let bytes = data_set(&sent, 40_000);
    store_as(&archive, whole(&sent, &bytes, 1000).await, as_it_is()).await.unwrap();
    let wanted = head(CT, IMPLICIT_VR_LE, 1);
    assert!(pacs.stored().pop() == Some((wanted.clone(), data_set(&wanted, 40_000).to_vec())));
    let short = bytes.slice(..bytes.len() - 2);
    let error = store_as(&archive, whole(&sent, &short, 1000).await, as_it_is()).await.unwrap_err();
    assert_eq!(error.kind, Kind::SourceBroke);
}

#[tokio::test]
async fn the_move_originator_is_told_where_there_is_one() {
    let pacs = Pacs::new(everything, &[]);
    let archive = pacs.archive();
    let head = head(CT, EXPLICIT_VR_LE, 1);
    let bytes = data_set(&head, 10);
    let client: AeTitle = "CLIENT".parse().unwrap();
    for originator in [Some((client, 7)), None] {
        let manner = Manner { checked: false, originator: originator.clone() };
        store_as(&archive, whole(&head, &bytes, 1000).await, manner).await.unwrap();
        assert_eq!(*pacs.originator.lock().unwrap(), originator);
    }
}
