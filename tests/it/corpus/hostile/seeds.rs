//! The objects that are made wrong: real images, and some of kinds that are rare among those.

use std::collections::BTreeMap;
use std::fs;

use bytes::Bytes;
use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::{DataSet, Element, Value};
use gantry::dicom::part10::MetaReader;
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, Layout, codec};
use gantry::dicom::{Tag, Uid, VR, tags};
use serde_json::Value as Json;

use super::mutation::{Seed, elements};
use crate::support::objects::CT;
use crate::support::peers::{data, manifest, python};
use crate::support::process::Scratch;

/// Larger files take long, and are made wrong in the same ways.
const LARGEST: usize = 64 << 10;

/// Files of a kind.
const OF_A_KIND: usize = 2;
/// What makes a kind of image.
const KIND: [Tag; 4] = [
    tags::PHOTOMETRIC_INTERPRETATION,
    tags::BITS_ALLOCATED,
    tags::PLANAR_CONFIGURATION,
    tags::NUMBER_OF_FRAMES,
];

/// All of them.
pub(super) fn all() -> Vec<Seed> {
    let mut seeds = files();
    seeds.extend(made());
    seeds.extend(samples());
    seeds.retain(|seed| seed.original(0, 0).is_some());
    seeds
}

/// Images among the files that pydicom and pydicom-data bring, some of each kind.
fn files() -> Vec<Seed> {
    let folder = data("corpus", &[]);
    let (mut seeds, mut kinds) = (Vec::new(), BTreeMap::new());
    for entry in manifest(&folder) {
        let text = |name: &str| entry[name].as_str().unwrap().to_owned();
        let bytes = Bytes::from(fs::read(folder.join(text("file"))).unwrap());
        if bytes.len() > LARGEST {
            continue;
        }
        let Ok(Some((meta, data_set))) = MetaReader::new().push(bytes) else { continue };
        let Some(syntax) = meta.transfer_syntax.filter(|syntax| !codec(syntax).is_video()) else { continue };
        let layout = gantry::dicom::transfer_syntax::layout(&syntax);
        let seed = Seed::new(text("source"), syntax, data_set);
        let elements = elements(&seed.bytes, layout);
        let value = |tag| elements.iter().find(|it| it.tag == tag).map(|it| &seed.bytes[it.value.clone()]);
        let kind = KIND.map(value).map(|value| value.map(<[u8]>::to_vec));
        let count: &mut usize = kinds.entry((seed.syntax.clone(), kind)).or_default();
        if *count < OF_A_KIND && elements.iter().any(|it| it.tag.group() == tags::PIXEL_DATA.group()) {
            *count += 1;
            seeds.push(seed);
        }
    }
    seeds
}

/// An image of 12 rows and 10 columns, up to its pixels.
fn image(bits: u16, stored: u16, photometric: &str) -> DataSet {
    let mut image = DataSet::new();
    for (tag, vr, text) in [
        (tags::SOP_CLASS_UID, VR::UI, CT),
        (tags::SOP_INSTANCE_UID, VR::UI, "2.25.11111111111111111111"),
        (tags::STUDY_INSTANCE_UID, VR::UI, "2.25.22222222222222222222"),
        (tags::SERIES_INSTANCE_UID, VR::UI, "2.25.33333333333333333333"),
        (tags::PATIENT_ID, VR::LO, "P1"),
        (tags::MODALITY, VR::CS, "CT"),
        (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, photometric),
    ] {
        image.set_str(tag, vr, text);
    }
    let samples = if ["MONOCHROME2", "PALETTE COLOR"].contains(&photometric) { 1 } else { 3 };
    for (tag, number) in [
        (tags::SAMPLES_PER_PIXEL, samples),
        (tags::ROWS, 12),
        (tags::COLUMNS, 10),
        (tags::BITS_ALLOCATED, bits),
        (tags::BITS_STORED, stored),
        (tags::HIGH_BIT, stored - 1),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        image.set_u16(tag, number);
    }
    image
}

fn words(image: &mut DataSet, tag: Tag, vr: VR, words: impl IntoIterator<Item = u16>) {
    let bytes: Vec<u8> = words.into_iter().flat_map(u16::to_le_bytes).collect();
    image.insert(tag, Element { vr, value: Value::Bytes(bytes.into()) });
}

/// An image with these pixels.
fn seed(name: &str, mut image: DataSet, tag: Tag, vr: VR, pixels: Vec<u8>) -> Seed {
    image.insert(tag, Element { vr, value: Value::Bytes(pixels.into()) });
    let bytes = image.encode(Layout::ExplicitLe, QueryCharset::Auto);
    Seed::new(name.to_owned(), Uid::from_static(EXPLICIT_VR_LE), bytes.into())
}

fn made() -> Vec<Seed> {
    let floats = image(32, 32, "MONOCHROME2");
    let float = seed(
        "made: float",
        floats,
        tags::FLOAT_PIXEL_DATA,
        VR::OF,
        (0..120).flat_map(|at| (at as f32 / 3.0).to_le_bytes()).collect(),
    );
    let double = seed(
        "made: double",
        image(64, 64, "MONOCHROME2"),
        tags::DOUBLE_FLOAT_PIXEL_DATA,
        VR::OD,
        (0..120).flat_map(|at| (f64::from(at) / 3.0).to_le_bytes()).collect(),
    );
    let mut bits = image(1, 1, "MONOCHROME2");
    bits.set_str(tags::NUMBER_OF_FRAMES, VR::IS, "5");
    let bits = seed("made: bits", bits, tags::PIXEL_DATA, VR::OB, (0..76).collect());
    let mut palette = image(8, 8, "PALETTE COLOR");
    for colour in 1..=3 {
        words(&mut palette, Tag(0x0028, 0x1100 + colour), VR::US, [256, 0, 16]);
        words(&mut palette, Tag(0x0028, 0x1200 + colour), VR::OW, (0..256).map(|at| at * 255 / colour));
    }
    let palette = seed("made: palette", palette, tags::PIXEL_DATA, VR::OB, (0..120).collect());
    let mut segmented = image(8, 8, "PALETTE COLOR");
    for colour in 1..=3 {
        words(&mut segmented, Tag(0x0028, 0x1100 + colour), VR::US, [256, 0, 16]);
        // Ten of the same, the rest in a straight line.
        words(&mut segmented, Tag(0x0028, 0x1220 + colour), VR::OW, [0, 2, 7, 9, 1, 8, 7, 1, 246, 0xFFF0]);
    }
    let segmented = seed("made: segmented palette", segmented, tags::PIXEL_DATA, VR::OB, (0..120).collect());
    let ybr =
        seed("made: YBR_FULL_422", image(8, 8, "YBR_FULL_422"), tags::PIXEL_DATA, VR::OB, (0..240).collect());
    let mut planes = image(8, 8, "RGB");
    planes.set_u16(tags::PLANAR_CONFIGURATION, 1);
    planes.set_str(tags::PIXEL_ASPECT_RATIO, VR::IS, "2\\3");
    let planes = seed("made: planes", planes, tags::PIXEL_DATA, VR::OB, (0..240).chain(0..120).collect());
    vec![float, double, bits, palette, segmented, ybr, planes, tables()]
}

/// An image with tables of values, windows, padding, and overlays beside and within its cells.
fn tables() -> Seed {
    let mut image = image(16, 12, "MONOCHROME2");
    for (sequence, first) in [(tags::MODALITY_LUT_SEQUENCE, 0), (tags::VOILUT_SEQUENCE, 100)] {
        let mut item = DataSet::new();
        words(&mut item, tags::LUT_DESCRIPTOR, VR::US, [4096, first, 16]);
        item.set_str(tags::MODALITY_LUT_TYPE, VR::LO, "US");
        words(&mut item, tags::LUT_DATA, VR::OW, (0..4096).map(|at| at * 15 + first));
        image.set_items(sequence, vec![item]);
    }
    for (tag, text) in [
        (tags::WINDOW_CENTER, "40\\1000"),
        (tags::WINDOW_WIDTH, "400\\2000"),
        (tags::PIXEL_SPACING, "0.5\\0.7"),
    ] {
        image.set_str(tag, VR::DS, text);
    }
    image.set_str(tags::NUMBER_OF_FRAMES, VR::IS, "3");
    image.set_u16(tags::PIXEL_PADDING_VALUE, 4095);
    for (group, position) in [(0x6000, 0), (0x6002, 14)] {
        words(&mut image, Tag(group, 0x0010), VR::US, [12]);
        words(&mut image, Tag(group, 0x0011), VR::US, [10]);
        image.set_str(Tag(group, 0x0040), VR::CS, "G");
        words(&mut image, Tag(group, 0x0050), VR::SS, [1, 1]);
        words(&mut image, Tag(group, 0x0100), VR::US, [if position > 0 { 16 } else { 1 }]);
        words(&mut image, Tag(group, 0x0102), VR::US, [position]);
    }
    words(&mut image, Tag(0x6000, 0x3000), VR::OW, [0x5A5A; 8]);
    seed(
        "made: tables",
        image,
        tags::PIXEL_DATA,
        VR::OW,
        (0..360_u16).flat_map(|at| (at * 11).to_le_bytes()).collect(),
    )
}

/// What encoders of others write, one of each kind.
fn samples() -> Vec<Seed> {
    let out = Scratch::new("hostile-samples");
    let samples: Vec<Json> = serde_json::from_str(&python("codec_samples.py", &[out.path()])).unwrap();
    let mut seeds: Vec<Seed> = Vec::new();
    for sample in samples {
        let text = |name: &str| sample[name].as_str().unwrap().to_owned();
        let syntax: Uid = text("syntax").parse().unwrap();
        // Those of the first shapes, grey and colours.
        let kind = format!("{syntax}, {}", text("photometric"));
        if seeds.iter().filter(|seed| seed.name.starts_with(&kind)).count() >= OF_A_KIND {
            continue;
        }
        let number = |name: &str| u16::try_from(sample[name].as_u64().unwrap()).unwrap();
        let mut image = image(number("bits_allocated"), number("bits_stored"), &text("photometric"));
        for (tag, name) in
            [(tags::ROWS, "rows"), (tags::COLUMNS, "columns"), (tags::SAMPLES_PER_PIXEL, "samples")]
        {
            image.set_u16(tag, number(name));
        }
        if sample["signed"] == true {
            image.set_u16(tags::PIXEL_REPRESENTATION, 1);
        }
        let mut codestream = fs::read(out.path().join(format!("{}.codestream", sample["number"]))).unwrap();
        codestream.resize(codestream.len().next_multiple_of(2), 0);
        let mut bytes = image.encode(Layout::ExplicitLe, QueryCharset::Auto);
        bytes.extend(b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0\xFE\xFF\0\xE0");
        bytes.extend((codestream.len() as u32).to_le_bytes());
        bytes.extend(codestream);
        bytes.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
        seeds.push(Seed::new(format!("{kind}: {}", text("name")), syntax, bytes.into()));
    }
    seeds
}
