//! What comes off a DIMSE connection: frames, association PDUs and command sets. No panic, and bounded frames.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use gantry::dimse::command::Command;
use gantry::dimse::pdu;
use gantry::dimse::wire::{Frame, FrameReader};

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let _ = pdu::decode_associate_rq(data);
    let _ = pdu::decode_associate_ac(data);
    let _ = Command::decode(data);
    let mut io = pin!(data);
    let mut reader = FrameReader::default();
    let mut context = Context::from_waker(Waker::noop());
    let mut passed = 0;
    // A slice is always ready: it ends with an error, that of its end at the latest.
    while let Poll::Ready(Ok(frame)) = reader.poll_frame(&mut io, &mut context) {
        passed += match frame {
            Frame::Fragment { bytes, .. } | Frame::Control(_, bytes) => bytes.len(),
        };
        assert!(passed <= data.len());
    }
}
