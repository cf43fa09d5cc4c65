//! Text values, one by one: without padding, divided at backslashes where the VR has several values.

use std::ops::Range;

use super::is_single_valued;
use crate::dicom::VR;

/// The values in the decoded text of an element of this textual VR; none where there is only padding.
pub(crate) fn values_in(vr: VR, text: &str) -> TextValues<'_> {
    let whole = trim(vr, text);
    let rest = if whole.is_empty() {
        None
    } else if is_single_valued(vr) || !has_backslash(whole) {
        return TextValues { vr, divides: false, rest: Some(whole) };
    } else {
        Some(text)
    };
    TextValues { vr, divides: true, rest }
}

/// Values still to come.
#[derive(Debug, Clone)]
pub(crate) struct TextValues<'a> {
    vr: VR,
    divides: bool,
    rest: Option<&'a str>,
}

impl TextValues<'_> {
    /// Whether there are two or more, as long as none was taken.
    pub(crate) fn is_several(&self) -> bool {
        self.divides && self.rest.is_some()
    }
}

impl<'a> Iterator for TextValues<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.take()?;
        if !self.divides {
            return Some(rest);
        }
        // Values are short: a plain loop finds the backslash before a search for it would have begun.
        let value = match rest.bytes().position(|b| b == b'\\') {
            Some(at) => {
                self.rest = Some(&rest[at + 1..]);
                &rest[..at]
            }
            None => rest,
        };
        Some(trim(self.vr, value))
    }
}

/// Without padding: behind, and in front too where leading spaces mean nothing (PS3.5 6.2). NULs are taken
/// for padding with every VR, as some senders pad with them.
#[inline]
pub(crate) fn trim(vr: VR, value: &str) -> &str {
    &value[unpadded(vr, value.as_bytes())]
}

/// What of a value in ASCII, or in UTF-8, is no padding.
#[inline]
pub(crate) fn unpadded(vr: VR, mut value: &[u8]) -> Range<usize> {
    while let [rest @ .., b' ' | b'\0'] = value {
        value = rest;
    }
    let end = value.len();
    if !matches!(vr, VR::LT | VR::ST | VR::UC | VR::UR | VR::UT) {
        while let [b' ', rest @ ..] = value {
            value = rest;
        }
    }
    end - value.len()..end
}

fn has_backslash(text: &str) -> bool {
    // Without a way out in the middle, so that many bytes are looked at at once.
    text.bytes().fold(false, |any, b| any | (b == b'\\'))
}
