//! C-ECHO and C-FIND.

use gantry::dicom::sop_class;
use gantry::dicom::transfer_syntax::IMPLICIT_VR_LE;

use super::{GANTRY, Scene};
use crate::support::dimse::{Client, echo, proposal};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_echo_is_answered_here_and_the_archive_sees_none() {
    let scene = Scene::new(Vec::new(), &[], "").await;
    let proposals = vec![proposal(sop_class::VERIFICATION, &[IMPLICIT_VR_LE])];
    let mut client = Client::to(scene.app.dimse, GANTRY, "CLIENT", proposals).await.unwrap();
    assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0);
    assert_eq!(scene.archive.observations().echoes, 0);
    client.release().await;
}
