//! Small objects that a test makes as it needs them, each different from every other.

use std::collections::BTreeMap;

use gantry::demo::instance::{Data, Instance};
use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::{DataSet, Element, Value};
use gantry::dicom::transfer_syntax::layout;
use gantry::dicom::{Uid, VR, tags};

use super::part10::File;

/// CT Image Storage.
pub(crate) const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
/// Explicit VR Little Endian.
pub(crate) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
/// Implicit VR Little Endian.
pub(crate) const IMPLICIT: &str = "1.2.840.10008.1.2";
/// Explicit VR Big Endian.
pub(crate) const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
/// JPEG Baseline: lossy.
pub(crate) const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
/// RLE Lossless.
pub(crate) const RLE: &str = "1.2.840.10008.1.2.5";

/// What an object is like.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    /// Transfer syntax.
    pub(crate) syntax: &'static str,
    /// Bytes of pixel data.
    pub(crate) pixels: usize,
    /// Whose it is: two archives hold the same UIDs with different bytes.
    pub(crate) owner: u8,
}

impl Default for Kind {
    fn default() -> Self {
        Self { syntax: EXPLICIT, pixels: 2000, owner: 1 }
    }
}

/// The study with this number.
pub(crate) fn study_uid(study: usize) -> String {
    format!("2.25.{study}")
}

/// A series of it.
pub(crate) fn series_uid(study: usize, series: usize) -> String {
    format!("2.25.{study}.{series}")
}

/// An instance of that.
pub(crate) fn instance_uid(study: usize, series: usize, instance: usize) -> String {
    format!("2.25.{study}.{series}.{instance}")
}

/// A study with so many series of so many instances.
pub(crate) fn study(study: usize, series: usize, instances: usize, kind: &Kind) -> Vec<Instance> {
    let numbers = (1..=series).flat_map(|s| (1..=instances).map(move |i| (s, i)));
    numbers.map(|(series, instance)| object(study, series, instance, kind)).collect()
}

/// One object.
pub(crate) fn object(study: usize, series: usize, instance: usize, kind: &Kind) -> Instance {
    let mut data_set = DataSet::new();
    let mut set = |tag, vr, text: &str| data_set.set_str(tag, vr, text);
    set(tags::SOP_CLASS_UID, VR::UI, CT);
    set(tags::SOP_INSTANCE_UID, VR::UI, &instance_uid(study, series, instance));
    set(tags::STUDY_INSTANCE_UID, VR::UI, &study_uid(study));
    set(tags::SERIES_INSTANCE_UID, VR::UI, &series_uid(study, series));
    set(tags::PATIENT_ID, VR::LO, &format!("P{}-{study}", kind.owner));
    set(tags::PATIENT_NAME, VR::PN, &format!("Owner{}^Study{study}", kind.owner));
    set(tags::MODALITY, VR::CS, "CT");
    set(tags::STUDY_DATE, VR::DA, "20260102");
    set(tags::INSTANCE_NUMBER, VR::IS, &instance.to_string());
    data_set.set_u16(tags::ROWS, 2);
    // The pixels of larger ones are not looked at.
    if let Ok(columns) = u16::try_from(kind.pixels / 4) {
        data_set.set_u16(tags::COLUMNS, columns);
    }
    data_set.set_u16(tags::BITS_ALLOCATED, 16);
    let syntax: Uid = kind.syntax.parse().unwrap();
    let layout = layout(&syntax);
    // Made by copying, as a debug build takes long to compute megabytes.
    let seed = kind.owner ^ (instance * 7 + series * 31 + study * 101) as u8;
    let pattern: Vec<u8> = (0..250).map(|at| at ^ seed).collect();
    let mut pixels = pattern.repeat(kind.pixels / pattern.len() + 1);
    pixels.truncate(kind.pixels / 2 * 2);
    if matches!(kind.syntax, JPEG_BASELINE | RLE) {
        let mut bytes = data_set.encode(layout, QueryCharset::Auto);
        bytes.extend(encapsulated(&pixels));
        return Instance::from_bytes(syntax, bytes.into()).unwrap();
    }
    let value = Value::Bytes(pixels.into());
    data_set.insert(tags::PIXEL_DATA, Element { vr: VR::OW, value });
    Instance::from_bytes(syntax, data_set.encode(layout, QueryCharset::Auto).into()).unwrap()
}

/// Pixel Data as one fragment (PS3.5 A.4).
fn encapsulated(fragment: &[u8]) -> Vec<u8> {
    let mut bytes = b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0\xFE\xFF\0\xE0".to_vec();
    bytes.extend((fragment.len() as u32).to_le_bytes());
    bytes.extend_from_slice(fragment);
    bytes.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
    bytes
}

/// What a client is to receive of `instances` that it takes as they are stored.
pub(crate) fn expected(instances: &[Instance]) -> BTreeMap<String, File> {
    let file = |instance: &Instance| File {
        instance: instance.head.sop_instance.to_string(),
        transfer_syntax: instance.head.transfer_syntax.to_string(),
        data_set: match &instance.data {
            Data::Memory(bytes) => bytes.to_vec(),
            other => panic!("{other:?}"),
        },
    };
    instances.iter().map(file).map(|file| (file.instance.clone(), file)).collect()
}
