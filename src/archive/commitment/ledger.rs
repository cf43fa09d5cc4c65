//! The transactions of storage commitment on disk, so that a restart forgets none, with an index in memory.
//!
//! Every call may wait for the disk: it is for threads that may block.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use redb::backends::InMemoryBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use super::record::{Record, State};
use super::{Asker, Event, Transaction};
use crate::dicom::Uid;

/// Most transactions that are kept; beyond, the oldest whose report nobody waits to send goes.
const MAX_TRANSACTIONS: usize = 100_000;
/// Most bytes of reports that wait for their clients. An archive whose report finds no room is told so, and repeats it.
const MAX_REPORTED: usize = 256 << 20;
/// Memory for pages of the file, in bytes: what is asked for often is in the index.
const PAGE_CACHE: usize = 4 << 20;
/// How long it is remembered that a report was delivered.
const DELIVERED_VALID: Duration = Duration::from_secs(3600);

/// Archive, NUL, Transaction UID → [`Record`].
const TRANSACTIONS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("transactions");
/// The same → the data set of its report.
const REPORTS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("reports");

/// The file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("state.path: another process uses the file: give each its own")]
    InUse,
    /// It cannot be opened or made, or is something else; the text says why.
    #[error("state.path: the file cannot be used ({0}): name a file in a directory that can be written")]
    Unusable(String),
}

/// A transaction cannot be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Another client waits for a report of this Transaction UID.
    InUse,
    /// There is no room, or the disk cannot be written.
    NoRoom,
}

/// What was recorded of a transaction before it was asked for once more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Before {
    record: Record,
    /// The report that had not reached the client.
    report: Option<Bytes>,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filed {
    /// It is written.
    Kept,
    /// It was written or delivered before.
    Known,
    /// Nobody has asked for it.
    Unknown,
    /// There is no room, or the disk cannot be written.
    NoRoom,
}

/// All transactions.
#[derive(Debug)]
pub(super) struct Ledger {
    state: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    /// `None`: it is closed.
    database: Option<Database>,
    records: BTreeMap<Transaction, Record>,
    /// Bytes of all reports.
    reported: usize,
    /// Most records.
    most: usize,
}

impl Ledger {
    /// Opens the file, which is made if it is missing; without a path, memory.
    pub(super) fn open(path: Option<&Path>) -> Result<Self, OpenError> {
        let unusable = |error: &dyn std::fmt::Display| OpenError::Unusable(error.to_string());
        let mut builder = Builder::new();
        builder.set_cache_size(PAGE_CACHE);
        let database = match path {
            None => builder.create_with_backend(InMemoryBackend::new()),
            Some(path) => {
                let mut options = OpenOptions::new();
                let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
                builder.create_file(file.map_err(|error| unusable(&error))?)
            }
        };
        let database = database.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::InUse,
            other => unusable(&other),
        })?;
        let records = read_all(&database).map_err(|error| unusable(&error))?;
        let reported = records.values().map(length).sum();
        Ok(Self {
            state: Mutex::new(Inner { database: Some(database), records, reported, most: MAX_TRANSACTIONS }),
        })
    }

    /// Records that a report is waited for. What was recorded before is given, to be put back where the request fails.
    pub(super) fn ask(&self, transaction: &Transaction, asker: Asker) -> Result<Option<Before>, Refusal> {
        let mut inner = self.lock();
        let before = inner.records.get(transaction).cloned();
        let others =
            |record: &Record| record.asker.client != asker.client && record.state != State::Delivered;
        if before.as_ref().is_some_and(others) {
            return Err(Refusal::InUse);
        }
        if before.is_none() && inner.records.len() >= inner.most {
            inner.make_room()?;
        }
        let before = before.and_then(|record| match record.state {
            State::Waiting => Some(Before { record, report: None }),
            State::Reported(..) => Some(Before { record, report: Some(inner.report(transaction).ok()??) }),
            State::Delivered => None,
        });
        let record = Record { asker, since: SystemTime::now(), state: State::Waiting };
        // A report that has not reached the client yet answers an earlier request with this UID.
        inner.write(transaction, Some(record), Some(None)).map_err(|()| Refusal::NoRoom)?;
        Ok(before)
    }

    /// The request was refused: no report will come, but for one that was waited for, or had come, `before`. A report
    /// that has come all the same stays.
    pub(super) fn refused(&self, transaction: &Transaction, before: Option<Before>) {
        let mut inner = self.lock();
        if inner.records.get(transaction).is_some_and(|record| record.state == State::Waiting) {
            let (record, report) = before.map(|before| (before.record, before.report)).unzip();
            let report = report.flatten();
            let _ = inner.write(transaction, record, Some(report.as_deref()));
        }
    }

    /// Files a report.
    pub(super) fn file(&self, transaction: &Transaction, event: Event, data: &[u8]) -> Filed {
        let mut inner = self.lock();
        let Some(record) = inner.records.get(transaction) else { return Filed::Unknown };
        if record.state != State::Waiting {
            return Filed::Known;
        }
        if inner.reported + data.len() > MAX_REPORTED {
            return Filed::NoRoom;
        }
        let (asker, since) = (record.asker.clone(), SystemTime::now());
        let record = Record { asker, since, state: State::Reported(event, data.len()) };
        match inner.write(transaction, Some(record), Some(Some(data))) {
            Ok(()) => Filed::Kept,
            Err(()) => Filed::NoRoom,
        }
    }

    /// The archives that have been asked with this Transaction UID.
    pub(super) fn asked_with(&self, uid: &Uid) -> Vec<Transaction> {
        let inner = self.lock();
        inner.records.keys().filter(|transaction| transaction.uid == *uid).cloned().collect()
    }

    /// What has not reached its client: the transaction, who asked, since when it is here.
    pub(super) fn undelivered(&self) -> Vec<(Transaction, Asker, SystemTime)> {
        let inner = self.lock();
        let reported = inner.records.iter().filter(|(_, record)| length(record) > 0);
        reported.map(|(t, record)| (t.clone(), record.asker.clone(), record.since)).collect()
    }

    /// A report that has not reached its client.
    pub(super) fn report(&self, transaction: &Transaction) -> Option<(Event, Bytes)> {
        let inner = self.lock();
        let State::Reported(event, _) = inner.records.get(transaction)?.state.clone() else { return None };
        let data = inner.report(transaction).inspect_err(|error| {
            tracing::warn!(%error, "a report of storage commitment cannot be read");
        });
        Some((event, data.ok()??))
    }

    /// The client knows.
    pub(super) fn delivered(&self, transaction: &Transaction) {
        let mut inner = self.lock();
        let Some(record) = inner.records.get(transaction).cloned() else { return };
        if length(&record) > 0 {
            let record = Record { since: SystemTime::now(), state: State::Delivered, ..record };
            let _ = inner.write(transaction, Some(record), Some(None));
        }
    }

    /// Drops what has waited for its archive longer than `wait`, or for its client longer than `retry_for`, and tells
    /// what that was.
    pub(super) fn expire(&self, wait: Duration, retry_for: Duration) -> Vec<(Transaction, Record)> {
        let mut inner = self.lock();
        let now = SystemTime::now();
        let over = |record: &Record| {
            let most = match record.state {
                State::Waiting => wait,
                State::Reported(..) => retry_for,
                State::Delivered => DELIVERED_VALID,
            };
            now.duration_since(record.since).is_ok_and(|age| age > most)
        };
        let all = inner.records.iter().filter(|(_, record)| over(record));
        let mut expired: Vec<_> = all.map(|(t, record)| (t.clone(), record.clone())).collect();
        expired.retain(|(transaction, _)| inner.write(transaction, None, Some(None)).is_ok());
        expired.retain(|(_, record)| record.state != State::Delivered);
        expired
    }

    /// Closes the file, which another process may then open. Nothing can be recorded any more.
    pub(super) fn close(&self) {
        self.lock().database = None;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Writes a record, or takes it out; and its report, or takes that out, unless it stays as it is.
    fn write(
        &mut self,
        transaction: &Transaction,
        record: Option<Record>,
        report: Option<Option<&[u8]>>,
    ) -> Result<(), ()> {
        let key = transaction.encode();
        let written = self.commit(&key, record.as_ref().map(Record::encode).as_deref(), report);
        written.map_err(|error| tracing::error!(%error, "state.path: the file cannot be written"))?;
        let before = match record {
            Some(record) => {
                self.reported += length(&record);
                self.records.insert(transaction.clone(), record)
            }
            None => self.records.remove(transaction),
        };
        self.reported -= before.as_ref().map_or(0, length);
        Ok(())
    }

    fn commit(
        &self,
        key: &[u8],
        record: Option<&[u8]>,
        report: Option<Option<&[u8]>>,
    ) -> Result<(), redb::Error> {
        let write = self.database()?.begin_write()?;
        {
            let mut records = write.open_table(TRANSACTIONS)?;
            match record {
                Some(record) => records.insert(key, record)?,
                None => records.remove(key)?,
            };
            let mut reports = write.open_table(REPORTS)?;
            match report {
                Some(Some(report)) => drop(reports.insert(key, report)?),
                Some(None) => drop(reports.remove(key)?),
                None => {}
            }
        }
        Ok(write.commit()?)
    }

    fn database(&self) -> Result<&Database, redb::Error> {
        self.database.as_ref().ok_or_else(|| redb::Error::Io(io::Error::other("it is closed")))
    }

    fn report(&self, transaction: &Transaction) -> Result<Option<Bytes>, redb::Error> {
        let reports = self.database()?.begin_read()?.open_table(REPORTS)?;
        Ok(reports.get(&*transaction.encode())?.map(|value| Bytes::copy_from_slice(value.value())))
    }

    /// Drops the oldest transaction that has no report.
    fn make_room(&mut self) -> Result<(), Refusal> {
        let without = self.records.iter().filter(|(_, record)| length(record) == 0);
        let oldest =
            without.min_by_key(|(_, record)| record.since).map(|(transaction, _)| transaction.clone());
        let oldest = oldest.ok_or(Refusal::NoRoom)?;
        tracing::warn!(archive = oldest.archive, "more storage commitment transactions than are kept");
        self.write(&oldest, None, None).map_err(|()| Refusal::NoRoom)
    }
}

/// The length of a report that has not reached its client; 0: there is none.
fn length(record: &Record) -> usize {
    match record.state {
        State::Reported(_, length) => length.max(1),
        _ => 0,
    }
}

/// The records of a file; those that are damaged are dropped.
fn read_all(database: &Database) -> Result<BTreeMap<Transaction, Record>, redb::Error> {
    let write = database.begin_write()?;
    let mut all = BTreeMap::new();
    let mut damaged = Vec::new();
    {
        let mut records = write.open_table(TRANSACTIONS)?;
        let mut reports = write.open_table(REPORTS)?;
        for entry in records.iter()? {
            let (key, value) = entry?;
            match (Transaction::decode(key.value()), Record::decode(value.value())) {
                (Some(transaction), Some(record)) => drop(all.insert(transaction, record)),
                _ => damaged.push(key.value().to_vec()),
            }
        }
        for key in &damaged {
            records.remove(&**key)?;
            reports.remove(&**key)?;
        }
    }
    write.commit()?;
    if !damaged.is_empty() {
        tracing::warn!(count = damaged.len(), "state.path: damaged records were dropped");
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
