//! What was proven to be whole lately, so that the archive need not be asked again at once.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::groups::Proven;
use crate::archive::{Complete, Form};
use crate::dicom::Uid;
use crate::dicom::query::Target;

/// Most proofs that are remembered of one archive: more studies and series than are looked at within the time to live.
const MOST: usize = 1024;
/// Most instances of a proof: one of a larger target is cheap to have made again, measured by what its objects cost.
const MOST_INSTANCES: usize = 20_000;

/// The proofs of one archive.
#[derive(Debug, Default)]
pub(super) struct Proofs(HashMap<(Target, Form), Arc<Proof>>);

/// A target was whole.
#[derive(Debug)]
pub(super) struct Proof {
    /// Every instance of the target.
    pub(super) instances: Vec<Uid>,
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
    /// Remembers a proof, for as long as `ttl`.
    pub(super) fn remember(&mut self, target: Target, form: Form, proof: Proof, ttl: Duration) {
        let now = proof.at;
        self.0.retain(|_, proof| now.saturating_duration_since(proof.at) < ttl);
        if proof.instances.len() > MOST_INSTANCES {
            self.0.remove(&(target, form));
            return;
        }
        self.0.insert((target, form), Arc::new(proof));
        while self.0.len() > MOST {
            let oldest = self.0.iter().min_by_key(|(_, proof)| proof.at).map(|(key, _)| key.clone());
            oldest.map(|key| self.0.remove(&key));
        }
    }

    /// The proof for this very target, if it is younger than `age`.
    pub(super) fn of(&self, target: &Target, form: Form, now: Instant, age: Duration) -> Option<Arc<Proof>> {
        let proof = self.0.get(&(target.clone(), form))?;
        (now.saturating_duration_since(proof.at) < age).then(|| Arc::clone(proof))
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
