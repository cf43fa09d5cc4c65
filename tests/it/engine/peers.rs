//! Real archives that log how they were asked: Orthanc and dcmqrscp.

use gantry::demo::Archive as Demo;

use super::{Ct, retrievals};
use crate::retrieval::{Method, configuration};
use crate::support::app::TestApp;
use crate::support::bridge::before;
use crate::support::http::get;
use crate::support::log::Asked;
use crate::support::metrics::Figures;
use crate::support::part10::files;
use crate::support::peers::{Archive, Destination};
use crate::support::process::free_port;
use crate::support::{DEADLINE, until};

/// Most of the slices that are fetched ahead of their series: one at a time, each after some patience.
const MOST_AHEAD: usize = 60;
/// Into how many lists of instances a series of this size is split at most, where the archive is so slow that several
/// associations bring it sooner. On a busy machine it may be.
const MOST_SHARES: usize = 20;
/// Most associations that an archive has open at once: one brings the series, the other what cannot wait for it.
const MOST_ASSOCIATIONS: usize = 2;
/// Most that it has open where several bring the series, as that is sooner: one is left to others.
const MOST_LANES: usize = 3;
/// Most associations that are opened in all: one that is released in exchange for another counts twice.
const MOST_IN_ALL: usize = 4;

/// Which archive, and how it is asked.
#[derive(Debug, Clone, Copy)]
enum Peer {
    Orthanc(&'static str),
    Dcmqrscp(&'static str),
}

const PEERS: [Peer; 4] =
    [Peer::Orthanc("get"), Peer::Orthanc("move"), Peer::Dcmqrscp("get"), Peer::Dcmqrscp("move")];

/// An archive of this kind that holds `ct`.
struct Scene {
    archive: Archive,
    own: Destination,
    retrieve: &'static str,
}

impl Scene {
    fn new(peer: Peer, ct: &Ct) -> Self {
        let own = Destination::new("GANTRY");
        let to = std::slice::from_ref(&own);
        let (archive, retrieve) = match peer {
            Peer::Orthanc(retrieve) => (Archive::orthanc(&ct.folder, to, serde_json::json!({})), retrieve),
            Peer::Dcmqrscp(retrieve) => {
                let options: &[&str] = if retrieve == "move" { &["--disable-get"] } else { &[] };
                let holds = ct.folder.join("manifest.json");
                (Archive::dcmqrscp(&ct.folder, &holds, to, options), retrieve)
            }
        };
        Self { archive, own, retrieve }
    }

    /// A bridge with an empty cache before it, and how long the log is when it starts.
    async fn bridge(&self) -> (TestApp, usize) {
        self.bridge_with("").await
    }

    /// The same; `more` is further TOML for the table `[archive.main]`.
    async fn bridge_with(&self, more: &str) -> (TestApp, usize) {
        let ended = async || Asked::since(&self.archive, 0).open == 0;
        until("the associations of the bridge before it end", DEADLINE, ended).await;
        let more = format!("{more}\n[cache]\nmemory = \"256MiB\"");
        let app = TestApp::start(&before(&self.archive, &self.own, self.retrieve, &more)).await;
        (app, self.archive.server.whole_log().len())
    }

    /// What it was asked since then, all by the one operation that it is to be asked by.
    fn asked(&self, since: usize) -> Asked {
        let asked = Asked::since(&self.archive, since);
        let other = if self.retrieve == "move" { &asked.gets } else { &asked.moves };
        assert!(other.is_empty(), "{asked:?}");
        asked
    }
}

/// Objects that the archive has sent to this bridge.
async fn brought(app: &TestApp) -> usize {
    Figures::of(app.http).await.sum("objects_total", &[]) as usize
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_a_cold_series_are_one_retrieval_of_it_in_the_archives_own_log() {
    let ct = Ct::new();
    for peer in PEERS {
        let scene = Scene::new(peer, &ct);
        let (app, since) = scene.bridge().await;
        ct.view(app.http).await;
        // What is fetched ahead is let to its end, though its series has brought it first.
        app.settle("the cold series").await;
        let cold = scene.asked(since);
        println!("{peer:?}: {cold:?}");
        let shares = if cold.at("SERIES") == 0 { MOST_SHARES } else { 0 };
        assert!(cold.at("STUDY") == 0 && cold.at("SERIES") <= 1, "{peer:?}: {cold:?}");
        assert!(cold.at("IMAGE") <= MOST_AHEAD + shares, "{peer:?}: {cold:?}");
        let most = if cold.at("SERIES") == 0 { MOST_LANES } else { MOST_ASSOCIATIONS };
        assert!(cold.most_open <= most && cold.begun <= MOST_IN_ALL, "{peer:?}: {cold:?}");
        let brought = brought(&app).await;
        assert!(brought <= ct.slices.len() + MOST_AHEAD, "{peer:?}: {brought} objects, {cold:?}");

        ct.view(app.http).await;
        let warm = scene.asked(since);
        assert_eq!((warm.gets, warm.moves), (cold.gets, cold.moves), "{peer:?}: asked again");
        let figures = Figures::of(app.http).await;
        let answered = ["hit", "attached", "miss"].map(|outcome| figures.requests(outcome));
        assert_eq!(answered.iter().sum::<u64>(), 2 * ct.slices.len() as u64, "{peer:?}: {figures:?}");
        assert!(answered[0] >= ct.slices.len() as u64, "{peer:?}: the second round: {figures:?}");
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_one_association_or_two_frames_of_a_cold_series_open_hardly_more_in_all() {
    let ct = Ct::new();
    for peer in [Peer::Dcmqrscp("get"), Peer::Orthanc("get")] {
        let scene = Scene::new(peer, &ct);
        for cap in [1, 2] {
            let (app, since) = scene.bridge_with(&format!("max_associations = {cap}")).await;
            ct.view(app.http).await;
            let asked = scene.asked(since);
            println!("{peer:?}, at most {cap}: {asked:?}");
            assert!(
                asked.most_open <= cap && asked.begun <= MOST_IN_ALL,
                "{peer:?}, at most {cap}: {asked:?}"
            );
            app.stop().await;
        }
    }
    for cap in [1, 2] {
        let archive =
            Demo::builder().ae_title("PACS".parse().unwrap()).data(&ct.folder).start().await.unwrap();
        let more = format!("max_associations = {cap}\n[cache]\nmemory = \"256MiB\"");
        let app = TestApp::start(&configuration(archive.addr(), free_port(), Method::Get, &more)).await;
        ct.view(app.http).await;
        let associations = archive.observations().associations;
        println!("demo, at most {cap}: {associations:?}, {:?}", retrievals(&archive.observations()));
        assert!(
            associations.most_open <= cap && associations.opened <= MOST_IN_ALL,
            "{cap}: {associations:?}"
        );
        app.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_instance_is_one_retrieval_of_an_instance_and_a_series_one_of_a_series_in_the_archives_own_log() {
    let ct = Ct::new();
    for peer in PEERS {
        let scene = Scene::new(peer, &ct);
        for (path, level, objects) in
            [(ct.instance(7), "IMAGE", 1), (ct.series(), "SERIES", 120), (ct.study(), "STUDY", 120)]
        {
            let (app, since) = scene.bridge().await;
            for _ in 0..2 {
                let reply = get(app.http, &path).await;
                assert_eq!((reply.status, reply.whole), (200, true), "{peer:?} {path}");
                assert_eq!(
                    files(reply.header("content-type"), &reply.body).len(),
                    objects,
                    "{peer:?} {path}"
                );
            }
            // What was brought is counted when its retrieval has ended, of which the reader does not wait to hear.
            app.settle("the retrieval").await;
            let asked = scene.asked(since);
            // Or it was brought in shares, of which each object is in one.
            let count = asked.gets.len() + asked.moves.len();
            let is_split = objects > 1 && asked.at("IMAGE") == count && (2..=MOST_SHARES).contains(&count);
            let is_by_series = level == "STUDY" && (asked.at("SERIES"), count) == (1, 1);
            assert!((asked.at(level), count) == (1, 1) || is_split || is_by_series, "{peer:?}: {asked:?}");
            assert_eq!(brought(&app).await, objects, "{peer:?}: {asked:?}");
            app.stop().await;
        }
    }
}
