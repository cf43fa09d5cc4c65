//! `[dimse]`: our titles, where we listen, and who may come.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use super::section::{AE_TITLE, Report, Section};
use super::{state, tls};
use crate::archive::commitment::Config as Commitment;
use crate::archive::dimse::config as archive;
use crate::dicom::{AeTitle, Uid};
use crate::front::dimse::config::{Config, MORE_RETURNS, Timeouts};
use crate::net::tls::ServerConfig;

/// Most associations that may be configured.
pub(super) const MAX_ASSOCIATIONS: usize = 4096;
/// What a list of operations looks like.
pub(super) const OPERATIONS: &str =
    "some of [\"echo\", \"find\", \"get\", \"move\", \"store\", \"normalized\"]";
/// What a list of UIDs looks like.
const UIDS: &str = "UIDs such as [\"1.2.840.10008.1.2.1\"]";

/// `[dimse]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dimse {
    /// Where associations to us come.
    pub listen: SocketAddr,
    /// `[dimse.tls]`.
    pub tls: Option<DimseTls>,
    /// Our title.
    pub ae_title: AeTitle,
    /// The titles that we give to archives as C-MOVE destination.
    pub move_ae_titles: Vec<AeTitle>,
    /// How clients are served.
    pub front: Config,
    /// `dimse.commitment`.
    pub commitment: Commitment,
}

/// `[dimse.tls]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DimseTls {
    /// Where associations over TLS come; `None`: where `Dimse::listen` says, and none come without TLS.
    pub listen: Option<SocketAddr>,
    /// What we show there.
    pub server: ServerConfig,
}

/// Reads `[dimse]`; who is known stands elsewhere.
pub(super) fn read(mut section: Section<'_>) -> Dimse {
    let listen = section.listen("listen").unwrap_or((Ipv4Addr::LOCALHOST, 11_112).into());
    let given = section.parsed::<AeTitle>("ae_title", AE_TITLE);
    let ae_title = given.unwrap_or_else(|| "GANTRY".parse().expect("a valid title"));
    let move_ae_titles = section.list("move_ae_titles", "AE titles such as [\"GANTRY\"]");
    if move_ae_titles.as_ref().is_some_and(Vec::is_empty) {
        section.error("move_ae_titles", "name at least one title; leave the key out for `ae_title`");
    }
    let move_ae_titles = move_ae_titles.unwrap_or_else(|| vec![ae_title.clone()]);
    let default = Config::new(ae_title.clone());
    let accept_any = section.choice("accept", &[("known", false), ("any", true)]);
    let max_associations = section.number("max_associations", 1..=MAX_ASSOCIATIONS);
    let max_associations_per_ae = section.number("max_associations_per_ae", 1..=MAX_ASSOCIATIONS);
    let max_per_address = section.number("max_associations_per_address", 1..=MAX_ASSOCIATIONS);
    let allow_any = section.list("allow_any", OPERATIONS).map(BTreeSet::from_iter);
    if allow_any.is_some() && accept_any != Some(true) {
        section.note("allow_any", "has no effect without accept = \"any\"");
    }
    let transfer_syntaxes = section.list::<Uid>("transfer_syntaxes", UIDS);
    let storage_classes = section.list::<Uid>("storage_classes", UIDS);
    let timeouts = timeouts(section.section("timeouts"));
    let commitment = state::commitment(section.section("commitment"));
    let tls = section.optional_section("tls").and_then(|mut section| {
        let listen = section.listen("listen");
        let server = tls::server(&mut section);
        section.finish();
        Some(DimseTls { listen, server: server? })
    });
    section.finish();
    let mut front = Config {
        accept_any: accept_any.unwrap_or(default.accept_any),
        allow_any,
        max_associations: max_associations.unwrap_or(default.max_associations),
        max_associations_per_ae: max_associations_per_ae.unwrap_or(default.max_associations_per_ae),
        max_associations_per_address: max_per_address.unwrap_or(default.max_associations_per_address),
        transfer_syntaxes: transfer_syntaxes.unwrap_or_default(),
        storage_classes: storage_classes.unwrap_or_default(),
        timeouts,
        ..default
    };
    front.titles.extend(move_ae_titles.iter().cloned());
    Dimse { listen, tls, ae_title, move_ae_titles, front, commitment }
}

/// Makes the archives known to the front end: by which titles they are called and call.
pub(super) fn acquaint(front: &mut Config, archives: &[archive::Config], report: &Report) {
    let mut called_as = BTreeSet::new();
    for archive in archives {
        for title in &archive.called_as {
            let path = format!("archive.{}.called_as", archive.name);
            if *title == front.ae_title {
                report.add(&path, format!("{title} is dimse.ae_title, which no archive has for itself"));
            }
            if !called_as.insert(title.clone()) {
                report.add(&path, format!("{title} stands there twice: a title is that of one archive"));
            }
        }
        let endpoints = [
            &archive.query,
            &archive.retrieve_from,
            &archive.store_at,
            &archive.worklist,
            &archive.mpps,
            &archive.commit,
        ];
        let endpoints = || endpoints.into_iter().flatten();
        let addresses = || endpoints().map(|endpoint| &endpoint.address).chain([&archive.address]).cloned();
        let senders = archive.store_from.iter().filter_map(|from| from.ae_title.as_ref());
        for title in endpoints().map(|endpoint| &endpoint.ae_title).chain(senders).chain([&archive.ae_title])
        {
            let whence = front.archives.entry(title.clone()).or_default();
            whence.addresses.extend(addresses());
            let from = archive.store_from.iter();
            let from = from.filter(|from| from.ae_title.as_ref().is_none_or(|named| named == title));
            whence.networks.extend(from.filter_map(|from| from.network));
        }
    }
    front.titles.extend(called_as);
    front.max_returns = MORE_RETURNS + archives.iter().map(|archive| archive.max_associations).sum::<usize>();
}

fn timeouts(mut section: Section<'_>) -> Timeouts {
    let default = Timeouts::default();
    let timeouts = Timeouts {
        artim: section.duration("artim").unwrap_or(default.artim),
        negotiation: section.duration("negotiation").unwrap_or(default.negotiation),
        idle: section.duration("idle").unwrap_or(default.idle),
        read: section.duration("read").unwrap_or(default.read),
        write: section.duration("write").unwrap_or(default.write),
    };
    section.finish();
    timeouts
}
