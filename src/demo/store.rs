//! What the archive holds, by patient, study, series and instance, in the order in which it came.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::instance::Instance;
use crate::dicom::query::Level;
use crate::dicom::{Uid, tags};

/// Everything the archive holds.
#[derive(Debug, Default)]
pub(super) struct Store {
    studies: Vec<Study>,
    by_uid: HashMap<String, usize>,
    /// The classes of the objects, each with a transfer syntax that some are stored in.
    kinds: HashSet<(Uid, Uid)>,
}

/// The objects of a study.
#[derive(Debug, Default)]
pub(super) struct Study {
    patient: String,
    series: Vec<Series>,
    by_uid: HashMap<String, usize>,
}

/// The objects of a series, one at least.
#[derive(Debug, Default)]
pub(super) struct Series {
    instances: Vec<Arc<Instance>>,
    by_uid: HashMap<String, usize>,
}

/// An entity of a level, as searches see it.
#[derive(Debug, Clone)]
pub(super) struct Entity<'a> {
    /// The first object of the entity, whose attributes stand for it.
    pub(super) first: &'a Arc<Instance>,
    /// The studies of its patient, or the one that it is or lies in.
    studies: Vec<&'a Study>,
    series: Option<&'a Series>,
}

impl Store {
    /// Adds an object, in place of one with the same SOP Instance UID in the same series.
    pub(super) fn insert(&mut self, instance: Instance) {
        self.kinds.insert((instance.head.sop_class.clone(), instance.head.transfer_syntax.clone()));
        let index = *self.by_uid.entry(instance.study().to_owned()).or_insert_with(|| {
            let patient = instance.attributes.string(tags::PATIENT_ID).unwrap_or_default().to_owned();
            self.studies.push(Study { patient, ..Study::default() });
            self.studies.len() - 1
        });
        let study = &mut self.studies[index];
        let index = *study.by_uid.entry(instance.series().to_owned()).or_insert_with(|| {
            study.series.push(Series::default());
            study.series.len() - 1
        });
        let series = &mut study.series[index];
        let index = *series.by_uid.entry(instance.head.sop_instance.to_string()).or_insert_with(|| {
            series.instances.push(Arc::new(instance.clone()));
            series.instances.len() - 1
        });
        series.instances[index] = Arc::new(instance);
    }

    /// Whether any object of this class is stored in this transfer syntax.
    pub(super) fn holds(&self, class: &Uid, syntax: &Uid) -> bool {
        self.kinds.contains(&(class.clone(), syntax.clone()))
    }

    /// How many patients, studies, series and instances there are.
    pub(super) fn count(&self) -> [usize; 4] {
        let patients = self.studies.iter().map(|s| &s.patient).collect::<BTreeSet<_>>().len();
        let series = self.studies.iter().map(|s| s.series.len()).sum();
        [patients, self.studies.len(), series, self.instances().count()]
    }

    /// Every object.
    pub(super) fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.studies.iter().flat_map(Study::instances)
    }

    /// The entities of a level. `study` and `series` narrow them by UID, where that is given: an index saves
    /// the search for them.
    pub(super) fn entities(
        &self,
        level: Level,
        study: Option<&str>,
        series: Option<&str>,
    ) -> Vec<Entity<'_>> {
        if level == Level::Patient {
            return self.patients();
        }
        let studies = match study {
            Some(uid) => self.by_uid.get(uid).map_or(&[][..], |&i| &self.studies[i..=i]),
            None => &self.studies,
        };
        let mut entities = Vec::new();
        for study in studies {
            let all = match series {
                Some(uid) if level > Level::Study => {
                    study.by_uid.get(uid).map_or(&[][..], |&i| &study.series[i..=i])
                }
                _ => &study.series,
            };
            let entity = |first, series| Entity { first, studies: vec![study], series };
            match level {
                Level::Patient | Level::Study => entities.extend(study.first().map(|f| entity(f, None))),
                Level::Series => {
                    entities.extend(all.iter().filter_map(|s| Some(entity(s.instances.first()?, Some(s)))));
                }
                Level::Instance => {
                    entities.extend(all.iter().flat_map(|s| s.instances.iter().map(|i| entity(i, Some(s)))))
                }
            }
        }
        entities
    }

    fn patients(&self) -> Vec<Entity<'_>> {
        let mut patients: Vec<Entity<'_>> = Vec::new();
        let mut by_id: HashMap<&str, usize> = HashMap::new();
        for study in &self.studies {
            let Some(first) = study.first() else { continue };
            let index = *by_id.entry(&study.patient).or_insert_with(|| {
                patients.push(Entity { first, studies: Vec::new(), series: None });
                patients.len() - 1
            });
            patients[index].studies.push(study);
        }
        patients
    }
}

impl Study {
    fn instances(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.series.iter().flat_map(|s| &s.instances)
    }

    fn first(&self) -> Option<&Arc<Instance>> {
        self.series.first()?.instances.first()
    }
}

impl<'a> Entity<'a> {
    /// How many studies the entity's patient has.
    pub(super) fn studies(&self) -> usize {
        self.studies.len()
    }

    /// How many series its studies have.
    pub(super) fn series(&self) -> usize {
        self.studies.iter().map(|s| s.series.len()).sum()
    }

    /// The objects of its studies.
    pub(super) fn instances(&self) -> impl Iterator<Item = &'a Arc<Instance>> + '_ {
        self.studies.iter().flat_map(|s| s.instances())
    }

    /// How many objects its series has.
    pub(super) fn instances_in_series(&self) -> usize {
        self.series.map_or(0, |s| s.instances.len())
    }
}
