//! An audit message in parts, as PS3.15 A.5.1 has them: what the sinks write, as JSON or XML.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A coded value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Code {
    #[serde(rename = "csd-code")]
    pub(super) code: Cow<'static, str>,
    #[serde(rename = "codeSystemName")]
    pub(super) system: Cow<'static, str>,
    #[serde(rename = "originalText")]
    pub(super) text: Cow<'static, str>,
}

impl Code {
    /// A code of PS3.16 Annex D.
    pub(super) const fn dcm(code: &'static str, text: &'static str) -> Self {
        Self { code: Cow::Borrowed(code), system: Cow::Borrowed("DCM"), text: Cow::Borrowed(text) }
    }

    /// A code of the tables in PS3.15 A.5.1.2.
    pub(super) const fn rfc3881(code: &'static str, text: &'static str) -> Self {
        Self { code: Cow::Borrowed(code), system: Cow::Borrowed("RFC-3881"), text: Cow::Borrowed(text) }
    }
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Message {
    pub(super) event_identification: EventIdentification,
    pub(super) active_participant: Vec<Participant>,
    pub(super) audit_source_identification: Source,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) participant_object_identification: Vec<Object>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct EventIdentification {
    #[serde(rename = "EventID")]
    pub(super) event_id: Code,
    pub(super) event_action_code: Cow<'static, str>,
    /// In UTC.
    pub(super) event_date_time: String,
    pub(super) event_outcome_indicator: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) event_type_code: Option<Code>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) event_outcome_description: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Participant {
    #[serde(rename = "UserID")]
    pub(super) user_id: String,
    #[serde(rename = "AlternativeUserID", default, skip_serializing_if = "Option::is_none")]
    pub(super) alternative_user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) user_name: Option<String>,
    pub(super) user_is_requestor: bool,
    #[serde(rename = "RoleIDCode", default, skip_serializing_if = "Option::is_none")]
    pub(super) role: Option<Code>,
    /// An IP address.
    #[serde(rename = "NetworkAccessPointID", default, skip_serializing_if = "Option::is_none")]
    pub(super) address: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    #[serde(rename = "AuditSourceID")]
    pub(super) id: String,
    #[serde(rename = "AuditEnterpriseSiteID", default, skip_serializing_if = "Option::is_none")]
    pub(super) site: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Object {
    #[serde(rename = "ParticipantObjectID")]
    pub(super) id: String,
    pub(super) participant_object_type_code: u8,
    pub(super) participant_object_type_code_role: u8,
    #[serde(rename = "ParticipantObjectIDTypeCode")]
    pub(super) id_type: Code,
    /// This or the next is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) participant_object_name: Option<String>,
    /// In base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) participant_object_query: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) participant_object_detail: Vec<Detail>,
    /// SOP Instance UID of a performed procedure step.
    #[serde(rename = "MPPS", default, skip_serializing_if = "Option::is_none")]
    pub(super) mpps: Option<String>,
    #[serde(rename = "SOPClass", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) classes: Vec<SopClass>,
}

/// A detail of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Detail {
    #[serde(rename = "type")]
    pub(super) kind: Cow<'static, str>,
    /// In base64.
    pub(super) value: String,
}

/// Instances of one SOP class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SopClass {
    #[serde(rename = "UID")]
    pub(super) uid: String,
    #[serde(rename = "NumberOfInstances")]
    pub(super) number: usize,
    #[serde(rename = "Instance", default, skip_serializing_if = "Vec::is_empty")]
    pub(super) instances: Vec<String>,
}

impl Message {
    /// The message as the element `AuditMessage` (PS3.15 A.5.1.1).
    pub(super) fn to_xml(&self) -> String {
        let mut out = Writer(String::with_capacity(2048));
        out.0.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?><AuditMessage>");
        let event = &self.event_identification;
        out.open("EventIdentification");
        out.attribute("EventActionCode", &event.event_action_code);
        out.attribute("EventDateTime", &event.event_date_time);
        out.attribute("EventOutcomeIndicator", &event.event_outcome_indicator.to_string());
        out.0.push('>');
        out.code("EventID", &event.event_id);
        if let Some(code) = &event.event_type_code {
            out.code("EventTypeCode", code);
        }
        if let Some(text) = &event.event_outcome_description {
            out.text("EventOutcomeDescription", text);
        }
        out.close("EventIdentification");
        for participant in &self.active_participant {
            out.participant(participant);
        }
        let source = &self.audit_source_identification;
        out.open("AuditSourceIdentification");
        if let Some(site) = &source.site {
            out.attribute("AuditEnterpriseSiteID", site);
        }
        out.attribute("AuditSourceID", &source.id);
        // 4: application server (PS3.15 A.5.1.2.1).
        out.0.push_str("><AuditSourceTypeCode csd-code=\"4\"/></AuditSourceIdentification>");
        for object in &self.participant_object_identification {
            out.object(object);
        }
        out.close("AuditMessage");
        out.0
    }
}

struct Writer(String);

impl Writer {
    fn open(&mut self, name: &str) {
        self.0.push('<');
        self.0.push_str(name);
    }

    fn close(&mut self, name: &str) {
        for text in ["</", name, ">"] {
            self.0.push_str(text);
        }
    }

    fn attribute(&mut self, name: &str, value: &str) {
        for text in [" ", name, "=\""] {
            self.0.push_str(text);
        }
        self.escaped(value);
        self.0.push('"');
    }

    /// Text that can stand anywhere in XML, whatever it is: what XML 1.0 has no way to say (2.2) is replaced, and so is
    /// what would begin another line.
    fn escaped(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&apos;"),
                c => self.0.push(harmless(c)),
            }
        }
    }

    fn text(&mut self, name: &str, text: &str) {
        self.open(name);
        self.0.push('>');
        self.escaped(text);
        self.close(name);
    }

    fn code(&mut self, name: &str, code: &Code) {
        self.open(name);
        self.attribute("csd-code", &code.code);
        self.attribute("codeSystemName", &code.system);
        self.attribute("originalText", &code.text);
        self.0.push_str("/>");
    }

    fn participant(&mut self, participant: &Participant) {
        self.open("ActiveParticipant");
        self.attribute("UserID", &participant.user_id);
        if let Some(id) = &participant.alternative_user_id {
            self.attribute("AlternativeUserID", id);
        }
        if let Some(name) = &participant.user_name {
            self.attribute("UserName", name);
        }
        self.attribute("UserIsRequestor", if participant.user_is_requestor { "true" } else { "false" });
        if let Some(address) = &participant.address {
            self.attribute("NetworkAccessPointID", address);
            self.attribute("NetworkAccessPointTypeCode", "2");
        }
        self.0.push('>');
        if let Some(role) = &participant.role {
            self.code("RoleIDCode", role);
        }
        self.close("ActiveParticipant");
    }

    fn object(&mut self, object: &Object) {
        self.open("ParticipantObjectIdentification");
        self.attribute("ParticipantObjectID", &object.id);
        self.attribute("ParticipantObjectTypeCode", &object.participant_object_type_code.to_string());
        self.attribute(
            "ParticipantObjectTypeCodeRole",
            &object.participant_object_type_code_role.to_string(),
        );
        self.0.push('>');
        self.code("ParticipantObjectIDTypeCode", &object.id_type);
        if let Some(query) = &object.participant_object_query {
            self.text("ParticipantObjectQuery", query);
        } else {
            self.text("ParticipantObjectName", object.participant_object_name.as_ref().unwrap_or(&object.id));
        }
        for Detail { kind, value } in &object.participant_object_detail {
            self.open("ParticipantObjectDetail");
            self.attribute("type", kind);
            self.attribute("value", value);
            self.0.push_str("/>");
        }
        if object.mpps.is_some() || !object.classes.is_empty() {
            self.0.push_str("<ParticipantObjectDescription>");
            if let Some(uid) = &object.mpps {
                self.open("MPPS");
                self.attribute("UID", uid);
                self.0.push_str("/>");
            }
            object.classes.iter().for_each(|class| self.class(class));
            self.close("ParticipantObjectDescription");
        }
        self.close("ParticipantObjectIdentification");
    }

    fn class(&mut self, class: &SopClass) {
        self.open("SOPClass");
        self.attribute("UID", &class.uid);
        self.attribute("NumberOfInstances", &class.number.to_string());
        self.0.push('>');
        for instance in &class.instances {
            self.open("Instance");
            self.attribute("UID", instance);
            self.0.push_str("/>");
        }
        self.close("SOPClass");
    }
}

/// The character, or U+FFFD in place of a control character, a line separator, or what is no character at all.
pub(super) fn harmless(c: char) -> char {
    let is_harmless = !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{FFFE}' | '\u{FFFF}');
    if is_harmless { c } else { char::REPLACEMENT_CHARACTER }
}
