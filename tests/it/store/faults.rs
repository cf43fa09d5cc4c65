//! An archive that misbehaves: the caller is told what happened to the object, and nothing is left over.

use gantry::archive::{Archive as _, Kind};
use gantry::demo::{Fault, Plain};
use gantry::dicom::Uid;
use gantry::dicom::transfer_syntax::DEFLATED_EXPLICIT_VR_LE;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::support::objects::{BIG_ENDIAN, EXPLICIT, IMPLICIT, JPEG_BASELINE, Kind as Like, RLE, object};

fn small(number: usize) -> Instance {
    object(1, 1, number, &Like { pixels: 50_000, ..Like::default() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_stored_is_held_byte_by_byte_in_its_own_transfer_syntax() {
    let scene = Scene::new(&[]).await;
    for (number, syntax) in [EXPLICIT, IMPLICIT, BIG_ENDIAN, JPEG_BASELINE, RLE].into_iter().enumerate() {
        let instance = object(1, 1, number, &Like { syntax, pixels: 300_000, owner: 1 });
        assert_eq!(scene.store(&instance).await.unwrap().status, 0);
        assert!(scene.holds(&instance), "{syntax}");
    }
    scene.settle("after it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_every_fault_of_an_archive_has_its_true_result_and_leaves_nothing_over() {
    let status = |code| Some(Kind::Status { operation: "C-STORE", code, comment: None, client_keys: false });
    let lost = |kind: &Kind| matches!(kind, Kind::Aborted(_));
    for fault in Fault::KINDS.iter().filter(|kind| kind.name.starts_with("store-")) {
        let fault: Fault = fault.name.parse().unwrap();
        let scene = Scene::new(&[fault]).await;
        let (first, second) = (small(1), small(2));
        let results = [scene.store(&first).await, scene.store(&second).await];
        let what = fault.to_string();
        scene.settle(&what).await;
        let holds = |instance| fault != Fault::StoreOnlyImplicit && scene.holds(instance);
        let held = [holds(&first), holds(&second)];
        let kinds = results.each_ref().map(|r| r.as_ref().err().map(|e| e.kind.clone()));
        match fault {
            Fault::StoreFailure(code) => {
                assert_eq!(kinds, [status(code as u16), status(code as u16)], "{what}");
                assert_eq!(held, [false; 2], "{what}");
            }
            Fault::StoreFailureAt(_) => {
                assert_eq!(kinds, [status(0xA700), None], "{what}");
                assert_eq!(held, [false, true], "{what}");
            }
            // The object fits into the connection, so that all of it was sent before the answer came.
            Fault::StoreEarly(code) => {
                assert!(
                    kinds
                        .iter()
                        .flatten()
                        .all(|kind| Some(kind) == status(code as u16).as_ref() || lost(kind))
                );
                assert!(kinds[0].is_some(), "{what}");
                assert_eq!(held, [false; 2], "{what}");
            }
            Fault::StoreWarning(code) => {
                assert!(
                    results.iter().all(|r| r.as_ref().is_ok_and(|s| u32::from(s.status) == code)),
                    "{what}"
                );
                assert_eq!(held, [true; 2], "{what}");
            }
            Fault::StoreSlow(_) => assert_eq!((kinds, held), ([None, None], [true; 2]), "{what}"),
            Fault::StoreDiscard => assert_eq!((kinds, held), ([None, None], [false; 2]), "{what}"),
            Fault::StoreStall => {
                assert_eq!(kinds, [Some(Kind::Timeout("silence")), Some(Kind::Timeout("silence"))], "{what}");
            }
            Fault::StoreDeafIn(_) => assert_eq!(kinds, [Some(Kind::Timeout("silence")), None], "{what}"),
            Fault::StoreAbortIn(_) | Fault::StoreCloseIn(_) => {
                assert!(kinds[0].as_ref().is_some_and(lost), "{what}: {kinds:?}");
                assert_eq!((&kinds[1], held), (&None, [false, true]), "{what}");
            }
            Fault::StoreNoClass => {
                let refused = Some(Kind::ClassRefused(first.head.sop_class.clone()));
                assert_eq!(kinds, [refused.clone(), refused], "{what}");
                assert_eq!(scene.archive.observations().associations.opened, 1, "{what}");
            }
            Fault::StoreOnlyNative => assert_eq!((kinds, held), ([None, None], [true; 2]), "{what}"),
            Fault::StoreOnlyImplicit => {
                assert_eq!(kinds, [None, None], "{what}");
                let held = scene.archive.instance(&first.head.sop_instance).unwrap();
                assert_eq!(held.head.transfer_syntax.as_str(), IMPLICIT, "{what}");
                assert_eq!(held.attributes, first.attributes, "{what}");
            }
            other => panic!("{other}: no test says what is to come of it"),
        }
        scene.archive.clear_faults();
        if matches!(fault, Fault::StoreNoClass) {
            continue;
        }
        let third = small(3);
        scene.store(&third).await.unwrap();
        assert!(scene.archive.instance(&third.head.sop_instance).is_some(), "{what}: the next object");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_takes_native_objects_only_gets_them_re_encoded_and_refuses_compressed_ones() {
    let scene = Scene::new(&[Fault::StoreOnlyNative]).await;
    let like = |syntax| object(1, 1, 1, &Like { syntax, pixels: 100_000, owner: 1 });
    let wanted = like(EXPLICIT);
    let explicit = bytes_of(&wanted);
    let deflated = Head { transfer_syntax: Uid::from_static(DEFLATED_EXPLICIT_VR_LE), ..wanted.head.clone() };
    for (head, bytes) in [
        (like(BIG_ENDIAN).head, bytes_of(&like(BIG_ENDIAN))),
        (deflated, deflate(&explicit)),
        (wanted.head.clone(), explicit.clone()),
    ] {
        let archive = Scene::new(&[Fault::StoreOnlyNative]).await;
        store(&archive.gantry, &head, &bytes).await.unwrap();
        assert!(archive.holds(&wanted), "{}", head.transfer_syntax);
    }
    for syntax in [JPEG_BASELINE, RLE] {
        let compressed = object(1, 1, 1, &Like { syntax, ..Like::default() });
        let error = scene.store(&compressed).await.unwrap_err();
        assert_eq!(error.kind, Kind::SyntaxRefused(compressed.head.transfer_syntax.clone()));
    }
    scene.settle("after it").await;
}

fn deflate(bytes: &[u8]) -> Bytes {
    use std::io::Write;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_an_archive_that_closes_idle_associations_fails_no_store() {
    let scene = Scene::new(&[]).await;
    for idle in [Fault::CloseIdle(20), Fault::AbortIdle(20)] {
        scene.archive.clear_faults();
        scene.archive.set_fault(idle);
        for number in 0..60 {
            let instance = object(2, 1, number, &Like { pixels: 200_000, ..Like::default() });
            scene.store(&instance).await.unwrap_or_else(|error| panic!("{idle}, object {number}: {error}"));
            assert!(scene.holds(&instance));
            // The next one comes about when the association ends.
            sleep(Duration::from_micros(19_000 + 100 * number as u64 % 4000)).await;
        }
    }
    scene.settle("after it").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_an_archive_killed_in_a_store_is_an_error_and_the_next_store_succeeds() {
    let scene = Scene::new(&[]).await;
    let mut random = StdRng::seed_from_u64(0x6761_6E74_7279);
    let instance = object(3, 1, 1, &Like { pixels: 20 << 20, ..Like::default() });
    let mut hit = 0;
    for place in 0..20 {
        let far = random.random_range(0..8_u64 << 20);
        let before = scene.archive.observations().bytes_stored;
        // The end of every second object comes after the archive's death, however late that is.
        let (dead, has_died) = tokio::sync::oneshot::channel::<()>();
        let part = if place % 2 == 0 { far as usize + (2 << 20) } else { bytes_of(&instance).len() };
        let storing = tokio::spawn({
            let (gantry, head, bytes) = (scene.gantry.clone(), instance.head.clone(), bytes_of(&instance));
            async move {
                let pause = async { drop(has_died.await) };
                store_in_two(&gantry, &head, &bytes, part, pause).await
            }
        });
        scene.archive.wait_for(|seen| seen.bytes_stored >= before + far).await.unwrap();
        scene.archive.kill().await;
        drop(dead);
        if let Err(error) = storing.await.unwrap() {
            hit += 1;
            assert!(matches!(error.kind, Kind::Aborted(_) | Kind::Unreachable(_)), "place {place}: {error}");
        }
        scene.settle("killed").await;
        scene.archive.restart().await.unwrap();
        let next = object(3, 1, 100 + place, &Like::default());
        scene.store(&next).await.unwrap_or_else(|error| panic!("after place {place}: {error}"));
        assert!(scene.holds(&next));
    }
    assert!(hit >= 10, "only {hit} were hit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_at_once_share_few_associations_that_take_every_class() {
    let scene = Scene::new(&[Fault::StoreSlow(2)]).await;
    let plain = Plain::new(1, 2, 30, 20_000);
    let made = plain.make();
    let mut tasks = tokio::task::JoinSet::new();
    for instance in made.clone() {
        let gantry = scene.gantry.clone();
        tasks.spawn(async move { store(&gantry, &instance.head, &bytes_of(&instance)).await.unwrap() });
    }
    tasks.join_all().await;
    assert!(made.iter().all(|instance| scene.holds(instance)));
    let seen = scene.archive.observations();
    assert_eq!((seen.stores, seen.most_storing), (60, 3), "bulk work leaves one association to searches");
    assert!(seen.associations.opened <= 8, "{:?}", seen.associations);
    assert!(seen.associations.most_contexts <= 5);
    assert_eq!(scene.archive.count(), [1, 1, 2, 60]);
    scene
        .gantry
        .verify(&Caller { client: None, priority: Priority::Interactive, title: None })
        .await
        .unwrap();
}
