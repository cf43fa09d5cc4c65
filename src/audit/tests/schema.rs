//! The structure of an audit message, as the schema of PS3.15 A.5.1.1 has it: a check of our own, against which each
//! message is held.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// How often an element stands.
#[derive(Clone, Copy, PartialEq)]
enum Times {
    Once,
    Maybe,
    Any,
    AtLeastOnce,
}
use Times::{Any, AtLeastOnce, Maybe, Once};

/// What a value looks like.
#[derive(Clone, Copy)]
enum Form {
    Text,
    /// Something, without space around it.
    Token,
    Boolean,
    Number,
    Base64,
    DateTime,
    OneOf(&'static [&'static str]),
}
use Form::{Base64, Boolean, DateTime, Number, OneOf, Text, Token};

struct Element {
    name: &'static str,
    /// Name, form, and whether it has to be there.
    attributes: &'static [(&'static str, Form, bool)],
    /// Elements in it, in this order.
    children: &'static [(&'static str, Times)],
    text: Option<Form>,
}

const CODE: &[(&str, Form, bool)] = &[
    ("csd-code", Token, true),
    ("codeSystemName", Token, true),
    ("displayName", Token, false),
    ("originalText", Token, true),
];
const UID: &[(&str, Form, bool)] = &[("UID", Token, true)];

const fn code(name: &'static str) -> Element {
    Element { name, attributes: CODE, children: &[], text: None }
}

const ELEMENTS: &[Element] = &[
    Element {
        name: "AuditMessage",
        attributes: &[],
        children: &[
            ("EventIdentification", Once),
            ("ActiveParticipant", AtLeastOnce),
            ("AuditSourceIdentification", Once),
            ("ParticipantObjectIdentification", Any),
        ],
        text: None,
    },
    Element {
        name: "EventIdentification",
        attributes: &[
            ("EventActionCode", OneOf(&["C", "R", "U", "D", "E"]), false),
            ("EventDateTime", DateTime, true),
            ("EventOutcomeIndicator", OneOf(&["0", "4", "8", "12"]), true),
        ],
        children: &[("EventID", Once), ("EventTypeCode", Any), ("EventOutcomeDescription", Maybe)],
        text: None,
    },
    code("EventID"),
    code("EventTypeCode"),
    Element { name: "EventOutcomeDescription", attributes: &[], children: &[], text: Some(Text) },
    Element {
        name: "ActiveParticipant",
        attributes: &[
            ("UserID", Text, true),
            ("AlternativeUserID", Text, false),
            ("UserName", Text, false),
            ("UserIsRequestor", Boolean, true),
            ("NetworkAccessPointID", Token, false),
            ("NetworkAccessPointTypeCode", OneOf(&["1", "2", "3", "4", "5"]), false),
        ],
        children: &[("RoleIDCode", Any)],
        text: None,
    },
    code("RoleIDCode"),
    Element {
        name: "AuditSourceIdentification",
        attributes: &[("AuditEnterpriseSiteID", Token, false), ("AuditSourceID", Token, true)],
        children: &[("AuditSourceTypeCode", Any)],
        text: None,
    },
    Element {
        name: "AuditSourceTypeCode",
        attributes: &[("csd-code", OneOf(&["1", "2", "3", "4", "5", "6", "7", "8", "9"]), true)],
        children: &[],
        text: None,
    },
    Element {
        name: "ParticipantObjectIdentification",
        attributes: &[
            ("ParticipantObjectID", Token, true),
            ("ParticipantObjectTypeCode", OneOf(&["1", "2", "3", "4"]), false),
            ("ParticipantObjectTypeCodeRole", Number, false),
        ],
        children: &[
            ("ParticipantObjectIDTypeCode", Once),
            ("ParticipantObjectName", Maybe),
            ("ParticipantObjectQuery", Maybe),
            ("ParticipantObjectDetail", Any),
            ("ParticipantObjectDescription", Any),
        ],
        text: None,
    },
    code("ParticipantObjectIDTypeCode"),
    Element { name: "ParticipantObjectName", attributes: &[], children: &[], text: Some(Text) },
    Element { name: "ParticipantObjectQuery", attributes: &[], children: &[], text: Some(Base64) },
    Element {
        name: "ParticipantObjectDetail",
        attributes: &[("type", Token, true), ("value", Base64, true)],
        children: &[],
        text: None,
    },
    Element {
        name: "ParticipantObjectDescription",
        attributes: &[],
        children: &[("MPPS", Any), ("SOPClass", Any)],
        text: None,
    },
    Element { name: "MPPS", attributes: UID, children: &[], text: None },
    Element {
        name: "SOPClass",
        attributes: &[("UID", Token, false), ("NumberOfInstances", Number, true)],
        children: &[("Instance", Any)],
        text: None,
    },
    Element { name: "Instance", attributes: UID, children: &[], text: None },
];

/// An element that is open.
struct Open {
    element: &'static Element,
    children: Vec<String>,
    text: String,
}

/// Panics where the text is no audit message.
pub(super) fn check(xml: &str) {
    let mut reader = Reader::from_str(xml);
    let mut open: Vec<Open> = Vec::new();
    let mut roots = Vec::new();
    loop {
        match reader.read_event().unwrap_or_else(|error| panic!("{error}: {xml}")) {
            Event::Eof => break,
            Event::Decl(_) => {}
            Event::Start(start) => open.push(begin(&start, xml)),
            Event::Empty(start) => {
                let one = begin(&start, xml);
                end(one, &mut open, &mut roots, xml);
            }
            Event::End(_) => {
                let one = open.pop().unwrap();
                end(one, &mut open, &mut roots, xml);
            }
            Event::Text(text) => open.last_mut().unwrap().text.push_str(&text.xml10_content()),
            // Entities, within the text.
            Event::GeneralRef(_) => open.last_mut().unwrap().text.push('&'),
            other => panic!("{other:?}: {xml}"),
        }
    }
    assert!(open.is_empty() && roots == ["AuditMessage"], "{roots:?}: {xml}");
}

fn begin(start: &BytesStart<'_>, xml: &str) -> Open {
    let name = start.name().as_ref().to_owned();
    let element = ELEMENTS.iter().find(|element| element.name == name);
    let element = element.unwrap_or_else(|| panic!("no element {name}: {xml}"));
    let attributes: BTreeMap<String, String> = start
        .attributes()
        .map(|attribute| {
            let attribute = attribute.unwrap();
            let key = attribute.key.as_ref().to_owned();
            (key, attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).unwrap().into_owned())
        })
        .collect();
    for (key, _, needed) in element.attributes {
        assert!(!needed || attributes.contains_key(*key), "{name} without {key}: {xml}");
    }
    for (key, value) in &attributes {
        let known = element.attributes.iter().find(|(known, _, _)| known == key);
        let (_, form, _) = known.unwrap_or_else(|| panic!("{name} has no {key}: {xml}"));
        assert!(fits(*form, value), "{key} of {name} is {value:?}: {xml}");
    }
    Open { element, children: Vec::new(), text: String::new() }
}

fn end(one: Open, open: &mut [Open], roots: &mut Vec<String>, xml: &str) {
    let Open { element, children, text } = one;
    match element.text {
        Some(form) => assert!(fits(form, &text), "{} is {text:?}: {xml}", element.name),
        None => assert!(text.trim().is_empty(), "{} has text: {xml}", element.name),
    }
    let mut rest = &children[..];
    for (name, times) in element.children {
        let count = rest.iter().take_while(|child| child == name).count();
        let fits = match times {
            Once => count == 1,
            Maybe => count <= 1,
            Any => true,
            AtLeastOnce => count >= 1,
        };
        assert!(fits, "{count} × {name} in {}: {xml}", element.name);
        rest = &rest[count..];
    }
    assert!(rest.is_empty(), "{rest:?} in {} in the wrong place: {xml}", element.name);
    if element.name == "ParticipantObjectIdentification" {
        let has = |name: &str| children.iter().any(|child| child == name);
        assert!(has("ParticipantObjectName") != has("ParticipantObjectQuery"), "name or query: {xml}");
    }
    match open.last_mut() {
        Some(parent) => parent.children.push(element.name.to_owned()),
        None => roots.push(element.name.to_owned()),
    }
}

fn fits(form: Form, value: &str) -> bool {
    match form {
        Text => true,
        Token => !value.is_empty() && value.trim() == value,
        Boolean => matches!(value, "true" | "false"),
        Number => value.parse::<u64>().is_ok(),
        Base64 => base64::Engine::decode(&base64::engine::general_purpose::STANDARD, value).is_ok(),
        DateTime => value.len() == "1970-01-01T00:00:00.000Z".len() && value.ends_with('Z'),
        OneOf(values) => values.contains(&value),
    }
}
