//! Reads the Range header: a part of one representation (RFC 9110 14).
//!
//! One range of bytes is served. Several at once, another unit, and what cannot be read are passed over, as the
//! standard allows: the whole comes, and the client sees that it is the whole.

use std::ops::Range;

/// The part of a representation that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// From a byte on, to the end or to a last byte.
    From(u64, Option<u64>),
    /// So many bytes at the end.
    Last(u64),
}

/// The range lies behind the end of the representation (416).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsatisfiable;

impl ByteRange {
    /// Reads the header's value; `None`: the whole is to be sent.
    pub fn parse(header: &str) -> Option<Self> {
        let (unit, set) = header.split_once('=')?;
        if !unit.trim().eq_ignore_ascii_case("bytes") {
            return None;
        }
        let (first, last) = set.trim().split_once('-')?;
        let number =
            |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        match (first.trim_end(), last.trim_start()) {
            ("", last) => Some(Self::Last(number(last)?)),
            (first, "") => Some(Self::From(number(first)?, None)),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From(first, Some(last)))
            }
        }
    }

    /// The bytes of a representation of this length.
    ///
    /// # Errors
    /// There are none.
    pub fn of(self, length: u64) -> Result<Range<u64>, Unsatisfiable> {
        let range = match self {
            Self::From(first, last) => first..last.map_or(length, |last| last.saturating_add(1).min(length)),
            Self::Last(count) => length.saturating_sub(count)..length,
        };
        if range.is_empty() { Err(Unsatisfiable) } else { Ok(range) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_of_bytes_is_read_and_all_else_is_passed_over() {
        for (header, of_ten) in [
            ("bytes=0-1023", Ok(0..10)),
            ("bytes=0-", Ok(0..10)),
            ("bytes=2-4", Ok(2..5)),
            ("Bytes = 9-9", Ok(9..10)),
            ("bytes=-3", Ok(7..10)),
            ("bytes=-30", Ok(0..10)),
            ("bytes=0-18446744073709551615", Ok(0..10)),
            ("bytes=10-", Err(Unsatisfiable)),
            ("bytes=-0", Err(Unsatisfiable)),
        ] {
            assert_eq!(ByteRange::parse(header).unwrap().of(10), of_ten, "{header}");
        }
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=4-2",
            "bytes=a-b",
            "bytes=0-1,4-5",
            "items=0-1",
            "bytes=+1-",
        ] {
            assert_eq!(ByteRange::parse(header), None, "{header}");
        }
        assert_eq!(ByteRange::From(0, None).of(0), Err(Unsatisfiable));
    }
}
