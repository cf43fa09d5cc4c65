//! Packets: which code-blocks there are, how long they are, and their bytes (ISO/IEC 15444-1 Annex B.9, B.10).

/// A code-block as it is coded.
pub(super) struct Block {
    /// What the block coder wrote.
    pub(super) bytes: Vec<u8>,
    /// How many coding passes that is; none of a block of zeros.
    pub(super) passes: u32,
    /// How many bit-planes, from the most significant one on, are not coded.
    pub(super) zero_planes: u32,
}

/// The code-blocks of a band in a packet, from left to right and from top to bottom.
pub(super) struct BandBlocks {
    pub(super) across: usize,
    pub(super) blocks: Vec<Block>,
}

/// Writes the one packet that a resolution of a component has.
pub(super) fn write(bands: &[BandBlocks], out: &mut Vec<u8>) {
    let mut header = Bits::default();
    // It is not empty.
    header.put(1, 1);
    for band in bands.iter().filter(|band| !band.blocks.is_empty()) {
        // Of the one layer that there is, a block is or is not.
        let mut included =
            TagTree::new(band.across, band.blocks.iter().map(|block| u32::from(block.passes == 0)));
        let mut zero_planes = TagTree::new(band.across, band.blocks.iter().map(|block| block.zero_planes));
        for (place, block) in band.blocks.iter().enumerate() {
            included.code(place, 1, &mut header);
            if block.passes > 0 {
                zero_planes.code(place, block.zero_planes + 1, &mut header);
                put_passes(block.passes, &mut header);
                put_length(block.bytes.len() as u32, block.passes, &mut header);
            }
        }
    }
    out.extend(header.finish());
    for block in bands.iter().flat_map(|band| &band.blocks) {
        out.extend_from_slice(&block.bytes);
    }
}

/// The number of coding passes (Table B.4).
fn put_passes(passes: u32, bits: &mut Bits) {
    match passes {
        1 => bits.put(0, 1),
        2 => bits.put(0b10, 2),
        3..=5 => bits.put(0b1100 | (passes - 3), 4),
        6..=36 => bits.put(0b1111 << 5 | (passes - 6), 9),
        _ => bits.put(0b1_1111_1111 << 7 | (passes - 37), 16),
    }
}

/// The length of a block (B.10.7.1).
fn put_length(length: u32, passes: u32, bits: &mut Bits) {
    /// What the state Lblock begins with.
    const LBLOCK: u32 = 3;
    let of_passes = passes.ilog2();
    let wanted = (u32::BITS - length.leading_zeros()).saturating_sub(of_passes);
    let more = wanted.saturating_sub(LBLOCK);
    (0..more).for_each(|_| bits.put(1, 1));
    bits.put(0, 1);
    bits.put(length, LBLOCK + more + of_passes);
}

/// Bits to bytes, the most significant first; behind a byte of all ones comes one of seven bits (B.10.1).
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    byte: u32,
    count: u32,
}

impl Bits {
    fn put(&mut self, value: u32, length: u32) {
        for place in (0..length).rev() {
            self.byte = self.byte << 1 | (value >> place) & 1;
            self.count += 1;
            if self.count == self.room() {
                self.push();
            }
        }
    }

    fn room(&self) -> u32 {
        if self.bytes.last() == Some(&0xFF) { 7 } else { 8 }
    }

    fn push(&mut self) {
        self.bytes.push(self.byte as u8);
        (self.byte, self.count) = (0, 0);
    }

    /// The bytes, of which the last is not all ones.
    fn finish(mut self) -> Vec<u8> {
        if self.count > 0 || self.bytes.last() == Some(&0xFF) {
            self.byte <<= self.room() - self.count;
            self.push();
        }
        self.bytes
    }
}

/// Numbers on a grid, each told by how much it is above the least of those around it (B.10.2).
struct TagTree {
    /// Width and nodes of each level, leaves first.
    levels: Vec<(usize, Vec<Node>)>,
}

#[derive(Clone, Copy)]
struct Node {
    value: u32,
    /// It is told that the value is not below.
    low: u32,
    known: bool,
}

impl TagTree {
    fn new(across: usize, values: impl Iterator<Item = u32>) -> Self {
        let node = |value| Node { value, low: 0, known: false };
        let mut levels = vec![(across, values.map(node).collect::<Vec<_>>())];
        while let Some((width, nodes)) = levels.last()
            && nodes.len() > 1
        {
            let (above, rows) = (width.div_ceil(2), nodes.len() / width);
            let mut parents = vec![node(u32::MAX); above * rows.div_ceil(2)];
            for (place, child) in nodes.iter().enumerate() {
                let parent = &mut parents[place / width / 2 * above + place % width / 2];
                parent.value = parent.value.min(child.value);
            }
            levels.push((above, parents));
        }
        Self { levels }
    }

    /// Tells of a leaf whether it is below `threshold`, and if so what it is.
    fn code(&mut self, leaf: usize, threshold: u32, bits: &mut Bits) {
        let (row, column) = (leaf / self.levels[0].0, leaf % self.levels[0].0);
        let mut low = 0;
        for (level, (width, nodes)) in self.levels.iter_mut().enumerate().rev() {
            let node = &mut nodes[(row >> level) * *width + (column >> level)];
            low = node.low.max(low);
            while low < threshold && !node.known {
                node.known = low >= node.value;
                bits.put(node.known.into(), 1);
                low += u32::from(!node.known);
            }
            node.low = low;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of B.10.2.
    #[test]
    fn a_tag_tree_tells_what_the_standard_says() {
        let values = [1, 3, 2, 3, 2, 3, 2, 2, 1, 4, 3, 2, 2, 2, 2, 2, 1, 2];
        let mut tree = TagTree::new(6, values.into_iter());
        let mut bits = Bits::default();
        for (leaf, value) in values.into_iter().enumerate().take(3) {
            tree.code(leaf, value + 1, &mut bits);
        }
        // 01111, 001, 101.
        assert_eq!((bits.bytes.as_slice(), bits.byte, bits.count), (&[0b0111_1001][..], 0b101, 3));
    }

    #[test]
    fn behind_a_byte_of_ones_a_bit_is_left_out() {
        let mut bits = Bits::default();
        bits.put(0xFFFF, 16);
        assert_eq!(bits.finish(), [0xFF, 0x7F, 0x80]);
        let mut bits = Bits::default();
        bits.put(0xFF, 8);
        assert_eq!(bits.finish(), [0xFF, 0]);
    }
}
