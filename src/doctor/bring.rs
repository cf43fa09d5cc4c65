//! Retrieval for real, by what the bridge itself retrieves with: C-GET, and C-MOVE to our own Storage SCP.

use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::finding::{Code, Finding, Level};
use super::search::status;
use crate::archive::dimse::DimseArchive;
use crate::archive::dimse::config::{Config, Method};
use crate::archive::error::Kind;
use crate::archive::{Archive, Error, Form, Knock, MoveDestination, Retrieve, Step};
use crate::caller::{Caller, Priority};
use crate::dicom::object::Head;
use crate::dicom::query::Target;
use crate::dimse::status::MOVE_DESTINATION_UNKNOWN;
use crate::metrics::Metrics;

/// How long what was asked for may come where it was chosen here: one instance, which may be long.
const ONE_INSTANCE: Duration = Duration::from_secs(30);
/// The same, until it begins to come; a firewall that drops what an archive sends costs it as long.
const BEGINNING: Duration = Duration::from_secs(150);
/// How much of an instance that was chosen here is read, in bytes.
const ENOUGH: u64 = 64 << 20;
/// Fewest bytes that tell how fast they come.
const TELLING: u64 = 1 << 20;
/// How long the end may take.
const ENDING: Duration = Duration::from_secs(3);

/// What came.
#[derive(Debug, Clone, Default)]
pub(super) struct Brought {
    pub(super) objects: usize,
    pub(super) bytes: u64,
    /// Until the first byte.
    pub(super) first: Option<Duration>,
    pub(super) took: Duration,
    pub(super) error: Option<Error>,
    /// It was ended early, as enough had come.
    is_cut: bool,
}

impl Brought {
    pub(super) fn works(&self) -> bool {
        self.error.is_none() && self.bytes > 0
    }

    /// Bytes a second from the first one on, where enough came to tell.
    pub(super) fn rate(&self) -> Option<f64> {
        let seconds = self.took.saturating_sub(self.first?).as_secs_f64();
        (self.works() && self.bytes >= TELLING && seconds > 0.0).then(|| self.bytes as f64 / seconds)
    }

    pub(super) fn shown(&self) -> String {
        let objects = if self.objects == 1 { "object" } else { "objects" };
        let cut = if self.is_cut { ", then ended early" } else { "" };
        format!("{} {objects} came, {:.1} MB{cut}", self.objects, self.bytes as f64 / 1e6)
    }
}

/// Who is told of each object that has come whole.
pub(super) type Seen<'a> = &'a mut (dyn FnMut(&Head) + Send);

/// Retrieves `target` by one method, and throws away what comes. `is_whole`: somebody asked for just this, so that it is
/// brought to its end.
pub(super) async fn bring(
    config: &Config,
    method: Method,
    moves: Option<MoveDestination>,
    target: Target,
    patient: Option<String>,
    is_whole: bool,
    seen: Seen<'_>,
) -> Brought {
    // One association, and one that the archive opens back.
    let config = Config { retrieve: method, max_associations: 2, ..config.clone() };
    let operation = config.timeouts.operation;
    let archive = DimseArchive::new(config, moves, None, Metrics::default());
    let begin = Instant::now();
    let until = begin + if is_whole { operation } else { operation.min(BEGINNING + ONE_INSTANCE) };
    let mut brought = Brought::default();
    let mut retrieve = Retrieve::new(target, Form::AsStored);
    retrieve.patient = patient;
    let most = if is_whole { u64::MAX } else { ENOUGH };
    let late = || Error::new(archive.name(), Kind::Timeout("retrieval"));
    let ended = timeout_at(until, take(&archive, retrieve, most, &mut brought, seen)).await;
    brought.error = match ended {
        Ok(ended) => ended.err(),
        Err(_) if brought.bytes > 0 && !is_whole => None,
        Err(_) => Some(late()),
    };
    brought.took = begin.elapsed();
    let _ = timeout(ENDING, archive.shut_down(Instant::now() + ENDING)).await;
    brought
}

async fn take(
    archive: &DimseArchive,
    retrieve: Retrieve,
    most: u64,
    brought: &mut Brought,
    seen: Seen<'_>,
) -> Result<(), Error> {
    let begin = Instant::now();
    let caller = Caller { client: None, priority: Priority::Bulk, title: None };
    let mut objects = archive.retrieve(&caller, retrieve).await?.objects;
    'objects: loop {
        let mut object = match objects.next().await {
            Step::Item(object) => object,
            Step::End(end) => return end.map(drop),
        };
        while let Some(bytes) = object.body.next().await {
            // Of one that breaks off the end tells.
            let Ok(bytes) = bytes else { continue 'objects };
            brought.first.get_or_insert_with(|| begin.elapsed());
            brought.bytes += bytes.len() as u64;
            if brought.bytes >= most {
                brought.is_cut = true;
                return Ok(());
            }
        }
        brought.objects += 1;
        seen(&object.head);
    }
}

/// What a C-GET has shown.
pub(super) fn of_get(config: &Config, brought: &Brought) -> Finding {
    let name = &config.name;
    let Some(error) = &brought.error else {
        return Finding::new(Code::GetWorks, brought.shown()).took(brought.first.unwrap_or(brought.took));
    };
    let what = format!("C-GET fails: {}", bare(error));
    let refused = matches!(&error.kind, Kind::Unsupported(_) | Kind::Aborted(_) | Kind::Status { .. })
        && brought.objects == 0;
    if refused {
        Finding::new(Code::GetRefused, what)
            .means("the archive does not let us have objects by C-GET; Gantry learns that by itself, and takes C-MOVE")
            .remedy(format!("where C-MOVE works, archive.{name}.retrieve = \"move\" spares the attempt; where it does not, have C-GET allowed for {}", config.calling))
    } else {
        Finding::new(Code::GetFailed, what)
            .means("the archive takes the request, and does not bring what was asked for")
            .remedy("see the archive's log of this moment; try another study by --study")
    }
}

/// What a C-MOVE to us has shown. `knocks`: who came to our Storage SCP meanwhile.
pub(super) fn of_move(
    config: &Config,
    title: &str,
    at: &str,
    brought: &Brought,
    knocks: &[Knock],
) -> Finding {
    let (pacs, calling) = (&config.ae_title, &config.calling);
    let Some(error) = &brought.error else {
        let what = format!("{} by C-MOVE to {title}", brought.shown());
        return Finding::new(Code::MoveWorks, what).took(brought.first.unwrap_or(brought.took));
    };
    let refused = knocks.iter().rev().find_map(|knock| Some((knock, knock.refused?)));
    // What an archive says that it has sent is waited for, for as long as it may be silent; what it says that it could not
    // send is not.
    let says_sent = brought.took >= config.timeouts.silence;
    let answer = match &error.kind {
        Kind::Status { code, comment, .. } => {
            format!("it answers C-MOVE with {}", status(*code, comment.as_deref()))
        }
        Kind::Incomplete { .. } if says_sent => "it says that it has sent what did not arrive".to_owned(),
        Kind::Incomplete { .. } => "it says that it could not send".to_owned(),
        _ => bare(error),
    };
    match (&error.kind, refused) {
        (Kind::Status { code: MOVE_DESTINATION_UNKNOWN, .. }, _) => Finding::new(
            Code::DestinationUnknown,
            format!("{pacs} does not know {title}: {answer}"),
        )
        .means("the archive has no entry for our AE title, so that it does not know where to send objects")
        .remedy("have the entry below added at the archive: title, host and port"),
        (_, Some((knock, why))) => {
            let what = format!(
                "{} came from {} with an association, and was turned away here: {why}",
                knock.calling, knock.address
            );
            Finding::new(Code::ReturnRefusedHere, what)
                .means("the archive sends from another address, or under another title, than is configured for it")
                .remedy(format!(
                    "if that is the archive, add [[archive.{}.store_from]] with ae_title = \"{}\" and network = \"{}\"",
                    config.name, knock.calling, knock.address
                ))
        }
        (Kind::Status { .. } | Kind::Timeout(_) | Kind::Incomplete { .. }, None) if knocks.is_empty() => {
            let is_sent = says_sent && matches!(error.kind, Kind::Incomplete { .. });
            let (code, meaning) = if is_sent {
                (
                    Code::ReturnElsewhere,
                    "the archive has an entry for our title that leads to another machine, which took the objects",
                )
            } else {
                (
                    Code::ReturnBlocked,
                    "the archive was asked to send objects here, and no connection of its arrived: its entry for our title has another host or port, a firewall lies between, or there is no entry",
                )
            };
            Finding::new(code, format!("nothing came back to {title} at {at}: {answer}")).means(meaning).remedy(format!(
                "compare the archive's entry for {title} with the one below; from the archive's machine, try to connect to that port here; open the firewalls between for TCP from there"
            ))
        }
        (Kind::Unsupported(_), None) => {
            Finding::new(Code::MoveRefused, format!("C-MOVE is not taken: {}", bare(error)))
                .means("the archive does not let us have objects moved")
                .remedy(format!("where C-GET works, nothing; else have C-MOVE allowed for {calling}"))
        }
        _ => Finding::new(Code::MoveFailed, format!("C-MOVE fails: {answer}"))
            .means("the archive takes the request, and does not bring what was asked for")
            .remedy("see the archive's log of this moment for why"),
    }
}

/// Objects come by C-GET: that they do not by C-MOVE is no hindrance, unless it is configured.
pub(super) fn softened(finding: Finding, config: &Config, get_works: bool) -> Finding {
    if get_works && config.retrieve != Method::Move && finding.level == Level::Error {
        return finding.at(Level::Warning);
    }
    finding
}

/// An error without the archive's name, which the reader knows, and without advice, which the finding gives.
fn bare(error: &Error) -> String {
    let text = Error { advice: None, ..error.clone() }.to_string();
    text.replacen(&format!("archive `{}`", error.archive), "the archive", 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config::new("main".into(), "PACS".parse().unwrap(), "pacs:104".into(), "GANTRY".parse().unwrap())
    }

    fn failed(kind: Kind) -> Brought {
        Brought { error: Some(Error::new("main", kind)), ..Brought::default() }
    }

    fn code(brought: &Brought, knocks: &[Knock]) -> Code {
        of_move(&config(), "GANTRY", "10.0.0.1:11112", brought, knocks).code
    }

    fn answered(code: u16) -> Brought {
        failed(Kind::Status { operation: "C-MOVE", code, comment: None, client_keys: false })
    }

    fn knock(refused: Option<&'static str>) -> Knock {
        Knock {
            at: Instant::now(),
            address: "10.0.0.9".parse().unwrap(),
            calling: "OTHER".parse().unwrap(),
            refused,
        }
    }

    #[test]
    fn what_a_c_move_ends_with_and_who_came_tell_what_is_wrong_with_the_way_back() {
        assert_eq!(code(&answered(0xA801), &[]), Code::DestinationUnknown);
        assert_eq!(code(&answered(0xA702), &[]), Code::ReturnBlocked);
        assert_eq!(code(&answered(0xC000), &[]), Code::ReturnBlocked);
        assert_eq!(code(&failed(Kind::Timeout("operation")), &[]), Code::ReturnBlocked);
        let incomplete = failed(Kind::Incomplete { missing: 1, named: vec![] });
        assert_eq!(code(&incomplete, &[]), Code::ReturnBlocked);
        let waited = Brought { took: config().timeouts.silence, ..incomplete };
        assert_eq!(code(&waited, &[]), Code::ReturnElsewhere);
        assert_eq!(code(&answered(0xA702), &[knock(Some("unknown"))]), Code::ReturnRefusedHere);
        assert_eq!(code(&answered(0xA702), &[knock(None)]), Code::MoveFailed);
        assert_eq!(code(&failed(Kind::Unsupported("no".into())), &[]), Code::MoveRefused);
        let came = Brought { objects: 1, bytes: 10, ..Brought::default() };
        assert_eq!(code(&came, &[]), Code::MoveWorks);
    }

    #[test]
    fn who_was_turned_away_is_let_in_by_the_lines_that_are_suggested() {
        let finding =
            of_move(&config(), "GANTRY", "10.0.0.1:11112", &answered(0xA702), &[knock(Some("not known"))]);
        for part in ["[[archive.main.store_from]]", "ae_title = \"OTHER\"", "network = \"10.0.0.9\""] {
            assert!(finding.remedy.contains(part), "{}", finding.remedy);
        }
    }

    #[test]
    fn a_closed_way_back_is_a_warning_where_c_get_works_unless_c_move_is_configured() {
        let finding = || Finding::new(Code::ReturnBlocked, "");
        assert_eq!(softened(finding(), &config(), true).level, Level::Warning);
        assert_eq!(softened(finding(), &config(), false).level, Level::Error);
        let moved = Config { retrieve: Method::Move, ..config() };
        assert_eq!(softened(finding(), &moved, true).level, Level::Error);
    }
}
