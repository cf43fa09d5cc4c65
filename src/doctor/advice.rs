//! What comes of an examination for others: the entry that the PACS administrator has to add, and a block of
//! configuration that fits the archive.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::finding::Code;
use super::{Examination, Report};
use crate::archive::dimse::config::{Method, Model};

/// A file for the certificate of who signed the archive's, as long as nobody has named another one.
pub(super) const CA: &str = "/etc/gantry/pacs-ca.pem";

/// What the archive has to know of us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Our AE title.
    pub ae_title: String,
    /// This machine, as the archive reaches it: the address that our connection to it came from; `None`: there was none.
    pub host: Option<String>,
    /// The port that we take objects at.
    pub port: u16,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

impl Entry {
    /// In words.
    pub fn shown(&self) -> String {
        let Self { ae_title, host, port, tls } = self;
        let host = host.as_deref().unwrap_or("(this machine's address)");
        let tls = if *tls { ", TLS on" } else { ", without TLS" };
        format!(
            "AE title {ae_title}, host {host}, port {port}{tls}; allowed to query, to retrieve (C-GET and C-MOVE) and to store"
        )
    }
}

/// Where we take objects.
#[derive(Debug, Clone)]
pub struct Return {
    /// The title that archives are told to move to.
    pub ae_title: String,
    /// Where we listen.
    pub listen: SocketAddr,
    /// TLS is spoken there.
    pub tls: bool,
}

impl Return {
    /// Whether somebody at `peer` cannot reach us, as we listen on loopback only.
    pub(super) fn is_out_of_reach(&self, peer: IpAddr) -> bool {
        self.listen.ip().to_canonical().is_loopback() && !peer.to_canonical().is_loopback()
    }
}

impl Examination {
    /// What the archive has to know of us.
    pub(super) fn entry(&self) -> Entry {
        let Return { ae_title, listen, tls } = &self.back;
        let told = listen.ip();
        let seen = self.way.and_then(|way| way.local).map(|local| local.ip().to_canonical());
        // Who listens at one address is reached by that one only.
        let host = if told.is_unspecified() || told.is_loopback() { seen } else { Some(told) };
        Entry {
            ae_title: ae_title.clone(),
            host: host.map(|host| host.to_string()),
            port: listen.port(),
            tls: *tls,
        }
    }

    /// `[archive.NAME]`, with what was learnt.
    pub(super) fn suggested(&self, findings: &Report) -> String {
        let config = &self.config;
        let has = |code| findings.findings.iter().any(|finding| finding.code == code);
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let mut text = format!("[archive.{}]\n", config.name);
        let mut line = |line: String| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{line}");
        };
        line(format!("ae_title = {}", quoted(config.ae_title.as_str())));
        line(format!("address = {}", quoted(&config.address)));
        let (get, moves) = (has(Code::GetWorks), has(Code::MoveWorks));
        match (get, moves) {
            (false, true) => line("retrieve = \"move\"     # it does not send by C-GET".to_owned()),
            (true, false) => line("retrieve = \"get\"      # the way back for C-MOVE is not open".to_owned()),
            _ if config.retrieve == Method::Get => line("retrieve = \"get\"".to_owned()),
            _ if config.retrieve == Method::Move => line("retrieve = \"move\"".to_owned()),
            _ => {}
        }
        if has(Code::PatientRootOnly) || config.model == Model::Patient {
            line("model = \"patient\"".to_owned());
        }
        if let Some(charset) = &config.assume_charset {
            line(format!("assume_charset = {}", quoted(&charset.values().join("\\"))));
        } else if has(Code::CharsetMissing) {
            line("assume_charset = \"ISO_IR 192\"     # if names look right".to_owned());
        }
        if let Some(tls) = &config.tls {
            line(format!("[archive.{}.tls]", config.name));
            if let Some(ca) = &tls.ca {
                line(format!("ca = {}", quoted(&ca.display().to_string())));
            } else if has(Code::TlsUntrusted) {
                line(ca_unknown());
            }
            if let Some(own) = &tls.identity {
                line(format!("certificate = {}", quoted(&own.certificate.display().to_string())));
                line(format!("key = {}", quoted(&own.key.display().to_string())));
            }
            if let Some(name) = &tls.server_name {
                line(format!("server_name = {}", quoted(name)));
            }
        } else if has(Code::TlsRequired) {
            line(format!("[archive.{}.tls]", config.name));
            line(ca_unknown());
        }
        text
    }
}

fn ca_unknown() -> String {
    format!("ca = \"{CA}\"     # who signed its certificate, or that itself")
}
