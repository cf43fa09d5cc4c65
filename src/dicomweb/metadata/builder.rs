//! Builds data sets from what either reader finds, in the order of the document.

use super::value::{Declared, Part, decode_base64, tag_number, value_of, value_of_bytes, vr_for};
use super::{
    BulkReference, ElementPath, MAX_ELEMENTS, MAX_VALUES, MAX_WARNINGS, Metadata, ReadErrorKind, Warning,
    WarningKind,
};
use crate::dicom::dataset::{DataSet, Element, Value};
use crate::dicom::dictionary::{is_group_length, tag_by_keyword};
use crate::dicom::scan::MAX_DEPTH;
use crate::dicom::{Tag, VR, tags};

const FILE_META_GROUP: u16 = 0x0002;

/// Data sets in the making. Data sets and attributes alternate: an item stands in an attribute.
#[derive(Debug, Default)]
pub(super) struct Builder<'a> {
    finished: Vec<Metadata>,
    /// The data set at the top, but for its elements, which are in the first of `scopes`.
    current: Metadata,
    scopes: Vec<Scope<'a>>,
    elements: usize,
    values: usize,
    /// There is text beyond ASCII in the current data set.
    is_beyond_ascii: bool,
}

/// A data set, or an item, that is being read.
#[derive(Debug, Default)]
struct Scope<'a> {
    data_set: DataSet,
    attribute: Option<Attribute<'a>>,
}

/// An attribute that is being read.
#[derive(Debug)]
struct Attribute<'a> {
    /// `None`: its name names none.
    tag: Option<Tag>,
    declared: Declared,
    /// Its values; of a sequence, its items, empty ones as [`Part::Null`].
    parts: Vec<Part<'a>>,
    inline: Option<Vec<u8>>,
    uri: Option<String>,
    /// The first thing that makes the whole attribute useless.
    fault: Option<WarningKind>,
    /// What is worth a warning, but does no harm.
    flaw: Option<WarningKind>,
    /// How many bulk references there were before it.
    bulk_before: usize,
}

impl<'a> Builder<'a> {
    /// Begins a data set: an item where an attribute is open.
    pub(super) fn begin_data_set(&mut self) -> Result<(), ReadErrorKind> {
        // One scope is the data set itself.
        if self.scopes.len() > MAX_DEPTH {
            return Err(ReadErrorKind::TooDeep);
        }
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(ReadErrorKind::TooManyElements);
        }
        self.scopes.push(Scope::default());
        Ok(())
    }

    /// Ends the data set, or the item, that was begun last.
    pub(super) fn end_data_set(&mut self) {
        let Some(mut scope) = self.scopes.pop() else { return };
        if scope.data_set.contains(tags::SPECIFIC_CHARACTER_SET)
            || (self.scopes.is_empty() && self.is_beyond_ascii)
        {
            scope.data_set.set_str(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
        }
        if let Some(attribute) = self.attribute() {
            attribute.parts.push(Part::Item(scope.data_set));
        } else {
            self.is_beyond_ascii = false;
            let mut metadata = std::mem::take(&mut self.current);
            metadata.data_set = scope.data_set;
            metadata.bulk.sort_by(|a, b| a.path.cmp(&b.path));
            self.finished.push(metadata);
        }
    }

    /// Begins an attribute by its tag or, as some clients name it, its keyword.
    pub(super) fn begin_attribute(&mut self, name: &str) -> Result<(), ReadErrorKind> {
        let tag = tag_number(name.trim()).map(|number| Tag((number >> 16) as u16, number as u16));
        self.begin(tag.or_else(|| tag_by_keyword(name.trim())))
    }

    /// Begins a private attribute of this creator. Where its tag leaves the block open (gggg,00ee), the block
    /// of the creator is taken, or one is reserved (PS3.5 7.8.1); where it names a block that nobody has
    /// reserved, that one is.
    pub(super) fn begin_private_attribute(&mut self, name: &str, creator: &str) -> Result<(), ReadErrorKind> {
        let Some(number) = tag_number(name.trim()) else { return self.begin(None) };
        let (group, element) = ((number >> 16) as u16, number as u16);
        let block =
            self.scopes.last_mut().and_then(|s| reserve(&mut s.data_set, group, element >> 8, creator));
        self.begin(block.map(|block| Tag(group, block << 8 | element & 0xFF)))
    }

    fn begin(&mut self, tag: Option<Tag>) -> Result<(), ReadErrorKind> {
        self.elements += 1;
        if self.elements > MAX_ELEMENTS {
            return Err(ReadErrorKind::TooManyElements);
        }
        let is_top = self.scopes.len() == 1;
        let bulk_before = self.current.bulk.len();
        let fault = match tag {
            None => Some(WarningKind::UnknownAttribute),
            Some(tag) if !has_a_place(tag, is_top) => Some(WarningKind::Misplaced),
            Some(_) => None,
        };
        if let Some(scope) = self.scopes.last_mut() {
            scope.attribute = Some(Attribute {
                tag,
                declared: Declared::Absent,
                parts: Vec::new(),
                inline: None,
                uri: None,
                fault,
                flaw: None,
                bulk_before,
            });
        }
        Ok(())
    }

    /// States the value representation of the attribute.
    pub(super) fn vr(&mut self, text: &str) {
        if let Some(attribute) = self.attribute() {
            attribute.declared = Declared::parse(text);
            if attribute.declared == Declared::Unknown {
                attribute.flaw = Some(WarningKind::UnknownVr);
            }
        }
    }

    /// Adds a value to the attribute; items come by [`Self::begin_data_set`].
    pub(super) fn part(&mut self, part: Part<'a>) -> Result<(), ReadErrorKind> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(ReadErrorKind::TooManyValues);
        }
        if let Some(attribute) = self.attribute() {
            attribute.parts.push(part);
        }
        Ok(())
    }

    /// How many values the attribute has so far.
    pub(super) fn count(&self) -> usize {
        self.scopes.last().and_then(|s| s.attribute.as_ref()).map_or(0, |attribute| attribute.parts.len())
    }

    /// Gives the attribute inline binary data, in base64.
    pub(super) fn inline_binary(&mut self, text: &str) {
        let decoded = decode_base64(text);
        if let Some(attribute) = self.attribute() {
            match decoded {
                Some(bytes) => attribute.inline = Some(bytes),
                None => attribute.spoil(WarningKind::BadInlineBinary),
            }
        }
    }

    /// Gives the attribute the name under which its bulk data comes.
    pub(super) fn bulk_data_uri(&mut self, uri: &str) {
        if let Some(attribute) = self.attribute() {
            attribute.uri = Some(uri.trim().to_owned());
        }
    }

    /// Says that the attribute is of no use.
    pub(super) fn spoil(&mut self, kind: WarningKind) {
        if let Some(attribute) = self.attribute() {
            attribute.spoil(kind);
        }
    }

    /// Says that something about the attribute is worth a warning.
    pub(super) fn flaw(&mut self, kind: WarningKind) {
        if let Some(attribute) = self.attribute() {
            attribute.flaw.get_or_insert(kind);
        }
    }

    /// Ends the attribute that was begun last.
    pub(super) fn end_attribute(&mut self) {
        let Some(attribute) = self.scopes.last_mut().and_then(|scope| scope.attribute.take()) else { return };
        let (tag, flaw, bulk_before) = (attribute.tag, attribute.flaw, attribute.bulk_before);
        match self.resolve(attribute) {
            Ok(warning) => {
                if let Some(kind) = warning.or(flaw) {
                    self.warn(tag, kind);
                }
            }
            Err(kind) => {
                self.current.bulk.truncate(bulk_before);
                self.warn(tag, kind);
            }
        }
    }

    /// The data sets that were built.
    pub(super) fn finish(self) -> Vec<Metadata> {
        self.finished
    }

    /// Puts the attribute into its data set.
    fn resolve(&mut self, attribute: Attribute<'a>) -> Result<Option<WarningKind>, WarningKind> {
        let Attribute { tag, declared, parts, inline, uri, fault, bulk_before, .. } = attribute;
        if let Some(kind) = fault {
            return Err(kind);
        }
        let tag = tag.ok_or(WarningKind::UnknownAttribute)?;
        if is_group_length(tag) {
            return Ok(None);
        }
        let vr = vr_for(tag, declared, &parts).ok_or(WarningKind::NoVr)?;
        let stated =
            usize::from(!parts.is_empty()) + usize::from(inline.is_some()) + usize::from(uri.is_some());
        let mut warning = (stated > 1).then_some(WarningKind::Ambiguous);
        let mut reference = None;
        let value = match (inline, uri) {
            _ if !parts.is_empty() => value_of(vr, parts)?,
            (Some(bytes), _) => {
                let (value, flaw) = value_of_bytes(vr, bytes)?;
                warning = flaw.or(warning);
                value
            }
            (None, Some(_)) if vr == VR::SQ || tag.group() == FILE_META_GROUP => {
                return Err(WarningKind::WrongKind);
            }
            (None, uri) => {
                reference = uri;
                Element::empty(vr).value
            }
        };
        if let Value::Strings(strings) = &value {
            self.is_beyond_ascii |= !strings.iter().all(|s| s.is_ascii());
        }
        let wants_bulk = reference.is_some() || self.current.bulk.len() > bulk_before;
        self.insert(tag, Element { vr, value }, wants_bulk)?;
        if let Some(uri) = reference {
            let path = self.path(tag);
            self.current.bulk.push(BulkReference { path, vr, uri });
        }
        Ok(warning)
    }

    fn insert(&mut self, tag: Tag, element: Element, wants_bulk: bool) -> Result<(), WarningKind> {
        let data_set = match self.scopes.last_mut() {
            _ if tag.group() == FILE_META_GROUP => &mut self.current.file_meta,
            Some(scope) => &mut scope.data_set,
            None => return Err(WarningKind::Misplaced),
        };
        match data_set.get(tag) {
            // Of bulk data, nobody knows here whether it is the same.
            Some(first) if wants_bulk || *first != element => return Err(WarningKind::Duplicate),
            // Nothing is lost; a private creator may have been put in for an element that came before it.
            Some(_) => {}
            None => data_set.insert(tag, element),
        }
        Ok(())
    }

    fn warn(&mut self, tag: Option<Tag>, kind: WarningKind) {
        if self.current.warnings.len() < MAX_WARNINGS {
            let path = tag.map(|tag| self.path(tag));
            self.current.warnings.push(Warning { path, kind });
        }
    }

    fn path(&self, tag: Tag) -> ElementPath {
        let around = self.scopes.iter().filter_map(|scope| scope.attribute.as_ref());
        let within =
            around.map(|sequence| (sequence.tag.unwrap_or(Tag(0, 0)), sequence.parts.len())).collect();
        ElementPath { within, tag }
    }

    fn attribute(&mut self) -> Option<&mut Attribute<'a>> {
        self.scopes.last_mut()?.attribute.as_mut()
    }
}

impl Attribute<'_> {
    fn spoil(&mut self, kind: WarningKind) {
        self.fault.get_or_insert(kind);
    }
}

/// Whether the tag may stand in a data set, or in the File Meta that some clients put beside it. The lowest odd
/// groups may not (PS3.5 7.1), but archives hold objects with them.
fn has_a_place(tag: Tag, is_top: bool) -> bool {
    match tag.group() {
        FILE_META_GROUP => is_top,
        0x0000 | 0xFFFE => false,
        _ => true,
    }
}

/// The block of private elements that belongs to `creator`: the one `stated` where it is free or the
/// creator's own, or, where none is stated, the creator's or the first free one. `None`: the group is no
/// private one, or the block is another creator's, or all are taken.
fn reserve(data_set: &mut DataSet, group: u16, stated: u16, creator: &str) -> Option<u16> {
    const BLOCKS: std::ops::RangeInclusive<u16> = 0x10..=0xFF;
    if group.is_multiple_of(2) || creator.trim().is_empty() {
        return None;
    }
    let creator = creator.trim();
    let owner = |data_set: &DataSet, block: u16| data_set.string(Tag(group, block)).map(str::to_owned);
    let block = if stated != 0 {
        BLOCKS.contains(&stated).then_some(stated)?
    } else {
        let own = BLOCKS.into_iter().find(|&b| owner(data_set, b).as_deref() == Some(creator));
        own.or_else(|| BLOCKS.into_iter().find(|&b| !data_set.contains(Tag(group, b))))?
    };
    match owner(data_set, block) {
        Some(other) => (other == creator).then_some(block),
        None => {
            data_set.set_str(Tag(group, block), VR::LO, creator);
            Some(block)
        }
    }
}
