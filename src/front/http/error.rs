//! Errors as HTTP answers: the only table from errors to status codes.
//!
//! The body is problem+json (RFC 9457) and says what failed, on whose side, and what to do. It holds no
//! patient data: no values of keys, and not the Error Comment (0000,0902), in which archives repeat them.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_RANGE, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::body::Broken;
use super::pictures::NotDrawn;
use super::workers::Lost;
use crate::archive::{Error, Fault, Kind};
use crate::dicomweb::request::BadRequest;
use crate::dimse::status::meaning;
use crate::image::codec::Refusal;
use crate::image::frames::Error as FrameError;
use crate::image::render::Error as RenderError;
use crate::image::transcode;

/// When to come back where nothing better is known.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// A request that failed, as its client is told.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    status: StatusCode,
    detail: Box<str>,
    fault: Fault,
    archive: Option<String>,
    /// Command and status of a DIMSE response.
    dimse: Option<(&'static str, u16)>,
    advice: Option<Box<str>>,
    retry_after: Option<Duration>,
    /// Length of the value of which a range was asked for.
    length: Option<u64>,
}

impl Problem {
    /// A problem on the client's side.
    pub(super) fn client(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into().into(),
            fault: Fault::Client,
            archive: None,
            dimse: None,
            advice: None,
            retry_after: None,
            length: None,
        }
    }

    /// A problem on the bridge's side.
    pub(super) fn bridge(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { fault: Fault::Bridge, ..Self::client(status, detail) }
    }

    /// An answer with values of an archive's object could not begin.
    pub(super) fn broken(archive: &str, broken: Broken) -> Self {
        let detail = broken.to_string();
        let of_archive = || {
            let problem = Self::client(StatusCode::BAD_GATEWAY, detail.as_str());
            Self { fault: Fault::Archive, archive: Some(archive.to_owned()), ..problem }
        };
        match broken {
            Broken::Archive(error) => error.into(),
            Broken::Frames(FrameError::NoPixelData | FrameError::OutOfRange { .. }) | Broken::NoValue => {
                Self::client(StatusCode::NOT_FOUND, detail)
            }
            Broken::Frames(FrameError::Video) => {
                Self::client(StatusCode::NOT_ACCEPTABLE, detail).advise("Ask for the instance's bulk data.")
            }
            Broken::Picture(why) => match why {
                NotDrawn::NoImage => Self::client(StatusCode::NOT_FOUND, detail),
                NotDrawn::NotPresented | NotDrawn::NotShown(RenderError::Region) => {
                    Self::client(StatusCode::BAD_REQUEST, detail)
                }
                NotDrawn::NotShown(RenderError::TooShort) => of_archive(),
                NotDrawn::NotShown(RenderError::TooLarge) | NotDrawn::NotWritten(_) => {
                    Self::client(StatusCode::PAYLOAD_TOO_LARGE, detail).advise("Ask for a smaller viewport.")
                }
                NotDrawn::TooLarge => Self::client(StatusCode::PAYLOAD_TOO_LARGE, detail).advise(
                    "Ask for a smaller viewport, for fewer frames of a GIF, or for frames as they are.",
                ),
                NotDrawn::HeadTooLarge
                | NotDrawn::NotShown(RenderError::FrameTooLarge)
                | NotDrawn::NotShown(RenderError::Attribute(_))
                | NotDrawn::NotDecoded(Refusal::Unsupported(_)) => {
                    Self::bridge(StatusCode::NOT_IMPLEMENTED, detail).advise("Ask for frames.")
                }
                NotDrawn::NotDecoded(Refusal::Damaged(_) | Refusal::Disagrees(_)) => of_archive(),
                NotDrawn::NotDecoded(Refusal::TooLarge(_)) => {
                    Self::client(StatusCode::PAYLOAD_TOO_LARGE, detail).advise("Ask for frames.")
                }
                NotDrawn::Lost(_) | NotDrawn::NotDecoded(Refusal::Failed) => {
                    Self::bridge(StatusCode::INTERNAL_SERVER_ERROR, detail)
                        .advise("This is a defect of the bridge; its log has more.")
                }
            },
            Broken::Transcoding(error) if is_beyond_us(&error) => {
                Self::client(StatusCode::NOT_ACCEPTABLE, detail).advise(AS_STORED)
            }
            Broken::Codec(refusal) if is_not_built(&refusal) => {
                Self::client(StatusCode::NOT_ACCEPTABLE, detail).advise(AS_STORED)
            }
            Broken::NotAcceptable => Self::client(StatusCode::NOT_ACCEPTABLE, detail).advise(AS_STORED),
            Broken::NoRoom | Broken::Lost(Lost::NoMemory) => {
                Self::bridge(StatusCode::SERVICE_UNAVAILABLE, detail).try_again()
            }
            Broken::Lost(_) | Broken::Codec(Refusal::Failed) => {
                Self::bridge(StatusCode::INTERNAL_SERVER_ERROR, detail).advise(AS_STORED)
            }
            Broken::ReaderStalled => Self::client(StatusCode::REQUEST_TIMEOUT, detail),
            Broken::Frames(_)
            | Broken::Values(_)
            | Broken::Object(_)
            | Broken::Encoding(_)
            | Broken::Zip(_)
            | Broken::Native(_)
            | Broken::Transcoding(_)
            | Broken::Codec(_)
            | Broken::Surplus => of_archive(),
        }
    }

    /// A range was asked for that lies behind the end of a value of this length.
    pub(super) fn unsatisfiable_range(length: u64) -> Self {
        let detail = "the range lies behind the end of the value";
        Self { length: Some(length), ..Self::client(StatusCode::RANGE_NOT_SATISFIABLE, detail) }
    }

    /// Whether what was asked for exists in another form.
    pub(super) fn is_not_acceptable(&self) -> bool {
        self.status == StatusCode::NOT_ACCEPTABLE
    }

    /// The same with what to do about it.
    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into().into());
        self
    }

    /// The same with when to come back.
    pub(super) fn try_again(mut self) -> Self {
        self.retry_after = Some(TRY_AGAIN);
        self
    }

    /// The same with when to come back, which is known.
    pub(super) fn try_again_in(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// The answer's status.
    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    /// What failed.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    /// What to do about it.
    pub(super) fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }

    fn body(&self) -> Vec<u8> {
        let side = match self.fault {
            Fault::Client => "client",
            Fault::Archive => "archive",
            Fault::Bridge => "bridge",
        };
        let mut body = Map::new();
        body.insert("title".to_owned(), json!(self.status.canonical_reason().unwrap_or("Error")));
        body.insert("status".to_owned(), json!(self.status.as_u16()));
        body.insert("detail".to_owned(), json!(self.detail));
        body.insert("side".to_owned(), json!(side));
        if let Some(archive) = &self.archive {
            body.insert("archive".to_owned(), json!(archive));
        }
        if let Some((operation, code)) = self.dimse {
            let status = format!("{code:04X}");
            let dimse = json!({ "operation": operation, "status": status, "meaning": meaning(code) });
            body.insert("dimse".to_owned(), dimse);
        }
        if let Some(advice) = &self.advice {
            body.insert("advice".to_owned(), json!(advice));
        }
        Value::Object(body).to_string().into_bytes()
    }
}

impl From<BadRequest> for Problem {
    fn from(error: BadRequest) -> Self {
        Self::client(StatusCode::BAD_REQUEST, error.0)
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let (status, retry_after) = status(&error.kind);
        let dimse = match error.kind {
            Kind::Status { operation, code, .. } => Some((operation, code)),
            _ => None,
        };
        let fault = error.fault();
        let advice = remedy(&error).map(Box::from);
        let detail = public_text(error.clone()).into();
        Self { status, detail, fault, archive: Some(error.archive), dimse, advice, retry_after, length: None }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self { status, detail, archive, .. } = &self;
        let archive = archive.as_deref().unwrap_or("-");
        match self.fault {
            // The text may name what the client asked for.
            Fault::Client => tracing::debug!(archive, status = status.as_u16(), "refused a request"),
            _ => tracing::warn!(archive, status = status.as_u16(), "a request failed: {detail}"),
        }
        let problem = HeaderValue::from_static("application/problem+json");
        let mut response = (*status, [(CONTENT_TYPE, problem)], self.body()).into_response();
        if let Some(wait) = self.retry_after {
            response
                .headers_mut()
                .insert(RETRY_AFTER, HeaderValue::from(wait.as_millis().div_ceil(1000).max(1) as u64));
        }
        if let Some(length) = self.length {
            let value = HeaderValue::try_from(format!("bytes */{length}"));
            response.headers_mut().extend(value.ok().map(|value| (CONTENT_RANGE, value)));
        }
        // For who tells it in another form.
        response.extensions_mut().insert(self);
        response
    }
}

/// What to do where an image cannot be had in another transfer syntax.
const AS_STORED: &str = "Ask with `transfer-syntax=*` for it as it is stored.";

/// Whether an image is all right, and only cannot be had in the transfer syntax that was asked for.
fn is_beyond_us(error: &transcode::Error) -> bool {
    match error {
        transcode::Error::Refused(refusal) => is_not_built(refusal),
        transcode::Error::TooLong | transcode::Error::Kind => true,
        _ => false,
    }
}

/// Whether a frame is all right, and only cannot be decoded or encoded here.
fn is_not_built(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Unsupported(_) | Refusal::TooLarge(_))
}

/// The table.
fn status(kind: &Kind) -> (StatusCode, Option<Duration>) {
    let busy = (StatusCode::SERVICE_UNAVAILABLE, Some(TRY_AGAIN));
    let status = match kind {
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::NotAuthorized => StatusCode::FORBIDDEN,
        Kind::BadKeys(_) => StatusCode::BAD_REQUEST,
        Kind::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
        Kind::SourceBroke => StatusCode::BAD_REQUEST,
        Kind::ClassRefused(_) | Kind::SyntaxRefused(_) | Kind::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
        Kind::TooManyMatches => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::ReaderStalled | Kind::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Kind::QueueFull
        | Kind::QueueTimeout
        | Kind::Unreachable(_)
        | Kind::Rejected { transient: true, .. }
        | Kind::ShuttingDown => return busy,
        Kind::BreakerOpen(left) => {
            return (StatusCode::SERVICE_UNAVAILABLE, Some(*left + Duration::from_secs(1)));
        }
        Kind::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
        Kind::Rejected { transient: false, .. }
        | Kind::Tls(_)
        | Kind::Aborted(_)
        | Kind::Protocol(_)
        | Kind::Conflict(_)
        | Kind::Incomplete { .. } => StatusCode::BAD_GATEWAY,
        Kind::DriverDied => StatusCode::INTERNAL_SERVER_ERROR,
        Kind::Status { code, client_keys, .. } => match code {
            0x0213 | 0xA700 | 0xA701 => return busy,
            0x0112 => StatusCode::NOT_FOUND,
            0x0122 => StatusCode::NOT_IMPLEMENTED,
            0x0105 | 0x0106 | 0x0120 | 0x0121 | 0xA900..=0xA9FF if *client_keys => StatusCode::BAD_REQUEST,
            // A702, A801, 0124, 0110, Cxxx and whatever the standard does not list.
            _ => StatusCode::BAD_GATEWAY,
        },
    };
    (status, None)
}

/// What happened, without what an archive may have said about a patient.
pub(super) fn public_text(error: Error) -> String {
    let kind = match error.kind {
        Kind::Status { operation, code, client_keys, .. } => {
            Kind::Status { operation, code, client_keys, comment: None }
        }
        other => other,
    };
    Error { kind, archive: error.archive, advice: None }.to_string()
}

/// What to do about an error.
pub(super) fn remedy(error: &Error) -> Option<&str> {
    error.advice.as_deref().or_else(|| advice(&error.kind))
}

/// What to do where the archive layer had nothing better to say.
fn advice(kind: &Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::TooManyMatches => "Narrow the search, or ask for it in pages with `limit` and `offset`.",
        Kind::NotAcceptable => "Ask with `transfer-syntax=*` for the objects as they are stored.",
        Kind::Unreachable(_) => "Check that the archive runs and that its address is right.",
        Kind::Rejected { transient: false, .. } => {
            "Check that the archive knows this bridge's AE title, and that its own is right."
        }
        Kind::Timeout(_) => "Try again, or raise the archive's `timeouts`.",
        Kind::DriverDied => "This is a defect of the bridge; its log has more.",
        Kind::Status { code: 0xA801, .. } => {
            "Enter this bridge's AE title, address and port as a move destination at the archive."
        }
        Kind::Status { code: 0xA702, .. } => {
            "Check that the archive reaches this bridge's DIMSE address, which it sends the objects to."
        }
        Kind::Status { code: 0x0124, .. } => "Allow this bridge's AE title at the archive.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: Kind) -> Problem {
        Error::new("main", kind).into()
    }

    fn dimse(code: u16, client_keys: bool) -> Problem {
        let comment = Some("no patient Doe^John".to_owned());
        of(Kind::Status { operation: "C-FIND", code, comment, client_keys })
    }

    #[test]
    fn every_dimse_status_has_its_http_status() {
        for (code, client_keys, expected) in [
            (0xA700, false, 503),
            (0xA701, false, 503),
            (0x0213, false, 503),
            (0xA702, false, 502),
            (0xA801, false, 502),
            (0xA900, true, 400),
            (0xA900, false, 502),
            (0x0105, true, 400),
            (0x0106, false, 502),
            (0x0120, true, 400),
            (0x0121, true, 400),
            (0x0112, false, 404),
            (0x0124, false, 502),
            (0x0122, false, 501),
            (0xC000, true, 502),
            (0x0110, false, 502),
            (0x1234, false, 502),
        ] {
            assert_eq!(dimse(code, client_keys).status.as_u16(), expected, "{code:04X}");
        }
    }

    #[test]
    fn every_other_failure_has_its_http_status() {
        let rejected = |transient| Kind::Rejected { transient, reason: String::new() };
        for (kind, expected, retry) in [
            (Kind::NotFound, 404, None),
            (Kind::BadKeys(String::new()), 400, None),
            (Kind::NotAcceptable, 406, None),
            (Kind::Unsupported(String::new()), 501, None),
            (Kind::QueueFull, 503, Some(5)),
            (Kind::QueueTimeout, 503, Some(5)),
            (Kind::Unreachable(String::new()), 503, Some(5)),
            (Kind::BreakerOpen(Duration::from_millis(7500)), 503, Some(8)),
            (rejected(true), 503, Some(5)),
            (rejected(false), 502, None),
            (Kind::Timeout("C-FIND"), 504, None),
            (Kind::Tls(String::new()), 502, None),
            (Kind::Aborted(String::new()), 502, None),
            (Kind::Protocol(String::new()), 502, None),
            (Kind::Incomplete { missing: 3, named: Vec::new() }, 502, None),
            (Kind::TooManyMatches, 413, None),
            (Kind::ShuttingDown, 503, Some(5)),
            (Kind::DriverDied, 500, None),
        ] {
            let problem = of(kind.clone());
            assert_eq!(problem.status.as_u16(), expected, "{kind:?}");
            assert_eq!(problem.retry_after.map(|wait| wait.as_secs()), retry, "{kind:?}");
        }
    }

    #[test]
    fn the_body_says_whose_side_which_status_and_what_to_do_and_nothing_of_a_patient() {
        let body = String::from_utf8(dimse(0xA801, false).body()).unwrap();
        let value: Value = serde_json::from_str(&body).unwrap();
        assert_eq!(value["side"], "archive");
        assert_eq!(value["archive"], "main");
        assert_eq!(value["dimse"]["status"], "A801");
        assert_eq!(value["dimse"]["meaning"], "move destination unknown");
        assert!(value["advice"].as_str().unwrap().contains("move destination"));
        assert!(!body.contains("Doe"));
    }
}
