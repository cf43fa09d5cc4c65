//! What a web client writes: queries, Accept and Range headers, lists of frames, UIDs. No panic, whatever it says.

use gantry::dicom::query::Level;
use gantry::dicom::{AeTitle, Uid};
use gantry::dicomweb::media_type::Accept;
use gantry::dicomweb::range::ByteRange;
use gantry::dicomweb::request::{self, SearchResource};
use gantry::dicomweb::wado_uri;
use gantry::image::frames::{FrameList, MAX_FRAMES_ASKED};

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for level in [Level::Study, Level::Series, Level::Instance] {
        let resource = SearchResource { level, study: None, series: None };
        let _ = request::search(&resource, text);
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
    let _ = accept.object_form(true);
    let _ = accept.object_form(false);
    let _ = accept.data_set_form(true);
}
