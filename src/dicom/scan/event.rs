//! What a walk over a data set tells, and what can be wrong with one.

use bytes::Bytes;

use crate::dicom::dictionary::{is_us_or_ss, vr_of};
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{Tag, VR};

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
    /// The VR: as encoded; by [`crate::dicom::dictionary::vr_of`] where there is none; UN where the two letters are none that is known,
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

impl ElementHeader {
    /// The VR to read the value by: UN gives way to the dictionary's, where it has one for a value (PS3.5
    /// 6.2.2), and `US or SS` without a VR is SS where Pixel Representation says so: `signed`.
    pub fn value_vr(&self, signed: bool) -> VR {
        let is_told = self.layout != Layout::ImplicitLe && self.vr != VR::UN;
        if is_told {
            return self.vr;
        }
        let vr = if self.vr == VR::UN { vr_of(self.tag) } else { self.vr };
        match vr {
            VR::SQ => VR::UN,
            VR::US if signed && is_us_or_ss(self.tag) => VR::SS,
            vr => vr,
        }
    }

    /// Whether this value of a 16-bit number is not 0, as that of Pixel Representation is for signed pixels.
    pub(crate) fn is_nonzero(&self, value: &[u8]) -> bool {
        value.first_chunk::<2>().is_some_and(|word| *word != [0, 0])
    }

    /// Whether it should be a sequence, by its VR or by the dictionary, and is a value.
    pub fn is_no_sequence(&self) -> bool {
        self.content == Content::Value && self.vr == VR::UN && vr_of(self.tag) == VR::SQ
    }
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
    /// More than [`super::MAX_DEPTH`] sequences within each other.
    #[error("sequences are nested too deeply")]
    TooDeep,
    /// More than [`super::MAX_HEADERS`] headers.
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
    /// The transfer syntax says that the data set is deflated, and it is not, or damaged.
    #[error("the deflated data set is damaged")]
    NotDeflated,
    /// More than [`super::MAX_INFLATED`] bytes when inflated, or more than whoever walks can hold.
    #[error("the data set is too large")]
    TooLarge,
}
