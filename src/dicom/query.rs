//! What a search asks for, in the terms of neither protocol (PS3.4 C.2.2, PS3.18 8.3.4).

use super::{Tag, Uid, VR, tags};

/// A level of the Query/Retrieve information models (PS3.4 C.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Level {
    /// PATIENT, in the Patient Root model only.
    Patient,
    /// STUDY.
    Study,
    /// SERIES.
    Series,
    /// IMAGE: composite object instances.
    Instance,
}

impl Level {
    /// The value of Query/Retrieve Level (0008,0052).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "PATIENT",
            Self::Study => "STUDY",
            Self::Series => "SERIES",
            Self::Instance => "IMAGE",
        }
    }

    /// The level that a value of (0008,0052) names.
    pub fn from_value(value: &str) -> Option<Self> {
        [Self::Patient, Self::Study, Self::Series, Self::Instance]
            .into_iter()
            .find(|l| l.as_str() == value.trim())
    }

    /// The Unique Key of the level (PS3.4 C.6.1.1, C.6.2.1).
    pub const fn unique_key(self) -> Tag {
        match self {
            Self::Patient => tags::PATIENT_ID,
            Self::Study => tags::STUDY_INSTANCE_UID,
            Self::Series => tags::SERIES_INSTANCE_UID,
            Self::Instance => tags::SOP_INSTANCE_UID,
        }
    }
}

/// Where an attribute stands: the tags of the sequences around it, outermost first, then its own.
/// Never empty, at most [`AttributePath::MAX_DEPTH`] tags.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AttributePath(Vec<Tag>);

impl AttributePath {
    /// Deepest path that a query may name. No attribute of the standard's query models lies deeper than 3.
    pub const MAX_DEPTH: usize = 8;

    /// A path through sequences; `None` when it is empty or deeper than [`Self::MAX_DEPTH`].
    pub fn new(path: Vec<Tag>) -> Option<Self> {
        (1..=Self::MAX_DEPTH).contains(&path.len()).then_some(Self(path))
    }

    /// The tags, outermost sequence first.
    pub fn tags(&self) -> &[Tag] {
        &self.0
    }

    /// The tags of the sequences around the attribute; none at the top.
    pub fn sequences(&self) -> &[Tag] {
        &self.0[..self.0.len() - 1]
    }

    /// The attribute's own tag.
    pub fn leaf(&self) -> Tag {
        *self.0.last().expect("a path has at least one tag")
    }
}

impl From<Tag> for AttributePath {
    fn from(tag: Tag) -> Self {
        Self(vec![tag])
    }
}

/// One Matching Key with its value (PS3.4 C.2.2.2). An attribute without a value is a return key instead.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MatchingKey {
    /// The attribute.
    pub path: AttributePath,
    /// Its value representation, by the dictionary, or as guessed for a private one (`LO`).
    pub vr: VR,
    /// The values in Unicode, as the client sent them: wildcards and ranges unparsed, never empty. More than
    /// one only where the client listed several (List of UID Matching, or multiple value matching).
    pub values: Vec<String>,
}

/// A search at one level.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query {
    /// The level of the entities that are returned.
    pub level: Level,
    /// The level of the entity that the URL names and the search stays within. Attributes of that level and
    /// of those above it are returned on demand only (PS3.18 10.6.3.3).
    pub within: Option<Level>,
    /// Matching Keys, the UIDs of the parents in the URL included; each path once.
    pub keys: Vec<MatchingKey>,
    /// Attributes to return besides those that the level always returns (PS3.18 10.6.3.3).
    pub include: Vec<AttributePath>,
    /// `includefield=all`: everything that the archive has at this level.
    pub include_all: bool,
    /// Fuzzy semantic matching of person names was asked for (PS3.18 8.3.4.2).
    pub fuzzy: bool,
    /// Empty value matching was asked for (PS3.18 8.3.4.5).
    pub empty_value: bool,
    /// Multiple value matching was asked for (PS3.18 8.3.4.6).
    pub multiple_value: bool,
    /// Only what the archive says itself of whose a match is counts: one that does not say it is none, and is not taken for
    /// what was asked for.
    pub as_said: bool,
    /// How many matches to leave out at the beginning.
    pub offset: usize,
    /// How many matches the client wants at most; `None`: all.
    pub limit: Option<usize>,
}

impl Query {
    /// Whether it is for series or instances by their own UIDs, which an archive may look up by these alone.
    pub fn is_for_lower_uids(&self) -> bool {
        let lower = [tags::SERIES_INSTANCE_UID, tags::SOP_INSTANCE_UID];
        self.keys.iter().any(|key| lower.contains(&key.path.leaf()))
    }

    /// The value of a UID key of the query, when there is exactly one.
    pub fn single_uid(&self, tag: Tag) -> Option<Uid> {
        let key = self.keys.iter().find(|k| k.path.tags() == [tag])?;
        match key.values.as_slice() {
            [one] => one.parse().ok(),
            _ => None,
        }
    }
}

/// What a retrieval asks for: one entity of the Study Root model, named by the UIDs from the study down.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Target {
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID, for a series or an instance.
    pub series: Option<Uid>,
    /// SOP Instance UID, for an instance; only with `series`.
    pub instance: Option<Uid>,
}

impl Target {
    /// The level of the entity.
    pub fn level(&self) -> Level {
        match (&self.series, &self.instance) {
            (_, Some(_)) => Level::Instance,
            (Some(_), None) => Level::Series,
            (None, None) => Level::Study,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_go_by_their_dimse_names() {
        for level in [Level::Patient, Level::Study, Level::Series, Level::Instance] {
            assert_eq!(Level::from_value(level.as_str()), Some(level));
        }
        assert_eq!(Level::from_value("IMAGE "), Some(Level::Instance));
        assert_eq!(Level::from_value("INSTANCE"), None);
    }

    #[test]
    fn a_path_is_bounded() {
        assert_eq!(AttributePath::new(vec![]), None);
        assert_eq!(AttributePath::new(vec![tags::PATIENT_ID; 9]), None);
        assert_eq!(AttributePath::from(tags::PATIENT_ID).leaf(), tags::PATIENT_ID);
    }
}
