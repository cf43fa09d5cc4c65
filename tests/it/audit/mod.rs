//! The audit trail of a bridge that serves clients of both protocols.

mod receiver;
mod syslog;

use std::path::Path;

use gantry::demo::{Archive, Plain};
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use gantry::dicom::{sop_class, tags};
use gantry::dimse::negotiation::Proposal;
use serde_json::Value;

use crate::support::app::TestApp;
use crate::support::dimse::{Client, IMAGES, echo, find, first_study, get, identifier, proposal};
use crate::support::http::{self, Version};

/// Three images in each of two studies.
const IMAGES_OF_A_STUDY: u64 = 3;

/// The messages in a file, each as its code, its outcome, who asked, and how many instances it counts.
pub(crate) fn messages(path: &Path) -> Vec<(String, u64, String, u64)> {
    let text = std::fs::read_to_string(path).unwrap();
    let message = |line: &str| {
        let message: Value = serde_json::from_str(line).unwrap();
        let event = &message["EventIdentification"];
        let participants = message["ActiveParticipant"].as_array().unwrap();
        let requestor = participants.iter().find(|one| one["UserIsRequestor"] == true);
        let user = requestor.map_or("", |one| one["UserID"].as_str().unwrap());
        let objects = message["ParticipantObjectIdentification"].as_array().cloned().unwrap_or_default();
        let classes = objects.iter().filter_map(|object| object["SOPClass"].as_array().cloned()).flatten();
        let count = classes.map(|class| class["NumberOfInstances"].as_u64().unwrap()).sum();
        let code = event["EventID"]["csd-code"].as_str().unwrap().to_owned();
        (code, event["EventOutcomeIndicator"].as_u64().unwrap(), user.to_owned(), count)
    };
    text.lines().map(message).collect()
}

pub(crate) fn entry(code: &str, outcome: u64, user: &str, count: u64) -> (String, u64, String, u64) {
    (code.to_owned(), outcome, user.to_owned(), count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_protocols_leave_a_trail_of_who_got_what() {
    let directory = tempfile::tempdir().unwrap();
    let trail = directory.path().join("audit.jsonl");
    let plain = Plain::new(2, 1, 3, 100);
    let study = first_study(&plain).string(tags::STUDY_INSTANCE_UID).unwrap().to_owned();
    let archive = Archive::builder().ae_title("PACS".parse().unwrap()).studies(plain.make());
    let archive = archive.start().await.unwrap();
    let app = TestApp::start(&format!(
        "[dimse]\nlisten = \"127.0.0.1:0\"\n[ae.CLIENT]\n[archive.main]\nae_title = \"PACS\"\naddress = \"{}\"\n[audit]\nfile = {{ path = \"{}\" }}\n",
        archive.addr(),
        trail.display()
    ))
    .await;
    let json = "Accept: application/dicom+json";
    let found = http::get_with(app.http, "/dicom-web/studies?PatientName=*", Version::Http11, json).await;
    assert_eq!(found.status, 200);
    assert_eq!(http::get(app.http, &format!("/dicom-web/studies/{study}")).await.status, 200);
    assert_eq!(http::get(app.http, "/dicom-web/studies/1.2.3.4.5").await.status, 404);
    // One whose length is told, so that nobody asks for its end.
    let found =
        http::get_with(app.http, &format!("/dicom-web/studies/{study}/instances"), Version::Http11, json)
            .await;
    let found: Value = serde_json::from_str(&found.text()).unwrap();
    let uid = |tag: &str| found[0][tag]["Value"][0].as_str().unwrap().to_owned();
    let path = format!("/dicom-web/studies/{study}/series/{}/instances/{}", uid("0020000E"), uid("00080018"));
    let one =
        http::get_with(app.http, &path, Version::Http11, "Accept: application/dicom; transfer-syntax=*")
            .await;
    assert_eq!((one.status, one.header("content-length").parse::<usize>().unwrap()), (200, one.body.len()));

    let mut proposals = vec![
        proposal(sop_class::VERIFICATION, &[IMPLICIT_VR_LE]),
        proposal(sop_class::STUDY_ROOT_FIND, &[EXPLICIT_VR_LE]),
        proposal(sop_class::STUDY_ROOT_GET, &[EXPLICIT_VR_LE]),
    ];
    proposals
        .extend(IMAGES.iter().map(|class| Proposal { as_scp: true, ..proposal(class, &[EXPLICIT_VR_LE]) }));
    let mut client = Client::to(app.dimse, "GANTRY", "CLIENT", proposals.clone()).await.unwrap();
    assert_eq!(client.ask(echo(), None).await.unwrap().status(), 0);
    let keys = identifier("STUDY", &[(tags::STUDY_INSTANCE_UID, study.as_str())]);
    assert_eq!(client.ask(find(), Some(&keys)).await.unwrap().status(), 0);
    assert_eq!(client.ask(get(), Some(&keys)).await.unwrap().status(), 0);
    client.release().await;
    assert!(Client::to(app.dimse, "GANTRY", "STRANGER", proposals).await.is_err());
    app.stop().await;

    let web = "127.0.0.1";
    let expected = [
        entry("110100", 0, "", 0),
        entry("110112", 0, web, 0),
        entry("110102", 0, web, 0),
        entry("110104", 0, web, IMAGES_OF_A_STUDY),
        entry("110104", 4, web, 0),
        entry("110112", 0, web, 0),
        entry("110104", 0, web, 1),
        entry("110108", 0, "", 0),
        entry("110112", 0, "CLIENT", 0),
        entry("110102", 0, "CLIENT", 0),
        entry("110104", 0, "CLIENT", IMAGES_OF_A_STUDY),
        entry("110113", 4, "STRANGER", 0),
        entry("110100", 0, "", 0),
    ];
    assert_eq!(messages(&trail), expected);
}
