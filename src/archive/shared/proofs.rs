//! What was proven to be whole lately, so that the archive need not be asked again at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::archive::{Complete, Form};
use crate::dicom::Uid;
use crate::dicom::query::Target;

/// Most proofs that are remembered of one archive: more studies and series than are looked at within the time to live.
const MOST: usize = 1024;
/// Most instances of a proof: one of a larger target is cheap to have made again, measured by what its objects cost.
const MOST_INSTANCES: usize = 20_000;

/// Most instances of all proofs of an archive together: each takes some hundred bytes.
const MOST_IN_ALL: usize = 200_000;

/// The proofs of one archive.
#[derive(Debug, Default)]
pub(super) struct Proofs {
    proofs: HashMap<(Target, Form), Arc<Proof>>,
    /// How often what the archive holds has changed.
    changes: u64,
}

/// What a group has brought that proves its target to be whole.
#[derive(Debug)]
pub(super) struct Proven {
    /// Every instance of the target, with its series as far as it is known.
    pub(super) instances: Vec<(Uid, Option<Uid>)>,
    /// Those that are known not to come.
    pub(super) missing: Vec<Uid>,
    pub(super) complete: Complete,
}

/// A target was whole.
#[derive(Debug)]
pub(super) struct Proof {
    /// Every instance of the target, with its series as far as it is known.
    pub(super) instances: Vec<(Uid, Option<Uid>)>,
    /// Those that were known not to come.
    pub(super) missing: Vec<Uid>,
    pub(super) complete: Complete,
    at: Instant,
}

impl Proof {
    pub(super) fn new(proven: Proven, at: Instant) -> Self {
        let Proven { instances, missing, complete } = proven;
        Self { instances, missing, complete, at }
    }
}

impl Proofs {
    /// How often what the archive holds has changed: what is asked of it from now on is of that state, or of a later.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Remembers a proof, for as long as `ttl`, unless the archive has changed since there had been `changes`.
    pub(super) fn remember(&mut self, target: Target, form: Form, proof: Proof, ttl: Duration, changes: u64) {
        let now = proof.at;
        self.proofs.retain(|_, proof| now.saturating_duration_since(proof.at) < ttl);
        if proof.instances.len() > MOST_INSTANCES || changes != self.changes {
            self.proofs.remove(&(target, form));
            return;
        }
        self.proofs.insert((target, form), Arc::new(proof));
        let mut in_all: usize = self.proofs.values().map(|proof| proof.instances.len()).sum();
        while self.proofs.len() > MOST || in_all > MOST_IN_ALL {
            let oldest = self.proofs.iter().min_by_key(|(_, proof)| proof.at).map(|(key, _)| key.clone());
            let Some(dropped) = oldest.and_then(|key| self.proofs.remove(&key)) else { return };
            in_all -= dropped.instances.len();
        }
    }

    /// The proof for this very target, if it is younger than `age`.
    pub(super) fn of(&self, target: &Target, form: Form, now: Instant, age: Duration) -> Option<Arc<Proof>> {
        let proof = self.proofs.get(&(target.clone(), form))?;
        (now.saturating_duration_since(proof.at) < age).then(|| Arc::clone(proof))
    }

    /// What the archive holds has changed: forgets all of them.
    pub(super) fn clear(&mut self) {
        self.proofs.clear();
        self.changes += 1;
    }
}
