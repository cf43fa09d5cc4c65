use super::*;
use crate::dicom::VR;
use crate::dicom::dataset::{Element, Value};
use crate::image::pixels::{Frame, Photometric, Shape};
use crate::image::render::viewport::pixels_of;
use crate::image::render::{Options, render, render_as};

const IMAGE: &str = "1.4";

/// An image of 3 × 2 pixels from 0 to 50.
fn frame() -> Frame {
    let shape = Shape {
        rows: 2,
        columns: 3,
        samples: 1,
        bits_allocated: 8,
        bits_stored: 8,
        high_bit: 7,
        signed: false,
        photometric: Photometric::Monochrome2,
        planar: false,
    };
    Frame { shape, bytes: vec![0, 10, 20, 30, 40, 50] }
}

fn reference(frames: &[&str]) -> DataSet {
    let mut image = DataSet::new();
    image.set_str(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, IMAGE);
    image.set_strings(
        tags::REFERENCED_FRAME_NUMBER,
        VR::IS,
        frames.iter().map(|&frame| frame.to_owned()).collect(),
    );
    image
}

fn window(center: &str, width: &str, frames: Option<&[&str]>) -> DataSet {
    let mut item = DataSet::new();
    item.set_str(tags::WINDOW_CENTER, VR::DS, center);
    item.set_str(tags::WINDOW_WIDTH, VR::DS, width);
    if let Some(frames) = frames {
        item.set_items(tags::REFERENCED_IMAGE_SEQUENCE, vec![reference(frames)]);
    }
    item
}

/// A state about the image.
fn state() -> DataSet {
    let mut series = DataSet::new();
    series.set_items(tags::REFERENCED_IMAGE_SEQUENCE, vec![reference(&[])]);
    let mut state = DataSet::new();
    state.set_items(tags::REFERENCED_SERIES_SEQUENCE, vec![series]);
    state
}

fn shown(state: &DataSet, image: DataSet, number: u32) -> Picture {
    let presentation = Presentation::read(state, &Uid::from_static(IMAGE), number).unwrap();
    render_as(&Head::of(image), &frame(), number, &Options::default(), &presentation).unwrap()
}

#[test]
fn a_state_is_about_the_images_and_frames_that_it_names() {
    let about = |state: &DataSet, instance, frame| {
        Presentation::read(state, &Uid::from_static(instance), frame).is_some()
    };
    assert!(about(&state(), IMAGE, 7) && !about(&state(), "1.5", 7));
    assert!(!about(&DataSet::new(), IMAGE, 1));
    let mut some = state();
    let mut series = DataSet::new();
    series.set_items(tags::REFERENCED_IMAGE_SEQUENCE, vec![reference(&["2", "3"])]);
    some.set_items(tags::REFERENCED_SERIES_SEQUENCE, vec![series]);
    assert!(!about(&some, IMAGE, 1) && about(&some, IMAGE, 3));
}

#[test]
fn the_window_of_the_state_is_the_one_for_its_frames() {
    let mut image = window("0", "1", None);
    image.set_str(tags::RESCALE_SLOPE, VR::DS, "2");
    assert_eq!(render(&Head::of(image.clone()), &frame(), 1, &Options::default()).unwrap().pixels[1], 255);
    let mut state = state();
    let windows = vec![window("60", "1", Some(&["1"])), window("100", "1", None)];
    state.set_items(tags::SOFTCOPY_VOILUT_SEQUENCE, windows);
    state.set_str(tags::RESCALE_SLOPE, VR::DS, "2");
    assert_eq!(shown(&state, image.clone(), 1).pixels, [0, 0, 0, 255, 255, 255]);
    assert_eq!(shown(&state, image.clone(), 2).pixels, [0, 0, 0, 0, 0, 255]);
    state.set_str(tags::RESCALE_SLOPE, VR::DS, "4");
    state.set_str(tags::PRESENTATION_LUT_SHAPE, VR::CS, "INVERSE");
    assert_eq!(shown(&state, image.clone(), 1).pixels, [255, 255, 0, 0, 0, 0]);
}

#[test]
fn what_a_state_does_not_say_of_grey_is_an_identity_transformation() {
    let mut image = window("0", "1", None);
    image.set_str(tags::RESCALE_SLOPE, VR::DS, "2");
    let mut windowed = state();
    windowed.set_items(tags::SOFTCOPY_VOILUT_SEQUENCE, vec![window("30", "1", None)]);
    assert_eq!(shown(&windowed, image.clone(), 1).pixels, [0, 0, 0, 255, 255, 255], "of the stored values");
    // Of all values that there can be, and not of those that the frame has.
    let mut state = state();
    assert_eq!(shown(&state, image.clone(), 1).pixels, [0, 10, 20, 30, 40, 50]);
    state.set_str(tags::RESCALE_SLOPE, VR::DS, "-1");
    assert_eq!(shown(&state, image, 1).pixels, [255, 245, 235, 225, 215, 205]);
}

#[test]
fn the_shape_of_the_state_alone_says_whether_monochrome1_is_turned_round() {
    let shown = |value: Option<&str>| {
        let mut state = state();
        if let Some(value) = value {
            state.set_str(tags::PRESENTATION_LUT_SHAPE, VR::CS, value);
        }
        let presentation = Presentation::read(&state, &Uid::from_static(IMAGE), 1).unwrap();
        let mut frame = frame();
        frame.shape.photometric = Photometric::Monochrome1;
        let mut image = DataSet::new();
        image.set_str(tags::PRESENTATION_LUT_SHAPE, VR::CS, "INVERSE");
        render_as(&Head::of(image), &frame, 1, &Options::default(), &presentation).unwrap().pixels[1]
    };
    assert_eq!((shown(Some("IDENTITY")), shown(Some("INVERSE")), shown(None)), (10, 245, 245));
}

#[test]
fn the_modality_lut_of_a_state_is_applied_to_angiography_too() {
    let mut image = DataSet::new();
    image.set_str(tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.12.1");
    let mut state = state();
    state.set_str(tags::RESCALE_SLOPE, VR::DS, "-1");
    assert_eq!(shown(&state, image, 1).pixels[..2], [255, 245]);
}

#[test]
fn the_shape_of_pixels_is_the_one_of_the_displayed_area() {
    let size = |tag, values: [&str; 2], degrees| {
        let mut item = DataSet::new();
        item.set_strings(tag, VR::DS, values.map(str::to_owned).to_vec());
        let mut state = state();
        state.set_items(tags::DISPLAYED_AREA_SELECTION_SEQUENCE, vec![item]);
        state.set_u16(tags::IMAGE_ROTATION, degrees);
        let mut image = DataSet::new();
        image.set_strings(tags::PIXEL_SPACING, VR::DS, vec!["1".into(), "3".into()]);
        let presentation = Presentation::read(&state, &Uid::from_static(IMAGE), 1).unwrap();
        let head = Head::of(image);
        let picture = render_as(&head, &frame(), 1, &Options::default(), &presentation).unwrap();
        let told = pixels_of(&head, 1, &frame().shape, None, Some(&presentation));
        assert_eq!(told, u64::from(picture.width * picture.height));
        (picture.width, picture.height)
    };
    assert_eq!(size(tags::PRESENTATION_PIXEL_SPACING, ["0.4", "0.2"], 0), (3, 4));
    assert_eq!(size(tags::PRESENTATION_PIXEL_ASPECT_RATIO, ["2", "1"], 90), (4, 3));
    assert_eq!(size(tags::PRESENTATION_PIXEL_ASPECT_RATIO, ["0", "1"], 0), (9, 2), "as the image says");
}

#[test]
fn functional_groups_give_way_to_the_state() {
    let mut shared = DataSet::new();
    shared.set_items(tags::FRAME_VOILUT_SEQUENCE, vec![window("0", "1", None)]);
    let mut slope = DataSet::new();
    slope.set_str(tags::RESCALE_SLOPE, VR::DS, "2");
    shared.set_items(tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, vec![slope]);
    let mut image = DataSet::new();
    image.set_items(tags::SHARED_FUNCTIONAL_GROUPS_SEQUENCE, vec![shared]);
    let mut state = state();
    state.set_items(tags::SOFTCOPY_VOILUT_SEQUENCE, vec![window("60", "1", None)]);
    assert_eq!(shown(&state, image.clone(), 1).pixels, [0; 6], "of the stored values");
    state.set_str(tags::RESCALE_SLOPE, VR::DS, "2");
    assert_eq!(shown(&state, image, 1).pixels, [0, 0, 0, 255, 255, 255], "of the doubled ones");
}

#[test]
fn images_are_turned_and_flipped_and_their_pixels_stay_square() {
    let turned = |degrees: u16, flip: &str, image: DataSet| {
        let mut state = state();
        state.set_u16(tags::IMAGE_ROTATION, degrees);
        state.set_str(tags::IMAGE_HORIZONTAL_FLIP, VR::CS, flip);
        let picture = shown(&state, image, 1);
        ((picture.width, picture.height), picture.pixels.iter().map(|grey| grey / 10).collect::<Vec<_>>())
    };
    let none = DataSet::new;
    assert_eq!(turned(90, "N", none()), ((2, 3), vec![3, 0, 4, 1, 5, 2]));
    assert_eq!(turned(90, "Y", none()), ((2, 3), vec![0, 3, 1, 4, 2, 5]));
    assert_eq!(turned(180, "N", none()), ((3, 2), vec![5, 4, 3, 2, 1, 0]));
    assert_eq!(turned(270, "N", none()), ((2, 3), vec![2, 5, 1, 4, 0, 3]));
    assert_eq!(turned(0, "Y", none()), ((3, 2), vec![2, 1, 0, 5, 4, 3]));
    let mut tall = DataSet::new();
    tall.set_strings(tags::PIXEL_SPACING, VR::DS, vec!["2".into(), "1".into()]);
    assert_eq!(turned(0, "N", tall.clone()).0, (3, 4));
    assert_eq!(turned(90, "N", tall).0, (4, 3));
}

#[test]
fn the_displayed_area_is_what_is_seen() {
    let area = |corners: [i32; 4]| {
        let long = |values: &[i32]| Element {
            vr: VR::SL,
            value: Value::Bytes(values.iter().flat_map(|n| n.to_le_bytes()).collect::<Vec<u8>>().into()),
        };
        let mut item = DataSet::new();
        item.insert(tags::DISPLAYED_AREA_TOP_LEFT_HAND_CORNER, long(&corners[..2]));
        item.insert(tags::DISPLAYED_AREA_BOTTOM_RIGHT_HAND_CORNER, long(&corners[2..]));
        let mut state = state();
        state.set_items(tags::DISPLAYED_AREA_SELECTION_SEQUENCE, vec![item]);
        let picture = shown(&state, DataSet::new(), 1);
        (picture.width, picture.pixels.iter().map(|grey| grey / 10).collect::<Vec<_>>())
    };
    assert_eq!(area([2, 1, 3, 2]), (2, vec![1, 2, 4, 5]));
    assert_eq!(area([3, 2, 2, 1]), (2, vec![1, 2, 4, 5]), "as of a flipped image");
    assert_eq!(area([-5, 2, 99, 99]), (3, vec![3, 4, 5]), "beyond the image is nothing");
    assert_eq!(area([9, 9, 9, 9]).1.len(), 6, "nothing at all is no area");
}
