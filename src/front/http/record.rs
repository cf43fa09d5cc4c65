//! What a request was about and what really went out, told as an event when its answer has ended.
//!
//! A request has a [`Record`] from its beginning. Whoever serves it notes what it is about, and each instance as it is
//! taken for the answer; how it ended shows where the answer leaves, or where the request is dropped.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context as Polling, Poll, ready};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, StatusCode};
use http_body::{Body as _, Frame, SizeHint};

use super::Server;
use crate::dicom::Uid;
use crate::dicom::object::Head;
use crate::dicom::query::Target;
use crate::dicomweb::store_response::{Fate, Reference};
use crate::event::{Event, Events, Outcome, Query, Study, Transfer, Way, What, Who};

/// What is noted of a request. Cheap to clone. Told to nobody where nobody listens.
#[derive(Debug, Clone, Default)]
pub(super) struct Record(Option<Arc<Mutex<Noted>>>);

#[derive(Debug)]
struct Noted {
    events: Events,
    who: Who,
    about: Option<About>,
    /// That instances begin to leave, to be told when they do: what was taken for an answer may not be sent.
    begins: Option<Event>,
}

#[derive(Debug)]
enum About {
    Query(Query),
    /// A retrieval: from which archive, what is out of it, and what is on its way.
    Retrieval {
        archive: String,
        study: Study,
        current: Option<(Uid, Uid)>,
    },
    /// Stores: at which archive, what is stored, and what is not.
    Stores {
        archive: String,
        stored: Vec<Study>,
        failed: Vec<Study>,
        refused: usize,
    },
}

/// How a request ended.
#[derive(Debug, Clone)]
enum End {
    /// The client has the whole answer.
    Whole,
    /// It has none of what it asked for: this is the answer's status.
    Refused(StatusCode),
    /// What the answer is to consist of is at the client already, or was not to be sent.
    Nothing,
    BrokeOff(&'static str),
}

/// Gives every request a record, and tells how it ended.
pub(super) async fn record(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let events = &server.0.events;
    if !events.is_heard() {
        return next.run(request).await;
    }
    let noted = Noted { events: events.clone(), who: Who::default(), about: None, begins: None };
    let record = Record(Some(Arc::new(Mutex::new(noted))));
    request.extensions_mut().insert(record.clone());
    let is_head = *request.method() == Method::HEAD;
    let response = next.run(request).await;
    if record.is_empty() {
        return response;
    }
    let status = response.status();
    if is_head || status == StatusCode::NOT_MODIFIED {
        record.end(&End::Nothing);
    } else if !status.is_success() {
        record.end(&End::Refused(status));
    } else if response.body().is_end_stream() {
        record.leaves();
        record.end(&End::Whole);
    } else {
        record.leaves();
        let told = response.headers().get(CONTENT_LENGTH);
        let told = told.and_then(|length| length.to_str().ok()?.parse().ok());
        let left = told.or_else(|| response.body().size_hint().exact());
        return response.map(|body| Body::new(Recorded { body, record, any: false, left }));
    }
    response
}

impl Record {
    /// The request is a search by `who`.
    pub(super) fn query(&self, who: &Who, query: impl FnOnce() -> Query) {
        self.about(who, || About::Query(query()));
    }

    /// The request is a retrieval by `who`.
    pub(super) fn retrieval(&self, who: &Who, archive: &str, target: &Target, patient: Option<String>) {
        let study = || Study::new(Some(target.study.clone()), patient);
        self.about(who, || About::Retrieval { archive: archive.to_owned(), study: study(), current: None });
    }

    /// The first instance of the retrieval is there, and begins to leave with the answer.
    pub(super) fn begins(&self) {
        self.with(|noted| {
            if let Some(About::Retrieval { archive, study, .. }) = &noted.about {
                let studies = vec![Study::new(study.uid.clone(), study.patient.clone())];
                let transfer = Transfer { archive: archive.clone(), way: Way::Retrieved, studies };
                noted.begins = Some(Event::now(noted.who.clone(), What::BeginTransferring(transfer)));
            }
        });
    }

    /// The answer begins to leave.
    fn leaves(&self) {
        self.with(|noted| {
            if let Some(event) = noted.begins.take() {
                noted.events.send(event);
            }
        });
    }

    /// An instance is next in the answer: the one before it is out.
    pub(super) fn instance(&self, head: &Head) {
        self.with(|noted| {
            if let Some(About::Retrieval { study, current, .. }) = &mut noted.about
                && let Some((class, instance)) =
                    current.replace((head.sop_class.clone(), head.sop_instance.clone()))
            {
                noted.events.count(study, &class, &instance);
            }
        });
    }

    /// The request brings instances, by `who`.
    pub(super) fn stores(&self, who: &Who, archive: &str) {
        let archive = archive.to_owned();
        self.about(who, || About::Stores { archive, stored: Vec::new(), failed: Vec::new(), refused: 0 });
    }

    /// What has become of an instance, of the patient with this Patient ID.
    pub(super) fn fate(&self, reference: &Reference, patient: Option<&str>, fate: Fate) {
        self.with(|noted| {
            let Some(About::Stores { stored, failed, refused, .. }) = &mut noted.about else { return };
            let list = if matches!(fate, Fate::Failed(_)) { failed } else { stored };
            let (Some(class), Some(instance)) = (&reference.class, &reference.instance) else {
                *refused += 1;
                return;
            };
            // Two patients with one study are two.
            let is_its = |study: &Study| study.uid == reference.study && study.patient.as_deref() == patient;
            let index = list.iter().position(is_its).unwrap_or_else(|| {
                list.push(Study::new(reference.study.clone(), patient.map(str::to_owned)));
                list.len() - 1
            });
            noted.events.count(&mut list[index], class, instance);
        });
    }

    fn about(&self, who: &Who, about: impl FnOnce() -> About) {
        self.with(|noted| {
            noted.who = who.clone();
            noted.about = Some(about());
        });
    }

    fn is_empty(&self) -> bool {
        let mut empty = true;
        self.with(|noted| empty = noted.about.is_none());
        empty
    }

    fn end(&self, end: &End) {
        self.with(|noted| noted.tell(end));
    }

    fn with(&self, act: impl FnOnce(&mut Noted)) {
        if let Some(noted) = &self.0 {
            act(&mut lock(noted));
        }
    }
}

impl Noted {
    /// What was held for the answer has not left.
    fn nothing_left(&mut self) {
        if let Some(About::Retrieval { study, current, .. }) = &mut self.about {
            (study.classes, *current) = (Default::default(), None);
        }
    }

    fn tell(&mut self, end: &End) {
        if matches!(end, End::Nothing | End::Refused(_)) {
            self.nothing_left();
        }
        let Some(about) = self.about.take() else { return };
        let failure = match end {
            End::Whole | End::Nothing => None,
            End::Refused(status) if status.is_server_error() => {
                Some((Outcome::SeriousFailure, format!("answered with {}", status.as_u16())))
            }
            End::Refused(status) => {
                Some((Outcome::MinorFailure, format!("answered with {}", status.as_u16())))
            }
            End::BrokeOff(why) => Some((Outcome::SeriousFailure, (*why).to_owned())),
        };
        let send = |what, failure: Option<(Outcome, String)>| {
            let event = Event::now(self.who.clone(), what);
            self.events.send(match failure {
                Some((outcome, why)) => event.failed(outcome, why),
                None => event,
            });
        };
        match about {
            About::Query(query) => send(What::Query(query), failure),
            About::Retrieval { archive, mut study, current } => {
                if let (End::Whole, Some((class, instance))) = (end, current) {
                    self.events.count(&mut study, &class, &instance);
                }
                let transfer = Transfer { archive, way: Way::Retrieved, studies: vec![study] };
                send(What::InstancesTransferred(transfer), failure);
            }
            About::Stores { archive, stored, failed, refused } => {
                let transfer = |studies| {
                    let archive = archive.clone();
                    What::InstancesTransferred(Transfer { archive, way: Way::Stored, studies })
                };
                let nothing = stored.is_empty() && failed.is_empty();
                if !stored.is_empty() {
                    send(transfer(stored), None);
                }
                if !failed.is_empty() || refused > 0 || (nothing && failure.is_some()) {
                    let count = failed.iter().map(Study::number).sum::<usize>() + refused;
                    let studies = if failed.is_empty() { vec![Study::new(None, None)] } else { failed };
                    let why = format!("not stored: {count} instances");
                    let (outcome, why) = match failure {
                        Some((outcome, end)) => (outcome, format!("{why}; {end}")),
                        None => (Outcome::MinorFailure, why),
                    };
                    send(transfer(studies), Some((outcome, why)));
                }
            }
        }
    }
}

impl Drop for Noted {
    fn drop(&mut self) {
        // Whoever was to answer was dropped, which is what becomes of a request whose client has left.
        self.nothing_left();
        self.tell(&End::BrokeOff("the client left before it was answered"));
    }
}

fn lock(noted: &Mutex<Noted>) -> MutexGuard<'_, Noted> {
    noted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An answer whose end is told.
#[derive(Debug)]
struct Recorded {
    body: Body,
    record: Record,
    /// Whether anything of it is out.
    any: bool,
    /// How much of it is not out, where its length was told: behind that nobody asks for its end.
    left: Option<u64>,
}

impl http_body::Body for Recorded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Polling<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                self.any = true;
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                self.left = self.left.map(|left| left.saturating_sub(length));
                if self.left == Some(0) || self.body.is_end_stream() {
                    self.record.end(&End::Whole);
                }
            }
            None => self.record.end(&End::Whole),
            Some(Err(_)) => self.record.end(&End::BrokeOff("the answer broke off")),
        }
        Poll::Ready(frame)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}

impl Drop for Recorded {
    fn drop(&mut self) {
        if !self.any {
            self.record.with(Noted::nothing_left);
        }
        self.record.end(&End::BrokeOff("the client left before the answer's end"));
    }
}
