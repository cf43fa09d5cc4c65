//! findscu before Orthanc, dcmqrscp and wlmscpfs.

use super::{Called, dcmtk, same_matches};
use crate::support::app::TestApp;
use crate::support::peers::{Archive, Destination, data, manifest, wlmscpfs};

/// A bridge before `archive`; `more`: keys of the archive's own table come first.
async fn bridge(archive: &Called, more: &str) -> TestApp {
    TestApp::start(&format!(
        "[dimse]\nlisten = \"127.0.0.1:0\"\n[ae.CT1]\n[ae.CT2]\n\
         [archive.main]\nae_title = \"{}\"\naddress = \"127.0.0.1:{}\"\n{more}",
        archive.title, archive.port
    ))
    .await
}

/// An echo, and searches at every level: all, by wildcards, by names in other character sets, by dates.
async fn searches(archive: &Archive) {
    let direct = Called::new(&archive.ae_title, archive.port);
    let app = bridge(&direct, "").await;
    let through = Called::bridge(&app);
    for called in [&direct, &through] {
        let (well, said) = dcmtk("echoscu", "CT1", called, &[]);
        assert!(well, "{said}");
    }
    let study = ["-k", "StudyInstanceUID", "-k", "PatientName", "-k", "PatientID", "-k", "StudyDate"];
    for (model, level, keys, least) in [
        ("-S", "STUDY", &[][..], 20),
        ("-S", "STUDY", &["-k", "PatientName=SMITH*"], 1),
        ("-S", "STUDY", &["-k", "PatientName=NOBODY"], 0),
        ("-S", "STUDY", &["-k", "StudyDate=19000101-20991231"], 1),
        ("-P", "PATIENT", &[], 20),
        ("-P", "STUDY", &["-k", "PatientName=*"], 0),
    ] {
        let level_key = format!("QueryRetrieveLevel={level}");
        let of_level = if level == "PATIENT" { &study[2..6] } else { &study[..] };
        let arguments = [&[model, "-k", &level_key], of_level, keys].concat();
        let found = same_matches("CT1", &direct, &through, &arguments);
        assert!(found >= least, "{arguments:?}: {found}");
    }
    let first = &manifest(&data("names", &[]))[0];
    let of_study = format!("StudyInstanceUID={}", first["study"].as_str().unwrap());
    let of_series = format!("SeriesInstanceUID={}", first["series"].as_str().unwrap());
    let series = ["-S", "-k", "QueryRetrieveLevel=SERIES", "-k", &of_study, "-k", "Modality"];
    let image =
        ["-S", "-k", "QueryRetrieveLevel=IMAGE", "-k", &of_study, "-k", &of_series, "-k", "SOPInstanceUID"];
    assert_eq!(
        same_matches("CT1", &direct, &through, &[&series[..], &["-k", "SeriesInstanceUID"]].concat()),
        1
    );
    assert_eq!(same_matches("CT1", &direct, &through, &image), 1);
    let end = |called: &Called, arguments: &[&str]| {
        let (_, said) = dcmtk("findscu", "CT1", called, arguments);
        let end = said.lines().find(|line| line.contains("Received Final Find Response")).map(str::to_owned);
        end.unwrap_or(said)
    };
    // Whatever the archive says of a series of no study.
    let orphan = ["-S", "-k", "QueryRetrieveLevel=SERIES", "-k", "SeriesInstanceUID", "-k", "Modality"];
    assert_eq!(end(&direct, &orphan), end(&through, &orphan));
    // A cancel may come too late for so few.
    let cancelled = [&["--cancel", "2", "-S", "-k", "QueryRetrieveLevel=STUDY"][..], &study[..]].concat();
    let end = end(&through, &cancelled);
    assert!(end.contains("(Cancel") || end.contains("(Success)"), "{end}");
    app.settle("findscu").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn findscu_has_the_same_answers_before_orthanc() {
    searches(&Archive::orthanc(&data("names", &[]), &[], serde_json::json!({}))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn findscu_has_the_same_answers_before_dcmqrscp() {
    let data = data("names", &[]);
    // It wants to know somebody.
    let somebody = [Destination::new("SOMEBODY")];
    searches(&Archive::dcmqrscp(&data, &data.join("manifest.json"), &somebody, &[])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worklist_is_searched_as_directly_at_an_address_of_its_own() {
    let (server, port) = wlmscpfs("WORKLIST");
    let worklist = Called::new("WORKLIST", port);
    // The archive itself is not there, and is not needed.
    let endpoint = format!(
        "[archive.main.endpoint.worklist]\nae_title = \"WORKLIST\"\naddress = \"127.0.0.1:{port}\"\n"
    );
    let app = bridge(&Called::new("PACS", 1), &endpoint).await;
    let through = Called::bridge(&app);
    let keys =
        ["-W", "-k", "PatientName", "-k", "PatientID", "-k", "AccessionNumber", "-k", "StudyInstanceUID"];
    let step = "ScheduledProcedureStepSequence[0].";
    let (modality, date) = (format!("{step}Modality=CT"), format!("{step}ScheduledProcedureStepStartDate"));
    let range = format!("{date}=20261103-20261108");
    for (more, found) in [
        (&["-k", &date][..], 21),
        (&["-k", &modality], 7),
        (&["-k", &range], 6),
        (&["-k", "PatientName=SMITH*"], 2),
        (&["-k", "PatientName=NOBODY"], 0),
        // No optional key that it matches on: pending is FF01.
        (&["-k", "PatientSex=O", "-k", "PatientWeight=80"], 21),
    ] {
        let arguments = [&keys[..], more].concat();
        assert_eq!(same_matches("CT1", &worklist, &through, &arguments), found, "{arguments:?}");
    }
    app.settle("findscu").await;
    drop(server);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worklist_server_sees_the_clients_own_titles() {
    let (server, port) = wlmscpfs("WORKLIST");
    let app = bridge(&Called::new("WORKLIST", port), "calling = \"client\"\n").await;
    let through = Called::bridge(&app);
    for calling in ["CT1", "CT2", "CT1"] {
        let (well, said) = dcmtk("findscu", calling, &through, &["-W", "-k", "PatientID=WL3"]);
        assert!(well && said.contains("Find Response: 1 (Pending)"), "{said}");
    }
    app.stop().await;
    let log = server.whole_log();
    let came = |title: &str| log.matches(&format!(":{title} -> WORKLIST)")).count();
    assert!(came("CT1") >= 1 && came("CT2") == 1 && came("GANTRY") == 0, "{log}");
}
