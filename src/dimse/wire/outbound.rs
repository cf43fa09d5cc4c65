//! What is to be written to a peer: a queue of PDUs that one vectored write empties, and the data set that is
//! being cut into PDVs while it comes.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::AsyncWrite;
use tokio_util::io::poll_write_buf;

use crate::dimse::pdu::kind;

/// Largest fragment that is written in one PDV, whatever the peer takes.
const MAX_FRAGMENT: usize = 1 << 20;
/// Smallest fragment size: a peer that announces less than this (PS3.8 D.1 sets no minimum) is sent this much.
const MIN_FRAGMENT: usize = 128;

/// Largest fragment of a data set that comes in pieces: it leaves when so much of it is there.
const MAX_STREAMED: usize = 128 << 10;
/// Most pieces that wait for their fragment to be full: a source that gives single bytes must not be held in
/// thousands of handles.
const MAX_PIECES: usize = 256;

/// What is to be written, in order.
#[derive(Debug)]
pub struct Outbound {
    queue: VecDeque<Bytes>,
    length: usize,
    fragment: usize,
    /// Pieces of a data set that are not in a PDV yet.
    pieces: VecDeque<Bytes>,
    pieces_length: usize,
    /// The bytes of the data set so far are odd in number.
    pieces_odd: bool,
}

impl Outbound {
    /// An empty queue for a peer that takes `max_pdu` bytes in the variable field of a P-DATA-TF PDU; 0: any.
    pub fn new(max_pdu: u32) -> Self {
        let fragment = match max_pdu as usize {
            0 => MAX_FRAGMENT,
            n => n.saturating_sub(6).clamp(MIN_FRAGMENT, MAX_FRAGMENT) & !1,
        };
        let (queue, pieces) = (VecDeque::new(), VecDeque::new());
        Self { queue, length: 0, fragment, pieces, pieces_length: 0, pieces_odd: false }
    }

    /// Bytes of PDUs that are not written yet.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether everything is written.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Adds a whole PDU.
    pub fn push(&mut self, pdu: Bytes) {
        self.length += pdu.len();
        self.queue.push_back(pdu);
    }

    /// Adds a command or data set, or a piece of one, cut into PDVs. The bytes themselves are not copied.
    pub fn push_pdvs(&mut self, context: u8, command: bool, last: bool, mut bytes: Bytes) {
        loop {
            let part = bytes.split_to(bytes.len().min(self.fragment));
            let control = u8::from(command) | if last && bytes.is_empty() { 2 } else { 0 };
            self.push_header(context, control, part.len());
            if !part.is_empty() {
                self.push(part);
            }
            if bytes.is_empty() {
                return;
            }
        }
    }

    /// Adds a piece of a data set that comes in pieces of any length. They are gathered, uncopied, into PDVs that
    /// are as long as the peer takes them; every one but the last has an even length, as PS3.8 E.2 has it.
    pub fn push_piece(&mut self, context: u8, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.pieces_length += piece.len();
        self.pieces_odd ^= piece.len() % 2 == 1;
        self.pieces.push_back(piece);
        let full = self.fragment.min(MAX_STREAMED);
        // What fills a fragment exactly may be the last one, which is flagged.
        while self.pieces_length > full {
            self.cut(context, full, false);
        }
        if self.pieces.len() > MAX_PIECES {
            self.let_go(context);
        }
    }

    /// Makes a PDV of the pieces that wait for more, but for a byte or two, as the last PDV is not to be empty.
    pub fn let_go(&mut self, context: u8) {
        let length = self.pieces_length.saturating_sub(1) & !1;
        if length > 0 {
            self.cut(context, length, false);
        }
    }

    /// Ends the data set that came in pieces: the last PDV. One of an odd length, as a deflated one may have, is
    /// padded (PS3.5 A.5): no peer takes an odd PDV.
    pub fn finish_pieces(&mut self, context: u8) {
        if std::mem::take(&mut self.pieces_odd) {
            self.pieces_length += 1;
            self.pieces.push_back(Bytes::from_static(&[0]));
        }
        self.cut(context, self.pieces_length, true);
    }

    /// Makes a PDV of the first `length` bytes that wait.
    fn cut(&mut self, context: u8, length: usize, last: bool) {
        self.push_header(context, if last { 2 } else { 0 }, length);
        self.pieces_length -= length;
        let mut missing = length;
        while missing > 0
            && let Some(piece) = self.pieces.front_mut()
        {
            let part = piece.split_to(piece.len().min(missing));
            if piece.is_empty() {
                self.pieces.pop_front();
            }
            missing -= part.len();
            self.push(part);
        }
    }

    fn push_header(&mut self, context: u8, control: u8, length: usize) {
        let mut header = BytesMut::with_capacity(12);
        header.put_slice(&[kind::P_DATA, 0]);
        header.put_u32(length as u32 + 6);
        header.put_u32(length as u32 + 2);
        header.put_slice(&[context, control]);
        self.push(header.freeze());
    }

    /// Writes until the queue is empty.
    pub fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        io: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while !self.is_empty() {
            if ready!(poll_write_buf(Pin::new(&mut *io), cx, self))? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Pin::new(io).poll_flush(cx)
    }
}

impl Buf for Outbound {
    fn remaining(&self) -> usize {
        self.length
    }

    fn chunk(&self) -> &[u8] {
        self.queue.front().map_or(&[], |b| b.as_ref())
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut used = 0;
        for (slice, bytes) in slices.iter_mut().zip(&self.queue) {
            *slice = IoSlice::new(bytes);
            used += 1;
        }
        used
    }

    fn advance(&mut self, mut count: usize) {
        self.length -= count;
        while count > 0 {
            let front = self.queue.front_mut().expect("no more is advanced than the queue holds");
            if front.len() > count {
                front.advance(count);
                return;
            }
            count -= front.len();
            self.queue.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The fragments of a queue, and whether each is flagged as the last.
    fn fragments(out: &mut Outbound) -> Vec<(Vec<u8>, bool)> {
        let mut wire = out.copy_to_bytes(out.remaining());
        let mut fragments = Vec::new();
        while !wire.is_empty() {
            assert_eq!(wire.get_u16(), 0x0400);
            let pdu = wire.get_u32();
            let pdv = wire.get_u32();
            assert_eq!((pdu, wire.get_u8()), (pdv + 4, 7));
            let control = wire.get_u8();
            fragments.push((wire.split_to(pdv as usize - 2).to_vec(), control == 2));
        }
        fragments
    }

    proptest! {
        #[test]
        fn pieces_become_even_fragments_of_which_the_last_alone_is_flagged_and_none_is_empty(
            sizes in proptest::collection::vec(0_usize..900, 1..40),
            let_go in proptest::collection::vec(any::<bool>(), 40),
            max_pdu in prop_oneof![Just(0_u32), 1_u32..1000],
        ) {
            let mut out = Outbound::new(max_pdu);
            let mut all = Vec::new();
            for (size, let_go) in sizes.into_iter().zip(let_go) {
                let piece: Vec<u8> = (0..size).map(|n| (all.len() + n) as u8).collect();
                all.extend_from_slice(&piece);
                out.push_piece(7, piece.into());
                if let_go {
                    out.let_go(7);
                }
            }
            out.finish_pieces(7);
            let fragments = fragments(&mut out);
            let (last, others) = fragments.split_last().unwrap();
            prop_assert!(last.1 && (all.is_empty() || !last.0.is_empty()));
            for (fragment, flagged) in others {
                prop_assert!(!flagged && !fragment.is_empty() && fragment.len() % 2 == 0);
            }
            prop_assert!(fragments.iter().all(|(f, _)| f.len() <= out.fragment && f.len() % 2 == 0));
            if all.len() % 2 == 1 {
                all.push(0);
            }
            prop_assert_eq!(fragments.into_iter().flat_map(|(f, _)| f).collect::<Vec<_>>(), all);
        }
    }

    #[test]
    fn hazard_single_bytes_are_not_held_in_thousands_of_handles() {
        let mut out = Outbound::new(0);
        for _ in 0..10 * MAX_PIECES {
            out.push_piece(7, Bytes::from_static(b"1"));
            assert!(out.pieces.len() <= MAX_PIECES);
        }
    }
}
