//! Text values, one by one: without padding, divided at backslashes where the VR has several values.

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
pub(crate) fn trim(vr: VR, value: &str) -> &str {
    let padding = value.bytes().rev().take_while(|b| matches!(b, b' ' | b'\0')).count();
    let value = &value[..value.len() - padding];
    match vr {
        VR::LT | VR::ST | VR::UC | VR::UR | VR::UT => value,
        _ => &value[value.bytes().take_while(|b| *b == b' ').count()..],
    }
}

fn has_backslash(text: &str) -> bool {
    // Without a way out in the middle, so that many bytes are looked at at once.
    text.bytes().fold(false, |any, b| any | (b == b'\\'))
}
