//! The configuration of the cache: `[cache]`.

use std::path::PathBuf;
use std::time::Duration;

/// What is kept, where, and for how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Most bytes of objects in memory; 0: none.
    pub memory: u64,
    /// The second tier; `None`: none.
    pub disk: Option<Disk>,
    /// How long an object is kept after it has arrived.
    pub ttl: Duration,
    /// For how long the archive's word that a series or study is whole is believed, before it is asked again what it
    /// lists.
    pub revalidate: Duration,
    /// What is brought beyond what was asked for.
    pub retrieve_ahead: RetrieveAhead,
    /// How long the answer to a search is kept; `None`: identical searches share an answer only while it comes.
    pub searches: Option<Duration>,
}

/// The tier of the cache on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// A directory that is the cache's own.
    pub path: PathBuf,
    /// Most bytes of its files.
    pub size: u64,
}

/// What is brought beyond what was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetrieveAhead {
    /// Nothing.
    Off,
    /// A request for frames brings its series. A retrieval whose last reader leaves is cancelled.
    Series,
    /// Likewise, and a retrieval whose last reader leaves is finished for the cache.
    Finish,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            memory: 512 << 20,
            disk: None,
            ttl: Duration::from_secs(600),
            revalidate: Duration::from_secs(5),
            retrieve_ahead: RetrieveAhead::Series,
            searches: None,
        }
    }
}

impl Config {
    /// No cache: every request is one to the archive.
    pub fn off() -> Self {
        Self { memory: 0, ..Self::default() }
    }
}
