//! The pictures of both programs side by side, for a person to look at: `make gallery`.

use std::collections::BTreeMap;
use std::{env, fs};

use gantry::image::render::annotate::{Place, write};
use gantry::image::render::write::png;
use gantry::image::render::{Colours, Picture};

use super::dcm2pnm::each;

/// Where the sheet is written; without it there is none.
const WHERE: &str = "GANTRY_GALLERY";
/// Width and height of a picture on the sheet.
const SIDE: usize = 128;
/// Room below it for the name of its file.
const LABEL: usize = 20;
/// Files in a row, three pictures each: ours, DCMTK's, the difference a hundred times.
const FILES: usize = 4;
/// What a difference is multiplied with.
const AMPLIFIED: u16 = 100;

#[test]
fn the_sheet_has_a_row_of_pictures_for_every_four_files() {
    let mut tiles = BTreeMap::new();
    if env::var_os(WHERE).is_none() {
        // What is drawn, without what it takes to have it drawn.
        let picture =
            Picture { width: 1, height: 1, colours: Colours::Grey, pixels: vec![7], icc_profile: None };
        tiles = (0..5).map(|n| (n.to_string(), [tile(&picture), tile(&picture), tile(&picture)])).collect();
    } else {
        drop(each(|pair| {
            let difference = difference(&pair.ours, &pair.theirs);
            let three = [tile(&pair.ours), tile(&pair.theirs), tile(&difference)];
            if pair.frame == 1 {
                tiles.entry(pair.file).or_insert(three);
            }
        }));
    }
    let sheet = sheet(&tiles);
    let rows = tiles.len().div_ceil(FILES);
    assert_eq!((sheet.width as usize, sheet.height as usize), (FILES * 3 * SIDE, rows * (SIDE + LABEL)));
    assert!(sheet.pixels.iter().any(|&sample| sample > 0));
    if let Some(path) = env::var_os(WHERE) {
        fs::write(path, png(&sheet).unwrap()).unwrap();
    }
}

/// A picture as large as fits, by the nearest pixels, so that nothing is smoothed over.
fn tile(picture: &Picture) -> Picture {
    let picture = picture.clone().into_rgb();
    let (width, height) = (picture.width as usize, picture.height as usize);
    let longest = width.max(height);
    let mut pixels = vec![0; SIDE * SIDE * 3];
    for y in 0..SIDE * height / longest {
        for x in 0..SIDE * width / longest {
            let from = (y * longest / SIDE * width + x * longest / SIDE) * 3;
            let to = (y * SIDE + x) * 3;
            pixels[to..to + 3].copy_from_slice(&picture.pixels[from..from + 3]);
        }
    }
    let side = u32::try_from(SIDE).unwrap();
    Picture { width: side, height: side, pixels, ..picture }
}

fn difference(ours: &Picture, theirs: &Picture) -> Picture {
    let (ours, theirs) = (ours.clone().into_rgb(), theirs.clone().into_rgb());
    let amplified = |(a, b): (&u8, &u8)| u8::try_from(u16::from(a.abs_diff(*b)) * AMPLIFIED).unwrap_or(255);
    let mut pixels: Vec<u8> = ours.pixels.iter().zip(&theirs.pixels).map(amplified).collect();
    pixels.resize(ours.pixels.len(), 255);
    Picture { pixels, ..ours }
}

fn sheet(tiles: &BTreeMap<String, [Picture; 3]>) -> Picture {
    let (width, cell) = (FILES * 3 * SIDE, SIDE + LABEL);
    let mut pixels = vec![0; width * cell * tiles.len().div_ceil(FILES) * 3];
    let mut paste = |picture: &Picture, x: usize, y: usize| {
        for (row, line) in picture.pixels.chunks_exact(picture.row_length()).enumerate() {
            let at = ((y + row) * width + x) * 3;
            pixels[at..at + line.len()].copy_from_slice(line);
        }
    };
    for (number, (name, three)) in tiles.iter().enumerate() {
        let (x, y) = (number % FILES * 3 * SIDE, number / FILES * cell);
        for (at, tile) in three.iter().enumerate() {
            paste(tile, x + at * SIDE, y);
        }
        let (label_width, label_height) = (u32::try_from(3 * SIDE).unwrap(), u32::try_from(LABEL).unwrap());
        let blank = vec![0; 3 * SIDE * LABEL * 3];
        let mut label = Picture {
            width: label_width,
            height: label_height,
            colours: Colours::Rgb,
            pixels: blank,
            icc_profile: None,
        };
        write(&mut label, std::slice::from_ref(name), Place::Below);
        paste(&label, x, y + SIDE);
    }
    let height = u32::try_from(pixels.len() / width / 3).unwrap();
    Picture { width: u32::try_from(width).unwrap(), height, colours: Colours::Rgb, pixels, icc_profile: None }
}
