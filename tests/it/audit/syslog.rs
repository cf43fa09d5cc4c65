//! The trail on its way to a syslog receiver over TLS that is away, dies and comes back.

use std::time::Duration;

use gantry::demo::{Archive, Running};

use super::receiver::{Receiver, number_in};
use crate::support::app::TestApp;
use crate::support::certificates::Folder;
use crate::support::http::{self, Version};
use crate::support::objects::{Kind, study};

/// What is written so long before a receiver's end was read by it.
const LONG_READ: Duration = Duration::from_millis(800);

async fn archive() -> Running {
    let archive = Archive::builder().ae_title("PACS".parse().unwrap());
    archive.studies(study(1, 1, 1, &Kind::default())).start().await.unwrap()
}

async fn bridge(archive: &Running, receiver: &Receiver, folder: &Folder) -> TestApp {
    let archive = format!("[archive.main]\nae_title = \"PACS\"\naddress = \"{}\"\n", archive.addr());
    let dimse = "[dimse]\nlisten = \"127.0.0.1:0\"\n";
    TestApp::start(&format!("{dimse}{archive}{}", receiver.configuration(folder))).await
}

/// Makes searches with these numbers, one after the other.
async fn search(app: &TestApp, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let path = format!("/dicom-web/studies?PatientID={number}");
        let found = http::get_with(app.http, &path, Version::Http11, "Accept: application/dicom+json").await;
        assert!([200, 204].contains(&found.status), "{}", found.status);
    }
}

fn numbers(messages: &[String]) -> Vec<usize> {
    messages.iter().filter_map(|message| number_in(message)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_was_away_gets_every_message_over_tls_in_order_and_once() {
    let (folder, archive) = (Folder::new(), archive().await);
    let mut receiver = Receiver::new(&folder).await;
    let app = bridge(&archive, &receiver, &folder).await;
    let mut connection = receiver.connection().await;
    search(&app, 0..20).await;
    let mut found = connection.messages(21).await;
    assert!(found[0].contains("Application Start"), "{}", found[0]);
    assert!(connection.is_silent(LONG_READ).await);
    receiver.go_down();
    drop(connection);
    search(&app, 20..320).await;
    receiver.come_up().await;
    let (rest, ()) = tokio::join!(async { receiver.connection().await.rest().await }, app.stop());
    found.extend(rest);
    assert_eq!(numbers(&found), (0..320).collect::<Vec<_>>());
    assert!(found.last().unwrap().contains("Application Stop"));
    assert_eq!(found.len(), 322);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_receiver_that_dies_in_the_middle_of_a_message_misses_none() {
    let (folder, archive) = (Folder::new(), archive().await);
    let receiver = Receiver::new(&folder).await;
    let app = bridge(&archive, &receiver, &folder).await;
    let mut connection = receiver.connection().await;
    let (first, ()) = tokio::join!(connection.messages(6), search(&app, 0..20));
    connection.die_in_a_message().await;
    let (second, ()) = tokio::join!(async { receiver.connection().await.rest().await }, app.stop());
    let (first, second) = (numbers(&first), numbers(&second));
    assert_eq!(first, (0..5).collect::<Vec<_>>());
    // What may not have been read comes again, and all behind it once.
    let begin = second[0];
    assert!(begin <= first.len(), "{begin}");
    assert_eq!(second, (begin..20).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_nobody_without_the_right_certificate_is_given_the_trail() {
    let (folder, other, archive) = (Folder::new(), Folder::new(), archive().await);
    let receiver = Receiver::new(&folder).await;
    // Another authority than the one that has signed the receiver's.
    Receiver::new(&other).await;
    std::fs::copy(other.path("ca.pem"), folder.path("ca.pem")).unwrap();
    let app = bridge(&archive, &receiver, &folder).await;
    search(&app, 0..3).await;
    let refused = receiver.refused().await;
    assert!(refused.contains("AlertReceived"), "by the bridge: {refused}");
    app.stop().await;
    let kept = std::fs::read_dir(folder.path("spool")).unwrap();
    let kept: u64 = kept.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(kept > 1000, "the trail is kept: {kept}");
}
