//! A sequence that is walked through before it goes out, as there may be compressed pixels in it.

use bytes::Bytes;

use crate::dicom::scan::{Content, Event};

/// Most bytes of a sequence that are held until it has ended. Icons and previews fit; functional groups of thousands of
/// frames do not, and have none.
const MAX_HELD: usize = 4 << 20;

/// The walk, from the sequence's header on.
#[derive(Debug, Default)]
pub(super) struct Nested {
    pub(super) held: Vec<Bytes>,
    length: usize,
    /// Sequences and fragments that are open within it.
    depth: usize,
    has_ended: bool,
    /// Compressed pixels were in it.
    pub(super) has_fragments: bool,
    /// It became too long, and goes out as it comes.
    pub(super) is_released: bool,
}

impl Nested {
    /// The next step of the walk.
    pub(super) fn event(&mut self, event: &Event) {
        match event {
            Event::Element(header) if header.content != Content::Value => {
                self.depth += 1;
                self.has_fragments |= header.content == Content::Fragments;
            }
            Event::ElementEnd if self.depth == 0 => self.has_ended = true,
            Event::ElementEnd => self.depth -= 1,
            _ => {}
        }
    }

    /// Whether what this event begins is to be passed over.
    pub(super) fn passes_value(&self, event: &Event) -> bool {
        matches!(event, Event::Element(header) if header.content == Content::Value)
    }

    /// Whether the sequence is over.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Holds the next bytes; what has to go out all the same comes back.
    pub(super) fn hold(&mut self, pieces: Vec<Bytes>) -> Vec<Bytes> {
        if self.has_fragments {
            self.held.clear();
            return Vec::new();
        }
        self.length += pieces.iter().map(Bytes::len).sum::<usize>();
        self.held.extend(pieces);
        self.is_released |= self.length > MAX_HELD;
        if self.is_released { std::mem::take(&mut self.held) } else { Vec::new() }
    }
}
