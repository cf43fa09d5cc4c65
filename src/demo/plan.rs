//! Which objects a C-GET or C-MOVE sends: those that the identifier names (PS3.4 C.4.2.2.1), and what faults make of
//! them.

use std::collections::HashSet;
use std::sync::Arc;

use super::faults::{Fault, Faults};
use super::instance::Instance;
use super::store::Store;
use crate::dicom::dataset::DataSet;
use crate::dicom::query::Level;
use crate::dicom::{Tag, tags};
use crate::dimse::status;

/// An object to send.
#[derive(Debug, Clone)]
pub(super) struct Planned {
    pub(super) instance: Arc<Instance>,
    /// It is one of those asked for, and shows in the counters.
    pub(super) counted: bool,
    pub(super) twist: Twist,
    /// It goes without bulk data.
    pub(super) without_bulk_data: bool,
}

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twist {
    Nothing,
    /// It is not sent, and counts as failed.
    Fails,
    /// Its last byte is another.
    OtherBytes,
    /// The command names another SOP Instance UID.
    OtherInstance,
    /// Its bytes are encoded otherwise than the context says.
    OtherSyntax,
}

/// The objects that a retrieval asks for.
///
/// # Errors
/// The status to answer: the level or its unique key is missing.
pub(super) fn select(store: &Store, identifier: &DataSet) -> Result<Vec<Arc<Instance>>, u16> {
    let refused = status::IDENTIFIER_DOES_NOT_MATCH;
    let level = identifier.string(tags::QUERY_RETRIEVE_LEVEL).and_then(Level::from_value).ok_or(refused)?;
    let wanted = |tag: Tag| -> Option<HashSet<&str>> {
        let values: HashSet<&str> =
            identifier.strings(tag).iter().map(String::as_str).filter(|v| !v.is_empty()).collect();
        (!values.is_empty()).then_some(values)
    };
    if wanted(level.unique_key()).is_none() {
        return Err(refused);
    }
    let single = |tag: Tag| match identifier.strings(tag) {
        [one] if !one.is_empty() => Some(one.as_str()),
        _ => None,
    };
    let keys: Vec<(Tag, HashSet<&str>)> = [Level::Patient, Level::Study, Level::Series, Level::Instance]
        .into_iter()
        .filter(|l| *l <= level)
        .filter_map(|l| Some((l.unique_key(), wanted(l.unique_key())?)))
        .collect();
    let (study, series) = (single(tags::STUDY_INSTANCE_UID), single(tags::SERIES_INSTANCE_UID));
    Ok(store
        .entities(Level::Instance, study, series)
        .into_iter()
        .map(|entity| entity.first)
        .filter(|i| {
            keys.iter().all(|(tag, values)| values.contains(i.attributes.string(*tag).unwrap_or_default()))
        })
        .cloned()
        .collect())
}

/// The objects as they are sent.
pub(super) fn plan(selected: Vec<Arc<Instance>>, faults: &Faults, store: &Store) -> Vec<Planned> {
    let mut planned = Vec::with_capacity(selected.len());
    for (instance, number) in selected.into_iter().zip(1_u32..) {
        let is = |kind: fn(u32) -> Fault| faults.number(kind) == Some(number);
        if is(Fault::LeaveOut) {
            continue;
        }
        let twist = match () {
            () if is(Fault::FailObject) => Twist::Fails,
            () if is(Fault::OtherInstance) => Twist::OtherInstance,
            () if is(Fault::OtherSyntax) => Twist::OtherSyntax,
            () => Twist::Nothing,
        };
        let object = Planned { instance, counted: true, twist, without_bulk_data: false };
        let again = |twist| Planned { counted: false, twist, ..object.clone() };
        let foreign = (is(Fault::Foreign))
            .then(|| store.instances().find(|i| i.study() != object.instance.study()))
            .flatten()
            .map(|i| Planned { instance: Arc::clone(i), ..again(Twist::Nothing) });
        let more = [
            is(Fault::Twice).then(|| again(Twist::Nothing)),
            is(Fault::TwiceDifferent).then(|| again(Twist::OtherBytes)),
            foreign,
        ];
        planned.push(object);
        planned.extend(more.into_iter().flatten());
    }
    planned
}
