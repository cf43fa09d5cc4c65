//! Headers that are written by hand, as no encoder would.

use super::header::{codestream, read, repaired};
use crate::image::codec::testing::shape;
use crate::image::codec::{Refusal, decode};
use crate::image::pixels::{Photometric, Shape};

/// What a codestream says, with tiles of one byte each.
#[derive(Clone)]
struct Written {
    size: (u32, u32),
    tile: (u32, u32),
    components: u16,
    layers: u16,
    levels: u8,
    /// Width and height of a code-block, as exponents without 2.
    block: u8,
    precincts: Option<u8>,
    /// Multiple component transformation.
    transforms: bool,
    /// How many bytes of packets there are.
    body: usize,
}

const SMALL: Written = Written {
    size: (64, 64),
    tile: (64, 64),
    components: 1,
    layers: 1,
    levels: 2,
    block: 4,
    precincts: None,
    transforms: false,
    body: 3,
};

impl Written {
    fn bytes(&self) -> Vec<u8> {
        let mut out = vec![0xFF, 0x4F];
        let mut size = vec![0, 0];
        for long in [self.size.0, self.size.1, 0, 0, self.tile.0, self.tile.1, 0, 0] {
            size.extend(long.to_be_bytes());
        }
        size.extend(self.components.to_be_bytes());
        (0..self.components).for_each(|_| size.extend([7, 1, 1]));
        segment(&mut out, 0x51, &size);
        let [l0, l1] = self.layers.to_be_bytes();
        let tells = u8::from(self.precincts.is_some());
        let mut style =
            vec![tells, 0, l0, l1, self.transforms.into(), self.levels, self.block, self.block, 0, 1];
        style.extend(
            std::iter::repeat_n(self.precincts.unwrap_or(0), usize::from(self.levels) + 1)
                .filter(|_| tells == 1),
        );
        segment(&mut out, 0x52, &style);
        let mut exponents = vec![0x40];
        exponents.extend(std::iter::repeat_n(0x48, 3 * usize::from(self.levels) + 1));
        segment(&mut out, 0x5C, &exponents);
        let tiles = self.size.0.div_ceil(self.tile.0) * self.size.1.div_ceil(self.tile.1);
        for tile in 0..tiles.min(1000) {
            let length = (14 + self.body) as u32;
            let mut part = (tile as u16).to_be_bytes().to_vec();
            part.extend(length.to_be_bytes());
            part.extend([0, 1]);
            segment(&mut out, 0x90, &part);
            out.extend([0xFF, 0x93]);
            out.extend(std::iter::repeat_n(0, self.body));
        }
        out.extend([0xFF, 0xD9]);
        out
    }
}

fn segment(out: &mut Vec<u8>, marker: u8, parameters: &[u8]) {
    out.extend([0xFF, marker]);
    out.extend((parameters.len() as u16 + 2).to_be_bytes());
    out.extend_from_slice(parameters);
}

fn square(side: u16) -> Shape {
    Shape { rows: side, columns: side, ..shape(8, 8) }
}

#[test]
fn a_codestream_of_empty_packets_is_grey() {
    let bytes = SMALL.bytes();
    let header = read(&bytes, &square(64)).unwrap();
    assert_eq!((header.precision, header.signed, header.reversible, header.ended), (8, false, true, true));
    let syntax = "1.2.840.10008.1.2.4.90".parse().unwrap();
    assert_eq!(decode(&syntax, &bytes, &square(64)).unwrap().bytes, [128; 64 * 64]);
}

#[test]
fn an_image_of_another_size_or_of_more_components_is_refused() {
    for written in [
        Written { size: (65, 64), ..SMALL },
        Written { size: (u32::MAX, u32::MAX), tile: (u32::MAX, u32::MAX), ..SMALL },
        Written { components: 3, ..SMALL },
        Written { components: 16384, ..SMALL },
    ] {
        assert!(matches!(read(&written.bytes(), &square(64)), Err(Refusal::Disagrees(_))));
    }
}

#[test]
fn tiles_and_packets_that_the_codestream_has_no_room_for_are_refused() {
    let tiles = Written { tile: (1, 1), ..SMALL };
    assert!(matches!(read(&tiles.bytes(), &square(64)), Err(Refusal::Damaged(_))));
    let layers = Written { layers: 65535, ..SMALL };
    assert!(matches!(read(&layers.bytes(), &square(64)), Err(Refusal::Damaged(_))));
    let precincts = Written { precincts: Some(0x11), ..SMALL };
    assert!(matches!(read(&precincts.bytes(), &square(64)), Err(Refusal::Damaged(_))));
    // With room for them they are none too many.
    let room = Written { precincts: Some(0x11), body: 2000, ..SMALL };
    assert!(read(&room.bytes(), &square(64)).is_ok());
}

#[test]
fn more_samples_than_memory_should_be_given_to_are_refused() {
    let side = 8193_u16;
    let large =
        Written { size: (side.into(), side.into()), tile: (side.into(), side.into()), body: 2000, ..SMALL };
    assert!(matches!(read(&large.bytes(), &square(side)), Err(Refusal::TooLarge(_))));
}

#[test]
fn code_blocks_and_layers_without_end_are_refused() {
    let large =
        Written { size: (8192, 8192), tile: (8192, 8192), block: 0, layers: 200, body: 2000, ..SMALL };
    assert!(matches!(read(&large.bytes(), &square(8192)), Err(Refusal::TooLarge(_))));
    assert!(read(&Written { layers: 1, ..large }.bytes(), &square(8192)).is_ok());
}

#[test]
fn a_codestream_that_ends_within_a_tile_or_before_one_is_refused() {
    let tiles = Written { tile: (32, 32), ..SMALL }.bytes();
    assert!(read(&tiles, &square(64)).is_ok());
    for end in 2..tiles.len() - 2 {
        assert!(matches!(read(&tiles[..end], &square(64)), Err(Refusal::Damaged(_))), "{end}");
    }
    // Only the End Of Codestream is missing.
    let unended = read(&tiles[..tiles.len() - 2], &square(64)).unwrap();
    assert!(!unended.ended);
}

#[test]
fn hazard_a_tile_has_more_parts_than_it_tells() {
    let bytes = SMALL.bytes();
    let first = bytes.windows(2).position(|marker| marker == [0xFF, 0x90]).unwrap();
    let (head, part) = bytes[..bytes.len() - 2].split_at(first);
    let mut second = part.to_vec();
    second[10] = 1;
    let two = [head, part, &second, &[0xFF, 0xD9]].concat();
    let header = read(&two, &square(64)).unwrap();
    let (told, told_again) = (first + 11, first + 11 + part.len());
    assert_eq!(header.wrong_counts, [(told, 2), (told_again, 2)]);
    let put_right = repaired(&two, &header);
    assert_eq!((put_right.len(), put_right[told], put_right[told_again]), (two.len(), 2, 2));
    assert_eq!(repaired(&put_right, &read(&put_right, &square(64)).unwrap()), put_right);
}

#[test]
fn a_codestream_is_found_within_boxes() {
    let bytes = SMALL.bytes();
    let mut boxed = vec![0, 0, 0, 12];
    boxed.extend(b"jP  \r\n\x87\n");
    boxed.extend([0, 0, 0, 0]);
    boxed.extend(b"jp2c");
    boxed.extend(&bytes);
    assert_eq!(codestream(&boxed).unwrap(), bytes);
    assert!(codestream(&boxed[..14]).is_err());
    assert!(codestream(&[0; 64]).is_err());
}

#[test]
fn levels_blocks_and_precincts_that_there_are_not_are_refused() {
    for written in [
        Written { levels: 33, ..SMALL },
        Written { block: 9, ..SMALL },
        Written { precincts: Some(0), body: 9000, ..SMALL },
    ] {
        assert!(matches!(read(&written.bytes(), &square(64)), Err(Refusal::Damaged(_))));
    }
}

#[test]
fn hazard_odd_component_counts_do_not_panic() {
    let syntax = "1.2.840.10008.1.2.4.90".parse().unwrap();
    for components in 1..=5 {
        let written = Written { components, ..SMALL };
        let room = Written { body: 3 * usize::from(components), ..written };
        for samples in 1..=5 {
            let found = decode(&syntax, &room.bytes(), &Shape { samples, ..square(64) });
            assert_ne!(found.as_ref().err(), Some(&Refusal::Failed));
            assert_eq!(found.is_ok(), samples == components && samples < 5, "{components}: {found:?}");
        }
    }
}

#[test]
fn hazard_what_was_transformed_is_rgb_whatever_the_data_set_says() {
    use Photometric::{Rgb, YbrFull, YbrFull422, YbrIct, YbrRct};
    let syntax = "1.2.840.10008.1.2.4.90".parse().unwrap();
    let decoded = |transforms, photometric| {
        let written = Written { components: 3, body: 9, transforms, ..SMALL };
        let shape = Shape { samples: 3, photometric, ..square(64) };
        decode(&syntax, &written.bytes(), &shape).unwrap().shape.photometric
    };
    for told in [Rgb, YbrFull, YbrFull422, YbrRct, YbrIct] {
        assert_eq!(decoded(true, told), Rgb, "{told}");
    }
    // Without a transformation the samples are what was put in: mostly RGB that is said to be transformed.
    for (told, meant) in [(Rgb, Rgb), (YbrFull, YbrFull), (YbrFull422, YbrFull), (YbrRct, Rgb), (YbrIct, Rgb)]
    {
        assert_eq!(decoded(false, told), meant, "{told}");
    }
}

#[test]
fn tiles_that_are_transformed_and_others_that_are_not_are_refused() {
    let tile = |transforms| {
        let style = [0, 0, 0, 1, u8::from(transforms), 2, 4, 4, 0, 1];
        let mut bytes = Written { components: 3, body: 9 + 14, ..SMALL }.bytes();
        let data = bytes.windows(2).position(|pair| pair == [0xFF, 0x93]).unwrap();
        let mut with_style = Vec::new();
        segment(&mut with_style, 0x52, &style);
        assert_eq!(with_style.len(), 14);
        bytes.splice(data..data + 2 + 14, [with_style, vec![0xFF, 0x93]].concat());
        read(&bytes, &Shape { samples: 3, photometric: Photometric::Rgb, ..square(64) })
    };
    assert!(tile(false).is_ok());
    assert!(matches!(tile(true), Err(Refusal::Unsupported(_))));
}
