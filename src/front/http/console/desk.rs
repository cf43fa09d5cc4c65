//! What the console keeps between two requests, also while the configuration is read again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::explain::Explained;
use super::rates::Rates;
use super::sends::Sends;
use super::token::Seal;

/// Most archives whose last C-ECHO is kept.
const MOST_ECHOES: usize = 1024;

/// What is kept. Cheap to clone; all clones are the same.
#[derive(Debug, Clone, Default)]
pub(in crate::front::http) struct Desk(Arc<Kept>);

#[derive(Debug, Default)]
struct Kept {
    sends: Sends,
    rates: Rates,
    seal: Seal,
    echoes: Mutex<BTreeMap<String, Echo>>,
}

/// A C-ECHO that somebody wanted, and how it went.
#[derive(Debug, Clone)]
pub(super) struct Echo {
    pub(super) at: SystemTime,
    pub(super) went: Result<Duration, Explained>,
}

impl Desk {
    /// What is sent somewhere, and was lately.
    pub(super) fn sends(&self) -> &Sends {
        &self.0.sends
    }

    /// How fast objects come.
    pub(super) fn rates(&self) -> &Rates {
        &self.0.rates
    }

    /// What makes the tokens of forms.
    pub(super) fn seal(&self) -> &Seal {
        &self.0.seal
    }

    /// How the last C-ECHO to an archive went that somebody wanted.
    pub(super) fn echo(&self, archive: &str) -> Option<Echo> {
        self.0.echoes.lock().unwrap_or_else(PoisonError::into_inner).get(archive).cloned()
    }

    /// A C-ECHO to an archive went so.
    pub(super) fn note_echo(&self, archive: &str, echo: Echo) {
        let mut echoes = self.0.echoes.lock().unwrap_or_else(PoisonError::into_inner);
        if echoes.len() >= MOST_ECHOES {
            // Archives that are configured no more, mostly.
            echoes.clear();
        }
        echoes.insert(archive.to_owned(), echo);
    }
}
