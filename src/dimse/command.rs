//! Command sets: what a DIMSE message asks or answers (PS3.7 chapters 6.3 and 9, Annex E), always in
//! Implicit VR Little Endian.

use bytes::{BufMut, Bytes, BytesMut};

use crate::dicom::{AeTitle, Uid};

/// Largest command set of a requestor that is read, in bytes. Real ones have some hundred.
pub const MAX_REQUEST_LENGTH: usize = 64 << 10;
/// Largest command set of an acceptor that is read, in bytes. DCMTK, and with it Orthanc, puts the list of
/// failed UIDs into its responses: 60,000 of them fit.
pub const MAX_RESPONSE_LENGTH: usize = 4 << 20;
/// Longest error comment that is kept, in characters (VR LO, PS3.7 Annex C).
const MAX_COMMENT: usize = 64;

/// Values of Command Field (0000,0100) (PS3.7 E.1).
pub mod field {
    /// C-STORE-RQ.
    pub const C_STORE_RQ: u16 = 0x0001;
    /// C-GET-RQ.
    pub const C_GET_RQ: u16 = 0x0010;
    /// C-FIND-RQ.
    pub const C_FIND_RQ: u16 = 0x0020;
    /// C-MOVE-RQ.
    pub const C_MOVE_RQ: u16 = 0x0021;
    /// C-ECHO-RQ.
    pub const C_ECHO_RQ: u16 = 0x0030;
    /// N-EVENT-REPORT-RQ.
    pub const N_EVENT_REPORT_RQ: u16 = 0x0100;
    /// N-GET-RQ.
    pub const N_GET_RQ: u16 = 0x0110;
    /// N-SET-RQ.
    pub const N_SET_RQ: u16 = 0x0120;
    /// N-ACTION-RQ.
    pub const N_ACTION_RQ: u16 = 0x0130;
    /// N-CREATE-RQ.
    pub const N_CREATE_RQ: u16 = 0x0140;
    /// N-DELETE-RQ.
    pub const N_DELETE_RQ: u16 = 0x0150;
    /// C-CANCEL-RQ.
    pub const C_CANCEL_RQ: u16 = 0x0FFF;
    /// Set in every response: request | RESPONSE.
    pub const RESPONSE: u16 = 0x8000;

    /// The name of a request; `other`: the standard has none.
    pub fn name(request: u16) -> &'static str {
        match request {
            C_STORE_RQ => "C-STORE",
            C_GET_RQ => "C-GET",
            C_FIND_RQ => "C-FIND",
            C_MOVE_RQ => "C-MOVE",
            C_ECHO_RQ => "C-ECHO",
            N_EVENT_REPORT_RQ => "N-EVENT-REPORT",
            N_GET_RQ => "N-GET",
            N_SET_RQ => "N-SET",
            N_ACTION_RQ => "N-ACTION",
            N_CREATE_RQ => "N-CREATE",
            N_DELETE_RQ => "N-DELETE",
            _ => "other",
        }
    }
}

/// Command Data Set Type (0000,0800): no data set follows.
const NO_DATA_SET: u16 = 0x0101;
/// Any other value says that one follows; this one is customary.
const DATA_SET: u16 = 0x0001;

/// A command set. Which fields are present depends on the Command Field; absent ones are `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Command {
    /// Command Field (0000,0100), see [`field`].
    pub field: u16,
    /// Affected SOP Class UID (0000,0002), or Requested SOP Class UID (0000,0003).
    pub sop_class: Option<Uid>,
    /// Message ID (0000,0110) of a request; in a response and a C-CANCEL, Message ID Being Responded To
    /// (0000,0120).
    pub message_id: u16,
    /// Whether a data set follows, by Command Data Set Type (0000,0800).
    pub has_data_set: bool,
    /// Priority (0000,0700): 0 medium, 1 high, 2 low.
    pub priority: Option<u16>,
    /// Status (0000,0900), in responses.
    pub status: Option<u16>,
    /// Affected SOP Instance UID (0000,1000), or Requested SOP Instance UID (0000,1001).
    pub sop_instance: Option<Uid>,
    /// Move Destination (0000,0600).
    pub move_destination: Option<AeTitle>,
    /// Move Originator Application Entity Title (0000,1030).
    pub move_originator: Option<AeTitle>,
    /// Move Originator Message ID (0000,1031).
    pub move_originator_id: Option<u16>,
    /// Number of Remaining Sub-operations (0000,1020).
    pub remaining: Option<u16>,
    /// Number of Completed Sub-operations (0000,1021).
    pub completed: Option<u16>,
    /// Number of Failed Sub-operations (0000,1022).
    pub failed: Option<u16>,
    /// Number of Warning Sub-operations (0000,1023).
    pub warning: Option<u16>,
    /// Error Comment (0000,0902), printable characters only.
    pub comment: Option<String>,
    /// The class and the instance are the Requested ones, (0000,0003) and (0000,1001).
    pub requested: bool,
    /// Elements of group 0000 that have no field here (Event Type ID, Action Type ID, Attribute Identifier List, Error
    /// ID, …), by ascending element numbers.
    pub others: Vec<(u16, Bytes)>,
}

/// The bytes are not a command set; the text says why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed command set: {0}")]
pub struct MalformedCommand(&'static str);

impl Command {
    /// A request without a data set; the caller fills in what its operation needs.
    pub fn request(field: u16, sop_class: &str, message_id: u16) -> Self {
        Self { field, sop_class: sop_class.parse().ok(), message_id, ..Self::default() }
    }

    /// The response to `self` with a status.
    pub fn response(&self, status: u16) -> Self {
        Self {
            field: self.field | field::RESPONSE,
            sop_class: self.sop_class.clone(),
            message_id: self.message_id,
            sop_instance: self.sop_instance.clone(),
            status: Some(status),
            // A response repeats Event Type ID and Action Type ID (PS3.7 10.3.1, 10.3.4).
            others: self.others.iter().filter(|(tag, _)| matches!(tag, 0x1002 | 0x1008)).cloned().collect(),
            ..Self::default()
        }
    }

    /// The value of an element of VR US that has no field here.
    pub fn number(&self, element: u16) -> Option<u16> {
        let (_, value) = self.others.iter().find(|(other, _)| *other == element)?;
        value.first_chunk().map(|v| u16::from_le_bytes(*v))
    }

    /// The C-CANCEL-RQ for a request with this message ID (PS3.7 9.3.2.3).
    pub fn cancel(message_id: u16) -> Self {
        Self { field: field::C_CANCEL_RQ, message_id, ..Self::default() }
    }

    /// Whether this is a response.
    pub fn is_response(&self) -> bool {
        self.field & field::RESPONSE != 0
    }

    /// Encodes the command set with its group length.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        out.put_slice(&[0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
        let start = out.len();
        let responds = self.is_response() || self.field == field::C_CANCEL_RQ;
        let (class, instance) = if self.requested { (0x0003, 0x1001) } else { (0x0002, 0x1000) };
        // In ascending order, with those that have no field here in their places.
        let mut others = self.others.iter().peekable();
        let mut put = |element: u16, put: &dyn Fn(&mut BytesMut, u16)| {
            while let Some((other, value)) = others.next_if(|(other, _)| *other < element) {
                put_padded(&mut out, *other, value, 0);
            }
            put(&mut out, element);
        };
        put(class, &|out, e| put_uid(out, e, self.sop_class.as_ref()));
        put(0x0100, &|out, e| put_u16(out, e, Some(self.field)));
        put(if responds { 0x0120 } else { 0x0110 }, &|out, e| put_u16(out, e, Some(self.message_id)));
        put(0x0600, &|out, e| put_title(out, e, self.move_destination.as_ref()));
        put(0x0700, &|out, e| put_u16(out, e, self.priority));
        let data_set = if self.has_data_set { DATA_SET } else { NO_DATA_SET };
        put(0x0800, &|out, e| put_u16(out, e, Some(data_set)));
        put(0x0900, &|out, e| put_u16(out, e, self.status));
        put(0x0902, &|out, e| put_text(out, e, self.comment.as_deref()));
        put(instance, &|out, e| put_uid(out, e, self.sop_instance.as_ref()));
        put(0x1020, &|out, e| put_u16(out, e, self.remaining));
        put(0x1021, &|out, e| put_u16(out, e, self.completed));
        put(0x1022, &|out, e| put_u16(out, e, self.failed));
        put(0x1023, &|out, e| put_u16(out, e, self.warning));
        put(0x1030, &|out, e| put_title(out, e, self.move_originator.as_ref()));
        put(0x1031, &|out, e| put_u16(out, e, self.move_originator_id));
        put(u16::MAX, &|_, _| {});
        let length = (out.len() - start) as u32;
        out[start - 4..start].copy_from_slice(&length.to_le_bytes());
        out.freeze()
    }

    /// Reads a command set.
    ///
    /// # Errors
    /// An element is longer than what is there, or Command Field, the message ID or Command Data Set Type is
    /// missing.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, MalformedCommand> {
        let mut command = Self::default();
        let (mut field, mut message_id, mut responded_to, mut data_set) = (None, None, None, None);
        let mut others: Vec<(u16, Bytes)> = Vec::new();
        while !bytes.is_empty() {
            let (header, rest) =
                bytes.split_first_chunk::<8>().ok_or(MalformedCommand("an element header is cut short"))?;
            let [g0, g1, e0, e1, l0, l1, l2, l3] = *header;
            let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let (value, rest) =
                rest.split_at_checked(length).ok_or(MalformedCommand("an element is cut short"))?;
            bytes = rest;
            // DCMTK's servers, Orthanc among them, put the Failed SOP Instance UID List (0008,0058) of a failed
            // retrieval here, in place of a data set.
            if (g0, g1) != (0, 0) {
                continue;
            }
            let number = value.first_chunk().map(|v| u16::from_le_bytes(*v));
            let element = u16::from_le_bytes([e0, e1]);
            match element {
                // Group Length, and Length to End of old.
                0x0000 | 0x0001 => {}
                0x0002 => command.sop_class = Uid::from_padded(value).ok(),
                0x0003 => {
                    command.sop_class = Uid::from_padded(value).ok();
                    // One that cannot be read is none, of either kind.
                    command.requested = command.sop_class.is_some();
                }
                0x0100 => field = number,
                0x0110 => message_id = number,
                0x0120 => responded_to = number,
                0x0600 => command.move_destination = title(value),
                0x0700 => command.priority = number,
                0x0800 => data_set = number,
                0x0900 => command.status = number,
                0x0902 => command.comment = comment(value),
                0x1000 | 0x1001 => command.sop_instance = Uid::from_padded(value).ok(),
                0x1020 => command.remaining = number,
                0x1021 => command.completed = number,
                0x1022 => command.failed = number,
                0x1023 => command.warning = number,
                0x1030 => command.move_originator = title(value),
                0x1031 => command.move_originator_id = number,
                _ => others.push((element, Bytes::copy_from_slice(value))),
            }
        }
        others.sort_by_key(|(element, _)| *element);
        command.others = others;
        command.field = field.ok_or(MalformedCommand("no Command Field"))?;
        command.has_data_set = data_set.ok_or(MalformedCommand("no Command Data Set Type"))? != NO_DATA_SET;
        let responds = command.is_response() || command.field == field::C_CANCEL_RQ;
        command.message_id =
            if responds { responded_to } else { message_id }.ok_or(MalformedCommand("no message ID"))?;
        if command.is_response() && command.status.is_none() {
            return Err(MalformedCommand("a response without status"));
        }
        Ok(command)
    }
}

fn put_header(out: &mut BytesMut, element: u16, length: usize) {
    out.put_u16_le(0);
    out.put_u16_le(element);
    out.put_u32_le(length as u32);
}

fn put_u16(out: &mut BytesMut, element: u16, value: Option<u16>) {
    if let Some(value) = value {
        put_header(out, element, 2);
        out.put_u16_le(value);
    }
}

fn put_padded(out: &mut BytesMut, element: u16, value: &[u8], padding: u8) {
    put_header(out, element, value.len().next_multiple_of(2));
    out.put_slice(value);
    if value.len() % 2 == 1 {
        out.put_u8(padding);
    }
}

fn put_uid(out: &mut BytesMut, element: u16, value: Option<&Uid>) {
    if let Some(uid) = value {
        put_padded(out, element, uid.as_str().as_bytes(), 0);
    }
}

fn put_title(out: &mut BytesMut, element: u16, value: Option<&AeTitle>) {
    if let Some(title) = value {
        put_padded(out, element, title.as_str().as_bytes(), b' ');
    }
}

fn put_text(out: &mut BytesMut, element: u16, value: Option<&str>) {
    if let Some(text) = value {
        let ascii: Vec<u8> =
            text.chars().take(MAX_COMMENT).map(|c| if c.is_ascii() { c as u8 } else { b'?' }).collect();
        put_padded(out, element, &ascii, b' ');
    }
}

fn title(value: &[u8]) -> Option<AeTitle> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// An error comment fit for a log line and an error body: printable ASCII, bounded.
fn comment(value: &[u8]) -> Option<String> {
    let printable = value.iter().map(|b| if (0x20..0x7F).contains(b) { char::from(*b) } else { ' ' });
    let text: String = printable.take(MAX_COMMENT).collect();
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_c_move_request_survives_the_round_trip() {
        let mut command = Command::request(field::C_MOVE_RQ, "1.2.840.10008.5.1.4.1.2.2.2", 7);
        command.move_destination = "GANTRY".parse().ok();
        command.priority = Some(0);
        command.has_data_set = true;
        assert_eq!(Command::decode(&command.encode()).unwrap(), command);
    }

    #[test]
    fn a_final_response_keeps_counters_and_comment() {
        let rq = Command::request(field::C_GET_RQ, "1.2.840.10008.5.1.4.1.2.2.3", 9);
        let mut rsp = rq.response(0xB000);
        (rsp.completed, rsp.failed, rsp.warning) = (Some(3), Some(1), Some(0));
        rsp.comment = Some("one is gone".into());
        let read = Command::decode(&rsp.encode()).unwrap();
        assert_eq!(read, rsp);
        assert_eq!((read.message_id, read.is_response()), (9, true));
    }

    #[test]
    fn an_element_outside_group_0000_is_skipped() {
        let rsp = Command::request(field::C_GET_RQ, "1.2.840.10008.5.1.4.1.2.2.3", 9).response(0xC000);
        let mut encoded = rsp.encode().to_vec();
        encoded.extend(b"\x08\0\x58\0\x04\0\0\x001.2\0");
        assert_eq!(Command::decode(&encoded).unwrap(), rsp);
    }

    #[test]
    fn every_element_of_a_normalized_request_survives() {
        let action = Command {
            requested: true,
            sop_instance: "1.2.840.10008.1.20.1.1".parse().ok(),
            has_data_set: true,
            others: vec![
                (0x1005, Bytes::from_static(b"\x08\0\x16\0")),
                (0x1008, Bytes::from_static(&[1, 0])),
            ],
            ..Command::request(field::N_ACTION_RQ, "1.2.840.10008.1.20.1", 5)
        };
        let encoded = action.encode();
        assert_eq!(Command::decode(&encoded).unwrap(), action);
        let response = Command::decode(&action.response(0).encode()).unwrap();
        assert_eq!(
            (response.requested, response.number(0x1008), response.number(0x1005)),
            (false, Some(1), None)
        );
        let elements = elements(&encoded);
        assert!(elements.is_sorted() && elements.contains(&0x1001), "{elements:04X?}");
    }

    fn elements(mut encoded: &[u8]) -> Vec<u16> {
        let mut found = Vec::new();
        while let Some((header, rest)) = encoded.split_first_chunk::<8>() {
            found.push(u16::from_le_bytes([header[2], header[3]]));
            encoded = &rest[u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize..];
        }
        found
    }

    #[test]
    fn a_comment_cannot_forge_a_log_line() {
        assert_eq!(comment(b"no\r\nERROR \x1b[31mfake").as_deref(), Some("no  ERROR  [31mfake"));
        assert_eq!(comment(b"  "), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(Command::decode(&[]).is_err());
        let cancel = Command::cancel(3).encode();
        for cut in 1..cancel.len() {
            assert!(Command::decode(&cancel[..cut]).is_err(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn what_is_not_known_here_is_written_as_it_was_read(
            others in proptest::collection::btree_map(0x1040_u16..0x4000, proptest::collection::vec(any::<u8>(), 0..4), 0..6)
        ) {
            let others = others.into_iter().map(|(e, v)| (e, Bytes::from([v.clone(), v].concat()))).collect();
            let command = Command { others, ..Command::request(field::N_SET_RQ, "1.2.3", 1) };
            let encoded = command.encode();
            prop_assert!(elements(&encoded).is_sorted());
            prop_assert_eq!(Command::decode(&encoded).unwrap(), command);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Command::decode(&bytes);
        }
    }
}
