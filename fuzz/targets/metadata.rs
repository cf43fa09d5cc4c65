//! Metadata that a web client writes, as JSON and as XML: no panic; what was read is written, and read the same.

use gantry::dicomweb::json::write_array;
use gantry::dicomweb::metadata::{read_json, read_xml};

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let _ = read_xml(data);
    let Ok(read) = read_json(data) else { return };
    let data_sets = |read: Vec<gantry::dicomweb::metadata::Metadata>| {
        read.into_iter().map(|metadata| metadata.data_set).collect::<Vec<_>>()
    };
    let first = write_array(&data_sets(read));
    let second = write_array(&data_sets(read_json(&first).expect("what was written can be read")));
    assert_eq!(first, second);
}
