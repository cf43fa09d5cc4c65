//! Reads the Native DICOM Model (PS3.19 A.1.5, PS3.18 8.7.3.6.1).

use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader as Xml;
use quick_xml::{XmlVersion, escape};

use super::builder::Builder;
use super::value::Part;
use super::{MAX_VALUES, Metadata, ReadError, ReadErrorKind, WarningKind, text_of};
use crate::dicom::scan::MAX_DEPTH;

/// Deepest nesting of XML elements. An item costs two, a name within it three more.
const MAX_NESTING: usize = 2 * MAX_DEPTH + 16;
/// Most attributes of an XML element; the model has four at most. Each is compared with all before it, as none may
/// come twice.
const MAX_ATTRIBUTES: usize = 64;

/// Reads one data set in the Native DICOM Model.
///
/// No document type and no entities but those that XML itself has, character references included. Names of
/// elements are taken with any prefix. Values, names and items stand in the order of the document; a `number`
/// that leaves places out makes empty values of them.
///
/// # Errors
/// When the document is not XML, not of a data set, or beyond one of the bounds of [`metadata`](super).
pub fn read_xml(document: &[u8]) -> Result<Metadata, ReadError> {
    let text = text_of(document)?;
    let mut xml = Xml::from_str(text);
    xml.config_mut().expand_empty_elements = true;
    let mut reader =
        Reader { builder: Builder::default(), open: Vec::new(), text: String::new(), done: false };
    let byte_order_mark = document.len() - text.len();
    loop {
        let step = match xml.read_event() {
            Ok(Event::Eof) if reader.done => break,
            Ok(Event::Eof) => Err(ReadErrorKind::Truncated),
            Ok(event) => reader.step(&event),
            Err(quick_xml::Error::Syntax(_)) => Err(ReadErrorKind::Truncated),
            Err(_) => Err(ReadErrorKind::Xml),
        };
        let at = usize::try_from(xml.buffer_position()).unwrap_or(usize::MAX);
        step.map_err(|kind| ReadError { offset: byte_order_mark.saturating_add(at), kind })?;
    }
    let end = ReadError { offset: document.len(), kind: ReadErrorKind::Model };
    reader.builder.finish().pop().ok_or(end)
}

struct Reader {
    builder: Builder<'static>,
    open: Vec<Open>,
    /// The text of the innermost element that has some.
    text: String,
    /// The root element has ended.
    done: bool,
}

#[derive(Debug)]
enum Open {
    Model,
    Attribute,
    Item,
    Value,
    InlineBinary,
    BulkData,
    Name(Box<Name>),
    /// A component group, by its place.
    Group(usize),
    /// A component of the group around it, by its place.
    Component(usize),
    /// What the standard does not have, and all within it.
    Unknown,
}

/// The components of a name, by group and place (PS3.5 6.2.1.1).
type Name = [[String; 5]; 3];

impl Reader {
    fn step(&mut self, event: &Event) -> Result<(), ReadErrorKind> {
        match event {
            Event::Start(element) => self.begin(element),
            Event::End(_) => self.end(),
            Event::Text(text) => self.add(&text.xml10_content()),
            Event::CData(text) => self.add(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let character = reference.resolve_char_ref().map_err(|_| ReadErrorKind::Xml)?;
                match (character, escape::resolve_xml_entity(reference)) {
                    (Some(character), _) => self.add(character.encode_utf8(&mut [0; 4])),
                    (None, Some(text)) => self.add(text),
                    (None, None) => Err(ReadErrorKind::Xml),
                }
            }
            Event::DocType(_) => Err(ReadErrorKind::Xml),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::Eof | Event::Empty(_) => Ok(()),
        }
    }

    fn begin(&mut self, element: &BytesStart) -> Result<(), ReadErrorKind> {
        if self.open.len() >= MAX_NESTING {
            return Err(ReadErrorKind::TooDeep);
        }
        let name = element.local_name();
        let open = match (self.open.last(), name.as_ref()) {
            (None, "NativeDicomModel") if !self.done => {
                self.builder.begin_data_set()?;
                Open::Model
            }
            (None, _) => return Err(ReadErrorKind::Model),
            (Some(Open::Model | Open::Item), "DicomAttribute") => {
                self.attribute(element)?;
                Open::Attribute
            }
            (Some(Open::Attribute), "Value") => self.numbered(element, Open::Value)?,
            (Some(Open::Attribute), "PersonName") => self.numbered(element, Open::Name(Box::default()))?,
            (Some(Open::Attribute), "Item") => {
                let item = self.numbered(element, Open::Item)?;
                self.builder.begin_data_set()?;
                item
            }
            (Some(Open::Attribute), "InlineBinary") => Open::InlineBinary,
            (Some(Open::Attribute), "BulkData") => {
                let uri = attribute(element, "uri")?.or(attribute(element, "uuid")?);
                match uri {
                    Some(uri) => self.builder.bulk_data_uri(&uri),
                    None => self.builder.spoil(WarningKind::WrongKind),
                }
                Open::BulkData
            }
            (Some(Open::Name(_)), group) => place(group, GROUPS).map_or(Open::Unknown, Open::Group),
            (Some(Open::Group(_)), part) => place(part, COMPONENTS).map_or(Open::Unknown, Open::Component),
            _ => Open::Unknown,
        };
        self.text.clear();
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self) -> Result<(), ReadErrorKind> {
        let text = std::mem::take(&mut self.text);
        match self.open.pop() {
            Some(Open::Model) => {
                self.builder.end_data_set();
                self.done = true;
            }
            Some(Open::Attribute) => self.builder.end_attribute(),
            Some(Open::Item) => self.builder.end_data_set(),
            Some(Open::Value) if text.is_empty() => self.builder.part(Part::Null)?,
            Some(Open::Value) => self.builder.part(Part::Text(text.into()))?,
            Some(Open::InlineBinary) => self.builder.inline_binary(&text),
            Some(Open::Name(name)) => self.builder.part(Part::Name(joined(&name)))?,
            Some(Open::Component(place)) => {
                if let [.., Open::Name(name), Open::Group(group)] = self.open.as_mut_slice() {
                    name[*group][place] = text.trim_end().to_owned();
                }
            }
            Some(Open::Group(_) | Open::BulkData | Open::Unknown) | None => {}
        }
        Ok(())
    }

    fn attribute(&mut self, element: &BytesStart) -> Result<(), ReadErrorKind> {
        let name = attribute(element, "tag")?.or(attribute(element, "keyword")?).unwrap_or_default();
        match attribute(element, "privateCreator")? {
            Some(creator) => self.builder.begin_private_attribute(&name, &creator)?,
            None => self.builder.begin_attribute(&name)?,
        }
        if let Some(vr) = attribute(element, "vr")? {
            self.builder.vr(&vr);
        }
        Ok(())
    }

    /// Puts empty values in the places that the element's number leaves out, which counts from 1.
    fn numbered(&mut self, element: &BytesStart, open: Open) -> Result<Open, ReadErrorKind> {
        let number = attribute(element, "number")?.and_then(|number| number.trim().parse().ok());
        let number: usize = number.unwrap_or_default();
        if number > MAX_VALUES {
            return Err(ReadErrorKind::TooManyValues);
        }
        if (1..=self.builder.count()).contains(&number) {
            // Its place is taken: whichever order was meant, it is not this one.
            self.builder.spoil(WarningKind::Misplaced);
        }
        while self.builder.count() + 1 < number {
            self.builder.part(Part::Null)?;
        }
        Ok(open)
    }

    fn add(&mut self, text: &str) -> Result<(), ReadErrorKind> {
        match self.open.last() {
            Some(Open::Value | Open::InlineBinary | Open::Component(_)) => self.text.push_str(text),
            None if !text.trim().is_empty() => return Err(ReadErrorKind::Xml),
            _ => {}
        }
        Ok(())
    }
}

const GROUPS: &[&str] = &["Alphabetic", "Ideographic", "Phonetic"];
const COMPONENTS: &[&str] = &["FamilyName", "GivenName", "MiddleName", "NamePrefix", "NameSuffix"];

fn place(name: &str, names: &[&str]) -> Option<usize> {
    names.iter().position(|known| *known == name)
}

/// The value of a PN, without empty components and groups at the end.
fn joined(name: &Name) -> String {
    let groups: Vec<String> =
        name.iter().map(|group| group.join("^").trim_end_matches('^').to_owned()).collect();
    groups.join("=").trim_end_matches('=').to_owned()
}

/// The value of an XML attribute, unescaped.
fn attribute(element: &BytesStart, name: &str) -> Result<Option<String>, ReadErrorKind> {
    for (number, attribute) in element.attributes().enumerate() {
        if number >= MAX_ATTRIBUTES {
            return Err(ReadErrorKind::Xml);
        }
        let attribute: Attribute = attribute.map_err(|_| ReadErrorKind::Xml)?;
        if attribute.key.local_name().as_ref() == name {
            let value =
                attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|_| ReadErrorKind::Xml)?;
            return Ok(Some(value.into_owned()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
