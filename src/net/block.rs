//! Memory that sockets are read into, used again as soon as nothing of what was read is held any more.
//!
//! What a socket gives is passed on in slices of the block that it was read into, so that a block is free when its last
//! slice is. A new one from the system costs a page fault for every 4 KiB, which is as much as the kernel takes
//! to copy the bytes twice; one that has been used is there, and is mostly in the processor's cache.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use bytes::BytesMut;

/// Size of a block, in bytes. Reads of this size cost a system call for what a fast network brings in a tenth of a
/// millisecond.
const SIZE: usize = 256 << 10;
/// A block with less room than this is given up for another, in bytes.
const LEAST_ROOM: usize = 32 << 10;
/// Most blocks that are kept for use, over all connections: 8 MiB, which is what a retrieval has waiting for its
/// reader.
const MOST_SPARE: usize = 32;

/// Blocks that have been used. Some of them may still be held in slices: those are passed over.
static SPARE: Mutex<Vec<BytesMut>> = Mutex::new(Vec::new());

/// A block that a socket is read into. What has been read and not been split off stands in it.
#[derive(Debug)]
pub struct Block {
    bytes: BytesMut,
    /// It has grown, for something that must be in one piece: too large to keep.
    outsized: bool,
}

impl Default for Block {
    /// An empty block, used or new.
    fn default() -> Self {
        Self { bytes: take(), outsized: false }
    }
}

impl Block {
    /// Sees to it that a read has room. What has not been split off stays, in one piece, however long it is.
    pub fn make_room(&mut self) {
        if self.bytes.capacity() - self.bytes.len() >= LEAST_ROOM {
            return;
        }
        if self.bytes.len() > LEAST_ROOM {
            self.outsized = true;
            self.bytes.reserve(SIZE);
            return;
        }
        let mut next = Self::default();
        next.bytes.extend_from_slice(&self.bytes);
        // The one that is full goes to the others when it is dropped.
        *self = next;
    }
}

impl Deref for Block {
    type Target = BytesMut;

    fn deref(&self) -> &BytesMut {
        &self.bytes
    }
}

impl DerefMut for Block {
    fn deref_mut(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if self.outsized {
            return;
        }
        bytes.clear();
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        // The one that has waited longest is the likeliest to be kept in slices, by a cache for example.
        let oldest = (spare.len() >= MOST_SPARE).then(|| spare.remove(0));
        spare.push(bytes);
        drop(spare);
        drop(oldest);
    }
}

/// A block that nobody holds anything of: the one used last, as it is the likeliest to be in the processor's cache.
fn take() -> BytesMut {
    let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let free = spare.iter_mut().rposition(|bytes| bytes.try_reclaim(SIZE));
    let used = free.map(|at| spare.remove(at));
    drop(spare);
    used.unwrap_or_else(|| BytesMut::with_capacity(SIZE))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fills the block and splits off all of it.
    fn fill(block: &mut Block) -> bytes::Bytes {
        let room = block.capacity();
        block.resize(room, 7);
        block.split().freeze()
    }

    #[test]
    fn hazard_a_block_is_not_used_again_while_a_slice_of_it_is_held() {
        let mut block = Block::default();
        let slice = fill(&mut block);
        // Whatever other tests do with the spare blocks meanwhile, none of these may be the first.
        let mut others: Vec<Block> = (0..2 * MOST_SPARE).map(|_| Block::default()).collect();
        block.make_room();
        others.push(block);
        for other in &mut others {
            let room = other.capacity();
            other.resize(room, 9);
        }
        assert!(slice.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_block_is_used_again_when_its_last_slice_is_dropped() {
        let mut bytes = BytesMut::with_capacity(SIZE);
        let address = bytes.as_ptr();
        bytes.resize(SIZE, 1);
        let slice = bytes.split().freeze();
        assert!(!bytes.try_reclaim(SIZE));
        drop(slice);
        assert!(bytes.try_reclaim(SIZE) && bytes.as_ptr() == address);
    }

    #[test]
    fn what_has_not_been_split_off_moves_along_and_stays_in_one_piece() {
        let mut block = Block::default();
        for length in [10, LEAST_ROOM, LEAST_ROOM + 1, 3 * SIZE] {
            block.clear();
            block.resize(length, 5);
            block.make_room();
            assert!(block.capacity() - block.len() >= LEAST_ROOM);
            assert!(block.len() == length && block.iter().all(|byte| *byte == 5));
        }
    }

    #[test]
    fn hazard_what_is_kept_for_use_is_bounded() {
        let blocks: Vec<Block> = (0..2 * MOST_SPARE).map(|_| Block::default()).collect();
        drop(blocks);
        assert!(SPARE.lock().unwrap().len() <= MOST_SPARE);
        let mut outsized = Block::default();
        outsized.resize(3 * SIZE, 0);
        outsized.make_room();
        drop(outsized);
        assert!(SPARE.lock().unwrap().iter_mut().all(|b| b.capacity() <= 2 * SIZE));
    }
}
