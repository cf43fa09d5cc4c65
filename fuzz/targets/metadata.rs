//! Metadata that a web client writes, as JSON and as XML, and the objects that are put together of it and of bulk data: no
//! panic; what was read is written, and read the same; what is put together can be followed.

use bytes::Bytes;
use gantry::dicom::Uid;
use gantry::dicom::scan::Scanner;
use gantry::dicom::transfer_syntax::Layout;
use gantry::dicomweb::bulk::{Intake, Label};
use gantry::dicomweb::compose::compose;
use gantry::dicomweb::json::write_array;
use gantry::dicomweb::metadata::{Metadata, read_json, read_xml};

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    if let Ok(read) = read_xml(data) {
        runtime.block_on(put_together(read));
    }
    let Ok(read) = read_json(data) else { return };
    for metadata in read.iter().cloned() {
        runtime.block_on(put_together(metadata));
    }
    let data_sets =
        |read: Vec<Metadata>| read.into_iter().map(|metadata| metadata.data_set).collect::<Vec<_>>();
    let first = write_array(&data_sets(read));
    let second = write_array(&data_sets(read_json(&first).expect("what was written can be read")));
    assert_eq!(first, second);
}

/// The object of which this is the metadata, with two values that it may name.
async fn put_together(metadata: Metadata) {
    let mut bulk = Intake::new("http://host/studies", 1 << 16);
    for (location, syntax) in [("b1", None), ("b2", Some("1.2.840.10008.1.2.4.50"))] {
        let transfer_syntax = syntax.map(Uid::from_static);
        let media_type = if syntax.is_some() { "image/jpeg" } else { "application/octet-stream" };
        let label = Label { location: Some(location), id: None, media_type, transfer_syntax };
        bulk.begin(&label).expect("two parts are not many");
        bulk.push(Bytes::from_static(&[7; 33])).await.expect("it fits into memory");
    }
    let mut bulk = bulk.finish().await.expect("it fits into memory");
    let Ok(mut composed) = compose(metadata, &mut bulk).await else { return };
    let mut scanner = Scanner::new(Layout::ExplicitLe);
    while let Some(piece) = composed.next().await {
        scanner.push(piece.expect("it is in memory"));
        while scanner.next().expect("what was put together can be followed").is_some() {}
    }
    scanner.finish().expect("what was put together is whole");
}
