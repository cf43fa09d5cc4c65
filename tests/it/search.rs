//! Searches in real archives, below the HTTP interface: each finds the same, whatever it can do by itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry::archive::dimse::DimseArchive;
use gantry::archive::dimse::config::{Config, Model};
use gantry::archive::{Archive as _, Error, Kind, Step};
use gantry::caller::{Caller, Priority};
use gantry::dicom::dataset::{DataSet, vr_of};
use gantry::dicom::query::{Level, MatchingKey, Query};
use gantry::dicom::{Tag, tags};

use crate::support::app::archive_config;
use crate::support::peers::{Archive, Destination, data, manifest};

fn bridge_to(archive: &Archive, model: Model) -> DimseArchive {
    let (name, address) = (archive.ae_title.to_lowercase(), format!("127.0.0.1:{}", archive.port));
    let config = Config { model, ..archive_config(&name, &archive.ae_title, address) };
    DimseArchive::new(config, None, None, gantry::metrics::Metrics::default())
}

fn query(level: Level, keys: &[(Tag, &str)]) -> Query {
    let key = |(tag, values): &(Tag, &str)| MatchingKey {
        path: (*tag).into(),
        vr: vr_of(*tag),
        values: values.split(',').map(str::to_owned).collect(),
    };
    Query {
        level,
        within: None,
        keys: keys.iter().map(key).collect(),
        include: Vec::new(),
        include_all: false,
        as_said: false,
        fuzzy: false,
        empty_value: false,
        multiple_value: false,
        offset: 0,
        limit: None,
    }
}

async fn find(archive: &DimseArchive, query: Query) -> Result<Vec<Arc<DataSet>>, Error> {
    let caller = Caller { client: None, priority: Priority::Interactive, title: None };
    let mut search = archive.search(&caller, query).await?;
    let mut matches = Vec::new();
    loop {
        let step = tokio::time::timeout(Duration::from_secs(30), search.matches.next()).await;
        match step.expect("the search hangs") {
            Step::Item(data_set) => matches.push(data_set),
            Step::End(end) => return end.map(|_| matches),
        }
    }
}

/// The Patient IDs of all matches, in order.
async fn patients(archive: &DimseArchive, level: Level, keys: &[(Tag, &str)]) -> Vec<String> {
    let matches = find(archive, query(level, keys)).await.unwrap_or_else(|e| panic!("{keys:?}: {e}"));
    let mut ids: Vec<String> =
        matches.iter().map(|m| m.string(tags::PATIENT_ID).unwrap_or("?").to_owned()).collect();
    ids.sort();
    ids
}

/// The archives, with the names of 22 patients, one image each.
fn archives() -> [Archive; 2] {
    let names = data("names", &[]);
    let orthanc = Archive::orthanc(&names, &[], serde_json::json!({}));
    let dcmqrscp =
        Archive::dcmqrscp(&names, &names.join("manifest.json"), &[Destination::new("NOBODY")], &[]);
    [orthanc, dcmqrscp]
}

#[tokio::test]
async fn every_level_of_every_archive_is_found_in_both_models() {
    let entries = manifest(&data("names", &[]));
    let study = |entry: usize| entries[entry]["study"].as_str().unwrap();
    let series = |entry: usize| entries[entry]["series"].as_str().unwrap();
    let two = [study(1), study(18)].join(",");
    for archive in &archives() {
        for model in [Model::Study, Model::Patient] {
            let who = format!("{} {model:?}", archive.ae_title);
            let bridge = bridge_to(archive, model);
            for level in [Level::Study, Level::Series, Level::Instance] {
                assert_eq!(patients(&bridge, level, &[]).await.len(), entries.len(), "{who} {level:?}");
                for (tag, value, expected) in [
                    (tags::STUDY_INSTANCE_UID, study(3), &["N03"][..]),
                    (tags::STUDY_INSTANCE_UID, &two, &["N01", "N18"]),
                    (
                        tags::PATIENT_ID,
                        "N1?",
                        &["N10", "N11", "N12", "N13", "N14", "N15", "N16", "N17", "N18", "N19"],
                    ),
                    (tags::PATIENT_ID, "NOBODY", &[]),
                    (tags::PATIENT_NAME, "O'BRIEN*", &["N18"]),
                ] {
                    let found = patients(&bridge, level, &[(tag, value)]).await;
                    assert_eq!(found, expected, "{who} {level:?} {tag} {value}");
                }
            }
            let mut below = query(
                Level::Instance,
                &[(tags::STUDY_INSTANCE_UID, study(3)), (tags::SERIES_INSTANCE_UID, series(3))],
            );
            below.within = Some(Level::Series);
            let found = find(&bridge, below).await.unwrap();
            assert_eq!(found[0].string(tags::SOP_INSTANCE_UID), entries[3]["instance"].as_str(), "{who}");
            let by_modality = patients(&bridge, Level::Study, &[(tags::MODALITIES_IN_STUDY, "OT,CT")]).await;
            let everyone = patients(&bridge, Level::Study, &[(tags::MODALITIES_IN_STUDY, "XX")]).await;
            assert_eq!((by_modality.len(), everyone.len()), (entries.len(), 0), "{who}");
        }
    }
}

#[tokio::test]
async fn hazard_names_come_out_of_an_archive_that_stores_them_right() {
    let entries = manifest(&data("names", &[]));
    let wanted: BTreeMap<&str, &str> =
        (entries.iter()).map(|e| (e["patient_id"].as_str().unwrap(), e["name"].as_str().unwrap())).collect();
    let names = data("names", &[]);
    // Orthanc turns them into UTF-8 itself, and loses some on the way.
    let archive = Archive::dcmqrscp(&names, &names.join("manifest.json"), &[Destination::new("NOBODY")], &[]);
    let bridge = bridge_to(&archive, Model::Auto);
    let matches = find(&bridge, query(Level::Study, &[])).await.unwrap();
    assert_eq!(matches.len(), wanted.len());
    for found in matches {
        let id = found.string(tags::PATIENT_ID).unwrap();
        assert_eq!(found.string(tags::PATIENT_NAME).unwrap_or_default(), wanted[id], "{id}");
    }
}

#[tokio::test]
async fn hazard_a_pacs_that_is_down_is_never_an_empty_list() {
    let names = data("names", &[]);
    let mut archive =
        Archive::dcmqrscp(&names, &names.join("manifest.json"), &[Destination::new("NOBODY")], &[]);
    let bridge = bridge_to(&archive, Model::Auto);
    assert_eq!(find(&bridge, query(Level::Study, &[])).await.unwrap().len(), 22);
    archive.server.kill();
    for _ in 0..3 {
        let error = find(&bridge, query(Level::Study, &[])).await.unwrap_err();
        assert!(matches!(error.kind, Kind::Unreachable(_) | Kind::Aborted(_)), "{error:?}");
    }
    archive.server.restart();
    assert_eq!(find(&bridge, query(Level::Study, &[])).await.unwrap().len(), 22);
}
