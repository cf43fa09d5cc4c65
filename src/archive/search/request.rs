//! A query taken apart by level: which keys and which return attributes belong where.

use crate::archive::Kind;
use crate::archive::attributes::{level_of, required, returned, usual};
use crate::dicom::query::{AttributePath, Level, MatchingKey, Query};
use crate::dicom::{Tag, sop_class, tags};

/// A query/retrieve information model (PS3.4 C.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// Study Root: the patient's attributes are the study's.
    Study,
    /// Patient Root.
    Patient,
}

impl Root {
    /// The SOP class of its C-FIND.
    pub(super) fn sop_class(self) -> &'static str {
        match self {
            Self::Study => sop_class::STUDY_ROOT_FIND,
            Self::Patient => sop_class::PATIENT_ROOT_FIND,
        }
    }

    /// Its levels, from the top.
    pub(super) fn levels(self) -> &'static [Level] {
        let all = &[Level::Patient, Level::Study, Level::Series, Level::Instance];
        match self {
            Self::Study => &all[1..],
            Self::Patient => all,
        }
    }

    /// The level of an attribute in this model, where it is known.
    pub(super) fn level_of(self, tag: Tag) -> Option<Level> {
        level_of(tag).map(|level| level.max(self.levels()[0]))
    }
}

/// A query that an archive of a model can be asked.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) query: Query,
    pub(super) root: Root,
}

impl Request {
    /// Holds the query against the model.
    pub(super) fn new(query: Query, root: Root) -> Result<Self, Kind> {
        if query.level < root.levels()[0] {
            return Err(Kind::Unsupported("searches for patients need the Patient Root model".to_owned()));
        }
        let request = Self { query, root };
        for key in &request.query.keys {
            let level = request.level(&key.path);
            if level > request.query.level {
                // To leave the key out would find what it was to keep away.
                let hint =
                    if key.path.leaf() == tags::MODALITY { "; ModalitiesInStudy is the study's" } else { "" };
                return Err(Kind::BadKeys(format!(
                    "{} is an attribute of the level {}, below the one that is searched{hint}",
                    key.path.tags()[0],
                    level.as_str()
                )));
            }
        }
        Ok(request)
    }

    /// The level that an attribute belongs to; unknown ones belong to what is searched.
    fn level(&self, path: &AttributePath) -> Level {
        self.root.level_of(path.tags()[0]).unwrap_or(self.query.level)
    }

    /// The levels above the one that is searched.
    pub(super) fn parents(&self) -> impl Iterator<Item = Level> + use<> {
        let level = self.query.level;
        self.root.levels().iter().copied().filter(move |l| *l < level)
    }

    /// Whether answers have the attributes of a level: the one that is searched, and those above it that the
    /// URL does not name (PS3.18 10.6.3.3).
    pub(super) fn is_answered(&self, level: Level) -> bool {
        level == self.query.level
            || (level < self.query.level && self.query.within.is_none_or(|within| level > within))
    }

    /// Whether the keys or the return attributes need anything of a level above.
    pub(super) fn needs(&self, level: Level) -> bool {
        self.is_answered(level)
            || self.includes_at(level).next().is_some()
            || self.keys_at(level).iter().any(|key| key.path.tags() != [level.unique_key()])
    }

    /// The keys of a level.
    pub(super) fn keys_at(&self, level: Level) -> Vec<MatchingKey> {
        self.query.keys.iter().filter(|key| self.level(&key.path) == level).cloned().collect()
    }

    /// The value of a level's Unique Key, when the query has exactly one.
    pub(super) fn unique(&self, level: Level) -> Option<&str> {
        let key = self.query.keys.iter().find(|key| key.path.tags() == [level.unique_key()])?;
        match &key.values[..] {
            [one] if !one.contains(['*', '?', '"']) => Some(one),
            _ => None,
        }
    }

    /// The attributes of a level that are returned: its Unique Key, those of PS3.18 10.6.3.3, and what was
    /// asked for besides.
    pub(super) fn returns_at(&self, level: Level) -> Vec<AttributePath> {
        let mut paths = vec![AttributePath::from(level.unique_key())];
        if self.is_answered(level) {
            let top = self.root.levels()[0];
            let with_patient = if level == top { Level::Patient } else { level };
            for level in [with_patient, level] {
                paths.extend(returned(level).iter().copied().map(AttributePath::from));
                if self.query.include_all {
                    paths.extend(usual(level).iter().copied().map(AttributePath::from));
                }
            }
        }
        paths.extend(self.includes_at(level).cloned());
        paths
    }

    /// The attributes of a level above that a match must have to need no search of that level: its Required
    /// Keys, if answers have the level at all, and what the query names.
    pub(super) fn must_have(&self, level: Level) -> Vec<Tag> {
        let mut wanted = Vec::new();
        if self.is_answered(level) {
            let top = self.root.levels()[0];
            wanted.extend_from_slice(required(level));
            wanted.extend_from_slice(if level == top { required(Level::Patient) } else { &[] });
        }
        wanted.extend(self.keys_at(level).iter().map(|key| key.path.tags()[0]));
        wanted.extend(self.includes_at(level).map(|path| path.tags()[0]));
        wanted.retain(|tag| *tag != level.unique_key());
        wanted
    }

    /// Whether an attribute is a key, or was asked for by name.
    pub(super) fn asks_for(&self, tag: Tag) -> bool {
        let query = &self.query;
        query.keys.iter().map(|key| &key.path).chain(&query.include).any(|path| path.tags() == [tag])
    }

    fn includes_at(&self, level: Level) -> impl Iterator<Item = &AttributePath> {
        self.query.include.iter().filter(move |path| self.level(path) == level)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::VR;

    fn query(level: Level, keys: &[(Tag, &str)]) -> Query {
        let key = |(tag, value): &(Tag, &str)| MatchingKey {
            path: (*tag).into(),
            vr: VR::LO,
            values: vec![(*value).into()],
        };
        Query { keys: keys.iter().map(key).collect(), ..super::super::tests::query(level) }
    }

    #[test]
    fn a_key_of_a_lower_level_is_refused_and_never_left_out() {
        let refused = Request::new(query(Level::Study, &[(tags::MODALITY, "CT")]), Root::Study);
        assert!(matches!(refused, Err(Kind::BadKeys(why)) if why.contains("ModalitiesInStudy")));
    }

    #[test]
    fn the_patient_is_part_of_the_study_in_study_root_only() {
        let keys = [(tags::PATIENT_NAME, "A*")];
        for (root, level) in [(Root::Study, Level::Study), (Root::Patient, Level::Patient)] {
            let request = Request::new(query(Level::Series, &keys), root).unwrap();
            assert_eq!(request.keys_at(level).len(), 1);
            assert!(request.returns_at(level).contains(&tags::PATIENT_SEX.into()));
        }
    }

    #[test]
    fn parents_that_the_url_names_are_not_answered() {
        let mut query = query(Level::Instance, &[]);
        query.within = Some(Level::Study);
        let request = Request::new(query, Root::Study).unwrap();
        let answered = |level| request.is_answered(level);
        assert_eq!([Level::Study, Level::Series, Level::Instance].map(answered), [false, true, true]);
        assert_eq!(request.returns_at(Level::Study), [tags::STUDY_INSTANCE_UID.into()]);
    }
}
