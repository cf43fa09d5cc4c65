//! Content items as lines (PS3.3 C.17.3).

use super::evidence::Evidence;
use super::{Line, MAX_ITEMS, Part, value};
use crate::dicom::dataset::DataSet;
use crate::dicom::{Tag, tags};

/// Referenced Content Item Identifier: the place of an item that this one means (PS3.3 C.17.3.2.5).
const REFERENCED_CONTENT_ITEM_IDENTIFIER: Tag = Tag(0x0040, 0xDB73);

/// The content items below the root, and whether there were more.
pub(super) fn lines(root: &DataSet, evidence: &Evidence<'_>) -> (Vec<Line>, bool) {
    let mut lines = Vec::new();
    // The items of each sequence that is open, and the number of the next one. The depth is that of the data set, which
    // its reader bounds.
    let mut open = vec![(root.items(tags::CONTENT_SEQUENCE), 0)];
    while let Some((items, next)) = open.last_mut() {
        let Some(item) = items.get(*next) else {
            open.pop();
            continue;
        };
        *next += 1;
        if lines.len() == MAX_ITEMS {
            return (lines, true);
        }
        let place: Vec<String> = open.iter().map(|(_, number)| number.to_string()).collect();
        lines.push(line(item, open.len() - 1, format!("1.{}", place.join(".")), evidence));
        open.push((item.items(tags::CONTENT_SEQUENCE), 0));
    }
    (lines, false)
}

fn line(item: &DataSet, depth: usize, place: String, evidence: &Evidence<'_>) -> Line {
    let kind = item.string(tags::VALUE_TYPE).unwrap_or_default();
    let mut parts = value::read(kind, item, evidence);
    if let Some(target) = item.get(REFERENCED_CONTENT_ITEM_IDENTIFIER) {
        let place: Vec<String> = value::numbers(target).collect();
        parts.push(Part::Text(format!("see {}", place.join("."))));
    }
    let observed = item.string(tags::OBSERVATION_DATE_TIME);
    parts.extend(observed.map(|at| Part::Text(format!("(observed {})", value::date_time(at)))));
    Line {
        depth,
        place,
        relationship: relationship(item.string(tags::RELATIONSHIP_TYPE).unwrap_or_default()),
        name: value::concept(item.items(tags::CONCEPT_NAME_CODE_SEQUENCE)),
        value: parts,
        is_container: kind == "CONTAINER",
    }
}

/// A relationship (PS3.3 C.17.3.2.4) in words.
fn relationship(term: &str) -> &'static str {
    match term {
        "HAS OBS CONTEXT" => "observation context",
        "HAS ACQ CONTEXT" => "acquisition context",
        "HAS CONCEPT MOD" => "concept modifier",
        "HAS PROPERTIES" => "property",
        "INFERRED FROM" => "inferred from",
        "SELECTED FROM" => "selected from",
        _ => "",
    }
}
