//! How a viewer opens a study: the metadata of all its series at once, and frames before these are there.

use std::net::SocketAddr;

use gantry::demo::instance::Data;
use gantry::demo::{Archive, Plain, Running};
use tokio::task::JoinSet;

use super::retrievals;
use crate::retrieval::{METHODS, Method, configuration};
use crate::support::app::TestApp;
use crate::support::http::{Reply, Version, get_with};
use crate::support::metrics::Figures;
use crate::support::process::free_port;
use crate::support::viewer::{FRAMES, JSON, get_all, only_part};

const SERIES: usize = 4;
const SLICES: usize = 30;
/// Bytes of a frame: 128 x 128 pixels of 16 bits.
const FRAME: usize = 128 * 128 * 2;

/// A study of several series, and a bridge before it.
struct Scene {
    plain: Plain,
    archive: Running,
    app: TestApp,
}

impl Scene {
    async fn new(method: Method) -> Self {
        let plain = Plain::new(1, SERIES, SLICES, FRAME);
        let port = free_port();
        let destination = SocketAddr::from(([127, 0, 0, 1], port));
        let archive = Archive::builder().ae_title("PACS".parse().unwrap()).studies(plain.make());
        let archive = archive.destination("GANTRY".parse().unwrap(), destination).start().await.unwrap();
        let more = "[cache]\nmemory = \"64MiB\"";
        let app = TestApp::start(&configuration(archive.addr(), port, method, more)).await;
        Self { plain, archive, app }
    }

    fn series(&self, series: usize) -> String {
        let (study, series) = (self.plain.study_uid(0), self.plain.series_uid(0, series));
        format!("/dicom-web/studies/{study}/series/{series}")
    }

    fn frame(&self, series: usize, slice: usize) -> String {
        let instance = self.plain.instance_uid(0, series, slice);
        format!("{}/instances/{instance}/frames/1", self.series(series))
    }

    /// The metadata of all series, each asked for at once on a connection of its own.
    fn metadata(&self) -> JoinSet<Reply> {
        let mut requests = JoinSet::new();
        for series in 0..SERIES {
            let (address, path) = (self.app.http, format!("{}/metadata", self.series(series)));
            requests.spawn(async move { get_with(address, &path, Version::Http11, JSON).await });
        }
        requests
    }

    /// The frames of a series, the middle one first.
    async fn view(&self, series: usize) {
        let order: Vec<_> = (0..SLICES).map(|slice| (slice + SLICES / 2) % SLICES).collect();
        let paths: Vec<_> = order.iter().map(|slice| self.frame(series, *slice)).collect();
        let replies = get_all(self.app.http, &paths, FRAMES).await;
        for (slice, reply) in order.iter().zip(&replies) {
            assert_eq!((reply.status, reply.whole), (200, true), "{series} {slice}: {}", reply.text());
            let object = self.archive.instance(&self.plain.instance_uid(0, series, *slice)).unwrap();
            let Data::Parts(parts) = &object.data else { panic!("{object:?}") };
            let frame = only_part(reply);
            assert!(
                frame.len() == FRAME && parts.concat().ends_with(frame),
                "{series} {slice}: other pixels"
            );
        }
    }
}

async fn assert_described(requests: JoinSet<Reply>) {
    for reply in requests.join_all().await {
        assert_eq!((reply.status, reply.whole), (200, true), "{}", reply.text());
        let described: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(described.as_array().unwrap().len(), SLICES);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_of_all_series_at_once_and_then_every_frame_are_one_retrieval_for_each_series() {
    for method in METHODS {
        let scene = Scene::new(method).await;
        assert_described(scene.metadata()).await;
        let opened = retrievals(&scene.archive.observations());
        assert_eq!(opened, [("SERIES".to_owned(), SERIES)].into(), "{method:?}");
        for series in 0..SERIES {
            scene.view(series).await;
        }
        let seen = scene.archive.observations();
        assert_eq!(retrievals(&seen), opened, "{method:?}: the frames were at hand");
        assert_eq!(seen.objects_sent, SERIES * SLICES, "{method:?}");
        let figures = Figures::of(scene.app.http).await;
        assert_eq!(figures.requests("hit"), (SERIES * SLICES) as u64, "{method:?}: {figures:?}");
        assert_eq!(figures.requests("miss"), SERIES as u64, "{method:?}: {figures:?}");
        assert_eq!(figures.retrievals("complete"), SERIES as u64, "{method:?}: {figures:?}");
        let arrived = figures.sum("objects_total", &["archive=\"main\""]);
        assert_eq!(arrived, (SERIES * SLICES) as u64, "{method:?}: {figures:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_are_asked_for_beside_the_metadata_are_of_the_same_retrievals() {
    for method in METHODS {
        let scene = Scene::new(method).await;
        let metadata = scene.metadata();
        for series in 0..SERIES {
            scene.view(series).await;
        }
        assert_described(metadata).await;
        let seen = scene.archive.observations();
        let asked = retrievals(&seen);
        println!("{method:?}: {asked:?}, {} objects", seen.objects_sent);
        // Where several want the associations, a series comes by lists of its instances; and one that is wanted now may
        // be fetched ahead.
        let wholes = asked.get("SERIES").copied().unwrap_or_default();
        assert!(!asked.contains_key("STUDY") && wholes <= SERIES, "{method:?}: {asked:?}");
        let twice = SERIES * SLICES / 10;
        assert!(seen.objects_sent <= SERIES * SLICES + twice, "{method:?}: {}", seen.objects_sent);
    }
}
