//! Whether an archive's C-MOVEs find the way back to this bridge: tried for real, for `gantry doctor`, which cannot listen
//! where the bridge does.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::json;
use tokio::sync::Semaphore;

use super::context::who;
use super::error::Problem;
use super::{Server, admin, origin};
use crate::access::Identity;
use crate::dicom::AeTitle;
use crate::dicom::object::Head;
use crate::dicom::query::Target;
use crate::dicomweb::request;
use crate::doctor::{self, Finding, Level};
use crate::event::{Event, Events, Outcome, Study, Transfer, Way, What, Who};
use crate::net::Connection;

/// One at a time: each costs the archive an association and a retrieval.
static TURN: Semaphore = Semaphore::const_new(1);

/// Has the archive move what the query names to this bridge.
pub(super) async fn check(
    State(server): State<Server>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    admin::admit(&server.0.config, &request)?;
    let (target, patient) = wanted(request.uri().query().unwrap_or_default())?;
    let missing = || Problem::client(StatusCode::NOT_FOUND, "there is no such archive");
    let archive = server.0.archives.by_name(&name).cloned().ok_or_else(missing)?;
    let no_move = || Problem::client(StatusCode::CONFLICT, "this archive is reached by no C-MOVE");
    let dimse = archive.dimse().ok_or_else(no_move)?;
    let moves = dimse.moves().cloned().ok_or_else(no_move)?;
    let busy =
        |_| Problem::client(StatusCode::CONFLICT, "the way back is being tried already; ask again later");
    let _turn = TURN.try_acquire().map_err(busy)?;
    let connection = request.extensions().get::<Connection>();
    let peer = connection.map(|connection| connection.peer.ip());
    let address = origin::client_address(&server.0.config, peer, request.headers());
    let who = who(request.extensions().get::<Identity>(), connection, address);
    let mut told = Told::new(server.0.events.clone(), who, &name, moves.title(), &target, patient.clone());
    let finding =
        doctor::try_return_path(dimse.config(), moves, target, patient, |head| told.came(head)).await;
    told.ends(&finding);
    tracing::info!(archive = name, code = finding.code.as_str(), "tried the way back of a C-MOVE");
    Ok(admin::answer(json!(finding)))
}

/// What the audit trail is told: instances have been moved here, and who wanted that. They are thrown away, but they
/// have left the archive.
struct Told {
    events: Events,
    who: Who,
    archive: String,
    to: AeTitle,
    study: Study,
    /// It is about a single instance, of which nobody tells that it begins.
    is_one: bool,
    /// How it ended; not at all where the client has left before.
    end: Option<Result<(), &'static str>>,
}

impl Told {
    fn new(
        events: Events,
        who: Who,
        archive: &str,
        to: &AeTitle,
        target: &Target,
        patient: Option<String>,
    ) -> Self {
        let study = Study::new(Some(target.study.clone()), patient);
        let (archive, to) = (archive.to_owned(), to.clone());
        Self { events, who, archive, to, study, is_one: target.instance.is_some(), end: None }
    }

    fn came(&mut self, head: &Head) {
        if self.study.number() == 0 && !self.is_one {
            self.events.send(Event::now(self.who.clone(), What::BeginTransferring(self.transfer())));
        }
        self.events.count(&mut self.study, &head.sop_class, &head.sop_instance);
    }

    fn ends(&mut self, finding: &Finding) {
        self.end = Some(if finding.level == Level::Ok { Ok(()) } else { Err(finding.code.as_str()) });
    }

    fn transfer(&self) -> Transfer {
        let way = Way::Moved { to: self.to.clone() };
        Transfer { archive: self.archive.clone(), way, studies: vec![self.study.clone()] }
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let event = Event::now(self.who.clone(), What::InstancesTransferred(self.transfer()));
        self.events.send(match self.end {
            Some(Ok(())) => event,
            Some(Err(code)) => event.failed(Outcome::MinorFailure, code),
            None => event.failed(Outcome::SeriousFailure, "the client left before it was answered"),
        });
    }
}

/// What a query names.
fn wanted(query: &str) -> Result<(Target, Option<String>), Problem> {
    let bad = |why: String| Problem::client(StatusCode::BAD_REQUEST, why);
    let (mut study, mut series, mut instance, mut patient) = (None, None, None, None);
    for (name, value) in request::parameters(query)? {
        let place = match name.as_str() {
            "study" => &mut study,
            "series" => &mut series,
            "instance" => &mut instance,
            "patient" if patient.is_none() => {
                patient = Some(value);
                continue;
            }
            _ => return Err(bad(format!("there is no parameter `{name}`, or it stands there twice"))),
        };
        if place.replace(admin::uid(&name, &value)?).is_some() {
            return Err(bad(format!("`{name}` stands there twice")));
        }
    }
    let Some(study) = study else { return Err(bad("`study` is missing".to_owned())) };
    if instance.is_some() && series.is_none() {
        return Err(bad("`series` is missing, which an instance is in".to_owned()));
    }
    Ok((Target { study, series, instance }, patient))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::Uid;
    use crate::doctor::Code;

    fn told(events: &Events, instance: Option<Uid>) -> Told {
        let target = Target { study: Uid::from_static("1.2"), series: None, instance };
        let who = Who { user: Some("operator".into()), ..Who::default() };
        Told::new(events.clone(), who, "main", &"GANTRY".parse().unwrap(), &target, Some("P".to_owned()))
    }

    #[test]
    fn who_has_an_archive_move_something_here_is_recorded_however_it_ends() {
        let (events, recorder) = Events::recorded();
        let head = Head {
            sop_class: Uid::from_static("1.2.840.10008.5.1.4.1.1.2"),
            sop_instance: Uid::from_static("1.2.3"),
            transfer_syntax: Uid::from_static("1.2.840.10008.1.2.1"),
        };
        for (code, outcome, number) in [
            (Some(Code::MoveWorks), Outcome::Success, 1),
            (Some(Code::ReturnBlocked), Outcome::MinorFailure, 0),
            (None, Outcome::SeriousFailure, 1),
        ] {
            let mut told = told(&events, Some(head.sop_instance.clone()));
            (0..number).for_each(|_| told.came(&head));
            if let Some(code) = code {
                told.ends(&Finding::new(code, ""));
            }
            drop(told);
            let recorded = recorder.take();
            let [Event { what: What::InstancesTransferred(Transfer { archive, way, studies }), .. }] =
                recorded.as_slice()
            else {
                panic!("{recorded:?}")
            };
            assert_eq!((archive.as_str(), way), ("main", &Way::Moved { to: "GANTRY".parse().unwrap() }));
            assert_eq!((studies[0].number(), studies[0].patient.as_deref()), (number, Some("P")));
            assert_eq!((recorded[0].outcome, recorded[0].who.user.as_deref()), (outcome, Some("operator")));
        }
        let mut study = told(&events, None);
        (0..2).for_each(|_| study.came(&head));
        drop(study);
        let recorded = recorder.take();
        assert!(
            matches!(recorded[0].what, What::BeginTransferring(_)) && recorded.len() == 2,
            "{recorded:?}"
        );
    }
}
