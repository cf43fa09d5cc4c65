//! Lookup tables: of the modality, of values of interest, of palettes (PS3.3 C.11.1.1, C.11.2.1.1, C.7.6.3.1.5).

use super::attributes::words;
use crate::dicom::dataset::{DataSet, Element, Value};
use crate::dicom::{VR, tags};

/// Most entries of a table: what a descriptor can say, whose 0 means 65,536.
pub(super) const MAX_ENTRIES: usize = 65_536;

/// A table of values, one for each input from the first mapped on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lut {
    /// The input that the first entry is for.
    first: i64,
    /// At least one.
    entries: Vec<u16>,
    /// The greatest value that an entry may have.
    max: u16,
}

impl Lut {
    /// The table in an item of a Modality or VOI LUT Sequence, whose inputs are these. `None`: it is no table.
    pub(super) fn read(item: &DataSet, inputs: Inputs) -> Option<Self> {
        let descriptor = Descriptor::read(item.get(tags::LUT_DESCRIPTOR)?, inputs)?;
        descriptor.table(item.get(tags::LUT_DATA)?)
    }

    /// The entry of this input. Inputs before the first have its entry, those behind the last have the last one's.
    pub(super) fn at(&self, input: i64) -> u16 {
        let last = self.entries.len().saturating_sub(1);
        let place = usize::try_from(input.saturating_sub(self.first)).unwrap_or(0).min(last);
        self.entries.get(place).copied().unwrap_or_default()
    }

    /// The input that the first entry is for.
    pub(super) fn first(&self) -> i64 {
        self.first
    }

    /// The greatest value that an entry may have.
    pub(super) fn max(&self) -> u16 {
        self.max
    }

    /// The entry of this input in a range of 0 to 255.
    pub(super) fn byte_at(&self, input: i64) -> u8 {
        scaled(self.at(input), self.max)
    }
}

/// A value of the range from 0 to `max` in that from 0 to 255, rounded.
pub(super) fn scaled(value: u16, max: u16) -> u8 {
    let (value, max) = (u32::from(value.min(max)), u32::from(max.max(1)));
    u8::try_from((value * 255 + max / 2) / max).unwrap_or(u8::MAX)
}

/// The least and the greatest input that a table can get.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Inputs {
    pub(super) least: f64,
    pub(super) greatest: f64,
}

impl Inputs {
    /// The input that a word of a descriptor stands for. Its VR says whether it has a sign, or should: in Implicit VR it
    /// comes from the pixels, whatever they are rescaled to. So it is believed where such inputs can be, and else the
    /// word is what they can be (PS3.3 C.11.1.1, C.11.2.1.1: what comes out of a Modality LUT has no sign).
    fn first(self, word: u16, vr: VR) -> i64 {
        let signed = match (vr == VR::SS, self.least < 0.0) {
            (true, true) => true,
            (false, false) => false,
            _ => f64::from(word) > self.greatest,
        };
        if signed { word.cast_signed().into() } else { word.into() }
    }
}

/// What a descriptor says of its table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descriptor {
    /// How many entries there are, from 1 to [`MAX_ENTRIES`].
    pub(super) entries: usize,
    /// The input that the first entry is for.
    pub(super) first: i64,
    /// Bits of an entry, from 1 to 16.
    pub(super) bits: u16,
}

impl Descriptor {
    /// Its three values. The first and the third have no sign, even where their VR is SS.
    pub(super) fn read(element: &Element, inputs: Inputs) -> Option<Self> {
        let [entries, first, bits, ..] = words(element)[..] else { return None };
        let entries = if entries == 0 { MAX_ENTRIES } else { usize::from(entries) };
        let first = inputs.first(first, element.vr);
        // Some say 0 where they mean 16.
        let bits = if bits == 0 { 16 } else { bits };
        (bits <= 16).then_some(Self { entries, first, bits })
    }

    /// The table of these data. Data with fewer entries than were said are taken as they are.
    pub(super) fn table(self, data: &Element) -> Option<Lut> {
        let Value::Bytes(bytes) = &data.value else { return None };
        // Entries of 8 bits may fill a word each, or lie two in a word (PS3.3 C.7.6.3.1.6).
        let packed = self.bits <= 8 && bytes.len() < self.entries.saturating_mul(2);
        let entries = match packed {
            true => bytes.iter().copied().map(u16::from).take(self.entries).collect(),
            false => words(data).into_iter().take(self.entries).collect(),
        };
        self.of(entries)
    }

    /// The table of these entries.
    pub(super) fn of(self, entries: Vec<u16>) -> Option<Lut> {
        let largest = entries.iter().copied().max()?;
        let max = u16::MAX >> (16 - self.bits);
        // An entry that has more bits than were said says by itself how many there are.
        let max = if largest > max { u16::MAX >> largest.leading_zeros() } else { max };
        Some(Lut { first: self.first, entries, max })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::dicom::Tag;

    /// Those of words without sign.
    pub(in crate::image::render) const UNSIGNED: Inputs = Inputs { least: 0.0, greatest: 65_535.0 };
    /// Those of words in two's complement.
    pub(in crate::image::render) const SIGNED: Inputs = Inputs { least: -32_768.0, greatest: 32_767.0 };

    /// An element of words.
    pub(in crate::image::render) fn of_words(vr: VR, words: &[u16]) -> Element {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        Element { vr, value: Value::Bytes(Bytes::from(bytes)) }
    }

    /// An item with a table.
    pub(in crate::image::render) fn item(vr: VR, descriptor: [u16; 3], data: &[u16]) -> DataSet {
        let mut item = DataSet::new();
        let mut put = |tag: Tag, element| item.insert(tag, element);
        put(tags::LUT_DESCRIPTOR, of_words(vr, &descriptor));
        put(tags::LUT_DATA, of_words(VR::US, data));
        item
    }

    #[test]
    fn inputs_outside_of_the_table_have_its_ends() {
        let lut = Lut::read(&item(VR::US, [3, 10, 16], &[5, 6, 7]), UNSIGNED).unwrap();
        let entries: Vec<u16> = [i64::MIN, 9, 10, 11, 12, 13, i64::MAX].map(|input| lut.at(input)).to_vec();
        assert_eq!(entries, [5, 5, 5, 6, 7, 7, 7]);
    }

    #[test]
    fn only_the_first_mapped_value_of_a_descriptor_has_a_sign() {
        let descriptor = of_words(VR::SS, &[40_000, 0xFC18, 12]);
        let read = Descriptor::read(&descriptor, SIGNED).unwrap();
        assert_eq!(read, Descriptor { entries: 40_000, first: -1000, bits: 12 });
        let read = Descriptor::read(&of_words(VR::US, &[0, 0xFC18, 16]), UNSIGNED).unwrap();
        assert_eq!(read, Descriptor { entries: 65_536, first: 0xFC18, bits: 16 });
        assert_eq!(Descriptor::read(&of_words(VR::US, &[0, 0xFC18, 16]), SIGNED).unwrap().first, -1000);
        assert_eq!(Descriptor::read(&of_words(VR::US, &[1, 2]), UNSIGNED), None);
        assert_eq!(Descriptor::read(&of_words(VR::US, &[1, 2, 17]), UNSIGNED), None);
    }

    #[test]
    fn entries_of_8_bits_fill_words_or_lie_two_in_one() {
        let packed = Lut::read(&item(VR::US, [4, 0, 8], &[0x0201, 0x0403]), UNSIGNED).unwrap();
        let wide = Lut::read(&item(VR::US, [4, 0, 8], &[1, 2, 3, 4]), UNSIGNED).unwrap();
        assert_eq!(packed, wide);
        assert_eq!(packed.byte_at(2), 3);
    }

    #[test]
    fn bytes_are_scaled_over_the_whole_range() {
        let lut = Lut::read(&item(VR::US, [3, 0, 12], &[0, 2048, 4095]), UNSIGNED).unwrap();
        assert_eq!([0, 1, 2].map(|input| lut.byte_at(input)), [0, 128, 255]);
        assert_eq!((scaled(1, 1), scaled(0, 1), scaled(9, 0)), (255, 0, 0));
    }

    #[test]
    fn a_table_without_entries_is_none() {
        assert_eq!(Lut::read(&item(VR::US, [3, 0, 16], &[]), UNSIGNED), None);
        assert_eq!(Lut::read(&DataSet::new(), UNSIGNED), None);
    }
}
