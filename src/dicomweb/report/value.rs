//! Values of content items, by their value type (PS3.3 C.17.3.2.1, C.18).

use super::Part;
use super::evidence::Evidence;
use crate::dicom::dataset::{DataSet, Element, Value};
use crate::dicom::{VR, tags};

/// Most points of a shape, or of places in time, that are written: an outline has thousands, and nobody reads them.
const MAX_POINTS: usize = 64;

/// The value of a content item of this type.
pub(super) fn read(kind: &str, item: &DataSet, evidence: &Evidence<'_>) -> Vec<Part> {
    let text = |tag| item.string(tag).unwrap_or_default().to_owned();
    let value = match kind {
        "CONTAINER" => return Vec::new(),
        "TEXT" => text(tags::TEXT_VALUE),
        "CODE" => concept(item.items(tags::CONCEPT_CODE_SEQUENCE)),
        "NUM" => number(item),
        "DATE" => date(&text(tags::DATE)),
        "TIME" => time(&text(tags::TIME)),
        "DATETIME" => date_time(&text(tags::DATE_TIME)),
        "PNAME" => person(&text(tags::PERSON_NAME)),
        "UIDREF" => text(tags::UID),
        "IMAGE" | "WAVEFORM" | "COMPOSITE" => return objects(item, evidence),
        "SCOORD" | "SCOORD3D" => shape(item),
        "TCOORD" => times(item),
        // What a by-reference relationship leads to has no value of its own.
        "" => String::new(),
        other => format!("({other}: not shown here)"),
    };
    if value.is_empty() { Vec::new() } else { vec![Part::Text(value)] }
}

/// A coded concept in words: its meaning, else its code (PS3.3 8.8).
pub(super) fn concept(items: &[DataSet]) -> String {
    let Some(item) = items.first() else { return String::new() };
    item.string(tags::CODE_MEANING).or_else(|| code(item)).unwrap_or_default().to_owned()
}

/// The code of a coded concept, in whichever attribute its length puts it (PS3.3 8.1).
fn code(item: &DataSet) -> Option<&str> {
    let codes = [tags::CODE_VALUE, tags::LONG_CODE_VALUE, tags::URN_CODE_VALUE];
    codes.into_iter().find_map(|tag| item.string(tag))
}

/// A unit as it is written. The code of UCUM is that; of other schemes a code may be a mere number, and a meaning may not
/// name the unit, so that both are told.
fn unit(items: &[DataSet]) -> Option<String> {
    let item = items.first()?;
    match (item.string(tags::CODING_SCHEME_DESIGNATOR), code(item)) {
        // No unit.
        (Some("UCUM"), Some("1")) => None,
        (Some("UCUM"), Some(code)) => Some(code.to_owned()),
        (_, Some(code)) => match item.string(tags::CODE_MEANING) {
            Some(meaning) if meaning != code => Some(format!("{meaning} ({code})")),
            _ => Some(code.to_owned()),
        },
        (_, None) => Some(concept(items)),
    }
}

/// A measurement with its unit (PS3.3 C.18.1).
fn number(item: &DataSet) -> String {
    let Some(measured) = item.items(tags::MEASURED_VALUE_SEQUENCE).first() else {
        return concept(item.items(tags::NUMERIC_VALUE_QUALIFIER_CODE_SEQUENCE));
    };
    let value = measured.strings(tags::NUMERIC_VALUE).join(", ");
    let unit = unit(measured.items(tags::MEASUREMENT_UNITS_CODE_SEQUENCE));
    [Some(value.trim()), unit.as_deref()]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// The objects that an item refers to, and which parts of them (PS3.3 C.18.3 to C.18.5).
fn objects(item: &DataSet, evidence: &Evidence<'_>) -> Vec<Part> {
    let mut parts = Vec::new();
    for reference in item.items(tags::REFERENCED_SOP_SEQUENCE) {
        let frames = reference.strings(tags::REFERENCED_FRAME_NUMBER);
        parts.push(evidence.object(reference, frames.first().map(|frame| frame.trim())));
        let segments = reference.get(tags::REFERENCED_SEGMENT_NUMBER).map(numbers);
        let channels = reference.get(tags::REFERENCED_WAVEFORM_CHANNELS).map(numbers);
        for (what, numbers) in [
            ("frame", frames.iter().map(|frame| frame.trim().to_owned()).take(MAX_POINTS).collect()),
            ("segment", segments.into_iter().flatten().collect::<Vec<_>>()),
            ("channel", channels.into_iter().flatten().collect()),
        ] {
            if !numbers.is_empty() {
                parts.push(Part::Text(format!("{what} {}", numbers.join(", "))));
            }
        }
        let states = reference.items(tags::REFERENCED_SOP_SEQUENCE).iter();
        let mappings = reference.items(tags::REFERENCED_REAL_WORLD_VALUE_MAPPING_INSTANCE_SEQUENCE);
        for other in states.chain(mappings) {
            parts.extend([Part::Text("with".to_owned()), evidence.object(other, None)]);
        }
    }
    parts
}

/// A shape in an image or in space (PS3.3 C.18.6, C.18.9).
fn shape(item: &DataSet) -> String {
    let kind = item.string(tags::GRAPHIC_TYPE).unwrap_or_default();
    let is_flat = item.string(tags::VALUE_TYPE) == Some("SCOORD");
    let data = item.get(tags::GRAPHIC_DATA).map(floats).unwrap_or_default();
    let size = if is_flat { 2 } else { 3 };
    let point = |point: &[f32]| point.iter().map(f32::to_string).collect::<Vec<_>>().join(" ");
    let points: Vec<String> = data.chunks(size).take(MAX_POINTS).map(point).collect();
    let more = if data.len() > MAX_POINTS * size { ", …" } else { "" };
    format!("{kind} {}{more}", points.join(", ")).trim().to_owned()
}

/// Places in time (PS3.3 C.18.7).
fn times(item: &DataSet) -> String {
    let kind = item.string(tags::TEMPORAL_RANGE_TYPE).unwrap_or_default();
    let samples = item.get(tags::REFERENCED_SAMPLE_POSITIONS).map(numbers).into_iter().flatten();
    let offsets =
        item.strings(tags::REFERENCED_TIME_OFFSETS).iter().map(|offset| format!("{} s", offset.trim()));
    let moments = item.strings(tags::REFERENCED_DATE_TIME).iter().map(|at| date_time(at.trim()));
    let mut places: Vec<String> = samples.chain(offsets).chain(moments).take(MAX_POINTS + 1).collect();
    if places.len() > MAX_POINTS {
        places[MAX_POINTS] = "…".to_owned();
    }
    format!("{kind} {}", places.join(", ")).trim().to_owned()
}

/// The values of a binary element of whole numbers.
pub(super) fn numbers(element: &Element) -> impl Iterator<Item = String> + use<'_> {
    let (bytes, size): (&[u8], usize) = match (&element.value, element.vr) {
        (Value::Bytes(bytes), VR::US) => (bytes, 2),
        (Value::Bytes(bytes), VR::UL) => (bytes, 4),
        _ => (&[], 1),
    };
    let number = |cell: &[u8]| cell.iter().rev().fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
    bytes.chunks_exact(size).take(MAX_POINTS).map(move |cell| number(cell).to_string())
}

fn floats(element: &Element) -> Vec<f32> {
    let Value::Bytes(bytes) = &element.value else { return Vec::new() };
    bytes.as_chunks::<4>().0.iter().map(|cell| f32::from_le_bytes(*cell)).collect()
}

/// A text with a label before it, where there is one.
pub(super) fn labelled(label: &str, text: String) -> String {
    if text.is_empty() { text } else { format!("{label}{text}") }
}

/// A date (PS3.5 6.2, DA) as ISO 8601 writes it; anything else as it is.
pub(super) fn date(text: &str) -> String {
    match text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit()) {
        true => format!("{}-{}-{}", &text[..4], &text[4..6], &text[6..]),
        false => text.to_owned(),
    }
}

/// A time of day (PS3.5 6.2, TM), with colons; anything else as it is.
pub(super) fn time(text: &str) -> String {
    let (whole, fraction) = text.split_once('.').map_or((text, ""), |(whole, fraction)| (whole, fraction));
    if !matches!(whole.len(), 4 | 6) || !whole.bytes().all(|b| b.is_ascii_digit()) {
        return text.to_owned();
    }
    let seconds = if whole.len() == 6 { format!(":{}", &whole[4..]) } else { String::new() };
    let fraction = labelled(".", fraction.trim_end_matches('0').to_owned());
    format!("{}:{}{seconds}{fraction}", &whole[..2], &whole[2..4])
}

/// A moment (PS3.5 6.2, DT) with its offset from UTC, where it has one.
pub(super) fn date_time(text: &str) -> String {
    let zone = text.find(['+', '-']).unwrap_or(text.len());
    let (moment, zone) = text.split_at(zone);
    if !moment.is_char_boundary(8) || moment.len() < 8 {
        return text.to_owned();
    }
    let (day, rest) = moment.split_at(8);
    [date(day), time(rest), zone.to_owned()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A person's name (PS3.5 6.2.1): each group that there is, as `Family, Given`.
pub(super) fn person(text: &str) -> String {
    let group = |group: &str| {
        let (family, others) = group.split_once('^').unwrap_or((group, ""));
        let others = others.split('^').map(str::trim).filter(|component| !component.is_empty());
        let others = others.collect::<Vec<_>>().join(" ");
        [family.trim(), &others].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    };
    let groups = text.split('=').map(group).filter(|group| !group.is_empty());
    groups.collect::<Vec<_>>().join(" / ")
}
