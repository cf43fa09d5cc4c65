//! Objects without their bulk data, as C-GET of the model of PS3.4 Annex Z sends them.

use bytes::Bytes;

use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{DataSet, Element};
use crate::dicom::scan::{Event, Scanner};
use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, layout};
use crate::dicom::{Tag, Uid};

/// What holds waveforms: of each, the data are left out.
const WAVEFORM_SEQUENCE: Tag = Tag(0x5400, 0x0100);
const WAVEFORM_DATA: Tag = Tag(0x5400, 0x1010);

/// A data set without the attributes of PS3.4 Table Z.1-1; what is left is what it was, byte for byte. `None`: it
/// cannot be followed.
pub(super) fn without_bulk_data(syntax: &Uid, data_set: &Bytes) -> Option<Bytes> {
    if syntax.as_str() == DEFLATED_EXPLICIT_VR_LE {
        return None;
    }
    let layout = layout(syntax);
    let mut scanner = Scanner::new(layout);
    scanner.push(data_set.clone());
    let mut light = Vec::new();
    let mut open: Option<(Tag, u64)> = None;
    let mut depth = 0_usize;
    while let Some(event) = scanner.next().ok()? {
        match event {
            Event::Element(header) => {
                if depth == 0 {
                    open = Some((header.tag, header.offset));
                }
                depth += 1;
            }
            Event::ElementEnd => {
                depth -= 1;
                let Some((tag, start)) = open.filter(|_| depth == 0) else { continue };
                let element =
                    data_set.get(usize::try_from(start).ok()?..usize::try_from(scanner.position()).ok()?)?;
                if tag == WAVEFORM_SEQUENCE {
                    let mut parsed = DataSet::parse(element, layout, None).ok()?.data_set;
                    let mut items = parsed.items(tag).to_vec();
                    items.iter_mut().for_each(|item| drop::<Option<Element>>(item.remove(WAVEFORM_DATA)));
                    parsed.set_items(tag, items);
                    light.extend(parsed.encode(layout, QueryCharset::Auto));
                } else if !is_left_out(tag) {
                    light.extend_from_slice(element);
                }
            }
            _ => {}
        }
    }
    Some(light.into())
}

/// PS3.4 Table Z.1-1, and the other attributes that hold pixels (PS3.3 C.7.6.24, C.7.6.25).
fn is_left_out(tag: Tag) -> bool {
    let repeats = |group: u16| tag.0 & 0xFF01 == group;
    match tag {
        Tag(0x7FE0, 0x0001..=0x0002 | 0x0008..=0x0010 | 0x0120)
        | Tag(0x0028, 0x7FE0)
        | Tag(0x5600, 0x0020) => true,
        Tag(_, 0x3000) => repeats(0x6000) || repeats(0x5000),
        Tag(_, 0x200C) => repeats(0x5000),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::dataset::Value;
    use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, Layout};
    use crate::dicom::{VR, tags};

    #[test]
    fn what_is_large_is_left_out_and_the_rest_stays_as_it_was() {
        let bytes = |text: &[u8]| Element { vr: VR::OW, value: Value::Bytes(text.to_vec().into()) };
        let mut small = DataSet::new();
        small.set_str(tags::PATIENT_ID, VR::LO, "1");
        let mut item = DataSet::new();
        item.set_u16(Tag(0x003A, 0x0005), 1);
        small.set_items(WAVEFORM_SEQUENCE, vec![item.clone()]);
        let mut icon = DataSet::new();
        icon.insert(tags::PIXEL_DATA, bytes(b"ICON"));
        small.set_items(Tag(0x0088, 0x0200), vec![icon]);
        let mut large = small.clone();
        item.insert(WAVEFORM_DATA, bytes(b"WAVE"));
        large.set_items(WAVEFORM_SEQUENCE, vec![item]);
        for tag in [Tag(0x5002, 0x3000), Tag(0x5600, 0x0020), Tag(0x6002, 0x3000), tags::PIXEL_DATA] {
            large.insert(tag, bytes(b"LARGE!"));
        }
        let encode =
            |data_set: &DataSet| Bytes::from(data_set.encode(Layout::ExplicitLe, QueryCharset::Auto));
        let light = without_bulk_data(&Uid::from_static(EXPLICIT_VR_LE), &encode(&large));
        assert_eq!(light, Some(encode(&small)));
    }
}
