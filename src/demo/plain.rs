//! Plain but valid objects in any number and of any size, which cost next to no memory: their pixels are parts of
//! one block of noise.

use bytes::{BufMut, Bytes, BytesMut};

use super::instance::{Data, Instance};
use crate::dicom::charset::{Charset, QueryCharset};
use crate::dicom::dataset::DataSet;
use crate::dicom::object::Head;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, Layout, is_native, layout};
use crate::dicom::{Uid, VR, tags};

/// Size of the block of noise, in bytes.
const NOISE: usize = 1 << 20;
/// Columns of an image.
const COLUMNS: usize = 512;

const CT_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.2";
const MR_IMAGE: &str = "1.2.840.10008.5.1.4.1.1.4";

/// Names with the character set they are stored in.
const NAMES: [(&[&str], &str); 8] = [
    (&["ISO_IR 100"], "Müller^Jürgen"),
    (&[], "Smith^Mary Anne"),
    (&["ISO_IR 126"], "Παπαδόπουλος^Νίκος"),
    (&["ISO 2022 IR 6", "ISO 2022 IR 87"], "Yamada^Tarou=山田^太郎=やまだ^たろう"),
    (&["GB18030"], "Wang^XiaoDong=王^小东"),
    (&["ISO_IR 192"], "Wang^XiaoDong=王^小東"),
    (&["ISO_IR 144"], "Иванов^Пётр"),
    (&["ISO 2022 IR 6", "ISO 2022 IR 149"], "Hong^Gildong=洪^吉洞=홍^길동"),
];

/// How many objects, how large, and which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plain {
    /// Studies, each of a patient of its own.
    pub studies: usize,
    /// Series in each study.
    pub series: usize,
    /// Objects in each series.
    pub slices: usize,
    /// Bytes of pixel data of each object.
    pub bytes: usize,
    /// How the objects are encoded. Under a compressed syntax the pixel data are one fragment of noise.
    pub transfer_syntax: Uid,
    /// Objects of another batch have other UIDs and names.
    pub batch: u64,
    /// Objects of another variant have the same UIDs and other pixels.
    pub variant: u64,
}

impl Plain {
    /// Objects in Explicit VR Little Endian.
    pub fn new(studies: usize, series: usize, slices: usize, bytes: usize) -> Self {
        let transfer_syntax = Uid::from_static(EXPLICIT_VR_LE);
        Self { studies, series, slices, bytes, transfer_syntax, batch: 0, variant: 0 }
    }

    /// Makes them. Always the same for the same numbers.
    pub fn make(&self) -> Vec<Instance> {
        let noise = noise(self.batch ^ self.variant << 32);
        let mut instances = Vec::with_capacity(self.studies * self.series * self.slices);
        for study in 0..self.studies {
            for series in 0..self.series {
                for slice in 0..self.slices {
                    instances.push(self.instance(study, series, slice, &noise));
                }
            }
        }
        instances
    }

    /// The Study Instance UID of a study, counted from 0.
    pub fn study_uid(&self, study: usize) -> Uid {
        self.uid(&[study])
    }

    /// The Series Instance UID of a series.
    pub fn series_uid(&self, study: usize, series: usize) -> Uid {
        self.uid(&[study, series])
    }

    /// The SOP Instance UID of an object.
    pub fn instance_uid(&self, study: usize, series: usize, slice: usize) -> Uid {
        self.uid(&[study, series, slice])
    }

    fn uid(&self, place: &[usize]) -> Uid {
        let half = |salt| place.iter().fold(mixed(self.batch, salt), |hash, n| mixed(hash, *n as u64 + 1));
        let number = u128::from(half(1)) << 64 | u128::from(half(2));
        format!("2.25.{number}").parse().expect("2.25 and a number of 39 digits at most is a UID")
    }

    fn instance(&self, study: usize, series: usize, slice: usize, noise: &Bytes) -> Instance {
        let (charset, name) = NAMES[(study + self.batch as usize) % NAMES.len()];
        let charset = Charset::from_values(charset);
        let words = self.bytes.div_ceil(2).max(1);
        let mut columns = COLUMNS.min(words);
        while words.div_ceil(columns) > usize::from(u16::MAX) && columns < 1 << 15 {
            columns *= 2;
        }
        let rows = words.div_ceil(columns);
        let (modality, class) = if series.is_multiple_of(2) { ("CT", CT_IMAGE) } else { ("MR", MR_IMAGE) };
        let mut attributes = DataSet::new();
        let number = study + 1000 * self.batch as usize;
        let day = format!("{}{:02}{:02}", 2015 + number % 10, 1 + number % 12, 1 + number % 28);
        for (tag, vr, value) in [
            (tags::IMAGE_TYPE, VR::CS, "ORIGINAL".to_owned()),
            (tags::SOP_CLASS_UID, VR::UI, class.to_owned()),
            (tags::SOP_INSTANCE_UID, VR::UI, self.instance_uid(study, series, slice).to_string()),
            (tags::STUDY_DATE, VR::DA, day.clone()),
            (tags::SERIES_DATE, VR::DA, day.clone()),
            (tags::CONTENT_DATE, VR::DA, day),
            (tags::STUDY_TIME, VR::TM, format!("{:02}{:02}00", 8 + number % 10, number % 60)),
            (tags::SERIES_TIME, VR::TM, format!("{:02}{:02}30", 8 + number % 10, number % 60)),
            (tags::ACCESSION_NUMBER, VR::SH, format!("A{:07}", number + 1)),
            (tags::MODALITY, VR::CS, modality.to_owned()),
            (tags::MANUFACTURER, VR::LO, "Gantry".to_owned()),
            (tags::REFERRING_PHYSICIAN_NAME, VR::PN, "Doctor^House".to_owned()),
            (tags::STUDY_DESCRIPTION, VR::LO, format!("Plain study {}", number + 1)),
            (tags::SERIES_DESCRIPTION, VR::LO, format!("Plain series {}", series + 1)),
            (tags::PATIENT_NAME, VR::PN, name.to_owned()),
            (tags::PATIENT_ID, VR::LO, format!("P{:06}", number + 1)),
            (tags::PATIENT_BIRTH_DATE, VR::DA, format!("{}0102", 1930 + number % 80)),
            (tags::PATIENT_SEX, VR::CS, ["M", "F", "O"][number % 3].to_owned()),
            (tags::STUDY_INSTANCE_UID, VR::UI, self.study_uid(study).to_string()),
            (tags::SERIES_INSTANCE_UID, VR::UI, self.series_uid(study, series).to_string()),
            (tags::STUDY_ID, VR::SH, format!("S{}", number + 1)),
            (tags::SERIES_NUMBER, VR::IS, (series + 1).to_string()),
            (tags::INSTANCE_NUMBER, VR::IS, (slice + 1).to_string()),
            (tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2".to_owned()),
        ] {
            attributes.set_str(tag, vr, value);
        }
        for (tag, value) in [
            (tags::SAMPLES_PER_PIXEL, 1),
            (tags::ROWS, rows),
            (tags::COLUMNS, columns),
            (tags::BITS_ALLOCATED, 16),
            (tags::BITS_STORED, 16),
            (tags::HIGH_BIT, 15),
            (tags::PIXEL_REPRESENTATION, 0),
        ] {
            attributes.set_u16(tag, value as u16);
        }
        let mut request = DataSet::new();
        request.set_str(tags::REQUESTED_PROCEDURE_ID, VR::SH, format!("RP{}", number + 1));
        request.set_str(tags::SCHEDULED_PROCEDURE_STEP_ID, VR::SH, format!("SP{}", number + 1));
        attributes.set_items(tags::REQUEST_ATTRIBUTES_SEQUENCE, vec![request]);
        if !charset.values().is_empty() {
            attributes.set_strings(tags::SPECIFIC_CHARACTER_SET, VR::CS, charset.values().to_vec());
        }
        let seed = (study as u64) << 40 | (series as u64) << 20 | slice as u64;
        let data = self.data(&attributes, &charset, rows * columns * 2, noise, seed);
        let head = Head {
            sop_class: Uid::from_static(class),
            sop_instance: self.instance_uid(study, series, slice),
            transfer_syntax: self.transfer_syntax.clone(),
        };
        Instance { head, data, attributes, charset }
    }

    fn data(&self, attributes: &DataSet, charset: &Charset, length: usize, noise: &Bytes, seed: u64) -> Data {
        let layout = layout(&self.transfer_syntax);
        let mut header =
            BytesMut::from(&attributes.encode(layout, QueryCharset::Forced(charset.clone()))[..]);
        let native = is_native(&self.transfer_syntax);
        put_pixel_data_header(&mut header, layout, native, length as u32);
        let mut parts = vec![header.freeze()];
        // Each object begins elsewhere in the noise, at a whole pixel.
        let mut at = mixed(self.variant, seed) as usize % (NOISE / 2) * 2;
        let mut left = length;
        while left > 0 {
            let part = noise.slice(at..NOISE.min(at + left));
            left -= part.len();
            parts.push(part);
            at = 0;
        }
        if !native {
            parts.push(Bytes::from_static(&[0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]));
        }
        Data::Parts(parts.into())
    }
}

/// The header of Pixel Data (7FE0,0010); of encapsulated ones also an empty offset table and the header of the only
/// fragment.
fn put_pixel_data_header(out: &mut BytesMut, layout: Layout, native: bool, length: u32) {
    match layout {
        Layout::ExplicitBe => {
            out.put_slice(&[0x7F, 0xE0, 0x00, 0x10, b'O', b'W', 0, 0]);
            out.put_u32(length);
        }
        Layout::ImplicitLe => {
            out.put_slice(&[0xE0, 0x7F, 0x10, 0x00]);
            out.put_u32_le(length);
        }
        Layout::ExplicitLe => {
            out.put_slice(&[0xE0, 0x7F, 0x10, 0x00, b'O', if native { b'W' } else { b'B' }, 0, 0]);
            out.put_u32_le(if native { length } else { u32::MAX });
            if !native {
                out.put_slice(&[0xFE, 0xFF, 0x00, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0x00, 0xE0]);
                out.put_u32_le(length);
            }
        }
    }
}

fn noise(seed: u64) -> Bytes {
    (0..NOISE as u64 / 8).flat_map(|n| mixed(seed, n).to_le_bytes()).collect::<Vec<u8>>().into()
}

/// A number in which every bit hangs on every bit of both: two rounds of SplitMix64's finalizer.
fn mixed(a: u64, b: u64) -> u64 {
    let round = |x: u64| {
        let x = (x ^ x >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ x >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ x >> 31
    };
    round(round(a.wrapping_add(0x9E37_79B9_7F4A_7C15)).wrapping_add(b.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::transfer_syntax::{EXPLICIT_VR_BE, IMPLICIT_VR_LE};

    fn whole(instance: &Instance) -> Bytes {
        let Data::Parts(parts) = &instance.data else { panic!("not in parts") };
        parts.concat().into()
    }

    #[test]
    fn every_encoding_is_a_data_set_with_the_attributes_it_says() {
        for syntax in [EXPLICIT_VR_LE, IMPLICIT_VR_LE, EXPLICIT_VR_BE, "1.2.840.10008.1.2.5"] {
            let plain = Plain { transfer_syntax: Uid::from_static(syntax), ..Plain::new(8, 2, 2, 3000) };
            let made = plain.make();
            assert_eq!(made.len(), 32);
            for instance in made {
                let bytes = whole(&instance);
                DataSet::parse(&bytes, layout(&instance.head.transfer_syntax), None).unwrap();
                let read = Instance::from_bytes(instance.head.transfer_syntax.clone(), bytes).unwrap();
                assert_eq!(read.head, instance.head);
                assert_eq!(read.attributes, instance.attributes, "{syntax}");
                assert_eq!(read.charset, instance.charset);
            }
        }
    }

    #[test]
    fn variants_share_uids_and_differ_in_bytes_and_batches_share_nothing() {
        let plain = Plain::new(1, 1, 1, 1000);
        let (one, again) = (plain.make().remove(0), plain.make().remove(0));
        let variant = Plain { variant: 1, ..plain.clone() }.make().remove(0);
        let batch = Plain { batch: 1, ..plain }.make().remove(0);
        assert_eq!(whole(&one), whole(&again));
        assert_eq!(one.head, variant.head);
        assert_ne!(whole(&one), whole(&variant));
        assert_ne!(one.head.sop_instance, batch.head.sop_instance);
        assert_ne!(one.study(), batch.study());
    }

    #[test]
    fn an_object_of_two_gigabytes_costs_a_megabyte() {
        let large = Plain::new(1, 1, 1, 2 << 30).make().remove(0);
        let Data::Parts(parts) = &large.data else { panic!("not in parts") };
        assert!(parts.iter().map(Bytes::len).sum::<usize>() > 2 << 30);
        assert_eq!(large.attributes.int(tags::ROWS), Some(32768));
    }
}
