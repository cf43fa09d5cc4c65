//! One retrieval, many readers, over the wire: what the archive sees of them.

mod fresh;
mod readers;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gantry::demo::{Fault, Instance};
use gantry::dicom::query::Level;
use gantry::dicom::{sop_class, tags};
use tokio::time::sleep;

use crate::retrieval::{METHODS, Method, Outcome, Scene, judge, study_path};
use crate::support::http::{Version, get, get_with};
use crate::support::objects::{Kind, instance_uid, series_uid, study};
use crate::support::part10::File;

/// Images of a series.
const IMAGES: usize = 500;
/// How many requests a viewer has under way at once.
const AT_ONCE: usize = 6;
const FRAMES: &str = "Accept: multipart/related; type=application/octet-stream; transfer-syntax=*";

/// An archive with these objects, and a bridge with a cache before it.
async fn scene(method: Method, instances: Vec<Instance>, faults: &[Fault], more: &str) -> Scene {
    Scene::new(method, instances, faults, &format!("{more}\n[cache]\nmemory = \"64MiB\"\n")).await
}

/// The C-GETs and C-MOVEs that the archive was asked for, by level.
fn retrievals(scene: &Scene) -> BTreeMap<Level, usize> {
    let mut count = BTreeMap::new();
    for request in scene.archive.observations().requests {
        let class = request.sop_class.as_str();
        if class == sop_class::STUDY_ROOT_GET || class == sop_class::STUDY_ROOT_MOVE {
            let level = request.identifier.string(tags::QUERY_RETRIEVE_LEVEL).and_then(Level::from_value);
            *count.entry(level.unwrap()).or_default() += 1;
        }
    }
    count
}

fn instance_path(instance: usize) -> String {
    format!("{}/series/{}/instances/{}", study_path(1), series_uid(1, 1), instance_uid(1, 1, instance))
}

/// Asks for every frame in this order, as a viewer does, and compares each with what the archive holds.
async fn view(scene: &Scene, order: Vec<usize>) {
    let (address, files) = (scene.app.http, Arc::new(scene.expected(1)));
    let (order, next) = (Arc::new(order), Arc::new(AtomicUsize::new(0)));
    let lanes: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let (order, next, files) = (Arc::clone(&order), Arc::clone(&next), Arc::clone(&files));
            tokio::spawn(async move {
                while let Some(&image) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let path = format!("{}/frames/1", instance_path(image));
                    let reply = get_with(address, &path, Version::Http11, FRAMES).await;
                    assert_eq!((reply.status, reply.whole), (200, true), "{image}: {}", reply.text());
                    let data_set = &files[&instance_uid(1, 1, image)].data_set;
                    let pixels = &data_set[data_set.len() - Kind::default().pixels..];
                    let found = reply.body.windows(pixels.len()).any(|window| window == pixels);
                    assert!(found, "{image}: other pixels");
                }
            })
        })
        .collect();
    for lane in lanes {
        lane.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_frames_of_a_cold_series_cost_one_retrieval_and_few_associations() {
    for method in METHODS {
        let orders: [Vec<usize>; 3] = [
            (1..=IMAGES).collect(),
            (1..=IMAGES).rev().collect(),
            // From the middle outwards.
            (0..IMAGES).map(|at| if at % 2 == 0 { 250 - at / 2 } else { 251 + at / 2 }).collect(),
        ];
        for order in orders {
            let what = format!("{method:?}, from {}", order[0]);
            let (images, slow) = (study(1, 1, IMAGES, &Kind::default()), [Fault::ObjectsSlow(1)]);
            let scene = scene(method, images, &slow, "").await;
            view(&scene, order.clone()).await;
            let seen = scene.archive.observations();
            assert_eq!(retrievals(&scene).get(&Level::Study), None, "{what}");
            // One that searches and one that retrieves, for the series and for what is fetched ahead.
            assert!(seen.associations.opened <= 4, "{what}: {:?}", seen.associations);
            // What is fetched ahead from the other end meets the series in its middle, at the latest.
            assert!(seen.objects_sent <= IMAGES + IMAGES / 2, "{what}: {} objects", seen.objects_sent);
            // What was fetched ahead too late is given up, or has ended, within this time.
            sleep(Duration::from_millis(500)).await;
            scene.app.settle(&what).await;
            let requests = scene.archive.observations().requests.len();
            view(&scene, order).await;
            let again = scene.archive.observations().requests.len();
            assert_eq!(again, requests, "{what}: what is at hand costs the archive nothing");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_clients_of_one_series_cost_one_retrieval() {
    for method in METHODS {
        let scene = scene(method, study(1, 1, 50, &Kind::default()), &[Fault::ObjectsSlow(2)], "").await;
        let path = format!("{}/series/{}", study_path(1), series_uid(1, 1));
        let clients: Vec<_> = (0..100)
            .map(|_| {
                let (address, path) = (scene.app.http, path.clone());
                tokio::spawn(async move { get(address, &path).await })
            })
            .collect();
        for client in clients {
            assert_eq!(judge(&client.await.unwrap(), &scene.expected(1), "one of many"), Outcome::Complete);
        }
        scene.app.settle("a hundred clients").await;
        // However the archive is asked for them, each comes once.
        assert_eq!(scene.archive.observations().objects_sent, 50, "{method:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_url_of_an_instance_brings_one_and_that_of_a_series_its_own() {
    for method in METHODS {
        let scene = scene(method, study(1, 2, 10, &Kind::default()), &[], "").await;
        let only = |wanted: fn(&str) -> bool| -> BTreeMap<String, File> {
            scene.expected(1).into_iter().filter(|(instance, _)| wanted(instance)).collect()
        };
        let one = get(scene.app.http, &instance_path(3)).await;
        assert_eq!(judge(&one, &only(|uid| uid == "2.25.1.1.3"), "an instance"), Outcome::Complete);
        scene.app.settle("an instance").await;
        assert_eq!(scene.archive.observations().objects_sent, 1, "{method:?}");
        let series = get(scene.app.http, &format!("{}/series/{}", study_path(1), series_uid(1, 1))).await;
        assert_eq!(judge(&series, &only(|uid| uid.starts_with("2.25.1.1.")), "a series"), Outcome::Complete);
        scene.app.settle("a series").await;
        let sent = scene.archive.observations().objects_sent;
        assert!(sent <= 11, "{method:?}: {sent}");
        let metadata = format!("{}/series/{}/metadata", study_path(1), series_uid(1, 1));
        let reply =
            get_with(scene.app.http, &metadata, Version::Http11, "Accept: application/dicom+json").await;
        let told: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(told.as_array().unwrap().len(), 10, "{method:?}");
        assert_eq!(scene.archive.observations().objects_sent, sent, "{method:?}: from the cache");
        scene.app.settle("single entities").await;
    }
}
