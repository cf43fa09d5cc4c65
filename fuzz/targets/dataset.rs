//! Data sets in memory: no panic; what was read is written, and read again the same.

use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::DataSet;
use gantry::dicom::tags;
use gantry::dicom::transfer_syntax::Layout;
use gantry::dicomweb::json::write_array;

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let layout = [Layout::ImplicitLe, Layout::ExplicitLe, Layout::ExplicitBe][usize::from(choice % 3)];
    let Ok(first) = DataSet::parse(bytes, layout, None) else { return };
    write_array(std::slice::from_ref(&first.data_set));
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
