//! Completes matches with what the archive did not return with them: attributes of the levels above, and what
//! can be counted below.
//!
//! Counting takes a C-FIND a study. It is done for ModalitiesInStudy as a key, and for it and the numbers of
//! related series and instances when the query names them in `includefield`, not for every list of studies.
//! Instances are counted where the archive tells how many each series has.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::find::Stop;
use super::identifier::Ask;
use super::levels::{Searcher, inherit};
use crate::archive::Kind;
use crate::dicom::dataset::{DataSet, vr_of};
use crate::dicom::query::{AttributePath, Level, MatchingKey};
use crate::dicom::{Tag, VR, tags};

/// UIDs in one list: short enough for every archive's parser.
const UIDS_AT_ONCE: usize = 100;
/// Most series of a study that are counted.
const MAX_SERIES: usize = 10_000;

/// What is counted below a study.
const COUNTED: [Tag; 3] = [
    tags::MODALITIES_IN_STUDY,
    tags::NUMBER_OF_STUDY_RELATED_SERIES,
    tags::NUMBER_OF_STUDY_RELATED_INSTANCES,
];

impl Searcher<'_> {
    /// Whether something can be added to a match before it is judged.
    pub(super) fn is_incomplete(&self, ask: &Ask, data_set: &DataSet) -> bool {
        self.missing_count(ask, data_set) || self.missing_levels(ask, data_set).next().is_some()
    }

    /// Adds it, within the bound on searches.
    pub(super) async fn complete(&mut self, ask: &Ask, held: &mut [DataSet]) -> Result<(), Stop> {
        for level in self.request.parents() {
            self.complete_level(ask, level, held).await?;
        }
        for data_set in held.iter_mut() {
            if !self.missing_count(ask, data_set) {
                continue;
            }
            if self.completions_left == 0 {
                return self.cut_short(Level::Study);
            }
            self.count(data_set).await?;
        }
        Ok(())
    }

    fn missing_count(&self, ask: &Ask, data_set: &DataSet) -> bool {
        let is_missing = |tag: Tag| {
            self.request.asks_for(tag) && data_set.get(tag).is_none_or(|element| element.value.is_empty())
        };
        ask.level == Level::Study
            && data_set.string(tags::STUDY_INSTANCE_UID).is_some()
            && COUNTED.into_iter().any(is_missing)
    }

    /// The levels above of which a relational query did not bring what is wanted.
    fn missing_levels<'s>(&'s self, ask: &'s Ask, data_set: &'s DataSet) -> impl Iterator<Item = Level> + 's {
        let above = self.shape.above().iter().filter(|_| ask.relational);
        let lacking = above.filter(move |(level, wanted)| {
            let has = |tag: Tag| data_set.get(tag).is_some_and(|element| !element.value.is_empty());
            let lacks_some = wanted.iter().any(|tag| !data_set.contains(*tag));
            has(level.unique_key())
                && (lacks_some || (!wanted.is_empty() && !wanted.iter().copied().any(has)))
        });
        lacking.map(|(level, _)| *level)
    }

    /// Asks for the parents of a level, many at once, and adds their attributes to the matches.
    async fn complete_level(&mut self, ask: &Ask, level: Level, held: &mut [DataSet]) -> Result<(), Stop> {
        let unique = level.unique_key();
        let above: Vec<Level> = self.request.parents().filter(|l| *l < level).collect();
        // The parents of each grandparent.
        let mut wanted: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
        for data_set in held.iter() {
            if self.missing_levels(ask, data_set).any(|l| l == level)
                && let Some(own) = data_set.string(unique)
            {
                let grandparent = above.iter().map(|l| data_set.string(l.unique_key()).unwrap_or_default());
                wanted.entry(grandparent.map(str::to_owned).collect()).or_default().insert(own.to_owned());
            }
        }
        let mut found: HashMap<String, DataSet> = HashMap::new();
        for (grandparent, values) in wanted {
            let mut parent = DataSet::new();
            for (level, value) in above.iter().zip(grandparent) {
                parent.set_str(level.unique_key(), vr_of(level.unique_key()), value);
            }
            let values: Vec<String> = values.into_iter().collect();
            let at_once = if vr_of(unique) == VR::UI { UIDS_AT_ONCE } else { 1 };
            for list in values.chunks(at_once) {
                self.ask_for(level, &above, &parent, list.to_vec(), &mut found).await?;
                // Not every archive takes a list.
                for value in list.iter().filter(|_| list.len() > 1) {
                    if !found.contains_key(value) {
                        self.ask_for(level, &above, &parent, vec![value.clone()], &mut found).await?;
                    }
                }
            }
        }
        for data_set in held {
            let Some(parent) = data_set.string(unique).and_then(|own| found.get(own)) else { continue };
            inherit(self.request.root, data_set, parent);
        }
        Ok(())
    }

    async fn ask_for(
        &mut self,
        level: Level,
        above: &[Level],
        parent: &DataSet,
        values: Vec<String>,
        found: &mut HashMap<String, DataSet>,
    ) -> Result<(), Stop> {
        if self.completions_left == 0 {
            return self.cut_short(level);
        }
        self.completions_left -= 1;
        let (unique, limit) = (level.unique_key(), values.len());
        let keys = self.request.keys_at(level).into_iter().map(|key| key.path);
        let ask = Ask {
            level,
            parent: parent.clone(),
            above: above.to_vec(),
            relational: false,
            keys: vec![MatchingKey { path: unique.into(), vr: vr_of(unique), values }],
            returns: self.request.returns_at(level).into_iter().chain(keys).collect(),
        };
        for identifier in ask.identifiers().data_sets {
            match self.client.all(identifier, false, limit).await {
                Ok(parents) => {
                    found.extend(parents.into_iter().filter_map(|p| Some((p.string(unique)?.to_owned(), p))));
                }
                Err(Stop::Failed(error)) if matches!(error.kind, Kind::Status { .. }) => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    /// Counts what is below a study.
    async fn count(&mut self, study: &mut DataSet) -> Result<(), Stop> {
        self.completions_left = self.completions_left.saturating_sub(1);
        let returned = [tags::SERIES_INSTANCE_UID, tags::MODALITY, tags::NUMBER_OF_SERIES_RELATED_INSTANCES];
        let ask = Ask {
            level: Level::Series,
            parent: study.clone(),
            above: self.request.root.levels().iter().copied().filter(|l| *l < Level::Series).collect(),
            relational: false,
            keys: Vec::new(),
            returns: returned.into_iter().map(AttributePath::from).collect(),
        };
        let Some(identifier) = ask.identifiers().data_sets.pop() else { return Ok(()) };
        let series = match self.client.all(identifier, false, MAX_SERIES).await {
            Ok(series) => series,
            Err(Stop::Failed(error)) if matches!(error.kind, Kind::Status { .. }) => return Ok(()),
            Err(stop) => return Err(stop),
        };
        let is_missing = |tag: Tag| study.get(tag).is_none_or(|element| element.value.is_empty());
        let [modalities, series_count, instance_count] = COUNTED.map(is_missing);
        if modalities {
            let found: BTreeSet<&str> = series.iter().filter_map(|s| s.string(tags::MODALITY)).collect();
            let found = found.into_iter().map(str::to_owned).collect();
            study.set_strings(tags::MODALITIES_IN_STUDY, VR::CS, found);
        }
        if series_count {
            study.set_str(tags::NUMBER_OF_STUDY_RELATED_SERIES, VR::IS, series.len().to_string());
        }
        let numbers: Option<Vec<i64>> =
            series.iter().map(|s| s.int(tags::NUMBER_OF_SERIES_RELATED_INSTANCES)).collect();
        if let (true, Some(numbers)) = (instance_count, numbers) {
            let sum: i64 = numbers.into_iter().fold(0, i64::saturating_add);
            study.set_str(tags::NUMBER_OF_STUDY_RELATED_INSTANCES, VR::IS, sum.to_string());
        }
        Ok(())
    }
}
