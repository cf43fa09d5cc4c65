//! Where a search's matches go: the feed, which opens with the first of them.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::find::Stop;
use crate::archive::{Complete, Error, Feed, Kind, Result, Search, Step};
use crate::dicom::dataset::DataSet;

/// Matches that wait for a slow reader. Beyond them the archive waits.
const MATCHES_AHEAD: usize = 64;

/// The driver's end.
pub(super) struct Output {
    steps: mpsc::Sender<Step<Arc<DataSet>>>,
    /// Taken when the search opens: from then on an error is the feed's.
    opening: Option<oneshot::Sender<Result<Vec<String>>>>,
    warnings: Vec<String>,
    cancelled: CancellationToken,
}

/// The caller's end, before the search opens. Dropped, the search is cancelled.
pub(super) struct Opening {
    archive: String,
    opened: oneshot::Receiver<Result<Vec<String>>>,
    steps: mpsc::Receiver<Step<Arc<DataSet>>>,
    driver: DropGuard,
}

impl Opening {
    /// Waits for the first match or the end.
    pub(super) async fn wait(self) -> Result<Search> {
        let opened = self.opened.await;
        let warnings = opened.map_err(|_| Error::new(&self.archive, Kind::DriverDied))??;
        Ok(Search { matches: Feed::new(&self.archive, self.steps, self.driver), warnings })
    }
}

impl Output {
    /// Both ends, for a driver that `cancelled` ends.
    pub(super) fn new(archive: &str, cancelled: CancellationToken) -> (Self, Opening) {
        let (steps, receiver) = mpsc::channel(MATCHES_AHEAD);
        let (opening, opened) = oneshot::channel();
        let driver = cancelled.clone().drop_guard();
        let output = Self { steps, opening: Some(opening), warnings: Vec::new(), cancelled };
        (output, Opening { archive: archive.to_owned(), opened, steps: receiver, driver })
    }

    /// Adds a warning, once. `false`: the search has opened, and it is too late.
    pub(super) fn warn(&mut self, text: &str) -> bool {
        if self.opening.is_some() && !self.warnings.iter().any(|warning| warning == text) {
            self.warnings.push(text.to_owned());
        }
        self.opening.is_some()
    }

    /// Whether the search has opened: something has been passed on.
    pub(super) fn is_open(&self) -> bool {
        self.opening.is_none()
    }

    /// Passes a match on; waits while the reader is behind.
    pub(super) async fn item(&mut self, data_set: DataSet) -> std::result::Result<(), Stop> {
        self.open();
        tokio::select! {
            biased;
            () = self.cancelled.cancelled() => Err(Stop::Cancelled),
            sent = self.steps.send(Step::Item(Arc::new(data_set))) => sent.map_err(|_| Stop::Cancelled),
        }
    }

    /// Ends the search. That all C-FINDs it took have ended with success is what makes it complete.
    pub(super) async fn end(mut self, result: std::result::Result<(), Stop>) {
        let end = match (result, self.opening.take()) {
            (Err(Stop::Cancelled), _) => return,
            (Err(Stop::Failed(error)), Some(opening)) => {
                let _ = opening.send(Err(error));
                return;
            }
            (Err(Stop::Failed(error)), None) => Err(error),
            (Ok(()), opening) => {
                self.opening = opening;
                self.open();
                Ok(Complete::mint())
            }
        };
        tokio::select! {
            () = self.cancelled.cancelled() => {}
            _ = self.steps.send(Step::End(end)) => {}
        }
    }

    fn open(&mut self) {
        if let Some(opening) = self.opening.take() {
            let _ = opening.send(Ok(std::mem::take(&mut self.warnings)));
        }
    }
}
