//! Clients that store while archives send what we asked them to move, from the same address.

use gantry::demo::Archive;

use super::*;
use crate::support::app::TestApp;
use crate::support::http::get;
use crate::support::objects::{study, study_uid};
use crate::support::part10::files;

/// A bridge that takes anybody and retrieves by C-MOVE, before an archive that holds study 1 and takes its time over it.
async fn scene() -> (Running, TestApp) {
    let archive = Archive::builder().ae_title("PACS".parse().unwrap()).fault(Fault::ObjectsSlow(100));
    let archive = archive.studies(study(1, 1, 10, &Kind::default())).start().await.unwrap();
    let app = TestApp::start(&format!(
        "[dimse]\nlisten = \"127.0.0.1:0\"\nae_title = \"{GANTRY}\"\naccept = \"any\"\n[ae.CLIENT]\n\
         [archive.main]\nae_title = \"PACS\"\naddress = \"{}\"\nretrieve = \"move\"\n",
        archive.addr()
    ))
    .await;
    archive.set_destination(GANTRY.parse().unwrap(), app.dimse);
    (archive, app)
}

async fn client(app: &TestApp, title: &str) -> Client {
    Client::to(app.dimse, GANTRY, title, vec![proposal(CT, &[EXPLICIT])]).await.unwrap()
}

/// Retrieves study 1 over the web: how many objects come.
async fn retrieve(app: &TestApp) -> usize {
    let reply = get(app.http, &format!("/dicom-web/studies/{}", study_uid(1))).await;
    assert_eq!(reply.status, 200);
    files(reply.header("content-type"), &reply.body).len()
}

#[tokio::test]
async fn hazard_a_client_store_during_a_move_goes_to_the_archive_and_not_to_the_move() {
    let (archive, app) = scene().await;
    let new = object(1, 1, 99, &Kind::default());
    let (count, ()) = tokio::join!(retrieve(&app), async {
        archive.wait_for(|seen| seen.moves == 1 && seen.objects_sent > 0).await.unwrap();
        assert_eq!(status(&mut client(&app, "CLIENT").await, &new).await, 0);
        assert!(archive.observations().objects_sent < 10, "the move is not under way any more");
        assert!(holds(&archive, &new), "it was given to the move");
    });
    assert_eq!(count, 10);
}

#[tokio::test]
async fn a_strangers_object_that_no_move_asked_for_goes_to_the_archive() {
    let (archive, app) = scene().await;
    let more = Kind { pixels: 2 << 20, ..Kind::default() };
    let (count, ()) = tokio::join!(retrieve(&app), async {
        archive.wait_for(|seen| seen.moves == 1 && seen.objects_sent > 0).await.unwrap();
        let mut stranger = client(&app, "STRANGER").await;
        for number in 1..=2 {
            let new = object(2, 1, number, &more);
            assert_eq!(status(&mut stranger, &new).await, 0);
            assert!(holds(&archive, &new));
        }
    });
    assert_eq!(count, 10);
    // The move's leftovers may still come; this is none of them.
    let new = object(1, 1, 99, &more);
    assert_eq!(status(&mut client(&app, "STRANGER").await, &new).await, 0);
    assert!(holds(&archive, &new));
}
