//! Asking for objects by name: what is missing, or the rest of what is mostly at hand already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::contexts;
use super::super::error::{Error, Kind};
use super::{Ask, Driver};
use crate::dicom::Uid;
use crate::dicom::query::Level;
use crate::dimse::pool::Contexts;

/// Most UIDs in one request at instance level: the list stays far below the 64 KiB of a short element.
pub(in crate::archive) const UIDS_PER_REQUEST: usize = 64;
/// Of instances that a client names and of which none has come: how many are tried one by one. Either the archive does not
/// know lists of UIDs, or it has none of them.
const TRIED_ONE_BY_ONE: usize = 4;

impl Driver {
    /// Asks for objects by name, with the contexts of their classes.
    pub(super) async fn bring_named(&self, named: Vec<Uid>) -> Result<(), Error> {
        let target = self.collector.target().clone();
        let mut by_series: BTreeMap<Uid, Vec<Uid>> = BTreeMap::new();
        for instance in named {
            let known = self.collector.ledger().expected().and_then(|all| all.get(&instance).cloned());
            // Without its series an instance cannot be asked for (PS3.4 C.4.2.2.1, hierarchical).
            if let Some(series) = known.or_else(|| target.series.clone()) {
                by_series.entry(series).or_default().push(instance);
            }
        }
        let (inner, caller) = (Arc::clone(&self.inner), self.caller.clone());
        let in_vain = self.state().found_nothing && self.collector.ledger().count() == 0;
        let doubts_lists = self.retrieve.only.len() > 1 && in_vain;
        let mut tried = 0;
        for (series, instances) in by_series {
            let takes_lists = inner.knowledge.takes_lists_of_uids() && !doubts_lists;
            let most = if takes_lists { UIDS_PER_REQUEST } else { 1 };
            for instances in instances.chunks(most) {
                let search = inner.instances_of(&caller, &target.study, &series, instances, true);
                let classes = self.unless_gone(search).await?.unwrap_or_default();
                for (instances, contexts) in self.batches(instances, &classes) {
                    let series = Some(series.clone());
                    self.operate(&Ask { level: Level::Instance, series, instances, contexts }).await?;
                    if self.collector.ledger().count() == 0 && self.moves_in_vain() {
                        return Ok(());
                    }
                }
                tried += 1;
                match self.collector.ledger().count() {
                    0 if doubts_lists && tried >= TRIED_ONE_BY_ONE => return Ok(()),
                    count if doubts_lists && count > 0 => inner.knowledge.learn_no_lists_of_uids(),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Whether the archive's last word to a C-MOVE was a failure. With nothing here at all it does not reach us,
    /// and would not with any further part.
    fn moves_in_vain(&self) -> bool {
        let state = self.state();
        let failed = state.failure.as_ref().map(|error| &error.kind);
        matches!(failed, Some(Kind::Status { operation: "C-MOVE", .. }))
    }

    /// Instances by the contexts that they need. Those of unknown class try the likely ones.
    fn batches(&self, instances: &[Uid], classes: &BTreeMap<Uid, Option<Uid>>) -> Vec<(Vec<Uid>, Contexts)> {
        let (form, terms) = (self.retrieve.form, self.inner.terms());
        let class_of = |uid: &Uid| classes.get(uid).cloned().flatten();
        let known: BTreeSet<Uid> = instances.iter().filter_map(class_of).collect();
        let known: Vec<Uid> = known.into_iter().collect();
        let mut batches = Vec::new();
        for contexts in contexts::exhaustive(form, &known, terms) {
            let fits = |class: &Uid| contexts.want.iter().any(|p| p.as_scp && p.abstract_syntax == *class);
            let wanted = instances.iter().filter(|uid| class_of(uid).is_some_and(|class| fits(&class)));
            batches.push((wanted.cloned().collect::<Vec<_>>(), contexts.clone()));
        }
        let unknown: Vec<Uid> = instances.iter().filter(|uid| class_of(uid).is_none()).cloned().collect();
        batches.push((unknown, contexts::likely(form, &[], &self.inner.learnt(), terms)));
        batches.retain(|(instances, _)| !instances.is_empty());
        batches
    }
}
