//! What associations are offered, and which requests find one that will do.

use super::classes::every_syntax;
use super::*;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_BE, LOSSLESS, is_native};

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const ENHANCED_CT: &str = "1.2.840.10008.5.1.4.1.1.2.1";
const MR: &str = "1.2.840.10008.5.1.4.1.1.4";
const TERMS: Terms = Terms { model: Model::Auto, together: true };
const STORED: Form = Form::AsStored;

fn has(proposals: &[Proposal], class: &str, syntax: &str) -> bool {
    (proposals.iter())
        .any(|p| p.abstract_syntax.as_str() == class && p.transfer_syntaxes[0].as_str() == syntax && p.as_scp)
}

fn of(modality: &str, learnt: &Learnt) -> Contexts {
    likely(STORED, &[modality.into()], learnt, TERMS)
}

fn contains(all: &[Proposal], some: &[Proposal]) -> bool {
    some.iter().all(|proposal| all.contains(proposal))
}

fn knows(classes: &[&str]) -> Learnt {
    let mut learnt = Learnt::default();
    let syntax = EXPLICIT_VR_LE.parse().unwrap();
    classes.iter().for_each(|class| learnt.saw(&class.parse().unwrap(), Some(&syntax)));
    learnt
}

#[test]
fn a_ct_study_gets_its_classes_in_every_common_syntax_and_never_more_than_128_contexts() {
    let Contexts { want, offer, .. } = of("CT", &Learnt::default());
    assert!(offer.len() <= MAX_CONTEXTS);
    assert!(has(&want, CT, "1.2.840.10008.1.2.4.90"));
    assert!(has(&offer, ENHANCED_CT, "1.2.840.10008.1.2.4.90"));
    assert!(has(&offer, "1.2.840.10008.5.1.4.1.1.88.59", IMPLICIT_VR_LE));
    let native = likely(Form::Native, &["CT".into()], &Learnt::default(), TERMS);
    assert!(native.offer.len() <= MAX_CONTEXTS);
    assert!(native.offer.iter().all(|p| p.transfer_syntaxes.iter().all(is_native)));
}

#[test]
fn hazard_an_image_class_is_offered_in_every_syntax_or_not_at_all() {
    for learnt in [Learnt::default(), knows(&[MR, ENHANCED_CT])] {
        let offers =
            ["CT", "MR", "US", "MG", "OT", "PT", "XA", "", "??"].map(|modality| of(modality, &learnt).offer);
        for offer in offers.into_iter().chain([of_query(&learnt, TERMS).offer]) {
            assert!(offer.len() <= MAX_CONTEXTS);
            for class in table(has_pixels) {
                let offered = every_syntax().iter().filter(|syntax| has(&offer, class, syntax)).count();
                assert!([0, syntaxes(STORED, class).len()].contains(&offered), "{class}");
            }
            assert!(has(&offer, sop_class::SECONDARY_CAPTURE, EXPLICIT_VR_LE));
        }
    }
}

#[test]
fn only_video_is_not_offered_for_images_of_one_frame() {
    let left_out: Vec<_> = every_syntax().into_iter().filter(|s| !syntaxes(STORED, CT).contains(s)).collect();
    assert_eq!(left_out.len(), 9, "{left_out:?}");
    assert_eq!(syntaxes(STORED, "1.2.840.10008.5.1.4.1.1.3.1"), every_syntax(), "ultrasound of many frames");
}

#[test]
fn of_each_modality_of_a_study_the_most_common_class_comes_first() {
    let proposals = likely(STORED, &["CT".into(), "MR".into()], &Learnt::default(), TERMS);
    for class in [CT, MR] {
        assert!(has(&proposals.want, class, "1.2.840.10008.1.2.4.90"), "{class}");
    }
}

#[test]
fn what_was_learnt_of_the_archive_comes_along() {
    let (class, syntax) = ("1.2.826.0.1.3680043.9.9", "1.2.840.10008.1.2.4.203");
    let mut learnt = Learnt::default();
    learnt.saw(&class.parse().unwrap(), Some(&syntax.parse().unwrap()));
    let terms = Terms { model: Model::Study, together: false };
    assert!(has(&likely(STORED, &["CT".into()], &learnt, terms).want, class, syntax));
    assert!(has(&likely(Form::Native, &["CT".into()], &learnt, terms).want, class, EXPLICIT_VR_LE));
}

#[test]
fn what_a_retrieval_opens_serves_searches_and_single_instances_of_its_classes() {
    for modality in ["CT", "MR", "US", "MG", "PT", "XA", "SR"] {
        let Contexts { want, offer, .. } = of(modality, &Learnt::default());
        assert!(contains(&offer, &query_profile()), "{modality}");
        for class in table(|class, _| has(&want, class, EXPLICIT_VR_LE)) {
            let one = of_class(STORED, &class.parse().unwrap(), &Learnt::default(), TERMS);
            assert!(contains(&offer, &one.want), "{modality}: {class}");
        }
    }
}

#[test]
fn what_a_search_opens_brings_the_images_of_most_archives_and_those_that_this_one_has_sent() {
    let offer = of_query(&Learnt::default(), TERMS).offer;
    for modality in ["CT", "MR", ""] {
        assert!(contains(&offer, &of(modality, &Learnt::default()).want), "{modality}");
    }
    for class in [CT, MR, sop_class::SECONDARY_CAPTURE, "1.2.840.10008.5.1.4.1.1.88.67"] {
        let one = of_class(STORED, &class.parse().unwrap(), &Learnt::default(), TERMS);
        assert!(contains(&offer, &one.want), "{class}");
    }
    for (class, modality) in
        [(CT, "CT"), ("1.2.840.10008.5.1.4.1.1.1.2", "MG"), ("1.2.840.10008.5.1.4.1.1.1.1", "DX")]
    {
        let learnt = knows(&[class]);
        assert!(contains(&of_query(&learnt, TERMS).offer, &of(modality, &learnt).want), "{modality}");
    }
    let apart = of_query(&Learnt::default(), Terms { together: false, ..TERMS });
    assert_eq!(apart.offer.to_vec(), query_profile(), "another AE brings the objects");
}

#[test]
fn known_classes_get_every_syntax_in_as_many_associations_as_needed() {
    let classes: Vec<Uid> = (0..10).map(|n| format!("1.2.{n}").parse().unwrap()).collect();
    let batches = exhaustive(STORED, &classes, TERMS);
    assert!(batches.iter().all(|b| b.offer.len() <= MAX_CONTEXTS));
    for class in &classes {
        for syntax in LOSSLESS.iter().chain(&LOSSY).chain(&[EXPLICIT_VR_BE]) {
            assert!(batches.iter().any(|b| has(&b.want, class.as_str(), syntax)), "{class} {syntax}");
        }
    }
}
