//! Memory that sockets are read into, used again as soon as nothing of what was read is held any more.
//!
//! What a socket gives is passed on in slices of the block that it was read into, so that a block is free when its last
//! slice is. A new one from the system costs a page fault for every 4 KiB, which is as much as the kernel takes
//! to copy the bytes twice; one that has been used is there, and is mostly in the processor's cache.

use std::collections::VecDeque;
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
/// Most blocks that are remembered because slices of them are held, as by a cache: 4 GiB.
const MOST_LENT: usize = 16 << 10;
/// How many of those that have been lent for longest are looked at when a block is wanted. A cache lets the oldest go
/// first.
const LOOKED_AT: usize = 8;

/// Blocks that have been used.
static SPARE: Mutex<Spare> = Mutex::new(Spare { latest: Vec::new(), lent: VecDeque::new() });

/// Blocks that have been used. Some of them may still be held in slices: those are passed over.
#[derive(Debug)]
struct Spare {
    /// Those used last.
    latest: Vec<BytesMut>,
    /// Those that were still held when others came after them, the longest first. What a cache lets go of is used again
    /// here; given back to the allocator, which keeps it for the thread that asked for it, it would stay resident
    /// beside what another thread asks for.
    lent: VecDeque<BytesMut>,
}

impl Spare {
    fn put(&mut self, bytes: BytesMut) -> Option<BytesMut> {
        let mut surplus = None;
        if self.latest.len() >= MOST_SPARE {
            let mut oldest = self.latest.remove(0);
            if oldest.try_reclaim(SIZE) {
                surplus = Some(oldest);
            } else {
                self.lent.push_back(oldest);
                surplus = if self.lent.len() > MOST_LENT { self.lent.pop_front() } else { None };
            }
        }
        self.latest.push(bytes);
        surplus
    }

    /// One that nobody holds anything of: of those used last the last one, as it is the likeliest to be in the
    /// processor's cache.
    fn take(&mut self) -> Option<BytesMut> {
        if let Some(at) = self.latest.iter_mut().rposition(|bytes| bytes.try_reclaim(SIZE)) {
            return Some(self.latest.remove(at));
        }
        for _ in 0..LOOKED_AT.min(self.lent.len()) {
            let mut bytes = self.lent.pop_front()?;
            if bytes.try_reclaim(SIZE) {
                return Some(bytes);
            }
            self.lent.push_back(bytes);
        }
        None
    }
}

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
        let surplus = SPARE.lock().unwrap_or_else(PoisonError::into_inner).put(bytes);
        drop(surplus);
    }
}

/// A block that nobody holds anything of.
fn take() -> BytesMut {
    let used = SPARE.lock().unwrap_or_else(PoisonError::into_inner).take();
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
    fn what_was_kept_for_long_is_used_again_when_it_is_let_go_of() {
        let mut spare = Spare { latest: Vec::new(), lent: VecDeque::new() };
        let lend = || {
            let mut bytes = BytesMut::with_capacity(SIZE);
            bytes.resize(SIZE, 1);
            let slice = bytes.split().freeze();
            (bytes, slice)
        };
        let (blocks, mut slices): (Vec<_>, Vec<_>) = (0..3 * MOST_SPARE).map(|_| lend()).unzip();
        blocks.into_iter().for_each(|bytes| assert!(spare.put(bytes).is_none()));
        assert!(spare.take().is_none());
        slices.truncate(slices.len() - MOST_SPARE);
        for _ in 0..MOST_SPARE {
            assert!(spare.take().is_some());
        }
        assert!(spare.take().is_none());
        slices.clear();
        for _ in 0..2 * MOST_SPARE {
            assert!(spare.take().is_some());
        }
        assert!(spare.take().is_none() && spare.latest.is_empty() && spare.lent.is_empty());
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
        assert!(SPARE.lock().unwrap().latest.len() <= MOST_SPARE);
        let mut outsized = Block::default();
        outsized.resize(3 * SIZE, 0);
        outsized.make_room();
        drop(outsized);
        assert!(SPARE.lock().unwrap().latest.iter_mut().all(|b| b.capacity() <= 2 * SIZE));
    }
}
