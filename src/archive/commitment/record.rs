//! How a transaction is written into the ledger: fields with their lengths after a version, so that a damaged one is
//! known as such.

use std::time::{Duration, SystemTime};

use super::{Asker, Event};
use crate::dicom::{AeTitle, Uid};

/// First byte of every record.
const VERSION: u8 = 1;

/// What is known of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// Who asked.
    pub(super) asker: Asker,
    /// Since when it is in its state.
    pub(super) since: SystemTime,
    /// How far it is.
    pub(super) state: State,
}

/// How far a transaction is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// The archive has not reported yet.
    Waiting,
    /// It has; the client does not know. The length is that of the report's data set.
    Reported(Event, usize),
    /// The client knows. An archive that reports once more is told that it is well.
    Delivered,
}

impl Record {
    /// As bytes.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let since = self.since.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        out.extend(u64::try_from(since.as_millis()).unwrap_or(u64::MAX).to_le_bytes());
        put(&mut out, self.asker.client.as_str());
        put(&mut out, self.asker.called.as_str());
        put(&mut out, self.asker.transfer_syntax.as_str());
        match &self.state {
            State::Waiting => out.push(0),
            State::Reported(event, length) => {
                out.push(1);
                out.extend(event.event_type.to_le_bytes());
                put(&mut out, event.transfer_syntax.as_str());
                out.extend(u32::try_from(*length).unwrap_or(u32::MAX).to_le_bytes());
            }
            State::Delivered => out.push(2),
        }
        out
    }

    /// From bytes; `None`: they are damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [VERSION] = *take::<1>(&mut rest)? else { return None };
        let since = Duration::from_millis(u64::from_le_bytes(*take(&mut rest)?));
        let since = SystemTime::UNIX_EPOCH.checked_add(since)?;
        let asker = Asker {
            client: text(&mut rest)?.parse::<AeTitle>().ok()?,
            called: text(&mut rest)?.parse::<AeTitle>().ok()?,
            transfer_syntax: text(&mut rest)?.parse::<Uid>().ok()?,
        };
        let state = match take::<1>(&mut rest)? {
            [0] => State::Waiting,
            [1] => {
                let event_type = u16::from_le_bytes(*take(&mut rest)?);
                let transfer_syntax = text(&mut rest)?.parse().ok()?;
                let length = u32::from_le_bytes(*take(&mut rest)?);
                State::Reported(Event { event_type, transfer_syntax }, usize::try_from(length).ok()?)
            }
            [2] => State::Delivered,
            _ => return None,
        };
        rest.is_empty().then_some(Self { asker, since, state })
    }
}

/// Titles and UIDs are shorter than 65 characters.
fn put(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(text.as_bytes());
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(taken)
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let [length] = *take::<1>(rest)?;
    let (taken, left) = rest.split_at_checked(length.into())?;
    *rest = left;
    std::str::from_utf8(taken).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(state: State) -> Record {
        let asker = Asker {
            client: "MODALITY".parse().unwrap(),
            called: "GANTRY".parse().unwrap(),
            transfer_syntax: "1.2.840.10008.1.2".parse().unwrap(),
        };
        Record { asker, since: SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_123), state }
    }

    #[test]
    fn what_is_written_is_read_and_a_piece_of_it_is_damaged() {
        let event = Event { event_type: 2, transfer_syntax: "1.2.840.10008.1.2.1".parse().unwrap() };
        for state in [State::Waiting, State::Reported(event, 4 << 20), State::Delivered] {
            let record = record(state);
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Some(record));
            for cut in 0..bytes.len() {
                assert_eq!(Record::decode(&bytes[..cut]), None, "cut at {cut}");
            }
            assert_eq!(Record::decode(&[&bytes[..], &[0]].concat()), None);
            assert_eq!(Record::decode(&[&[9], &bytes[1..]].concat()), None, "another version");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Record::decode(&bytes);
            let _ = Record::decode(&[&[VERSION], &bytes[..]].concat());
        }
    }
}
