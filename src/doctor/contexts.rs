//! Which services and objects an archive takes, by the presentation contexts that it accepts (PS3.8 7.1.1.13).

use super::Examination;
use super::finding::{Code, Finding, Level};
use super::talk::Talk;
use crate::archive::dimse::config::Model;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE};
use crate::dicom::{Uid, sop_class};
use crate::dimse::negotiation::Proposal;

/// Classes of objects that are asked about, with the names that people use.
const CLASSES: [(&str, &str); 8] = [
    ("1.2.840.10008.5.1.4.1.1.2", "CT"),
    ("1.2.840.10008.5.1.4.1.1.4", "MR"),
    ("1.2.840.10008.5.1.4.1.1.1.1", "DX"),
    ("1.2.840.10008.5.1.4.1.1.6.1", "US"),
    ("1.2.840.10008.5.1.4.1.1.1.2", "MG"),
    (sop_class::SECONDARY_CAPTURE, "SC"),
    ("1.2.840.10008.5.1.4.1.1.88.33", "SR"),
    ("1.2.840.10008.5.1.4.1.1.104.1", "PDF"),
];

/// Transfer syntaxes that are asked about, each for itself: an acceptor chooses one of those in a context, and says
/// nothing of the others.
const SYNTAXES: [(&str, &str); 8] = [
    (IMPLICIT_VR_LE, "implicit VR"),
    (EXPLICIT_VR_LE, "explicit VR"),
    ("1.2.840.10008.1.2.4.50", "JPEG baseline"),
    ("1.2.840.10008.1.2.4.70", "JPEG lossless"),
    ("1.2.840.10008.1.2.4.80", "JPEG-LS lossless"),
    ("1.2.840.10008.1.2.4.90", "JPEG 2000 lossless"),
    ("1.2.840.10008.1.2.4.91", "JPEG 2000"),
    ("1.2.840.10008.1.2.5", "RLE"),
];

/// Query and retrieval, with the names that people use.
const SERVICES: [(&str, &str); 8] = [
    (sop_class::VERIFICATION, "C-ECHO"),
    (sop_class::STUDY_ROOT_FIND, "Study Root C-FIND"),
    (sop_class::PATIENT_ROOT_FIND, "Patient Root C-FIND"),
    (sop_class::STUDY_ROOT_MOVE, "Study Root C-MOVE"),
    (sop_class::PATIENT_ROOT_MOVE, "Patient Root C-MOVE"),
    (sop_class::STUDY_ROOT_GET, "Study Root C-GET"),
    (sop_class::PATIENT_ROOT_GET, "Patient Root C-GET"),
    (sop_class::WITHOUT_BULK_DATA_GET, "C-GET without bulk data"),
];

/// Which of the archive's services are accepted.
#[derive(Debug, Clone, Default)]
pub(super) struct Accepted {
    classes: Vec<Uid>,
}

impl Accepted {
    fn has(&self, class: &str) -> bool {
        self.classes.iter().any(|accepted| accepted.as_str() == class)
    }

    /// The class of a service in the model that is configured, or that the archive has.
    fn class(&self, model: Model, study: &'static str, patient: &'static str) -> Option<&'static str> {
        let of_model = match model {
            Model::Auto => vec![study, patient],
            Model::Study => vec![study],
            Model::Patient => vec![patient],
        };
        of_model.into_iter().find(|class| self.has(class))
    }

    pub(super) fn find(&self, model: Model) -> Option<&'static str> {
        self.class(model, sop_class::STUDY_ROOT_FIND, sop_class::PATIENT_ROOT_FIND)
    }

    pub(super) fn get(&self, model: Model) -> Option<&'static str> {
        self.class(model, sop_class::STUDY_ROOT_GET, sop_class::PATIENT_ROOT_GET)
    }

    pub(super) fn moves(&self, model: Model) -> Option<&'static str> {
        self.class(model, sop_class::STUDY_ROOT_MOVE, sop_class::PATIENT_ROOT_MOVE)
    }

    /// The archive has the Patient Root model and no other.
    pub(super) fn is_patient_root_only(&self) -> bool {
        self.has(sop_class::PATIENT_ROOT_FIND) && !self.has(sop_class::STUDY_ROOT_FIND)
    }
}

/// The contexts of query and retrieval.
pub(super) fn few() -> Vec<Proposal> {
    let syntaxes = [EXPLICIT_VR_LE, IMPLICIT_VR_LE];
    SERVICES.iter().map(|(class, _)| proposal(class, &syntaxes)).collect()
}

fn storage() -> Vec<Proposal> {
    let of = |(class, _): &(&'static str, &str)| SYNTAXES.map(|(syntax, _)| proposal(class, &[syntax]));
    CLASSES.iter().flat_map(of).collect()
}

fn proposal(class: &'static str, syntaxes: &[&'static str]) -> Proposal {
    let transfer_syntaxes = syntaxes.iter().map(|syntax| Uid::from_static(syntax)).collect();
    Proposal { abstract_syntax: Uid::from_static(class), transfer_syntaxes, as_scp: false }
}

impl Examination {
    /// What the archive accepted of query and retrieval.
    pub(super) fn look_at_services(&mut self, talk: &Talk) {
        let agreement = talk.agreement();
        let classes = agreement.contexts.iter().map(|context| context.abstract_syntax.clone()).collect();
        self.accepted = Accepted { classes };
        let (accepted, config) = (self.accepted.clone(), self.config.clone());
        let listed = |is: bool| {
            let of = SERVICES.iter().filter(|(class, _)| accepted.has(class) == is);
            of.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
        };
        let (yes, no) = (listed(true), listed(false));
        let what = match (yes.is_empty(), no.is_empty()) {
            (true, _) => "nothing of query and retrieval is accepted".to_owned(),
            (_, true) => format!("accepted: {yes}"),
            _ => format!("accepted: {yes}; not accepted: {no}"),
        };
        self.found(Finding::new(Code::QueryContexts, what));
        let rights = format!(
            "have the PACS administrator allow it for {}: archives have such rights for each AE title",
            config.calling
        );
        if accepted.find(config.model).is_none() {
            let finding = Finding::new(Code::NoFind, "C-FIND is not accepted")
                .means("nothing can be searched for, and so nothing retrieved")
                .remedy(format!(
                    "{rights}; some archives search under another title: archive.{}.query",
                    config.name
                ));
            self.found(finding);
        }
        let (get, moves) = (accepted.get(config.model), accepted.moves(config.model));
        if get.is_none() && moves.is_none() {
            let finding = Finding::new(Code::NoRetrieve, "neither C-GET nor C-MOVE is accepted")
                .means("objects cannot be retrieved")
                .remedy(format!(
                    "{rights}; some archives send from another title: archive.{}.retrieve_from",
                    config.name
                ));
            self.found(finding);
        }
        if accepted.is_patient_root_only() {
            let finding = Finding::new(Code::PatientRootOnly, "only the Patient Root model is accepted")
                .means(
                    "studies are found and retrieved by way of their patients, which Gantry does by itself",
                );
            self.found(finding);
        }
    }

    /// What the archive takes of objects; on an association of its own, as some refuse so many contexts.
    pub(super) async fn look_at_storage(&mut self) {
        let talk = match self.reach_again(storage()).await {
            Ok(talk) => talk,
            Err(error) => {
                let finding = Finding::new(Code::ContextsRefused, format!("an association for objects does not come about: {error}"))
                    .means("the archive takes no objects from us, or not so many presentation contexts; searching and retrieving do not need it");
                return self.found(finding);
            }
        };
        let agreement = talk.agreement().clone();
        talk.release().await;
        let takes = |class: &str, syntax: &'static str| {
            agreement.for_class_in(class, &Uid::from_static(syntax)).is_some()
        };
        let classes: Vec<&str> = (CLASSES.iter())
            .filter(|(class, _)| agreement.for_class(class).is_some())
            .map(|(_, name)| *name)
            .collect();
        let syntaxes: Vec<&str> = (SYNTAXES.iter())
            .filter(|(syntax, _)| CLASSES.iter().any(|(class, _)| takes(class, syntax)))
            .map(|(_, name)| *name)
            .collect();
        let finding = if classes.is_empty() {
            Finding::new(Code::StorageRefused, "the archive takes no objects from us")
                .means("it can be searched and retrieved from, but not stored to")
                .remedy(format!(
                    "if objects are to be stored, have storing allowed for {}",
                    self.config.calling
                ))
        } else {
            let what = format!("stores {}; in {}", classes.join(", "), syntaxes.join(", "));
            let level = if classes.len() == CLASSES.len() { Level::Ok } else { Level::Note };
            Finding::new(Code::StorageContexts, what).at(level)
        };
        self.found(finding);
    }
}
