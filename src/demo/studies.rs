//! Made-up studies: patients who never lived, images that look like images, names in five alphabets.

mod documents;
mod encode;
mod images;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use self::encode::{Pixels, encoded, header};
use self::images::Scene;
use super::instance::{Data, Instance};
use crate::dicom::charset::Charset;
use crate::dicom::dataset::DataSet;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dicom::{Tag, Uid, VR, tags};

/// RLE Lossless (PS3.5 A.4.2).
pub(super) const RLE_LOSSLESS: &str = "1.2.840.10008.1.2.5";
/// Most slices of the CT series.
pub const MAX_SLICES: usize = 5_000;
/// Most studies.
pub const MAX_STUDIES: usize = 100_000;

/// A patient: ID, name, birth date, sex, and the character set that his studies are stored in.
struct Patient {
    id: &'static str,
    name: &'static str,
    birth_date: &'static str,
    sex: &'static str,
    charset: &'static str,
}

const PATIENTS: [Patient; 5] = [
    Patient {
        id: "GN-0001", name: "Müller^Jürgen", birth_date: "19580412", sex: "M", charset: "ISO_IR 100"
    },
    Patient {
        id: "GN-0002",
        name: "Διονυσίου^Ελένη",
        birth_date: "19710923",
        sex: "F",
        charset: "ISO_IR 126",
    },
    Patient {
        id: "GN-0003",
        name: "Yamada^Tarou=山田^太郎=やまだ^たろう",
        birth_date: "19650130",
        sex: "M",
        charset: "\\ISO 2022 IR 87",
    },
    Patient {
        id: "GN-0004",
        name: "Wang^XiaoDong=王^小东",
        birth_date: "19880808",
        sex: "M",
        charset: "GB18030",
    },
    Patient {
        id: "GN-0005",
        name: "Ångström-Łukasiewicz^Zoë",
        birth_date: "19930617",
        sex: "F",
        charset: "ISO_IR 192",
    },
];

/// The kinds of study, in the order in which they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    HeadCt,
    HeadMr,
    SkullCr,
    HeartUs,
    Letter,
    /// One object in each encoding that needs care.
    Encodings,
}

const KINDS: [(Kind, usize); 6] = [
    (Kind::HeadCt, 0),
    (Kind::HeadMr, 1),
    (Kind::SkullCr, 2),
    (Kind::HeartUs, 3),
    (Kind::Letter, 4),
    (Kind::Encodings, 0),
];

/// The first `studies` of a list that has no end, its first CT series with `slices` images. The same numbers
/// give the same bytes on every machine. Images are drawn when they are first asked for, and kept.
pub fn make(studies: usize, slices: usize) -> Vec<Instance> {
    let scene = Arc::new(Scene::default());
    (0..studies.min(MAX_STUDIES)).flat_map(|n| study(n, slices.clamp(1, MAX_SLICES), &scene)).collect()
}

fn study(n: usize, slices: usize, scene: &Arc<Scene>) -> Vec<Instance> {
    let (kind, patient) = KINDS[n % KINDS.len()];
    let study = Study::new(n, kind, &PATIENTS[patient]);
    // Only the first round has the series as long as they were ordered; the rest fills lists.
    let few = if n < KINDS.len() { usize::MAX } else { 3 };
    match kind {
        Kind::HeadCt => {
            let count = slices.min(few);
            let mut objects: Vec<Instance> = (0..count).map(|i| study.ct(i, count, scene)).collect();
            objects.push(study.report());
            objects
        }
        Kind::HeadMr => (1..=2).flat_map(|series| study.mr(series, 24.min(few), scene)).collect(),
        Kind::SkullCr => vec![study.cr(1, EXPLICIT_VR_LE, 1, scene)],
        Kind::HeartUs => vec![study.us(scene)],
        Kind::Letter => vec![study.letter()],
        Kind::Encodings => [IMPLICIT_VR_LE, EXPLICIT_VR_BE, RLE_LOSSLESS]
            .into_iter()
            .zip(1..)
            .map(|(syntax, number)| study.cr(number, syntax, 4, scene))
            .collect(),
    }
}

/// What the objects of a study have in common.
struct Study {
    number: usize,
    common: DataSet,
    charset: Charset,
}

impl Study {
    fn new(number: usize, kind: Kind, patient: &Patient) -> Self {
        let day = 1 + number % 28;
        let date = if number < KINDS.len() {
            format!("202611{day:02}")
        } else {
            format!("{}{:02}{day:02}", 2015 + number % 11, 1 + number % 12)
        };
        let (description, physician) = match kind {
            Kind::HeadCt => ("CT head without contrast", "Brückner^Anna^^Dr."),
            Kind::HeadMr => ("MR brain T1 T2", "Παπαδόπουλος^Νίκος"),
            Kind::SkullCr => ("Skull PA", "Suzuki^Ichirou=鈴木^一郎"),
            Kind::HeartUs => ("Echocardiography", "Li^Na=李^娜"),
            Kind::Letter => ("Discharge letter", "Svensson^Märta"),
            Kind::Encodings => ("Objects in other encodings", "Brückner^Anna^^Dr."),
        };
        let mut common = DataSet::new();
        for (tag, vr, value) in [
            (tags::STUDY_DATE, VR::DA, date.as_str()),
            (tags::STUDY_TIME, VR::TM, "101530"),
            (tags::ACCESSION_NUMBER, VR::SH, format!("A{:06}", 100 + number).as_str()),
            (tags::MANUFACTURER, VR::LO, "Gantry"),
            (tags::INSTITUTION_NAME, VR::LO, "Made-up Hospital"),
            (tags::REFERRING_PHYSICIAN_NAME, VR::PN, physician),
            (tags::STUDY_DESCRIPTION, VR::LO, description),
            (tags::PATIENT_NAME, VR::PN, patient.name),
            (tags::PATIENT_ID, VR::LO, patient.id),
            (tags::PATIENT_BIRTH_DATE, VR::DA, patient.birth_date),
            (tags::PATIENT_SEX, VR::CS, patient.sex),
            (tags::STUDY_INSTANCE_UID, VR::UI, uid(number, 0, 0).as_str()),
            (tags::STUDY_ID, VR::SH, format!("{}", 1 + number).as_str()),
        ] {
            common.set_str(tag, vr, value);
        }
        let charset = patient.charset.parse().expect("a standard character set");
        Self { number, common, charset }
    }

    /// The data set of an object, to which its module is added.
    fn object(
        &self,
        class: &str,
        modality: &str,
        series: usize,
        instance: usize,
        description: &str,
    ) -> DataSet {
        let mut object = self.common.clone();
        for (tag, vr, value) in [
            (tags::SOP_CLASS_UID, VR::UI, class),
            (tags::SOP_INSTANCE_UID, VR::UI, uid(self.number, series, instance).as_str()),
            (tags::MODALITY, VR::CS, modality),
            (tags::SERIES_INSTANCE_UID, VR::UI, uid(self.number, series, 0).as_str()),
            (tags::SERIES_NUMBER, VR::IS, format!("{series}").as_str()),
            (tags::INSTANCE_NUMBER, VR::IS, format!("{instance}").as_str()),
            (tags::SERIES_DESCRIPTION, VR::LO, description),
            (tags::SERIES_DATE, VR::DA, self.common.string(tags::STUDY_DATE).unwrap_or_default()),
            (tags::CONTENT_DATE, VR::DA, self.common.string(tags::STUDY_DATE).unwrap_or_default()),
            (tags::CONTENT_TIME, VR::TM, "101600"),
        ] {
            object.set_str(tag, vr, value);
        }
        object
    }

    fn ct(&self, index: usize, count: usize, scene: &Arc<Scene>) -> Instance {
        let mut o = self.object("1.2.840.10008.5.1.4.1.1.2", "CT", 1, index + 1, "Axial 5.0 H31s");
        let spacing = 138.0 / count as f32;
        let z = -45.0 + spacing * index as f32;
        self.axial(&mut o, z, spacing, 240.0 / 512.0);
        o.set_strings(tags::IMAGE_TYPE, VR::CS, strings(&["ORIGINAL", "PRIMARY", "AXIAL"]));
        o.set_str(tags::BODY_PART_EXAMINED, VR::CS, "HEAD");
        o.set_str(tags::KVP, VR::DS, "120");
        o.set_str(tags::RESCALE_INTERCEPT, VR::DS, "-1024");
        o.set_str(tags::RESCALE_SLOPE, VR::DS, "1");
        o.set_strings(tags::WINDOW_CENTER, VR::DS, strings(&["40", "500"]));
        o.set_strings(tags::WINDOW_WIDTH, VR::DS, strings(&["80", "2000"]));
        let pixels = Pixels { rows: 512, columns: 512, samples: 1, frames: 1, bits: 16, stored: 12 };
        let (scene, key) = (Arc::clone(scene), (self.number * MAX_SLICES + index) as u64);
        self.image(o, EXPLICIT_VR_LE, pixels, move || scene.ct(z, key))
    }

    fn mr(&self, series: usize, count: usize, scene: &Arc<Scene>) -> Vec<Instance> {
        let weighting = if series == 1 { "T1" } else { "T2" };
        let one = |index: usize| {
            let mut o = self.object(
                "1.2.840.10008.5.1.4.1.1.4",
                "MR",
                series,
                index + 1,
                &format!("{weighting} axial"),
            );
            let spacing = 138.0 / count as f32;
            let z = -45.0 + spacing * index as f32;
            self.axial(&mut o, z, spacing, 240.0 / 256.0);
            o.set_strings(tags::IMAGE_TYPE, VR::CS, strings(&["ORIGINAL", "PRIMARY", "M", "NONE"]));
            o.set_str(tags::SCANNING_SEQUENCE, VR::CS, "SE");
            o.set_str(tags::SEQUENCE_VARIANT, VR::CS, "NONE");
            o.set_str(tags::MAGNETIC_FIELD_STRENGTH, VR::DS, "1.5");
            o.set_str(tags::WINDOW_CENTER, VR::DS, "450");
            o.set_str(tags::WINDOW_WIDTH, VR::DS, "900");
            let pixels = Pixels { rows: 256, columns: 256, samples: 1, frames: 1, bits: 16, stored: 12 };
            let (scene, key) = (Arc::clone(scene), (self.number * MAX_SLICES + series * 100 + index) as u64);
            self.image(o, EXPLICIT_VR_LE, pixels, move || scene.mr(z, series == 2, key))
        };
        (0..count).map(one).collect()
    }

    /// The position of an axial slice.
    fn axial(&self, o: &mut DataSet, z: f32, thickness: f32, pixel: f32) {
        o.set_str(tags::FRAME_OF_REFERENCE_UID, VR::UI, uid(self.number, 99, 0).as_str());
        o.set_strings(tags::IMAGE_POSITION_PATIENT, VR::DS, strings(&["-120", "-120", &format!("{z:.3}")]));
        o.set_strings(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, strings(&["1", "0", "0", "0", "1", "0"]));
        o.set_strings(
            tags::PIXEL_SPACING,
            VR::DS,
            strings(&[&format!("{pixel:.5}"), &format!("{pixel:.5}")]),
        );
        o.set_str(tags::SLICE_THICKNESS, VR::DS, format!("{thickness:.3}"));
        o.set_str(tags::PATIENT_POSITION, VR::CS, "HFS");
    }

    /// A projection of the skull, made smaller by `reduction`.
    fn cr(&self, number: usize, syntax: &'static str, reduction: usize, scene: &Arc<Scene>) -> Instance {
        let mut o = self.object("1.2.840.10008.5.1.4.1.1.1", "CR", 1, number, "Skull PA");
        o.set_str(tags::BODY_PART_EXAMINED, VR::CS, "SKULL");
        o.set_str(tags::VIEW_POSITION, VR::CS, "PA");
        o.set_str(tags::WINDOW_CENTER, VR::DS, "2048");
        o.set_str(tags::WINDOW_WIDTH, VR::DS, "4096");
        let side = 1024 / reduction;
        let pixels = Pixels { rows: side, columns: side, samples: 1, frames: 1, bits: 16, stored: 12 };
        let scene = Arc::clone(scene);
        self.image(o, syntax, pixels, move || scene.projection(side))
    }

    fn us(&self, scene: &Arc<Scene>) -> Instance {
        let mut o = self.object("1.2.840.10008.5.1.4.1.1.3.1", "US", 1, 1, "Apical four chamber");
        o.set_str(tags::FRAME_TIME, VR::DS, "40");
        o.set_str(tags::CINE_RATE, VR::IS, "25");
        let pixels = Pixels { rows: 240, columns: 320, samples: 3, frames: 30, bits: 8, stored: 8 };
        let scene = Arc::clone(scene);
        self.image(o, EXPLICIT_VR_LE, pixels, move || scene.heart(320, 240, 30))
    }

    fn report(&self) -> Instance {
        let mut o = self.object("1.2.840.10008.5.1.4.1.1.88.11", "SR", 2, 1, "Report");
        documents::report(&mut o);
        self.document(&o)
    }

    fn letter(&self) -> Instance {
        let mut o = self.object("1.2.840.10008.5.1.4.1.1.104.1", "DOC", 1, 1, "Letter");
        documents::letter(&mut o);
        self.document(&o)
    }

    fn document(&self, object: &DataSet) -> Instance {
        let syntax = Uid::from_static(EXPLICIT_VR_LE);
        let bytes = header(object, &syntax, &self.charset);
        Instance::from_bytes(syntax, bytes.into()).expect("our own objects are well formed")
    }

    /// An image whose pixels `draw` makes when they are first asked for.
    fn image(
        &self,
        mut object: DataSet,
        syntax: &'static str,
        pixels: Pixels,
        draw: impl Fn() -> Vec<u8> + Send + Sync + 'static,
    ) -> Instance {
        let syntax = Uid::from_static(syntax);
        pixels.describe(&mut object);
        let prefix: Bytes = header(&object, &syntax, &self.charset).into();
        let (head, drawn, of) = (prefix.clone(), OnceLock::new(), syntax.clone());
        let lazy = move || -> Bytes { drawn.get_or_init(|| encoded(&head, &of, &pixels, draw())).clone() };
        let data = Data::Lazy(Arc::new(lazy));
        Instance::from_prefix(syntax, &prefix, data).expect("our own objects are well formed")
    }
}

/// UIDs below one root of ours, by number of study, series and instance.
fn uid(study: usize, series: usize, instance: usize) -> Uid {
    let text = format!("{}.1.{}.{series}.{instance}", crate::dicom::IMPLEMENTATION_CLASS_UID, study + 1);
    text.parse().expect("digits and dots, and short")
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|v| (*v).to_owned()).collect()
}

fn set_sequence(data_set: &mut DataSet, tag: Tag, item: DataSet) {
    data_set.set_items(tag, vec![item]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::dataset::DataSet;
    use crate::dicom::transfer_syntax::layout;

    fn bytes(instance: &Instance) -> Bytes {
        match &instance.data {
            Data::Memory(bytes) => bytes.clone(),
            Data::Lazy(make) => make(),
            Data::Parts(_) | Data::File { .. } => panic!("made-up objects are whole and in no file"),
        }
    }

    #[test]
    fn every_object_is_a_data_set_in_its_transfer_syntax_and_every_name_survives() {
        let objects = make(6, 2);
        assert_eq!(objects.len(), 3 + 48 + 1 + 1 + 1 + 3);
        let mut uids = std::collections::BTreeSet::new();
        for object in &objects {
            assert!(uids.insert(object.head.sop_instance.clone()), "UIDs are unique");
            // Drawing takes its time, and the slices of a series differ in their pixels only.
            if object.attributes.int(tags::INSTANCE_NUMBER) > Some(3) {
                continue;
            }
            let parsed =
                DataSet::parse(&bytes(object), layout(&object.head.transfer_syntax), None).unwrap().data_set;
            assert_eq!(parsed.uid(tags::SOP_INSTANCE_UID).unwrap(), object.head.sop_instance);
            let name = parsed.string(tags::PATIENT_NAME).unwrap();
            assert!(PATIENTS.iter().any(|p| p.name == name), "{name}");
        }
        for patient in &PATIENTS {
            assert!(objects.iter().any(|o| o.attributes.string(tags::PATIENT_NAME) == Some(patient.name)));
        }
    }

    #[test]
    fn the_same_archive_is_made_every_time() {
        let (once, again) = (make(1, 1), make(1, 1));
        assert!(once.iter().zip(&again).all(|(a, b)| bytes(a) == bytes(b)));
    }

    #[test]
    fn longer_lists_have_more_studies_of_the_same_patients() {
        let objects = make(60, 1);
        let studies: std::collections::BTreeSet<_> = objects.iter().map(|o| o.study().to_owned()).collect();
        assert_eq!(studies.len(), 60);
    }
}
