//! What a request, or a part of one, says that its bytes are (RFC 9110 8.3).

use super::{MediaRange, Scanner};

/// The value of a Content-Type header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContentType(MediaRange);

impl ContentType {
    /// Reads the header's value as leniently as the Accept headers; `None`: it names no media type.
    pub fn parse(text: &str) -> Option<Self> {
        let range = Scanner { rest: text }.range()??;
        (!range.essence.contains('*')).then_some(Self(range))
    }

    /// `type/subtype` in lower case.
    pub fn essence(&self) -> &str {
        &self.0.essence
    }

    /// The value of a parameter, unquoted; its name in lower case.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.0.parameter(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_come_quoted_and_unquoted() {
        for text in [
            "multipart/related; type=\"application/dicom\"; boundary=\"a=b; c\"",
            "Multipart/Related;TYPE=application/dicom;boundary=\"a=b; c\";",
        ] {
            let content_type = ContentType::parse(text).unwrap();
            assert_eq!(content_type.essence(), "multipart/related");
            assert_eq!(content_type.parameter("type"), Some("application/dicom"));
            assert_eq!(content_type.parameter("boundary"), Some("a=b; c"));
            assert_eq!(content_type.parameter("start"), None);
        }
        let unquoted = ContentType::parse("multipart/related; boundary=--=_x/1").unwrap();
        assert_eq!(unquoted.parameter("boundary"), Some("--=_x/1"));
        for bad in ["", "dicom", "*/*", "application/*", ";boundary=x"] {
            assert_eq!(ContentType::parse(bad), None, "{bad}");
        }
    }
}
