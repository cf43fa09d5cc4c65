//! One safe walk over an encoded data set, for bytes that come in pieces of any size (PS3.5 chapter 7).
//!
//! [`Scanner::push`] takes bytes, [`Scanner::next`] hands out [`Event`]s until it needs more, and
//! [`Scanner::finish`] tells whether the end was a good one. Values are slices of what was pushed, never
//! copied or gathered, so that an object of any size passes in constant memory. Nothing is allocated by a
//! declared length, and nesting is a list, not recursion. Deflated data sets are inflated as the walk comes to
//! them.

use bytes::Bytes;

pub use self::event::{Content, ElementHeader, Error, ErrorKind, Event, ItemHeader};
pub use self::header::has_long_length;
use self::header::{RawHeader, read_short, read_tag, read_u32};
pub use self::inflate::Inflater;
use self::input::Input;
use super::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, Layout, layout};
use super::{Tag, Uid, VR};

mod event;
mod header;
mod inflate;
mod input;

/// Most sequences that may be open within each other. The deepest objects in use, structured reports, stay
/// below 30; deeper data is made to exhaust its reader.
pub const MAX_DEPTH: usize = 64;

/// Most headers (elements, items, delimiters) of a data set. An enhanced image of 50,000 frames has about
/// ten million; each costs time, none costs memory.
pub const MAX_HEADERS: u64 = 50_000_000;

/// Most bytes that a deflated data set is inflated to. What is deflated in practice, reports and segmentations,
/// stays far below; inflating costs about a second up to here, and no memory.
pub const MAX_INFLATED: u64 = 1 << 30;

const ITEM: Tag = Tag(0xFFFE, 0xE000);
const ITEM_DELIMITATION: Tag = Tag(0xFFFE, 0xE00D);
const SEQUENCE_DELIMITATION: Tag = Tag(0xFFFE, 0xE0DD);
const UNDEFINED: u32 = 0xFFFF_FFFF;

/// A walk in progress.
#[derive(Debug)]
pub struct Scanner {
    input: Input,
    position: u64,
    headers: u64,
    tag: Tag,
    /// The layout of the data set itself; items of a UN sequence have their own.
    layout: Layout,
    stack: Vec<Frame>,
    /// Bytes still to come of the value or fragment that is open.
    value: Option<u32>,
    /// How many frames stay when what is passed over has ended.
    skipping: Option<usize>,
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

impl Scanner {
    /// A walk over a data set of this layout, from its first byte; no preamble, no group 0002.
    pub fn new(layout: Layout) -> Self {
        Self {
            input: Input::default(),
            position: 0,
            headers: 0,
            tag: Tag(0, 0),
            layout,
            stack: Vec::new(),
            value: None,
            skipping: None,
        }
    }

    /// A walk over a data set in this transfer syntax, deflated or not.
    pub fn for_transfer_syntax(syntax: &Uid) -> Self {
        let mut scanner = Self::new(layout(syntax));
        if syntax.as_str() == DEFLATED_EXPLICIT_VR_LE {
            scanner.input = Input::deflated();
        }
        scanner
    }

    /// Adds the next bytes. Call [`Self::next`] until it wants more before the next piece, else what was not
    /// yet walked over piles up here.
    pub fn push(&mut self, bytes: Bytes) {
        self.input.push(bytes);
    }

    /// The next step; `None`: more bytes are needed, or the data set is at its end.
    #[inline(always)]
    #[expect(clippy::should_implement_trait, reason = "None is not the end, so this is no iterator")]
    pub fn next(&mut self) -> Result<Option<Event>, Error> {
        if self.skipping.is_some() && !self.pass_over()? {
            return Ok(None);
        }
        self.step()
    }

    /// Passes over the element, item or fragment that the last event began: nothing in it is told, its end
    /// neither; the next event is what follows. Much faster than walking through it, and no less strict about
    /// whether the data set breaks off; what stands in sequences and items of defined length is not looked at.
    #[inline(always)]
    pub fn skip(&mut self) {
        // Most values lie in one piece, and are over at once.
        match self.value {
            Some(remaining) if self.input.front(remaining as usize).is_some() => {
                self.input.advance(remaining as usize);
                self.position += u64::from(remaining);
                self.value = None;
            }
            _ => self.begin_to_skip(),
        }
    }

    #[inline(never)]
    fn begin_to_skip(&mut self) {
        if self.value.is_some() {
            // The frame of a fragment's siblings stays.
            self.skipping = Some(self.stack.len());
            return;
        }
        let Some(frame) = self.stack.pop() else { return };
        self.skipping = Some(self.stack.len());
        match frame.end.map(|end| u32::try_from(end.saturating_sub(self.position))) {
            Some(Ok(length)) => self.value = Some(length),
            _ => self.stack.push(frame),
        }
    }

    /// The whole value of the element that the last event began, where it came in one piece, without taking
    /// it. Who reads it here calls [`Self::skip`] next, and is spared two events.
    #[inline]
    pub fn value(&self) -> Option<&[u8]> {
        self.input.front(self.value? as usize)
    }

    /// `true`: what is passed over has ended.
    #[inline(never)]
    fn pass_over(&mut self) -> Result<bool, Error> {
        while let Some(depth) = self.skipping {
            let has_ended = if let Some(remaining) = self.value {
                let remaining = self.drop_of_value(remaining)?;
                self.value = (remaining > 0).then_some(remaining);
                if remaining > 0 {
                    return Ok(false);
                }
                true
            } else {
                match self.step()? {
                    None => return Ok(false),
                    Some(event) => matches!(event, Event::ElementEnd | Event::ItemEnd),
                }
            };
            if has_ended && self.stack.len() == depth {
                self.skipping = None;
            }
        }
        Ok(true)
    }

    /// Drops what is there of the open value, and tells how much is to come.
    fn drop_of_value(&mut self, mut remaining: u32) -> Result<u32, Error> {
        while remaining > 0 {
            self.fill()?;
            let dropped = u32::try_from(self.input.length()).unwrap_or(u32::MAX).min(remaining);
            if dropped == 0 {
                break;
            }
            self.input.advance(dropped as usize);
            self.position += u64::from(dropped);
            remaining -= dropped;
        }
        Ok(remaining)
    }

    #[inline]
    fn fill(&mut self) -> Result<(), Error> {
        self.input.fill().map_err(|kind| self.error(kind))
    }

    // In every caller's own loop: an event that goes through memory costs as much as the step to it.
    #[inline(always)]
    fn step(&mut self) -> Result<Option<Event>, Error> {
        // Only headers without an event (delimiters that close nothing) go around again.
        loop {
            self.fill()?;
            if let Some(remaining) = self.value {
                return Ok(self.next_of_value(remaining));
            }
            let (layout, kind) = match self.stack.last() {
                Some(frame) if frame.end == Some(self.position) => return Ok(Some(self.close())),
                Some(frame) => (frame.layout, Some(frame.kind)),
                None => (self.layout, None),
            };
            let Some(start) = self.input.peek::<8>() else { return Ok(None) };
            let tag = read_tag(layout, &start);
            let length = read_u32(layout, [start[4], start[5], start[6], start[7]]);
            let step = match kind {
                Some(kind @ (FrameKind::Sequence | FrameKind::Fragments)) => {
                    self.item_header(kind, tag, length)?
                }
                Some(FrameKind::Item) | None if tag.group() == ITEM.group() => {
                    self.delimiter_of_item(tag, length)?
                }
                Some(FrameKind::Item) | None => self.element_header(layout, tag, start)?,
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
        let whole = self.input.is_at_end() && self.value.is_none() && self.stack.is_empty();
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
        let piece = self.input.take(usize::try_from(remaining).unwrap_or(usize::MAX))?;
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

    #[inline(always)]
    fn element_header(&mut self, layout: Layout, tag: Tag, start: [u8; 8]) -> Result<Step, Error> {
        if layout == Layout::ExplicitLe
            && let Some((vr, length)) = read_short(start)
        {
            let offset = self.position;
            self.header(tag, 8)?;
            self.end_within_limit(length)?;
            self.value = Some(length);
            let (value_offset, length, content) = (self.position, Some(length), Content::Value);
            let header = ElementHeader { tag, vr, length, offset, value_offset, layout, content };
            return Ok(Step::Event(Event::Element(header)));
        }
        self.other_element_header(layout, tag, start)
    }

    /// The same for any element.
    fn other_element_header(&mut self, layout: Layout, tag: Tag, start: [u8; 8]) -> Result<Step, Error> {
        let Some(raw) = RawHeader::read(&self.input, layout, start) else { return Ok(Step::MoreBytes) };
        let layout = raw.layout;
        let mut vr = raw.vr;
        // Pixel data is only encapsulated where its length is undefined (PS3.5 A.4); UN of undefined length
        // is a sequence in Implicit VR Little Endian, whatever surrounds it (PS3.5 6.2.2 note 4).
        let content = match (vr, raw.length) {
            (VR::SQ, 0 | UNDEFINED) | (VR::UN, UNDEFINED) => Content::Items,
            (VR::OB | VR::OW, UNDEFINED) => Content::Fragments,
            // Without a VR, what is unlike the dictionary's can only be a sequence.
            (_, UNDEFINED) if layout == Layout::ImplicitLe => {
                vr = VR::SQ;
                Content::Items
            }
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

    /// Whether what follows the header looks like the inside of a sequence; `None`: more bytes are needed.
    fn begins_with_item(&self, layout: Layout, header: usize) -> Option<bool> {
        let mut bytes = [0; 16];
        let bytes = &mut bytes[..header + 4];
        if !self.input.copy_front(bytes) {
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

    #[inline]
    fn end_within_limit(&self, length: u32) -> Result<u64, Error> {
        let end = self.position + u64::from(length);
        if end > self.limit() { Err(self.error(ErrorKind::Overrun)) } else { Ok(end) }
    }

    #[inline]
    fn limit(&self) -> u64 {
        self.stack.last().map_or(u64::MAX, |f| f.limit)
    }

    /// Takes a header of `size` bytes off the input.
    #[inline]
    fn header(&mut self, tag: Tag, size: usize) -> Result<(), Error> {
        self.tag = tag;
        self.headers += 1;
        if self.headers > MAX_HEADERS {
            return Err(self.error(ErrorKind::TooManyHeaders));
        }
        if self.position + size as u64 > self.limit() {
            return Err(self.error(ErrorKind::Overrun));
        }
        self.input.advance(size);
        self.position += size as u64;
        Ok(())
    }

    #[cold]
    fn error(&self, kind: ErrorKind) -> Error {
        Error { kind, offset: self.position, tag: self.tag }
    }
}

enum Step {
    Event(Event),
    MoreBytes,
    Skipped,
}

#[cfg(test)]
pub(crate) mod tests;
