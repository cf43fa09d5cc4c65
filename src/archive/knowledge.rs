//! What searches have taught about an archive: nothing that could not be learnt again.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use crate::dicom::Uid;
use crate::dicom::query::{AttributePath, Level};

/// How long something learnt holds: archives are updated and configured anew.
const VALID: Duration = Duration::from_secs(3600);
/// Most keys that are remembered. Clients use dozens; beyond this all are forgotten.
const MAX_KEYS: usize = 512;
/// Most studies whose patient is remembered, of some 200 bytes each.
const MAX_PATIENTS: usize = 20_000;
/// Most series whose class is remembered, of some 200 bytes each.
const MAX_SERIES: usize = 10_000;

/// What is known of an archive.
#[derive(Debug, Default)]
pub(super) struct Knowledge {
    learnt: Mutex<Learnt>,
    /// The patients of studies that were seen.
    pub(super) patients: PatientIndex,
    /// The classes of series of which objects came.
    pub(super) classes: SeriesClasses,
}

#[derive(Debug, Default)]
struct Learnt {
    relational: Option<(bool, Instant)>,
    short_lists: Option<Instant>,
    whole_lists: Option<(usize, Instant)>,
    names_refused: Option<Instant>,
    few_contexts: Option<Instant>,
    omits_bulk_data: bool,
    bulk_data_refused: Option<Instant>,
    keys: HashMap<(Level, Vec<AttributePath>), (Treatment, Instant)>,
}

/// What an archive does with a Matching Key of a level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// It matches on it, by its own rules.
    Honoured,
    /// It returns entities whatever the key says.
    Ignored,
}

impl Knowledge {
    /// Whether the archive answers relational queries (PS3.4 C.4.1.3.2.1); `None`: not known.
    pub(super) fn relational(&self) -> Option<bool> {
        self.lock().relational.filter(|(_, since)| since.elapsed() < VALID).map(|(is, _)| is)
    }

    /// The archive answered a relational query, or did not.
    pub(super) fn learn_relational(&self, is: bool) {
        self.lock().relational = Some((is, Instant::now()));
    }

    /// Whether a list of the instances of a series is known to be all there is. `told`: how many the archive says
    /// that there are. Some archives cap their answers without a word.
    pub(super) fn is_whole_list(&self, length: usize, told: Option<usize>) -> bool {
        let learnt = self.lock();
        let holds = |since: Instant| since.elapsed() < VALID;
        let seen = learnt.whole_lists.filter(|(_, since)| holds(*since)).map_or(0, |(longest, _)| longest);
        !learnt.short_lists.is_some_and(holds) && told.map_or(length <= seen, |told| told == length)
    }

    /// The archive sent objects that it does not list: it caps its answers, or hides some.
    pub(super) fn learn_short_lists(&self) {
        self.lock().short_lists = Some(Instant::now());
    }

    /// A list of this length was all there is.
    pub(super) fn learn_whole_lists(&self, length: usize) {
        let mut learnt = self.lock();
        let longest =
            learnt.whole_lists.filter(|(_, since)| since.elapsed() < VALID).map_or(0, |seen| seen.0);
        learnt.whole_lists = Some((length.max(longest), Instant::now()));
    }

    /// Whether several instances may be named in one request (list of UID matching, PS3.4 C.2.2.2.2).
    pub(super) fn takes_lists_of_uids(&self) -> bool {
        self.lock().names_refused.is_none_or(|since| since.elapsed() >= VALID)
    }

    /// The archive brought none of several instances that were named in one request.
    pub(super) fn learn_no_lists_of_uids(&self) {
        self.lock().names_refused = Some(Instant::now());
    }

    /// Whether the archive is not known to refuse associations for the number of their presentation contexts.
    pub(super) fn takes_many_contexts(&self) -> bool {
        self.lock().few_contexts.is_none_or(|since| since.elapsed() >= VALID)
    }

    /// The archive took an association with few contexts, after it had refused one with many.
    pub(super) fn learn_few_contexts(&self) {
        self.lock().few_contexts = Some(Instant::now());
    }

    /// Whether the archive can leave out bulk data (PS3.4 Annex Z).
    pub(super) fn omits_bulk_data(&self) -> bool {
        let learnt = self.lock();
        learnt.omits_bulk_data && learnt.bulk_data_refused.is_none_or(|since| since.elapsed() >= VALID)
    }

    /// The archive accepted the SOP class for that, or did not.
    pub(super) fn learn_bulk_data(&self, omits: bool) {
        self.lock().omits_bulk_data = omits;
    }

    /// The archive accepted the SOP class, and brought nothing by it.
    pub(super) fn learn_bulk_data_refused(&self) {
        self.lock().bulk_data_refused = Some(Instant::now());
    }

    /// What the archive does with these keys together, at a level.
    pub(super) fn treatment(&self, level: Level, keys: &[AttributePath]) -> Option<Treatment> {
        let learnt = self.lock();
        let (treatment, since) = learnt.keys.get(&(level, keys.to_vec()))?;
        (since.elapsed() < VALID).then_some(*treatment)
    }

    /// The archive did this with these keys.
    pub(super) fn learn_treatment(&self, level: Level, keys: Vec<AttributePath>, treatment: Treatment) {
        let mut learnt = self.lock();
        if learnt.keys.len() >= MAX_KEYS {
            learnt.keys.clear();
        }
        learnt.keys.insert((level, keys), (treatment, Instant::now()));
    }

    fn lock(&self) -> MutexGuard<'_, Learnt> {
        self.learnt.lock().expect("no code panics while it holds this lock")
    }
}

/// The Patient IDs of studies that searches have seen: archives that know Patient Root only want both.
#[derive(Debug)]
pub(super) struct PatientIndex {
    generations: Mutex<Generations<String>>,
}

impl PatientIndex {
    /// The Patient ID of a study.
    pub(super) fn patient_of(&self, study: &Uid) -> Option<String> {
        self.lock().get(study)
    }

    /// A study's patient is known now.
    pub(super) fn learn(&self, study: Uid, patient: String) {
        self.lock().insert(study, patient);
    }

    /// What was taken for a study's patient has not proved true.
    pub(super) fn forget(&self, study: &Uid) {
        self.lock().remove(study);
    }

    fn lock(&self) -> MutexGuard<'_, Generations<String>> {
        self.generations.lock().expect("no code panics while it holds this lock")
    }
}

impl Default for PatientIndex {
    fn default() -> Self {
        Self { generations: Mutex::new(Generations::new(MAX_PATIENTS)) }
    }
}

/// The SOP classes of the objects of series that came: mostly one, which further objects of the series have, too.
#[derive(Debug)]
pub(super) struct SeriesClasses {
    /// `None`: several.
    generations: Mutex<Generations<Option<Uid>>>,
}

impl SeriesClasses {
    /// The class of all objects of a series that have come; `None`: none has, or they have several.
    pub(super) fn of(&self, series: &Uid) -> Option<Uid> {
        self.lock().get(series).flatten()
    }

    /// An object of a series came.
    pub(super) fn learn(&self, series: &Uid, class: &Uid) {
        let mut generations = self.lock();
        match generations.get(series) {
            Some(known) if known.as_ref().is_none_or(|known| known == class) => {}
            Some(_) => generations.insert(series.clone(), None),
            None => generations.insert(series.clone(), Some(class.clone())),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Generations<Option<Uid>>> {
        self.generations.lock().expect("no code panics while it holds this lock")
    }
}

impl Default for SeriesClasses {
    fn default() -> Self {
        Self { generations: Mutex::new(Generations::new(MAX_SERIES)) }
    }
}

/// What is remembered of entities, of `most` at most: those that were not needed for longest go first, many at a time.
#[derive(Debug)]
struct Generations<T> {
    most: usize,
    young: HashMap<Uid, T>,
    old: HashMap<Uid, T>,
}

impl<T: Clone> Generations<T> {
    fn new(most: usize) -> Self {
        Self { most, young: HashMap::new(), old: HashMap::new() }
    }

    fn get(&mut self, uid: &Uid) -> Option<T> {
        if let Some(known) = self.young.get(uid) {
            return Some(known.clone());
        }
        let known = self.old.remove(uid)?;
        self.insert(uid.clone(), known.clone());
        Some(known)
    }

    fn insert(&mut self, uid: Uid, known: T) {
        if self.young.len() >= self.most / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(uid, known);
    }

    fn remove(&mut self, uid: &Uid) {
        self.young.remove(uid);
        self.old.remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::tags;

    #[test]
    fn the_index_of_patients_is_bounded_and_keeps_what_is_used() {
        let index = PatientIndex::default();
        let study = |n: usize| format!("1.2.{n}").parse::<Uid>().unwrap();
        index.learn(study(0), "P0".into());
        for n in 1..3 * MAX_PATIENTS {
            index.learn(study(n), "P".into());
            if n % 1000 == 0 {
                assert_eq!(index.patient_of(&study(0)).as_deref(), Some("P0"));
            }
        }
        assert_eq!(index.patient_of(&study(1)), None);
        let generations = index.lock();
        assert!(generations.young.len() + generations.old.len() <= MAX_PATIENTS);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_learnt_is_forgotten_after_a_while() {
        let knowledge = Knowledge::default();
        knowledge.learn_relational(false);
        let keys = vec![AttributePath::from(tags::STUDY_DESCRIPTION)];
        knowledge.learn_treatment(Level::Study, keys.clone(), Treatment::Ignored);
        assert_eq!(knowledge.relational(), Some(false));
        assert_eq!(knowledge.treatment(Level::Study, &keys), Some(Treatment::Ignored));
        assert_eq!(knowledge.treatment(Level::Series, &keys), None);
        tokio::time::advance(VALID).await;
        assert_eq!(knowledge.relational(), None);
        assert_eq!(knowledge.treatment(Level::Study, &keys), None);
    }

    #[test]
    fn the_class_of_a_series_is_told_as_long_as_all_its_objects_have_it() {
        let classes = SeriesClasses::default();
        let [series, ct, sr] = ["1.2", "1.3", "1.4"].map(|uid| uid.parse::<Uid>().unwrap());
        assert_eq!(classes.of(&series), None);
        for (class, told) in [(&ct, Some(ct.clone())), (&ct, Some(ct.clone())), (&sr, None), (&ct, None)] {
            classes.learn(&series, class);
            assert_eq!(classes.of(&series), told);
        }
    }
}
