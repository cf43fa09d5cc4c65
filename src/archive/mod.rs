//! What an archive can do, in any protocol: the narrow waist between front ends and back ends.

pub mod activity;
mod arrival;
mod attributes;
mod collector;
pub mod commitment;
mod completeness;
mod contexts;
mod destination;
pub mod dimse;
pub mod error;
mod failures;
mod knowledge;
mod move_destination;
mod pace;
pub mod relay;
mod remote;
mod restricted;
mod retrieval;
mod search;
pub mod shared;
mod store;
mod survey;
mod takes;
#[cfg(test)]
pub(crate) mod testing;
pub mod transfer;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use crate::caller::Caller;
use crate::dicom::Uid;
use crate::dicom::charset::Charset;
use crate::dicom::dataset::DataSet;
use crate::dicom::object::Object;
use crate::dicom::query::{Query, Target};

pub use arrival::{Arrival, Unclaimed};
pub use destination::{Destination, Destinations, Place, Visit};
pub use error::{Error, Fault, Kind};
pub use move_destination::{Knock, MoveDestination, Origin};
use relay::Relay;
pub use restricted::{Owners, Restricted};
pub use store::Manner;

/// The result of an archive's operation.
pub type Result<T> = std::result::Result<T, Error>;
/// A boxed future, so that [`Archive`] can be a trait object.
pub type Fut<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// An archive behind the bridge.
pub trait Archive: Send + Sync + 'static {
    /// The archive's name in the configuration.
    fn name(&self) -> &str;

    /// Under what its objects are kept: its name, and behind a slash what tells it from whatever else has had that name
    /// or will have it.
    fn scope(&self) -> &str {
        self.name()
    }

    /// Searches (PS3.4 C.4.1). Resolves when the first match or the final status has come, so that an error
    /// before the first match is this call's error. Paging is left to the caller: all matches come, in the
    /// archive's order. Dropping the feed cancels the search.
    fn search(&self, caller: &Caller, query: Query) -> Fut<'_, Result<Search>>;

    /// Retrieves objects (PS3.4 C.4.2, C.4.3). Resolves when the first object begins or the retrieval has
    /// ended without one, so that what is known by then is this call's error. Dropping the feed cancels.
    fn retrieve(&self, caller: &Caller, retrieve: Retrieve) -> Fut<'_, Result<Retrieval>>;

    /// Stores one object (PS3.4 B.2). Its bytes are sent as they come; resolves when the archive has answered,
    /// so that several objects are stored at once by several calls. An object whose log breaks off is aborted
    /// at the archive, and is [`Kind::SourceBroke`]. Dropping the future aborts what is under way.
    fn store(&self, caller: &Caller, object: Object) -> Fut<'_, Result<Stored>>;

    /// As [`Archive::store`], in a manner of one's own. An archive that knows one manner only takes no notice.
    fn store_as(&self, caller: &Caller, object: Object, manner: Manner) -> Fut<'_, Result<Stored>> {
        let _ = manner;
        self.store(caller, object)
    }

    /// Whether the archive is known to send objects without bulk data (PS3.4 Annex Z).
    fn omits_bulk_data(&self) -> bool {
        false
    }

    /// What text is encoded in where an object does not say: the archive's configuration may.
    fn assumed_charset(&self) -> Option<Charset> {
        None
    }

    /// The associations towards the archive; `None` where it is not reached by any.
    fn associations(&self) -> Option<Associations> {
        None
    }

    /// The archive as one to which DIMSE messages can be passed on; `None`: it speaks something else.
    fn relay(&self) -> Option<&dyn Relay> {
        None
    }

    /// The archive as one that is reached by DIMSE; `None`: it is not, or clients must not know.
    fn dimse(&self) -> Option<&dimse::DimseArchive> {
        None
    }

    /// Whether the archive is to see clients that have an AE title under their own.
    fn names_client(&self) -> bool {
        false
    }

    /// Asks the archive whether it is there (C-ECHO, PS3.7 9.1.5).
    fn verify(&self, caller: &Caller) -> Fut<'_, Result<()>>;
}

/// Associations towards an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Associations {
    /// Those that are open.
    pub open: usize,
    /// Those of them that nobody uses.
    pub idle: usize,
    /// Whether the archive took the last one that was asked of it; `None`: none was asked for yet.
    pub answers: Option<bool>,
}

/// A search under way.
#[derive(Debug)]
pub struct Search {
    /// One data set a match, in Unicode, then the end. Others may read the same matches.
    pub matches: Feed<Arc<DataSet>>,
    /// What the archive could not do of what was asked, in words for a `Warning: 299` header.
    pub warnings: Vec<String>,
}

/// What to retrieve, and in what form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retrieve {
    /// The entity.
    pub target: Target,
    /// The transfer syntaxes the client takes.
    pub form: Form,
    /// Instances of the target that are at hand already: only the others are to be brought. Mostly empty.
    pub having: BTreeSet<Uid>,
    /// The rest of the instance's series will be wanted next, as by a viewer that asks for frames. A cache may
    /// bring it at once; an archive takes no notice.
    pub ahead: bool,
    /// Of a series: these instances alone. Empty: all.
    pub only: BTreeSet<Uid>,
    /// Patient ID, where the client knows it: archives with the Patient Root model only want it.
    pub patient: Option<String>,
}

impl Retrieve {
    /// All of the entity, and nothing beyond.
    pub fn new(target: Target, form: Form) -> Self {
        Self { target, form, having: BTreeSet::new(), ahead: false, only: BTreeSet::new(), patient: None }
    }
}

/// The form in which objects are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Form {
    /// As they are stored: `transfer-syntax=*` (PS3.18 8.7.3.5.2).
    AsStored,
    /// Explicit VR Little Endian. Only native contexts are proposed, so that the archive decompresses where
    /// it can; what exists in a lossy form only comes as it is stored (PS3.18 8.7.3.4).
    Native,
    /// As they are stored, without bulk data where the archive can leave them out (PS3.4 Annex Z): see
    /// [`Archive::omits_bulk_data`]. Other archives send whole objects.
    WithoutBulkData,
}

/// A retrieval under way.
#[derive(Debug)]
pub struct Retrieval {
    /// The objects as they arrive, then the end. An object's bytes may still be coming when it is handed out.
    pub objects: Feed<Object>,
    /// SOP Instance UIDs that are known from earlier failures not to come: the answer is partial (206) from
    /// the start.
    pub missing: Vec<Uid>,
    /// Of the instances that were at hand, those that the archive still lists. They belong to what
    /// [`Complete`] proves to be there; the others are gone at the archive.
    pub confirmed: BTreeSet<Uid>,
    /// What text is encoded in where an object does not say: the archive's configuration may.
    pub assumed_charset: Option<Charset>,
    /// The objects come without their bulk data ([`Form::WithoutBulkData`], PS3.4 Z.1.3): what they do not have is no
    /// sign that the archive does not have it. `false`: they are whole.
    pub without_bulk: bool,
    /// How many objects are going to come, as far as is known.
    pub expected: Expected,
}

/// How many objects a retrieval is going to bring, as far as is known; readers see it grow. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Expected {
    told: Arc<AtomicUsize>,
    /// What comes besides, from elsewhere.
    besides: usize,
}

impl Expected {
    /// The number; `None`: nobody has told.
    pub fn get(&self) -> Option<usize> {
        Some(self.told.load(Ordering::Relaxed) + self.besides).filter(|count| *count > 0)
    }

    /// So many, which is all there is.
    pub(in crate::archive) fn of(count: usize) -> Self {
        Self { besides: count, ..Self::default() }
    }

    /// The same, and `count` more that are at hand.
    pub(in crate::archive) fn and(self, count: usize) -> Self {
        Self { besides: self.besides + count, ..self }
    }

    /// So many are known of; fewer than were known of before say nothing.
    pub(in crate::archive) fn tell(&self, count: usize) {
        self.told.fetch_max(count, Ordering::Relaxed);
    }
}

/// An object that the archive has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Status (0000,0900): success, or one of the warnings of PS3.4 Table B.2-1 (B000, B006, B007).
    pub status: u16,
    /// Error Comment (0000,0902), without control characters.
    pub comment: Option<String>,
}

/// What a [`Feed`] gives: items, then one end.
#[derive(Debug)]
pub enum Step<T> {
    /// The next item.
    Item(T),
    /// The end: complete, or what went wrong.
    End(Result<Complete>),
}

/// Proof that everything came that was to come. Only the archive layer makes one, and a multipart body
/// cannot be closed without it.
#[derive(Debug)]
pub struct Complete(());

impl Complete {
    /// To be called where completeness was established, nowhere else.
    pub(in crate::archive) fn mint() -> Self {
        Self(())
    }

    /// The same proof, for another reader of the same retrieval.
    pub(in crate::archive) fn share(&self) -> Self {
        Self(())
    }
}

/// Items from a driver task. Dropping it tells the driver that nobody waits any more.
#[derive(Debug)]
pub struct Feed<T> {
    put_back: Option<Step<T>>,
    source: Source<T>,
    watch: Option<Watch<T>>,
    end: Option<End>,
}

/// Whoever is told of the end.
struct End(Box<Hear>);

type Hear = dyn FnOnce(&Result<Complete>) + Send;

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("End")
    }
}

/// Whoever is told of the items that are taken.
struct Watch<T>(Box<dyn FnMut(&T) + Send>);

impl<T> fmt::Debug for Watch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

/// Where the steps of a [`Feed`] come from.
#[derive(Debug)]
enum Source<T> {
    /// From a driver that sends to this feed alone.
    Driver { steps: mpsc::Receiver<Step<T>>, archive: String, _guard: DropGuard },
    /// From what several feeds read.
    Shared(Box<dyn Steps<T>>),
}

/// Steps that several feeds read, as one of them does.
pub(in crate::archive) trait Steps<T>: fmt::Debug + Send {
    /// The next step, where it is at hand.
    fn ready(&mut self) -> Option<Step<T>>;

    /// The next step. Cancel-safe.
    fn next(&mut self) -> Fut<'_, Step<T>>;
}

impl<T> Feed<T> {
    /// A feed that reads `steps` and cancels its driver through `driver` when it is dropped.
    pub(in crate::archive) fn new(archive: &str, steps: mpsc::Receiver<Step<T>>, driver: DropGuard) -> Self {
        let source = Source::Driver { steps, archive: archive.to_owned(), _guard: driver };
        Self { put_back: None, source, watch: None, end: None }
    }

    /// A feed over what others read too.
    pub(in crate::archive) fn over(steps: impl Steps<T> + 'static) -> Self {
        Self { put_back: None, source: Source::Shared(Box::new(steps)), watch: None, end: None }
    }

    /// The same feed, and `watch` is told of each item as it is taken.
    pub fn watched(self, watch: impl FnMut(&T) + Send + 'static) -> Self {
        Self { watch: Some(Watch(Box::new(watch))), ..self }
    }

    /// The same feed, and `hear` is told how it ends, where it comes to its end.
    pub(in crate::archive) fn ending(self, hear: impl FnOnce(&Result<Complete>) + Send + 'static) -> Self {
        Self { end: Some(End(Box::new(hear))), ..self }
    }

    /// The next step. A driver that died, or a call after the end, is an error: never a good end.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Step<T> {
        let step = self.step().await;
        if let (Some(watch), Step::Item(item)) = (&mut self.watch, &step) {
            (watch.0)(item);
        }
        step
    }

    async fn step(&mut self) -> Step<T> {
        if let Some(step) = self.ready() {
            return step;
        }
        let step = match &mut self.source {
            Source::Driver { steps, archive, .. } => match steps.recv().await {
                Some(step) => step,
                None => Step::End(Err(Error::new(archive, Kind::DriverDied))),
            },
            Source::Shared(steps) => steps.next().await,
        };
        self.tell(&step);
        step
    }

    fn tell(&mut self, step: &Step<T>) {
        if let Step::End(end) = step
            && let Some(End(hear)) = self.end.take()
        {
            hear(end);
        }
    }

    /// The next step, where it is at hand.
    pub(in crate::archive) fn ready(&mut self) -> Option<Step<T>> {
        if let Some(step) = self.put_back.take() {
            return Some(step);
        }
        let step = match &mut self.source {
            Source::Driver { steps, .. } => steps.try_recv().ok(),
            Source::Shared(steps) => steps.ready(),
        }?;
        self.tell(&step);
        Some(step)
    }

    /// Makes a step that was looked at the next one again.
    pub(in crate::archive) fn put_back(&mut self, step: Step<T>) {
        self.put_back = Some(step);
    }
}
