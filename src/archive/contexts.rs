//! Which presentation contexts an association is offered: 128 at most, so those of searches, and those of the objects
//! that are likely to come, by the study's modalities and by what the archive has sent before.
//!
//! Searches and retrievals share associations: what one has opened the next one finds idle. So each of them wants as
//! little as it needs, and offers a new association as much as there is room for. What comes in no context is asked
//! for again with those of its class.
//!
//! For objects as they are stored, an image class is offered in every syntax or not at all: an archive that is not
//! offered the syntax in which an object lies may convert it unasked (Orthanc does), and nothing would tell.

mod classes;

use self::classes::{NATIVE, every_syntax, has_pixels, is_anywhere, modality, syntaxes, table};
use super::Form;
use super::dimse::config::Model;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE, LOSSY};
use crate::dicom::{Uid, sop_class};
use crate::dimse::negotiation::Proposal;
use crate::dimse::pdu::MAX_CONTEXTS;
use crate::dimse::pool::Contexts;

pub(super) use self::classes::Learnt;

/// Image classes that a retrieval wants beside Secondary Capture, each in every syntax: more do not fit into one
/// association.
const IMAGE_CLASSES: usize = 2;
/// Image classes that most archives hold: a new association is offered them as far as there is room.
const COMMON_IMAGES: [&str; 3] =
    [sop_class::SECONDARY_CAPTURE, "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"];
/// Contexts that images leave to others: to nine classes without pixels, each in two syntaxes.
const NO_IMAGES: usize = 18;

/// The transfer syntaxes of operations, the preferred one first.
const NATIVE_OPERATION: [&str; 2] = [EXPLICIT_VR_LE, IMPLICIT_VR_LE];

/// What the associations with an archive have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// The query/retrieve model, as it is configured.
    pub(super) model: Model,
    /// Searches and C-GETs go to the same AE, so that one association may serve both.
    pub(super) together: bool,
}

/// The contexts of searches, C-MOVE and C-ECHO: few, so that one idle association serves them all. Whether the
/// archive can leave out bulk data is asked along with them.
pub(super) fn query_profile() -> Vec<Proposal> {
    let classes = [
        sop_class::VERIFICATION,
        sop_class::STUDY_ROOT_FIND,
        sop_class::PATIENT_ROOT_FIND,
        sop_class::STUDY_ROOT_MOVE,
        sop_class::PATIENT_ROOT_MOVE,
        sop_class::WITHOUT_BULK_DATA_GET,
    ];
    classes.into_iter().map(operation).collect()
}

/// The contexts of a search: a new association may bring the objects, too, that the search leads to.
pub(super) fn of_query(learnt: &Learnt, terms: Terms) -> Contexts {
    let want = query_profile();
    if !terms.together {
        return Contexts::only(want);
    }
    let mut list = List::new(Form::AsStored, terms);
    list.fill(learnt);
    Contexts::offering(want, list.proposals)
}

/// The contexts for a first attempt: the classes of the study's modalities, and what this archive has sent that is in
/// no table; what studies of any modality hold, and others, as far as there is room.
pub(super) fn likely(form: Form, modalities: &[String], learnt: &Learnt, terms: Terms) -> Contexts {
    // Where the archive does not tell the modality, the most common ones.
    let untold = modalities.iter().all(String::is_empty);
    let is_of_study =
        |hint: &str| modalities.iter().any(|m| m == hint) || untold && ["CT", "MR"].contains(&hint);
    let of_study = |hints: &[&str]| hints.iter().any(|hint| is_of_study(hint));
    let mut list = List::new(form, terms);
    let images = table(|class, hints| of_study(hints) && has_pixels(class, hints));
    let (likely, less) =
        if form == Form::Native { (images, Vec::new()) } else { by_likelihood(images, learnt) };
    list.add_all(&likely);
    list.add_all(&[sop_class::SECONDARY_CAPTURE]);
    list.add_all(&table(|class, hints| of_study(hints) && !has_pixels(class, hints)));
    list.add_others(learnt);
    let want = list.wanted();
    list.add_images(&less);
    list.fill(learnt);
    Contexts::offering(want, list.proposals)
}

/// The contexts for a first attempt at one object whose class is known.
pub(super) fn of_class(form: Form, class: &Uid, learnt: &Learnt, terms: Terms) -> Contexts {
    let mut list = List::new(form, terms);
    list.add_all(&[class.as_str()]);
    list.filled(learnt)
}

/// The contexts for objects whose classes are known: every syntax, in as many associations as that takes. For
/// native objects the lossy syntaxes come too: what exists in no other form is taken as it is stored.
pub(super) fn exhaustive(form: Form, classes: &[Uid], terms: Terms) -> Vec<Contexts> {
    let syntaxes = match form {
        Form::AsStored | Form::WithoutBulkData => every_syntax(),
        Form::Native => NATIVE.into_iter().chain(LOSSY).collect(),
    };
    let per_association = (MAX_CONTEXTS - List::new(form, terms).proposals.len()) / syntaxes.len();
    (classes.chunks(per_association))
        .map(|classes| {
            let mut list = List::new(form, terms);
            classes.iter().for_each(|class| list.add(class.as_str(), &syntaxes, MAX_CONTEXTS));
            Contexts::offering(list.wanted(), list.proposals)
        })
        .collect()
}

/// Of the image classes of a study those that this archive has sent before, and for modalities of which it has sent
/// none the most common one; then the others.
fn by_likelihood(mut images: Vec<&'static str>, learnt: &Learnt) -> (Vec<&'static str>, Vec<&'static str>) {
    images.retain(|class| *class != sop_class::SECONDARY_CAPTURE);
    let all = images.clone();
    let is_first =
        |class: &str| all.iter().find(|c| modality(c) == modality(class)).is_some_and(|c| *c == class);
    let is_news = |class: &str| !all.iter().any(|c| modality(c) == modality(class) && learnt.has(c));
    let is_likely = |class: &str| learnt.has(class) || is_first(class) && is_news(class);
    // The sort is stable: in each part those that are first in the table.
    images.sort_by_key(|class| (!is_likely(class), !learnt.has(class)));
    let likely = images.iter().filter(|class| is_likely(class)).count();
    let others = images.split_off(likely.min(IMAGE_CLASSES));
    (images, others)
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

/// The context of operations that we invoke.
pub(super) fn operation(class: &'static str) -> Proposal {
    Proposal {
        abstract_syntax: Uid::from_static(class),
        transfer_syntaxes: NATIVE_OPERATION.map(Uid::from_static).into(),
        as_scp: false,
    }
}

/// The contexts of operations that clients invoke: one for each transfer syntax, so that a data set mostly stays as it
/// is. An archive that was asked what it takes was offered the same.
pub(super) fn invoked(class: &Uid, syntax: &Uid) -> Vec<Proposal> {
    let native = NATIVE_OPERATION.map(Uid::from_static);
    native.into_iter().map(|syntax| in_syntax(class, syntax)).chain(special(class, syntax)).collect()
}

/// The context for a client's own transfer syntax, where that is one that searches do not propose.
pub(super) fn special(class: &Uid, syntax: &Uid) -> Option<Proposal> {
    let is_native = NATIVE_OPERATION.contains(&syntax.as_str());
    (!is_native).then(|| in_syntax(class, syntax.clone()))
}

fn in_syntax(class: &Uid, syntax: Uid) -> Proposal {
    Proposal { abstract_syntax: class.clone(), transfer_syntaxes: vec![syntax], as_scp: false }
}

/// Contexts for a C-GET: those of the operations come first, as an archive may look at the first ones only.
struct List {
    form: Form,
    roots: Vec<Proposal>,
    proposals: Vec<Proposal>,
}

impl List {
    fn new(form: Form, terms: Terms) -> Self {
        let roots: Vec<Proposal> = roots(form, terms.model).into_iter().map(operation).collect();
        let mut proposals = if terms.together { query_profile() } else { Vec::new() };
        let more = roots.iter().filter(|root| !proposals.contains(root)).cloned().collect::<Vec<_>>();
        proposals.extend(more);
        Self { form, roots, proposals }
    }

    /// What a retrieval needs for the classes so far.
    fn wanted(&self) -> Vec<Proposal> {
        let classes = self.proposals.iter().filter(|proposal| proposal.as_scp);
        self.roots.iter().chain(classes).cloned().collect()
    }

    /// What a retrieval needs for the classes so far, and an offer of more.
    fn filled(mut self, learnt: &Learnt) -> Contexts {
        let want = self.wanted();
        self.fill(learnt);
        Contexts::offering(want, self.proposals)
    }

    /// Adds what may be wanted later, until there is no more room.
    fn fill(&mut self, learnt: &Learnt) {
        self.add_images(&learnt.images());
        self.add_images(&COMMON_IMAGES);
        self.add_all(&table(|class, hints| is_anywhere(hints) && !has_pixels(class, hints)));
        self.add_others(learnt);
        self.add_all(&table(|class, hints| self.form == Form::Native || !has_pixels(class, hints)));
    }

    /// Adds image classes as far as they leave room to others.
    fn add_images(&mut self, classes: &[&str]) {
        let most = MAX_CONTEXTS - NO_IMAGES;
        classes.iter().for_each(|class| self.add(class, &syntaxes(self.form, class), most));
    }

    fn add_all(&mut self, classes: &[&str]) {
        classes.iter().for_each(|class| self.add(class, &syntaxes(self.form, class), MAX_CONTEXTS));
    }

    /// Adds the classes that are not in our table, in the syntaxes in which their objects lie.
    fn add_others(&mut self, learnt: &Learnt) {
        for class in learnt.others() {
            let stored = learnt.syntaxes(class);
            self.add(class, if self.form == Form::Native { &NATIVE } else { &stored }, MAX_CONTEXTS);
        }
    }

    /// Adds a class, one context a syntax so that every object can come as it lies there, unless it is there already
    /// or there would be more than `most` contexts.
    fn add(&mut self, class: &str, syntaxes: &[&str], most: usize) {
        let is_there = self.proposals.iter().any(|p| p.as_scp && p.abstract_syntax.as_str() == class);
        if is_there || self.proposals.len() + syntaxes.len() > most {
            return;
        }
        let Ok(abstract_syntax) = class.parse::<Uid>() else { return };
        let proposal = |syntax| Proposal {
            abstract_syntax: abstract_syntax.clone(),
            transfer_syntaxes: vec![syntax],
            as_scp: true,
        };
        self.proposals.extend(syntaxes.iter().filter_map(|syntax| syntax.parse().ok()).map(proposal));
    }
}

#[cfg(test)]
mod tests;
