//! What a web client writes: queries, Accept and Range headers, lists of frames, UIDs, paths of bulk data; and queries held
//! against a data set. No panic, whatever it says.

use gantry::dicom::dataset::DataSet;
use gantry::dicom::query::Level;
use gantry::dicom::{AeTitle, Uid, VR, matching, tags};
use gantry::dicomweb::media_type::Accept;
use gantry::dicomweb::range::ByteRange;
use gantry::dicomweb::request::{self, SearchResource};
use gantry::dicomweb::wado_uri;
use gantry::image::bulk::BulkPath;
use gantry::image::frames::{FrameList, MAX_FRAMES_ASKED};

/// Of pixels: native, JPEG, JPEG 2000, RLE, MPEG-4.
const SYNTAXES: [&str; 5] = [
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.102",
];

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for level in [Level::Study, Level::Series, Level::Instance] {
        let resource = SearchResource { level, study: None, series: None };
        let Ok(search) = request::search(&resource, text) else { continue };
        for criterion in matching::criteria(&search.query.keys) {
            criterion.judge(&entity());
        }
    }
    let _ = request::accept_parameters(text);
    let _ = request::target(text, Some(text), None);
    let _ = (wado_uri::is_wado_uri(text), wado_uri::read(text));
    if let Some(range) = ByteRange::parse(text) {
        for length in [0, 1, 500, u64::MAX] {
            if let Ok(range) = range.of(length) {
                assert!(range.start < range.end && range.end <= length, "{range:?} of {length}");
            }
        }
    }
    if let Ok(list) = text.parse::<FrameList>() {
        assert!(!list.numbers().is_empty() && list.numbers().len() <= MAX_FRAMES_ASKED);
    }
    let _ = (text.parse::<AeTitle>(), text.parse::<Uid>());
    let accept = Accept::new([text], [text]);
    let _ = accept.object_forms(true);
    let _ = accept.object_forms(false);
    let _ = accept.data_set_form(true);
    let _ = (accept.pixel_syntaxes(), accept.takes_any_value());
    for syntax in SYNTAXES.map(Uid::from_static) {
        let _ = (accept.pixel_form(&syntax, true), accept.bulk_pixel_form(&syntax, false));
    }
    let _ = accept.value_form("application/pdf", true);
    if let Ok(path) = text.parse::<BulkPath>() {
        assert_eq!(path.to_string().parse::<BulkPath>().as_ref(), Ok(&path));
    }
}

/// What a query may find.
fn entity() -> DataSet {
    let mut entity = DataSet::new();
    for (tag, vr, value) in [
        (tags::PATIENT_NAME, VR::PN, "Yamada^Tarou=山田^太郎=やまだ^たろう"),
        (tags::PATIENT_ID, VR::LO, "P-1"),
        (tags::STUDY_DATE, VR::DA, "20260228"),
        (tags::STUDY_TIME, VR::TM, "235959.999999"),
        (tags::ACQUISITION_DATE_TIME, VR::DT, "20260101120000.5+0100"),
        (tags::SERIES_NUMBER, VR::IS, "-1"),
        (tags::STUDY_INSTANCE_UID, VR::UI, "1.2"),
        (tags::MODALITIES_IN_STUDY, VR::CS, "CT"),
    ] {
        entity.set_str(tag, vr, value);
    }
    entity
}
