//! The log of a bridge that works: one line a request and an association, and nothing of a patient.

use gantry::demo::Instance;
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use gantry::dicom::{sop_class, tags};
use serde_json::Value;

use super::{archive, ask, bridge};
use crate::retrieval::study_path;
use crate::support::bridge::Bridge;
use crate::support::dimse::{Client, echo, find, identifier, proposal};
use crate::support::objects::{Kind, instance_uid, series_uid, study};
use crate::support::{DEADLINE, until};

/// What no log above `trace` may hold: parts of the name and the ID of the patient.
const OF_THE_PATIENT: [&str; 2] = ["Owner1", "P1-1"];

/// Searches, retrieves, stores and fails, by both protocols, with a patient's name and UIDs wherever they can stand.
async fn work(bridge: &Bridge, dimse: std::net::SocketAddr) {
    let json = "Accept: application/dicom+json";
    let search = "/dicom-web/studies?PatientName=Owner1*&PatientID=P1-1&limit=3";
    assert_eq!(ask(bridge, search, json).await.status, 200);
    let objects = "Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*";
    assert_eq!(ask(bridge, &study_path(1), objects).await.status, 200);
    let instance =
        format!("{}/series/{}/instances/{}", study_path(1), series_uid(1, 1), instance_uid(1, 1, 1));
    assert_eq!(ask(bridge, &format!("{instance}/metadata"), json).await.status, 200);
    let others = [
        &format!("{instance}/frames/1"),
        &format!("{instance}/frames/99"),
        "/dicom-web/studies?PatientName=Owner1&nonsense=P1-1",
        "/dicom-web/studies?PatientBirthDate=Owner1",
        "/dicom-web/studies/Owner1",
        "/Owner1/P1-1",
        "/archives/Owner1/studies",
        "/dicom-web/studies/2.25.777/series/2.25.777.1?PatientID=P1-1",
    ];
    for path in others {
        assert_ne!(ask(bridge, path, "Accept: */*").await.status, 0, "{path}");
    }
    let proposals = vec![
        proposal(sop_class::VERIFICATION, &[IMPLICIT_VR_LE]),
        proposal(sop_class::STUDY_ROOT_FIND, &[EXPLICIT_VR_LE]),
    ];
    let mut client = Client::to(dimse, "GANTRY", "CLIENT", proposals.clone()).await.unwrap();
    client.ask(echo(), None).await.unwrap();
    let keys = identifier("STUDY", &[(tags::PATIENT_NAME, "Owner1*"), (tags::PATIENT_ID, "P1-1")]);
    assert_eq!(client.ask(find(), Some(&keys)).await.unwrap().status(), 0);
    client.release().await;
    assert!(Client::to(dimse, "GANTRY", "STRANGER", proposals).await.is_err());
}

fn instances() -> Vec<Instance> {
    study(1, 1, 2, &Kind::default())
}

/// The log of a bridge with this `[log]` that has worked.
async fn log(level: &str, format: &str) -> String {
    let archive = archive(instances()).await;
    let port = crate::support::process::free_port();
    let bridge = Bridge::with_configuration(&format!(
        "[log]\nfilter = \"{level}\"\nformat = \"{format}\"\n[dimse]\nlisten = \"127.0.0.1:{port}\"\n[ae.CLIENT]\n\
         [archive.main]\nae_title = \"PACS\"\naddress = \"{}\"\nretrieve = \"get\"\n",
        archive.addr()
    ));
    work(&bridge, format!("127.0.0.1:{port}").parse().unwrap()).await;
    until("the association's line", DEADLINE, async || {
        bridge.server.whole_log().contains("association ended")
    })
    .await;
    bridge.server.whole_log()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_no_patient_is_in_the_log_and_no_uid_above_debug() {
    for format in ["text", "json"] {
        for level in ["info", "debug"] {
            let log = log(level, format).await;
            assert!(log.contains("answered"), "{log}");
            for word in OF_THE_PATIENT {
                let line = log.lines().find(|line| line.contains(word));
                assert!(line.is_none(), "{level} {format}: {word}: {line:?}");
            }
            if level == "info" {
                let line = log.lines().find(|line| line.contains("2.25."));
                assert!(line.is_none(), "{format}: {line:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_and_an_association_have_one_line_each_with_what_an_operator_asks_for() {
    let archive = archive(instances()).await;
    let bridge = bridge(archive.addr(), "[log]\nformat = \"json\"\n");
    let reply = ask(&bridge, &study_path(1), "Accept: multipart/related; type=\"application/dicom\"").await;
    assert!(reply.whole);
    assert_eq!(ask(&bridge, "/health/live", "Accept: */*").await.status, 200);
    assert_eq!(ask(&bridge, "/nowhere", "Accept: */*").await.status, 404);
    let lines = || -> Vec<Value> {
        let log = bridge.server.whole_log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["fields"]["message"] == "answered").collect()
    };
    until("the lines", DEADLINE, async || lines().len() >= 2).await;
    let lines = lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    let of = |n: usize, key: &str| lines[n]["fields"][key].clone();
    for (key, value) in [
        ("method", Value::from("GET")),
        ("route", "/studies/{study}".into()),
        ("status", 200.into()),
        ("archive", "main".into()),
        ("user", "-".into()),
        ("client", "127.0.0.1".into()),
        ("sent", reply.body.len().into()),
        ("end", "whole".into()),
    ] {
        assert_eq!(of(0, key), value, "{key}");
    }
    assert!(of(0, "ms").is_u64());
    assert_eq!((of(1, "route"), of(1, "status"), of(1, "archive")), ("none".into(), 404.into(), "-".into()));
}
