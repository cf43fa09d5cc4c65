//! Validators: an answer that is held for a moment gets an `ETag` from its bytes, and is not sent again to a
//! client that has it (RFC 9110 8.8.3, 13.1.2).
//!
//! Archives rewrite demographics and add instances without a word, so that nothing is ever immutable here: a
//! client may keep an answer, and asks each time whether it still holds. What is too long or too slow to be held
//! streams on without a validator. What breaks off while it is held is answered with the status of what broke it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use memchr::memmem::Finder;
use tokio::time::{Instant, timeout_at};
use twox_hash::XxHash3_128;

use super::Server;
use super::body::{BrokenOff, size_with};
use super::error::Problem;
use super::room::{Held, Room};
use crate::dicomweb::media_type::{ContentType, DICOM};

/// Longest answer that is held, in bytes: a frame, or the metadata of some hundred instances.
const MAX_HELD: usize = 8 << 20;
/// Longest answer of whole objects that is held, in bytes: an image. A study is to begin at once.
const MAX_HELD_OBJECTS: usize = 1 << 20;
/// Where in a piece of an answer with parts a boundary may stand, in bytes from its beginning: the writer of parts begins
/// a piece with each.
const FRAMING: usize = 1024;
/// How long an answer is held back for the sake of a validator. A client that sent one waits for the comparison.
const PATIENCE: Duration = Duration::from_millis(400);

/// Gives good answers to GET and HEAD a validator, and answers 304 where the client has it.
pub(super) async fn validate(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let known = request.headers().get_all(IF_NONE_MATCH).iter().cloned().collect::<Vec<_>>();
    let head = *request.method() == Method::HEAD;
    if head {
        // As GET, so that length and validator are those of the body that is left out.
        *request.method_mut() = Method::GET;
    }
    let get = *request.method() == Method::GET;
    let mut response = next.run(request).await;
    if get && response.status().is_success() {
        response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    }
    if get && response.status() == StatusCode::OK {
        response = hold(response, &known, &server.0.kept.room).await;
    }
    if head {
        let (mut parts, body) = response.into_parts();
        if parts.status == StatusCode::NOT_MODIFIED {
            return Response::from_parts(parts, Body::new(Nothing));
        }
        let known = parts.headers.contains_key(CONTENT_LENGTH);
        if let Some(length) = body.size_hint().exact().filter(|_| !known) {
            parts.headers.insert(CONTENT_LENGTH, length.into());
        }
        response = Response::from_parts(parts, Body::empty());
    }
    response
}

async fn hold(response: Response, known: &[HeaderValue], room: &Room) -> Response {
    let (mut parts, mut body) = response.into_parts();
    let deadline = known.is_empty().then(|| Instant::now() + PATIENCE);
    let most = if has_objects(&parts.headers) { MAX_HELD_OBJECTS } else { MAX_HELD };
    let mut held = Beginning { most, ..Beginning::default() };
    loop {
        let frame = match deadline {
            Some(deadline) => timeout_at(deadline, body.frame()).await,
            None => Ok(body.frame().await),
        };
        match frame {
            Ok(Some(Ok(frame))) => {
                let fits = held.add(frame, room);
                if !fits {
                    break;
                }
            }
            Ok(Some(Err(error))) => {
                // Nothing of it is out yet, so that there can be a status in its place.
                match error.into_inner().downcast::<BrokenOff>() {
                    Ok(off) => return Problem::broken(&off.archive, off.broken).into_response(),
                    Err(error) => held.end = Some(axum::Error::new(error)),
                }
                break;
            }
            Ok(None) => {
                let tag = held.tag(&parts.headers);
                parts.headers.insert(ETAG, tag.clone());
                if known.iter().any(|known| matches(known, &tag)) {
                    parts.headers.remove(CONTENT_TYPE);
                    parts.headers.remove(CONTENT_LENGTH);
                    parts.status = StatusCode::NOT_MODIFIED;
                    return (parts.status, parts.headers).into_response();
                }
                return Response::from_parts(parts, Body::new(held));
            }
            Err(_) => break,
        }
    }
    held.rest = Some(body);
    Response::from_parts(parts, Body::new(held))
}

/// Whether the answer consists of PS3.10 files.
fn has_objects(headers: &HeaderMap) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ContentType::parse(value).is_some_and(|it| it.essence() == DICOM || it.parameter("type") == Some(DICOM))
}

/// The boundary that a multipart answer has, which is another one each time.
fn boundary(content_type: &str) -> Option<&[u8]> {
    let (_, boundary) = content_type.split_once("boundary=")?;
    Some(boundary.split(';').next()?.trim_matches('"').as_bytes())
}

/// Whether a value of If-None-Match names this tag, by the weak comparison.
fn matches(known: &HeaderValue, tag: &HeaderValue) -> bool {
    let opaque = |text: &str| text.trim().trim_start_matches("W/").to_owned();
    let Ok(known) = known.to_str() else { return false };
    let tag = tag.to_str().map(opaque).unwrap_or_default();
    known.split(',').any(|one| one.trim() == "*" || opaque(one) == tag)
}

/// No body, which does not tell its length: axum would write it into the head of a 304, where a cache takes it
/// for the length of what it has.
#[derive(Debug)]
struct Nothing;

impl http_body::Body for Nothing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(None)
    }
}

/// The beginning of an answer, or all of it, and what follows.
#[derive(Debug, Default)]
struct Beginning {
    pieces: VecDeque<Held>,
    length: usize,
    /// Most bytes that are held.
    most: usize,
    /// Why there is no more.
    end: Option<axum::Error>,
    rest: Option<Body>,
}

impl Beginning {
    /// Adds a piece; `false`: no further one fits.
    fn add(&mut self, frame: Frame<Bytes>, room: &Room) -> bool {
        let Ok(bytes) = frame.into_data() else { return true };
        self.length += bytes.len();
        let held = if self.length <= self.most { room.hold_for_comfort(bytes) } else { Err(bytes) };
        let fits = held.is_ok();
        self.pieces.push_back(held.unwrap_or_else(Held::passing));
        fits
    }

    /// A weak tag over the bytes without the boundaries. One that is not found makes the tag another one, and no 304 of
    /// it.
    fn tag(&self, headers: &HeaderMap) -> HeaderValue {
        let mut hash = XxHash3_128::new();
        let content_type =
            headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let finder = boundary(content_type).map(Finder::new);
        // Pixels have pieces of their own; to search them took a fifth of the CPU of a cached frame's answer.
        let searched = if content_type.contains("xml") { usize::MAX } else { FRAMING };
        for bytes in self.pieces.iter().map(Held::bytes) {
            let mut from = 0;
            let begin = &bytes[..searched.min(bytes.len())];
            for at in finder.iter().flat_map(|finder| finder.find_iter(begin)) {
                hash.write(&bytes[from..at]);
                from = at + finder.as_ref().map_or(0, |finder| finder.needle().len());
            }
            hash.write(&bytes[from..]);
        }
        to_header(hash.finish_128())
    }
}

fn to_header(digest: u128) -> HeaderValue {
    HeaderValue::try_from(format!("W/\"{digest:032x}\"")).expect("hexadecimal digits are ASCII")
}

impl http_body::Body for Beginning {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Some(bytes) = self.pieces.pop_front().map(Held::into_bytes) {
            self.length -= bytes.len();
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        if let Some(error) = self.end.take() {
            self.rest = None;
            return Poll::Ready(Some(Err(error)));
        }
        match &mut self.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if self.end.is_some() {
            return SizeHint::default();
        }
        size_with(self.length, self.rest.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const PIECE: usize = 256 << 10;

    /// Pieces without end, counted when they are asked for.
    struct Endless(Arc<AtomicUsize>);

    impl http_body::Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[1; PIECE])))))
        }
    }

    /// How many bytes of an answer of this type are taken before its first one goes out.
    async fn held(content_type: &str) -> usize {
        let asked = Arc::new(AtomicUsize::new(0));
        let body = Body::new(Endless(Arc::clone(&asked)));
        let response = Response::builder().header(CONTENT_TYPE, content_type).body(body).unwrap();
        drop(hold(response, &[], &Room::default()).await);
        asked.load(Ordering::Relaxed) * PIECE
    }

    #[tokio::test]
    async fn a_study_begins_long_before_as_much_of_it_is_here_as_is_held_of_a_frame() {
        for objects in [r#"multipart/related; type="application/dicom"; boundary=b"#, "application/dicom"] {
            assert_eq!(held(objects).await, MAX_HELD_OBJECTS + PIECE, "{objects}");
        }
        for other in
            [r#"multipart/related; type="application/octet-stream"; boundary=b"#, "application/dicom+json"]
        {
            assert_eq!(held(other).await, MAX_HELD + PIECE, "{other}");
        }
    }
}
