//! What the retrievals of one archive share: who runs, what was proven, and where objects are kept.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cache::Cache;
use super::claim::Claim;
use super::config::RetrieveAhead;
use super::groups::Groups;
use super::polled::{Polled, Source};
use super::proofs::{Proof, Proofs, Proven};
use crate::archive::{Archive, Error, Expected, Feed, Form, Kind, Retrieval};
use crate::dicom::Uid;
use crate::dicom::object::Object;
use crate::dicom::query::Target;
use crate::metrics::{Metrics, Outcome};

/// How soon a series is not brought ahead again of which something is wanted once more: one that is larger than the cache
/// would come again and again.
const LATELY: Duration = Duration::from_secs(5 * 60);

/// The shared retrievals of one archive.
pub(super) struct Engine {
    pub(super) archive: Arc<dyn Archive>,
    pub(super) cache: Cache,
    pub(super) groups: Arc<Groups>,
    /// The retrievals that run.
    pub(super) tasks: TaskTracker,
    /// Ends them.
    pub(super) stop: CancellationToken,
    pub(super) counts: Counts,
    proofs: Mutex<Proofs>,
}

/// How requests were answered.
pub(super) struct Counts {
    pub(super) hit: Counter,
    pub(super) attached: Counter,
    pub(super) miss: Counter,
    pub(super) ahead: Counter,
}

impl Engine {
    pub(super) fn new(archive: Arc<dyn Archive>, cache: Cache, metrics: &Metrics) -> Arc<Self> {
        let finishes = cache.config().retrieve_ahead == RetrieveAhead::Finish;
        let groups = Arc::new(Groups::new(archive.name(), archive.scope(), cache.clone(), finishes));
        let count = |outcome| {
            let labels = Outcome { archive: archive.name().to_owned(), outcome };
            metrics.cache_requests.get_or_create(&labels).clone()
        };
        let counts = Counts {
            hit: count("hit"),
            attached: count("attached"),
            miss: count("miss"),
            ahead: count("ahead"),
        };
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        Arc::new(Self { archive, cache, groups, tasks, stop, counts, proofs: Mutex::default() })
    }

    /// The answer with what comes out of `objects`.
    pub(super) fn retrieval(
        &self,
        objects: impl Source + 'static,
        missing: Vec<Uid>,
        expected: Expected,
    ) -> Retrieval {
        Retrieval {
            objects: Feed::over(Polled(objects)),
            missing,
            confirmed: BTreeSet::new(),
            assumed_charset: self.archive.assumed_charset(),
            without_bulk: false,
            expected,
        }
    }

    /// An error of this archive.
    pub(super) fn error(&self, kind: Kind) -> Error {
        Error::new(self.archive.name(), kind)
    }

    fn proofs(&self) -> std::sync::MutexGuard<'_, Proofs> {
        self.proofs.lock().expect("no code panics while it holds the proofs")
    }

    /// How often what the archive holds has changed.
    pub(super) fn changes(&self) -> u64 {
        self.proofs().changes()
    }

    /// Remembers that a target is whole, as the archive was asked when there had been so many `changes`.
    pub(super) fn remember(&self, target: &Target, form: Form, proven: Proven, changes: u64) {
        let proof = Proof::new(proven, Instant::now());
        self.proofs().remember(target.clone(), form, proof, self.cache.config().ttl, changes);
    }

    /// Whether all of a target was brought lately. What of it is not at hand any more had to make room, and would
    /// again.
    pub(super) fn was_brought_lately(&self, target: &Target, form: Form) -> bool {
        self.proofs().of(target, form, Instant::now(), LATELY).is_some()
    }

    /// The proof that a target is whole, if all of it is in the cache. `fresh`: only one which is so young that the
    /// archive need not be asked again.
    pub(super) fn proven(&self, target: &Target, form: Form, fresh: bool) -> Option<Arc<Proof>> {
        let config = self.cache.config();
        let age = if fresh { config.revalidate } else { config.ttl };
        let proof = self.proofs().of(target, form, Instant::now(), age)?;
        let at_hand = |instance: &Uid| self.cache.has(&self.groups.key(&target.study, instance, form));
        proof.instances.iter().all(|(instance, _)| at_hand(instance)).then_some(proof)
    }

    /// What the archive holds has changed: what was proven, and what runs, may lack this instance or have it as it was.
    pub(super) fn has_changed(&self, instance: &Uid) {
        self.cache.forget(self.archive.name(), instance);
        self.proofs().clear();
        self.groups.seal(instance);
    }
}

/// What is kept for a reader, as an object.
pub(super) fn object(claim: Claim) -> Object {
    let (head, series) = (claim.head().clone(), claim.series().cloned());
    Object { head, series, body: claim.read() }
}
