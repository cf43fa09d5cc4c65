//! curl, the client that everybody has: a status and a body, or the way it failed.

use super::process::bounded;

/// What curl saw.
#[derive(Debug)]
pub(crate) struct Answer {
    /// curl's exit code: 0 for an answer that came whole.
    pub(crate) exit: i32,
    /// The HTTP status; 0 when none came.
    pub(crate) status: u16,
    /// Content-Type, empty when there is none.
    pub(crate) content_type: String,
    /// The body, as much as came.
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }
}

/// Gets `url`; `options` are curl's own, for example `--http1.0` or `-H`, `Accept: …`.
pub(crate) fn curl(url: &str, options: &[&str]) -> Answer {
    // What curl says of the answer goes to stderr, which `--silent` keeps free of anything else.
    let output = bounded("/usr/bin/curl")
        .args(["--silent", "--max-time", "300", "--write-out", "%{stderr}%{http_code} %{content_type}"])
        .args(options)
        .arg(url)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let (status, content_type) = said.split_once(' ').unwrap_or((&said, ""));
    Answer {
        exit: output.status.code().unwrap_or(-1),
        status: status.parse().unwrap_or(0),
        content_type: content_type.to_owned(),
        body: output.stdout,
    }
}

/// The header that asks for objects as they are stored.
pub(crate) fn header_accepting_as_stored() -> &'static str {
    "Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*"
}
