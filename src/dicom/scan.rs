//! One safe walk over an encoded data set, for bytes that come in pieces of any size (PS3.5 chapter 7).
//!
//! [`Scanner::push`] takes bytes, [`Scanner::next`] hands out [`Event`]s until it needs more, and
//! [`Scanner::finish`] tells whether the end was a good one. Values are slices of what was pushed, never
//! copied or gathered, so that an object of any size passes in constant memory. Nothing is allocated by a
//! declared length, and nesting is a list, not recursion. Deflated data sets are inflated before they come
//! here.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

use super::dictionary::vr_of;
use super::transfer_syntax::Layout;
use super::{Tag, VR};

/// Most sequences that may be open within each other. The deepest objects in use, structured reports, stay
/// below 30; deeper data is made to exhaust its reader.
pub const MAX_DEPTH: usize = 64;

/// Most headers (elements, items, delimiters) of a data set. An enhanced image of 50,000 frames has about
/// ten million; each costs time, none costs memory.
pub const MAX_HEADERS: u64 = 50_000_000;

const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_DELIMITATION: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_DELIMITATION: Tag = Tag(0xFFFE, 0xE0DD);
const UNDEFINED: u32 = 0xFFFF_FFFF;

/// What follows an element's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// A value: [`Event::Value`] pieces.
    Value,
    /// A sequence: [`Event::Item`]s with data sets in them.
    Items,
    /// Encapsulated pixel data: [`Event::Fragment`]s (PS3.5 A.4).
    Fragments,
}

/// The header of a data element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElementHeader {
    /// The tag.
    pub tag: Tag,
    /// The VR: as encoded; by [`vr_of`] under Implicit VR; UN where the two letters are none that is known,
    /// and for what claims to be a sequence but holds no items.
    pub vr: VR,
    /// Length of the value in bytes; `None`: undefined.
    pub length: Option<u32>,
    /// Where the header's first byte stands, in bytes from the beginning of the data set.
    pub offset: u64,
    /// Where the value's first byte stands.
    pub value_offset: u64,
    /// How header and value are encoded; items of a UN sequence have a layout of their own.
    pub layout: Layout,
    /// What follows.
    pub content: Content,
}

/// The header of an item of a sequence, or of a fragment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemHeader {
    /// Length in bytes; `None`: undefined, never of a fragment.
    pub length: Option<u32>,
    /// Where the header's first byte stands, in bytes from the beginning of the data set.
    pub offset: u64,
}

/// One step of the walk. Every `Element` is closed by one `ElementEnd`, every `Item` by one `ItemEnd`,
/// every `Fragment` by one `FragmentEnd`; delimiters of the encoding are not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An element begins.
    Element(ElementHeader),
    /// The next piece of the value or fragment that is open, never empty.
    Value(Bytes),
    /// An item of a sequence begins.
    Item(ItemHeader),
    /// A fragment of encapsulated pixel data begins; the first is the Basic Offset Table.
    Fragment(ItemHeader),
    /// The item ends.
    ItemEnd,
    /// The fragment ends.
    FragmentEnd,
    /// The element ends.
    ElementEnd,
}

/// The data set cannot be followed any further: its sender encoded it wrongly, or it broke off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{kind}, at byte {offset} of the data set, at {tag}")]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Where, in bytes from the beginning of the data set.
    pub offset: u64,
    /// The last tag that was read.
    pub tag: Tag,
}

/// What is wrong with a data set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ErrorKind {
    /// The bytes ended within an element, an item or a sequence.
    #[error("the data set breaks off")]
    Truncated,
    /// More than [`MAX_DEPTH`] sequences within each other.
    #[error("sequences are nested too deeply")]
    TooDeep,
    /// More than [`MAX_HEADERS`] headers.
    #[error("there are too many elements")]
    TooManyHeaders,
    /// A length reaches past the end of the item or sequence around it.
    #[error("a length reaches past the end of what surrounds it")]
    Overrun,
    /// Something other than an item where only items may stand.
    #[error("an item was expected")]
    NotAnItem,
    /// An item, or a delimiter with a length, where an element was expected.
    #[error("an element was expected")]
    NotAnElement,
    /// A VR that may not have it came with undefined length, or a fragment did.
    #[error("an undefined length is not allowed here")]
    UndefinedLength,
}

/// A walk in progress.
#[derive(Debug)]
pub struct Scanner {
    input: VecDeque<Bytes>,
    buffered: usize,
    position: u64,
    headers: u64,
    tag: Tag,
    /// The layout of the data set itself; items of a UN sequence have their own.
    layout: Layout,
    stack: Vec<Frame>,
    /// Bytes still to come of the value or fragment that is open.
    value: Option<u32>,
}

/// What is open around the read position. A value that is open is not in here.
#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: FrameKind,
    layout: Layout,
    /// Where it ends, or `None`: at its delimiter.
    end: Option<u64>,
    /// Where whatever surrounds it ends at the latest.
    limit: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FrameKind {
    Sequence,
    Item,
    Fragments,
}

/// An element's header as encoded, before it is decided what its content is.
struct RawHeader {
    vr: VR,
    length: u32,
    size: usize,
}

impl Scanner {
    /// A walk over a data set of this layout, from its first byte; no preamble, no group 0002.
    pub fn new(layout: Layout) -> Self {
        Self {
            input: VecDeque::new(),
            buffered: 0,
            position: 0,
            headers: 0,
            tag: Tag(0, 0),
            layout,
            stack: Vec::new(),
            value: None,
        }
    }

    /// Adds the next bytes. Call [`Self::next`] until it wants more before the next piece, else what was not
    /// yet walked over piles up here.
    pub fn push(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.buffered += bytes.len();
            self.input.push_back(bytes);
        }
    }

    /// The next step; `None`: more bytes are needed, or the data set is at its end.
    #[expect(clippy::should_implement_trait, reason = "None is not the end, so this is no iterator")]
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        // Only headers without an event (delimiters that close nothing) go around again.
        loop {
            if let Some(remaining) = self.value {
                return Ok(self.next_of_value(remaining));
            }
            if let Some(frame) = self.stack.last()
                && frame.end == Some(self.position)
            {
                return Ok(Some(self.close()));
            }
            let Some(start) = self.peek::<8>() else { return Ok(None) };
            let layout = self.stack.last().map_or(self.layout, |f| f.layout);
            let tag = read_tag(layout, &start);
            let length = read_u32(layout, [start[4], start[5], start[6], start[7]]);
            let step = match self.stack.last().map(|f| f.kind) {
                Some(kind @ (FrameKind::Sequence | FrameKind::Fragments)) => {
                    self.item_header(kind, tag, length)?
                }
                Some(FrameKind::Item) | None if tag.group() == ITEM.group() => {
                    self.delimiter_of_item(tag, length)?
                }
                Some(FrameKind::Item) | None => self.element_header(layout, tag, &start)?,
            };
            match step {
                Step::Event(event) => return Ok(Some(event)),
                Step::MoreBytes => return Ok(None),
                Step::Skipped => {}
            }
        }
    }

    /// Says that no more bytes come: an error when something is still open. Call it after [`Self::next`] has
    /// told that it wants more.
    pub fn finish(self) -> Result<(), Error> {
        let whole = self.buffered == 0 && self.value.is_none() && self.stack.is_empty();
        if whole { Ok(()) } else { Err(self.error(ErrorKind::Truncated)) }
    }

    /// How many bytes of the data set have been walked over.
    pub fn position(&self) -> u64 {
        self.position
    }

    fn next_of_value(&mut self, remaining: u32) -> Option<Event> {
        if remaining == 0 {
            self.value = None;
            let fragment = self.stack.last().is_some_and(|f| f.kind == FrameKind::Fragments);
            return Some(if fragment { Event::FragmentEnd } else { Event::ElementEnd });
        }
        let front = self.input.front_mut()?;
        let wanted = usize::try_from(remaining).unwrap_or(usize::MAX);
        let piece = if front.len() <= wanted { self.input.pop_front()? } else { front.split_to(wanted) };
        self.buffered -= piece.len();
        self.position += piece.len() as u64;
        // A piece is never longer than what remains.
        self.value = Some(remaining.saturating_sub(u32::try_from(piece.len()).unwrap_or(u32::MAX)));
        Some(Event::Value(piece))
    }

    fn close(&mut self) -> Event {
        match self.stack.pop().map(|f| f.kind) {
            Some(FrameKind::Item) => Event::ItemEnd,
            _ => Event::ElementEnd,
        }
    }

    /// What stands directly in a sequence, or among fragments.
    fn item_header(&mut self, kind: FrameKind, tag: Tag, length: u32) -> Result<Step, Error> {
        let offset = self.position;
        if tag == SEQUENCE_DELIMITATION && length == 0 {
            self.header(tag, 8)?;
            // Within a defined length it closes nothing; some writers put it there all the same.
            return Ok(match self.stack.last() {
                Some(Frame { end: None, .. }) => Step::Event(self.close()),
                _ => Step::Skipped,
            });
        }
        if tag != ITEM {
            self.tag = tag;
            return Err(self.error(ErrorKind::NotAnItem));
        }
        self.header(tag, 8)?;
        if kind == FrameKind::Fragments {
            if length == UNDEFINED {
                return Err(self.error(ErrorKind::UndefinedLength));
            }
            self.end_within_limit(length)?;
            self.value = Some(length);
            return Ok(Step::Event(Event::Fragment(ItemHeader { length: Some(length), offset })));
        }
        let layout = self.stack.last().map_or(self.layout, |f| f.layout);
        let length = self.open(FrameKind::Item, layout, length)?;
        Ok(Step::Event(Event::Item(ItemHeader { length, offset })))
    }

    /// A tag of group FFFE where elements stand.
    fn delimiter_of_item(&mut self, tag: Tag, length: u32) -> Result<Step, Error> {
        self.tag = tag;
        if length != 0 || !(tag == ITEM_DELIMITATION || tag == SEQUENCE_DELIMITATION) {
            return Err(self.error(ErrorKind::NotAnElement));
        }
        self.header(tag, 8)?;
        // Delimiters that close nothing are left over from lengths that some writer made defined.
        Ok(match self.stack.last() {
            Some(Frame { end: None, .. }) if tag == ITEM_DELIMITATION => Step::Event(self.close()),
            _ => Step::Skipped,
        })
    }

    fn element_header(&mut self, layout: Layout, tag: Tag, start: &[u8; 8]) -> Result<Step, Error> {
        let Some(raw) = self.raw_header(layout, tag, start) else { return Ok(Step::MoreBytes) };
        let mut vr = raw.vr;
        // Pixel data is only encapsulated where its length is undefined (PS3.5 A.4); UN of undefined length
        // is a sequence in Implicit VR Little Endian, whatever surrounds it (PS3.5 6.2.2 note 4).
        let content = match (vr, raw.length) {
            (VR::SQ, 0 | UNDEFINED) | (VR::UN, UNDEFINED) => Content::Items,
            (VR::OB | VR::OW, UNDEFINED) => Content::Fragments,
            (_, UNDEFINED) => {
                self.tag = tag;
                return Err(self.error(ErrorKind::UndefinedLength));
            }
            (VR::SQ, 1..8) => {
                vr = VR::UN;
                Content::Value
            }
            (VR::SQ, _) => match self.begins_with_item(layout, raw.size) {
                None => return Ok(Step::MoreBytes),
                Some(true) => Content::Items,
                Some(false) => {
                    vr = VR::UN;
                    Content::Value
                }
            },
            _ => Content::Value,
        };
        let offset = self.position;
        self.header(tag, raw.size)?;
        let value_offset = self.position;
        let length = match content {
            Content::Value => {
                self.end_within_limit(raw.length)?;
                self.value = Some(raw.length);
                Some(raw.length)
            }
            Content::Items => {
                let inside = if vr == VR::UN { Layout::ImplicitLe } else { layout };
                self.open(FrameKind::Sequence, inside, raw.length)?
            }
            Content::Fragments => self.open(FrameKind::Fragments, layout, raw.length)?,
        };
        Ok(Step::Event(Event::Element(ElementHeader {
            tag,
            vr,
            length,
            offset,
            value_offset,
            layout,
            content,
        })))
    }

    /// VR and length (PS3.5 7.1.2, 7.1.3); `None`: more bytes are needed.
    fn raw_header(&self, layout: Layout, tag: Tag, start: &[u8; 8]) -> Option<RawHeader> {
        let last_four = [start[4], start[5], start[6], start[7]];
        if layout == Layout::ImplicitLe {
            return Some(RawHeader { vr: vr_of(tag), length: read_u32(layout, last_four), size: 8 });
        }
        let letters = [start[4], start[5]];
        let known = VR::from_binary(letters);
        let long = match known {
            Some(vr) => has_long_length(vr),
            // A VR of a later edition has the long form. What is no VR at all is what old writers put for
            // "unknown", in the short form that every VR had then.
            None => letters.iter().all(u8::is_ascii_uppercase),
        };
        let vr = known.unwrap_or(VR::UN);
        if !long {
            let length = match layout {
                Layout::ExplicitBe => u16::from_be_bytes([start[6], start[7]]),
                _ => u16::from_le_bytes([start[6], start[7]]),
            };
            return Some(RawHeader { vr, length: u32::from(length), size: 8 });
        }
        let all = self.peek::<12>()?;
        Some(RawHeader { vr, length: read_u32(layout, [all[8], all[9], all[10], all[11]]), size: 12 })
    }

    /// Whether what follows the header looks like the inside of a sequence; `None`: more bytes are needed.
    fn begins_with_item(&self, layout: Layout, header: usize) -> Option<bool> {
        let mut bytes = [0; 16];
        let bytes = &mut bytes[..header + 4];
        if !self.copy_front(bytes) {
            return None;
        }
        let tag = read_tag(layout, &bytes[header..]);
        Some(tag == ITEM || tag == SEQUENCE_DELIMITATION)
    }

    fn open(&mut self, kind: FrameKind, layout: Layout, length: u32) -> Result<Option<u32>, Error> {
        // Sequences and items alternate, so the list is twice as long as the nesting is deep.
        if self.stack.len() >= 2 * MAX_DEPTH {
            return Err(self.error(ErrorKind::TooDeep));
        }
        let end = if length == UNDEFINED { None } else { Some(self.end_within_limit(length)?) };
        let limit = end.unwrap_or(self.limit());
        self.stack.push(Frame { kind, layout, end, limit });
        Ok((length != UNDEFINED).then_some(length))
    }

    fn end_within_limit(&self, length: u32) -> Result<u64, Error> {
        let end = self.position + u64::from(length);
        if end > self.limit() { Err(self.error(ErrorKind::Overrun)) } else { Ok(end) }
    }

    fn limit(&self) -> u64 {
        self.stack.last().map_or(u64::MAX, |f| f.limit)
    }

    /// Takes a header of `size` bytes off the input.
    fn header(&mut self, tag: Tag, size: usize) -> Result<(), Error> {
        self.tag = tag;
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            return Err(self.error(ErrorKind::TooManyHeaders));
        }
        if self.position + size as u64 > self.limit() {
            return Err(self.error(ErrorKind::Overrun));
        }
        let mut rest = size;
        while let Some(front) = self.input.front_mut()
            && rest > 0
        {
            let taken = rest.min(front.len());
            front.advance(taken);
            rest -= taken;
            if front.is_empty() {
                self.input.pop_front();
            }
        }
        self.buffered -= size;
        self.position += size as u64;
        Ok(())
    }

    fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.copy_front(&mut bytes).then_some(bytes)
    }

    /// Copies the next bytes without taking them; `false` when there are not enough yet.
    fn copy_front(&self, out: &mut [u8]) -> bool {
        if self.buffered < out.len() {
            return false;
        }
        let mut filled = 0;
        for piece in &self.input {
            let taken = piece.len().min(out.len() - filled);
            out[filled..filled + taken].copy_from_slice(&piece[..taken]);
            filled += taken;
            if filled == out.len() {
                break;
            }
        }
        true
    }

    fn error(&self, kind: ErrorKind) -> Error {
        Error { kind, offset: self.position, tag: self.tag }
    }
}

enum Step {
    Event(Event),
    MoreBytes,
    Skipped,
}

/// Whether an explicit header has a 32-bit length after two reserved bytes (PS3.5 Table 7.1-1).
pub fn has_long_length(vr: VR) -> bool {
    use VR::{OB, OD, OF, OL, OV, OW, SQ, SV, UC, UN, UR, UT, UV};
    matches!(vr, OB | OD | OF | OL | OV | OW | SQ | SV | UC | UN | UR | UT | UV)
}

fn read_tag(layout: Layout, bytes: &[u8]) -> Tag {
    let halves = [[bytes[0], bytes[1]], [bytes[2], bytes[3]]];
    let [group, element] = match layout {
        Layout::ExplicitBe => halves.map(u16::from_be_bytes),
        _ => halves.map(u16::from_le_bytes),
    };
    Tag(group, element)
}

fn read_u32(layout: Layout, bytes: [u8; 4]) -> u32 {
    if layout == Layout::ExplicitBe { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
}

#[cfg(test)]
mod tests;
