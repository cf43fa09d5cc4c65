use proptest::prelude::*;

use super::*;
use crate::dicom::query::AttributePath;

fn key(tag: Tag, vr: VR, values: &[&str]) -> MatchingKey {
    let values = values.iter().map(|v| (*v).to_owned()).collect();
    MatchingKey { path: AttributePath::from(tag), vr, values }
}

fn judge(keys: &[MatchingKey], data_set: &DataSet) -> Verdict {
    criteria(keys).iter().map(|c| c.judge(data_set)).min().unwrap_or(Verdict::Matches)
}

fn with(tag: Tag, vr: VR, value: &str) -> DataSet {
    let mut data_set = DataSet::new();
    data_set.set_strings(tag, vr, value.split('\\').map(str::to_owned).filter(|v| !v.is_empty()).collect());
    data_set
}

#[test]
fn a_list_of_uids_matches_any_of_them() {
    let uids = key(tags::STUDY_INSTANCE_UID, VR::UI, &["1.2", "1.3"]);
    assert_eq!(
        judge(std::slice::from_ref(&uids), &with(tags::STUDY_INSTANCE_UID, VR::UI, "1.3")),
        Verdict::Matches
    );
    assert_eq!(judge(&[uids], &with(tags::STUDY_INSTANCE_UID, VR::UI, "1.33")), Verdict::Differs);
}

#[test]
fn one_of_several_modalities_is_enough() {
    let ct = key(tags::MODALITIES_IN_STUDY, VR::CS, &["CT", "PT"]);
    for (found, verdict) in [("MR\\CT", Verdict::Matches), ("MR", Verdict::Differs), ("", Verdict::Doubtful)]
    {
        assert_eq!(
            judge(std::slice::from_ref(&ct), &with(tags::MODALITIES_IN_STUDY, VR::CS, found)),
            verdict
        );
    }
}

#[test]
fn universal_matching_is_no_criterion() {
    for value in ["*", "**"] {
        assert!(criteria(&[key(tags::PATIENT_ID, VR::LO, &[value])]).is_empty());
    }
}

#[test]
fn an_empty_value_is_found_by_two_quotation_marks_only() {
    let empty = key(tags::PATIENT_ID, VR::LO, &[EMPTY_VALUE]);
    let data_set = with(tags::PATIENT_ID, VR::LO, "");
    assert_eq!(judge(std::slice::from_ref(&empty), &data_set), Verdict::Matches);
    assert_eq!(judge(std::slice::from_ref(&empty), &DataSet::new()), Verdict::Likely);
    assert_eq!(judge(&[empty], &with(tags::PATIENT_ID, VR::LO, "1")), Verdict::Differs);
    assert_eq!(judge(&[key(tags::PATIENT_ID, VR::LO, &["1"])], &data_set), Verdict::Doubtful);
}

#[test]
fn numbers_match_by_value() {
    let number = key(tags::SERIES_NUMBER, VR::IS, &["7"]);
    assert_eq!(
        judge(std::slice::from_ref(&number), &with(tags::SERIES_NUMBER, VR::IS, "+07")),
        Verdict::Matches
    );
    assert_eq!(judge(&[number], &with(tags::SERIES_NUMBER, VR::IS, "70")), Verdict::Differs);
    let mut rows = DataSet::new();
    rows.set_u16(tags::ROWS, 512);
    assert_eq!(judge(&[key(tags::ROWS, VR::US, &["512"])], &rows), Verdict::Matches);
    assert_eq!(judge(&[key(tags::ROWS, VR::US, &["2"])], &rows), Verdict::Differs);
}

#[test]
fn keys_in_one_sequence_match_in_one_item() {
    let path = |tag| AttributePath::new(vec![tags::REQUEST_ATTRIBUTES_SEQUENCE, tag]).unwrap();
    let keys = [
        MatchingKey { path: path(tags::REQUESTED_PROCEDURE_ID), vr: VR::SH, values: vec!["P1".into()] },
        MatchingKey { path: path(tags::SCHEDULED_PROCEDURE_STEP_ID), vr: VR::SH, values: vec!["S1".into()] },
    ];
    let item = |procedure: &str, step: &str| {
        let mut item = with(tags::REQUESTED_PROCEDURE_ID, VR::SH, procedure);
        item.set_str(tags::SCHEDULED_PROCEDURE_STEP_ID, VR::SH, step);
        item
    };
    let mut data_set = DataSet::new();
    data_set.set_items(tags::REQUEST_ATTRIBUTES_SEQUENCE, vec![item("P1", "S2"), item("P2", "S1")]);
    assert_eq!(judge(&keys, &data_set), Verdict::Differs, "each in another item");
    data_set.set_items(tags::REQUEST_ATTRIBUTES_SEQUENCE, vec![item("P2", "S2"), item("P1", "S1")]);
    assert_eq!(judge(&keys, &data_set), Verdict::Matches);
    assert_eq!(judge(&keys, &DataSet::new()), Verdict::Doubtful);
}

#[test]
fn the_range_of_a_date_takes_its_time_along() {
    let date = key(tags::STUDY_DATE, VR::DA, &["20240101-20240105"]);
    let time = key(tags::STUDY_TIME, VR::TM, &["1000-1200"]);
    let mut data_set = with(tags::STUDY_DATE, VR::DA, "20240103");
    data_set.set_str(tags::STUDY_TIME, VR::TM, "2300");
    for keys in [[date.clone(), time.clone()], [time.clone(), date]] {
        assert_eq!(criteria(&keys).len(), 1);
        assert_eq!(judge(&keys, &data_set), Verdict::Matches);
    }
    let single = [key(tags::STUDY_DATE, VR::DA, &["20240103"]), time];
    assert_eq!(criteria(&single).len(), 2);
    assert_eq!(judge(&single, &data_set), Verdict::Differs);
}

#[test]
fn hazard_an_attribute_that_came_back_empty_is_never_a_certain_mismatch() {
    for (tag, vr, value) in [
        (tags::STUDY_DATE, VR::DA, "20240101-"),
        (tags::PATIENT_NAME, VR::PN, "A*"),
        (tags::ACCESSION_NUMBER, VR::SH, "A1"),
        (tags::ROWS, VR::US, "512"),
    ] {
        let mut data_set = DataSet::new();
        assert_eq!(judge(&[key(tag, vr, &[value])], &data_set), Verdict::Doubtful);
        data_set.set_empty(tag, vr);
        assert_eq!(judge(&[key(tag, vr, &[value])], &data_set), Verdict::Doubtful);
    }
}

proptest! {
    #[test]
    fn a_value_matches_itself(value in "[A-Za-zäß^=. ]{1,20}", vr in 0..4_usize) {
        let vr = [VR::PN, VR::LO, VR::SH, VR::UC][vr];
        prop_assume!(!value.trim_matches([' ', '^', '=']).is_empty());
        let found = with(tags::PATIENT_NAME, vr, &value);
        prop_assert_eq!(judge(&[key(tags::PATIENT_NAME, vr, &[&value])], &found), Verdict::Matches);
    }

    #[test]
    fn dates_match_a_range_as_their_digits_do(dates in proptest::array::uniform3((1900..2100_u32, 1..=12_u32, 1..=28_u32))) {
        let [a, b, v] = dates.map(|(year, month, day)| year * 10_000 + month * 100 + day);
        let (from, to) = (a.min(b), a.max(b));
        let range = key(tags::STUDY_DATE, VR::DA, &[&format!("{from}-{to}")]);
        let expected = if (from..=to).contains(&v) { Verdict::Matches } else { Verdict::Differs };
        prop_assert_eq!(judge(&[range], &with(tags::STUDY_DATE, VR::DA, &v.to_string())), expected);
    }
}
