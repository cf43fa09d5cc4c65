//! Storage commitment under way (PS3.4 Annex J): who has asked which archive, and what the archives have reported, until
//! the clients know.
//!
//! An archive reports hours later, on whichever association it likes, perhaps before it has answered the request, and
//! perhaps after a restart. So a transaction is written before it is asked for, and its report before it is answered.

mod ledger;
mod record;

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::archive::dimse::Config as ArchiveConfig;
use crate::current::Current;
use crate::dicom::dataset::DataSet;
use crate::dicom::native;
use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_LE, layout};
use crate::dicom::{AeTitle, Tag, Uid, sop_class};
use crate::dimse::pool::{Report, Reports};
use crate::dimse::status;
use ledger::{Before, Filed, Ledger};
pub use ledger::{OpenError, Refusal};
use record::{Record, State};

/// Transaction UID.
const TRANSACTION_UID: Tag = Tag(0x0008, 0x1195);
/// Event Type ID (0000,1002) of a command.
const EVENT_TYPE_ID: u16 = 0x1002;
/// Event types: all instances are committed; some are not (PS3.4 J.3.3).
const EVENT_TYPES: std::ops::RangeInclusive<u16> = 1..=2;

/// How long is waited for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// For an archive's report.
    pub wait: Duration,
    /// For a client that cannot be told.
    pub retry_for: Duration,
    /// Between the first two attempts to tell it; the next ones come twice as late each.
    pub retry_after: Duration,
}

impl Default for Config {
    fn default() -> Self {
        let day = Duration::from_secs(24 * 3600);
        Self { wait: day, retry_for: day, retry_after: Duration::from_secs(5) }
    }
}

/// A transaction: Transaction UIDs are the clients', so that only with the archive they name one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Transaction {
    /// The archive's name in the configuration.
    pub archive: String,
    /// Transaction UID.
    pub uid: Uid,
}

/// Who asked for storage commitment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asker {
    /// The client's title, to which the report is owed.
    pub client: AeTitle,
    /// The title by which it called us, under which it is told.
    pub called: AeTitle,
    /// The transfer syntax that was agreed on with it.
    pub transfer_syntax: Uid,
}

/// What an archive has reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Event Type ID (0000,1002).
    pub event_type: u16,
    /// What the report's data set is encoded in.
    pub transfer_syntax: Uid,
}

/// A report that its client does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undelivered {
    /// What was asked for.
    pub transaction: Transaction,
    /// By whom.
    pub asker: Asker,
    /// When the report came.
    pub since: SystemTime,
}

/// All transactions of all archives. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Commitments {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    ledger: Ledger,
    config: Config,
    /// The archives by name, each with the titles under which it may call.
    archives: Current<Vec<(String, Vec<AeTitle>)>>,
    /// A report has come.
    news: Notify,
}

/// A request that is recorded and not answered yet. Dropped, the transaction is waited for: an archive that has not
/// answered may be at work all the same.
#[derive(Debug)]
pub struct Asking {
    commitments: Commitments,
    transaction: Transaction,
    before: Option<Before>,
}

impl Commitments {
    /// Those of these archives in the file, which is made if it is missing. Without a path they last as long as the
    /// process.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn open(path: Option<&Path>, config: Config, archives: &[ArchiveConfig]) -> Result<Self, OpenError> {
        let archives = Current::new(named(archives));
        let shared = Shared { ledger: Ledger::open(path)?, config, archives, news: Notify::new() };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// From now on these archives are known. What others were asked for is waited for all the same.
    pub fn acquaint(&self, archives: &[ArchiveConfig]) {
        self.shared.archives.set(named(archives));
    }

    /// How long is waited for whom.
    pub fn config(&self) -> Config {
        self.shared.config
    }

    /// Records that a client asks an archive, before it does: the report may overtake the response.
    ///
    /// # Errors
    /// The transaction cannot be recorded, so that it must not be asked for.
    pub async fn asked(&self, transaction: Transaction, asker: Asker) -> Result<Asking, Refusal> {
        let recorded = transaction.clone();
        let before = self.block(move |ledger| ledger.ask(&recorded, asker)).await;
        let before = before.unwrap_or(Err(Refusal::NoRoom))?;
        Ok(Asking { commitments: self.clone(), transaction, before })
    }

    /// Takes an archive's report; the status of the response to it.
    pub async fn reported(&self, archive: &str, report: Report) -> u16 {
        let archive = archive.to_owned();
        self.file(report, move |_, uid| Some(Transaction { archive, uid })).await
    }

    /// As [`Commitments::reported`], on an association that was opened under the title `calling`. Where several archives
    /// have it, or none, it is the one that was asked with this Transaction UID, if there is only one.
    pub async fn reported_by(&self, calling: &AeTitle, report: Report) -> u16 {
        let called_so = |(_, titles): &&(String, Vec<AeTitle>)| titles.contains(calling);
        let archives = self.shared.archives.get();
        let names = archives.iter().filter(called_so).map(|(name, _)| name.clone());
        let names: Vec<String> = names.collect();
        let one_of = move |ledger: &Ledger, uid: Uid| {
            let mut asked = ledger.asked_with(&uid);
            asked.retain(|transaction| names.is_empty() || names.contains(&transaction.archive));
            asked.pop().filter(|_| asked.is_empty())
        };
        self.file(report, one_of).await
    }

    async fn file(
        &self,
        report: Report,
        transaction: impl FnOnce(&Ledger, Uid) -> Option<Transaction> + Send + 'static,
    ) -> u16 {
        let Report { command, transfer_syntax, data } = report;
        if command.sop_class.as_ref().is_none_or(|class| class.as_str() != sop_class::STORAGE_COMMITMENT) {
            return status::NO_SUCH_SOP_CLASS;
        }
        let event_type = command.number(EVENT_TYPE_ID);
        let Some(event_type) = event_type.filter(|event_type| EVENT_TYPES.contains(event_type)) else {
            return status::NO_SUCH_EVENT_TYPE;
        };
        let filed = self.block(move |ledger| {
            let uid = transaction_uid(&data, &transfer_syntax)?;
            let transaction = transaction(ledger, uid)?;
            Some(ledger.file(&transaction, Event { event_type, transfer_syntax }, &data))
        });
        match filed.await {
            Some(Some(Filed::Kept)) => {
                self.shared.news.notify_one();
                status::SUCCESS
            }
            Some(Some(Filed::Known)) => status::SUCCESS,
            Some(None | Some(Filed::Unknown)) => status::INVALID_ARGUMENT,
            None | Some(Some(Filed::NoRoom)) => status::RESOURCE_LIMITATION,
        }
    }

    /// Who takes the reports that come on an archive's associations.
    pub fn of(&self, archive: &str) -> Arc<dyn Reports> {
        Arc::new(OfArchive { commitments: self.clone(), archive: archive.to_owned() })
    }

    /// The reports that their clients do not know, and drops those whose time is up.
    pub async fn undelivered(&self) -> Vec<Undelivered> {
        let Config { wait, retry_for, .. } = self.shared.config;
        let all = self.block(move |ledger| (ledger.expire(wait, retry_for), ledger.undelivered()));
        let Some((expired, undelivered)) = all.await else { return Vec::new() };
        for (Transaction { archive, uid }, Record { asker, state, .. }) in expired {
            let what = match state {
                State::Waiting => "the archive has not reported in time",
                _ => "the client could not be told in time",
            };
            tracing::warn!(archive, client = %asker.client, "storage commitment is given up: {what}");
            tracing::debug!(transaction = %uid, "given up");
        }
        let undelivered = undelivered.into_iter();
        undelivered.map(|(transaction, asker, since)| Undelivered { transaction, asker, since }).collect()
    }

    /// An archive's report, with its data set; `None`: it has been delivered, or cannot be read.
    pub async fn report(&self, transaction: &Transaction) -> Option<(Event, Bytes)> {
        let transaction = transaction.clone();
        self.block(move |ledger| ledger.report(&transaction)).await.flatten()
    }

    /// The client knows.
    pub async fn delivered(&self, transaction: &Transaction) {
        let transaction = transaction.clone();
        self.block(move |ledger| ledger.delivered(&transaction)).await;
    }

    /// Waits until a report has come since the last call.
    pub async fn news(&self) {
        self.shared.news.notified().await;
    }

    /// Closes the file. What comes later is refused, and repeated by who sent it when we are back.
    pub async fn close(&self) {
        self.block(Ledger::close).await;
    }

    /// Does what may wait for the disk. `None`: it has died.
    async fn block<T: Send + 'static>(&self, work: impl FnOnce(&Ledger) -> T + Send + 'static) -> Option<T> {
        let shared = Arc::clone(&self.shared);
        tokio::task::spawn_blocking(move || work(&shared.ledger)).await.ok()
    }
}

impl Asking {
    /// The archive has refused: no report will come, and one that had come before is still to be told.
    pub async fn refused(self) {
        let Self { commitments, transaction, before } = self;
        commitments.block(move |ledger| ledger.refused(&transaction, before)).await;
        commitments.shared.news.notify_one();
    }
}

impl Transaction {
    fn encode(&self) -> Vec<u8> {
        [self.archive.as_bytes(), b"\0", self.uid.as_str().as_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (archive, uid) = std::str::from_utf8(bytes).ok()?.split_once('\0')?;
        Some(Self { archive: archive.to_owned(), uid: uid.parse().ok()? })
    }
}

/// The reports of one archive.
struct OfArchive {
    commitments: Commitments,
    archive: String,
}

impl Reports for OfArchive {
    fn take(&self, report: Report) -> Pin<Box<dyn Future<Output = u16> + Send>> {
        let (commitments, archive) = (self.commitments.clone(), self.archive.clone());
        Box::pin(async move { commitments.reported(&archive, report).await })
    }
}

impl fmt::Debug for OfArchive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OfArchive").field("archive", &self.archive).finish_non_exhaustive()
    }
}

fn named(archives: &[ArchiveConfig]) -> Vec<(String, Vec<AeTitle>)> {
    archives.iter().map(|archive| (archive.name.clone(), titles(archive))).collect()
}

/// The titles under which an archive may call.
fn titles(archive: &ArchiveConfig) -> Vec<AeTitle> {
    let ArchiveConfig { query, retrieve_from, store_at, worklist, mpps, commit, .. } = archive;
    let endpoints = [query, retrieve_from, store_at, worklist, mpps, commit].into_iter().flatten();
    endpoints.map(|endpoint| &endpoint.ae_title).chain([&archive.ae_title]).cloned().collect()
}

/// The Transaction UID in the data set of a request or a report; `None`: there is none, or the data set cannot be read.
pub fn transaction_uid(data: &Bytes, transfer_syntax: &Uid) -> Option<Uid> {
    let data_set = match transfer_syntax.as_str() {
        DEFLATED_EXPLICIT_VR_LE => {
            let explicit = Uid::from_static(EXPLICIT_VR_LE);
            let inflated = native::whole(data.clone(), transfer_syntax, &explicit).ok()?;
            DataSet::parse(&inflated, layout(transfer_syntax), None)
        }
        _ => DataSet::parse(data, layout(transfer_syntax), None),
    };
    data_set.ok()?.data_set.uid(TRANSACTION_UID)
}

#[cfg(test)]
mod tests;
