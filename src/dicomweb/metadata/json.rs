//! Reads the DICOM JSON Model (PS3.18 Annex F).

mod event;

use std::borrow::Cow;

use self::event::{Event, Events, Text};
use super::builder::Builder;
use super::value::Part;
use super::{Metadata, ReadError, ReadErrorKind, WarningKind, text_of};

/// Reads data sets in the DICOM JSON Model: an array of them, or a single one (PS3.18 F.2.1).
///
/// Read as clients write them: tags in either case or keywords in their place, names as plain strings, numbers
/// as text and text as numbers, a single value without its array, base64 with line breaks or without padding.
/// Numbers of DS and IS keep the digits that they are written with; only what a DS has no room for is rounded.
///
/// # Errors
/// When the document is not JSON, not of data sets, or beyond one of the bounds of [`metadata`](super).
pub fn read_json(document: &[u8]) -> Result<Vec<Metadata>, ReadError> {
    let text = text_of(document)?;
    let mut reader = Reader { events: Events::new(text), builder: Builder::default(), open: Vec::new() };
    let byte_order_mark = document.len() - text.len();
    let read = reader.read();
    read.map_err(|kind| ReadError { offset: byte_order_mark + reader.events.position(), kind })?;
    Ok(reader.builder.finish())
}

struct Reader<'a> {
    events: Events<'a>,
    builder: Builder<'a>,
    /// What is open, outermost first; as deep as `events` goes at most.
    open: Vec<Open>,
}

#[derive(Debug, Clone)]
enum Open {
    /// The array of data sets.
    Document,
    /// A data set or an item.
    DataSet,
    /// The object behind a tag.
    Attribute,
    /// The array of an attribute's values.
    Values,
    /// An object among the values: its first key tells whether it is a name or an item.
    Object,
    /// A name: Alphabetic, Ideographic, Phonetic.
    Name([String; 3]),
}

impl<'a> Reader<'a> {
    fn read(&mut self) -> Result<(), ReadErrorKind> {
        match self.events.next()? {
            Event::BeginArray => self.open.push(Open::Document),
            Event::BeginObject => self.begin_data_set()?,
            _ => return Err(ReadErrorKind::Model),
        }
        while let Some(open) = self.open.last_mut() {
            let event = self.events.next()?;
            match (open, event) {
                (Open::Document, Event::BeginObject) => self.begin_data_set()?,
                (Open::DataSet, Event::Key(name)) => self.attribute(&name.text)?,
                (Open::DataSet, Event::EndObject) => {
                    self.open.pop();
                    self.builder.end_data_set();
                }
                (Open::Attribute, Event::Key(name)) => self.member(&name.text)?,
                (Open::Attribute, Event::EndObject) => {
                    self.open.pop();
                    self.builder.end_attribute();
                }
                (Open::Values, Event::BeginObject) => self.open.push(Open::Object),
                (Open::Values, Event::BeginArray) => {
                    self.builder.spoil(WarningKind::WrongKind);
                    self.events.skip_container()?;
                }
                (Open::Values, event @ (Event::Text(_) | Event::Number(_) | Event::Bool | Event::Null)) => {
                    self.value(event)?;
                }
                (Open::Object, Event::Key(name)) => match group_of(&name.text) {
                    Some(group) => {
                        self.open.pop();
                        self.open.push(Open::Name(Default::default()));
                        self.group(group)?;
                    }
                    None => {
                        self.open.pop();
                        self.begin_data_set()?;
                        self.attribute(&name.text)?;
                    }
                },
                (Open::Object, Event::EndObject) => {
                    self.open.pop();
                    self.builder.begin_data_set()?;
                    self.builder.end_data_set();
                }
                (Open::Name(_), Event::Key(name)) => match group_of(&name.text) {
                    Some(group) => self.group(group)?,
                    None => {
                        self.builder.spoil(WarningKind::WrongKind);
                        self.events.skip_value()?;
                    }
                },
                (Open::Name(groups), Event::EndObject) => {
                    let name = groups.join("=");
                    self.open.pop();
                    self.builder.part(Part::Name(name.trim_end_matches('=').to_owned()))?;
                }
                (Open::Document | Open::Values, Event::EndArray) => {
                    self.open.pop();
                }
                _ => return Err(ReadErrorKind::Model),
            }
        }
        self.events.finish()
    }

    fn begin_data_set(&mut self) -> Result<(), ReadErrorKind> {
        self.open.push(Open::DataSet);
        self.builder.begin_data_set()
    }

    /// An attribute whose name was read.
    fn attribute(&mut self, name: &str) -> Result<(), ReadErrorKind> {
        self.builder.begin_attribute(name)?;
        match self.events.next()? {
            Event::BeginObject => self.open.push(Open::Attribute),
            other => {
                self.builder.spoil(WarningKind::WrongKind);
                self.skip(&other)?;
                self.builder.end_attribute();
            }
        }
        Ok(())
    }

    /// A member of an attribute whose name was read. Members that the standard does not have are passed over.
    fn member(&mut self, name: &str) -> Result<(), ReadErrorKind> {
        if !matches!(name, "vr" | "Value" | "InlineBinary" | "BulkDataURI") {
            return self.events.skip_value();
        }
        match (name, self.events.next()?) {
            (_, Event::Null) => {}
            ("vr", Event::Text(vr)) => self.builder.vr(&vr.text),
            ("Value", Event::BeginArray) => self.open.push(Open::Values),
            ("Value", event @ (Event::Text(_) | Event::Number(_) | Event::Bool)) => self.value(event)?,
            ("InlineBinary", Event::Text(base64)) => self.builder.inline_binary(&base64.text),
            ("BulkDataURI", Event::Text(uri)) => self.builder.bulk_data_uri(&uri.text),
            (_, other) => {
                self.builder.spoil(WarningKind::WrongKind);
                self.skip(&other)?;
            }
        }
        Ok(())
    }

    fn value(&mut self, event: Event<'a>) -> Result<(), ReadErrorKind> {
        match event {
            Event::Text(text) => {
                let text = self.checked(text);
                self.builder.part(Part::Text(text))
            }
            Event::Number(number) => self.builder.part(Part::Number(number)),
            Event::Null => self.builder.part(Part::Null),
            _ => {
                self.builder.spoil(WarningKind::WrongKind);
                Ok(())
            }
        }
    }

    /// A component group of the name that is open, whose key was read.
    fn group(&mut self, group: usize) -> Result<(), ReadErrorKind> {
        match self.events.next()? {
            Event::Text(text) => {
                let text = self.checked(text);
                if let Some(Open::Name(groups)) = self.open.last_mut() {
                    groups[group] = text.trim_end().to_owned();
                }
            }
            Event::Null => {}
            other => {
                self.builder.spoil(WarningKind::WrongKind);
                self.skip(&other)?;
            }
        }
        Ok(())
    }

    fn checked(&mut self, text: Text<'a>) -> Cow<'a, str> {
        if text.is_broken {
            self.builder.flaw(WarningKind::BrokenText);
        }
        text.text
    }

    /// Skips what is left of a value whose first event was read.
    fn skip(&mut self, begun: &Event) -> Result<(), ReadErrorKind> {
        match begun {
            Event::BeginArray | Event::BeginObject => self.events.skip_container(),
            _ => Ok(()),
        }
    }
}

/// The place of a component group in the value of a PN (PS3.5 6.2.1.1).
fn group_of(key: &str) -> Option<usize> {
    ["Alphabetic", "Ideographic", "Phonetic"].iter().position(|group| *group == key)
}

#[cfg(test)]
mod tests;
