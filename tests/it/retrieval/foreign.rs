//! Two archives behind one move destination: nobody gets the other's objects.

use std::net::SocketAddr;
use std::sync::Arc;

use gantry::demo::{Fault, Instance, Running};
use tokio::task::JoinSet;

use super::{Outcome, judge, pacs};
use crate::support::app::TestApp;
use crate::support::http::get;
use crate::support::objects::{Kind, expected, study, study_uid};
use crate::support::process::free_port;

const CLIENTS: usize = 8;
const ROUNDS: usize = 4;

/// How two archives behave, and what the bridge is told of them.
#[derive(Debug, Clone, Copy, Default)]
struct Setting {
    faults: &'static [Fault],
    /// They send from titles that are not their own.
    movers: bool,
    /// The configuration names these titles.
    store_from: bool,
}

fn configuration(port: u16, archives: [SocketAddr; 2], setting: Setting) -> String {
    let mut text = format!("default_archive = \"a\"\n[dimse]\nlisten = \"127.0.0.1:{port}\"\n");
    for (title, address) in ["A", "B"].iter().zip(archives) {
        let name = title.to_lowercase();
        text.push_str(&format!(
            "[archive.{name}]\nae_title = \"{title}\"\naddress = \"{address}\"\nretrieve = \"move\"\n"
        ));
        if setting.store_from {
            text.push_str(&format!("store_from = [{{ ae_title = \"MOVER_{title}\" }}]\n"));
        }
    }
    text
}

async fn archive(title: &str, owner: u8, port: u16, setting: Setting) -> (Running, Vec<Instance>) {
    let kind = Kind { owner, ..Kind::default() };
    let instances: Vec<_> = (1..=3).flat_map(|n| study(n, 2, 5, &kind)).collect();
    let mut builder = pacs(title, &instances, port, setting.faults);
    if setting.movers {
        builder = builder.move_from(format!("MOVER_{title}").parse().unwrap());
    }
    (builder.start().await.unwrap(), instances)
}

/// Eight clients ask both archives for the same UIDs, over and over.
async fn nobody_gets_a_foreign_object(setting: Setting) {
    let port = free_port();
    let (a, of_a) = archive("A", 1, port, setting).await;
    let (b, of_b) = archive("B", 2, port, setting).await;
    let app = TestApp::start(&configuration(port, [a.addr(), b.addr()], setting)).await;
    let held = Arc::new([of_a, of_b]);
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (http, held, what) = (app.http, Arc::clone(&held), format!("{setting:?}, client {client}"));
        clients.spawn(async move {
            for round in 0..ROUNDS {
                // All of them ask for the same study at a time, half of them each archive.
                let (at, number) = ((client + round) % 2, 1 + round % 3);
                let path = format!("/archives/{}/studies/{}", ["a", "b"][at], study_uid(number));
                let own: Vec<_> =
                    held[at].iter().filter(|i| i.study() == study_uid(number)).cloned().collect();
                let outcome = judge(&get(http, &path).await, &expected(&own), &what);
                assert_eq!(outcome, Outcome::Complete, "{what}, round {round}");
            }
        });
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    app.settle(&format!("{setting:?}")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_two_archives_with_the_same_uids_and_message_ids_never_mix() {
    let same_ids = &[Fault::WrongOriginatorId(1)][..];
    let silent = &[Fault::WrongOriginatorTitle, Fault::FinalFirst, Fault::NoCounters][..];
    for setting in [
        Setting::default(),
        Setting { faults: same_ids, ..Setting::default() },
        Setting { faults: &[Fault::NoOriginator], ..Setting::default() },
        Setting { faults: silent, ..Setting::default() },
        Setting { movers: true, ..Setting::default() },
        Setting { faults: &[Fault::NoOriginator], movers: true, ..Setting::default() },
        Setting { faults: same_ids, movers: true, store_from: true },
    ] {
        nobody_gets_a_foreign_object(setting).await;
    }
}
