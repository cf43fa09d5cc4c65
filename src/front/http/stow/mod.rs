//! STOW-RS: instances are stored while they arrive, several at a time, and each one's fate is told (PS3.18
//! 10.5).
//!
//! PS3.10 files pass through; metadata and bulk data are put together first, in [`metadata`].
//!
//! A body that breaks off, or that cannot be read to its end, does not undo what was stored before: the answer
//! is 202 with the truth about each instance, and 400 only where nothing was stored. The instance in which it
//! broke off is never stored.

mod answer;
mod intake;
mod metadata;
mod payload;
mod refusal;
mod room;
mod source;
mod stores;

use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, StatusCode};

use self::answer::{Broken, Report, answer};
use self::intake::Intake;
use self::metadata::{Description, Notation};
use self::payload::{Payload, part_label};
use self::refusal::Refusal;
pub(super) use self::room::Room;
use self::source::Source;
use self::stores::Stores;
use super::Server;
use super::context::Context;
use super::error::Problem;
use crate::caller::Priority;
use crate::dicom::Uid;
use crate::dicomweb::multipart::read::{Event, Reader};
use crate::dicomweb::request;

/// Most bytes that are read of a body that nobody wants, from somebody who may not send it.
const MAX_LITTLE: u64 = 1 << 20;
/// How long that may take.
const MAX_LITTLE_TIME: Duration = Duration::from_secs(2);

/// Stores what the body brings.
pub(super) async fn store(
    State(server): State<Server>,
    context: Result<Context, Problem>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let limits = server.0.config.limits;
    let mut source = Source::new(body, limits.max_body, server.0.config.read_timeout);
    let result = match context {
        Ok(context) => run(context, &headers, &mut source, &server.0.kept.metadata_room).await,
        Err(problem) => Err(problem),
    };
    // A client that is still writing when the connection closes sees a reset in place of the answer. One that
    // waits for `100 Continue`, which the first read sends, does not write yet.
    if source.is_touched() || !headers.contains_key(EXPECT) {
        source.drain().await;
    }
    result
}

/// Reads a body that nobody wants, so that its sender sees the answer and not a reset.
pub(super) async fn pass_over(server: &Server, headers: &HeaderMap, body: Body) {
    if !headers.contains_key(EXPECT) {
        Source::new(body, u64::MAX, server.0.config.read_timeout).drain().await;
    }
}

/// The same for somebody who may not store: as much is read as is on its way when they are told.
pub(super) async fn pass_over_little(server: &Server, headers: &HeaderMap, body: Body) {
    if !headers.contains_key(EXPECT) {
        let patience = server.0.config.read_timeout.min(MAX_LITTLE_TIME);
        Source::new(body, MAX_LITTLE, patience).drain().await;
    }
}

async fn run(
    context: Context,
    headers: &HeaderMap,
    source: &mut Source,
    room: &Room,
) -> Result<Response, Problem> {
    let limits = context.server.0.config.limits;
    let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limits.max_body) {
        let detail = "the request's body is longer than http.limits.max_body";
        return Err(Problem::client(StatusCode::PAYLOAD_TOO_LARGE, detail));
    }
    let study = context.study.as_deref();
    let url =
        format!("{}/studies{}{}", context.service_url, study.map_or("", |_| "/"), study.unwrap_or_default());
    let study = study.map(|text| request::path_uid("Study Instance UID", text)).transpose()?;
    if let (Some(confined), Some(study)) = (&context.confined, &study) {
        confined.admit_store(&context.caller(Priority::Interactive), study).await?;
    }
    let accept = context.accept(&request::accept_parameters(&context.query)?);
    let form = accept.data_set_form(true).ok_or_else(not_acceptable)?;
    let payload = Payload::new(headers)?;
    context.record.stores(&context.who, context.archive.name());
    let caller = context.caller(Priority::Bulk);
    let stores = Stores::new(context.archive.clone(), caller).recorded(context.record.clone());
    let report = match payload {
        Payload::Multipart(reader) => {
            let mut intake = Intake::new(stores, study);
            let read = multipart(*reader, source, &mut intake, limits.max_part).await;
            report(intake, read).await
        }
        Payload::SinglePart(labelled) => {
            let mut intake = Intake::new(stores, study);
            let read = single_part(labelled, source, &mut intake, limits.max_part).await;
            report(intake, read).await
        }
        Payload::Description(notation, reader) => {
            let read =
                description(*reader, source, limits.max_part, Description::new(notation, &url, room)).await;
            report_of_description(read, stores, study).await
        }
        Payload::Metadata(notation) => {
            let read = metadata_alone(notation, source, Description::new(notation, &url, room)).await;
            report_of_description(read, stores, study).await
        }
    };
    answer(&context, form, report)
}

async fn multipart(
    mut reader: Reader,
    source: &mut Source,
    intake: &mut Intake,
    max_part: u64,
) -> Result<(), Broken> {
    let mut part = Allowance::default();
    while !reader.is_closed()
        && let Some(bytes) = next(source, intake).await?
    {
        reader.push(bytes);
        while let Some(event) = reader.next()? {
            match event {
                Event::Part(headers) => {
                    part = Allowance(max_part);
                    match part_label(&headers) {
                        Ok(labelled) => intake.begin(labelled)?,
                        Err(()) => intake.begin_refused(Refusal::WrongType)?,
                    }
                }
                Event::Data(bytes) => {
                    part.spend(&bytes)?;
                    intake.push(bytes).await;
                }
                Event::PartEnd => intake.end().await,
            }
        }
    }
    Ok(reader.finish()?)
}

async fn single_part(
    labelled: Option<Uid>,
    source: &mut Source,
    intake: &mut Intake,
    max_part: u64,
) -> Result<(), Broken> {
    let mut part = Allowance(max_part);
    intake.begin(labelled)?;
    while let Some(bytes) = next(source, intake).await? {
        part.spend(&bytes)?;
        intake.push(bytes).await;
    }
    intake.end().await;
    Ok(())
}

async fn report(intake: Intake, read: Result<(), Broken>) -> Report {
    Report { instances: intake.finish().await, broken: read.err(), notes: Vec::new() }
}

async fn description(
    mut reader: Reader,
    source: &mut Source,
    max_part: u64,
    mut description: Description,
) -> Result<Description, Broken> {
    let mut part = Allowance::default();
    while !reader.is_closed()
        && let Some(bytes) = source.next().await?
    {
        reader.push(bytes);
        while let Some(event) = reader.next()? {
            match event {
                Event::Part(headers) => {
                    part = Allowance(max_part);
                    description.begin(&headers)?;
                }
                Event::Data(bytes) => {
                    part.spend(&bytes)?;
                    description.push(bytes).await?;
                }
                Event::PartEnd => {}
            }
        }
    }
    reader.finish()?;
    Ok(description)
}

async fn metadata_alone(
    notation: Notation,
    source: &mut Source,
    mut description: Description,
) -> Result<Description, Broken> {
    description.begin_document(notation)?;
    while let Some(bytes) = source.next().await? {
        description.push(bytes).await?;
    }
    Ok(description)
}

/// Stores what a body describes that was read to its end; of any other nothing.
async fn report_of_description(
    read: Result<Description, Broken>,
    mut stores: Stores,
    study: Option<Uid>,
) -> Report {
    let stored = match read {
        Ok(description) => description.store(&mut stores, study.as_ref()).await,
        Err(broken) => Err(broken),
    };
    let (notes, broken) = match stored {
        Ok(notes) => (notes, None),
        Err(broken) => (Vec::new(), Some(broken)),
    };
    Report { instances: stores.finish().await, broken, notes }
}

/// How much longer a part may be, in bytes.
#[derive(Default)]
struct Allowance(u64);

impl Allowance {
    fn spend(&mut self, bytes: &[u8]) -> Result<(), Broken> {
        self.0 = self.0.checked_sub(bytes.len() as u64).ok_or(Broken::PartTooLong)?;
        Ok(())
    }
}

async fn next(source: &mut Source, intake: &Intake) -> Result<Option<bytes::Bytes>, Broken> {
    if intake.given_up().is_some() {
        // What is still to come is read so that each instance can be told its fate.
        source.lose_interest();
    }
    Ok(source.next().await?)
}

fn not_acceptable() -> Problem {
    Problem::client(
        StatusCode::NOT_ACCEPTABLE,
        "the fates of the instances come in no form that was asked for",
    )
    .advise("Accept application/dicom+json or application/dicom+xml.")
}
