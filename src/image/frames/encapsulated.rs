//! Frames of encapsulated pixel data: each is one fragment or several, and something has to say where the next
//! one begins (PS3.5 A.4).
//!
//! In this order: the Extended Offset Table; the Basic Offset Table; a single frame is all fragments; of codecs
//! whose codestreams do not end with a marker, each fragment is a frame; else a frame ends with the fragment
//! that ends with EOI or EOC (FFD9), and before one that begins with SOI or SOC. A table that cannot be
//! one is passed over; one whose offsets lie beside the fragments, as of writers that forget the item headers, is
//! believed only as far as the markers agree with it. A byte of padding behind the end marker is not part of the frame (PS3.18 8.7.3.3.2);
//! where the codec has none, nobody can tell it from data, and it stays.
//!
//! Most objects of one frame do not say that it is one, so a fragment that begins a codestream anew is held against them.
//! Lengths of the Extended Offset Table that leave out more than padding are not those of these fragments.

use std::collections::VecDeque;

use bytes::Bytes;

use super::attributes::Attributes;
use super::offsets::{OffsetTable, TableReader};
use super::{Cut, Error};
use crate::dicom::Uid;
use crate::dicom::scan::ItemHeader;
use crate::dicom::transfer_syntax::{Codec, codec};

/// End of Image of JPEG and JPEG-LS, End of Codestream of JPEG 2000.
const END: [u8; 2] = [0xFF, 0xD9];
/// How many bytes before a fragment's end the end marker is looked for: writers pad more than they need to.
const TAIL: usize = 10;

/// How many bytes of a fragment's beginning are looked at: up to the size of the image in codestreams of JPEG 2000, up to the
/// first offset in frames of RLE.
const START: usize = 8;

/// A cut through encapsulated pixel data in progress.
#[derive(Debug)]
pub(in crate::image) struct Encapsulated {
    /// Number of Frames (0028,0008).
    frames: u32,
    attributes: Attributes,
    /// Those still to come, ascending; `None`: all.
    wanted: Option<VecDeque<u32>>,
    codec: Codec,
    table: Option<TableReader>,
    plan: Plan,
    /// Where the first fragment's item stands.
    first: Option<u64>,
    /// The number of the frame that is open, or was the last.
    frame: u32,
    /// Whether a frame is open.
    open: bool,
    /// The beginning of a fragment of which is not known yet whether a frame begins with it.
    beginning: Option<Vec<u8>>,
    /// The first bytes of the fragment, up to [`START`].
    start: Vec<u8>,
    /// Those of the first fragment, where a codestream begins with them.
    first_start: Option<Vec<u8>>,
    /// The last bytes of the fragment.
    tail: Vec<u8>,
    /// Whether the fragment before this one, of the same frame, ended with an end marker.
    was_ended: bool,
    /// Whether the open frame has an end marker in it with a codestream's beginning behind: two frames, by that.
    has_two: bool,
    writer: Writer,
}

/// How the next frame is known.
#[derive(Debug)]
enum Plan {
    /// The Basic Offset Table is not read yet.
    Unknown,
    Extended(OffsetTable, Vec<u64>),
    Basic(OffsetTable),
    Single,
    OneEach,
    Markers,
}

impl Encapsulated {
    /// A cut of these frames, which ascend; `None`: all.
    ///
    /// # Errors
    /// Single frames of a video are wanted, or Number of Frames is none.
    pub(in crate::image) fn new(
        syntax: &Uid,
        attributes: Attributes,
        wanted: Option<Vec<u32>>,
    ) -> Result<Self, Error> {
        let codec = codec(syntax);
        if codec.is_video() && wanted.is_some() {
            return Err(Error::Video);
        }
        Ok(Self {
            frames: attributes.frames()?,
            attributes,
            wanted: wanted.map(VecDeque::from),
            codec,
            table: None,
            plan: Plan::Unknown,
            first: None,
            frame: 0,
            open: false,
            beginning: None,
            start: Vec::with_capacity(START),
            first_start: None,
            tail: Vec::with_capacity(TAIL),
            was_ended: false,
            has_two: false,
            writer: Writer::default(),
        })
    }

    /// Whether every wanted frame is out.
    pub(in crate::image) fn is_done(&self) -> bool {
        self.wanted.as_ref().is_some_and(VecDeque::is_empty)
    }

    /// How many frames there are to be; a video is one.
    pub(in crate::image) fn announced(&self) -> u32 {
        if self.codec.is_video() { 1 } else { self.frames }
    }

    /// A fragment begins.
    pub(in crate::image) fn begin(&mut self, header: ItemHeader, out: &mut VecDeque<Cut>) {
        if matches!(self.plan, Plan::Unknown) {
            self.table = Some(TableReader::new(4, self.attributes.last()));
            return;
        }
        self.first.get_or_insert(header.offset);
        let undecided = self.open && matches!(self.plan, Plan::Markers);
        if undecided {
            self.beginning = Some(Vec::with_capacity(3));
        } else if !self.open {
            self.begin_frame(out);
        }
    }

    /// The next bytes of the fragment.
    pub(in crate::image) fn value(&mut self, mut piece: Bytes, out: &mut VecDeque<Cut>) {
        if let Some(table) = &mut self.table {
            table.push(&piece);
            return;
        }
        if let Some(beginning) = &mut self.beginning {
            let head = piece.split_to(piece.len().min(3 - beginning.len()));
            beginning.extend_from_slice(&head);
            if beginning.len() < 3 {
                return;
            }
            self.decide(out);
        }
        self.pass(piece, out);
    }

    /// A fragment ends, and the next item would stand at `position`.
    ///
    /// # Errors
    /// The offset table does not fit the fragments: the frame that is open has bytes of another one in it, or has
    /// not all of its own. Or there is a frame more than the one that there should be.
    pub(in crate::image) fn end(&mut self, position: u64, out: &mut VecDeque<Cut>) -> Result<(), Error> {
        if let Some(table) = self.table.take() {
            self.plan = self.choose(table)?;
            return Ok(());
        }
        if self.beginning.is_some() {
            self.decide(out);
        }
        let offset = position - self.first.unwrap_or(position);
        let has_ended = self.tail.windows(2).any(|pair| pair == END);
        self.has_two |= self.was_ended && starts_codestream(&self.start);
        if self.writer.leaves_out_data() {
            return Err(Error::WrongOffsets);
        }
        if matches!(self.plan, Plan::Single) && self.begins_another() {
            return Err(Error::Surplus);
        }
        let ends = match &self.plan {
            Plan::Unknown | Plan::Single => false,
            Plan::OneEach => true,
            Plan::Extended(table, _) | Plan::Basic(table) => match table.begins_next(self.frame, offset) {
                Some(begins) => begins,
                None if has_ended && !self.has_two => true,
                None => return Err(Error::WrongOffsets),
            },
            Plan::Markers => has_ended,
        };
        self.was_ended = has_ended && !ends;
        self.start.clear();
        self.tail.clear();
        if ends {
            self.end_frame(out);
        }
        Ok(())
    }

    /// The pixel data ends.
    pub(in crate::image) fn finish(&mut self, out: &mut VecDeque<Cut>) -> Result<(), Error> {
        if let Plan::Extended(table, _) | Plan::Basic(table) = &self.plan
            && self.open
            && table.goes_on_behind(self.frame)
        {
            return Err(Error::WrongOffsets);
        }
        if self.open {
            self.end_frame(out);
        }
        let missing = match &self.wanted {
            Some(wanted) => wanted.front().copied(),
            // All there is: as many as were announced.
            None => (self.frame < self.announced()).then_some(self.frame + 1),
        };
        self.wanted = Some(VecDeque::new());
        missing.map_or(Ok(()), |number| Err(Error::TooShort(number)))
    }

    fn choose(&mut self, basic: TableReader) -> Result<Plan, Error> {
        let frames = self.frames;
        if self.codec.is_video() {
            return Ok(Plan::Single);
        }
        // Of codestreams that have an end, fragments tell better than a table, which may have an entry for each of them.
        if frames == 1 && basic.count() > 1 && !self.codec.has_end_marker() {
            return Err(Error::Surplus);
        }
        Ok(self.plan(basic))
    }

    fn plan(&mut self, basic: TableReader) -> Plan {
        let frames = self.frames;
        if frames == 1 {
            return Plan::Single;
        }
        // RLE has one fragment a frame, whatever a table says (PS3.5 A.4.2).
        if self.codec == Codec::Rle {
            return Plan::OneEach;
        }
        if let Some((offsets, lengths)) = self.attributes.extended_table() {
            return Plan::Extended(offsets, lengths);
        }
        match basic.offsets(frames) {
            Some(offsets) => Plan::Basic(offsets),
            None if self.codec.has_end_marker() => Plan::Markers,
            None => Plan::OneEach,
        }
    }

    /// Whether another codestream begins with the fragment that ends here, where all are to be one: like the first of them,
    /// or behind an end marker.
    fn begins_another(&mut self) -> bool {
        if self.codec.is_video() {
            return false;
        }
        let begins_alike = self.start.len() == START && self.first_start.as_ref() == Some(&self.start);
        self.first_start.get_or_insert_with(|| match begins_frame(&self.start) {
            true => self.start.clone(),
            false => Vec::new(),
        });
        begins_alike || self.has_two
    }

    /// Whether the open frame goes on in this fragment, whose first bytes are known now.
    fn decide(&mut self, out: &mut VecDeque<Cut>) {
        let beginning = self.beginning.take().unwrap_or_default();
        if starts_codestream(&beginning) {
            self.end_frame(out);
            self.begin_frame(out);
        }
        self.pass(beginning.into(), out);
    }

    fn begin_frame(&mut self, out: &mut VecDeque<Cut>) {
        self.frame = self.frame.saturating_add(1);
        self.open = true;
        self.has_two = false;
        let is_wanted =
            self.wanted.as_ref().is_none_or(|wanted| wanted.front().is_some_and(|&next| next == self.frame));
        if !is_wanted {
            return;
        }
        let length = match &self.plan {
            Plan::Extended(_, lengths) => {
                usize::try_from(self.frame - 1).ok().and_then(|index| lengths.get(index)).copied()
            }
            _ => None,
        };
        self.writer.begin(length, self.codec.has_end_marker());
        out.push_back(Cut::Begin { number: self.frame, length: None });
    }

    fn pass(&mut self, piece: Bytes, out: &mut VecDeque<Cut>) {
        if !matches!(self.plan, Plan::Unknown | Plan::OneEach) {
            let room = START - self.start.len();
            self.start.extend_from_slice(&piece[..piece.len().min(room)]);
            let fresh = &piece[piece.len().saturating_sub(TAIL)..];
            let surplus = (self.tail.len() + fresh.len()).saturating_sub(TAIL);
            self.tail.drain(..surplus.min(self.tail.len()));
            self.tail.extend_from_slice(fresh);
        }
        self.writer.pass(piece, out);
    }

    fn end_frame(&mut self, out: &mut VecDeque<Cut>) {
        self.open = false;
        if self.writer.finish(out)
            && let Some(wanted) = &mut self.wanted
        {
            wanted.pop_front();
        }
    }
}

/// Whether a fragment with these first bytes begins a codestream of JPEG, JPEG-LS or JPEG 2000.
fn starts_codestream(beginning: &[u8]) -> bool {
    matches!(beginning, [0xFF, 0xD8, 0xFF, ..] | [0xFF, 0x4F, 0xFF, ..])
}

/// Whether a fragment with these first bytes begins a frame of any codec: the above, JPEG XL, boxes of either, RLE.
fn begins_frame(beginning: &[u8]) -> bool {
    starts_codestream(beginning)
        || matches!(
            beginning,
            [0xFF, 0x0A, ..] | [0, 0, 0, 12, b'J' | b'j', ..] | [1..=15, 0, 0, 0, 64, 0, 0, 0]
        )
}

/// Passes the bytes of a wanted frame on, but for its padding.
#[derive(Debug, Default)]
struct Writer {
    /// Whether the frame that is open is wanted.
    on: bool,
    /// How many bytes of it there are to be, by its table.
    left: Option<u64>,
    /// How many bytes of its fragments are behind those, and whether they are more than zeros.
    behind: u64,
    behind_is_data: bool,
    /// Whether a zero behind the end marker is padding.
    strips: bool,
    /// Whether any bytes of it went out.
    wrote: bool,
    /// The last two bytes that went out.
    last: [u8; 2],
    /// A zero at the end of what came, which may be padding.
    held: bool,
}

impl Writer {
    fn begin(&mut self, length: Option<u64>, strips: bool) {
        *self = Self { on: true, left: length, strips: strips && length.is_none(), ..Self::default() };
    }

    fn pass(&mut self, mut piece: Bytes, out: &mut VecDeque<Cut>) {
        if !self.on {
            return;
        }
        if let Some(left) = &mut self.left {
            let rest = piece.split_off(usize::try_from(*left).unwrap_or(usize::MAX).min(piece.len()));
            *left -= piece.len() as u64;
            self.behind += rest.len() as u64;
            self.behind_is_data |= rest.iter().any(|byte| *byte != 0);
        }
        if piece.is_empty() {
            return;
        }
        if self.held {
            self.write(Bytes::from_static(&[0]), out);
        }
        self.held = self.strips && piece.last() == Some(&0);
        if self.held {
            piece.truncate(piece.len() - 1);
        }
        self.write(piece, out);
    }

    /// Whether the table's length leaves out more of the fragments than padding: zeros, or a byte of anything.
    fn leaves_out_data(&self) -> bool {
        self.on && self.behind > 1 && self.behind_is_data
    }

    fn write(&mut self, piece: Bytes, out: &mut VecDeque<Cut>) {
        match piece[..] {
            [] => return,
            [only] => self.last = [self.last[1], only],
            [.., a, b] => self.last = [a, b],
        }
        self.wrote = true;
        out.push_back(Cut::Bytes(piece));
    }

    /// Ends the frame; whether it was a wanted one. One of no bytes is not ended: it is still missing.
    fn finish(&mut self, out: &mut VecDeque<Cut>) -> bool {
        if !std::mem::take(&mut self.on) || !(self.wrote || self.held) {
            return false;
        }
        if self.held && self.last != END {
            self.write(Bytes::from_static(&[0]), out);
        }
        out.push_back(Cut::End);
        true
    }
}
