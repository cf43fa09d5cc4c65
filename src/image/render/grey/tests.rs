use proptest::prelude::*;

use super::*;
use crate::dicom::Tag;
use crate::dicom::dataset::{Element, Value};
use crate::image::render::lut::tests::{item, of_words};
use crate::image::render::palette::tests::palette as palette_of;
use crate::image::render::{Options, render as whole};

fn shape(bits_allocated: u16, bits_stored: u16, signed: bool) -> Shape {
    Shape {
        rows: 1,
        columns: 4,
        samples: 1,
        bits_allocated,
        bits_stored,
        high_bit: bits_stored - 1,
        signed,
        photometric: Photometric::Monochrome2,
        planar: false,
    }
}

fn words(values: [i32; 4]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()[..2].to_vec()).collect()
}

fn shown(data_set: &DataSet, shape: Shape, bytes: &[u8]) -> Vec<u8> {
    let frame = Frame { shape, bytes: bytes.to_vec() };
    render(&Head::of(data_set.clone()), &frame, 1, None).unwrap().pixels
}

fn with(elements: &[(Tag, VR, &str)]) -> DataSet {
    let mut data_set = DataSet::new();
    for (tag, vr, value) in elements {
        data_set.set_strings(*tag, *vr, value.split('\\').map(str::to_owned).collect());
    }
    data_set
}

fn put(data_set: &mut DataSet, tag: Tag, vr: VR, word: u16) {
    data_set.insert(tag, of_words(vr, &[word]));
}

#[test]
fn without_a_window_the_least_value_is_black_and_the_greatest_white() {
    let none = DataSet::new();
    assert_eq!(shown(&none, shape(16, 16, true), &words([-100, 0, 50, 100])), [0, 128, 191, 255]);
    assert_eq!(shown(&none, shape(16, 12, false), &words([0xF000, 1, 2, 2])), [0, 128, 255, 255]);
    assert_eq!(shown(&none, shape(8, 8, false), &[10, 20, 30, 10]), [0, 128, 255, 0]);
    assert_eq!(shown(&none, shape(8, 8, true), &[0x80, 0, 0x7F, 0x80]), [0, 128, 255, 0]);
    assert_eq!(shown(&none, shape(1, 1, false), &[0b0000_0101]), [255, 0, 255, 0]);
    assert_eq!(shown(&none, shape(1, 1, false), &[0b0000_1111]), [255; 4], "a mask that covers all");
}

#[test]
fn bits_around_the_sample_are_none_of_it() {
    let shape = Shape { high_bit: 13, ..shape(16, 12, true) };
    // 12 bits from bit 2 on: -2048, -1, 0, 2047, with something in the other bits.
    let cells = [0x800 << 2 | 3, 0xFFF << 2, 0xC001, 0x7FF << 2 | 0x8000];
    let window = with(&[(tags::WINDOW_CENTER, VR::DS, "0"), (tags::WINDOW_WIDTH, VR::DS, "4096")]);
    assert_eq!(shown(&window, shape, &words(cells)), [0, 127, 128, 255]);
}

#[test]
fn windows_are_of_rescaled_values() {
    let ct = with(&[
        (tags::RESCALE_SLOPE, VR::DS, "2"),
        (tags::RESCALE_INTERCEPT, VR::DS, "-1024"),
        (tags::WINDOW_CENTER, VR::DS, "0\\99"),
        (tags::WINDOW_WIDTH, VR::DS, "101\\9"),
    ]);
    // -50.5 and 49.5 are the ends.
    assert_eq!(shown(&ct, shape(16, 16, false), &words([0, 486, 512, 537])), [0, 0, 129, 255]);
    let frame = Frame { shape: shape(16, 16, false), bytes: words([0, 486, 512, 537]) };
    let options = Options { window: "-1024,1,linear".parse().ok(), ..Options::default() };
    let asked = whole(&Head::of(ct), &frame, 1, &options).unwrap();
    assert_eq!(asked.pixels, [255; 4], "the window of the request is the one");
}

#[test]
fn monochrome1_and_an_inverse_shape_are_one_inversion() {
    let none = DataSet::new();
    let inverse = with(&[(tags::PRESENTATION_LUT_SHAPE, VR::CS, "INVERSE")]);
    let negative = Shape { photometric: Photometric::Monochrome1, ..shape(8, 8, false) };
    let pixels = [0, 255, 0, 51];
    let inverted = [255, 0, 255, 204];
    assert_eq!(shown(&none, negative, &pixels), inverted);
    assert_eq!(shown(&inverse, negative, &pixels), inverted);
    assert_eq!(shown(&inverse, shape(8, 8, false), &pixels), inverted);
}

#[test]
fn hazard_tables_of_modality_and_interest_follow_each_other() {
    let mut data_set = with(&[(tags::RESCALE_SLOPE, VR::DS, "100")]);
    // Stored -1, 0, 1 become 10, 20, 30, whatever Rescale Slope says.
    let modality = item(VR::SS, [3, 0xFFFF, 16], &[10, 20, 30]);
    data_set.set_items(tags::MODALITY_LUT_SEQUENCE, vec![modality]);
    let voi = item(VR::US, [21, 10, 8], &(0..21).map(|n| n * 10).collect::<Vec<u16>>());
    data_set.set_items(tags::VOILUT_SEQUENCE, vec![voi]);
    assert_eq!(shown(&data_set, shape(16, 16, true), &words([-1, 0, 1, 9])), [0, 100, 200, 200]);
}

#[test]
fn the_modality_lut_of_an_angiography_is_no_part_of_its_display() {
    let mut data_set = with(&[
        (tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.12.1"),
        (tags::WINDOW_CENTER, VR::DS, "128"),
        (tags::WINDOW_WIDTH, VR::DS, "256"),
        (tags::RESCALE_SLOPE, VR::DS, "3"),
        (tags::RESCALE_INTERCEPT, VR::DS, "7"),
    ]);
    let pixels = [0, 51, 102, 255];
    assert_eq!(shown(&data_set, shape(8, 8, false), &pixels), pixels);
    data_set.set_items(tags::MODALITY_LUT_SEQUENCE, vec![item(VR::US, [2, 0, 16], &[255, 0])]);
    assert_eq!(shown(&data_set, shape(8, 8, false), &pixels), pixels);
    data_set.set_str(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.1");
    assert_eq!(shown(&data_set, shape(8, 8, false), &pixels), [255, 0, 0, 0], "of CR it is");
}

#[test]
fn what_comes_out_of_a_modality_lut_has_no_sign_whatever_the_pixels_have() {
    let mut data_set = DataSet::new();
    let modality = item(VR::SS, [2, 0xFFFF, 16], &[40_000, 40_002]);
    data_set.set_items(tags::MODALITY_LUT_SEQUENCE, vec![modality]);
    for vr in [VR::US, VR::SS] {
        data_set.set_items(tags::VOILUT_SEQUENCE, vec![item(vr, [3, 40_000, 8], &[10, 20, 30])]);
        assert_eq!(shown(&data_set, shape(16, 16, true), &words([-1, 0, -1, 0])), [10, 30, 10, 30], "{vr:?}");
    }
}

#[test]
fn the_first_input_of_a_table_is_negative_only_where_such_inputs_can_be() {
    let mut data_set = with(&[(tags::RESCALE_INTERCEPT, VR::DS, "-1024")]);
    data_set.set_items(tags::VOILUT_SEQUENCE, vec![item(VR::US, [3, 40_000, 8], &[10, 20, 30])]);
    let pixels = words([0, 41_024, 41_025, 41_026]);
    assert_eq!(shown(&data_set, shape(16, 16, false), &pixels), [10, 10, 20, 30]);
    // -1024, of pixels of 12 bits.
    data_set.set_items(tags::VOILUT_SEQUENCE, vec![item(VR::US, [3, 0xFC00, 8], &[10, 20, 30])]);
    assert_eq!(shown(&data_set, shape(16, 12, false), &words([0, 1, 2, 3])), [10, 20, 30, 30]);
}

#[test]
fn padding_is_black_and_not_of_the_range() {
    let mut data_set = DataSet::new();
    // -2000, as a US of signed pixels.
    put(&mut data_set, tags::PIXEL_PADDING_VALUE, VR::US, 63_536);
    let pixels = words([-2000, 0, 50, 100]);
    assert_eq!(shown(&data_set, shape(16, 16, true), &pixels), [0, 0, 128, 255]);
    put(&mut data_set, tags::PIXEL_PADDING_RANGE_LIMIT, VR::SS, 0);
    assert_eq!(shown(&data_set, shape(16, 16, true), &pixels), [0, 0, 0, 255]);
    let negative = Shape { photometric: Photometric::Monochrome1, ..shape(16, 16, true) };
    assert_eq!(shown(&data_set, negative, &pixels), [0, 0, 255, 0], "the background stays black");
    assert_eq!(shown(&data_set, shape(16, 16, true), &words([-2000; 4])), [0; 4], "nothing but padding");
}

#[test]
fn hazard_wide_and_floating_samples_are_shown() {
    let none = DataSet::new();
    let bytes: Vec<u8> = [-70_000_i32, 0, 70_000, 35_000].iter().flat_map(|n| n.to_le_bytes()).collect();
    assert_eq!(shown(&none, shape(32, 32, true), &bytes), [0, 128, 255, 191]);
    // 20 of 32 bits, from bit 12 on.
    let shifted = Shape { high_bit: 31, ..shape(32, 20, false) };
    let bytes: Vec<u8> = [0_u32, 1, 2, 4].iter().flat_map(|n| (n << 12 | 0xFFF).to_le_bytes()).collect();
    assert_eq!(shown(&none, shifted, &bytes), [0, 64, 128, 255]);
    let mut float = DataSet::new();
    float.insert(tags::FLOAT_PIXEL_DATA, Element { vr: VR::OF, value: Value::Bytes(Default::default()) });
    let bytes: Vec<u8> = [f32::NAN, -1.5, 0.5, 2.5].iter().flat_map(|n| n.to_le_bytes()).collect();
    assert_eq!(shown(&float, shape(32, 32, false), &bytes), [0, 0, 128, 255]);
    let mut double = DataSet::new();
    let empty = Value::Bytes(Default::default());
    double.insert(tags::DOUBLE_FLOAT_PIXEL_DATA, Element { vr: VR::OD, value: empty });
    let bytes: Vec<u8> =
        [0.0_f64, 1e300, 5e299, f64::INFINITY].iter().flat_map(|n| n.to_le_bytes()).collect();
    assert_eq!(shown(&double, shape(64, 64, false), &bytes), [0, 255, 128, 255]);
}

#[test]
fn a_frame_has_the_window_of_its_functional_group() {
    let mut shared = DataSet::new();
    let rescale = with(&[(tags::RESCALE_SLOPE, VR::DS, "2"), (tags::RESCALE_INTERCEPT, VR::DS, "0")]);
    shared.set_items(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, vec![rescale]);
    let frame = |center: &str| {
        let mut group = DataSet::new();
        let window = with(&[(tags::WINDOW_CENTER, VR::DS, center), (tags::WINDOW_WIDTH, VR::DS, "1")]);
        group.set_items(tags::FRAME_VOILUT_SEQUENCE, vec![window]);
        group
    };
    let mut data_set = DataSet::new();
    data_set.set_items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]);
    data_set.set_items(tags::PER_FRAME_FUNCTIONAL_GROUPS_SEQUENCE, vec![frame("3"), frame("5")]);
    let head = Head::of(data_set);
    let pixels = Frame { shape: shape(8, 8, false), bytes: vec![0, 1, 2, 3] };
    let shown = |number| render(&head, &pixels, number, None).unwrap().pixels;
    assert_eq!((shown(1), shown(2)), (vec![0, 0, 255, 255], vec![0, 0, 0, 255]));
}

#[test]
fn hazard_palette_indices_become_colours_and_not_grey() {
    let data_set = palette_of([3, 1, 8], [&[0, 1, 2], &[10, 11, 12], &[20, 21, 22]]);
    let indexed = Shape { photometric: Photometric::PaletteColor, ..shape(8, 8, false) };
    let frame = Frame { shape: indexed, bytes: vec![0, 1, 2, 9] };
    let head = Head::of(data_set);
    let colours = [0, 10, 20, 0, 10, 20, 1, 11, 21, 2, 12, 22];
    assert_eq!(palette(&head, &frame).unwrap().pixels, colours);
    let bare = Head::of(DataSet::new());
    assert!(matches!(palette(&bare, &frame), Err(Error::Attribute(_))));
}

#[test]
fn a_supplemental_palette_colours_what_lies_above_grey() {
    let mut data_set = palette_of([2, 200, 8], [&[9, 8], &[0, 0], &[1, 2]]);
    let pixels = [0, 100, 200, 201];
    assert_eq!(shown(&data_set, shape(8, 8, false), &pixels).len(), 4, "nothing says that it is used");
    data_set.set_str(tags::PIXEL_PRESENTATION, VR::CS, "COLOR");
    data_set.set_str(tags::WINDOW_CENTER, VR::DS, "128");
    data_set.set_str(tags::WINDOW_WIDTH, VR::DS, "256");
    assert_eq!(shown(&data_set, shape(8, 8, false), &pixels), [0, 0, 0, 100, 100, 100, 9, 0, 1, 8, 0, 2]);
}

fn any_shape() -> impl Strategy<Value = Shape> {
    let photometric = prop::sample::select(vec![
        Photometric::Monochrome1,
        Photometric::Monochrome2,
        Photometric::PaletteColor,
        Photometric::Rgb,
        Photometric::YbrFull,
        Photometric::YbrFull422,
        Photometric::YbrPartial422,
        Photometric::YbrIct,
    ]);
    let bits = (1_u16..=70, 1_u16..=70, 0_u16..=70);
    ((0_u16..6, 0_u16..6), bits, 0_u16..5, any::<bool>(), photometric, any::<bool>()).prop_map(
        |((rows, columns), (bits_allocated, bits_stored, high_bit), samples, signed, photometric, planar)| {
            Shape {
                rows,
                columns,
                samples,
                bits_allocated,
                bits_stored,
                high_bit,
                signed,
                photometric,
                planar,
            }
        },
    )
}

proptest! {
    #[test]
    fn no_shape_and_no_attribute_panics(
        shape in any_shape(), natural: bool, number in 0_u32..3, extra in 0_usize..5,
        descriptor: [u16; 3], table in prop::collection::vec(any::<u16>(), 0..9),
        numbers in prop::collection::vec("[-]?[0-9]{1,3}(\\.[0-9])?|1e308|-1e308|x", 6), pixels in 0_u8..3,
    ) {
        let shape = if natural {
            // One that can be shown.
            let bits_allocated = [1, 8, 16, 32][usize::from(shape.bits_allocated) % 4];
            let bits_stored = shape.bits_stored.min(bits_allocated);
            let high_bit = shape.high_bit.clamp(bits_stored - 1, bits_allocated - 1);
            Shape { bits_allocated, bits_stored, high_bit, samples: shape.photometric.samples(), ..shape }
        } else {
            shape
        };
        let mut data_set = palette_of(descriptor, [&table, &table, &table]);
        data_set.set_items(tags::MODALITY_LUT_SEQUENCE, vec![item(VR::SS, descriptor, &table)]);
        for (tag, value) in [
            (tags::WINDOW_CENTER, &numbers[0]), (tags::WINDOW_WIDTH, &numbers[1]),
            (tags::RESCALE_SLOPE, &numbers[2]), (tags::RESCALE_INTERCEPT, &numbers[3]),
        ] {
            data_set.set_str(tag, VR::DS, value.as_str());
        }
        data_set.set_strings(tags::PIXEL_SPACING, VR::DS, numbers[4..].to_vec());
        data_set.set_str(tags::PIXEL_PRESENTATION, VR::CS, "COLOR");
        if pixels == 1 {
            data_set.remove(tags::MODALITY_LUT_SEQUENCE);
            data_set.set_empty(tags::FLOAT_PIXEL_DATA, VR::OF);
        }
        let length = usize::try_from(shape.frame_length()).unwrap() + extra;
        let frame = Frame { shape, bytes: vec![0xA5; length] };
        if let Ok(picture) = whole(&Head::of(data_set), &frame, number, &Options::default()) {
            let pixels = (picture.width * picture.height) as usize;
            prop_assert_eq!(picture.pixels.len(), pixels * picture.colours.bytes());
        }
    }
}
