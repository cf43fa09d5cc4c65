//! A data set and everything within it, step by step and without recursion.

use super::{DataSet, Element, Iter};
use crate::dicom::Tag;

/// A step of the walk.
#[derive(Debug)]
pub(crate) enum Step<'a> {
    /// An element. A sequence with items goes on with them and ends with `SequenceEnd`.
    Element(Tag, &'a Element),
    /// An item begins.
    Item,
    /// The item ends.
    ItemEnd,
    /// The sequence ends; not told of one without items.
    SequenceEnd,
}

impl DataSet {
    /// Walks over the elements by ascending tag, and over the items of each sequence as it comes.
    pub(crate) fn walk(&self) -> Walk<'_> {
        Walk { open: vec![Level { elements: self.iter(), sequence: None }] }
    }
}

/// A walk in progress.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    open: Vec<Level<'a>>,
}

#[derive(Debug)]
struct Level<'a> {
    elements: Iter<'a>,
    /// Items still to come of the sequence that is open at this level.
    sequence: Option<&'a [DataSet]>,
}

impl<'a> Iterator for Walk<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        let level = self.open.last_mut()?;
        if let Some(items) = &mut level.sequence {
            let Some((item, rest)) = items.split_first() else {
                level.sequence = None;
                return Some(Step::SequenceEnd);
            };
            *items = rest;
            self.open.push(Level { elements: item.iter(), sequence: None });
            return Some(Step::Item);
        }
        if let Some((tag, element)) = level.elements.next() {
            let items = element.items();
            level.sequence = (!items.is_empty()).then_some(items);
            return Some(Step::Element(tag, element));
        }
        self.open.pop();
        (!self.open.is_empty()).then_some(Step::ItemEnd)
    }
}
