//! The objects at hand: in memory first, on disk second, both bounded by bytes.

use std::path::PathBuf;
use std::sync::Arc;

use super::config::Config;
use super::search::Searches;
use crate::dicom::Uid;
use crate::metrics::Metrics;

/// The cache of all archives. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cache(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Config,
    searches: Searches,
    #[expect(dead_code, reason = "the tiers land with the next change")]
    metrics: Metrics,
}

/// What is to be dropped. A field that is `None` restricts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Purge {
    /// The archive's name.
    pub archive: Option<String>,
    /// Study Instance UID.
    pub study: Option<Uid>,
    /// Series Instance UID.
    pub series: Option<Uid>,
    /// SOP Instance UID.
    pub instance: Option<Uid>,
}

/// What was dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Objects.
    pub objects: u64,
    /// Their bytes, each counted once.
    pub bytes: u64,
}

/// How the cache does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Objects at hand, in whichever tier.
    pub objects: u64,
    /// Bytes in memory.
    pub memory: u64,
    /// Most bytes in memory.
    pub memory_size: u64,
    /// The tier on disk, where one is configured.
    pub disk: Option<DiskState>,
}

/// How the tier on disk does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskState {
    /// Its directory.
    pub path: PathBuf,
    /// Bytes on disk.
    pub bytes: u64,
    /// Most bytes on disk.
    pub size: u64,
    /// Why it is not used; `None`: it works.
    pub problem: Option<String>,
}

impl Cache {
    /// A cache as configured. What is wrong with the disk is logged and told by [`Cache::state`]; the cache then
    /// does without.
    pub fn new(config: Config, metrics: Metrics) -> Self {
        let searches = Searches::new(config.searches, metrics.clone());
        Self(Arc::new(Inner { config, searches, metrics }))
    }

    /// The searches of all archives.
    pub(in crate::archive) fn searches(&self) -> &Searches {
        &self.0.searches
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// Drops objects. Readers that have begun are not disturbed.
    pub fn purge(&self, what: &Purge) -> Purged {
        self.0.searches.forget(what.archive.as_deref());
        Purged::default()
    }

    /// How the cache does.
    pub fn state(&self) -> State {
        State { objects: 0, memory: 0, memory_size: self.0.config.memory, disk: None }
    }
}
