//! Data sets in memory, as reports too, and the one change that is made to encoded ones: no panic; what was read is written, and read again
//! the same.

use bytes::Bytes;
use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::DataSet;
use gantry::dicom::transfer_syntax::Layout;
use gantry::dicom::{retitle, tags};
use gantry::dicomweb::json::write_array;
use gantry::dicomweb::metadata::read_xml;
use gantry::dicomweb::report::Report;
use gantry::dicomweb::xml::write_document;

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let layout = [Layout::ImplicitLe, Layout::ExplicitLe, Layout::ExplicitBe][usize::from(choice % 3)];
    let title = "GANTRY".parse().expect("an AE title");
    retitle::replace(&Bytes::copy_from_slice(bytes), layout, tags::RETRIEVE_AE_TITLE, &title);
    let Ok(first) = DataSet::parse(bytes, layout, None) else { return };
    write_array(std::slice::from_ref(&first.data_set));
    let report = Report::read(&first.data_set, "http://bridge.example");
    let page = report.to_html().expect("a page of any text");
    assert!(!report.to_text().is_empty() && page.matches("<ul>").count() == page.matches("</ul>").count());
    read_xml(&write_document(&first.data_set)).expect("what was written can be read");
    let encoded = first.data_set.encode(Layout::ExplicitLe, QueryCharset::Auto);
    let mut second =
        DataSet::parse(&encoded, Layout::ExplicitLe, None).expect("what was written can be read");
    let encoded = second.data_set.encode(Layout::ExplicitLe, QueryCharset::Auto);
    let mut third = DataSet::parse(&encoded, Layout::ExplicitLe, None).expect("what was written can be read");
    // Which character set text is sent in is for encode to say.
    second.data_set.remove(tags::SPECIFIC_CHARACTER_SET);
    third.data_set.remove(tags::SPECIFIC_CHARACTER_SET);
    assert_eq!(second.data_set, third.data_set);
}
