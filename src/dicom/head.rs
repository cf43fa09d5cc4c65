//! The beginning of an object on its way: held back until it has said what it is and which study and series it belongs to.

use bytes::Bytes;

use super::scan::{Event, Scanner};
use super::transfer_syntax::{EXPLICIT_VR_LE, IMPLICIT_VR_LE, Layout};
use super::{Tag, Uid, tags};

/// Most bytes that are held back. The UIDs stand in group 0020, behind what is mostly text; private elements
/// and icons before them stay far below this. Past it, an object counts as one that does not say.
const MAX_HELD: usize = 4 << 20;
/// What a piece counts besides its bytes: its handle, and the headers around it in the block that it keeps. A
/// peer may send its bytes one by one.
const PIECE_COST: usize = 64;
/// Most bytes of a data set that are walked over: of a deflated one, more come out than are held.
const MAX_WALKED: u64 = 8 << 20;

/// Longest value of a Code String (PS3.5 6.2).
const MAX_CODE_STRING: usize = 16;
/// Longest value of a Long String (PS3.5 6.2).
const MAX_LONG_STRING: usize = 64;

/// What an object's data set says about what it belongs to, as far as it is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identifiers {
    /// SOP Class UID (0008,0016).
    pub class: Option<Uid>,
    /// Modality (0008,0060), without padding. `None` too where it is no Code String.
    pub modality: Option<String>,
    /// Patient ID (0010,0020), without padding. `None` too where it is not plain ASCII: what it says then depends on the
    /// character set.
    pub patient: Option<String>,
    /// Study Instance UID (0020,000D).
    pub study: Option<Uid>,
    /// Series Instance UID (0020,000E).
    pub series: Option<Uid>,
    /// SOP Instance UID (0008,0018).
    pub instance: Option<Uid>,
}

/// The short value of an attribute on its way, in pieces of any size: a UID, a Code String or a Long String.
#[derive(Debug)]
pub(crate) struct OpenValue {
    /// The attribute.
    pub(crate) tag: Tag,
    value: Vec<u8>,
}

impl OpenValue {
    /// The value of this attribute begins.
    pub(crate) fn new(tag: Tag) -> Self {
        Self { tag, value: Vec::new() }
    }

    /// Takes the next bytes. A value longer than a UID is none of them, and needs not be held to be seen as such.
    pub(crate) fn push(&mut self, piece: &[u8]) {
        let room = (Uid::MAX_LENGTH + 2).saturating_sub(self.value.len());
        self.value.extend_from_slice(&piece[..piece.len().min(room)]);
    }

    /// The UID, when all of it has come; `None`: it is none.
    pub(crate) fn uid(&self) -> Option<Uid> {
        Uid::from_padded(&self.value).ok()
    }

    /// The Long String, when all of it has come; `None`: it is none, empty, several, or not plain ASCII.
    fn long_string(&self) -> Option<String> {
        let value = self.value.trim_ascii();
        let plain = |c: &u8| matches!(c, b' '..=b'~') && *c != b'\\';
        let is_one = !value.is_empty() && self.value.len() <= MAX_LONG_STRING && value.iter().all(plain);
        is_one.then(|| String::from_utf8_lossy(value).into_owned())
    }

    /// The Code String, when all of it has come; `None`: it is none, or empty.
    fn code(&self) -> Option<String> {
        let is_code = |c: &u8| matches!(c, b'A'..=b'Z' | b'0'..=b'9' | b' ' | b'_');
        let value = self.value.trim_ascii();
        let is_one = !value.is_empty() && self.value.len() <= MAX_CODE_STRING && value.iter().all(is_code);
        is_one.then(|| String::from_utf8_lossy(value).into_owned())
    }
}

/// Reads the beginning of a data set.
#[derive(Debug)]
pub struct HeadReader {
    scanner: Scanner,
    held: Vec<Bytes>,
    /// What is held, in bytes, with [`PIECE_COST`] for each piece.
    length: usize,
    depth: usize,
    /// The identifier whose value is open.
    open: Option<OpenValue>,
    found: Identifiers,
    /// How the Study Instance UID is encoded.
    encoded: Option<Layout>,
}

impl HeadReader {
    /// A reader for a data set in this transfer syntax.
    pub fn new(transfer_syntax: &Uid) -> Self {
        Self {
            scanner: Scanner::for_transfer_syntax(transfer_syntax),
            held: Vec::new(),
            length: 0,
            depth: 0,
            open: None,
            found: Identifiers::default(),
            encoded: None,
        }
    }

    /// Takes the next bytes. `true`: all that can be known is known.
    pub fn push(&mut self, bytes: Bytes, last: bool) -> bool {
        self.length += bytes.len() + PIECE_COST;
        self.held.push(bytes.clone());
        self.scanner.push(bytes);
        self.scan() || last || self.length > MAX_HELD
    }

    /// The transfer syntax that the object has, where it was `declared` in this one: some archives send data
    /// sets without VRs as Explicit VR Little Endian, which nobody further on could read.
    pub fn transfer_syntax(&self, declared: &Uid) -> Uid {
        let without_vr = self.encoded == Some(Layout::ImplicitLe);
        if without_vr && declared.as_str() == EXPLICIT_VR_LE {
            return Uid::from_static(IMPLICIT_VR_LE);
        }
        declared.clone()
    }

    /// What was found, and the bytes that were held back.
    pub fn into_parts(self) -> (Identifiers, Vec<Bytes>) {
        (self.found, self.held)
    }

    /// `true`: the identifiers are found or passed, or the data set cannot be followed.
    fn scan(&mut self) -> bool {
        loop {
            let event = match self.scanner.next() {
                Ok(Some(event)) => event,
                Ok(None) => return false,
                Err(_) => return true,
            };
            if self.scanner.position() > MAX_WALKED {
                return true;
            }
            match event {
                Event::Element(header) => {
                    if self.depth == 0 {
                        if header.tag > tags::SERIES_INSTANCE_UID {
                            return true;
                        }
                        if header.tag == tags::STUDY_INSTANCE_UID {
                            self.encoded = Some(header.layout);
                        }
                        self.open = is_identifier(header.tag).then(|| OpenValue::new(header.tag));
                    }
                    self.depth += 1;
                }
                Event::Value(bytes) => {
                    if let Some(open) = &mut self.open {
                        open.push(&bytes);
                    }
                }
                Event::ElementEnd => {
                    self.depth -= 1;
                    if self.depth == 0
                        && let Some(open) = self.open.take()
                    {
                        self.found.set(&open);
                        if open.tag == tags::SERIES_INSTANCE_UID {
                            return true;
                        }
                    }
                }
                Event::Item(_) | Event::Fragment(_) | Event::ItemEnd | Event::FragmentEnd => {}
            }
        }
    }
}

impl Identifiers {
    fn set(&mut self, open: &OpenValue) {
        let uid = open.uid();
        match open.tag {
            tags::MODALITY => self.modality = open.code(),
            tags::PATIENT_ID => self.patient = open.long_string(),
            tags::STUDY_INSTANCE_UID => self.study = uid,
            tags::SERIES_INSTANCE_UID => self.series = uid,
            tags::SOP_CLASS_UID => self.class = uid,
            _ => self.instance = uid,
        }
    }
}

fn is_identifier(tag: Tag) -> bool {
    matches!(
        tag,
        tags::SOP_CLASS_UID
            | tags::SOP_INSTANCE_UID
            | tags::MODALITY
            | tags::PATIENT_ID
            | tags::STUDY_INSTANCE_UID
            | tags::SERIES_INSTANCE_UID
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::charset::QueryCharset;
    use crate::dicom::dataset::DataSet;
    use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, layout};
    use crate::dicom::{VR, tags};

    fn data_set() -> DataSet {
        let mut inner = DataSet::new();
        inner.set_str(tags::MODALITY, VR::CS, "US");
        inner.set_str(tags::STUDY_INSTANCE_UID, VR::UI, "9.9.9");
        let mut data_set = DataSet::new();
        data_set.set_str(tags::SOP_CLASS_UID, VR::UI, "1.2.5");
        data_set.set_str(tags::SOP_INSTANCE_UID, VR::UI, "1.2.3");
        data_set.set_str(tags::MODALITY, VR::CS, "CT1");
        data_set.set_str(tags::PATIENT_ID, VR::LO, "P 1");
        data_set.set_items(tags::REFERENCED_STUDY_SEQUENCE, vec![inner.clone(), inner]);
        data_set.set_str(tags::STUDY_INSTANCE_UID, VR::UI, "1.2");
        data_set.set_str(tags::SERIES_INSTANCE_UID, VR::UI, "1.2.4");
        data_set.set_str(tags::STUDY_ID, VR::SH, "X");
        data_set
    }

    #[test]
    fn finds_the_uids_and_the_modality_in_every_layout_byte_by_byte_and_not_those_of_items() {
        for syntax in [IMPLICIT_VR_LE, EXPLICIT_VR_LE, EXPLICIT_VR_BE] {
            let syntax: Uid = syntax.parse().unwrap();
            let bytes = data_set().encode(layout(&syntax), QueryCharset::default());
            let mut reader = HeadReader::new(&syntax);
            let mut pushed = 0;
            while !reader.push(Bytes::copy_from_slice(&bytes[pushed..=pushed]), false) {
                pushed += 1;
            }
            let (found, held) = reader.into_parts();
            assert_eq!(found.study.unwrap().as_str(), "1.2");
            assert_eq!(found.series.unwrap().as_str(), "1.2.4");
            assert_eq!(found.instance.unwrap().as_str(), "1.2.3");
            assert_eq!(found.class.unwrap().as_str(), "1.2.5");
            assert_eq!(found.modality.unwrap(), "CT1");
            assert_eq!(found.patient.unwrap(), "P 1");
            assert_eq!(held.concat(), bytes[..=pushed]);
        }
    }

    #[test]
    fn hazard_a_data_set_without_vrs_that_is_called_explicit_is_known_for_what_it_is() {
        let [explicit, implicit] = [EXPLICIT_VR_LE, IMPLICIT_VR_LE].map(Uid::from_static);
        for (encoded, declared) in [(&implicit, &explicit), (&explicit, &explicit), (&implicit, &implicit)] {
            let bytes = data_set().encode(layout(encoded), QueryCharset::default());
            let mut reader = HeadReader::new(declared);
            assert!(reader.push(bytes.into(), true));
            assert_eq!(reader.transfer_syntax(declared), *encoded);
            assert_eq!(reader.into_parts().0.study.unwrap().as_str(), "1.2");
        }
    }

    #[test]
    fn what_is_no_code_string_is_no_modality() {
        let modality = |value: &[u8]| {
            let mut open = OpenValue::new(tags::MODALITY);
            value.chunks(3).for_each(|piece| open.push(piece));
            open.code()
        };
        assert_eq!(modality(b"MR").as_deref(), Some("MR"));
        assert_eq!(modality(b" OPT ").as_deref(), Some("OPT"));
        assert_eq!(modality(b"CT\0\0"), None);
        assert_eq!(modality(b"CT\\MR"), None);
        assert_eq!(modality(b"A2345678901234567 "), None, "longer than a Code String");
        assert_eq!(modality(b"  "), None);
    }

    #[test]
    fn what_does_not_say_is_passed_on_in_the_end() {
        let mut reader = HeadReader::new(&Uid::from_static(EXPLICIT_VR_LE));
        assert!(reader.push(Bytes::from_static(b"rubbish, not a data set"), true));
        assert_eq!(reader.into_parts().0, Identifiers::default());
    }

    #[test]
    fn hazard_bytes_that_come_one_by_one_are_not_held_in_millions_of_pieces() {
        let mut reader = HeadReader::new(&Uid::from_static(EXPLICIT_VR_LE));
        let endless = [0x09, 0, 0x10, 0, b'O', b'B', 0, 0, 0xFE, 0xFF, 0xFF, 0x7F];
        assert!(!reader.push(Bytes::copy_from_slice(&endless), false));
        while !reader.push(Bytes::from_static(b"0"), false) {}
        let pieces = reader.into_parts().1.len();
        assert!(pieces * PIECE_COST <= MAX_HELD + PIECE_COST, "{pieces} pieces");
    }

    #[test]
    fn a_deflated_head_is_read_and_a_bomb_is_not() {
        let syntax = Uid::from_static(DEFLATED_EXPLICIT_VR_LE);
        let deflate = |bytes: &[u8]| {
            use std::io::Write;
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(bytes).unwrap();
            Bytes::from(encoder.finish().unwrap())
        };
        let plain = data_set().encode(Layout::ExplicitLe, QueryCharset::default());
        let mut reader = HeadReader::new(&syntax);
        assert!(reader.push(deflate(&plain), true));
        let found = reader.into_parts().0;
        assert_eq!(found.series.unwrap().as_str(), "1.2.4");
        assert_eq!(found.modality.unwrap(), "CT1");
        let mut bomb = vec![0x09, 0, 0x10, 0, b'O', b'B', 0, 0, 0xFE, 0xFF, 0xFF, 0x7F];
        bomb.resize(64 << 20, 0);
        let mut reader = HeadReader::new(&syntax);
        assert!(reader.push(deflate(&bomb), false));
        assert_eq!(reader.into_parts().0, Identifiers::default());
    }
}
