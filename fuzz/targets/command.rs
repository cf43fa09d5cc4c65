//! Command sets (PS3.7 E): no panic; what was read is written, and read again the same.

use gantry::dimse::command::Command;

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let Ok(first) = Command::decode(data) else { return };
    let encoded = first.encode();
    let second = Command::decode(&encoded).expect("what was written can be read");
    assert_eq!(second.encode(), encoded);
    let _ = (first.response(0), first.is_response(), first.number(0x1008));
}
