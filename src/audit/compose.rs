//! From an event to its messages (PS3.15 A.5.3): one, or as many as its lists need to keep each within its bound.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::clock::rfc3339;
use super::message::{
    Code, Detail, EventIdentification, Message, Object, Participant, SopClass, Source, harmless,
};
use super::withhold;
use crate::dicom::{AeTitle, Uid, sop_class};
use crate::event::{
    Action, Alert, Event, Instances, Outcome, Procedure, Query, Study, Transfer, Way, What, Who,
};

/// Most bytes of a list or a query in one message, of the 32 KiB that a message may have (PS3.15 A.6): the rest is what
/// stands around it, with texts of at most [`MAX_TEXT`].
const MAX_PAYLOAD: usize = 20 << 10;
/// Most bytes of a query in one message: in base64 it is a third longer.
const MAX_QUERY: usize = MAX_PAYLOAD / 4 * 3;
/// Longest text in a message, in characters: names, subjects of certificates, reasons. Each may take six bytes as it is
/// escaped, and a message has no more than four.
const MAX_TEXT: usize = 300;
/// What an instance takes in a message besides its UID, in bytes.
const AROUND_INSTANCE: usize = 18;
/// What a SOP class takes in a message with its UID, in bytes.
const AROUND_CLASS: usize = 130;
/// What a study takes in a message with its UID and its patient, in bytes.
const AROUND_STUDY: usize = 2400;
/// In place of what is mandatory and not known.
const UNKNOWN: &str = "<unknown>";

const APPLICATION: Code = Code::dcm("110150", "Application");
const DESTINATION: Code = Code::dcm("110152", "Destination Role ID");
const SOURCE: Code = Code::dcm("110153", "Source Role ID");

/// Who writes the messages, and what they may say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Author {
    /// AuditSourceID.
    pub source: String,
    /// AuditEnterpriseSiteID.
    pub site: Option<String>,
    /// Whether names of patients in queries are recorded.
    pub patient_names: bool,
    /// Whether instances are named, and not only counted.
    pub instances: bool,
    /// The AE titles of archives, by their names.
    pub archives: BTreeMap<String, AeTitle>,
    /// Our own AE titles.
    pub own: Vec<AeTitle>,
}

impl Author {
    /// The messages of an event.
    pub(super) fn messages(&self, event: &Event) -> Vec<Message> {
        let who = &event.who;
        match &event.what {
            What::Started => vec![self.activity(event, Code::dcm("110120", "Application Start"))],
            What::Stopped => vec![self.activity(event, Code::dcm("110121", "Application Stop"))],
            What::Authentication => {
                let code = Code::dcm("110114", "User Authentication");
                let login = Code::dcm("110122", "Login");
                vec![self.message(event, code, "E", Some(login), vec![client(who, None), self.ourselves()])]
            }
            What::Entry { called } => {
                let code = Code::dcm("110108", "Network Entry");
                let attach = Code::dcm("110124", "Attach");
                let ours = application(called, Some(DESTINATION));
                // Whoever enters is no requestor (PS3.15 A.5.3.9).
                let theirs = Participant { user_is_requestor: false, ..client(who, Some(SOURCE)) };
                vec![self.message(event, code, "E", Some(attach), vec![theirs, ours])]
            }
            What::Query(query) => self.query(event, query),
            What::BeginTransferring(transfer) => {
                let code = Code::dcm("110102", "Begin Transferring DICOM Instances");
                self.transfer(event, code, "E", transfer)
            }
            What::InstancesTransferred(transfer) => {
                let code = Code::dcm("110104", "DICOM Instances Transferred");
                // Of a source that is not the receiver, also of what is stored: whether that had it is not known
                // (PS3.15 A.5.3.7).
                self.transfer(event, code, "R", transfer)
            }
            What::InstancesAccessed { archive, study } => {
                let participants = self.asked(event, archive);
                let message = |objects| {
                    let code = Code::dcm("110103", "DICOM Instances Accessed");
                    let mut message = self.message(event, code, "R", None, participants.clone());
                    message.participant_object_identification = objects;
                    message
                };
                self.pages(study).into_iter().map(message).collect()
            }
            What::Procedure(procedure) => vec![self.procedure(event, procedure)],
            What::SecurityAlert { kind, text } => vec![self.alert(event, *kind, text)],
        }
    }

    fn activity(&self, event: &Event, code: Code) -> Message {
        let ours = Participant { role: Some(APPLICATION), ..self.ourselves() };
        self.message(event, Code::dcm("110100", "Application Activity"), "E", Some(code), vec![ours])
    }

    /// Whoever has asked, and the archive that was asked.
    fn asked(&self, event: &Event, archive: &str) -> Vec<Participant> {
        vec![client(&event.who, Some(SOURCE)), self.archive(archive, DESTINATION)]
    }

    fn procedure(&self, event: &Event, procedure: &Procedure) -> Message {
        let action = match procedure.action {
            Action::Created => "C",
            Action::Read => "R",
            Action::Updated => "U",
        };
        let (class, step) = &procedure.step;
        let study = |uid: &str| {
            let mut object = study_object(uid);
            match step {
                Some(step) if [sop_class::MPPS, sop_class::MPPS_RETRIEVE].contains(&class.as_str()) => {
                    object.mpps = Some(step.as_str().to_owned());
                }
                step => {
                    let instances: Vec<String> = step.iter().map(|step| step.as_str().to_owned()).collect();
                    object.classes =
                        vec![SopClass { uid: class.as_str().to_owned(), number: instances.len(), instances }];
                }
            }
            object
        };
        // The step has no place but with a study.
        let mut objects: Vec<Object> = match &procedure.studies[..] {
            [] => vec![study(UNKNOWN)],
            studies => studies.iter().map(|uid| study(uid.as_str())).collect(),
        };
        objects.push(patient_object(procedure.patient.as_deref()));
        let code = Code::dcm("110111", "Procedure Record");
        let mut message = self.message(event, code, action, None, self.asked(event, &procedure.archive));
        message.participant_object_identification = objects;
        message
    }

    fn alert(&self, event: &Event, kind: Alert, text: &str) -> Message {
        let kind = match kind {
            Alert::NodeAuthentication => Code::dcm("110126", "Node Authentication"),
            Alert::RestrictedFunction => Code::dcm("110132", "Use of Restricted Function"),
            Alert::SecurityConfiguration => Code::dcm("110129", "Security Configuration"),
            Alert::AuditStopped => Code::dcm("110133", "Audit Recording Stopped"),
            Alert::AuditStarted => Code::dcm("110134", "Audit Recording Started"),
        };
        let theirs = if event.who == Who::default() { None } else { Some(client(&event.who, None)) };
        let participants = [Some(self.ourselves()), theirs].into_iter().flatten().collect();
        let code = Code::dcm("110113", "Security Alert");
        let mut message = self.message(event, code, "E", Some(kind), participants);
        // What the alert is about (PS3.15 A.5.3.11).
        message.participant_object_identification.push(Object {
            id: self.source.clone(),
            participant_object_type_code: 2,
            participant_object_type_code_role: 13,
            id_type: Code::dcm("110182", "Node ID"),
            participant_object_name: Some(self.source.clone()),
            participant_object_query: None,
            participant_object_detail: vec![detail("Alert Description", &clean(text))],
            mpps: None,
            classes: Vec::new(),
        });
        message
    }

    fn query(&self, event: &Event, query: &Query) -> Vec<Message> {
        let text = if self.patient_names { query.text.clone() } else { withhold::patient_names(query) };
        let parts = text.chunks(MAX_QUERY).count().max(1);
        let mut parts_of_text = text.chunks(MAX_QUERY);
        let part = |n: usize| {
            let mut object = match &query.encoded {
                Some((class, syntax)) => {
                    let mut object = system_object(class.as_str(), 3, Code::dcm("110181", "SOP Class UID"));
                    object.participant_object_detail.push(detail("TransferSyntax", syntax.as_str()));
                    object
                }
                None => {
                    let mut object =
                        system_object("DICOMweb Search", 24, Code::rfc3881("10", "Search Criteria"));
                    object.participant_object_detail.push(detail("QueryEncoding", "UTF-8"));
                    object
                }
            };
            if let Some(level) = query.level {
                object.participant_object_detail.push(detail("QueryRetrieveLevel", level.as_str()));
            }
            if parts > 1 {
                object.participant_object_detail.push(detail("Part", &format!("{} of {parts}", n + 1)));
            }
            object.participant_object_name = None;
            object.participant_object_query = Some(BASE64.encode(parts_of_text.next().unwrap_or_default()));
            let participants = self.asked(event, &query.archive);
            let mut message = self.message(event, Code::dcm("110112", "Query"), "E", None, participants);
            message.participant_object_identification.push(object);
            message
        };
        (0..parts).map(part).collect()
    }

    fn transfer(&self, event: &Event, code: Code, action: &'static str, transfer: &Transfer) -> Vec<Message> {
        let archive = |role| self.archive(&transfer.archive, role);
        let participants = match &transfer.way {
            Way::Retrieved => vec![archive(SOURCE), client(&event.who, Some(DESTINATION))],
            Way::Stored => vec![client(&event.who, Some(SOURCE)), archive(DESTINATION)],
            Way::Moved { to } => {
                vec![archive(SOURCE), application(to, Some(DESTINATION)), client(&event.who, None)]
            }
        };
        let message = |objects| {
            let mut message = self.message(event, code.clone(), action, None, participants.clone());
            message.participant_object_identification = objects;
            message
        };
        // A message is about one patient (PS3.15 A.5.3.3, A.5.3.7).
        let pages = transfer.studies.iter().flat_map(|study| self.pages(study));
        pages.map(message).collect()
    }

    /// A study and its patient, as often as it takes to list what goes of it.
    fn pages(&self, study: &Study) -> Vec<Vec<Object>> {
        let uid = study.uid.as_ref().map_or(UNKNOWN, |uid| uid.as_str());
        let page = |classes: Vec<SopClass>| {
            vec![Object { classes, ..study_object(uid) }, patient_object(study.patient.as_deref())]
        };
        let mut pages = Vec::new();
        let (mut classes, mut room) = (Vec::new(), MAX_PAYLOAD - AROUND_STUDY);
        for (class, instances) in &study.classes {
            for part in self.parts(instances) {
                let size = AROUND_CLASS + part.1.iter().map(|uid| uid.len() + AROUND_INSTANCE).sum::<usize>();
                if size > room && !classes.is_empty() {
                    pages.push(page(std::mem::take(&mut classes)));
                    room = MAX_PAYLOAD - AROUND_STUDY;
                }
                room = room.saturating_sub(size);
                classes.push(SopClass { uid: class.as_str().to_owned(), number: part.0, instances: part.1 });
            }
        }
        if !classes.is_empty() || pages.is_empty() {
            pages.push(page(classes));
        }
        pages
    }

    /// Instances of a class, a message's worth at a time: how many, and which of them are named.
    fn parts(&self, instances: &Instances) -> Vec<(usize, Vec<String>)> {
        /// Instances in one message: their UIDs have 64 characters at most.
        const MOST: usize = (MAX_PAYLOAD - AROUND_STUDY - AROUND_CLASS) / (64 + AROUND_INSTANCE);
        if !self.instances || instances.names.is_empty() {
            return vec![(instances.number, Vec::new())];
        }
        let named = |names: &[Uid]| (names.len(), names.iter().map(|uid| uid.as_str().to_owned()).collect());
        let mut parts: Vec<(usize, Vec<String>)> = instances.names.chunks(MOST).map(named).collect();
        let more = instances.number.saturating_sub(instances.names.len());
        if more > 0 {
            parts.push((more, Vec::new()));
        }
        parts
    }

    fn ourselves(&self) -> Participant {
        // The process, as a syslog header has it too (PS3.15 A.5.2.1).
        let user_name = Some(clean(&self.source));
        let alternative_user_id = (!self.own.is_empty()).then(|| titles(&self.own));
        Participant { alternative_user_id, user_name, ..participant(&std::process::id().to_string(), None) }
    }

    /// An archive, by its name and its AE title.
    fn archive(&self, name: &str, role: Code) -> Participant {
        let alternative_user_id = self.archives.get(name).map(|title| titles(std::slice::from_ref(title)));
        Participant { alternative_user_id, ..participant(name, Some(role)) }
    }

    fn message(
        &self,
        event: &Event,
        event_id: Code,
        action: &'static str,
        event_type_code: Option<Code>,
        active_participant: Vec<Participant>,
    ) -> Message {
        Message {
            event_identification: EventIdentification {
                event_id,
                event_action_code: action.into(),
                event_date_time: rfc3339(event.at),
                event_outcome_indicator: match event.outcome {
                    Outcome::Success => 0,
                    Outcome::MinorFailure => 4,
                    Outcome::SeriousFailure => 8,
                    Outcome::MajorFailure => 12,
                },
                event_type_code,
                event_outcome_description: event.why.as_deref().map(clean),
            },
            active_participant,
            audit_source_identification: Source {
                id: clean(&self.source),
                site: self.site.as_deref().map(clean),
            },
            participant_object_identification: Vec::new(),
        }
    }
}

/// Whoever has asked for something.
fn client(who: &Who, role: Option<Code>) -> Participant {
    let Who { user, title, address, certificate } = who;
    let address = address.map(|address| address.to_canonical().to_string());
    let names = [user.as_deref(), title.as_ref().map(|title| title.as_str()), certificate.as_deref()];
    let user_id = clean(names.into_iter().flatten().next().or(address.as_deref()).unwrap_or(UNKNOWN));
    let alternative_user_id = title.as_ref().map(|title| titles(std::slice::from_ref(title)));
    let user_name = certificate.as_deref().map(clean);
    Participant { user_id, alternative_user_id, user_name, user_is_requestor: true, role, address }
}

/// AlternativeUserID of a DICOM application (PS3.15 A.5.2.2).
fn titles(titles: &[AeTitle]) -> String {
    let titles: Vec<&str> = titles.iter().map(|title| title.as_str()).collect();
    format!("AETITLES={}", clean(&titles.join(";")))
}

/// A DICOM application that has asked for nothing.
fn application(title: &AeTitle, role: Option<Code>) -> Participant {
    let alternative_user_id = Some(titles(std::slice::from_ref(title)));
    Participant { alternative_user_id, ..participant(title.as_str(), role) }
}

/// Somebody else.
fn participant(user_id: &str, role: Option<Code>) -> Participant {
    Participant {
        user_id: clean(user_id),
        alternative_user_id: None,
        user_name: None,
        user_is_requestor: false,
        role,
        address: None,
    }
}

/// A system object, as PS3.15 A.5.1.2.2 calls what is no person.
fn system_object(id: &str, role: u8, id_type: Code) -> Object {
    Object {
        id: id.to_owned(),
        participant_object_type_code: 2,
        participant_object_type_code_role: role,
        id_type,
        // It has to have one. Names of patients are never known here.
        participant_object_name: Some(id.to_owned()),
        participant_object_query: None,
        participant_object_detail: Vec::new(),
        mpps: None,
        classes: Vec::new(),
    }
}

fn study_object(uid: &str) -> Object {
    system_object(uid, 3, Code::dcm("110180", "Study Instance UID"))
}

/// A patient by Patient ID, as far as it is known.
fn patient_object(id: Option<&str>) -> Object {
    let id = id.map_or_else(|| UNKNOWN.to_owned(), clean);
    let person = system_object(&id, 1, Code::rfc3881("2", "Patient Number"));
    Object { participant_object_type_code: 1, ..person }
}

fn detail(kind: &'static str, value: &str) -> Detail {
    Detail { kind: kind.into(), value: BASE64.encode(value) }
}

/// Foreign text, within its bound, and on one line.
fn clean(text: &str) -> String {
    text.chars().take(MAX_TEXT).map(harmless).collect()
}
