use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::archive::Search;
use crate::archive::testing::{Driver, Fake};
use crate::dicom::VR;
use crate::dicom::transfer_syntax::Layout;

fn identifier(level: &str, keys: &[(Tag, &str)]) -> DataSet {
    let mut identifier = DataSet::new();
    identifier.set_str(tags::QUERY_RETRIEVE_LEVEL, VR::CS, level);
    for (tag, value) in keys {
        identifier.set_strings(*tag, vr_of(*tag), value.split('\\').map(str::to_owned).collect());
    }
    identifier
}

const STUDY: Tag = tags::STUDY_INSTANCE_UID;
const SERIES: Tag = tags::SERIES_INSTANCE_UID;
const INSTANCE: Tag = tags::SOP_INSTANCE_UID;
const PATIENT: Tag = tags::PATIENT_ID;

fn caller() -> Caller {
    Caller { client: None, priority: Priority::Bulk, title: None }
}

/// What is retrieved, as `study/series/instance+instance`, where the archive finds `found` of what is asked for.
async fn retrieved(
    model: Model,
    identifier: &DataSet,
    found: &[&[(Tag, &str)]],
) -> Result<Vec<String>, &'static str> {
    let archive = Fake::named("main");
    let (driver, matches) = Driver::new();
    for keys in found {
        driver.item(Arc::new(self::identifier("ANY", keys)));
    }
    driver.complete();
    archive.push_search(Ok(Search { matches, warnings: Vec::new() }));
    let selection = selection(identifier, model).map_err(|refusal| refusal.0)?;
    let retrieves = match selection.resolve(&*archive, &caller(), Form::AsStored).await {
        Ok(retrieves) => retrieves,
        Err(Unresolved::Refused(refusal)) => return Err(refusal.0),
        Err(Unresolved::Failed(error)) => panic!("{error}"),
    };
    let text = |retrieve: Retrieve| {
        let Target { study, series, instance } = retrieve.target;
        let instances: Vec<&str> = retrieve.only.iter().chain(&instance).map(Uid::as_str).collect();
        let parts = [study.to_string(), series.map_or(String::new(), |s| s.to_string()), instances.join("+")];
        parts.join("/").trim_end_matches('/').to_owned()
    };
    Ok(retrieves.into_iter().map(text).collect())
}

#[tokio::test]
async fn each_level_asks_for_its_entities_and_lists_are_cut_by_what_is_above() {
    let patients = [[(PATIENT, "P1"), (STUDY, "2")], [(PATIENT, "P1"), (STUDY, "3")]];
    let foreign = [(PATIENT, "P10"), (STUDY, "4")];
    let of_patient: [&[_]; 3] = [&patients[0], &patients[1], &foreign];
    let instances: [&[_]; 3] = [
        &[(STUDY, "1"), (SERIES, "2"), (INSTANCE, "5")],
        &[(STUDY, "1"), (SERIES, "2"), (INSTANCE, "6")],
        &[(STUDY, "1"), (SERIES, "3"), (INSTANCE, "7")],
    ];
    for (model, level, keys, found, wanted) in [
        (Model::Study, "STUDY", &[(STUDY, "1")][..], &[][..], &["1"][..]),
        (Model::Patient, "STUDY", &[(PATIENT, "P"), (STUDY, "1\\2\\1")], &[], &["1", "2"]),
        (Model::Study, "SERIES", &[(STUDY, "1"), (SERIES, "3\\2")], &[], &["1/3", "1/2"]),
        (Model::Study, "IMAGE", &[(STUDY, "1"), (SERIES, "2"), (INSTANCE, "4")], &[], &["1/2/4"]),
        (Model::Study, "IMAGE", &[(STUDY, "1"), (SERIES, "2"), (INSTANCE, "5\\4")], &[], &["1/2/4+5"]),
        (Model::Patient, "PATIENT", &[(PATIENT, "P1 ")], &of_patient, &["2", "3"]),
        (Model::Patient, "PATIENT", &[(PATIENT, "P1")], &[], &[]),
        (Model::Study, "SERIES", &[(SERIES, "2")], &instances[..2], &["1/2"]),
        (Model::Study, "IMAGE", &[(INSTANCE, "5\\6\\7")], &instances, &["1/2/5+6", "1/3/7"]),
        (Model::Study, "IMAGE", &[(STUDY, "1"), (INSTANCE, "7")], &instances, &["1/3/7"]),
    ] {
        let retrieved = retrieved(model, &identifier(level, keys), found).await;
        assert_eq!(retrieved.unwrap(), wanted, "{level} {keys:?}");
    }
}

#[tokio::test]
async fn what_does_not_match_the_model_is_refused() {
    let other = [(STUDY, "9"), (SERIES, "2")];
    let own = [(STUDY, "1"), (SERIES, "2")];
    for (model, level, keys, found) in [
        (Model::Study, "PATIENT", &[(PATIENT, "P1")][..], &[][..]),
        (Model::PatientStudyOnly, "SERIES", &[(STUDY, "1"), (SERIES, "2")], &[]),
        (Model::Study, "WORLD", &[(STUDY, "1")], &[]),
        (Model::Study, "STUDY", &[], &[]),
        (Model::Study, "STUDY", &[(STUDY, "1.2*")], &[]),
        (Model::Study, "STUDY", &[(STUDY, "1.2\\nonsense")], &[]),
        (Model::Study, "SERIES", &[(STUDY, "1\\2"), (SERIES, "2")], &[]),
        (Model::Patient, "PATIENT", &[(PATIENT, "P*")], &[]),
        (Model::Patient, "PATIENT", &[(PATIENT, "P1\\P2")], &[]),
        (Model::Study, "SERIES", &[(SERIES, "2")], &[]),
        (Model::Study, "SERIES", &[(SERIES, "2")], &[&own[..], &other]),
        (Model::Study, "IMAGE", &[(STUDY, "1"), (INSTANCE, "5")], &[&own]),
    ] {
        let refused = retrieved(model, &identifier(level, keys), found).await;
        let comment = refused.expect_err(&format!("{level} {keys:?}"));
        assert!(comment.len() <= 64 && comment.is_ascii(), "{comment}");
    }
}

#[test]
fn hazard_a_list_of_uids_is_bounded() {
    let list = |count: usize| {
        let uids: Vec<String> = (0..count).map(|n| format!("1.2.{n}")).collect();
        selection(&identifier("STUDY", &[(STUDY, &uids.join("\\"))]), Model::Study)
    };
    assert!(list(MOST_UIDS).is_ok());
    assert!(list(MOST_UIDS + 1).is_err());
}

#[test]
fn few_images_are_for_somebody_who_waits() {
    let images = |uids| identifier("IMAGE", &[(STUDY, "1"), (SERIES, "2"), (INSTANCE, uids)]);
    let priority = |identifier: &DataSet| selection(identifier, Model::Study).unwrap().priority();
    assert_eq!(priority(&images("1\\2\\3\\4")), Priority::Interactive);
    assert_eq!(priority(&images("1\\2\\3\\4\\5")), Priority::Bulk);
    assert_eq!(priority(&identifier("STUDY", &[(STUDY, "1")])), Priority::Bulk);
}

proptest! {
    #[test]
    fn hazard_no_bytes_make_it_panic(bytes: Vec<u8>, level in "[A-Z]{0,8}", uids in r"[0-9.\\* ]{0,40}") {
        if let Ok(parsed) = DataSet::parse(&bytes, Layout::ImplicitLe, None) {
            let _ = selection(&parsed.data_set, Model::Patient);
        }
        for level in [level.as_str(), "PATIENT", "STUDY", "SERIES", "IMAGE"] {
            let keys = [PATIENT, STUDY, SERIES, INSTANCE].map(|tag| (tag, uids.as_str()));
            if let Ok(selection) = selection(&identifier(level, &keys), Model::Patient) {
                prop_assert!(selection.uids.len() <= MOST_UIDS);
            }
        }
    }
}
