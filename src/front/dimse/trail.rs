//! What a client's association is recorded as: each search and retrieval when it has been answered, what it has stored
//! together, and who was turned away.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::client::End;
use super::config::Operation;
use super::service::operation;
use crate::dicom::dataset::DataSet;
use crate::dicom::head::{HeadReader, Identifiers};
use crate::dicom::object::Head;
use crate::dicom::transfer_syntax::layout;
use crate::dicom::{AeTitle, Uid, tags};
use crate::dimse::command::Command;
use crate::dimse::negotiation::AcceptedContext;
use crate::dimse::pdu::AssociateRj;
use crate::dimse::scp::Peer;
use crate::dimse::status::{Class, class};
use crate::event::{Alert, Event, Events, Outcome, Query, Study, Transfer, Way, What, Who};

mod normalized;

/// After so many objects what was stored is told, although the association goes on: those of some modalities last for
/// days.
const MAX_STORED: usize = 1_000;

/// What is noted of an association, and told as it ends. With nobody who listens it costs nothing.
#[derive(Debug, Default)]
pub(super) struct Trail {
    events: Events,
    who: Who,
    /// The request that is being served.
    request: Option<Noted>,
    /// The object that is coming, whose study is to be found.
    reader: Option<HeadReader>,
    /// What it has said of itself.
    found: Identifiers,
    /// What was stored, and what was not, by archive.
    stored: BTreeMap<(String, bool), Vec<Study>>,
    objects: usize,
    /// What it was told that it may not do.
    told_off: BTreeSet<&'static str>,
}

#[derive(Debug)]
enum Noted {
    Query(Query),
    Retrieval { transfer: Transfer, current: Option<(Uid, Uid)>, begun: bool },
    Normalized(What),
}

fn who(peer: &Peer) -> Who {
    let certificate = peer.certificate.as_ref().map(|certificate| certificate.subject.as_str().into());
    Who { user: None, title: Some(peer.calling.clone()), address: Some(peer.address), certificate }
}

/// Somebody got no association.
pub(super) fn rejected(events: &Events, peer: &Peer, rj: AssociateRj, why: &str) {
    if !events.is_heard() {
        return;
    }
    let is_foreign = [AssociateRj::CALLED_TITLE, AssociateRj::CALLING_TITLE].contains(&rj);
    let what = if is_foreign {
        let text = format!("association rejected: {why}; it called {}", peer.called);
        What::SecurityAlert { kind: Alert::NodeAuthentication, text }
    } else {
        What::Entry { called: peer.called.clone() }
    };
    events.send(Event::now(who(peer), what).failed(Outcome::MinorFailure, why));
}

impl Trail {
    /// The trail of an association that begins. `is_return`: an archive brings what was asked of it; that is no client that
    /// enters, but what nobody waited for is stored like anything else.
    pub(super) fn new(events: &Events, peer: &Peer, is_return: bool) -> Self {
        if !events.is_heard() {
            return Self::default();
        }
        let who = who(peer);
        if !is_return {
            events.send(Event::now(who.clone(), What::Entry { called: peer.called.clone() }));
        }
        let mut trail = Self::default();
        (trail.events, trail.who) = (events.clone(), who);
        trail
    }

    /// The client asked for what it may not do, by this request: told once for an association and kind of request, however
    /// often it asks.
    pub(super) fn forbidden(&mut self, request: u16) {
        let what = match operation(request) {
            Some(Operation::Echo) => "to verify",
            Some(Operation::Find) => "to search",
            Some(Operation::Get) => "to retrieve",
            Some(Operation::Move) => "to move",
            Some(Operation::Store) => "to store",
            Some(Operation::Normalized) => "to use normalized services",
            None => "to ask for what nobody knows",
        };
        if self.events.is_heard() && self.told_off.insert(what) {
            let kind = Alert::RestrictedFunction;
            let alert = What::SecurityAlert { kind, text: format!("a DIMSE client is not allowed {what}") };
            let event = Event::now(self.who.clone(), alert);
            self.events.send(event.failed(Outcome::MinorFailure, format!("not allowed {what}")));
        }
    }

    /// The request is normalized: some of them are about procedures or instances.
    pub(super) fn normalized(
        &mut self,
        archive: &str,
        context: &AcceptedContext,
        request: &Command,
        data: &Bytes,
    ) {
        if self.events.is_heard() {
            self.request = normalized::what(archive, context, request, data).map(Noted::Normalized);
        }
    }

    /// The archive has given the instance that the request makes a name.
    pub(super) fn named(&mut self, instance: Option<&Uid>) {
        if let Some(Noted::Normalized(What::Procedure(procedure))) = &mut self.request {
            procedure.step.1 = procedure.step.1.take().or_else(|| instance.cloned());
        }
    }

    /// The request is a search.
    pub(super) fn query(&mut self, archive: &str, context: &AcceptedContext, identifier: &Bytes) {
        if self.events.is_heard() {
            let encoded = Some((context.abstract_syntax.clone(), context.transfer_syntax.clone()));
            let text = identifier.to_vec();
            self.request =
                Some(Noted::Query(Query { archive: archive.to_owned(), level: None, encoded, text }));
        }
    }

    /// The request is a retrieval, of what [`Trail::study`] names.
    pub(super) fn retrieval(&mut self, archive: &str, to: Option<&AeTitle>) {
        if self.events.is_heard() {
            let way = to.map_or(Way::Retrieved, |to| Way::Moved { to: to.clone() });
            let transfer = Transfer { archive: archive.to_owned(), way, studies: Vec::new() };
            self.request = Some(Noted::Retrieval { transfer, current: None, begun: false });
        }
    }

    /// The next objects are of this study.
    pub(super) fn study(&mut self, uid: &Uid, patient: Option<&str>) {
        if let Some(Noted::Retrieval { transfer: Transfer { studies, .. }, begun, .. }) = &mut self.request
            && studies.last().is_none_or(|last| last.uid.as_ref() != Some(uid))
        {
            *begun = false;
            studies.push(Study::new(Some(uid.clone()), patient.map(str::to_owned)));
        }
    }

    /// The studies that an identifier names, of a retrieval that the archive does alone: what it sends is not seen.
    pub(super) fn studies_of(&mut self, identifier: &[u8], transfer_syntax: &Uid) {
        if !self.events.is_heard() {
            return;
        }
        let Ok(parsed) = DataSet::parse(identifier, layout(transfer_syntax), None) else { return };
        let patient = parsed.data_set.string(tags::PATIENT_ID).map(str::to_owned);
        for uid in parsed.data_set.strings(tags::STUDY_INSTANCE_UID) {
            if let Ok(uid) = uid.parse() {
                self.study(&uid, patient.as_deref());
                self.begin();
            }
        }
    }

    /// An object of the retrieval is on its way.
    pub(super) fn next(&mut self, head: &Head) {
        if let Some(Noted::Retrieval { current, .. }) = &mut self.request {
            *current = Some((head.sop_class.clone(), head.sop_instance.clone()));
            self.begin();
        }
    }

    /// It has arrived.
    pub(super) fn delivered(&mut self) {
        if let Some(Noted::Retrieval { transfer, current, .. }) = &mut self.request
            && let (Some(study), Some((class, instance))) = (transfer.studies.last_mut(), current.take())
        {
            self.events.count(study, &class, &instance);
        }
    }

    fn begin(&mut self) {
        if let Some(Noted::Retrieval { transfer, begun: begun @ false, .. }) = &mut self.request
            && let Some(study) = transfer.studies.last()
        {
            *begun = true;
            let studies = vec![Study::new(study.uid.clone(), study.patient.clone())];
            let what = What::BeginTransferring(Transfer { studies, ..transfer.clone() });
            self.events.send(Event::now(self.who.clone(), what));
        }
    }

    /// An object comes that is to be stored.
    pub(super) fn object(&mut self, head: &Head) {
        self.found = Identifiers::default();
        self.reader = self.events.is_heard().then(|| HeadReader::new(&head.transfer_syntax));
    }

    /// The next bytes of it.
    pub(super) fn piece(&mut self, bytes: &Bytes, last: bool) {
        if let Some(reader) = &mut self.reader
            && reader.push(bytes.clone(), last)
            && let Some(reader) = self.reader.take()
        {
            self.found = reader.into_parts().0;
        }
    }

    /// The object is stored at the archive, or is not.
    pub(super) fn stored(&mut self, archive: &str, head: &Head, well: bool) {
        if !self.events.is_heard() {
            return;
        }
        let studies = self.stored.entry((archive.to_owned(), well)).or_default();
        let Identifiers { study, patient, .. } = &self.found;
        // Two patients with one study are two.
        let known = studies.iter().position(|it| it.uid == *study && it.patient == *patient);
        let index = known.unwrap_or_else(|| {
            studies.push(Study::new(study.clone(), patient.clone()));
            studies.len() - 1
        });
        self.events.count(&mut studies[index], &head.sop_class, &head.sop_instance);
        self.objects += 1;
        if self.objects >= MAX_STORED {
            self.tell_stored();
        }
    }

    /// The request is answered, with this status last, or its association has ended so.
    pub(super) fn answered(&mut self, status: u16, ended: Option<&End>) {
        let Some(noted) = self.request.take() else { return };
        let failure = match (ended, class(status)) {
            (Some(End::Release), _) | (None, Class::Success | Class::Pending) => None,
            (Some(End::Abort(why) | End::Lost(why)), _) => Some((Outcome::SeriousFailure, why.clone())),
            (None, Class::Warning | Class::Cancel) => {
                Some((Outcome::MinorFailure, format!("ended with status {status:04X}")))
            }
            (None, Class::Failure) => {
                Some((Outcome::SeriousFailure, format!("ended with status {status:04X}")))
            }
        };
        let what = match noted {
            Noted::Query(query) => What::Query(query),
            Noted::Retrieval { mut transfer, .. } => {
                if transfer.studies.is_empty() {
                    transfer.studies.push(Study::new(None, None));
                }
                What::InstancesTransferred(transfer)
            }
            Noted::Normalized(what) => what,
        };
        let event = Event::now(self.who.clone(), what);
        self.events.send(match failure {
            Some((outcome, why)) => event.failed(outcome, why),
            None => event,
        });
    }

    fn tell_stored(&mut self) {
        self.objects = 0;
        for ((archive, well), studies) in std::mem::take(&mut self.stored) {
            let count: usize = studies.iter().map(Study::number).sum();
            let what = What::InstancesTransferred(Transfer { archive, way: Way::Stored, studies });
            let event = Event::now(self.who.clone(), what);
            let failed =
                |event: Event| event.failed(Outcome::MinorFailure, format!("not stored: {count} instances"));
            self.events.send(if well { event } else { failed(event) });
        }
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        self.answered(0, Some(&End::Lost("the association was given up".into())));
        self.tell_stored();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;
    use crate::dicom::charset::QueryCharset;
    use crate::dicom::transfer_syntax::Layout;
    use crate::dimse::command::field;

    fn peer() -> Peer {
        Peer {
            address: [10, 1, 2, 3].into(),
            calling: "CT1".parse().unwrap(),
            called: "GANTRY".parse().unwrap(),
            certificate: None,
        }
    }

    fn head() -> Head {
        let uid = |text: &str| text.parse().unwrap();
        let (sop_class, sop_instance) = (uid("1.2.840.10008.5.1.4.1.1.2"), uid("1.2.3"));
        Head { sop_class, sop_instance, transfer_syntax: uid("1.2.840.10008.1.2.1") }
    }

    #[test]
    fn what_comes_back_unasked_is_recorded_as_stored_and_its_archive_as_no_client() {
        let (events, recorder) = Events::recorded();
        Trail::new(&events, &peer(), true).stored("main", &head(), true);
        let told = recorder.take();
        assert_eq!(told.len(), 1);
        assert!(matches!(&told[0].what, What::InstancesTransferred(it) if it.way == Way::Stored));
    }

    #[test]
    fn what_a_client_may_not_do_is_told_once_for_an_association() {
        let (events, recorder) = Events::recorded();
        let mut trail = Trail::new(&events, &peer(), true);
        for _ in 0..3 {
            let requests = [field::C_STORE_RQ, field::N_SET_RQ, field::N_GET_RQ, 0x0777];
            requests.into_iter().for_each(|request| trail.forbidden(request));
        }
        let texts = recorder.take().into_iter().map(|event| match event.what {
            What::SecurityAlert { kind: Alert::RestrictedFunction, text } => text,
            other => panic!("{other:?}"),
        });
        let expected = ["to store", "to use normalized services", "to ask for what nobody knows"];
        let expected = expected.map(|what| format!("a DIMSE client is not allowed {what}"));
        assert_eq!(texts.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_is_stored_is_recorded_with_the_patient_that_it_says() {
        let (events, recorder) = Events::recorded();
        let mut trail = Trail::new(&events, &peer(), true);
        for patient in ["4711", "4712", "4711"] {
            let mut object = DataSet::new();
            object.set_str(tags::PATIENT_ID, VR::LO, patient);
            object.set_str(tags::STUDY_INSTANCE_UID, VR::UI, "1.2");
            object.set_str(tags::SERIES_INSTANCE_UID, VR::UI, "1.3");
            trail.object(&head());
            trail.piece(&object.encode(Layout::ExplicitLe, QueryCharset::Auto).into(), true);
            trail.stored("main", &head(), true);
        }
        drop(trail);
        let told = recorder.take().remove(0).what;
        let What::InstancesTransferred(transfer) = told else { panic!("{told:?}") };
        let found: Vec<_> =
            transfer.studies.iter().map(|study| (study.patient.as_deref(), study.number())).collect();
        assert_eq!(found, [(Some("4711"), 2), (Some("4712"), 1)]);
    }
}
