//! Writes `multipart/related` bodies that can only be closed when everything is in them (PS3.18 8.6.1.2,
//! RFC 2387, RFC 2046 5.1); [`read`] reads them.

pub mod read;

use std::fmt::Write as _;
use std::marker::PhantomData;

use bytes::Bytes;

/// The framing around the parts of one body. What stands in the parts goes past the writer.
///
/// `Proof` is what the caller has to give up to write the closing boundary: the archive layer's proof that
/// the retrieval is complete. It is a type parameter because this module knows syntax and no archives, and
/// the guarantee holds all the same: a body whose writer was made for a proof ends well only with that proof.
#[derive(Debug)]
pub struct Writer<Proof> {
    boundary: String,
    started: bool,
    proof: PhantomData<fn(Proof)>,
}

impl<Proof> Writer<Proof> {
    /// A writer with a boundary of 128 random bits, which therefore occurs in no part.
    pub fn new() -> Self {
        Self {
            boundary: format!("gantry-{:032x}", rand::random::<u128>()),
            started: false,
            proof: PhantomData,
        }
    }

    /// The value of the `Content-Type` header of a body whose parts are of `media_type`.
    pub fn content_type(&self, media_type: &str) -> String {
        format!("multipart/related; type=\"{media_type}\"; boundary={}", self.boundary)
    }

    /// What stands before a part's bytes: the delimiter and the part's headers, whose names and values must
    /// not contain line ends.
    pub fn part(&mut self, headers: &[(&str, &str)]) -> Bytes {
        let mut text = String::with_capacity(256);
        if self.started {
            text.push_str("\r\n");
        }
        self.started = true;
        let _ = write!(text, "--{}\r\n", self.boundary);
        for (name, value) in headers {
            debug_assert!(!name.contains(['\r', '\n']) && !value.contains(['\r', '\n']));
            let _ = write!(text, "{name}: {value}\r\n");
        }
        text.push_str("\r\n");
        text.into()
    }

    /// The closing delimiter, for which the proof is spent.
    pub fn finish(self, _proof: Proof) -> Bytes {
        let break_line = if self.started { "\r\n" } else { "" };
        format!("{break_line}--{}--\r\n", self.boundary).into()
    }
}

impl<Proof> Default for Writer<Proof> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Proof;

    #[test]
    fn a_body_reads_as_rfc_2046_says() {
        let mut writer = Writer::<Proof>::new();
        let boundary = writer.boundary.clone();
        assert_eq!(
            writer.content_type("application/dicom"),
            format!("multipart/related; type=\"application/dicom\"; boundary={boundary}")
        );
        let mut body = writer.part(&[("Content-Type", "text/plain"), ("Content-Location", "/a")]).to_vec();
        body.extend(b"one");
        body.extend(writer.part(&[]));
        body.extend(b"two");
        body.extend(writer.finish(Proof));
        let expected = format!(
            "--{boundary}\r\nContent-Type: text/plain\r\nContent-Location: /a\r\n\r\none\r\n--{boundary}\r\n\r\ntwo\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn boundaries_differ_and_are_short_enough() {
        let (a, b) = (Writer::<Proof>::new(), Writer::<Proof>::new());
        assert_ne!(a.boundary, b.boundary);
        assert!(a.boundary.len() <= 70, "RFC 2046 5.1.1");
    }
}
