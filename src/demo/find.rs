//! C-FIND without the network: an identifier becomes a query, a query finds entities, an entity becomes an answer
//! (PS3.4 C.2.2, C.4.1).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::instance::Instance;
use super::levels::level_of;
use super::store::{Entity, Store};
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{DataSet, Element, Value, is_single_valued};
use crate::dicom::matching::{self, Criterion, Verdict};
use crate::dicom::query::{AttributePath, Level, MatchingKey};
use crate::dicom::transfer_syntax::Layout;
use crate::dicom::{AeTitle, Tag, VR, tags};
use crate::dimse::status;

/// Most sequences around a key that is matched; none of the query models has more than two.
const MAX_DEPTH: usize = 4;

/// Attributes that are counted, not stored.
const COMPUTED: [Tag; 8] = [
    tags::MODALITIES_IN_STUDY,
    tags::SOP_CLASSES_IN_STUDY,
    tags::NUMBER_OF_PATIENT_RELATED_STUDIES,
    tags::NUMBER_OF_PATIENT_RELATED_SERIES,
    tags::NUMBER_OF_PATIENT_RELATED_INSTANCES,
    tags::NUMBER_OF_STUDY_RELATED_SERIES,
    tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
    tags::NUMBER_OF_SERIES_RELATED_INSTANCES,
];

/// The two information models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Model {
    PatientRoot,
    StudyRoot,
}

/// What an archive may be unable to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abilities {
    /// Relational queries: without the unique keys of the levels above (PS3.4 C.4.1.2.2.1).
    pub(super) relational: bool,
    /// Queries at IMAGE level.
    pub(super) image_level: bool,
    /// Optional keys are matched, not only unique ones.
    pub(super) optional_keys: bool,
}

/// A query that is understood.
#[derive(Debug)]
pub(super) struct Query {
    level: Level,
    /// The keys asked for, with their items.
    identifier: DataSet,
    /// On stored attributes, and on computed ones.
    stored: Vec<Criterion>,
    computed: Vec<Criterion>,
    /// Some matching keys are not matched.
    ignores_keys: bool,
    relational: bool,
    /// The numbers of related objects are told so much too low.
    tells_fewer: usize,
}

/// A match, to be encoded when it is its turn.
#[derive(Debug)]
pub(super) struct Match {
    instance: Arc<Instance>,
    computed: DataSet,
}

impl Query {
    /// Understands an identifier.
    ///
    /// # Errors
    /// The status to answer: the level is missing or none of the model's, or a key is missing that a query
    /// without relational support needs.
    pub(super) fn new(identifier: DataSet, model: Model, abilities: Abilities) -> Result<Self, u16> {
        let level = identifier
            .string(tags::QUERY_RETRIEVE_LEVEL)
            .and_then(Level::from_value)
            .filter(|level| *level != Level::Patient || model == Model::PatientRoot)
            .filter(|level| *level != Level::Instance || abilities.image_level)
            .ok_or(status::IDENTIFIER_DOES_NOT_MATCH)?;
        if !abilities.relational && !has_keys_above(&identifier, level, model) {
            return Err(status::IDENTIFIER_DOES_NOT_MATCH);
        }
        let is_unique = |tag: Tag| levels().any(|l| l.unique_key() == tag);
        let mut ignores_keys = false;
        let keys: Vec<MatchingKey> = matching_keys(&identifier)
            .into_iter()
            .filter(|key| {
                let tag = key.path.tags()[0];
                let matched = level_of(tag) <= level && (abilities.optional_keys || is_unique(tag));
                ignores_keys |= !matched;
                matched
            })
            .collect();
        let (computed, stored): (Vec<_>, Vec<_>) =
            keys.into_iter().partition(|key| COMPUTED.contains(&key.path.tags()[0]));
        let (stored, computed) = (matching::criteria(&stored), matching::criteria(&computed));
        let relational = abilities.relational;
        Ok(Self { level, identifier, stored, computed, ignores_keys, relational, tells_fewer: 0 })
    }

    /// From now on the numbers of related objects are told so much too low.
    pub(super) fn tell_fewer(&mut self, by: usize) {
        self.tells_fewer = by;
    }

    /// Whether some matching keys had to be ignored: pending responses say so (PS3.4 C.4.1.1.4).
    pub(super) fn ignores_keys(&self) -> bool {
        self.ignores_keys
    }

    /// Everything that matches, in the order of the store.
    pub(super) fn matches(&self, store: &Store) -> Vec<Match> {
        let fits = |criteria: &[Criterion], data_set: &DataSet| {
            criteria.iter().all(|criterion| criterion.judge(data_set) >= Verdict::Likely)
        };
        let uid = |tag| single_value(&self.identifier, tag);
        let narrowed = (uid(tags::STUDY_INSTANCE_UID), uid(tags::SERIES_INSTANCE_UID));
        let mut matches = Vec::new();
        for entity in store.entities(self.level, narrowed.0, narrowed.1) {
            if !fits(&self.stored, &entity.first.attributes) {
                continue;
            }
            let computed = self.compute(&entity);
            if fits(&self.computed, &computed) {
                matches.push(Match { instance: Arc::clone(entity.first), computed });
            }
        }
        matches
    }

    /// The computed attributes that are asked for.
    fn compute(&self, entity: &Entity<'_>) -> DataSet {
        let mut computed = DataSet::new();
        for tag in COMPUTED {
            if !self.identifier.contains(tag) || level_of(tag) > self.level {
                continue;
            }
            let distinct = |of: Tag| -> BTreeSet<String> {
                entity.instances().filter_map(|i| i.attributes.string(of).map(str::to_owned)).collect()
            };
            let count = match tag {
                tags::MODALITIES_IN_STUDY => {
                    computed.set_strings(tag, VR::CS, distinct(tags::MODALITY).into_iter().collect());
                    continue;
                }
                tags::SOP_CLASSES_IN_STUDY => {
                    computed.set_strings(tag, VR::UI, distinct(tags::SOP_CLASS_UID).into_iter().collect());
                    continue;
                }
                tags::NUMBER_OF_PATIENT_RELATED_STUDIES => entity.studies(),
                tags::NUMBER_OF_PATIENT_RELATED_SERIES | tags::NUMBER_OF_STUDY_RELATED_SERIES => {
                    entity.series()
                }
                tags::NUMBER_OF_SERIES_RELATED_INSTANCES => entity.instances_in_series(),
                _ => entity.instances().count(),
            };
            computed.set_str(tag, VR::IS, count.saturating_sub(self.tells_fewer).to_string());
        }
        computed
    }

    /// The identifier of the answer for a match, in the character set that the object is stored in.
    pub(super) fn encode(&self, found: &Match, archive: &AeTitle, layout: Layout) -> Vec<u8> {
        let charset = QueryCharset::Forced(found.instance.charset.clone());
        self.answer(found, archive).encode(layout, charset)
    }

    fn answer(&self, found: &Match, archive: &AeTitle) -> DataSet {
        let mut answer = DataSet::new();
        for (tag, key) in &self.identifier {
            let stored = self.shows(tag).then(|| found.instance.attributes.get(tag)).flatten();
            let element = match found.computed.get(tag).or(stored) {
                Some(element) => narrowed(element, key),
                None => Element::empty(key.vr),
            };
            answer.insert(tag, element);
        }
        answer.remove(tags::SPECIFIC_CHARACTER_SET);
        if self.identifier.contains(tags::INSTANCE_AVAILABILITY) {
            answer.set_str(tags::INSTANCE_AVAILABILITY, VR::CS, "ONLINE");
        }
        answer.set_str(tags::QUERY_RETRIEVE_LEVEL, VR::CS, self.level.as_str());
        answer.set_str(tags::RETRIEVE_AE_TITLE, VR::AE, archive.as_str());
        answer
    }

    /// Whether answers tell this attribute: those of the level, and with relational queries of those above,
    /// without only the unique keys of those above.
    fn shows(&self, tag: Tag) -> bool {
        let of = level_of(tag);
        of == self.level || (of < self.level && (self.relational || of.unique_key() == tag))
    }
}

fn levels() -> impl Iterator<Item = Level> {
    [Level::Patient, Level::Study, Level::Series, Level::Instance].into_iter()
}

/// Whether each level above names one entity by its unique key.
fn has_keys_above(identifier: &DataSet, level: Level, model: Model) -> bool {
    let mut above = levels().filter(|l| *l < level && (*l != Level::Patient || model == Model::PatientRoot));
    above.all(|l| single_value(identifier, l.unique_key()).is_some())
}

/// The value of a key that names exactly one entity.
fn single_value(identifier: &DataSet, tag: Tag) -> Option<&str> {
    match identifier.strings(tag) {
        [one] if !one.is_empty() && !one.contains(['*', '?']) => Some(one),
        _ => None,
    }
}

/// The keys that have a value, those in items included.
fn matching_keys(identifier: &DataSet) -> Vec<MatchingKey> {
    let not_keys = [tags::SPECIFIC_CHARACTER_SET, tags::QUERY_RETRIEVE_LEVEL, tags::RETRIEVE_AE_TITLE];
    let mut keys = Vec::new();
    // Sequences still to be looked into, each with its path; a key's sequence has one item (PS3.4 C.2.2.2.6).
    let mut open: Vec<(Vec<Tag>, &DataSet)> = vec![(Vec::new(), identifier)];
    while let Some((around, data_set)) = open.pop() {
        for (tag, element) in data_set {
            let path = [&around[..], &[tag]].concat();
            match &element.value {
                Value::Items(items) if around.len() < MAX_DEPTH => {
                    open.extend(items.first().map(|item| (path, item)));
                }
                Value::Strings(values) if !element.value.is_empty() && !not_keys.contains(&tag) => {
                    // Only UIDs come as lists (PS3.4 C.2.2.2.2); any other backslash is a character to match.
                    let values = match element.vr {
                        VR::UI => values.clone(),
                        vr if is_single_valued(vr) => values.clone(),
                        _ => vec![values.join("\\")],
                    };
                    if let Some(path) = AttributePath::new(path) {
                        keys.push(MatchingKey { path, vr: element.vr, values });
                    }
                }
                _ => {}
            }
        }
    }
    keys
}

/// The element as far as the key asks for it: of the items of a sequence, the attributes in the key's item; all,
/// where that has none.
fn narrowed(element: &Element, key: &Element) -> Element {
    let wanted = match key.items().first() {
        Some(item) if !item.is_empty() => item,
        _ => return element.clone(),
    };
    let narrow = |item: &DataSet| -> DataSet {
        let element = |(tag, key): (Tag, &Element)| {
            (tag, item.get(tag).cloned().unwrap_or_else(|| Element::empty(key.vr)))
        };
        wanted.iter().map(element).collect()
    };
    Element { vr: element.vr, value: Value::Items(element.items().iter().map(narrow).collect()) }
}

#[cfg(test)]
mod tests;
