//! Values from big to little endian, and back (PS3.5 7.3).

use super::VR;

/// The size of the words, in bytes, that the byte order of a value of this VR goes by; 1: it has none.
pub(crate) fn word_size(vr: VR) -> usize {
    match vr {
        // An AT is two 16-bit numbers, not one of 32 bits.
        VR::US | VR::SS | VR::OW | VR::AT => 2,
        VR::UL | VR::SL | VR::FL | VR::OL | VR::OF => 4,
        VR::FD | VR::OD | VR::SV | VR::UV | VR::OV => 8,
        _ => 1,
    }
}

/// The VR whose words are as long as a cell of pixel data in this VR, of so many Bits Allocated (0028,0100). Big
/// endian writers of 32 and 64 bits turn each cell around as a whole, although it goes as OW.
pub(crate) fn cell(vr: VR, bits: u16) -> VR {
    match (vr, bits) {
        (VR::OW, 32) => VR::OL,
        (VR::OW, 64) => VR::OV,
        _ => vr,
    }
}

/// Turns the words of one value around, piece by piece.
#[derive(Debug)]
pub(crate) struct Swapper {
    word: usize,
    /// The beginning of a word that a piece ended in.
    begun: Vec<u8>,
}

impl Swapper {
    /// For one value of this VR.
    pub(crate) fn new(vr: VR) -> Self {
        Self { word: word_size(vr), begun: Vec::new() }
    }

    /// Whether the bytes stay as they are.
    pub(crate) fn is_idle(&self) -> bool {
        self.word == 1
    }

    /// Appends the words that `piece` completes to `out`.
    pub(crate) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut piece = piece;
        if !self.begun.is_empty() {
            let (head, tail) = piece.split_at(piece.len().min(self.word - self.begun.len()));
            self.begun.extend_from_slice(head);
            if self.begun.len() < self.word {
                return;
            }
            out.extend(self.begun.drain(..).rev());
            piece = tail;
        }
        let (words, begun) = piece.split_at(piece.len() - piece.len() % self.word);
        self.begun.extend_from_slice(begun);
        let start = out.len();
        out.extend_from_slice(words);
        match self.word {
            2 => reverse_each::<2>(&mut out[start..]),
            4 => reverse_each::<4>(&mut out[start..]),
            8 => reverse_each::<8>(&mut out[start..]),
            _ => {}
        }
    }

    /// Appends what is left of a value that is no whole number of words, as it was.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.begun);
    }
}

/// In place and with a fixed size, which the compiler turns into one instruction a word.
fn reverse_each<const N: usize>(words: &mut [u8]) {
    for word in words.as_chunks_mut::<N>().0 {
        word.reverse();
    }
}

/// The value with its words turned around.
pub(crate) fn swapped(vr: VR, value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut swapper = Swapper::new(vr);
    swapper.push(value, &mut out);
    swapper.finish(&mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_turned_around_wherever_the_pieces_are_cut() {
        let value: Vec<u8> = (0..19).collect();
        for (vr, word) in [(VR::OB, 1), (VR::AT, 2), (VR::FL, 4), (VR::OV, 8)] {
            let whole = swapped(vr, &value);
            assert_eq!(whole[..word], value[..word].iter().rev().copied().collect::<Vec<_>>());
            assert_eq!(whole[19 - 19 % word..], value[19 - 19 % word..], "what is no word stays");
            for cut in 1..7 {
                let (mut out, mut swapper) = (Vec::new(), Swapper::new(vr));
                value.chunks(cut).for_each(|piece| swapper.push(piece, &mut out));
                swapper.finish(&mut out);
                assert_eq!(out, whole, "{vr} in pieces of {cut}");
            }
        }
    }
}
