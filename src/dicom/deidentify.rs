//! De-identified objects, piece by piece and in constant memory, by the Basic Application Level Confidentiality Profile
//! (PS3.15 Annex E).
//!
//! What `table` does not keep is removed, emptied, replaced by a value that says nothing, or by other UIDs. Where the
//! table leaves a choice, that is taken which every definition of the object allows: a dummy before nothing, nothing
//! before an absence; a sequence that need not be there is removed. Private attributes go, and so does what the dictionary
//! does not know: nobody can tell that it is harmless. `rest` has what the table leaves out. What stands in the pixels stays
//! (PS3.15 E.3.1 is another profile's option); an object that says of itself that it names its patient there, by Burned In
//! Annotation (0028,0301), is not given out as one that does not.

mod dummy;
mod key;
mod object;
mod rest;
mod table;

use std::collections::VecDeque;

use bytes::Bytes;

use self::dummy::{Earlier, added};
use self::table::{Action, action};
use super::dictionary::vr_of;
use super::encode::{
    put_header, put_item, put_item_end, put_sequence_end, put_undefined, put_undefined_item,
};
use super::object::Head;
use super::reencode::{Out, Reencoder};
use super::scan::{Content, ElementHeader, Error, ErrorKind, Event, Inflater, Scanner};
use super::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_LE, Layout, is_native, layout};
use super::{Tag, Uid, VR, tags};

pub use self::key::Key;
pub use self::object::{NotDeidentified, deidentified};

/// Longest list of UIDs that are replaced, in bytes: half a thousand of the longest, and what replaces the shortest ones
/// has less than a mebibyte. A longer list becomes empty.
const MAX_UIDS: usize = 32 << 10;
/// Longest value of Burned In Annotation that is looked at: YES or NO, with padding.
const MAX_ANSWER: usize = 16;
/// Explicit VR Little Endian, as which native objects come out.
const TO: Layout = Layout::ExplicitLe;

/// A de-identification in progress. What goes in is a data set in any transfer syntax, what comes out has the one of
/// [`Deidentifier::head`].
#[derive(Debug)]
pub struct Deidentifier {
    key: Key,
    inflater: Option<Inflater>,
    /// Before the profile everything is brought into one encoding.
    reencoder: Reencoder,
    scanner: Scanner,
    open: Vec<Open>,
    /// Attributes that say what was done, still to be written, the next one last.
    added: Vec<(Tag, Vec<u8>)>,
    /// What was done to the object before, while that passes.
    earlier: Option<Earlier>,
    /// Whether patients are named in the pixels; `None`: not known yet.
    burned_in: Option<bool>,
    out: Out,
    ready: VecDeque<Bytes>,
}

/// What is open around the next bytes.
#[derive(Debug)]
enum Open {
    /// A sequence, or fragments; whether a delimiter ends it.
    Sequence {
        delimited: bool,
    },
    Item,
    /// A value, or a fragment, that passes.
    Value,
    /// UIDs that are gathered; whether those of the standard stay.
    Uids(Tag, Vec<u8>, bool),
    /// Burned In Annotation, which passes and is looked at.
    BurnedIn(Vec<u8>),
}

/// What becomes of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It stays; what is in it has its own fate.
    Keep,
    Remove,
    Empty,
    Dummy,
    Uids,
    /// Its UIDs are replaced, but for those of the standard.
    OtherUids,
}

impl Deidentifier {
    /// A de-identification of an object with this head.
    pub fn new(head: &Head, key: &Key) -> Self {
        Self {
            key: key.clone(),
            inflater: is_deflated(&head.transfer_syntax).then(Inflater::default),
            reencoder: Reencoder::new(layout(&head.transfer_syntax)),
            scanner: Scanner::new(TO),
            open: Vec::new(),
            added: added(),
            earlier: None,
            burned_in: None,
            out: Out::default(),
            ready: VecDeque::new(),
        }
    }

    /// What identifies the object that comes out.
    pub fn head(head: &Head, key: &Key) -> Head {
        let syntax = &head.transfer_syntax;
        let is_explicit = !is_native(syntax) && !is_deflated(syntax);
        let transfer_syntax = if is_explicit { syntax.clone() } else { Uid::from_static(EXPLICIT_VR_LE) };
        Head { transfer_syntax, sop_instance: key.uid(&head.sop_instance), ..head.clone() }
    }

    /// Whether the object says that its pixels name the patient; `None`: not known yet. It is known before the pixels come.
    pub fn is_burned_in(&self) -> Option<bool> {
        self.burned_in
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// When the structure of the source cannot be followed.
    pub fn push(&mut self, bytes: Bytes) -> Result<(), Error> {
        match &mut self.inflater {
            Some(inflater) => inflater.push(bytes),
            None => self.reencode(bytes)?,
        }
        Ok(())
    }

    /// The next bytes of the de-identified data set; `None`: more are wanted, or it is at its end.
    ///
    /// # Errors
    /// When the structure of the source cannot be followed.
    pub fn pop(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            // A few bytes may swell to many, which come one piece after the other.
            let Some(inflater) = &mut self.inflater else { return Ok(None) };
            let inflated = inflater.next().map_err(|kind| Error { kind, offset: 0, tag: Tag(0, 0) })?;
            let Some(bytes) = inflated else { return Ok(None) };
            self.reencode(bytes)?;
        }
    }

    /// Says that no more bytes come, and returns the rest.
    ///
    /// # Errors
    /// When the source broke off before its end.
    pub fn finish(mut self) -> Result<Vec<Bytes>, Error> {
        if self.inflater.as_ref().is_some_and(|inflater| !inflater.has_ended()) {
            return Err(Error { kind: ErrorKind::Truncated, offset: 0, tag: Tag(0, 0) });
        }
        let reencoder = std::mem::replace(&mut self.reencoder, Reencoder::new(TO));
        self.walk(reencoder.finish()?)?;
        self.add_before(None);
        self.burned_in.get_or_insert(false);
        self.ready.extend(self.out.take());
        self.scanner.finish()?;
        Ok(self.ready.into())
    }

    fn reencode(&mut self, bytes: Bytes) -> Result<(), Error> {
        let pieces = self.reencoder.push(bytes)?;
        self.walk(pieces)?;
        self.ready.extend(self.out.take());
        Ok(())
    }

    fn walk(&mut self, pieces: Vec<Bytes>) -> Result<(), Error> {
        for piece in pieces {
            self.scanner.push(piece);
            while let Some(event) = self.scanner.next()? {
                match &mut self.earlier {
                    None => self.step(event),
                    Some(earlier) => {
                        if earlier.step(event, &mut self.scanner)? {
                            self.keep_earlier();
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, event: Event) {
        let small = &mut self.out.small;
        match event {
            Event::Element(header) => self.element(&header),
            Event::Value(piece) => match self.open.last_mut() {
                Some(Open::Uids(_, uids, _)) if uids.len() <= MAX_UIDS => uids.extend_from_slice(&piece),
                Some(Open::Value) => self.out.pass(piece),
                Some(Open::BurnedIn(answer)) => {
                    answer.extend(piece.iter().take(MAX_ANSWER.saturating_sub(answer.len())));
                    self.out.pass(piece);
                }
                _ => {}
            },
            Event::Item(_) => {
                put_undefined_item(small, TO);
                self.open.push(Open::Item);
            }
            Event::Fragment(header) => {
                put_item(small, TO, header.length.unwrap_or_default());
                self.open.push(Open::Value);
            }
            Event::ElementEnd | Event::ItemEnd | Event::FragmentEnd => match self.open.pop() {
                Some(Open::Item) => put_item_end(small, TO),
                Some(Open::Sequence { delimited: true }) => put_sequence_end(small, TO),
                Some(Open::Uids(tag, uids, keeps)) => {
                    let fits = uids.len() <= MAX_UIDS;
                    let others = if fits { self.key.uids(&uids, keeps) } else { Vec::new() };
                    dummy::put(small, tag, VR::UI, &others);
                }
                Some(Open::BurnedIn(answer)) => {
                    let is_yes = answer.trim_ascii().eq_ignore_ascii_case(b"YES");
                    self.burned_in = Some(is_yes || self.burned_in == Some(true));
                }
                Some(Open::Sequence { delimited: false } | Open::Value) | None => {}
            },
        }
    }

    fn element(&mut self, header: &ElementHeader) {
        let tag = header.tag;
        if self.open.is_empty() {
            self.add_before(Some(tag));
            if tag > tags::BURNED_IN_ANNOTATION {
                self.burned_in.get_or_insert(false);
            }
            if tag == tags::BURNED_IN_ANNOTATION && header.content == Content::Value {
                self.keep(header);
                self.open.pop();
                return self.open.push(Open::BurnedIn(Vec::new()));
            }
            if tag == tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE && header.content == Content::Items {
                return self.earlier = Some(Earlier::new(header));
            }
            if dummy::is_added(tag) {
                return self.scanner.skip();
            }
        }
        let vr = vr_of(tag);
        match fate(tag, vr, header.content == Content::Value) {
            Fate::Keep => return self.keep(header),
            Fate::Uids => return self.open.push(Open::Uids(tag, Vec::new(), false)),
            Fate::OtherUids => return self.open.push(Open::Uids(tag, Vec::new(), true)),
            Fate::Remove => {}
            Fate::Empty => dummy::put(&mut self.out.small, tag, vr, &[]),
            Fate::Dummy => dummy::put_dummy(&mut self.out.small, tag, vr),
        }
        self.scanner.skip();
    }

    /// Passes an element on; what is in it has to show itself.
    fn keep(&mut self, header: &ElementHeader) {
        let small = &mut self.out.small;
        let (tag, length) = (header.tag, header.length);
        self.open.push(match (header.content, length) {
            (Content::Value, length) => {
                put_header(small, TO, tag, header.vr, length.unwrap_or_default());
                Open::Value
            }
            (Content::Items, Some(0)) => {
                put_header(small, TO, tag, VR::SQ, 0);
                Open::Sequence { delimited: false }
            }
            (Content::Items, _) => {
                put_undefined(small, TO, tag, VR::SQ);
                Open::Sequence { delimited: true }
            }
            (Content::Fragments, _) => {
                put_undefined(small, TO, tag, VR::OB);
                Open::Sequence { delimited: true }
            }
        });
    }

    /// Adds what was done before to what says what was done.
    fn keep_earlier(&mut self) {
        let Some(earlier) = self.earlier.take() else { return };
        let sequence = tags::DEIDENTIFICATION_METHOD_CODE_SEQUENCE;
        if let Some((_, element)) = self.added.iter_mut().find(|(added, _)| *added == sequence) {
            *element = dummy::codes(earlier.finish());
        }
    }

    /// Writes what says what was done, as far as it stands before this attribute of the data set; `None`: all of it.
    fn add_before(&mut self, tag: Option<Tag>) {
        while let Some((_, element)) = self.added.pop_if(|(added, _)| tag.is_none_or(|tag| *added < tag)) {
            self.out.small.extend(element);
        }
    }
}

fn is_deflated(syntax: &Uid) -> bool {
    syntax.as_str() == DEFLATED_EXPLICIT_VR_LE
}

/// What becomes of an attribute of this VR by the dictionary; `is_value`: it is encoded as a value, and not as items or
/// fragments.
fn fate(tag: Tag, vr: VR, is_value: bool) -> Fate {
    let is_sequence = vr == VR::SQ;
    match action(tag) {
        // Nobody knows the one, and in the other, items that came as bytes, anything may stand.
        None if vr == VR::UN || (is_sequence && is_value) => Fate::Remove,
        None => rest::fate(tag, vr, is_value).unwrap_or(Fate::Keep),
        Some(Action::Uid) if is_value => Fate::Uids,
        Some(Action::RemoveOrEmptyOrUid) if !is_value => Fate::Keep,
        Some(Action::Empty | Action::RemoveOrEmpty) => Fate::Empty,
        Some(Action::RemoveOrDummy | Action::RemoveOrEmptyOrDummy) if is_sequence => Fate::Remove,
        Some(Action::Dummy | Action::RemoveOrDummy | Action::EmptyOrDummy | Action::RemoveOrEmptyOrDummy) => {
            Fate::Dummy
        }
        Some(Action::Remove | Action::Uid | Action::RemoveOrEmptyOrUid) => Fate::Remove,
    }
}

#[cfg(test)]
mod tests;
