use proptest::prelude::*;

use super::*;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{DataSet, Element, Value};
use crate::dicom::scan::tests::deflated;
use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, IMPLICIT_VR_LE, layout};
use crate::image::pixels::Photometric;

const RLE: &str = "1.2.840.10008.1.2.5";
const ROWS: u16 = 5;
const COLUMNS: u16 = 6;

/// An image without its pixel data: `frames` frames of colours, pixel by pixel, 8 bits each.
fn description(frames: u32) -> DataSet {
    let mut image = DataSet::new();
    image.set_str(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.7.4");
    image.set_str(tags::PATIENT_NAME, VR::PN, "Doe^John");
    image.set_u16(tags::SAMPLES_PER_PIXEL, 3);
    image.set_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "RGB");
    image.set_u16(tags::PLANAR_CONFIGURATION, 0);
    image.set_str(tags::NUMBER_OF_FRAMES, VR::IS, frames.to_string());
    image.set_u16(tags::ROWS, ROWS);
    image.set_u16(tags::COLUMNS, COLUMNS);
    image.set_u16(tags::BITS_ALLOCATED, 8);
    image.set_u16(tags::BITS_STORED, 8);
    image.set_u16(tags::HIGH_BIT, 7);
    image.set_u16(tags::PIXEL_REPRESENTATION, 0);
    image.set_str(tags::BURNED_IN_ANNOTATION, VR::CS, "NO");
    image
}

fn pixels(frames: u32) -> Vec<u8> {
    let length = u32::from(ROWS) * u32::from(COLUMNS) * 3 * frames;
    (0..length).map(|at| (at / 7 * 31) as u8).collect()
}

/// An image of `frames` frames, with an element behind its pixels.
fn image(frames: u32, to: Layout) -> Vec<u8> {
    let mut image = description(frames);
    image.insert(tags::PIXEL_DATA, Element { vr: VR::OB, value: Value::Bytes(pixels(frames).into()) });
    let padding = Element { vr: VR::OB, value: Value::Bytes(Bytes::from_static(b"behind")) };
    image.insert(tags::DATA_SET_TRAILING_PADDING, padding);
    image.encode(to, QueryCharset::Auto)
}

fn head(syntax: &'static str) -> Head {
    Head {
        sop_class: Uid::from_static("1.2.840.10008.5.1.4.1.1.7.4"),
        sop_instance: Uid::from_static("1.2.3"),
        transfer_syntax: Uid::from_static(syntax),
    }
}

/// What becomes of an object that comes in pieces of this size.
fn transcoded(data: &[u8], from: &'static str, to: &'static str, size: usize) -> Result<Vec<u8>, Error> {
    let mut transcoder = Transcoder::new(&head(from), &Uid::from_static(to));
    let mut out = Vec::new();
    let mut take = |transcoder: &mut Transcoder| {
        while let Some(piece) = transcoder.pop()? {
            match piece {
                Piece::Bytes(bytes) => out.extend_from_slice(&bytes),
                Piece::Work(work) => out.extend_from_slice(&work.run()?),
            }
        }
        Ok::<_, Error>(())
    };
    for piece in data.chunks(size) {
        transcoder.push(Bytes::copy_from_slice(piece))?;
        take(&mut transcoder)?;
    }
    transcoder.finish()?;
    take(&mut transcoder)?;
    Ok(out)
}

fn element(tag: Tag, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let mut out = [tag.group().to_le_bytes(), tag.element().to_le_bytes()].concat();
    out.extend(vr);
    match vr {
        b"OB" | b"OW" | b"OF" | b"OV" => {
            out.extend([&[0, 0][..], &(value.len() as u32).to_le_bytes()].concat())
        }
        _ => out.extend((value.len() as u16).to_le_bytes()),
    }
    out.extend_from_slice(value);
    out
}

#[test]
fn what_is_compressed_and_decompressed_is_what_it_was() {
    for frames in [1, 3] {
        let native = image(frames, Layout::ExplicitLe);
        for size in [1, 13, 64, 100_000] {
            let compressed = transcoded(&native, EXPLICIT_VR_LE, RLE, size).unwrap();
            assert!(compressed.windows(8).any(|it| it == b"\x28\0\x06\0US\x02\0"), "planes are told of");
            assert_eq!(
                transcoded(&compressed, RLE, EXPLICIT_VR_LE, size).unwrap(),
                native,
                "{frames} {size}"
            );
            assert_eq!(transcoded(&compressed, RLE, RLE, size).unwrap(), compressed, "{frames} {size}");
        }
    }
}

#[test]
fn every_native_encoding_is_compressed_alike() {
    let expected = transcoded(&image(2, Layout::ExplicitLe), EXPLICIT_VR_LE, RLE, 50).unwrap();
    for from in [IMPLICIT_VR_LE, EXPLICIT_VR_BE] {
        let native = image(2, layout(&Uid::from_static(from)));
        assert_eq!(transcoded(&native, from, RLE, 50).unwrap(), expected, "{from}");
    }
    let native = deflated(&image(2, Layout::ExplicitLe));
    assert_eq!(transcoded(&native, DEFLATED_EXPLICIT_VR_LE, RLE, 50).unwrap(), expected);
}

#[test]
fn what_describes_the_pixels_changes_and_all_else_passes_byte_by_byte() {
    let native = image(1, Layout::ExplicitLe);
    let compressed = transcoded(&native, EXPLICIT_VR_LE, RLE, 64).unwrap();
    let changed = element(tags::PLANAR_CONFIGURATION, b"US", &[0, 0]);
    let at = native.windows(changed.len()).position(|it| it == changed).unwrap();
    let pixels = native.windows(4).position(|it| it == b"\xE0\x7F\x10\0").unwrap();
    assert_eq!(compressed[..at], native[..at]);
    assert_eq!(compressed[at..at + 10], element(tags::PLANAR_CONFIGURATION, b"US", &[1, 0]));
    assert_eq!(compressed[at + 10..pixels], native[at + 10..pixels]);
    assert!(compressed.ends_with(&element(tags::DATA_SET_TRAILING_PADDING, b"OB", b"behind")));
}

#[test]
fn lengths_and_tables_that_are_not_true_any_more_are_left_out() {
    let mut native = element(Tag(0x0008, 0), b"UL", &[0; 4]);
    native.extend(element(Tag(0x0028, 0), b"UL", &[0; 4]));
    native.extend(description(1).encode(Layout::ExplicitLe, QueryCharset::Auto));
    native.extend(element(Tag(0x7FE0, 0), b"UL", &[0; 4]));
    native.extend(element(tags::EXTENDED_OFFSET_TABLE, b"OV", &[0; 8]));
    native.extend(element(tags::PIXEL_DATA, b"OB", &pixels(1)));
    let compressed = transcoded(&native, EXPLICIT_VR_LE, RLE, 64).unwrap();
    let has = |element: &[u8]| compressed.windows(4).any(|it| it == element);
    assert!(!has(b"\x08\0\0\0") && !has(b"\x28\0\0\0") && !has(b"\xE0\x7F\0\0") && !has(b"\xE0\x7F\x01\0"));
}

#[test]
fn signatures_of_what_has_changed_are_left_out() {
    let mut signed = image(1, Layout::ExplicitLe);
    let signatures = [tags::MAC_PARAMETERS_SEQUENCE, tags::DIGITAL_SIGNATURES_SEQUENCE].map(|tag| {
        let mut set = DataSet::new();
        set.set_items(tag, vec![description(1)]);
        set.encode(Layout::ExplicitLe, QueryCharset::Auto)
    });
    let unsigned = transcoded(&signed, EXPLICIT_VR_LE, RLE, 64).unwrap();
    let pixels = signed.windows(4).position(|it| it == b"\xE0\x7F\x10\0").unwrap();
    signed.splice(pixels..pixels, signatures[0].clone());
    signed.extend(&signatures[1]);
    assert_eq!(transcoded(&signed, EXPLICIT_VR_LE, RLE, 64).unwrap(), unsigned);
}

/// A sequence with such an item in it, within another one where `is_deep`.
fn sequence(tag: Tag, item: &[u8], is_deep: bool) -> Vec<u8> {
    let begin = |tag: Tag| [element(tag, b"SQ", &[]).split_at(8).0, b"\xFF\xFF\xFF\xFF"].concat();
    let mut out = [begin(tag), b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF".to_vec()].concat();
    if is_deep {
        out.extend(sequence(tags::ICON_IMAGE_SEQUENCE, item, false));
    } else {
        out.extend(item);
    }
    out.extend(b"\xFE\xFF\x0D\xE0\0\0\0\0\xFE\xFF\xDD\xE0\0\0\0\0");
    out
}

#[test]
fn compressed_pixels_in_a_sequence_do_not_go_out_with_those_of_another_syntax() {
    let private = Tag(0x0009, 0x1010);
    let compressed_icon =
        b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0\xFE\xFF\0\xE0\x02\0\0\0\xFF\xD8\
        \xFE\xFF\xDD\xE0\0\0\0\0";
    let native_icon = element(tags::PIXEL_DATA, b"OW", &[7; 6]);
    let with = |inserted: &[u8]| {
        let mut compressed = transcoded(&image(1, Layout::ExplicitLe), EXPLICIT_VR_LE, RLE, 64).unwrap();
        let place = compressed.windows(4).position(|it| it == b"\x10\0\x10\0").unwrap();
        compressed.splice(place..place, inserted.iter().copied());
        compressed
    };
    let native = image(1, Layout::ExplicitLe);
    for is_deep in [false, true] {
        for size in [1, 17, 10_000] {
            let dropped = with(&sequence(private, compressed_icon, is_deep));
            assert_eq!(transcoded(&dropped, RLE, EXPLICIT_VR_LE, size).unwrap(), native, "{is_deep} {size}");
            assert_eq!(transcoded(&dropped, RLE, RLE, size).unwrap(), dropped, "{is_deep} {size}");
            let kept = sequence(private, &native_icon, is_deep);
            let sent = transcoded(&with(&kept), RLE, EXPLICIT_VR_LE, size).unwrap();
            assert!(sent.windows(kept.len()).any(|it| it == kept), "{is_deep} {size}");
        }
    }
    // What is too long to be held goes out, and nothing can be taken back.
    let long = element(Tag(0x0009, 0x1011), b"OB", &vec![1; 5 << 20]);
    let sent = transcoded(&with(&sequence(private, &long, false)), RLE, EXPLICIT_VR_LE, 100_000).unwrap();
    assert!(sent.len() > long.len());
    let item = [long, compressed_icon.to_vec()].concat();
    let refused = transcoded(&with(&sequence(private, &item, false)), RLE, EXPLICIT_VR_LE, 100_000);
    assert_eq!(refused, Err(Error::Kind));
}

#[test]
fn colours_that_are_not_known_are_no_fault_of_the_object() {
    let native = image_with(1, &[(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "HSV")]);
    assert_eq!(transcoded(&native, EXPLICIT_VR_LE, RLE, 64), Err(Error::Kind));
    let native = image_with(1, &[(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "")]);
    assert_eq!(transcoded(&native, EXPLICIT_VR_LE, RLE, 64), Err(Error::NoShape));
}

#[test]
fn nothing_is_made_before_it_is_taken_out() {
    let native = deflated(&image(200, Layout::ExplicitLe));
    let mut transcoder = Transcoder::new(&head(DEFLATED_EXPLICIT_VR_LE), &Uid::from_static(RLE));
    transcoder.push(native.into()).unwrap();
    assert!(transcoder.out.is_empty() && transcoder.frame.is_empty());
    assert!(matches!(transcoder.pop(), Ok(Some(_))));
}

/// A frame by itself, from one transfer syntax to another.
fn frame(from: &'static str, to: &'static str, frame: Vec<u8>, shape: &Shape) -> Result<Bytes, Refusal> {
    Work::of_frame(&Uid::from_static(from), &Uid::from_static(to), frame, shape).run()
}

fn colours(photometric: Photometric, planar: bool) -> Shape {
    Shape {
        rows: 2,
        columns: 2,
        samples: 3,
        bits_allocated: 8,
        bits_stored: 8,
        high_bit: 7,
        signed: false,
        photometric,
        planar,
    }
}

#[test]
fn a_native_frame_by_itself_lies_as_its_metadata_says() {
    let by_pixel: Vec<u8> = (0..12).collect();
    let by_plane = [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11];
    for (planar, expected) in [(false, &by_pixel[..]), (true, &by_plane)] {
        let native = colours(Photometric::Rgb, false);
        let compressed = frame(EXPLICIT_VR_LE, RLE, by_pixel.clone(), &native).unwrap().to_vec();
        let stored = colours(Photometric::Rgb, planar);
        assert_eq!(frame(RLE, EXPLICIT_VR_LE, compressed, &stored).unwrap(), expected, "{planar}");
    }
    // Half of the chrominances is what the metadata says, and not what comes out.
    let jpeg = frame(EXPLICIT_VR_LE, JPEG_BASELINE, vec![90; 12], &colours(Photometric::Rgb, false)).unwrap();
    let stored = colours(Photometric::YbrFull422, false);
    let refused = frame(JPEG_BASELINE, EXPLICIT_VR_LE, jpeg.to_vec(), &stored);
    assert!(matches!(refused, Err(Refusal::Unsupported(_))), "{refused:?}");
    let stored = colours(Photometric::YbrFull, false);
    assert_eq!(frame(JPEG_BASELINE, EXPLICIT_VR_LE, jpeg.to_vec(), &stored).unwrap().len(), 12);
}

#[test]
fn a_data_set_without_pixels_passes() {
    let mut report = DataSet::new();
    report.set_str(tags::PATIENT_NAME, VR::PN, "Doe^John");
    report.set_u16(tags::WARNING_REASON, 1);
    report.set_items(tags::CONTENT_SEQUENCE, vec![description(1)]);
    let report = report.encode(Layout::ExplicitLe, QueryCharset::Auto);
    assert_eq!(transcoded(&report, EXPLICIT_VR_LE, RLE, 9).unwrap(), report);
    // It ends amid what would describe pixels.
    let stub = element(tags::SAMPLES_PER_PIXEL, b"US", &[1, 0]);
    assert_eq!(transcoded(&stub, RLE, EXPLICIT_VR_LE, 3).unwrap(), stub);
}

#[test]
fn what_cannot_be_had_says_why() {
    let with = |pixels: Vec<u8>| {
        let mut native = description(2).encode(Layout::ExplicitLe, QueryCharset::Auto);
        native.extend(pixels);
        transcoded(&native, EXPLICIT_VR_LE, RLE, 64)
    };
    assert_eq!(with(element(tags::FLOAT_PIXEL_DATA, b"OF", &[0; 8])), Err(Error::Kind));
    let short = with(element(tags::PIXEL_DATA, b"OB", &pixels(1)));
    assert!(matches!(short, Err(Error::Frames(frames::Error::TooShort(2)))), "{short:?}");
    let whole = image(1, Layout::ExplicitLe);
    let cut = transcoded(&whole[..whole.len() - 20], EXPLICIT_VR_LE, RLE, 64);
    assert!(matches!(cut, Err(Error::DataSet(_))), "{cut:?}");
    let undescribed = element(tags::PIXEL_DATA, b"OB", &pixels(1));
    assert_eq!(transcoded(&undescribed, EXPLICIT_VR_LE, RLE, 64), Err(Error::NoShape));
    let mut long = element(tags::SAMPLES_PER_PIXEL, b"US", &[1, 0]);
    long.extend(element(Tag(0x0028, 0x0005), b"OB", &[0; 65 << 10]));
    assert_eq!(transcoded(&long, EXPLICIT_VR_LE, RLE, 64), Err(Error::TooLong));
}

#[test]
fn hazard_compressed_objects_in_implicit_vr_are_refused_and_not_mixed() {
    let implicit = description(1).encode(Layout::ImplicitLe, QueryCharset::Auto);
    let mut compressed =
        [implicit, b"\xE0\x7F\x10\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0".to_vec()].concat();
    compressed.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
    let refused = transcoded(&compressed, RLE, EXPLICIT_VR_LE, 64);
    assert!(matches!(refused, Err(Error::Encoding | Error::DataSet(_))), "{refused:?}");
}

#[test]
fn frames_of_compressed_pixels_are_counted() {
    let compressed = transcoded(&image(3, Layout::ExplicitLe), EXPLICIT_VR_LE, RLE, 999).unwrap();
    let count = compressed.windows(10).position(|it| it == b"\x28\0\x08\0IS\x02\x003 ").unwrap() + 8;
    for (number, expected) in [(b'2', Error::Surplus), (b'4', Error::Frames(frames::Error::TooShort(4)))] {
        let mut lying = compressed.clone();
        lying[count] = number;
        assert_eq!(transcoded(&lying, RLE, EXPLICIT_VR_LE, 77), Err(expected));
    }
}

proptest! {
    #[test]
    fn never_panics(at in any::<prop::sample::Index>(), with in any::<[u8; 3]>(), cut in any::<bool>(), size in 1_usize..200) {
        for (from, to) in [(EXPLICIT_VR_LE, RLE), (RLE, EXPLICIT_VR_LE)] {
            let native = image(2, Layout::ExplicitLe);
            let mut data = if from == RLE { transcoded(&native, to, from, 99).unwrap() } else { native };
            let at = at.index(data.len() - 3);
            data[at..at + 3].copy_from_slice(&with);
            if cut {
                data.truncate(at + 3);
            }
            let _ = transcoded(&data, from, to, size);
        }
    }
}

const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";

/// The elements before the pixel data.
fn before_pixels(object: &[u8]) -> DataSet {
    let pixels = object.windows(6).position(|it| it == b"\xE0\x7F\x10\0OB").unwrap();
    DataSet::parse(&object[..pixels], Layout::ExplicitLe, None).unwrap().data_set
}

/// An image of `frames` frames with these elements besides.
fn image_with(frames: u32, more: &[(Tag, VR, &str)]) -> Vec<u8> {
    let mut image = description(frames);
    more.iter().for_each(|(tag, vr, value)| image.set_str(*tag, *vr, *value));
    let mut out = image.encode(Layout::ExplicitLe, QueryCharset::Auto);
    let bytes = pixels(frames);
    out.extend(element(tags::PIXEL_DATA, b"OB", &bytes));
    out
}

#[test]
fn an_image_that_loses_something_is_another_one() {
    let mut native = element(Tag(0x0008, 0), b"UL", &[0; 4]);
    native.extend(image_with(2, &[(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3")]));
    let image_type = element(tags::IMAGE_TYPE, b"CS", b"ORIGINAL\\PRIMARY\\AXIAL");
    native.splice(12..12, image_type);
    let sent = transcoded(&native, EXPLICIT_VR_LE, JPEG_BASELINE, 100_000).unwrap();
    for size in [1, 10, 37, 200] {
        assert!(transcoded(&native, EXPLICIT_VR_LE, JPEG_BASELINE, size).unwrap() == sent, "{size}");
    }
    let told = before_pixels(&sent);
    let head = sent_head(&head(EXPLICIT_VR_LE), &Uid::from_static(JPEG_BASELINE));
    assert_eq!(told.string(tags::SOP_INSTANCE_UID), Some(head.sop_instance.as_str()));
    assert!(
        head.sop_instance.as_str().starts_with("2.25.") && head.transfer_syntax.as_str() == JPEG_BASELINE
    );
    assert_eq!(told.strings(tags::IMAGE_TYPE), ["DERIVED", "PRIMARY", "AXIAL"]);
    assert_eq!(told.string(tags::LOSSY_IMAGE_COMPRESSION), Some("01"));
    assert_eq!(told.string(tags::LOSSY_IMAGE_COMPRESSION_METHOD), Some("ISO_10918_1"));
    let ratio: f64 = told.string(tags::LOSSY_IMAGE_COMPRESSION_RATIO).unwrap().parse().unwrap();
    assert!(ratio > 0.0);
    let source = &told.items(tags::SOURCE_IMAGE_SEQUENCE)[0];
    assert_eq!(source.string(tags::REFERENCED_SOP_INSTANCE_UID), Some("1.2.3"));
    assert_eq!(told.items(tags::DERIVATION_CODE_SEQUENCE)[0].string(tags::CODE_VALUE), Some("113040"));
    assert_eq!(told.string(tags::PATIENT_NAME), Some("Doe^John"));
    assert_eq!(told.string(tags::BURNED_IN_ANNOTATION), Some("NO"));
    assert!(!told.contains(Tag(0x0008, 0)), "a length that is not true any more");
    assert!(told.iter().is_sorted_by_key(|(tag, _)| tag));
    let purpose = &source.items(tags::PURPOSE_OF_REFERENCE_CODE_SEQUENCE)[0];
    assert_eq!(purpose.string(tags::CODE_VALUE), Some("121320"));
}

#[test]
fn frames_that_lose_something_are_not_original_either() {
    let set = |elements: &[(Tag, VR, &str)]| {
        let mut set = DataSet::new();
        elements.iter().for_each(|(tag, vr, value)| set.set_str(*tag, *vr, *value));
        set
    };
    let within = |tag, item| {
        let mut group = DataSet::new();
        group.set_items(tag, vec![item]);
        group
    };
    let frame_type = |value| set(&[(tags::FRAME_TYPE, VR::CS, value)]);
    let mr = tags::MR_IMAGE_FRAME_TYPE_SEQUENCE;
    let mut image = description(2);
    let values = ["ORIGINAL\\PRIMARY\\M", "DERIVED\\PRIMARY\\T", "ORIGINAL", "ORIGINAL\\PRIMARY\\PHASE"];
    image.set_items(
        tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE,
        values.iter().map(|value| within(mr, frame_type(value))).collect(),
    );
    image.set_items(
        tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE,
        vec![within(tags::CT_IMAGE_FRAME_TYPE_SEQUENCE, frame_type("ORIGINAL\\PRIMARY"))],
    );
    // What was, was so.
    image.set_items(
        tags::ORIGINAL_ATTRIBUTES_SEQUENCE,
        vec![within(tags::MODIFIED_ATTRIBUTES_SEQUENCE, frame_type("ORIGINAL\\PRIMARY\\M"))],
    );
    let mut native = image.encode(Layout::ExplicitLe, QueryCharset::Auto);
    native.extend(element(tags::PIXEL_DATA, b"OB", &pixels(2)));
    for size in [1, 40, 10_000] {
        let told = before_pixels(&transcoded(&native, EXPLICIT_VR_LE, JPEG_BASELINE, size).unwrap());
        let frames: Vec<_> = told
            .items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE)
            .iter()
            .map(|group| group.items(mr)[0].strings(tags::FRAME_TYPE).join("\\"))
            .collect();
        assert_eq!(frames, values.map(|value| value.replace("ORIGINAL", "DERIVED")));
        let shared = &told.items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE)[0];
        let shared = &shared.items(tags::CT_IMAGE_FRAME_TYPE_SEQUENCE)[0];
        assert_eq!(shared.strings(tags::FRAME_TYPE), ["DERIVED", "PRIMARY"]);
        let before = &told.items(tags::ORIGINAL_ATTRIBUTES_SEQUENCE)[0];
        let before = &before.items(tags::MODIFIED_ATTRIBUTES_SEQUENCE)[0];
        assert_eq!(before.strings(tags::FRAME_TYPE), ["ORIGINAL", "PRIMARY", "M"]);
    }
    let same = before_pixels(&transcoded(&native, EXPLICIT_VR_LE, RLE, 10_000).unwrap());
    let groups = same.items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE);
    assert_eq!(groups[2].items(mr)[0].string(tags::FRAME_TYPE), Some("ORIGINAL"));
}

#[test]
fn where_an_image_came_from_before_stays_beside_where_it_comes_from_now() {
    let mut earlier = DataSet::new();
    earlier.set_str(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, "1.2.9");
    let mut image = description(1);
    image.set_str(tags::DERIVATION_DESCRIPTION, VR::ST, "Reformatted");
    image.set_items(tags::SOURCE_IMAGE_SEQUENCE, vec![earlier]);
    image.set_items(tags::DERIVATION_CODE_SEQUENCE, Vec::new());
    image.set_u16(tags::SMALLEST_IMAGE_PIXEL_VALUE, 3);
    let mut native = image.encode(Layout::ExplicitLe, QueryCharset::Auto);
    native.extend(element(tags::PIXEL_DATA, b"OB", &pixels(1)));
    for size in [1, 40, 10_000] {
        let told = before_pixels(&transcoded(&native, EXPLICIT_VR_LE, JPEG_BASELINE, size).unwrap());
        assert_eq!(told.string(tags::DERIVATION_DESCRIPTION), Some("Compressed with loss. Reformatted"));
        let sources = told.items(tags::SOURCE_IMAGE_SEQUENCE);
        let sources: Vec<_> = sources.iter().map(|it| it.string(tags::REFERENCED_SOP_INSTANCE_UID)).collect();
        assert_eq!(sources, [Some("1.2.3"), Some("1.2.9")]);
        assert_eq!(told.items(tags::DERIVATION_CODE_SEQUENCE).len(), 1);
        assert!(!told.contains(tags::SMALLEST_IMAGE_PIXEL_VALUE), "the range is another one");
    }
}

#[test]
fn hazard_what_a_cosine_transform_has_lost_is_not_forgotten_with_its_transfer_syntax() {
    let lossy = |more: &[(Tag, VR, &str)]| {
        let mut all = vec![(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "YBR_FULL")];
        all.extend(more);
        let native = image_with(1, &all);
        let mut jpeg = transcoded(&native, EXPLICIT_VR_LE, JPEG_BASELINE, 99).unwrap();
        // As if nobody had said so.
        for tag in [tags::LOSSY_IMAGE_COMPRESSION, tags::LOSSY_IMAGE_COMPRESSION_METHOD] {
            let tag = [tag.group().to_le_bytes(), tag.element().to_le_bytes()].concat();
            let at = jpeg.windows(4).position(|it| it == tag).unwrap();
            let length = usize::from(jpeg[at + 6]) + 8;
            jpeg.drain(at..at + length);
        }
        DataSet::parse(
            &transcoded(&jpeg, JPEG_BASELINE, EXPLICIT_VR_LE, 77).unwrap(),
            Layout::ExplicitLe,
            None,
        )
        .unwrap()
        .data_set
    };
    let told = lossy(&[]);
    assert_eq!(told.string(tags::LOSSY_IMAGE_COMPRESSION), Some("01"));
    assert_eq!(told.string(tags::LOSSY_IMAGE_COMPRESSION_METHOD), Some("ISO_10918_1"));
}

#[test]
fn a_ratio_without_a_method_keeps_its_place() {
    let native = image_with(1, &[(tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, "5.125")]);
    let told = before_pixels(&transcoded(&native, EXPLICIT_VR_LE, JPEG_BASELINE, 99).unwrap());
    assert_eq!(told.strings(tags::LOSSY_IMAGE_COMPRESSION_METHOD), ["", "ISO_10918_1"]);
    assert_eq!(told.strings(tags::LOSSY_IMAGE_COMPRESSION_RATIO)[0], "5.125");
}

#[test]
fn what_has_no_pixels_to_lose_is_not_another_object() {
    let native = description(1).encode(Layout::ExplicitLe, QueryCharset::Auto);
    assert_eq!(transcoded(&native, EXPLICIT_VR_LE, JPEG_BASELINE, 99), Err(Error::Kind));
}

#[test]
fn what_was_lost_before_is_told_before_what_is_lost_now() {
    let native = image_with(
        1,
        &[
            (tags::LOSSY_IMAGE_COMPRESSION, VR::CS, "00"),
            (tags::LOSSY_IMAGE_COMPRESSION_RATIO, VR::DS, "5.125"),
            (tags::LOSSY_IMAGE_COMPRESSION_METHOD, VR::CS, "ISO_14495_1"),
            (tags::VOILUT_FUNCTION, VR::CS, "LINEAR"),
            (Tag(0x0040, 0x0244), VR::DA, "20200101"),
        ],
    );
    let told = before_pixels(&transcoded(&native, EXPLICIT_VR_LE, JPEG_BASELINE, 99).unwrap());
    assert_eq!(told.string(tags::LOSSY_IMAGE_COMPRESSION), Some("01"));
    assert_eq!(told.strings(tags::LOSSY_IMAGE_COMPRESSION_METHOD), ["ISO_14495_1", "ISO_10918_1"]);
    let ratios = told.strings(tags::LOSSY_IMAGE_COMPRESSION_RATIO);
    assert!(ratios.len() == 2 && ratios[0] == "5.125", "{ratios:?}");
    assert_eq!(told.string(Tag(0x0040, 0x0244)), Some("20200101"));
    assert_eq!(told.string(tags::VOILUT_FUNCTION), Some("LINEAR"));
}

#[test]
fn indices_of_a_palette_are_not_compressed_with_loss() {
    let native = image_with(1, &[(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "PALETTE COLOR")]);
    let refused = transcoded(&native, EXPLICIT_VR_LE, JPEG_BASELINE, 99);
    assert!(matches!(refused, Err(Error::Refused(Refusal::Unsupported(_)))), "{refused:?}");
}

#[test]
fn what_describes_the_pixels_twice_or_out_of_its_place_is_refused_as_one_of_two_would_stay_as_it_was() {
    let image = image(1, Layout::ExplicitLe);
    let at = |tag: &[u8]| image.windows(4).position(|bytes| bytes == tag).unwrap();
    let samples = &image[at(b"\x28\0\x02\0")..][..10];
    for place in [at(b"\x28\0\x08\0"), at(b"\x28\0\x04\0"), at(b"\xE0\x7F\x10\0"), image.len()] {
        let disordered = [&image[..place], samples, &image[place..]].concat();
        let refused = transcoded(&disordered, EXPLICIT_VR_LE, RLE, 7);
        assert!(matches!(refused, Err(Error::Encoding)), "{refused:?}");
    }
}
