//! Studies that are sent to application entities because an operator wanted it: each a task with its progress, which can
//! be ended.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::explain::{Explained, sentence};
use crate::archive::transfer::{Ending, Failure, Requestor, Tally, ToDestination, Transfer};
use crate::archive::{Archive, Retrieve, Visit};
use crate::caller::Caller;
use crate::dicom::object::Head;
use crate::dicom::query::Target;
use crate::dicom::{AeTitle, Uid};
use crate::event::{Event, Events, Outcome, Study, Transfer as Moved, Way, What, Who};

/// Most that run at a time: each takes an association to its archive, and one to its destination.
const MOST_RUNNING: usize = 16;
/// Most that have ended and are still shown. The oldest give way.
const MOST_ENDED: usize = 50;

/// What is sent, and was lately.
#[derive(Debug, Default)]
pub(super) struct Sends(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    all: VecDeque<Arc<Sending>>,
    last_id: u64,
}

/// What is to be sent.
pub(super) struct Order {
    pub(super) archive: Arc<dyn Archive>,
    pub(super) study: Uid,
    /// Where to, and how it is called.
    pub(super) destination: Visit,
    pub(super) title: AeTitle,
    pub(super) caller: Caller,
    /// Who wants it, and where that is told.
    pub(super) who: Who,
    pub(super) events: Events,
}

/// A study on its way, or one that was.
#[derive(Debug)]
pub(super) struct Sending {
    pub(super) id: u64,
    pub(super) archive: String,
    pub(super) study: Uid,
    pub(super) title: AeTitle,
    /// Who wanted it; `None`: nobody has to say who they are.
    pub(super) user: Option<Arc<str>>,
    pub(super) client: Option<std::net::IpAddr>,
    pub(super) begun: SystemTime,
    since: Instant,
    cancel: CancellationToken,
    progress: Mutex<Progress>,
}

/// How far one is.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// How many objects there are going to be, as far as is known.
    pub(super) expected: usize,
    /// How many are there, those with reservations of the destination included.
    pub(super) delivered: usize,
    /// How many of these with reservations.
    pub(super) warning: usize,
    pub(super) failed: usize,
    pub(super) bytes: u64,
    /// How long it took, and how it ended; `None`: it runs.
    pub(super) ended: Option<(Duration, End)>,
}

/// How one ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum End {
    /// There was nothing more to send.
    Whole,
    /// Somebody ended it.
    Cancelled,
    /// It could not go on.
    Failed(Explained),
}

/// So many run that no further one is begun.
#[derive(Debug)]
pub(super) struct TooMany;

impl Sends {
    /// Those that run and those that have ended, the latest first.
    pub(super) fn all(&self) -> Vec<Arc<Sending>> {
        self.list().all.iter().rev().cloned().collect()
    }

    /// The one with this number.
    pub(super) fn find(&self, id: u64) -> Option<Arc<Sending>> {
        self.list().all.iter().find(|one| one.id == id).cloned()
    }

    /// Takes an order down. The future that is returned does it, and must be run to its end by somebody.
    pub(super) fn begin(
        &self,
        order: Order,
    ) -> Result<(Arc<Sending>, impl Future<Output = ()> + Send + 'static), TooMany> {
        let mut list = self.list();
        let has_ended = |one: &Arc<Sending>| one.progress().ended.is_some();
        let ended = list.all.iter().filter(|one| has_ended(one)).count();
        if list.all.len() - ended >= MOST_RUNNING {
            return Err(TooMany);
        }
        if ended >= MOST_ENDED
            && let Some(oldest) = list.all.iter().position(has_ended)
        {
            list.all.remove(oldest);
        }
        list.last_id += 1;
        let sending = Arc::new(Sending {
            id: list.last_id,
            archive: order.archive.name().to_owned(),
            study: order.study.clone(),
            title: order.title.clone(),
            user: order.who.user.clone(),
            client: order.caller.client,
            begun: SystemTime::now(),
            since: Instant::now(),
            cancel: CancellationToken::new(),
            progress: Mutex::default(),
        });
        list.all.push_back(Arc::clone(&sending));
        drop(list);
        let asked = Asked::new(Arc::clone(&sending), &order);
        Ok((sending, run(order, asked)))
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sending {
    /// How far it is.
    pub(super) fn progress(&self) -> Progress {
        self.lock().clone()
    }

    /// For how long it has run, or did.
    pub(super) fn took(&self) -> Duration {
        self.lock().ended.as_ref().map_or_else(|| self.since.elapsed(), |(took, _)| *took)
    }

    /// Ends it: the object on its way is finished or aborted, the archive told that no more is wanted.
    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }

    fn note(&self, tally: &Tally) {
        let mut progress = self.lock();
        progress.expected = tally.expected().max(tally.done());
        (progress.delivered, progress.warning, progress.failed) =
            (tally.delivered(), tally.warning(), tally.failed());
    }

    fn end(&self, end: End) {
        let took = self.since.elapsed();
        self.lock().ended.get_or_insert((took, end));
    }

    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn run(order: Order, mut asked: Asked) {
    let Order { archive, study, destination, title, caller, .. } = order;
    let name = archive.name().to_owned();
    // Nobody has sent a C-MOVE of which these were the sub-operations.
    let delivery = ToDestination::new(destination, title, caller.clone(), None);
    let form = delivery.form();
    let target = Target { study, series: None, instance: None };
    let mut transfer = Transfer::new(archive, caller, &mut asked, delivery);
    let Ok(ending) = transfer.run(vec![Retrieve::new(target, form)]).await;
    let tally = std::mem::take(&mut transfer.tally);
    drop(transfer);
    asked.end(ending, &tally, &name);
}

/// An operator, on whose behalf something is sent.
struct Asked {
    sending: Arc<Sending>,
    events: Events,
    who: Who,
    transfer: Moved,
    current: Option<(Uid, Uid)>,
    has_begun: bool,
    is_told: bool,
}

impl Asked {
    fn new(sending: Arc<Sending>, order: &Order) -> Self {
        let studies = vec![Study::new(Some(order.study.clone()), None)];
        let way = Way::Moved { to: order.title.clone() };
        let transfer = Moved { archive: order.archive.name().to_owned(), way, studies };
        let (events, who) = (order.events.clone(), order.who.clone());
        Self { sending, events, who, transfer, current: None, has_begun: false, is_told: false }
    }

    fn end(&mut self, ending: Ending, tally: &Tally, archive: &str) {
        self.sending.note(tally);
        let failed = |what: String| End::Failed(Explained { what, meaning: String::new(), remedy: None });
        let end = match ending {
            Ending::Whole if tally.done() == 0 => {
                failed(sentence(format!("archive `{archive}` does not hold it, or not any more")))
            }
            Ending::Whole => End::Whole,
            Ending::Cancelled => End::Cancelled,
            Ending::Failed(Failure::Archive(error)) => End::Failed(Explained::of(&error)),
            Ending::Failed(Failure::Vanished(archive)) => {
                failed(sentence(format!("archive `{archive}` no longer has the rest")))
            }
            Ending::Failed(Failure::Receiver(why)) => {
                let title = &self.sending.title;
                let remedy = format!(
                    "Check that {title} runs, that the address in [ae.{title}] is right, and that it knows our AE title."
                );
                let meaning = "It was tried several times in a row, and the rest was not sent.".to_owned();
                End::Failed(Explained { what: sentence(why), meaning, remedy: Some(remedy) })
            }
        };
        let failure = match &end {
            End::Whole if tally.failed() == 0 => None,
            End::Whole => Some((Outcome::MinorFailure, format!("not sent: {} instances", tally.failed()))),
            End::Cancelled => Some((Outcome::MinorFailure, "ended by an operator".to_owned())),
            End::Failed(why) => Some((Outcome::SeriousFailure, why.what.clone())),
        };
        self.sending.end(end);
        self.tell(failure);
    }

    fn tell(&mut self, failure: Option<(Outcome, String)>) {
        if std::mem::replace(&mut self.is_told, true) {
            return;
        }
        let event = Event::now(self.who.clone(), What::InstancesTransferred(self.transfer.clone()));
        self.events.send(match failure {
            Some((outcome, why)) => event.failed(outcome, why),
            None => event,
        });
    }
}

impl Drop for Asked {
    /// Where the task is dropped before its end, or dies.
    fn drop(&mut self) {
        let what = "It broke off: the bridge has ended, or a task of it died.".to_owned();
        self.sending.end(End::Failed(Explained { what, meaning: String::new(), remedy: None }));
        self.tell(Some((Outcome::SeriousFailure, "it broke off".to_owned())));
    }
}

impl Requestor for Asked {
    type Gone = Infallible;

    async fn cancelled(&mut self) -> Result<(), Infallible> {
        self.sending.cancel.cancelled().await;
        Ok(())
    }

    async fn tell(&mut self, tally: &Tally) -> Result<bool, Infallible> {
        self.sending.note(tally);
        Ok(self.sending.cancel.is_cancelled())
    }

    fn tell_under_way(&mut self, tally: &Tally) {
        self.sending.note(tally);
    }

    fn study(&mut self, _study: &Uid, _patient: Option<&str>) {}

    fn next(&mut self, head: &Head) {
        self.current = Some((head.sop_class.clone(), head.sop_instance.clone()));
        if !std::mem::replace(&mut self.has_begun, true) {
            let what = What::BeginTransferring(self.transfer.clone());
            self.events.send(Event::now(self.who.clone(), what));
        }
    }

    fn passed(&mut self, bytes: u64) {
        self.sending.lock().bytes += bytes;
    }

    fn delivered(&mut self) {
        if let (Some(study), Some((class, instance))) =
            (self.transfer.studies.first_mut(), self.current.take())
        {
            self.events.count(study, &class, &instance);
        }
    }
}

#[cfg(test)]
mod tests;
