//! `[archive.NAME]`: one archive and how it is spoken to.

use super::section::{AE_TITLE, Section};
use super::tls;
use crate::archive::dimse::config::{Config, Endpoint, ForeignUids, Method, Model, StoreFrom, Timeouts};
use crate::dicom::AeTitle;
use crate::dicom::charset::{Charset, QueryCharset};

/// Longest name of an archive; it stands in URLs and log lines.
const MAX_NAME: usize = 32;
/// Most associations with one archive that may be configured.
const MAX_ASSOCIATIONS: usize = 256;
/// What an address looks like.
pub(super) const ADDRESS: &str = "host and port, such as \"pacs.example:104\"";

/// A host and a port.
pub(super) struct Address(pub(super) String);

impl std::str::FromStr for Address {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (host, port) = text.rsplit_once(':').ok_or(())?;
        let port: u16 = port.parse().map_err(|_| ())?;
        let bracketed = host.starts_with('[') && host.ends_with(']');
        let fits = |b: u8| b.is_ascii_alphanumeric() || b".-_[]:%".contains(&b);
        let good =
            !host.is_empty() && port > 0 && host.bytes().all(fits) && (bracketed || !host.contains(':'));
        if good { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}

/// Reads an archive; `None` where something necessary is wrong, which the report then says.
pub(super) fn read(name: &str, mut section: Section<'_>, own_title: &AeTitle) -> Option<Config> {
    let good_name = (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if !good_name {
        section.error("", format!("an archive's name has 1 to {MAX_NAME} letters, digits, - and _"));
    }
    check_protocol(&mut section);
    let ae_title = section.required("ae_title", AE_TITLE);
    let address = section.required::<Address>("address", ADDRESS);
    let calling_client = section.choice("calling", &[("own", false), ("client", true)]);
    let model = section
        .choice("model", &[("auto", Model::Auto), ("study", Model::Study), ("patient", Model::Patient)]);
    let retrieve =
        section.choice("retrieve", &[("auto", Method::Auto), ("get", Method::Get), ("move", Method::Move)]);
    let max_associations = section.number("max_associations", 1..=MAX_ASSOCIATIONS);
    let store_from = section.section_list("store_from").into_iter().map(store_from).collect();
    let foreign_uids = section.choice(
        "foreign_uids",
        &[("refuse", ForeignUids::Refuse), ("if-correlated", ForeignUids::IfCorrelated)],
    );
    let query_charset =
        charset(&mut section, "query_charset").map_or(QueryCharset::Auto, QueryCharset::Forced);
    let assume_charset = charset(&mut section, "assume_charset");
    let timeouts = timeouts(section.section("timeouts"));
    let mut endpoints = section.section("endpoint");
    let query = endpoint(endpoints.optional_section("query"));
    let retrieve_from = endpoint(endpoints.optional_section("retrieve"));
    let store_at = endpoint(endpoints.optional_section("store"));
    let worklist = endpoint(endpoints.optional_section("worklist"));
    let mpps = endpoint(endpoints.optional_section("mpps"));
    let commit = endpoint(endpoints.optional_section("commit"));
    endpoints.finish();
    let called_as = section.list("called_as", "AE titles such as [\"ARCHIVE1\"]");
    section.later("url", "DICOMweb archives come");
    let tls = tls::client(section.optional_section("tls"));
    section.finish();
    Some(Config {
        name: name.to_owned(),
        ae_title: ae_title?,
        address: address?.0,
        calling: own_title.clone(),
        query,
        retrieve_from,
        store_at,
        worklist,
        mpps,
        commit,
        calling_client: calling_client.unwrap_or(false),
        called_as: called_as.unwrap_or_default(),
        model: model.unwrap_or(Model::Auto),
        retrieve: retrieve.unwrap_or(Method::Auto),
        max_associations: max_associations.unwrap_or(4),
        store_from,
        foreign_uids: foreign_uids.unwrap_or(ForeignUids::Refuse),
        query_charset,
        assume_charset,
        tls,
        timeouts,
    })
}

fn check_protocol(section: &mut Section<'_>) {
    match section.text("protocol").as_deref() {
        None | Some("dimse") => {}
        Some("dicomweb") => section.error("protocol", "DICOMweb archives come with a later version"),
        Some(_) => section.error("protocol", "expected \"dimse\""),
    }
}

/// A character set, or `auto`, which is none.
fn charset(section: &mut Section<'_>, key: &'static str) -> Option<Charset> {
    let expected = "\"auto\", or a Specific Character Set such as \"ISO_IR 100\" or \"ISO_IR 192\"";
    let check = |text: &str| match text {
        "auto" => Some(None),
        other => other.parse().ok().map(Some),
    };
    section.checked(key, expected, check).flatten()
}

fn endpoint(section: Option<Section<'_>>) -> Option<Endpoint> {
    let mut section = section?;
    let ae_title = section.required("ae_title", AE_TITLE);
    let address = section.required::<Address>("address", ADDRESS);
    section.finish();
    Some(Endpoint { ae_title: ae_title?, address: address?.0 })
}

fn store_from(mut section: Section<'_>) -> StoreFrom {
    let ae_title = section.parsed("ae_title", AE_TITLE);
    let network = section.parsed("network", "a network such as \"10.0.0.0/24\"");
    if section.was_empty() {
        section.error("", "give an `ae_title`, a `network`, or both");
    }
    section.finish();
    StoreFrom { ae_title, network }
}

fn timeouts(mut section: Section<'_>) -> Timeouts {
    let default = Timeouts::default();
    let timeouts = Timeouts {
        connect: section.duration("connect").unwrap_or(default.connect),
        association: section.duration("association").unwrap_or(default.association),
        silence: section.duration("silence").unwrap_or(default.silence),
        operation: section.duration("operation").unwrap_or(default.operation),
        idle: section.duration("idle").unwrap_or(default.idle),
    };
    section.finish();
    timeouts
}
