//! Reads `multipart/related` bodies that come in pieces of any size (RFC 2046 5.1, PS3.18 8.6.1.2).
//!
//! [`Reader::push`] takes bytes, [`Reader::next`] hands out [`Event`]s until it needs more, and
//! [`Reader::finish`] tells whether the body was closed. The bytes of a part are slices of what was pushed,
//! never gathered, so that a part of any size passes in constant memory. A part has ended well only when a
//! delimiter has followed it: one that breaks off never looks whole.
//!
//! Lines may end with LF alone where the first delimiter's line does; then they all do.

use bytes::{Buf, Bytes, BytesMut};
use memchr::{memchr, memmem, memrchr};

/// Longest boundary, in characters. RFC 2046 allows 70; some clients take more.
const MAX_BOUNDARY: usize = 200;
/// Longest line of a preamble or of a part's headers, in bytes. A Content-Type has some hundred.
const MAX_LINE: usize = 8 * 1024;
/// Most header fields of a part; DICOMweb knows four.
const MAX_FIELDS: usize = 32;
/// Most bytes before the first delimiter: a line that tells old mail readers what a multipart body is.
const MAX_PREAMBLE: usize = 64 * 1024;
/// Most blanks behind a delimiter.
const MAX_PADDING: usize = 256;

/// One step through the body. Every `Part` is followed by its `Data`, then by `PartEnd`, unless the body is
/// broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A part begins.
    Part(PartHeaders),
    /// The next bytes of the part, never empty.
    Data(Bytes),
    /// The part has ended, and a delimiter has followed it.
    PartEnd,
}

/// The header fields of a part.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PartHeaders(Vec<(String, String)>);

impl PartHeaders {
    /// The value of the first field of this name, which is in lower case; without blanks around it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// The boundary cannot be one: it is empty, too long, or not printable ASCII.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the boundary is not 1 to {MAX_BOUNDARY} printable characters")]
pub struct BadBoundary;

/// The body cannot be read any further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Something other than a line end or two hyphens stands behind the boundary.
    #[error("a delimiter is followed by something else on its line")]
    BadDelimiter,
    /// A line among a part's headers is no header field.
    #[error("a part has a header that cannot be read")]
    BadHeader,
    /// More headers, or longer ones, than are read.
    #[error("the headers of a part, or what stands before the first part, are too long")]
    TooLong,
    /// No closing delimiter came.
    #[error("the body ends before its closing delimiter")]
    Truncated,
}

/// A walk through a body in progress.
#[derive(Debug)]
pub struct Reader {
    /// What was pushed and not handed out. Between two pushes hardly more than a line.
    input: Bytes,
    state: State,
    /// A line end, two hyphens and the boundary. CRLF until the first delimiter has shown otherwise.
    delimiter: memmem::Finder<'static>,
    fields: Vec<(String, String)>,
    /// Bytes seen of the preamble, or of padding.
    passed: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Preamble,
    Headers,
    /// A part whose first byte has not been looked at: behind the empty line the delimiter may follow at once.
    FirstData,
    Data,
    /// Behind the boundary of a delimiter that ends a part.
    Delimiter,
    Epilogue,
}

impl Reader {
    /// A walk through a body whose parts are parted by this boundary.
    ///
    /// # Errors
    /// The boundary cannot be one.
    pub fn new(boundary: &str) -> Result<Self, BadBoundary> {
        let printable = |b: u8| b == b' ' || b.is_ascii_graphic();
        if !(1..=MAX_BOUNDARY).contains(&boundary.len()) || !boundary.bytes().all(printable) {
            return Err(BadBoundary);
        }
        let delimiter = memmem::Finder::new(&format!("\r\n--{boundary}")).into_owned();
        Ok(Self { input: Bytes::new(), state: State::Preamble, delimiter, fields: Vec::new(), passed: 0 })
    }

    /// Adds the next bytes. Call [`Self::next`] until it wants more before the next piece, else what was not
    /// yet handed out is copied together here.
    pub fn push(&mut self, bytes: Bytes) {
        if self.input.is_empty() {
            self.input = bytes;
        } else {
            let mut joined = BytesMut::with_capacity(self.input.len() + bytes.len());
            joined.extend_from_slice(&self.input);
            joined.extend_from_slice(&bytes);
            self.input = joined.freeze();
        }
    }

    /// The next step; `None`: more bytes are needed, or the closing delimiter has been read.
    ///
    /// # Errors
    /// The body cannot be read any further. The part that is open is broken.
    #[expect(clippy::should_implement_trait, reason = "None is not the end, so this is no iterator")]
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            let step = match self.state {
                State::Preamble => self.preamble()?,
                State::Headers => self.header()?,
                State::FirstData => self.first_data(),
                State::Data => self.data(),
                State::Delimiter => self.rest_of_delimiter()?,
                State::Epilogue => {
                    self.input.clear();
                    Step::MoreBytes
                }
            };
            match step {
                Step::Event(event) => return Ok(Some(event)),
                Step::MoreBytes => return Ok(None),
                Step::Again => {}
            }
        }
    }

    /// Whether the closing delimiter has been read; what follows it means nothing.
    pub fn is_closed(&self) -> bool {
        self.state == State::Epilogue
    }

    /// Says that no more bytes come. Call it after [`Self::next`] has told that it wants more.
    ///
    /// # Errors
    /// There was no closing delimiter.
    pub fn finish(self) -> Result<(), Error> {
        if self.is_closed() { Ok(()) } else { Err(Error::Truncated) }
    }

    /// Lines up to the first delimiter.
    fn preamble(&mut self) -> Result<Step, Error> {
        let dashes = self.dash_boundary();
        if self.input.starts_with(dashes) && self.input[dashes.len()..].starts_with(b"--") {
            self.state = State::Epilogue;
            return Ok(Step::Again);
        }
        let Some(line) = self.line()? else { return Ok(Step::MoreBytes) };
        let dashes = self.dash_boundary();
        if let Some(rest) = line.text.strip_prefix(dashes)
            && rest.iter().all(|b| matches!(b, b' ' | b'\t'))
        {
            if !line.with_cr {
                self.delimiter = memmem::Finder::new(&self.delimiter.needle()[1..]).into_owned();
            }
            self.state = State::Headers;
            self.passed = 0;
            return Ok(Step::Again);
        }
        self.passed += line.text.len() + 1;
        if self.passed > MAX_PREAMBLE { Err(Error::TooLong) } else { Ok(Step::Again) }
    }

    fn header(&mut self) -> Result<Step, Error> {
        let Some(line) = self.line()? else { return Ok(Step::MoreBytes) };
        if line.text.is_empty() {
            self.state = State::FirstData;
            return Ok(Step::Event(Event::Part(PartHeaders(std::mem::take(&mut self.fields)))));
        }
        let text = String::from_utf8_lossy(&line.text);
        if text.starts_with([' ', '\t']) {
            // A field that goes on in the next line (RFC 5322 2.2.3).
            let (_, value) = self.fields.last_mut().ok_or(Error::BadHeader)?;
            if value.len() + text.len() > MAX_LINE {
                return Err(Error::TooLong);
            }
            value.push(' ');
            value.push_str(text.trim());
            return Ok(Step::Again);
        }
        if line.text.starts_with(self.dash_boundary()) {
            return Err(Error::BadHeader);
        }
        let (name, value) = text.split_once(':').ok_or(Error::BadHeader)?;
        if self.fields.len() == MAX_FIELDS {
            return Err(Error::TooLong);
        }
        self.fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        Ok(Step::Again)
    }

    fn first_data(&mut self) -> Step {
        let dashes = self.dash_boundary();
        let known = self.input.len().min(dashes.len());
        self.state = if self.input[..known] != dashes[..known] {
            State::Data
        } else if known < dashes.len() {
            return Step::MoreBytes;
        } else {
            self.input.advance(known);
            State::Delimiter
        };
        Step::Again
    }

    fn data(&mut self) -> Step {
        let end = match self.delimiter.find(&self.input) {
            Some(0) => {
                self.input.advance(self.delimiter.needle().len());
                self.state = State::Delimiter;
                return Step::Again;
            }
            Some(at) => at,
            None => self.input.len() - self.begun_delimiter(),
        };
        if end == 0 { Step::MoreBytes } else { Step::Event(Event::Data(self.input.split_to(end))) }
    }

    /// How many bytes at the end of the input may be the beginning of a delimiter.
    fn begun_delimiter(&self) -> usize {
        let needle = self.delimiter.needle();
        let tail = &self.input[self.input.len().saturating_sub(needle.len() - 1)..];
        // The boundary has no line end in it, so that only the last one can begin a delimiter.
        memrchr(needle[0], tail)
            .map_or(0, |at| if needle.starts_with(&tail[at..]) { tail.len() - at } else { 0 })
    }

    fn rest_of_delimiter(&mut self) -> Result<Step, Error> {
        while let [b' ' | b'\t', ..] = self.input[..] {
            self.input.advance(1);
            self.passed += 1;
            if self.passed > MAX_PADDING {
                return Err(Error::BadDelimiter);
            }
        }
        let (state, length) = match self.input[..] {
            [b'-', b'-', ..] => (State::Epilogue, 2),
            [b'\r', b'\n', ..] => (State::Headers, 2),
            [b'\n', ..] => (State::Headers, 1),
            [] | [b'-' | b'\r'] => return Ok(Step::MoreBytes),
            _ => return Err(Error::BadDelimiter),
        };
        self.input.advance(length);
        self.passed = 0;
        self.state = state;
        Ok(Step::Event(Event::PartEnd))
    }

    /// Takes the next line; `None`: its end has not come yet.
    fn line(&mut self) -> Result<Option<Line>, Error> {
        let Some(end) = memchr(b'\n', &self.input[..self.input.len().min(MAX_LINE)]) else {
            return if self.input.len() < MAX_LINE { Ok(None) } else { Err(Error::TooLong) };
        };
        let mut text = self.input.split_to(end + 1);
        text.truncate(end);
        let with_cr = text.last() == Some(&b'\r');
        if with_cr {
            text.truncate(end - 1);
        }
        Ok(Some(Line { text, with_cr }))
    }

    /// Two hyphens and the boundary.
    fn dash_boundary(&self) -> &[u8] {
        let needle = self.delimiter.needle();
        let line_end = needle.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        &needle[line_end..]
    }
}

struct Line {
    text: Bytes,
    with_cr: bool,
}

enum Step {
    Event(Event),
    MoreBytes,
    Again,
}

#[cfg(test)]
mod tests;
