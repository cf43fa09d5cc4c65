//! Archives that refuse, fail, break off and die: the answer tells each instance's true fate.

use gantry::demo::Fault;
use tokio::io::AsyncWriteExt;

use super::{Fates, Scene, begin, body, instances, part10};
use crate::support::http::read;
use crate::support::objects::{EXPLICIT, JPEG_BASELINE, Kind, expected};

const SHORT: &str = "timeouts = { connect = \"1s\", association = \"1s\", silence = \"1s\" }";

#[tokio::test(flavor = "multi_thread")]
async fn hazard_a_store_failure_is_told_as_the_archive_said_it_and_never_as_stored() {
    for code in [0xA700, 0xA701, 0xA900, 0xC000, 0xC123, 0x0110, 0x0111, 0x0122, 0x0124] {
        let scene = Scene::new(&[Fault::StoreFailure(code)], "").await;
        let sent = instances(3, &Kind::default());
        let fates = scene.post(&sent).await;
        assert_eq!((fates.status, fates.stored.len()), (409, 0), "{code:04X}: {fates:?}");
        assert_eq!(fates.failed.len(), 3);
        assert!(fates.failed.iter().all(|(_, reason)| *reason == u64::from(code)), "{code:04X}: {fates:?}");
        assert_eq!(scene.archive.count()[3], 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_cannot_be_asked_is_an_error_of_the_whole_request() {
    for (fault, status) in [
        (Fault::Refuse, 502),
        (Fault::RefuseTransient, 503),
        (Fault::CloseOnAssociate, 502),
        (Fault::NoAnswer, 504),
    ] {
        let scene = Scene::new(&[fault], SHORT).await;
        let sent = instances(20, &Kind::default());
        let fates = scene.post(&sent).await;
        assert!(fates.stored.is_empty(), "{fault}: {fates:?}");
        // Whether an association that breaks off before anything was sent is the request's or the instances' fate is
        // for the archive layer to say.
        assert!(fates.status == status || fates.status == 409, "{fault}: {fates:?}");
    }
    let scene = Scene::new(&[], SHORT).await;
    scene.archive.kill().await;
    let fates = scene.post(&instances(20, &Kind::default())).await;
    assert_eq!(fates.status, 503);
}

#[tokio::test(flavor = "multi_thread")]
async fn hazard_a_rude_answer_to_a_store_is_never_told_as_stored() {
    for fault in [
        Fault::Garbage(1),
        Fault::UnknownPdu(1),
        Fault::Pdu4GiB(1),
        Fault::PdvLength0(1),
        Fault::OtherContext(1),
        Fault::HalfPdu(1),
        Fault::WrongMessageId(1),
    ] {
        let scene = Scene::new(&[fault], SHORT).await;
        let fates = scene.post(&instances(3, &Kind::default())).await;
        assert!(fates.stored.is_empty(), "{fault}: {fates:?}");
        assert!([409, 502, 504].contains(&fates.status), "{fault}: {fates:?}");
        assert!(fates.failed.iter().all(|(_, reason)| *reason == 0x0110), "{fault}: {fates:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hazard_an_archive_that_breaks_off_within_objects_is_told_to_have_what_it_confirmed_alone() {
    for (fault, all) in [
        (Fault::StoreFailureAt(2), Some(false)),
        // What breaks off on an association that was used before is sent once more.
        (Fault::StoreAbortIn(3), None),
        (Fault::StoreCloseIn(3), None),
        (Fault::StoreStall, Some(false)),
        (Fault::StoreEarly(0xA700), Some(false)),
        (Fault::StoreSlow(100), Some(true)),
        (Fault::StoreWarning(0xB007), Some(true)),
    ] {
        let scene = Scene::new(&[fault], SHORT).await;
        let sent = instances(12, &Kind { pixels: 200_000, ..Kind::default() });
        let fates = scene.post(&sent).await;
        if fates.status == 502 || fates.status == 504 {
            assert!(fates.stored.is_empty() && all == Some(false), "{fault}: {fates:?}");
            continue;
        }
        assert_eq!(fates.stored.len() + fates.failed.len(), 12, "{fault}: {fates:?}");
        let whole = fates.failed.is_empty();
        assert!(all.is_none_or(|all| all == whole), "{fault}: {fates:?}");
        let status = match (fates.stored.len(), fault) {
            (0, _) => 409,
            (12, fault) if !matches!(fault, Fault::StoreWarning(_)) => 200,
            _ => 202,
        };
        assert_eq!(fates.status, status, "{fault}: {fates:?}");
        scene.archive.clear_faults();
        let (held, sent) = (scene.held().await, expected(&sent));
        for instance in &fates.stored {
            assert_eq!(held.get(instance), sent.get(instance), "{fault}: {instance}");
        }
        scene.app.settle("store faults").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_and_transfer_syntaxes_that_the_archive_does_not_take_are_told_by_their_codes() {
    for (fault, syntax, reason) in
        [(Fault::StoreNoClass, EXPLICIT, 0x0122), (Fault::StoreOnlyNative, JPEG_BASELINE, 0xC122)]
    {
        let scene = Scene::new(&[fault], SHORT).await;
        let fates = scene.post(&instances(3, &Kind { syntax, ..Kind::default() })).await;
        assert_eq!((fates.status, fates.failed.len()), (409, 3), "{fault}: {fates:?}");
        assert!(fates.failed.iter().all(|(_, told)| *told == reason), "{fault}: {fates:?}");
    }
    // What is native can be had in another native form.
    let scene = Scene::new(&[Fault::StoreOnlyImplicit], SHORT).await;
    assert_eq!(scene.post(&instances(3, &Kind::default())).await.status, 200);
    assert_eq!(scene.archive.count()[3], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_archive_confirms_before_it_turns_rude_is_stored() {
    for fault in [Fault::UnannouncedDataSet(1), Fault::AfterFinal] {
        let scene = Scene::new(&[fault], SHORT).await;
        let sent = instances(10, &Kind::default());
        let fates = scene.post(&sent).await;
        assert_eq!(fates.stored.len() + fates.failed.len(), 10, "{fault}: {fates:?}");
        assert!(!fates.stored.is_empty(), "{fault}: {fates:?}");
        scene.archive.clear_faults();
        let (held, sent) = (scene.held().await, expected(&sent));
        for instance in &fates.stored {
            assert_eq!(held.get(instance), sent.get(instance), "{fault}: {instance}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hazard_an_archive_that_is_killed_in_the_middle_has_everything_that_was_told_to_be_stored() {
    let sent = instances(40, &Kind { pixels: 60_000, ..Kind::default() });
    let bytes = body(&sent.iter().map(part10).collect::<Vec<_>>());
    for eighth in 1..8 {
        let scene = Scene::new(&[], SHORT).await;
        let (before, after) = bytes.split_at(bytes.len() * eighth / 8);
        let mut stream = begin(scene.app.http, "/dicom-web/studies", bytes.len() as u64).await;
        stream.write_all(before).await.unwrap();
        // Once nothing of the first part waits any more, the store of the instance on the edge is under way.
        let _ = scene.archive.wait_for(|seen| seen.stores >= 40 * eighth / 8 - 1).await;
        scene.archive.kill().await;
        stream.write_all(after).await.unwrap();
        let fates = Fates::of(read(&mut stream).await);
        assert_eq!(fates.status, 202, "{eighth}: {fates:?}");
        assert_eq!(fates.stored.len() + fates.failed.len(), 40, "{eighth}: each is told");
        assert!(fates.failed.iter().all(|(_, reason)| *reason == 0x0110), "{eighth}: {fates:?}");
        scene.archive.restart().await.unwrap();
        let held = scene.held().await;
        let sent = expected(&sent);
        for instance in &fates.stored {
            assert_eq!(held.get(instance), sent.get(instance), "{eighth}: {instance}");
        }
        // What was stored though its answer was lost may be there besides, but never half of it.
        for (instance, file) in &held {
            assert_eq!(sent.get(instance), Some(file), "{eighth}: {instance}");
        }
        scene.app.settle("killed").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn hazard_a_body_that_breaks_off_leaves_no_half_object_in_the_archive() {
    let sent = instances(6, &Kind { pixels: 300_000, ..Kind::default() });
    let bytes = body(&sent.iter().map(part10).collect::<Vec<_>>());
    for seventh in 1..7 {
        let scene = Scene::new(&[], "").await;
        let mut stream = begin(scene.app.http, "/dicom-web/studies", bytes.len() as u64).await;
        stream.write_all(&bytes[..bytes.len() * seventh / 7]).await.unwrap();
        if seventh % 2 == 0 {
            // Gone for good, or only done with writing.
            drop(stream);
        } else {
            stream.shutdown().await.unwrap();
            let _ = read(&mut stream).await;
        }
        scene.app.settle("broken off").await;
        let (held, sent) = (scene.held().await, expected(&sent));
        assert!(held.len() <= 6 * seventh / 7, "{seventh}: {}", held.len());
        for (instance, file) in &held {
            assert_eq!(sent.get(instance), Some(file), "{seventh}: {instance}");
        }
    }
}
