//! Which presentation contexts a C-GET proposes: 128 at most, so the likely ones, by the study's modalities
//! and by what the archive has sent before.

use std::collections::HashMap;

use super::Form;
use super::dimse::config::Model;
use crate::dicom::transfer_syntax::{
    DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE, LOSSLESS, LOSSY,
};
use crate::dicom::{Uid, sop_class};
use crate::dimse::negotiation::Proposal;
use crate::dimse::pdu::MAX_CONTEXTS;

/// Most pairs of class and syntax that are remembered of one archive.
const MOST_LEARNT: usize = 512;
/// Image classes that a first attempt offers, each in every syntax: more do not fit into one association
/// beside the classes without pixels.
const IMAGE_CLASSES: usize = 3;
/// Modalities whose objects have no pixels: nothing compresses them.
const WITHOUT_PIXELS: [&str; 16] = [
    "SR", "KO", "PR", "DOC", "REG", "RWV", "ECG", "HD", "EPS", "AU", "RTSTRUCT", "RTPLAN", "RTRECORD", "RAW",
    "FID", "M3D",
];

/// Pairs of storage class and transfer syntax that an archive has sent, with how often.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    seen: HashMap<(Uid, Uid), u64>,
}

impl Learnt {
    /// An object came.
    pub(super) fn saw(&mut self, class: &Uid, syntax: &Uid) {
        let key = (class.clone(), syntax.clone());
        if self.seen.len() < MOST_LEARNT || self.seen.contains_key(&key) {
            *self.seen.entry(key).or_default() += 1;
        }
    }

    /// Syntaxes seen for a class. Sorted, so that equal knowledge gives equal proposals.
    fn syntaxes(&self, class: &str) -> Vec<&str> {
        let mut syntaxes: Vec<&str> =
            self.seen.keys().filter(|(c, _)| c.as_str() == class).map(|(_, s)| s.as_str()).collect();
        syntaxes.sort_unstable();
        syntaxes
    }

    /// Classes seen that are not in our table, private ones among them.
    fn other_classes(&self) -> Vec<&str> {
        let known = |class: &str| sop_class::STORAGE.iter().any(|(c, _)| *c == class);
        let mut classes: Vec<&str> =
            self.seen.keys().map(|(c, _)| c.as_str()).filter(|c| !known(c)).collect();
        classes.sort_unstable();
        classes.dedup();
        classes
    }
}

/// The contexts for a first attempt: the classes of the study's modalities, then what studies of any modality
/// hold, then others, until there are 128.
///
/// For objects as they are stored, an image class is offered in every syntax or not at all: an archive that is
/// not offered the syntax in which an object lies may convert it unasked (Orthanc does), and nothing would
/// tell. What comes in no context is asked for again with those of its class.
pub(super) fn likely(form: Form, modalities: &[String], learnt: &Learnt, model: Model) -> Vec<Proposal> {
    // Where the archive does not tell the modality, the most common ones.
    let untold = modalities.iter().all(String::is_empty);
    let is_of_study =
        |hint: &str| modalities.iter().any(|m| m == hint) || untold && ["CT", "MR"].contains(&hint);
    let of_study = |hints: &[&str]| hints.iter().any(|hint| is_of_study(hint));
    let table = |wanted: &dyn Fn(&str, &[&str]) -> bool| {
        let rows = sop_class::STORAGE.iter().filter(|(class, hints)| wanted(class, hints));
        rows.map(|(class, _)| *class).collect::<Vec<&str>>()
    };
    let mut list = Contexts::new(form, model);
    let native = [EXPLICIT_VR_LE, IMPLICIT_VR_LE];
    if form == Form::Native {
        table(&|_, hints| of_study(hints)).iter().for_each(|class| list.add(class, &native));
        table(&|_, hints| is_anywhere(hints)).iter().for_each(|class| list.add(class, &native));
        learnt.other_classes().iter().for_each(|class| list.add(class, &native));
        table(&|_, _| true).iter().for_each(|class| list.add(class, &native));
        return list.proposals;
    }
    // Those that this archive has sent before come first, then the most common one of each modality; the sort is
    // stable.
    let mut images = table(&|class, hints| of_study(hints) && has_pixels(class, hints));
    let rank = |class: &str| {
        let mut rows = sop_class::STORAGE.iter();
        let hints = rows.clone().find(|(c, _)| *c == class).map_or(&[][..], |(_, hints)| hints);
        let alike = |other: &&(&str, &[&str])| hints.first().is_some_and(|hint| other.1.contains(hint));
        rows.by_ref().take_while(|(c, _)| *c != class).filter(alike).count()
    };
    images.sort_by_key(|class| (learnt.syntaxes(class).is_empty(), rank(class)));
    images.retain(|class| *class != sop_class::SECONDARY_CAPTURE);
    images.truncate(IMAGE_CLASSES - 1);
    images.push(sop_class::SECONDARY_CAPTURE);
    images.iter().for_each(|class| list.add(class, &every_syntax()));
    table(&|class, hints| of_study(hints) && !has_pixels(class, hints))
        .iter()
        .for_each(|c| list.add(c, &native));
    table(&|class, hints| is_anywhere(hints) && !has_pixels(class, hints))
        .iter()
        .for_each(|c| list.add(c, &native));
    for class in learnt.other_classes() {
        list.add(class, &learnt.syntaxes(class));
    }
    table(&|class, hints| !has_pixels(class, hints)).iter().for_each(|class| list.add(class, &native));
    list.proposals
}

/// Classes that studies of every modality hold.
fn is_anywhere(hints: &[&str]) -> bool {
    hints.is_empty() || hints.iter().any(|hint| matches!(*hint, "SR" | "KO" | "PR" | "DOC"))
}

fn has_pixels(class: &str, hints: &[&str]) -> bool {
    class != sop_class::RAW_DATA && !hints.iter().any(|hint| WITHOUT_PIXELS.contains(hint))
}

/// Every syntax that is known here, native ones first.
fn every_syntax() -> Vec<&'static str> {
    let native = [EXPLICIT_VR_LE, IMPLICIT_VR_LE];
    let rare = [EXPLICIT_VR_BE, DEFLATED_EXPLICIT_VR_LE];
    native.into_iter().chain(LOSSLESS).chain(rare).chain(LOSSY).collect()
}

/// The contexts for a first attempt at one object whose class is known.
pub(super) fn of_class(form: Form, class: &Uid, model: Model) -> Vec<Proposal> {
    let mut list = Contexts::new(form, model);
    match form {
        Form::AsStored | Form::WithoutBulkData => list.add(class.as_str(), &every_syntax()),
        Form::Native => list.add(class.as_str(), &[EXPLICIT_VR_LE, IMPLICIT_VR_LE]),
    }
    list.proposals
}

/// The contexts for objects whose classes are known: every syntax, in as many associations as that takes. For
/// native objects the lossy syntaxes come too: what exists in no other form is taken as it is stored.
pub(super) fn exhaustive(form: Form, classes: &[Uid], model: Model) -> Vec<Vec<Proposal>> {
    let syntaxes = match form {
        Form::AsStored | Form::WithoutBulkData => every_syntax(),
        Form::Native => [EXPLICIT_VR_LE, IMPLICIT_VR_LE].into_iter().chain(LOSSY).collect(),
    };
    let per_association = (MAX_CONTEXTS - roots(form, model).len()) / syntaxes.len();
    (classes.chunks(per_association))
        .map(|classes| {
            let mut list = Contexts::new(form, model);
            classes.iter().for_each(|class| list.add(class.as_str(), &syntaxes));
            list.proposals
        })
        .collect()
}

/// The C-GET classes of a form and a model.
fn roots(form: Form, model: Model) -> Vec<&'static str> {
    let mut roots = match model {
        Model::Auto => vec![sop_class::STUDY_ROOT_GET, sop_class::PATIENT_ROOT_GET],
        Model::Study => vec![sop_class::STUDY_ROOT_GET],
        Model::Patient => vec![sop_class::PATIENT_ROOT_GET],
    };
    roots.extend((form == Form::WithoutBulkData).then_some(sop_class::WITHOUT_BULK_DATA_GET));
    roots
}

struct Contexts {
    proposals: Vec<Proposal>,
}

impl Contexts {
    fn new(form: Form, model: Model) -> Self {
        let root = |class: &'static str| Proposal {
            abstract_syntax: Uid::from_static(class),
            transfer_syntaxes: vec![Uid::from_static(EXPLICIT_VR_LE), Uid::from_static(IMPLICIT_VR_LE)],
            as_scp: false,
        };
        Self { proposals: roots(form, model).into_iter().map(root).collect() }
    }

    /// One context a syntax, so that every object can come as it lies there.
    fn add(&mut self, class: &str, syntaxes: &[&str]) {
        let Ok(abstract_syntax) = class.parse::<Uid>() else { return };
        for syntax in syntaxes.iter().filter_map(|s| s.parse().ok()) {
            let proposal = Proposal {
                abstract_syntax: abstract_syntax.clone(),
                transfer_syntaxes: vec![syntax],
                as_scp: true,
            };
            if self.proposals.len() < MAX_CONTEXTS && !self.proposals.contains(&proposal) {
                self.proposals.push(proposal);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn has(proposals: &[Proposal], class: &str, syntax: &str) -> bool {
        (proposals.iter()).any(|p| {
            p.abstract_syntax.as_str() == class && p.transfer_syntaxes[0].as_str() == syntax && p.as_scp
        })
    }

    #[test]
    fn a_ct_study_gets_its_classes_in_every_common_syntax_and_never_more_than_128_contexts() {
        let proposals = likely(Form::AsStored, &["CT".into()], &Learnt::default(), Model::Auto);
        assert_eq!(proposals.len(), MAX_CONTEXTS);
        assert!(has(&proposals, "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.4.90"));
        assert!(has(&proposals, "1.2.840.10008.5.1.4.1.1.88.59", IMPLICIT_VR_LE));
        let native = likely(Form::Native, &["CT".into()], &Learnt::default(), Model::Auto);
        assert!(
            !native
                .iter()
                .any(|p| p.transfer_syntaxes.iter().any(|s| !crate::dicom::transfer_syntax::is_native(s)))
        );
    }

    #[test]
    fn hazard_an_image_class_is_offered_in_every_syntax_or_not_at_all() {
        for modality in ["CT", "MR", "US", "MG", "OT", "PT", "XA", "", "??"] {
            let proposals = likely(Form::AsStored, &[modality.into()], &Learnt::default(), Model::Auto);
            assert!(proposals.len() <= MAX_CONTEXTS);
            let mut whole = Vec::new();
            for (class, hints) in sop_class::STORAGE.iter().filter(|(class, hints)| has_pixels(class, hints))
            {
                let offered = every_syntax().iter().filter(|syntax| has(&proposals, class, syntax)).count();
                assert!([0, every_syntax().len()].contains(&offered), "{modality}: {class} {hints:?}");
                whole.extend((offered > 0).then_some(*class));
            }
            assert!(whole.len() == IMAGE_CLASSES || modality == "??", "{modality}: {whole:?}");
            assert!(whole.contains(&sop_class::SECONDARY_CAPTURE), "{modality}");
        }
    }

    #[test]
    fn of_each_modality_of_a_study_the_most_common_class_comes_first() {
        let proposals = likely(Form::AsStored, &["CT".into(), "MR".into()], &Learnt::default(), Model::Auto);
        for class in ["1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"] {
            assert!(has(&proposals, class, "1.2.840.10008.1.2.4.90"), "{class}");
        }
    }

    #[test]
    fn what_was_learnt_of_the_archive_comes_along() {
        let (class, syntax) = ("1.2.826.0.1.3680043.9.9", "1.2.840.10008.1.2.4.203");
        let mut learnt = Learnt::default();
        learnt.saw(&class.parse().unwrap(), &syntax.parse().unwrap());
        assert!(has(&likely(Form::AsStored, &["CT".into()], &learnt, Model::Study), class, syntax));
        assert!(has(&likely(Form::Native, &["CT".into()], &learnt, Model::Study), class, EXPLICIT_VR_LE));
    }

    #[test]
    fn known_classes_get_every_syntax_in_as_many_associations_as_needed() {
        let classes: Vec<Uid> = (0..10).map(|n| format!("1.2.{n}").parse().unwrap()).collect();
        let batches = exhaustive(Form::AsStored, &classes, Model::Auto);
        assert!(batches.iter().all(|b| b.len() <= MAX_CONTEXTS));
        for class in &classes {
            for syntax in LOSSLESS.iter().chain(&LOSSY).chain(&[EXPLICIT_VR_BE]) {
                assert!(batches.iter().any(|b| has(b, class.as_str(), syntax)), "{class} {syntax}");
            }
        }
    }
}
