//! Text values, one by one: without padding, divided at backslashes where the VR has several values.

use super::is_single_valued;
use crate::dicom::VR;

/// The values in the decoded text of an element of this textual VR; none where there is only padding.
pub(crate) fn values_in(vr: VR, text: &str) -> TextValues<'_> {
    let whole = trim(vr, text);
    let rest = if whole.is_empty() {
        None
    } else if is_single_valued(vr) || !text.contains('\\') {
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
        let value = match rest.split_once('\\') {
            Some((value, rest)) => {
                self.rest = Some(rest);
                value
            }
            None => rest,
        };
        Some(trim(self.vr, value))
    }
}

/// Without padding: behind, and in front too where leading spaces mean nothing (PS3.5 6.2). NULs are taken
/// for padding with every VR, as some senders pad with them.
pub(crate) fn trim(vr: VR, value: &str) -> &str {
    let value = value.trim_end_matches([' ', '\0']);
    match vr {
        VR::LT | VR::ST | VR::UC | VR::UR | VR::UT => value,
        _ => value.trim_start_matches(' '),
    }
}
