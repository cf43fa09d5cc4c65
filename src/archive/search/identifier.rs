//! Builds the identifiers of C-FIND requests (PS3.4 C.4.1.1.3): several, where one cannot say it all.

use crate::dicom::dataset::{DataSet, Element, Value, is_textual, vr_of};
use crate::dicom::matching::{EMPTY_VALUE, criteria, encode_binary, is_universal};
use crate::dicom::query::{AttributePath, Level, MatchingKey};
use crate::dicom::{Tag, VR, tags};

/// Most C-FINDs that one search of one level is split into. Beyond it the longest lists are not asked for, and
/// matched here.
const MAX_IDENTIFIERS: usize = 32;
/// Longest list of UIDs in one identifier, in bytes: explicit VR has 16 bits for the length.
const MAX_UID_LIST: usize = 60_000;

/// What to ask at one level.
#[derive(Debug)]
pub(super) struct Ask {
    /// Query/Retrieve Level (0008,0052).
    pub(super) level: Level,
    /// Unique Keys of the entities above, and what is known of these entities besides.
    pub(super) parent: DataSet,
    /// The levels above whose Unique Keys `parent` has.
    pub(super) above: Vec<Level>,
    /// The keys of the levels above are among `keys` (PS3.4 C.4.1.3.2.1).
    pub(super) relational: bool,
    /// Matching Keys.
    pub(super) keys: Vec<MatchingKey>,
    /// Return keys.
    pub(super) returns: Vec<AttributePath>,
}

/// How to ask it.
#[derive(Debug)]
pub(super) struct Identifiers {
    /// One for each C-FIND; their results together are the result.
    pub(super) data_sets: Vec<DataSet>,
    /// Keys that none of them holds: they are matched here only.
    pub(super) unasked: Vec<AttributePath>,
}

impl Ask {
    /// The Unique Keys of the entities above, for what lies below them.
    pub(super) fn fixed(&self) -> impl Iterator<Item = (Tag, &str)> {
        let keys = self.above.iter().map(|level| level.unique_key());
        keys.filter_map(|tag| Some((tag, self.parent.string(tag)?)))
    }

    /// Whether the client chose the values of some keys, UIDs apart: then a status that blames the identifier
    /// blames the client.
    pub(super) fn has_client_keys(&self) -> bool {
        self.keys.iter().any(|key| key.vr != VR::UI)
    }

    /// The identifiers.
    ///
    /// A list of UIDs is one key (PS3.4 C.2.2.2.2). Any other list needs multiple value matching, which is
    /// subject to negotiation, and becomes one identifier a value. Empty value matching, and the time beside
    /// a range of dates, would need negotiation too: they are not asked for.
    pub(super) fn identifiers(&self) -> Identifiers {
        let mut base = DataSet::new();
        base.set_str(tags::QUERY_RETRIEVE_LEVEL, VR::CS, self.level.as_str());
        for (tag, value) in self.fixed() {
            base.set_str(tag, vr_of(tag), value);
        }
        for path in &self.returns {
            put(&mut base, path, None);
        }
        let mut plan = Identifiers { data_sets: vec![base], unasked: Vec::new() };
        let mut keys: Vec<(&MatchingKey, Vec<Element>)> = Vec::new();
        for key in self.keys.iter().filter(|key| !is_universal(key)) {
            match self.is_askable(key).then(|| elements(key)).flatten() {
                Some(elements) => keys.push((key, elements)),
                None => plan.leave_out(&key.path),
            }
        }
        // The longest lists come last, so that they are what does not fit.
        keys.sort_by_key(|(_, elements)| elements.len());
        for (key, elements) in keys {
            if plan.data_sets.len() * elements.len() > MAX_IDENTIFIERS {
                plan.leave_out(&key.path);
                continue;
            }
            let with = |element: &Element| {
                let element = element.clone();
                plan.data_sets.iter().cloned().map(move |mut data_set| {
                    put(&mut data_set, &key.path, Some(element.clone()));
                    data_set
                })
            };
            plan.data_sets = elements.iter().flat_map(with).collect();
        }
        plan
    }

    fn is_askable(&self, key: &MatchingKey) -> bool {
        let is_combined_time =
            || criteria(&self.keys).iter().any(|c| c.is_combined() && c.keys()[1].path == key.path);
        let is_empty_value = key.values.iter().any(|value| value == EMPTY_VALUE);
        !is_empty_value && (key.vr != VR::TM || !is_combined_time())
    }
}

impl Identifiers {
    /// A key that is not asked for still asks for its attribute.
    fn leave_out(&mut self, path: &AttributePath) {
        for data_set in &mut self.data_sets {
            put(data_set, path, None);
        }
        self.unasked.push(path.clone());
    }
}

/// The key's elements, one for each identifier; `None` where the values do not fit the VR.
fn elements(key: &MatchingKey) -> Option<Vec<Element>> {
    let vr = key.vr;
    let text = |values: Vec<String>| Element { vr, value: Value::Strings(values) };
    if vr == VR::UI {
        let mut lists: Vec<Vec<String>> = vec![Vec::new()];
        let mut length = 0;
        for uid in &key.values {
            length += uid.len() + 1;
            if length > MAX_UID_LIST {
                lists.push(Vec::new());
                length = uid.len() + 1;
            }
            lists.last_mut()?.push(uid.clone());
        }
        return Some(lists.into_iter().map(text).collect());
    }
    let element = |value: &String| {
        if is_textual(vr) {
            return Some(text(vec![value.clone()]));
        }
        encode_binary(vr, value).map(|bytes| Element { vr, value: Value::Bytes(bytes.into()) })
    };
    key.values.iter().map(element).collect()
}

/// Puts an element at a path, through one item of each sequence; without one, an empty element where there is
/// none yet. A private attribute takes the element of its creator along, which archives need to answer it.
fn put(data_set: &mut DataSet, path: &AttributePath, element: Option<Element>) {
    let mut around: Vec<(Tag, DataSet)> = Vec::new();
    let mut current = std::mem::take(data_set);
    for sequence in path.sequences() {
        let item = current.items(*sequence).first().cloned().unwrap_or_default();
        put_creator(&mut current, *sequence);
        around.push((*sequence, std::mem::replace(&mut current, item)));
    }
    let leaf = path.leaf();
    put_creator(&mut current, leaf);
    match element {
        Some(element) => current.insert(leaf, element),
        None if current.contains(leaf) => {}
        None => current.set_empty(leaf, vr_of(leaf)),
    }
    while let Some((sequence, mut outer)) = around.pop() {
        outer.set_items(sequence, vec![current]);
        current = outer;
    }
    *data_set = current;
}

fn put_creator(data_set: &mut DataSet, tag: Tag) {
    let creator = Tag(tag.group(), tag.element() >> 8);
    if tag.group() % 2 == 1 && tag.element() >= 0x1000 && !data_set.contains(creator) {
        data_set.set_empty(creator, VR::LO);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tag: Tag, vr: VR, values: &[&str]) -> MatchingKey {
        MatchingKey { path: tag.into(), vr, values: values.iter().map(|v| (*v).into()).collect() }
    }

    fn ask(keys: Vec<MatchingKey>) -> Ask {
        Ask {
            level: Level::Study,
            parent: DataSet::new(),
            above: vec![],
            relational: false,
            keys,
            returns: vec![tags::STUDY_INSTANCE_UID.into(), tags::PATIENT_NAME.into()],
        }
    }

    #[test]
    fn a_list_of_uids_is_one_key_and_any_other_list_is_several_identifiers() {
        let plan = ask(vec![
            key(tags::STUDY_INSTANCE_UID, VR::UI, &["1.2", "1.3"]),
            key(tags::MODALITIES_IN_STUDY, VR::CS, &["CT", "MR"]),
        ])
        .identifiers();
        assert_eq!(plan.data_sets.len(), 2);
        assert!(plan.unasked.is_empty());
        for (data_set, modality) in plan.data_sets.iter().zip(["CT", "MR"]) {
            assert_eq!(data_set.strings(tags::STUDY_INSTANCE_UID), ["1.2", "1.3"]);
            assert_eq!(data_set.strings(tags::MODALITIES_IN_STUDY), [modality]);
            assert_eq!(data_set.string(tags::QUERY_RETRIEVE_LEVEL), Some("STUDY"));
            assert!(data_set.get(tags::PATIENT_NAME).is_some_and(|e| e.value.is_empty()));
        }
    }

    #[test]
    fn a_list_of_uids_too_long_for_explicit_vr_is_split() {
        let uids: Vec<String> =
            (0..2000).map(|n| format!("1.2.840.113619.2.55.3.604688119.{n:032}")).collect();
        let uids: Vec<&str> = uids.iter().map(String::as_str).collect();
        let plan = ask(vec![key(tags::STUDY_INSTANCE_UID, VR::UI, &uids)]).identifiers();
        let lists: Vec<&[String]> =
            plan.data_sets.iter().map(|d| d.strings(tags::STUDY_INSTANCE_UID)).collect();
        assert!(lists.iter().all(|list| list.join("\\").len() < 0xFFFE));
        assert_eq!(lists.concat(), uids);
    }

    #[test]
    fn what_would_take_too_many_searches_is_matched_here() {
        let many: Vec<String> = (0..40).map(|n| format!("A{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let plan = ask(vec![
            key(tags::ACCESSION_NUMBER, VR::SH, &many),
            key(tags::MODALITIES_IN_STUDY, VR::CS, &["CT", "MR"]),
        ])
        .identifiers();
        assert_eq!((plan.data_sets.len(), plan.unasked), (2, vec![tags::ACCESSION_NUMBER.into()]));
        assert!(plan.data_sets[0].contains(tags::ACCESSION_NUMBER), "it comes back all the same");
    }

    #[test]
    fn what_needs_negotiation_is_matched_here() {
        let plan = ask(vec![
            key(tags::PATIENT_ID, VR::LO, &[EMPTY_VALUE]),
            key(tags::STUDY_DATE, VR::DA, &["20240101-20240131"]),
            key(tags::STUDY_TIME, VR::TM, &["10-12"]),
            key(tags::STUDY_ID, VR::SH, &["*"]),
        ])
        .identifiers();
        assert_eq!(plan.unasked, [tags::PATIENT_ID.into(), tags::STUDY_TIME.into()]);
        assert_eq!(plan.data_sets[0].string(tags::STUDY_DATE), Some("20240101-20240131"));
        assert!(plan.data_sets[0].get(tags::STUDY_TIME).is_some_and(|e| e.value.is_empty()));
    }

    #[test]
    fn a_path_leads_through_one_item_of_each_sequence() {
        let path = |tag| AttributePath::new(vec![tags::REQUEST_ATTRIBUTES_SEQUENCE, tag]).unwrap();
        let mut ask = ask(vec![]);
        ask.returns = vec![
            tags::REQUEST_ATTRIBUTES_SEQUENCE.into(),
            path(tags::REQUESTED_PROCEDURE_ID),
            path(tags::SCHEDULED_PROCEDURE_STEP_ID),
            Tag(0x0029, 0x1001).into(),
        ];
        let data_set = &ask.identifiers().data_sets[0];
        let items = data_set.items(tags::REQUEST_ATTRIBUTES_SEQUENCE);
        assert_eq!(items.len(), 1);
        assert_eq!(items[0].len(), 2);
        assert!(data_set.contains(Tag(0x0029, 0x0010)), "the private creator");
    }

    #[test]
    fn numbers_are_sent_in_binary() {
        let plan =
            ask(vec![key(tags::ROWS, VR::US, &["512"]), key(tags::COLUMNS, VR::US, &["x"])]).identifiers();
        assert_eq!(plan.data_sets[0].int(tags::ROWS), Some(512));
        assert_eq!(plan.unasked, [tags::COLUMNS.into()]);
    }
}
