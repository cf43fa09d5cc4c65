//! `[ae.TITLE]`: the application entities that call us, or to which objects are moved.

use std::collections::BTreeSet;

use super::archive::{ADDRESS, Address};
use super::dimse::{Dimse, DimseTls, MAX_ASSOCIATIONS, OPERATIONS};
use super::section::{AE_TITLE, Report, Section};
use super::tls;
use crate::dicom::AeTitle;
use crate::front::dimse::config::{AeConfig, Moves};
use crate::net::PeerCertificate;
use crate::net::tls::ClientCertificates;

/// What the holder of a certificate is called by.
const SUBJECT: &str = "a certificate's subject as RFC 4514 writes it, such as \"CN=CT1,O=Hospital\", its Common Name, one of its alternative names, or \"sha256:\" and its fingerprint";
/// Most application entities that are known: those of a large hospital.
const MAX_ENTITIES: usize = 4096;

/// Reads all of them. `known`: the archives' names.
pub(super) fn read(named: Vec<(String, Section<'_>)>, known: &[&str], report: &Report) -> Vec<AeConfig> {
    if named.len() > MAX_ENTITIES {
        report.add("ae", format!("name at most {MAX_ENTITIES} application entities"));
        return Vec::new();
    }
    let mut entities: Vec<AeConfig> = Vec::new();
    for (name, section) in named {
        let Some(entity) = one(&name, section, known) else { continue };
        // Padding belongs to no title, so that two names may be one title.
        if entities.iter().any(|known| known.title == entity.title) {
            report.add(&format!("ae.{name}"), "this title stands there twice");
        }
        entities.push(entity);
    }
    entities
}

fn one(name: &str, mut section: Section<'_>, known: &[&str]) -> Option<AeConfig> {
    let title = name.parse::<AeTitle>().ok();
    if title.is_none() {
        section.error("", format!("its name is {AE_TITLE}"));
    }
    let address = section.parsed::<Address>("address", ADDRESS).map(|address| address.0);
    let allow_from = section.list("allow_from", "networks such as [\"10.0.0.0/24\"]");
    let moves = section.choice("move", &[("relay", Moves::Relay), ("direct", Moves::Direct)]);
    let max_associations = section.number("max_associations", 1..=MAX_ASSOCIATIONS);
    let allow = section.list("allow", OPERATIONS).map(BTreeSet::from_iter);
    let archives = section.list::<String>("archives", "names of archives such as [\"main\"]");
    let unknown = archives.iter().flatten().find(|name| !known.contains(&name.as_str()));
    if let Some(name) = unknown {
        section.error("archives", format!("there is no valid archive of the name {name:?}"));
    }
    if address.is_none() && moves == Some(Moves::Relay) {
        section.note("address", "missing: without it nothing can be moved to this title");
    }
    let tls = tls::client(section.optional_section("tls"));
    if tls.is_some() && address.is_none() {
        section.error("tls", "has no effect without the `address` that we connect to");
    }
    let certificate_subject = section.checked("certificate_subject", SUBJECT, |text| {
        PeerCertificate::can_be_named(text.trim()).then(|| text.trim().to_owned())
    });
    section.finish();
    Some(AeConfig {
        title: title?,
        address,
        allow_from: allow_from.unwrap_or_default(),
        moves: moves.unwrap_or(Moves::Relay),
        max_associations,
        allow,
        archives,
        tls,
        certificate_subject,
    })
}

/// A certificate can be asked of a title only where clients show theirs.
pub(super) fn check_certificates(dimse: &Dimse, report: &Report) {
    let asks = |tls: &DimseTls| tls.server.clients != ClientCertificates::None;
    if dimse.tls.as_ref().is_some_and(asks) {
        return;
    }
    for ae in dimse.front.aes.iter().filter(|ae| ae.certificate_subject.is_some()) {
        let text =
            "nobody could ever come: set dimse.tls.client_certificates to \"optional\" or \"required\"";
        report.add(&format!("ae.{}.certificate_subject", ae.title), text);
    }
}
