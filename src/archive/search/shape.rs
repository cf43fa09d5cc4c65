//! What the matches of one search look like: worked out once, as there may be thousands of them.

use super::request::Request;
use crate::archive::attributes::{returned, usual};
use crate::dicom::dataset::{DataSet, vr_of};
use crate::dicom::query::Level;
use crate::dicom::{Tag, VR, tags};

/// The form of all matches of a search.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Attributes that every answer has, if empty.
    present: Vec<(Tag, VR)>,
    /// Attributes of levels below the one that is searched, by ascending tag.
    lower: Vec<Tag>,
    /// What a match must have of each level above to need no search of that level.
    above: Vec<(Level, Vec<Tag>)>,
}

impl Shape {
    /// The form of the matches of a request.
    pub(super) fn of(request: &Request) -> Self {
        let Request { query, root } = request;
        let levels = || request.parents().chain([query.level]);
        let all = [Level::Patient, Level::Study, Level::Series, Level::Instance];
        let below = all.into_iter().filter(|level| *level > query.level);
        let mut lower: Vec<Tag> = below
            .flat_map(|level| returned(level).iter().chain(usual(level)))
            .copied()
            .filter(|tag| root.level_of(*tag).is_some_and(|level| level > query.level))
            .collect();
        lower.sort_unstable();
        lower.dedup();
        let answered = levels().filter(|level| request.is_answered(*level));
        let mut present: Vec<Tag> = answered
            .flat_map(|level| request.returns_at(level))
            .chain(query.include.clone())
            .map(|path| path.tags()[0])
            // A private attribute without its creator would mean nothing.
            .filter(|tag| tag.group() % 2 == 0 && lower.binary_search(tag).is_err())
            .collect();
        present.sort_unstable();
        present.dedup();
        let present = present.into_iter().map(|tag| (tag, vr_of(tag))).collect();
        let above = request.parents().map(|level| (level, request.must_have(level))).collect();
        Self { present, lower, above }
    }

    /// The match as the client gets it: with all attributes that answers have, empty where the archive gave none, and
    /// without what belongs to a lower level or to C-FIND only.
    pub(super) fn give(&self, data_set: &mut DataSet) {
        data_set.retain(|tag| is_for_clients(tag) && self.lower.binary_search(&tag).is_err());
        for (tag, vr) in &self.present {
            if !data_set.contains(*tag) {
                data_set.set_empty(*tag, *vr);
            }
        }
    }

    /// The levels above, each with what a match must have of it.
    pub(super) fn above(&self) -> &[(Level, Vec<Tag>)] {
        &self.above
    }
}

/// Whether an attribute of a match is the client's business: its text is Unicode by now, and the level is what
/// was asked for.
fn is_for_clients(tag: Tag) -> bool {
    tag.group() >= 0x0008
        && tag.element() != 0
        && !matches!(tag, tags::QUERY_RETRIEVE_LEVEL | tags::SPECIFIC_CHARACTER_SET)
}
