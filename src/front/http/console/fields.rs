//! The fields of a form.

use axum::body::{Body, to_bytes};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use crate::dicomweb::request::parameters;
use crate::front::http::Server;
use crate::front::http::error::Problem;

/// Longest form that is read, in bytes: a few UIDs and titles.
const MAX_FORM: usize = 8 << 10;

/// The fields of a form, decoded.
#[derive(Debug, Default)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Those in a query.
    ///
    /// # Errors
    /// It is malformed or too long.
    pub(super) fn of_query(query: &str) -> Result<Self, Problem> {
        Ok(Self(parameters(query)?))
    }

    /// Those in a body.
    ///
    /// # Errors
    /// It is no form, too long, or does not come.
    pub(super) async fn of_body(server: &Server, headers: &HeaderMap, body: Body) -> Result<Self, Problem> {
        let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if media_type.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
            return Err(Problem::client(StatusCode::UNSUPPORTED_MEDIA_TYPE, "this is not a form"));
        }
        let read = timeout(server.0.config.read_timeout, to_bytes(body, MAX_FORM)).await;
        let late = |_| Problem::client(StatusCode::REQUEST_TIMEOUT, "the form did not come to its end");
        let bad = |_| Problem::client(StatusCode::PAYLOAD_TOO_LARGE, "the form is too long, or broke off");
        let bytes = read.map_err(late)?.map_err(bad)?;
        let text = std::str::from_utf8(&bytes)
            .map_err(|_| Problem::client(StatusCode::BAD_REQUEST, "the form is not UTF-8"))?;
        Self::of_query(text)
    }

    /// The value of a field without blanks around it; empty where it is not there.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.trim())
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
