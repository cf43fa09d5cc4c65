//! Retrievals by C-GET over real associations, in memory, of an archive that does as a test says.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::archive::contexts;
use crate::archive::dimse::DimseArchive;
use crate::archive::dimse::config::{Config, Method};
use crate::archive::testing::config;
use crate::archive::{Archive, MoveDestination};
use crate::caller::Priority;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::DataSet;
use crate::dicom::transfer_syntax::{EXPLICIT_VR_LE, Layout};
use crate::dicom::{VR, sop_class, tags};
use crate::dimse::association::{Association, Event, Io, Requested};
use crate::dimse::command::{Command, field};
use crate::dimse::negotiation::AcceptedContext;
use crate::dimse::pdu::MAX_CONTEXTS;
use crate::dimse::pool::Connect;
use crate::dimse::scu::{OperationError, Reply};
use crate::metrics::Metrics;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const JPEG: &str = "1.2.840.10008.1.2.4.50";
const STUDY: &str = "1.1";
/// The series of the study; the object of each has its UID and `.1`.
const SERIES: [&str; 2] = ["1.1.1", "1.1.2"];

/// What becomes of a C-GET.
#[derive(Debug, Clone, Copy)]
enum Get {
    /// The object comes, if a context for its syntax was accepted.
    Serve,
    /// A success that brings nothing.
    Nothing,
    Silence,
    Cut,
    Fail,
}

/// An archive with one study, whose C-FIND takes no notice of a Series Instance UID at series level.
struct Pacs {
    syntax: &'static str,
    /// Objects in each series.
    slices: usize,
    /// C-FIND at image level lists no more than this, without a word; `None`: it is refused.
    lists: Option<usize>,
    /// C-FIND at series level tells how many instances there are.
    counts: bool,
    /// What it tells, where that is not so.
    tells: Option<i64>,
    /// Several instances may be named in one request.
    knows_lists: bool,
    /// It accepts C-GET without bulk data, and fails it.
    keeps_bulk_data: bool,
    /// What it is not offered as it lies there comes decompressed, unasked.
    decompresses: bool,
    /// An association that proposes more contexts is aborted.
    most_contexts: usize,
    /// How many were.
    aborted: Mutex<usize>,
    /// It sends one object at a time to all.
    one_at_a_time: Option<tokio::sync::Mutex<()>>,
    /// What becomes of the next C-GETs; when there are no more, they are served.
    script: Mutex<VecDeque<Get>>,
    /// The C-GETs: the level, and how many instances were named.
    gets: Mutex<Vec<(String, usize)>>,
    moves: Mutex<usize>,
    /// What becomes of the first C-MOVE; `None`: the destination is out of its reach.
    moving: Option<moving::Moving>,
    /// How many C-FINDs there were.
    finds: Mutex<usize>,
    /// How many associations were accepted.
    associations: Mutex<usize>,
}

impl Pacs {
    fn new(syntax: &'static str, script: &[Get]) -> Arc<Self> {
        let script = Mutex::new(script.iter().copied().collect());
        Arc::new(Self::with(syntax, 1, script))
    }

    fn with(syntax: &'static str, slices: usize, script: Mutex<VecDeque<Get>>) -> Self {
        let (gets, moves, finds, associations) = Default::default();
        let (lists, counts, knows_lists, one_at_a_time) = (Some(usize::MAX), true, true, None);
        Self {
            syntax,
            slices,
            lists,
            counts,
            tells: None,
            knows_lists,
            keeps_bulk_data: false,
            decompresses: false,
            most_contexts: MAX_CONTEXTS,
            aborted: Mutex::default(),
            one_at_a_time,
            script,
            gets,
            moves,
            moving: None,
            finds,
            associations,
        }
    }

    fn gets(&self) -> usize {
        self.gets.lock().unwrap().len()
    }

    fn archive(self: &Arc<Self>) -> DimseArchive {
        let pacs = Arc::clone(self);
        DimseArchive::over(Self::config(Method::Auto), None, None, Metrics::default(), move |_| {
            connector(Arc::clone(&pacs))
        })
    }

    fn config(retrieve: Method) -> Config {
        Config { retrieve, max_associations: 4, ..config() }
    }

    async fn serve(self: Arc<Self>, io: DuplexStream) -> Option<()> {
        let deadline = Instant::now() + Duration::from_secs(3600);
        let requested = Requested::read(io, deadline).await.ok()?;
        if requested.request().contexts.len() > self.most_contexts {
            *self.aborted.lock().unwrap() += 1;
            return None;
        }
        *self.associations.lock().unwrap() += 1;
        let mut association = requested.accept(|_, s| Ok(s[0].clone()), |_| true, deadline).await.ok()?;
        loop {
            let (context, command) = match association.event().await.ok()? {
                Event::Command { context, command } => (context, command),
                _ => return None,
            };
            if command.field == field::C_CANCEL_RQ {
                continue;
            }
            let identifier = identifier(&mut association).await?;
            match command.field {
                field::C_FIND_RQ => {
                    *self.finds.lock().unwrap() += 1;
                    if self.lists.is_none() && identifier.string(tags::QUERY_RETRIEVE_LEVEL) == Some("IMAGE")
                    {
                        association.send(context, &command.response(0xA900), None);
                        continue;
                    }
                    for found in self.matches(&identifier) {
                        let bytes = found.encode(Layout::ExplicitLe, QueryCharset::Auto).into();
                        let pending = Command { has_data_set: true, ..command.response(0xFF00) };
                        association.send(context, &pending, Some(bytes));
                    }
                    association.send(context, &command.response(0), None);
                }
                field::C_GET_RQ => {
                    let level = identifier.string(tags::QUERY_RETRIEVE_LEVEL).unwrap_or_default().to_owned();
                    let named = identifier.strings(tags::SOP_INSTANCE_UID).len();
                    self.gets.lock().unwrap().push((level, named));
                    let class = command.sop_class.as_ref().map_or("", Uid::as_str);
                    if self.keeps_bulk_data && class == sop_class::WITHOUT_BULK_DATA_GET {
                        association.send(context, &command.response(0xA900), None);
                        continue;
                    }
                    let get = self.script.lock().unwrap().pop_front();
                    match get.unwrap_or(Get::Serve) {
                        Get::Serve => self.send(&mut association, context, &command, &identifier).await?,
                        Get::Nothing => association.send(context, &command.response(0), None),
                        Get::Silence => {}
                        Get::Cut => return None,
                        Get::Fail => association.send(context, &command.response(0xC000), None),
                    }
                }
                field::C_MOVE_RQ => {
                    *self.moves.lock().unwrap() += 1;
                    if let Some(moving) = &self.moving {
                        let response = moving.serve(&command, self.objects(&identifier)).await;
                        association.send(context, &response, None);
                        continue;
                    }
                    let failed = identifier.strings(tags::SOP_INSTANCE_UID).len().max(1);
                    let (completed, failed) = (Some(0), u16::try_from(failed).ok());
                    let failure = Command { completed, failed, ..command.response(0xA702) };
                    association.send(context, &failure, None);
                }
                other => panic!("{other:04X}"),
            }
        }
    }

    /// The objects of a C-GET and its final response: a failure, where no object could be sent.
    async fn send(
        &self,
        association: &mut Association,
        context: u8,
        request: &Command,
        identifier: &DataSet,
    ) -> Option<()> {
        let (mut completed, mut failed) = (0, 0);
        for object in self.objects(identifier) {
            let _turn = match &self.one_at_a_time {
                Some(turn) => Some(turn.lock().await),
                None => None,
            };
            let native = (self.decompresses).then_some(EXPLICIT_VR_LE);
            let id = [Some(self.syntax), native].into_iter().flatten().find_map(|s| offered(association, s));
            let Some(id) = id else {
                failed += 1;
                continue;
            };
            let mut store = Command::request(field::C_STORE_RQ, CT, completed + 1);
            store.sop_instance = object.uid(tags::SOP_INSTANCE_UID);
            store.has_data_set = true;
            let bytes = object.encode(Layout::ExplicitLe, QueryCharset::Auto).into();
            association.send(id, &store, Some(bytes));
            match association.event().await.ok()? {
                Event::Command { command, .. } if command.status == Some(0) => completed += 1,
                Event::Command { .. } => failed += 1,
                _ => return None,
            }
        }
        let status = match (completed, failed) {
            (_, 0) => 0,
            (0, _) => 0xA702,
            _ => 0xB000,
        };
        let counted =
            Command { completed: Some(completed), failed: Some(failed), ..request.response(status) };
        association.send(context, &counted, None);
        association.flush().await.ok()
    }

    /// The objects that an identifier names.
    fn objects(&self, identifier: &DataSet) -> Vec<DataSet> {
        let series = identifier.string(tags::SERIES_INSTANCE_UID);
        let named = identifier.strings(tags::SOP_INSTANCE_UID);
        let all = SERIES.into_iter().filter(|s| series.is_none_or(|series| series == *s));
        let all = all.flat_map(|s| (1..=self.slices).map(move |n| object(s, n)));
        let is_named = |o: &DataSet| {
            named.is_empty() || named.iter().any(|uid| o.string(tags::SOP_INSTANCE_UID) == Some(uid))
        };
        if named.len() > 1 && !self.knows_lists {
            return Vec::new();
        }
        all.filter(is_named).collect()
    }

    fn matches(&self, identifier: &DataSet) -> Vec<DataSet> {
        if identifier.string(tags::QUERY_RETRIEVE_LEVEL) == Some("SERIES") {
            let series = |uid| {
                let mut found = object(uid, 1);
                if self.counts && identifier.contains(tags::NUMBER_OF_SERIES_RELATED_INSTANCES) {
                    let told = self.tells.unwrap_or(self.slices as i64);
                    found.set_str(tags::NUMBER_OF_SERIES_RELATED_INSTANCES, VR::IS, told.to_string());
                }
                found
            };
            return SERIES.map(series).to_vec();
        }
        let mut found = self.objects(identifier);
        found.truncate(self.lists.unwrap_or(0));
        found
    }
}

/// The context in which a CT image may be sent in this transfer syntax.
fn offered(association: &Association, syntax: &str) -> Option<u8> {
    let fits = |c: &&AcceptedContext| {
        c.requestor_is_scp && c.abstract_syntax.as_str() == CT && c.transfer_syntax.as_str() == syntax
    };
    association.agreement().contexts.iter().find(fits).map(|c| c.id)
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

async fn identifier(association: &mut Association) -> Option<DataSet> {
    let mut bytes = Vec::new();
    loop {
        let Event::Data { bytes: piece, last } = association.event().await.ok()? else { return None };
        bytes.extend_from_slice(&piece);
        if last {
            return Some(DataSet::parse(&bytes, Layout::ExplicitLe, None).unwrap().data_set);
        }
    }
}

fn object(series: &str, number: usize) -> DataSet {
    let mut object = DataSet::new();
    object.set_str(tags::SOP_CLASS_UID, VR::UI, CT);
    object.set_str(tags::SOP_INSTANCE_UID, VR::UI, format!("{series}.{number}"));
    object.set_str(tags::MODALITY, VR::CS, "CT");
    object.set_str(tags::STUDY_INSTANCE_UID, VR::UI, STUDY);
    object.set_str(tags::SERIES_INSTANCE_UID, VR::UI, series);
    object
}

/// The SOP Instance UIDs that come, or the error, wherever it came.
async fn run(archive: &DimseArchive, series: Option<&str>, form: Form) -> Result<Vec<String>, Error> {
    let series = series.map(|uid| uid.parse().unwrap());
    let target = Target { study: STUDY.parse().unwrap(), series, instance: None };
    let caller = Caller { client: None, priority: Priority::Bulk, title: None };
    bring(archive, &caller, Retrieve::new(target, form)).await.map(|(came, _)| came)
}

/// What comes of a retrieval, and what is confirmed.
async fn bring(
    archive: &DimseArchive,
    caller: &Caller,
    retrieve: Retrieve,
) -> Result<(Vec<String>, BTreeSet<Uid>), Error> {
    let mut retrieval = archive.retrieve(caller, retrieve).await?;
    let mut came = Vec::new();
    loop {
        match retrieval.objects.next().await {
            Step::Item(mut object) => {
                while let Some(bytes) = object.body.next().await {
                    bytes.unwrap();
                }
                came.push(object.head.sop_instance.to_string());
            }
            Step::End(end) => return end.map(|_| (came, retrieval.confirmed)),
        }
    }
}

#[tokio::test]
async fn hazard_a_series_brings_its_own_objects_though_the_archive_lists_other_series_with_it() {
    let pacs = Pacs::new(EXPLICIT_VR_LE, &[]);
    let came = run(&pacs.archive(), Some(SERIES[0]), Form::AsStored).await;
    assert_eq!((came.unwrap(), pacs.gets()), (vec!["1.1.1.1".to_owned()], 1));
}

#[tokio::test]
async fn what_is_there_is_listed_only_where_the_series_do_not_tell_how_much_it_is_or_less_comes() {
    // The series; a list of each; and one more of each for the classes of what is asked for by name.
    for (counts, script, finds) in [(true, [].as_slice(), 1), (false, &[], 3), (true, &[Get::Nothing], 5)] {
        let mut pacs = Pacs::with(EXPLICIT_VR_LE, 3, Mutex::new(script.iter().copied().collect()));
        pacs.counts = counts;
        let pacs = Arc::new(pacs);
        assert_eq!(run(&pacs.archive(), None, Form::AsStored).await.unwrap().len(), 6);
        assert_eq!(*pacs.finds.lock().unwrap(), finds, "{counts} {script:?}");
    }
}

#[tokio::test]
async fn what_failed_for_want_of_contexts_comes_in_those_of_its_class_though_the_archive_calls_it_a_failure()
{
    let pacs = Pacs::new(JPEG, &[]);
    let came = run(&pacs.archive(), None, Form::Native).await;
    assert_eq!(came.unwrap(), ["1.1.1.1", "1.1.2.1"], "lossy objects come as they are stored");
}

#[tokio::test]
async fn hazard_an_archive_that_dies_at_a_c_get_is_asked_by_c_get_again() {
    let pacs = Pacs::new(EXPLICIT_VR_LE, &[Get::Cut, Get::Cut]);
    let archive = pacs.archive();
    // On an association that has served a search before, the first one looks like one that was lost while idle.
    while !pacs.script.lock().unwrap().is_empty() {
        let _ = run(&archive, None, Form::AsStored).await;
    }
    assert_eq!(run(&archive, None, Form::AsStored).await.unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn hazard_an_archive_that_is_silent_is_not_asked_the_same_again_on_another_association() {
    let pacs = Pacs::new(EXPLICIT_VR_LE, &[Get::Serve, Get::Silence]);
    let archive = pacs.archive();
    run(&archive, None, Form::AsStored).await.unwrap();
    let error = run(&archive, None, Form::AsStored).await.unwrap_err();
    assert_eq!((error.kind, pacs.gets()), (Kind::Timeout("silence"), 2));
}

#[tokio::test]
async fn an_archive_that_cannot_reach_us_is_not_told_to_move_part_by_part() {
    let pacs = Pacs::new(EXPLICIT_VR_LE, &[]);
    let config = Pacs::config(Method::Move);
    let moves = MoveDestination::new("GANTRY".parse().unwrap(), "127.0.0.1:104", [&config], []);
    let connected = Arc::clone(&pacs);
    let archive = DimseArchive::over(config, Some(moves), None, Metrics::default(), move |_| {
        connector(Arc::clone(&connected))
    });
    let error = run(&archive, None, Form::AsStored).await.unwrap_err();
    assert!(matches!(error.kind, Kind::Status { code: 0xA702, .. }), "{error:?}");
    assert!(*pacs.moves.lock().unwrap() <= 2, "once for the study, once for the first of its series");
}

#[tokio::test]
async fn hazard_a_peer_that_never_stops_does_not_outlast_the_deadline() {
    let pacs = Pacs::new(EXPLICIT_VR_LE, &[]);
    let inner = Arc::clone(&pacs.archive().inner);
    let caller = Caller { client: None, priority: Priority::Bulk, title: None };
    let contexts = contexts::of_class(Form::AsStored, &CT.parse().unwrap(), &inner.learnt(), inner.terms());
    let limits = inner.limits();
    let lease = inner.retrieve.lease(&caller, &contexts, 1, limits.deadline).await.unwrap();
    let get = Command::request(field::C_GET_RQ, sop_class::STUDY_ROOT_GET, 0);
    let all = Bytes::from(DataSet::new().encode(Layout::ExplicitLe, QueryCharset::Auto));
    let mut operation = inner.start(lease, get, |_| Some(all), limits).unwrap();
    assert!(matches!(operation.next().await, Ok(Reply::Store { .. })));
    // Its data set is here already.
    operation.hurry(Instant::now());
    assert!(matches!(operation.next().await, Err(OperationError::Deadline)));
}

#[tokio::test]
async fn an_association_that_was_lost_while_idle_is_replaced() {
    let pacs = Pacs::new(EXPLICIT_VR_LE, &[Get::Serve, Get::Cut]);
    let archive = pacs.archive();
    run(&archive, None, Form::AsStored).await.unwrap();
    assert_eq!(run(&archive, None, Form::AsStored).await.unwrap().len(), 2);
    assert_eq!(pacs.gets(), 3);
}

mod few;
mod lanes;
mod light;
mod moving;
mod only;
mod rest;
