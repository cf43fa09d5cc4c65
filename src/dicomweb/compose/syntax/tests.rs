use super::*;

const LOSSLESS_SV1: &[u8] = &[
    0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, 0xC3, 0, 11, 8, 0, 1, 0, 1, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8, 1,
    1, 0, 1, 0, 0,
];
const BASELINE: &[u8] =
    &[0xFF, 0xD8, 0xFF, 0xDB, 0, 3, 0, 0xFF, 0xFF, 0xC0, 0, 11, 8, 0, 1, 0, 1, 1, 1, 0x11, 0];

/// JPEG-LS with this error bound.
fn jpeg_ls(near: u8) -> Vec<u8> {
    let mut image = vec![0xFF, 0xD8, 0xFF, 0xF7, 0, 11, 8, 0, 1, 0, 1, 1, 1, 0x11, 0];
    image.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, near, 0, 0]);
    image
}

/// A JPEG 2000 code stream with this wavelet transformation: 1 is the reversible one.
fn jpeg_2000_image(transformation: u8) -> Vec<u8> {
    let mut image = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 4, 0, 0];
    image.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 5, 4, 4, 0, transformation]);
    image
}

fn uid(text: &str) -> Uid {
    text.parse().unwrap()
}

fn evidence<'a>(media_type: &'a str, beginning: &'a [u8]) -> Evidence<'a> {
    let length = beginning.len() as u64;
    Evidence { media_type, labelled: None, declared: None, length, native_length: None, beginning }
}

fn encapsulated(evidence: Evidence) -> String {
    match evidence.form() {
        Ok(Form::Encapsulated(syntax)) => syntax.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_labelled_transfer_syntax_counts() {
    let baseline = uid(JPEG_BASELINE);
    let labelled = Evidence { labelled: Some(&baseline), ..evidence("application/octet-stream", &[1, 2]) };
    assert_eq!(encapsulated(labelled), JPEG_BASELINE);
    for native in [EXPLICIT_VR_LE, IMPLICIT_VR_LE] {
        let native = uid(native);
        let form =
            Evidence { labelled: Some(&native), ..evidence("application/octet-stream", &[1, 2]) }.form();
        assert_eq!(form.unwrap(), Form::Native);
    }
    let big_endian = uid(EXPLICIT_VR_BE);
    let form = Evidence { labelled: Some(&big_endian), ..evidence("", &[]) }.form();
    assert!(matches!(form, Err(Error::UnsupportedPixelData)));
}

#[test]
fn the_image_tells_which_of_a_media_types_syntaxes_it_is_in() {
    for (media_type, image, expected) in [
        ("image/jpeg", BASELINE.to_vec(), JPEG_BASELINE),
        ("image/jpeg", LOSSLESS_SV1.to_vec(), JPEG_LOSSLESS_SV1),
        ("image/jpeg", LOSSLESS_SV1.iter().copied().chain([0; 9]).collect(), JPEG_LOSSLESS_SV1),
        ("image/jpeg", vec![0xFF, 0xD8, 0xFF, 0xC1, 0, 2], JPEG_EXTENDED),
        ("image/jls", jpeg_ls(0), JPEG_LS_LOSSLESS),
        ("image/jls", jpeg_ls(2), JPEG_LS),
        ("image/jp2", jpeg_2000_image(1), JPEG_2000_LOSSLESS),
        ("image/jp2", jpeg_2000_image(0), JPEG_2000),
        ("image/dicom-rle", [[1, 0, 0, 0], [64, 0, 0, 0]].concat(), RLE),
        ("video/mp4", vec![0; 8], "1.2.840.10008.1.2.4.102"),
        ("video/h265", vec![0; 8], "1.2.840.10008.1.2.4.107"),
    ] {
        assert_eq!(encapsulated(evidence(media_type, &image)), expected, "{media_type} {image:X?}");
    }
}

#[test]
fn what_the_metadata_declares_counts_where_the_image_may_be_in_it() {
    let lossy = uid(JPEG_2000);
    let declared =
        |image: &[u8]| encapsulated(Evidence { declared: Some(&lossy), ..evidence("image/jp2", image) });
    assert_eq!(declared(&jpeg_2000_image(1)), JPEG_2000, "the general syntax holds reversible ones too");
    let lossless = uid(JPEG_2000_LOSSLESS);
    let image = jpeg_2000_image(0);
    let contradicted = Evidence { declared: Some(&lossless), ..evidence("image/jp2", &image) };
    assert_eq!(encapsulated(contradicted), JPEG_2000, "never lossy data labelled as lossless");
}

#[test]
fn an_image_of_another_kind_than_its_label_is_refused() {
    for (media_type, image) in [
        ("image/jp2", jpeg_ls(0)),
        ("image/jpeg", vec![0xFF, 0xD8, 0xFF, 0xC2, 0, 2]),
        ("image/png", vec![0x89]),
    ] {
        let form = evidence(media_type, &image).form();
        assert!(matches!(form, Err(Error::UnsupportedPixelData)), "{media_type}: {form:?}");
    }
}

#[test]
fn octets_are_native_unless_the_metadata_and_the_bytes_say_otherwise() {
    let octets = "application/octet-stream";
    let declared = uid(JPEG_BASELINE);
    let baseline = Evidence { declared: Some(&declared), ..evidence(octets, BASELINE) };
    assert_eq!(encapsulated(baseline), JPEG_BASELINE);
    assert_eq!(evidence(octets, BASELINE).form().unwrap(), Form::Native, "undeclared");
    let native = Evidence { native_length: Some(BASELINE.len() as u64), ..baseline };
    assert_eq!(native.form().unwrap(), Form::Native, "just as long as native pixel data is");
    // Hazard: native pixel data labelled with a JPEG transfer syntax.
    let pixels = Evidence { native_length: Some(4), beginning: &[0; 7], length: 7, ..baseline };
    assert_eq!(pixels.form().unwrap(), Form::Native);
    let video = uid("1.2.840.10008.1.2.4.102");
    let stream = Evidence { declared: Some(&video), native_length: Some(400), ..evidence(octets, &[0; 9]) };
    assert_eq!(encapsulated(stream), video.as_str());
}

#[test]
fn no_beginning_is_too_short_or_too_odd() {
    for image in [BASELINE.to_vec(), LOSSLESS_SV1.to_vec(), jpeg_ls(0), jpeg_2000_image(1), vec![0xFF; 99]] {
        for end in 0..image.len() {
            let _ = compatible(&image[..end]);
            for at in 0..end {
                let mut broken = image[..end].to_vec();
                broken[at] ^= 0xFF;
                let _ = compatible(&broken);
            }
        }
    }
}
