//! Colours of a table: Palette Color Lookup Tables, also segmented ones (PS3.3 C.7.6.3.1.5, C.7.9.2).

use super::attributes::words;
use super::lut::{Descriptor, Inputs, Lut};
use crate::dicom::dataset::{DataSet, Element};
use crate::dicom::{Tag, tags};

/// Attributes of a colour: its descriptor, its data, its segmented data.
type Attributes = (Tag, Tag, Tag);

const COLOURS: [Attributes; 3] = [
    (
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::SEGMENTED_RED_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ),
    (
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::SEGMENTED_GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ),
    (
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR,
        tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
        tags::SEGMENTED_BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA,
    ),
];

/// The three tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Palette([Lut; 3]);

impl Palette {
    /// The palette of a data set, whose pixels can be these. `None`: it has none that is whole.
    pub(super) fn read(data_set: &DataSet, inputs: Inputs) -> Option<Self> {
        let read = |(descriptor, data, segmented): Attributes| {
            let descriptor = Descriptor::read(data_set.get(descriptor)?, inputs)?;
            match data_set.get(data) {
                Some(data) => descriptor.table(data),
                None => descriptor.of(expanded(data_set.get(segmented)?, descriptor)),
            }
        };
        let [red, green, blue] = COLOURS.map(read);
        Some(Self([red?, green?, blue?]))
    }

    /// The colour of this value.
    pub(super) fn at(&self, value: i64) -> [u8; 3] {
        self.0.each_ref().map(|lut| lut.byte_at(value))
    }

    /// The least value that has a colour of its own.
    pub(super) fn first(&self) -> i64 {
        self.0[0].first()
    }
}

/// The entries that segments stand for, never more than there should be: discrete ones, lines to a value, and copies of
/// segments that stood before. What cannot be followed ends the table (PS3.3 C.7.9.2). Each segment has an entry at least,
/// so that there are no more of them than entries, however often they are copied.
fn expanded(data: &Element, descriptor: Descriptor) -> Vec<u16> {
    // Of 8-bit entries each word, two of them, is read as such; then segments are bytes.
    let source: Vec<u16> = match descriptor.bits {
        ..=8 => words(data).into_iter().flat_map(u16::to_le_bytes).map(u16::from).collect(),
        _ => words(data),
    };
    let mut segments = Segments { source: &source, entries: Vec::new(), most: descriptor.entries };
    // Where the segments begin that were read, as indirect ones name them by bytes.
    let mut at = 0;
    while let Some((&opcode, &length)) = source.get(at).zip(source.get(at + 1)) {
        if segments.is_full() {
            break;
        }
        let next = match opcode {
            2 => {
                let word = if descriptor.bits <= 8 { 1 } else { 2 };
                segments.indirect(at + 2, usize::from(length), word)
            }
            _ => segments.direct(at),
        };
        let Some(next) = next else { break };
        at = next;
    }
    segments.entries
}

struct Segments<'a> {
    source: &'a [u16],
    entries: Vec<u16>,
    most: usize,
}

impl Segments<'_> {
    fn is_full(&self) -> bool {
        self.entries.len() >= self.most
    }

    /// A discrete or linear segment; where the next begins.
    fn direct(&mut self, at: usize) -> Option<usize> {
        let (&opcode, &length) = self.source.get(at).zip(self.source.get(at + 1))?;
        if length == 0 {
            return None;
        }
        let (length, values) = (usize::from(length), at + 2);
        let room = self.most.saturating_sub(self.entries.len());
        match opcode {
            0 => {
                let segment = self.source.get(values..values.checked_add(length)?)?;
                self.entries.extend(segment.iter().take(room));
                Some(values + length)
            }
            1 => {
                let (from, to) = (f64::from(*self.entries.last()?), f64::from(*self.source.get(values)?));
                let step = (to - from) / length as f64;
                // Between two words there is nothing but words.
                let line = (1..=length).map(|n| (from + step * n as f64).round() as u16);
                self.entries.extend(line.take(room));
                Some(values + 1)
            }
            _ => None,
        }
    }

    /// Copies of `count` segments from a byte offset on, its lesser half first; never of an indirect one.
    fn indirect(&mut self, at: usize, count: usize, word: usize) -> Option<usize> {
        let halves = self.source.get(at..at + if word == 1 { 4 } else { 2 })?;
        // A copy of nothing is a segment of no entries, too.
        if count == 0 {
            return None;
        }
        let bits = 8 * word;
        let offset = halves.iter().rev().fold(0, |offset, &half| offset << bits | usize::from(half));
        let mut from = offset / word;
        for _ in 0..count {
            if self.is_full() {
                break;
            }
            from = self.direct(from)?;
        }
        Some(at + halves.len())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::dicom::VR;
    use crate::image::render::lut::tests::{UNSIGNED, of_words};

    /// A data set with a palette whose three tables are these.
    pub(in crate::image::render) fn palette(descriptor: [u16; 3], data: [&[u16]; 3]) -> DataSet {
        let mut data_set = DataSet::new();
        for ((tag, data_tag, _), data) in COLOURS.into_iter().zip(data) {
            data_set.insert(tag, of_words(VR::US, &descriptor));
            data_set.insert(data_tag, of_words(VR::OW, data));
        }
        data_set
    }

    fn segmented(descriptor: [u16; 3], segments: &[u16]) -> Vec<u16> {
        let descriptor = Descriptor::read(&of_words(VR::US, &descriptor), UNSIGNED).unwrap();
        expanded(&of_words(VR::OW, segments), descriptor)
    }

    #[test]
    fn a_palette_has_a_colour_for_each_value() {
        let data_set = palette([2, 5, 16], [&[0, 65535], &[65535, 0], &[0x8000, 0x4000]]);
        let palette = Palette::read(&data_set, UNSIGNED).unwrap();
        assert_eq!((palette.first(), palette.at(4), palette.at(5)), (5, [0, 255, 128], [0, 255, 128]));
        assert_eq!((palette.at(6), palette.at(99)), ([255, 0, 64], [255, 0, 64]));
        let mut broken = data_set;
        broken.remove(tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA);
        assert_eq!(Palette::read(&broken, UNSIGNED), None);
    }

    #[test]
    fn segments_are_values_lines_and_copies() {
        assert_eq!(segmented([3, 0, 16], &[0, 3, 7, 8, 9]), [7, 8, 9]);
        assert_eq!(segmented([5, 0, 16], &[0, 1, 0, 1, 4, 100]), [0, 25, 50, 75, 100]);
        // Downwards, too.
        assert_eq!(segmented([3, 0, 16], &[0, 1, 10, 1, 2, 0]), [10, 5, 0]);
        // The two segments at byte 0 once more.
        let twice = [0, 1, 0, 1, 2, 8, 2, 2, 0, 0];
        assert_eq!(segmented([6, 0, 16], &twice), [0, 4, 8, 0, 4, 8]);
    }

    #[test]
    fn segments_without_entries_end_the_table_however_often_they_are_repeated() {
        // 65,535 copies of an empty segment, again and again, would be read for minutes.
        for empty in [[0, 0], [1, 0]] {
            let mut segments = vec![0, 1, 5];
            segments.extend(empty.repeat(65_536));
            segments.extend([2, 65_535, 6, 0].repeat(1 << 18));
            assert_eq!(segmented([9, 0, 16], &segments), [5]);
        }
        assert_eq!(segmented([9, 0, 16], &[vec![0, 1, 5], [2, 0, 0, 0].repeat(9)].concat()), [5]);
    }

    #[test]
    fn segments_that_cannot_be_followed_end_the_table() {
        // A line from nowhere, a copy of a copy, a copy of itself, more than is there, an unknown opcode.
        for segments in
            [&[1, 4, 100][..], &[2, 1, 0, 0], &[2, 1, 4, 0, 2, 1, 0, 0], &[0, 9, 1, 2], &[7, 1, 1], &[0], &[]]
        {
            assert!(segmented([9, 0, 16], segments).is_empty(), "{segments:?}");
        }
        // Never more than the descriptor says.
        assert_eq!(segmented([2, 0, 16], &[0, 1, 0, 1, 65535, 9]).len(), 2);
        let copies: Vec<u16> = [0, 1, 3].into_iter().chain([2, 65535, 0, 0].repeat(9)).collect();
        assert_eq!(segmented([4, 0, 16], &copies), [3, 3], "a copy of a copy is none");
    }
}
