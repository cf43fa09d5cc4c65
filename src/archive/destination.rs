//! A client's address as a place to deliver objects to: what a C-MOVE names as its destination (PS3.4 C.4.2.3.1).

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::dimse::DimseArchive;
use super::dimse::config::{Config, Timeouts};
use super::error::Kind;
use super::store::Manner;
use super::{Archive, Form, Result, Stored};
use crate::caller::Caller;
use crate::dicom::AeTitle;
use crate::dicom::object::Object;
use crate::metrics::Metrics;
use crate::net::tls::ClientConfig;

/// How long it is remembered that a destination refused objects for their transfer syntax: it may be configured anew.
const SYNTAX_MEMORY: Duration = Duration::from_secs(10 * 60);

/// An application entity to which objects can be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its AE title.
    pub title: AeTitle,
    /// Host and port.
    pub address: String,
    /// Most associations to it at a time, of each title under which we call.
    pub max_associations: usize,
    /// How we connect to it; `None`: without TLS.
    pub tls: Option<ClientConfig>,
}

/// The application entities to which objects can be sent.
#[derive(Debug)]
pub struct Destinations {
    places: BTreeMap<AeTitle, Place>,
    timeouts: Timeouts,
    metrics: Metrics,
    /// Those that have been used, by their title and by that under which we call. The latter is one by which we are
    /// called ourselves: there are few.
    used: Mutex<BTreeMap<(AeTitle, AeTitle), Destination>>,
}

/// An application entity to which objects are sent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Destination {
    archive: DimseArchive,
    /// When it last refused an object for its transfer syntax.
    refused_syntax: Arc<Mutex<Option<Instant>>>,
    /// How many C-MOVEs go there at this moment.
    visits: Arc<AtomicUsize>,
}

/// The time of one C-MOVE to a destination. With the last of them the associations there are released at once, as an
/// archive's own would be: movescu, for one, does not end before.
#[derive(Debug)]
pub struct Visit(Destination);

impl Deref for Visit {
    type Target = Destination;

    fn deref(&self) -> &Destination {
        &self.0
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if self.0.visits.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.archive.release_idle();
        }
    }
}

impl Destinations {
    /// These places. The time-outs are those of associations to them.
    pub fn new(places: impl IntoIterator<Item = Place>, timeouts: Timeouts, metrics: Metrics) -> Self {
        let places = places.into_iter().map(|place| (place.title.clone(), place)).collect();
        Self { places, timeouts, metrics, used: Mutex::default() }
    }

    /// The destination `title`, called under the title `calling`; `None`: nobody has told where it is.
    pub fn get(&self, title: &AeTitle, calling: &AeTitle) -> Option<Destination> {
        let place = self.places.get(title)?;
        let key = (title.clone(), calling.clone());
        let new = || Destination::new(place, calling.clone(), self.timeouts, self.metrics.clone());
        Some(self.used().entry(key).or_insert_with(new).clone())
    }

    /// Releases idle associations and waits, at most until `deadline`, for those in use.
    pub async fn shut_down(&self, deadline: Instant) {
        let used: Vec<Destination> = self.used().values().cloned().collect();
        let close = |destination: Destination| async move { destination.archive.shut_down(deadline).await };
        used.into_iter().map(close).collect::<JoinSet<()>>().join_all().await;
    }

    fn used(&self) -> MutexGuard<'_, BTreeMap<(AeTitle, AeTitle), Destination>> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Destination {
    fn new(place: &Place, calling: AeTitle, timeouts: Timeouts, metrics: Metrics) -> Self {
        let config = Config {
            max_associations: place.max_associations,
            tls: place.tls.clone(),
            timeouts,
            ..Config::new(format!("ae.{}", place.title), place.title.clone(), place.address.clone(), calling)
        };
        let archive = DimseArchive::new(config, None, None, metrics);
        Self { archive, refused_syntax: Arc::default(), visits: Arc::default() }
    }

    /// A C-MOVE to it begins; it ends where the visit is dropped.
    pub fn visit(self) -> Visit {
        self.visits.fetch_add(1, Ordering::AcqRel);
        Visit(self)
    }

    /// The form in which objects are best retrieved for it: as they are stored, unless it has lately refused some for
    /// their transfer syntax.
    pub fn form(&self) -> Form {
        match *self.refused_syntax() {
            Some(at) if at.elapsed() < SYNTAX_MEMORY => Form::Native,
            _ => Form::AsStored,
        }
    }

    /// Stores an object there: where somebody's C-MOVE wants it, as a sub-operation of that, which is told by the client's
    /// title and message ID, `originator` (PS3.7 9.1.1.1).
    ///
    /// # Errors
    /// As [`Archive::store`].
    pub async fn deliver(
        &self,
        caller: &Caller,
        object: Object,
        originator: Option<(AeTitle, u16)>,
    ) -> Result<Stored> {
        let manner = Manner { checked: false, originator };
        let stored = self.archive.store_as(caller, object, manner).await;
        if stored.as_ref().is_err_and(|error| matches!(error.kind, Kind::SyntaxRefused(_))) {
            *self.refused_syntax() = Some(Instant::now());
        }
        stored
    }

    fn refused_syntax(&self) -> MutexGuard<'_, Option<Instant>> {
        self.refused_syntax.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
