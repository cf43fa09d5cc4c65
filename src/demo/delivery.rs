//! The sub-operations of a C-GET or C-MOVE: objects go out one by one, and are counted (PS3.4 C.4.2.1, C.4.3.1).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::body::{self, Body};
use super::faults::{Fault, Faults};
use super::instance::Instance;
use super::light;
use super::observe::Observer;
use super::plan::{Planned, Twist};
use super::session::{End, Session};
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::DataSet;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE, Layout};
use crate::dicom::{AeTitle, Uid, VR, tags};
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::AcceptedContext;
use crate::dimse::status::{self, Class};

/// The numbers of sub-operations.
#[derive(Debug, Clone, Default)]
pub(super) struct Counters {
    pub(super) remaining: usize,
    pub(super) completed: usize,
    pub(super) warning: usize,
    pub(super) failed: Vec<Uid>,
}

/// Objects on their way out.
pub(super) struct Delivery {
    queue: VecDeque<Planned>,
    pub(super) counters: Counters,
    faults: Faults,
    observer: Arc<Observer>,
    /// How long each exchange takes longer than it would.
    latency: Duration,
    /// Who asked, and in which message; in a C-MOVE.
    originator: Option<(AeTitle, u16)>,
    /// We are SCU by role selection: C-GET.
    reversed: bool,
    sent: u32,
}

impl Delivery {
    pub(super) fn new(
        planned: Vec<Planned>,
        faults: Faults,
        observer: Arc<Observer>,
        latency: Duration,
        originator: Option<(AeTitle, u16)>,
    ) -> Self {
        let remaining = planned.iter().filter(|p| p.counted).count();
        let counters = Counters { remaining, ..Counters::default() };
        let reversed = originator.is_none();
        Self { queue: planned.into(), counters, faults, observer, latency, originator, reversed, sent: 0 }
    }

    /// The objects that are still to be sent.
    pub(super) fn queued(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.queue.iter().map(|planned| &planned.instance)
    }

    /// Leaves out the Move Originator, or falsifies it, where a fault asks for it.
    pub(super) fn twist_originator(&mut self, archive: &AeTitle) {
        let Some((title, id)) = &mut self.originator else { return };
        if let Some(wrong) = self.faults.number(Fault::WrongOriginatorId) {
            *id = wrong as u16;
        }
        if self.faults.has(Fault::WrongOriginatorTitle) {
            *title = archive.clone();
        }
        if self.faults.has(Fault::NoOriginator) {
            self.originator = None;
        }
    }

    /// Sends the next object and waits for its response; `false` when there is none left.
    pub(super) async fn next(&mut self, session: &mut Session) -> Result<bool, End> {
        let here = |kind: fn(u32) -> Fault| self.faults.number(kind) == Some(self.sent);
        if here(Fault::AbortAfter) {
            return Err(End::Abort);
        }
        if here(Fault::CloseAfter) {
            return Err(End::Close);
        }
        if here(Fault::StallAfter) {
            return Err(session.stall().await);
        }
        let Some(planned) = self.queue.pop_front() else { return Ok(false) };
        let mut pause = self.latency + self.faults.milliseconds(Fault::ObjectsSlow).unwrap_or_default();
        if self.queue.is_empty() {
            pause += self.faults.milliseconds(Fault::LastLate).unwrap_or_default();
        }
        if !pause.is_zero() {
            session.pause(pause).await?;
            if session.is_cancelled() {
                self.queue.push_front(planned);
                return Ok(true);
            }
        }
        let outcome = self.send(session, &planned).await;
        if planned.counted {
            let counters = &mut self.counters;
            counters.remaining = counters.remaining.saturating_sub(1);
            match outcome.as_ref().ok().copied().flatten().map(status::class) {
                Some(Class::Success) => counters.completed += 1,
                Some(Class::Warning) => counters.warning += 1,
                _ => counters.failed.push(planned.instance.head.sop_instance.clone()),
            }
        }
        outcome.map(|_| true)
    }

    /// What cannot be sent any more has failed.
    pub(super) fn give_up(&mut self) {
        let left = self.queue.drain(..).filter(|p| p.counted);
        self.counters.failed.extend(left.map(|p| p.instance.head.sop_instance.clone()));
        self.counters.remaining = 0;
    }

    /// The status that the object was answered with; `None` when it could not be sent.
    async fn send(&mut self, session: &mut Session, planned: &Planned) -> Result<Option<u16>, End> {
        if planned.twist == Twist::Fails {
            return Ok(None);
        }
        let contexts = &session.association.agreement().contexts;
        let Some(context) = choose_context(contexts, &planned.instance, self.reversed).cloned() else {
            return Ok(None);
        };
        let Some(body) = body_for(planned, &context).await else { return Ok(None) };
        self.sent += 1;
        let command = self.request(planned);
        let here = |kind: fn(u32) -> Fault| self.faults.number(kind) == Some(self.sent);
        let cut = [Fault::AbortIn as fn(u32) -> Fault, Fault::CloseIn, Fault::StallIn]
            .into_iter()
            .find(|k| here(*k));
        if session.send_object(context.id, command, body, cut.is_some()).await?.is_err() {
            return Ok(None);
        }
        match cut.map(|kind| kind(0)) {
            None => {}
            Some(Fault::AbortIn(_)) => return Err(End::Abort),
            Some(Fault::CloseIn(_)) => return Err(End::Close),
            Some(_) => return Err(session.stall().await),
        }
        let response = loop {
            if let Some(response) = session.response().await? {
                break response;
            }
        };
        if response.field != field::C_STORE_RQ | field::RESPONSE {
            return Err(End::Broken);
        }
        self.observer.note(|o| o.objects_sent += 1);
        Ok(response.status)
    }

    fn request(&self, planned: &Planned) -> Command {
        let head = &planned.instance.head;
        let sop_instance = match planned.twist {
            Twist::OtherInstance => format!("{}.1", head.sop_instance).parse().ok(),
            _ => Some(head.sop_instance.clone()),
        };
        let (move_originator, move_originator_id) = self.originator.clone().unzip();
        Command {
            sop_instance,
            priority: Some(0),
            move_originator,
            move_originator_id,
            ..Command::request(field::C_STORE_RQ, head.sop_class.as_str(), self.sent as u16)
        }
    }
}

impl Counters {
    /// Writes the numbers into a response, as the faults want them.
    pub(super) fn put(&self, response: &mut Command, faults: &Faults) {
        if faults.has(Fault::NoCounters) {
            return;
        }
        let number = |n: usize| Some(u16::try_from(n).unwrap_or(u16::MAX));
        let is_pending = response.status.is_some_and(|s| status::class(s) == Class::Pending);
        let backwards = is_pending && faults.has(Fault::CountersBackwards);
        let (remaining, completed) =
            if backwards { (self.completed, self.remaining) } else { (self.remaining, self.completed) };
        // A final response has no Remaining unless it was cancelled (PS3.4 C.4.2.1.6).
        if is_pending || self.remaining > 0 {
            response.remaining = number(remaining);
        }
        response.completed = number(completed);
        response.warning = number(self.warning);
        response.failed = number(self.failed.len());
    }

    /// The final status (PS3.4 C.4.2.1.5, C.4.3.1.4).
    pub(super) fn status(&self, cancelled: bool) -> u16 {
        match () {
            () if cancelled => status::CANCEL,
            () if self.failed.is_empty() && self.warning == 0 => status::SUCCESS,
            () if self.completed == 0 && self.warning == 0 => status::OUT_OF_RESOURCES_SUB_OPERATIONS,
            () => status::SUB_OPERATIONS_WARNING,
        }
    }

    /// The identifier of a final response: the Failed SOP Instance UID List, where anything failed.
    pub(super) fn identifier(&self, layout: Layout) -> Option<Bytes> {
        let mut identifier = DataSet::new();
        let failed = self.failed.iter().map(Uid::to_string).collect();
        identifier.set_strings(tags::FAILED_SOP_INSTANCE_UID_LIST, VR::UI, failed);
        (!self.failed.is_empty()).then(|| identifier.encode(layout, QueryCharset::Auto).into())
    }
}

/// The context to send an object in: best one with the syntax it is stored in.
fn choose_context<'a>(
    contexts: &'a [AcceptedContext],
    instance: &Instance,
    reversed: bool,
) -> Option<&'a AcceptedContext> {
    let head = &instance.head;
    let usable = |c: &&AcceptedContext| {
        c.abstract_syntax == head.sop_class && if reversed { c.requestor_is_scp } else { c.requestor_is_scu }
    };
    let with = |syntax: &str| contexts.iter().filter(usable).find(|c| c.transfer_syntax.as_str() == syntax);
    with(head.transfer_syntax.as_str()).or_else(|| {
        [EXPLICIT_VR_LE, IMPLICIT_VR_LE]
            .into_iter()
            .filter_map(with)
            .find(|c| body::can_convert(&head.transfer_syntax, &c.transfer_syntax))
    })
}

/// The object's bytes for this context; `None` when they cannot be had.
async fn body_for(planned: &Planned, context: &AcceptedContext) -> Option<Body> {
    let instance = &planned.instance;
    let other = match context.transfer_syntax.as_str() {
        IMPLICIT_VR_LE => EXPLICIT_VR_LE,
        _ => IMPLICIT_VR_LE,
    };
    let syntax = match planned.twist {
        Twist::OtherSyntax => Uid::from_static(other),
        _ => context.transfer_syntax.clone(),
    };
    if planned.without_bulk_data {
        let whole = body::convert(instance, Body::whole(&instance.data).await.ok()?, &syntax)?;
        let light = light::without_bulk_data(&syntax, &whole)?;
        return Body::open(&super::instance::Data::Memory(light)).await.ok();
    }
    if planned.twist != Twist::OtherBytes && syntax == instance.head.transfer_syntax {
        return Body::open(&instance.data).await.ok();
    }
    let whole = Body::whole(&instance.data).await.ok()?;
    let mut bytes = BytesMut::from(&body::convert(instance, whole, &syntax)?[..]);
    if planned.twist == Twist::OtherBytes
        && let Some(last) = bytes.last_mut()
    {
        *last ^= 0xFF;
    }
    Body::open(&super::instance::Data::Memory(bytes.freeze())).await.ok()
}
