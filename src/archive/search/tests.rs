//! Searches over real associations, in memory, of archives that do as a test says.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{DuplexStream, duplex};
use tokio::time::{Instant, timeout};

use super::*;
use crate::archive::dimse::DimseArchive;
use crate::archive::testing::config;
use crate::archive::{Archive, Kind, Step};
use crate::caller::Priority;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{DataSet, vr_of};
use crate::dicom::query::{Level, MatchingKey};
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, Layout};
use crate::dicom::{Tag, Uid, sop_class, tags};
use crate::dimse::association::{Association, Event, Io, Requested};
use crate::dimse::command::{Command, field};
use crate::dimse::pdu::context_result;
use crate::dimse::pool::Connect;
use crate::metrics::Metrics;

mod archives;
mod associations;
mod keys;

/// A query for everything of a level.
pub(super) fn query(level: Level) -> Query {
    Query {
        level,
        within: None,
        keys: Vec::new(),
        include: Vec::new(),
        include_all: false,
        as_said: false,
        fuzzy: false,
        empty_value: false,
        multiple_value: false,
        offset: 0,
        limit: None,
    }
}

/// A query with keys; a comma separates values.
fn query_with(level: Level, keys: &[(Tag, &str)]) -> Query {
    let key = |(tag, values): &(Tag, &str)| MatchingKey {
        path: (*tag).into(),
        vr: vr_of(*tag),
        values: values.split(',').map(str::to_owned).collect(),
    };
    Query { keys: keys.iter().map(key).collect(), ..query(level) }
}

/// What the archive does with a C-FIND.
enum Answer {
    /// Pending responses with this status, then the final one.
    Matches(u16, Vec<DataSet>, u16),
    /// Matches without end, until a C-CANCEL, and then this many more.
    Endless(DataSet, usize),
    /// One match, then silence.
    OneThenSilence(DataSet),
    /// The connection is cut, after so many matches.
    Cut(Vec<DataSet>),
    /// A response to another message.
    WrongMessageId,
    /// A pending response without a data set.
    NoDataSet,
    /// The final response twice.
    TwoFinals,
    /// Matches of these bytes.
    Raw(Bytes),
}

fn found(matches: Vec<DataSet>) -> Answer {
    Answer::Matches(0xFF00, matches, 0)
}

fn refused(status: u16) -> Answer {
    Answer::Matches(0xFF00, Vec::new(), status)
}

type Script = dyn Fn(&DataSet) -> Answer + Send + Sync;

/// An archive, and what it has seen.
struct Pacs {
    script: Box<Script>,
    takes: Vec<&'static str>,
    identifiers: Mutex<Vec<DataSet>>,
    cancels: AtomicUsize,
    associations: AtomicUsize,
}

impl Pacs {
    fn new(script: impl Fn(&DataSet) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Self::taking(vec![sop_class::STUDY_ROOT_FIND, sop_class::PATIENT_ROOT_FIND], script)
    }

    fn taking(
        takes: Vec<&'static str>,
        script: impl Fn(&DataSet) -> Answer + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            script: Box::new(script),
            takes,
            identifiers: Mutex::default(),
            cancels: AtomicUsize::new(0),
            associations: AtomicUsize::new(0),
        })
    }

    /// How many C-FINDs came, at each level.
    fn finds(&self) -> Vec<String> {
        let identifiers = self.identifiers.lock().unwrap();
        identifiers.iter().map(|i| i.string(tags::QUERY_RETRIEVE_LEVEL).unwrap_or("?").to_owned()).collect()
    }

    fn cancels(&self) -> usize {
        self.cancels.load(Ordering::SeqCst)
    }

    fn associations(&self) -> usize {
        self.associations.load(Ordering::SeqCst)
    }

    fn archive(self: &Arc<Self>) -> DimseArchive {
        let config = config();
        let pacs = Arc::clone(self);
        DimseArchive::over(config, None, None, Metrics::default(), move |_| connector(Arc::clone(&pacs)))
    }

    async fn serve(self: Arc<Self>, io: DuplexStream) {
        let deadline = Instant::now() + Duration::from_secs(3600);
        let Ok(requested) = Requested::read(io, deadline).await else { return };
        let decide = |class: &Uid, syntaxes: &[Uid]| {
            if self.takes.contains(&class.as_str()) {
                Ok(syntaxes[0].clone())
            } else {
                Err(context_result::ABSTRACT_SYNTAX)
            }
        };
        let Ok(mut association) = requested.accept(decide, |_| true, deadline).await else { return };
        self.associations.fetch_add(1, Ordering::SeqCst);
        while let Ok(event) = association.event().await {
            match event {
                Event::ReleaseRequested => return association.confirm_release(deadline).await,
                Event::Command { context, command } if command.field == field::C_FIND_RQ => {
                    let syntax = &association.agreement().context(context).unwrap().transfer_syntax;
                    assert_eq!(syntax.as_str(), EXPLICIT_VR_LE);
                    let Some(identifier) = read_identifier(&mut association).await else { return };
                    self.identifiers.lock().unwrap().push(identifier.clone());
                    let answer = (self.script)(&identifier);
                    if self.answer(&mut association, context, &command, answer).await.is_none() {
                        return;
                    }
                }
                // A C-CANCEL that came when all was said.
                Event::Command { command, .. } if command.field == field::C_CANCEL_RQ => {
                    self.cancels.fetch_add(1, Ordering::SeqCst);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Answers; `None`: the connection is to be cut.
    async fn answer(
        &self,
        association: &mut Association,
        context: u8,
        request: &Command,
        answer: Answer,
    ) -> Option<()> {
        let mut send = |status: u16, match_: Option<&DataSet>| {
            let bytes = match_.map(|m| Bytes::from(m.encode(Layout::ExplicitLe, QueryCharset::Auto)));
            let response = Command { has_data_set: bytes.is_some(), ..request.response(status) };
            association.send(context, &response, bytes);
        };
        match answer {
            Answer::Matches(pending, matches, last) => {
                matches.iter().for_each(|m| send(pending, Some(m)));
                send(last, None);
            }
            Answer::Cut(matches) => {
                matches.iter().for_each(|m| send(0xFF00, Some(m)));
                association.flush().await.ok()?;
                return None;
            }
            Answer::OneThenSilence(match_) => send(0xFF00, Some(&match_)),
            Answer::NoDataSet => {
                send(0xFF00, None);
                send(0, None);
            }
            Answer::TwoFinals => {
                send(0, None);
                send(0, None);
            }
            Answer::WrongMessageId => {
                let response = Command { message_id: request.message_id + 7, ..request.response(0) };
                association.send(context, &response, None);
            }
            Answer::Raw(bytes) => {
                let response = Command { has_data_set: true, ..request.response(0xFF00) };
                association.send(context, &response, Some(bytes));
                association.send(context, &request.response(0), None);
            }
            Answer::Endless(match_, after) => {
                return self.flood(association, context, request, match_, after).await;
            }
        }
        association.flush().await.ok()
    }

    /// Sends matches until a C-CANCEL comes, and some more before it is honoured.
    async fn flood(
        &self,
        association: &mut Association,
        context: u8,
        request: &Command,
        match_: DataSet,
        after: usize,
    ) -> Option<()> {
        let bytes = Bytes::from(match_.encode(Layout::ExplicitLe, QueryCharset::Auto));
        let pending = Command { has_data_set: true, ..request.response(0xFF00) };
        loop {
            if association.unsent() < 10_000 {
                association.send(context, &pending, Some(bytes.clone()));
            }
            tokio::select! {
                biased;
                event = association.event() => match event.ok()? {
                    Event::Command { command, .. } if command.field == field::C_CANCEL_RQ => break,
                    _ => return None,
                },
                () = tokio::task::yield_now() => {}
            }
        }
        self.cancels.fetch_add(1, Ordering::SeqCst);
        (0..after).for_each(|_| association.send(context, &pending, Some(bytes.clone())));
        association.send(context, &request.response(0xFE00), None);
        association.flush().await.ok()
    }
}

fn connector(pacs: Arc<Pacs>) -> Connect {
    Arc::new(move |_| {
        let pacs = Arc::clone(&pacs);
        Box::pin(async move {
            let (ours, theirs) = duplex(1 << 16);
            tokio::spawn(pacs.serve(theirs));
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    })
}

async fn read_identifier(association: &mut Association) -> Option<DataSet> {
    let mut bytes = Vec::new();
    loop {
        match association.event().await.ok()? {
            Event::Data { bytes: piece, last } => {
                bytes.extend_from_slice(&piece);
                if last {
                    return Some(DataSet::parse(&bytes, Layout::ExplicitLe, None).unwrap().data_set);
                }
            }
            _ => return None,
        }
    }
}

fn caller() -> Caller {
    Caller { client: None, priority: Priority::Interactive, title: None }
}

/// A data set of text attributes; a comma separates values.
fn data_set(elements: &[(Tag, &str)]) -> DataSet {
    let mut data_set = DataSet::new();
    for (tag, values) in elements {
        let values = values.split(',').filter(|v| !v.is_empty()).map(str::to_owned).collect();
        data_set.set_strings(*tag, vr_of(*tag), values);
    }
    data_set
}

fn study(number: usize) -> DataSet {
    data_set(&[(tags::STUDY_INSTANCE_UID, &format!("1.{number}"))])
}

/// All matches of a search and its warnings, or its error, wherever it came.
async fn run(archive: &DimseArchive, query: Query) -> Result<(Vec<Arc<DataSet>>, Vec<String>)> {
    let mut search = archive.search(&caller(), query).await?;
    let mut matches = Vec::new();
    loop {
        match timeout(Duration::from_secs(30), search.matches.next()).await.expect("the search hangs") {
            Step::Item(data_set) => matches.push(data_set),
            Step::End(end) => return end.map(|_| (matches, search.warnings)),
        }
    }
}

/// The values of an attribute in all matches of a search that succeeds.
async fn values(archive: &DimseArchive, query: Query, tag: Tag) -> Vec<String> {
    let (matches, _) = run(archive, query).await.unwrap();
    matches.iter().map(|m| m.strings(tag).join(",")).collect()
}
