//! P-DATA framing on `Bytes` (PS3.8 9.3.5, Annex E): what came off the socket is passed on without a copy,
//! parts of a PDV at once; what goes out is a queue that one vectored write empties.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::AsyncRead;
use tokio_util::io::poll_read_buf;

pub use self::outbound::Outbound;
use super::pdu::{MAX_ASSOCIATE_LENGTH, kind};
use crate::net::Block;

mod outbound;

/// Largest P-DATA-TF PDU that is read. We announce less; some peers overstep what was announced, and as
/// nothing is gathered it costs nothing to be patient.
const MAX_DATA_LENGTH: u32 = 64 << 20;
/// Largest PDU of the other kinds. They have 4 bytes.
const MAX_CONTROL_LENGTH: u32 = 1024;
/// What is wrong where one end has TLS and the other has not.
pub const SPEAKS_TLS: &str = "it speaks TLS here and we do not: TLS is for both ends or for none";
/// What the wire gives: a piece of a PDV, or another PDU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A piece of a presentation data value; never empty unless it is the last.
    Fragment {
        /// Presentation context ID.
        context: u8,
        /// Of a command set; else of a data set.
        command: bool,
        /// The last piece of its command or data set.
        last: bool,
        /// The bytes.
        bytes: Bytes,
    },
    /// Any other PDU: its type and body.
    Control(u8, Bytes),
}

/// The wire cannot be read any further.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The connection ended, perhaps within a PDU.
    #[error("the connection was closed")]
    Closed,
    /// What came is not the upper layer protocol.
    #[error("{0}")]
    Protocol(&'static str),
}

/// Reads frames. All state is in here, so that a dropped call of [`FrameReader::poll_frame`] loses nothing.
#[derive(Debug, Default)]
pub struct FrameReader {
    buffer: Block,
    /// Bytes of the current P-DATA-TF PDU that are not read yet.
    pdu_left: u32,
    /// The current PDV: context, message control header, bytes left.
    pdv: Option<(u8, u8, u32)>,
}

impl FrameReader {
    /// The next frame.
    pub fn poll_frame<R: AsyncRead + Unpin>(
        &mut self,
        io: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Frame, WireError>> {
        loop {
            if let Some(frame) = self.parse()? {
                return Poll::Ready(Ok(frame));
            }
            self.buffer.make_room();
            if ready!(poll_read_buf(Pin::new(&mut *io), cx, &mut *self.buffer))? == 0 {
                return Poll::Ready(Err(WireError::Closed));
            }
        }
    }

    /// Whether bytes have been read that no frame was made of yet.
    pub fn has_leftover(&self) -> bool {
        !self.buffer.is_empty() || self.pdu_left > 0
    }

    /// The next frame of what has been read; empty pieces, which say nothing, are passed over.
    fn parse(&mut self) -> Result<Option<Frame>, WireError> {
        loop {
            if let Some((context, control, left)) = self.pdv {
                if self.buffer.is_empty() && left > 0 {
                    return Ok(None);
                }
                let length = left.min(u32::try_from(self.buffer.len()).unwrap_or(u32::MAX));
                let bytes = self.buffer.split_to(length as usize).freeze();
                self.pdu_left -= length;
                self.pdv = (left > length).then_some((context, control, left - length));
                let last = control & 2 != 0 && self.pdv.is_none();
                if !bytes.is_empty() || last {
                    return Ok(Some(Frame::Fragment { context, command: control & 1 != 0, last, bytes }));
                }
            }
            if self.pdu_left == 0
                && let Some(control) = self.parse_header()?
            {
                return Ok(Some(control));
            }
            if self.pdu_left == 0 || !self.parse_pdv_header()? {
                return Ok(None);
            }
        }
    }

    /// Reads the header of a PDU, or a whole one that is no P-DATA-TF, if it is here.
    fn parse_header(&mut self) -> Result<Option<Frame>, WireError> {
        let Some(&[pdu_type, _, a, b, c, d]) = self.buffer.first_chunk() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]);
        match pdu_type {
            kind::P_DATA => {
                if !(6..=MAX_DATA_LENGTH).contains(&length) {
                    return Err(WireError::Protocol("a P-DATA-TF PDU of impossible length"));
                }
                self.buffer.advance(6);
                self.pdu_left = length;
                Ok(None)
            }
            kind::ASSOCIATE_RQ..=kind::ABORT => {
                let associate = matches!(pdu_type, kind::ASSOCIATE_RQ | kind::ASSOCIATE_AC);
                if length > if associate { MAX_ASSOCIATE_LENGTH } else { MAX_CONTROL_LENGTH } {
                    return Err(WireError::Protocol("a PDU of impossible length"));
                }
                if self.buffer.len() < 6 + length as usize {
                    return Ok(None);
                }
                self.buffer.advance(6);
                Ok(Some(Frame::Control(pdu_type, self.buffer.split_to(length as usize).freeze())))
            }
            // A handshake, or the alert of who has taken our PDU for one (RFC 8446 B.1).
            0x15 | 0x16 => Err(WireError::Protocol(SPEAKS_TLS)),
            _ => Err(WireError::Protocol("a PDU of unknown type")),
        }
    }

    /// Reads the header of a PDV. `false`: it is not here yet.
    fn parse_pdv_header(&mut self) -> Result<bool, WireError> {
        let Some(&[a, b, c, d, context, control]) = self.buffer.first_chunk() else {
            // Too short for the header of a PDV, and nothing more belongs to this PDU.
            return if self.pdu_left < 6 {
                Err(WireError::Protocol("a P-DATA-TF PDU with a cut PDV"))
            } else {
                Ok(false)
            };
        };
        let length = u32::from_be_bytes([a, b, c, d]);
        if length < 2 || length > self.pdu_left.saturating_sub(4) {
            return Err(WireError::Protocol("a PDV of impossible length"));
        }
        self.buffer.advance(6);
        self.pdu_left -= 6;
        self.pdv = Some((context, control, length - 2));
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future::poll_fn;

    use bytes::BufMut;
    use proptest::prelude::*;

    use super::*;

    /// Reads everything in `bytes`, which the reader gets in the sizes given.
    fn read_all(bytes: &[u8], sizes: &[usize]) -> (Vec<Frame>, WireError) {
        let mut io = tokio_test_io(bytes, sizes);
        let mut reader = FrameReader::default();
        let mut frames = Vec::new();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        loop {
            match runtime.block_on(poll_fn(|cx| reader.poll_frame(&mut io, cx))) {
                Ok(frame) => frames.push(frame),
                Err(error) => return (frames, error),
            }
        }
    }

    struct Pieces(VecDeque<Vec<u8>>);

    fn tokio_test_io(bytes: &[u8], sizes: &[usize]) -> Pieces {
        let mut rest = bytes;
        let mut pieces = VecDeque::new();
        for size in sizes {
            let (piece, tail) = rest.split_at((*size).min(rest.len()));
            pieces.push_back(piece.to_vec());
            rest = tail;
        }
        pieces.push_back(rest.to_vec());
        pieces.retain(|piece| !piece.is_empty());
        Pieces(pieces)
    }

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut tokio::io::ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if let Some(piece) = self.0.pop_front() {
                let (now, later) = piece.split_at(piece.len().min(into.remaining()));
                into.put_slice(now);
                if !later.is_empty() {
                    self.0.push_front(later.to_vec());
                }
            }
            Poll::Ready(Ok(()))
        }
    }

    /// Glues the pieces of each message together.
    fn messages(frames: &[Frame]) -> Vec<(u8, bool, Vec<u8>)> {
        let mut out = Vec::new();
        let mut current = Vec::new();
        for frame in frames {
            if let Frame::Fragment { context, command, last, bytes } = frame {
                current.extend_from_slice(bytes);
                if *last {
                    out.push((*context, *command, std::mem::take(&mut current)));
                }
            }
        }
        out
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_in_whatever_pieces_it_comes(
            command in proptest::collection::vec(any::<u8>(), 0..300),
            data in proptest::collection::vec(any::<u8>(), 0..5000),
            max_pdu in prop_oneof![Just(0_u32), 1_u32..6000],
            sizes in proptest::collection::vec(1_usize..700, 0..40),
        ) {
            let mut out = Outbound::new(max_pdu);
            out.push_pdvs(3, true, true, Bytes::from(command.clone()));
            out.push_pdvs(3, false, true, Bytes::from(data.clone()));
            let mut wire = vec![0; out.remaining()];
            out.copy_to_slice(&mut wire);
            let (frames, end) = read_all(&wire, &sizes);
            prop_assert!(matches!(end, WireError::Closed));
            prop_assert_eq!(messages(&frames), vec![(3, true, command), (3, false, data)]);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), kind in 0_u8..9) {
            let mut wire = vec![kind, 0, 0, 0];
            wire.extend(bytes);
            read_all(&wire, &[7, 1, 30]);
        }
    }

    #[test]
    fn hazard_pdu_length_4_gib_and_pdv_length_0_or_1_are_protocol_errors() {
        for wire in [
            &[4, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 2, 1, 3][..],
            &[1, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0, 1][..],
            &[4, 0, 0, 0, 0, 6, 0, 0, 0, 0, 1, 3][..],
            &[4, 0, 0, 0, 0, 6, 0, 0, 0, 1, 1, 3][..],
            &[4, 0, 0, 0, 0, 6, 0, 0, 0, 9, 1, 3][..],
            &[4, 0, 0, 0, 0, 0][..],
            &[9, 0, 0, 0, 0, 0][..],
        ] {
            let (frames, end) = read_all(wire, &[]);
            assert!(frames.is_empty() && matches!(end, WireError::Protocol(_)), "{wire:?}: {end:?}");
        }
    }

    #[test]
    fn hazard_a_flood_of_empty_pdvs_is_passed_over_without_deepening_the_stack() {
        let pdvs = [0, 0, 0, 2, 1, 0].repeat(200_000);
        let mut wire = vec![kind::P_DATA, 0];
        wire.put_u32(pdvs.len() as u32 + 7);
        wire.extend(pdvs);
        wire.extend([0, 0, 0, 3, 1, 2, b'!']);
        wire.extend([kind::P_DATA, 0, 0, 0, 0, 6, 0, 0, 0, 2, 1, 0].repeat(100_000));
        let (frames, end) = read_all(&wire, &[]);
        assert_eq!(messages(&frames), [(1, false, b"!".to_vec())]);
        assert!(matches!(end, WireError::Closed));
    }

    #[test]
    fn hazard_peer_max_length_1_gets_small_pdvs_and_0_gets_large_ones() {
        let mut tiny = Outbound::new(1);
        tiny.push_pdvs(1, false, true, Bytes::from(vec![0; 1000]));
        assert_eq!(tiny.len(), 1000 + 8 * 12);
        let mut unlimited = Outbound::new(0);
        unlimited.push_pdvs(1, false, true, Bytes::from(vec![0; 3 << 20]));
        assert_eq!(unlimited.len(), (3 << 20) + 3 * 12);
    }

    #[test]
    fn half_a_pdu_and_the_end_of_the_connection_is_closed_not_complete() {
        let mut out = Outbound::new(0);
        out.push_pdvs(1, false, true, Bytes::from_static(b"0123456789"));
        let mut wire = vec![0; out.remaining()];
        out.copy_to_slice(&mut wire);
        for cut in 0..wire.len() {
            let (frames, end) = read_all(&wire[..cut], &[]);
            assert!(matches!(end, WireError::Closed));
            assert!(messages(&frames).is_empty(), "cut at {cut} looked complete");
        }
    }
}
