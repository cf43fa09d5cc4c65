//! Number of Frames that is none, or fewer than there are.

use super::*;

#[test]
fn hazard_a_number_of_frames_that_is_none_is_not_one() {
    let with = |text: &[u8]| {
        let object = Build::new(EXPLICIT).grey(1, 1, 2, 8).element(tags::NUMBER_OF_FRAMES, "IS", text);
        object.element(tags::PIXEL_DATA, "OB", b"aabb").all()
    };
    assert_eq!(with(b"+2").unwrap(), [b"aa", b"bb"]);
    for text in ["0 ", "-1", "30 0", "1A", "1.", "2\\2 ", "4294967296", &"1".repeat(70)] {
        assert_eq!(with(text.as_bytes()), Err(Error::NumberOfFrames), "{text}");
    }
    assert_eq!(with(&[0xE9, 0xE9]), Err(Error::NumberOfFrames));
    let jpeg = Build::new(JPEG).grey(0, 1, 2, 8).fragments(&[], &[A]);
    assert_eq!(jpeg.cut(&[1]), Err(Error::NumberOfFrames));
    // An empty value says as much as none.
    let empty = Build::new(EXPLICIT).grey(1, 1, 2, 8).element(tags::NUMBER_OF_FRAMES, "IS", b"  ");
    assert_eq!(empty.element(tags::PIXEL_DATA, "OB", b"aa").all().unwrap(), [b"aa"]);
}

#[test]
fn hazard_native_frames_that_are_not_counted_are_not_lost() {
    let of = |bits, value: &[u8]| {
        Build::new(EXPLICIT).grey(1, 1, 5, bits).element(tags::PIXEL_DATA, "OB", value).all()
    };
    assert_eq!(of(8, b"aaaaabbbbb"), Err(Error::Surplus));
    assert_eq!(of(8, b"aaaaa\0").unwrap(), [b"aaaaa"]);
    // Some writers pad more than they need to.
    assert_eq!(of(8, b"aaaaa\0\0\0").unwrap(), [b"aaaaa"]);
    // Five bits are padded to two bytes.
    assert_eq!(of(1, &[0x1F, 0]).unwrap(), [[0x1F]]);
    assert_eq!(of(1, &[0x1F, 0, 0, 0]), Err(Error::Surplus));
    let untold = Build::new(EXPLICIT).number(tags::ROWS, 1).number(tags::COLUMNS, 5);
    let untold = untold.number(tags::BITS_ALLOCATED, 8).element(tags::PIXEL_DATA, "OB", b"aaaaabbbbb");
    assert_eq!(untold.cut(&[1]), Err(Error::Surplus));
    let full = Build::new(EXPLICIT).image(3, "YBR_FULL_422", 1, 1, 2, 8);
    assert_eq!(full.element(tags::PIXEL_DATA, "OB", b"aaaaaa").all().unwrap(), [b"aaaaaa"]);
}

#[test]
fn empty_pixel_data_are_none() {
    let empty = Build::new(EXPLICIT).grey(1, 1, 2, 8).element(tags::PIXEL_DATA, "OW", b"");
    assert_eq!(empty.cut(&[1]), Err(Error::NoPixelData));
}
