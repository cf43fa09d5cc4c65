//! What a web client writes: queries and Accept headers. No panic, whatever it says.

#![no_main]

use gantry::dicom::query::Level;
use gantry::dicomweb::media_type::Accept;
use gantry::dicomweb::request::{self, SearchResource};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    for level in [Level::Study, Level::Series, Level::Instance] {
        let resource = SearchResource { level, study: None, series: None };
        let _ = request::search(&resource, text);
    }
    let _ = request::accept_parameters(text);
    let _ = request::target(text, Some(text), None);
    let accept = Accept::new([text], [text]);
    let _ = accept.object_form(true);
    let _ = accept.object_form(false);
    let _ = accept.data_set_form(true);
});
