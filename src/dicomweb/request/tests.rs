//! What queries viewers send, and what nobody should.

use proptest::prelude::*;

use super::*;

fn studies(query: &str) -> Result<Query, String> {
    let resource = SearchResource { level: Level::Study, study: None, series: None };
    search(&resource, query).map(|request| request.query).map_err(|error| error.0)
}

/// The keys of a query as `(path, VR, values)` in text.
fn keys(query: &str) -> Vec<(String, VR, Vec<String>)> {
    let text = |path: &AttributePath| path.tags().iter().map(Tag::to_string).collect::<Vec<_>>().join(".");
    let keys = studies(query).unwrap().keys;
    keys.into_iter().map(|key| (text(&key.path), key.vr, key.values)).collect()
}

fn key(path: &str, vr: VR, values: &[&str]) -> (String, VR, Vec<String>) {
    (path.to_owned(), vr, values.iter().map(|&v| v.to_owned()).collect())
}

#[test]
fn reads_the_study_list_of_a_viewer_with_encoded_commas() {
    let query =
        studies("limit=101&offset=0&fuzzymatching=true&includefield=00081030%2C00080060%2C00080090").unwrap();
    assert_eq!((query.limit, query.offset, query.fuzzy), (Some(101), 0, true));
    let included: Vec<Tag> = query.include.iter().map(AttributePath::leaf).collect();
    assert_eq!(included, [tags::STUDY_DESCRIPTION, tags::MODALITY, tags::REFERRING_PHYSICIAN_NAME]);
    assert!(query.keys.is_empty() && !query.include_all);
}

#[test]
fn keys_come_by_tag_keyword_and_sequence_path() {
    assert_eq!(keys("00100020=*x*"), [key("(0010,0020)", VR::LO, &["*x*"])]);
    assert_eq!(keys("PatientName=M%C3%BCller*"), [key("(0010,0010)", VR::PN, &["Müller*"])]);
    assert_eq!(keys("StudyDescription=*CT%20THO*"), [key("(0008,1030)", VR::LO, &["*CT THO*"])]);
    assert_eq!(keys("PatientID=VT-%2A"), [key("(0010,0020)", VR::LO, &["VT-*"])]);
    assert_eq!(keys("PatientName=A+B%2BC"), [key("(0010,0010)", VR::PN, &["A B+C"])]);
    assert_eq!(
        keys("RequestAttributesSequence.ScheduledProcedureStepID=7&00400275.00321060=x"),
        [key("(0040,0275).(0040,0009)", VR::SH, &["7"]), key("(0040,0275).(0032,1060)", VR::LO, &["x"])]
    );
    assert_eq!(keys("00090010=ACME&00091002=x")[1], key("(0009,1002)", VR::LO, &["x"]), "private");
}

#[test]
fn a_comma_is_a_list_where_the_vr_has_none_and_a_character_elsewhere() {
    assert_eq!(keys("StudyInstanceUID=1.2%2C1.3,1.4"), [key("(0020,000D)", VR::UI, &["1.2", "1.3", "1.4"])]);
    assert_eq!(keys("StudyInstanceUID=1.2&0020000D=1.3"), [key("(0020,000D)", VR::UI, &["1.2", "1.3"])]);
    assert_eq!(keys("ModalitiesInStudy=CT%2CMR"), [key("(0008,0061)", VR::CS, &["CT", "MR"])]);
    assert_eq!(keys("StudyDescription=Head, Neck"), [key("(0008,1030)", VR::LO, &["Head, Neck"])]);
    assert_eq!(
        keys("AccessionNumber=A,B&multiplevaluematching=true"),
        [key("(0008,0050)", VR::SH, &["A", "B"])],
        "the option counts also behind the key"
    );
    assert_eq!(keys("StudyID=1%5C2"), [key("(0020,0010)", VR::SH, &["1", "2"])]);
}

#[test]
fn ranges_pass_and_malformed_dates_are_named() {
    for good in ["20240101", "20240101-20241231", "19700102-", "-20241231"] {
        assert_eq!(keys(&format!("StudyDate={good}")), [key("(0008,0020)", VR::DA, &[good])]);
    }
    for good in ["0800-1200", "10", "-235959.999999"] {
        assert_eq!(keys(&format!("StudyTime={good}"))[0].2, [good]);
    }
    for bad in ["2024-01-01", "today", "-", "2024", "20240101-20240102-20240103"] {
        let error = studies(&format!("StudyDate={bad}")).unwrap_err();
        assert!(error.contains("`StudyDate`") && error.contains("date"), "{bad}: {error}");
    }
    assert!(studies("StudyTime=8am").unwrap_err().contains("`StudyTime`"));
}

#[test]
fn a_key_without_a_value_or_with_a_lone_star_asks_for_the_attribute() {
    for query in ["StudyDate=", "StudyDate", "StudyDate=*", "StudyDate=%2A"] {
        let query = studies(query).unwrap();
        assert!(query.keys.is_empty());
        assert_eq!(query.include, [tags::STUDY_DATE.into()]);
    }
    assert_eq!(keys("StudyDate=%22%22&emptyvaluematching=true")[0].2, ["\"\""]);
}

#[test]
fn repeated_includefield_and_includefield_all_are_honoured() {
    let query =
        studies("includefield=PatientName&includefield=00100030,PatientName&includefield=all").unwrap();
    assert!(query.include_all);
    assert_eq!(query.include, [tags::PATIENT_NAME.into(), tags::PATIENT_BIRTH_DATE.into()]);
}

#[test]
fn what_cannot_be_understood_is_named() {
    for (query, named) in [
        ("limit=ten", "`limit`"),
        ("limit=-1", "`limit`"),
        ("limit=", "`limit`"),
        ("offset=99999999999999999999999", "`offset`"),
        ("fuzzymatching=yes", "`fuzzymatching`"),
        ("PatientNam=x", "`PatientNam`"),
        ("includefield=Nonsense", "`Nonsense`"),
        ("1234567=x", "`1234567`"),
        ("00000002=x", "`00000002`"),
        ("FFFEE000=x", "`FFFEE000`"),
        ("00080052=STUDY", "`00080052`"),
        ("00100000=x", "`00100000`"),
        ("StudyInstanceUID=1.2.x", "`StudyInstanceUID`"),
        ("StudyInstanceUID=1.2,,1.3", "`StudyInstanceUID`"),
        ("PatientID=1&00100020=2", "`00100020`"),
        ("PatientID=a%0Ab", "`PatientID`"),
        ("PatientID=%FF", "`PatientID`"),
        ("PatientID.PatientName=x", "(0010,0020)"),
        ("RequestAttributesSequence=x", "`RequestAttributesSequence`"),
        ("PixelData=x", "`PixelData`"),
        ("NumberOfStudyRelatedInstances=many", "`NumberOfStudyRelatedInstances`"),
    ] {
        let error = studies(query).unwrap_err();
        assert!(error.contains(named), "{query}: {error}");
    }
}

#[test]
fn an_error_repeats_no_value() {
    for query in ["StudyDate=Secret", "limit=Secret", "StudyInstanceUID=Secret", "fuzzymatching=Secret"] {
        assert!(!studies(query).unwrap_err().contains("Secret"), "{query}");
    }
}

#[test]
fn every_count_and_length_is_bounded() {
    let many = "PatientID=&".repeat(MAX_PARAMETERS + 1);
    assert!(studies(&many).unwrap_err().contains("parameters"));
    assert!(studies(&"x".repeat(MAX_QUERY_LENGTH + 1)).unwrap_err().contains("longer"));
    assert!(studies(&format!("PatientID={}", "x".repeat(1025))).unwrap_err().contains("longer"));
    let uids = ["1.2"; 513].join(",");
    assert!(studies(&format!("StudyInstanceUID={uids}")).unwrap_err().contains("values"));
    let fields: Vec<String> = (0..=MAX_INCLUDE_FIELDS).map(|n| format!("0009{n:04X}")).skip(1).collect();
    assert!(studies(&format!("includefield={}", fields.join(","))).is_ok());
    let deep = ["00400275"; 9].join(".");
    assert!(studies(&format!("{deep}=x")).unwrap_err().contains("deeper"));
}

#[test]
fn parents_in_the_path_become_keys_and_must_not_be_contradicted() {
    let resource = SearchResource {
        level: Level::Instance,
        study: Some(Uid::from_static("1.2")),
        series: Some(Uid::from_static("1.2.3")),
    };
    let query = search(&resource, "").unwrap().query;
    assert_eq!(query.single_uid(tags::STUDY_INSTANCE_UID).unwrap().as_str(), "1.2");
    assert_eq!(query.single_uid(tags::SERIES_INSTANCE_UID).unwrap().as_str(), "1.2.3");
    let narrowed = search(&resource, "SeriesInstanceUID=1.2.3,1.2.4").unwrap().query;
    assert_eq!(narrowed.single_uid(tags::SERIES_INSTANCE_UID).unwrap().as_str(), "1.2.3");
    assert!(search(&resource, "StudyInstanceUID=1.9").unwrap_err().0.contains("contradicts"));
}

#[test]
fn the_accept_parameter_keeps_its_plus_sign() {
    let resource = SearchResource { level: Level::Study, study: None, series: None };
    let request = search(&resource, "accept=application/dicom+json&charset=utf-8").unwrap();
    assert_eq!(request.accept, ["application/dicom+json"]);
    assert_eq!(accept_parameters("x=1&accept=application%2Fdicom").unwrap(), ["application/dicom"]);
}

#[test]
fn a_target_is_named_by_uids_only() {
    assert_eq!(target("1.2", Some("1.3"), None).unwrap().level(), Level::Series);
    let error = target("1.2", Some("abc"), None).unwrap_err();
    assert!(error.0.contains("Series Instance UID") && !error.0.contains("abc"));
}

proptest! {
    #[test]
    fn never_panics(query in "([A-Za-z0-9.]{0,12}=?[%0-9A-F,*\\\\+\\-]{0,12}&?){0,8}", junk in "\\PC{0,40}") {
        let _ = studies(&query);
        let _ = studies(&junk);
        let _ = studies(&format!("PatientName={junk}"));
    }
}
