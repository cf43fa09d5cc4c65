//! The header of one element, in all its forms (PS3.5 7.1.2, 7.1.3).

use super::input::Input;
use crate::dicom::dictionary::vr_of;
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Tag, VR};

/// An element's header as encoded, before it is decided what its content is.
pub(super) struct RawHeader {
    pub(super) layout: Layout,
    pub(super) vr: VR,
    pub(super) length: u32,
    /// Of the header, in bytes.
    pub(super) size: usize,
}

impl RawHeader {
    /// The header that the input begins with, whose first bytes are `start`; `None`: more bytes are needed.
    #[inline(always)]
    pub(super) fn read(input: &Input, layout: Layout, start: [u8; 8]) -> Option<Self> {
        let letters = [start[4], start[5]];
        let known = vr_of_letters(letters);
        // Some writers leave the VR out of single elements, or of all of them, under an explicit syntax. What
        // stands there then is a length, hardly ever printable.
        let is_left_out = known.is_none()
            && layout == Layout::ExplicitLe
            && letters != [0, 0]
            && !letters.iter().all(|b| (0x20..0x7F).contains(b));
        if layout == Layout::ImplicitLe || is_left_out {
            let layout = Layout::ImplicitLe;
            let length = read_u32(layout, [start[4], start[5], start[6], start[7]]);
            return Some(Self { layout, vr: vr_of(read_tag(layout, &start)), length, size: 8 });
        }
        let long = match known {
            Some(vr) => has_long_length(vr),
            // A VR of a later edition has the long form. What is no VR at all is what old writers put for
            // "unknown", in the short form that every VR had then.
            None => letters.iter().all(u8::is_ascii_uppercase),
        };
        let vr = known.unwrap_or(VR::UN);
        if !long {
            let length = match layout {
                Layout::ExplicitBe => u16::from_be_bytes([start[6], start[7]]),
                _ => u16::from_le_bytes([start[6], start[7]]),
            };
            return Some(Self { layout, vr, length: u32::from(length), size: 8 });
        }
        let all = input.peek::<12>()?;
        let length = read_u32(layout, [all[8], all[9], all[10], all[11]]);
        Some(Self { layout, vr, length, size: 12 })
    }
}

/// VR and length in an explicit header in little endian, where the VR is one with the short form. Such elements are
/// neither sequences nor of undefined length, and nearly all are such.
#[inline(always)]
pub(super) fn read_short(start: [u8; 8]) -> Option<(VR, u32)> {
    let vr = vr_of_letters([start[4], start[5]]).filter(|vr| !has_long_length(*vr))?;
    Some((vr, u32::from(u16::from_le_bytes([start[6], start[7]]))))
}

/// The VR of these two letters. Every header of every object comes by here, and which VR it has is hard to foresee
/// for a processor: hence a table to look it up in, rather than a jump.
#[inline]
fn vr_of_letters([first, second]: [u8; 2]) -> Option<VR> {
    let row = BY_LETTERS.get(usize::from(first.wrapping_sub(b'A')))?;
    *row.get(usize::from(second.wrapping_sub(b'A')))?
}

static BY_LETTERS: [[Option<VR>; 26]; 26] = {
    let all = [
        (*b"AE", VR::AE),
        (*b"AS", VR::AS),
        (*b"AT", VR::AT),
        (*b"CS", VR::CS),
        (*b"DA", VR::DA),
        (*b"DS", VR::DS),
        (*b"DT", VR::DT),
        (*b"FL", VR::FL),
        (*b"FD", VR::FD),
        (*b"IS", VR::IS),
        (*b"LO", VR::LO),
        (*b"LT", VR::LT),
        (*b"OB", VR::OB),
        (*b"OD", VR::OD),
        (*b"OF", VR::OF),
        (*b"OL", VR::OL),
        (*b"OV", VR::OV),
        (*b"OW", VR::OW),
        (*b"PN", VR::PN),
        (*b"SH", VR::SH),
        (*b"SL", VR::SL),
        (*b"SQ", VR::SQ),
        (*b"SS", VR::SS),
        (*b"ST", VR::ST),
        (*b"SV", VR::SV),
        (*b"TM", VR::TM),
        (*b"UC", VR::UC),
        (*b"UI", VR::UI),
        (*b"UL", VR::UL),
        (*b"UN", VR::UN),
        (*b"UR", VR::UR),
        (*b"US", VR::US),
        (*b"UT", VR::UT),
        (*b"UV", VR::UV),
    ];
    let mut table = [[None; 26]; 26];
    let mut at = 0;
    while at < all.len() {
        let ([first, second], vr) = all[at];
        table[(first - b'A') as usize][(second - b'A') as usize] = Some(vr);
        at += 1;
    }
    table
};

/// Whether an explicit header has a 32-bit length after two reserved bytes (PS3.5 Table 7.1-1).
#[inline]
pub fn has_long_length(vr: VR) -> bool {
    use VR::{OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV};
    matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}

/// The tag at the beginning of `bytes`, which has four of them.
#[inline(always)]
pub(super) fn read_tag(layout: Layout, bytes: &[u8]) -> Tag {
    let halves = [[bytes[0], bytes[1]], [bytes[2], bytes[3]]];
    let [group, element] = match layout {
        Layout::ExplicitBe => halves.map(u16::from_be_bytes),
        _ => halves.map(u16::from_le_bytes),
    };
    Tag(group, element)
}

#[inline(always)]
pub(super) fn read_u32(layout: Layout, bytes: [u8; 4]) -> u32 {
    if layout == Layout::ExplicitBe { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_letters_are_the_vr_of_that_name_or_none() {
        for a in 0..=u8::MAX {
            for b in 0..=u8::MAX {
                assert_eq!(vr_of_letters([a, b]), VR::from_binary([a, b]));
            }
        }
    }
}
