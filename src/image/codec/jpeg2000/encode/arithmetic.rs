//! The MQ coder: binary decisions, each in a context, to bytes (ISO/IEC 15444-1 Annex C).

/// How probable the less probable symbol is, what the state becomes by the more and by the less probable one, and
/// whether they then change places (Table C.2).
const STATES: [(u16, u8, u8, bool); 47] = [
    (0x5601, 1, 1, true),
    (0x3401, 2, 6, false),
    (0x1801, 3, 9, false),
    (0x0AC1, 4, 12, false),
    (0x0521, 5, 29, false),
    (0x0221, 38, 33, false),
    (0x5601, 7, 6, true),
    (0x5401, 8, 14, false),
    (0x4801, 9, 14, false),
    (0x3801, 10, 14, false),
    (0x3001, 11, 17, false),
    (0x2401, 12, 18, false),
    (0x1C01, 13, 20, false),
    (0x1601, 29, 21, false),
    (0x5601, 15, 14, true),
    (0x5401, 16, 14, false),
    (0x5101, 17, 15, false),
    (0x4801, 18, 16, false),
    (0x3801, 19, 17, false),
    (0x3401, 20, 18, false),
    (0x3001, 21, 19, false),
    (0x2801, 22, 19, false),
    (0x2401, 23, 20, false),
    (0x2201, 24, 21, false),
    (0x1C01, 25, 22, false),
    (0x1801, 26, 23, false),
    (0x1601, 27, 24, false),
    (0x1401, 28, 25, false),
    (0x1201, 29, 26, false),
    (0x1101, 30, 27, false),
    (0x0AC1, 31, 28, false),
    (0x09C1, 32, 29, false),
    (0x08A1, 33, 30, false),
    (0x0521, 34, 31, false),
    (0x0441, 35, 32, false),
    (0x02A1, 36, 33, false),
    (0x0221, 37, 34, false),
    (0x0141, 38, 35, false),
    (0x0111, 39, 36, false),
    (0x0085, 40, 37, false),
    (0x0049, 41, 38, false),
    (0x0025, 42, 39, false),
    (0x0015, 43, 40, false),
    (0x0009, 44, 41, false),
    (0x0005, 45, 42, false),
    (0x0001, 45, 43, false),
    (0x5601, 46, 46, false),
];

/// What a context has learnt.
#[derive(Clone, Copy, Default)]
pub(super) struct Context {
    state: u8,
    more_probable: bool,
}

impl Context {
    /// In this state of Table C.2, with 0 for the more probable symbol.
    pub(super) const fn in_state(state: u8) -> Self {
        Self { state, more_probable: false }
    }
}

/// The coder, with the names that the registers have in Annex C.
pub(super) struct Coder {
    a: u32,
    c: u32,
    ct: u32,
    /// The last byte may still grow by a carry. The first one stands for what is before the codestream.
    bytes: Vec<u8>,
}

impl Coder {
    /// INITENC (C.2.8).
    pub(super) fn new() -> Self {
        Self { a: 0x8000, c: 0, ct: 12, bytes: vec![0] }
    }

    /// ENCODE (C.2.2).
    #[inline]
    pub(super) fn encode(&mut self, symbol: bool, context: &mut Context) {
        let (probability, more, less, switch) = STATES[usize::from(context.state)];
        let probability = u32::from(probability);
        self.a -= probability;
        if symbol == context.more_probable {
            if self.a & 0x8000 != 0 {
                self.c += probability;
                return;
            }
            if self.a < probability {
                self.a = probability;
            } else {
                self.c += probability;
            }
            context.state = more;
        } else {
            if self.a < probability {
                self.c += probability;
            } else {
                self.a = probability;
            }
            context.more_probable ^= switch;
            context.state = less;
        }
        self.renormalize();
    }

    /// RENORME (C.2.6), by as many bits at a time as fit.
    fn renormalize(&mut self) {
        let mut shift = self.a.leading_zeros() - 16;
        self.a <<= shift;
        while shift >= self.ct {
            self.c <<= self.ct;
            shift -= self.ct;
            self.byte_out();
        }
        self.c <<= shift;
        self.ct -= shift;
    }

    /// BYTEOUT (C.2.7): behind a byte of all ones comes one of seven bits.
    fn byte_out(&mut self) {
        if let Some(last) = self.bytes.last_mut()
            && *last != 0xFF
            && self.c & 0x0800_0000 != 0
        {
            *last += 1;
            self.c &= 0x07FF_FFFF;
        }
        let bits = if self.bytes.last() == Some(&0xFF) { 7 } else { 8 };
        let byte = (self.c >> (27 - bits)) as u8;
        self.c &= (1 << (27 - bits)) - 1;
        self.bytes.push(byte);
        self.ct = bits;
    }

    /// FLUSH (C.2.9): the bytes.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let most = self.c + self.a;
        self.c |= 0xFFFF;
        if self.c >= most {
            self.c -= 0x8000;
        }
        for _ in 0..2 {
            self.c <<= self.ct;
            self.byte_out();
        }
        if self.bytes.last() == Some(&0xFF) {
            self.bytes.pop();
        }
        self.bytes.remove(0);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sequence that ISO/IEC 14492 H.2 has for this coder.
    #[test]
    fn a_sequence_becomes_what_the_standard_says() {
        let symbols: [u8; 32] = [
            0x00, 0x02, 0x00, 0x51, 0x00, 0x00, 0x00, 0xC0, 0x03, 0x52, 0x87, 0x2A, 0xAA, 0xAA, 0xAA, 0xAA,
            0x82, 0xC0, 0x20, 0x00, 0xFC, 0xD7, 0x9E, 0xF6, 0xBF, 0x7F, 0xED, 0x90, 0x4F, 0x46, 0xA3, 0xBF,
        ];
        let (mut coder, mut context) = (Coder::new(), Context::default());
        for byte in symbols {
            (0..8).rev().for_each(|place| coder.encode(byte >> place & 1 == 1, &mut context));
        }
        let bytes = [
            0x84, 0xC7, 0x3B, 0xFC, 0xE1, 0xA1, 0x43, 0x04, 0x02, 0x20, 0x00, 0x00, 0x41, 0x0D, 0xBB, 0x86,
            0xF4, 0x31, 0x7F, 0xFF, 0x88, 0xFF, 0x37, 0x47, 0x1A, 0xDB, 0x6A, 0xDF,
        ];
        assert_eq!(coder.finish(), bytes);
    }
}
