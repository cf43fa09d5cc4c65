//! `[audit]`: what is recorded for those who have to answer for it, and where.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::section::Section;
use super::tls;
use crate::audit::{AuthorConfig, Config as AuditConfig, FileConfig, SyslogConfig};
use crate::dicom::AeTitle;

/// Most bytes of a file or of the spool.
const MAX_SIZE: usize = 1 << 40;
/// Smallest file: some hundred messages.
const MIN_FILE: usize = 64 << 10;
/// Smallest spool: some thousand messages, in sixteen segments.
const MIN_SPOOL: usize = 1 << 20;
const DEFAULT_FILE: usize = 100 << 20;
const DEFAULT_SPOOL: usize = 256 << 20;
/// How many full files stay, where nothing is said.
const DEFAULT_KEEP: usize = 0;
/// Security and authorization messages (RFC 5424 6.2.1), which PS3.15 A.6 names.
const DEFAULT_FACILITY: usize = 10;

/// `None`: nothing is recorded. `archives`: their titles by their names; `own`: our titles.
pub(super) fn read(
    section: Option<Section<'_>>,
    archives: BTreeMap<String, AeTitle>,
    own: Vec<AeTitle>,
) -> Option<AuditConfig> {
    let mut section = section?;
    let source = section.checked("source", "a name of 1 to 64 characters", name);
    let site = section.checked("site", "a name of 1 to 64 characters", name);
    let patient_names = section.flag("patient_names").unwrap_or(false);
    let instances = section.flag("instances").unwrap_or(false);
    let author = AuthorConfig {
        source: source.unwrap_or_else(|| "gantry".to_owned()),
        site,
        patient_names,
        instances,
        archives,
        own,
    };
    let file = section.optional_section("file").and_then(file);
    let stdout = section.flag("stdout").unwrap_or(false);
    let syslog = section.optional_section("syslog").and_then(syslog);
    let mut spool = section.section("spool");
    let path: Option<PathBuf> = spool.parsed("path", "a directory that is the audit trail's own");
    let size = spool.size("size", MIN_SPOOL..=MAX_SIZE).unwrap_or(DEFAULT_SPOOL);
    spool.finish();
    let beside = |file: &FileConfig| {
        let mut path = file.path.clone().into_os_string();
        path.push(".spool");
        PathBuf::from(path)
    };
    let path = path.or_else(|| file.as_ref().map(beside));
    let goes_somewhere = file.is_some() || stdout || syslog.is_some();
    if !goes_somewhere {
        section
            .error("", "say where the audit trail goes: file = { path = \"…\" }, stdout = true, or syslog");
    } else if path.is_none() {
        section.error("spool.path", "missing: give a directory that is the audit trail's own");
    }
    section.finish();
    let spool = path.filter(|_| goes_somewhere)?;
    Some(AuditConfig { author, spool, spool_size: size as u64, file, stdout, syslog })
}

fn file(mut section: Section<'_>) -> Option<FileConfig> {
    let path = section.required("path", "a file, in a directory that the bridge may write");
    let size = section.size("size", MIN_FILE..=MAX_SIZE).unwrap_or(DEFAULT_FILE) as u64;
    let keep = section.number("keep", 0..=10_000).unwrap_or(DEFAULT_KEEP);
    section.finish();
    Some(FileConfig { path: path?, size, keep })
}

fn syslog(mut section: Section<'_>) -> Option<SyslogConfig> {
    let expected = "the host and port of a syslog receiver, such as \"audit.example:6514\"";
    let has_port = |text: &str| {
        text.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    };
    let address = section.required::<String>("address", expected);
    let facility = section.number("facility", 0..=23).unwrap_or(DEFAULT_FACILITY);
    let tls = tls::client(section.optional_section("tls"));
    let plain = section.choice("transport", &[("tls", false), ("tcp", true)]).unwrap_or(false);
    let valid = address.filter(|address| {
        let valid = has_port(address);
        if !valid {
            section.error("address", format!("expected {expected}"));
        }
        valid
    });
    if plain && valid.as_ref().is_some_and(|address| !SyslogConfig::is_loopback(address)) {
        section.error("transport", "plain TCP is for a receiver on this machine alone; leave it out for TLS");
    }
    section.finish();
    let tls = (!plain).then(|| tls.unwrap_or_default());
    // 23 at most.
    Some(SyslogConfig { address: valid?, facility: facility as u8, tls })
}

fn name(text: &str) -> Option<String> {
    let count = text.chars().count();
    let plain = !text.chars().any(char::is_control) && text.trim() == text;
    ((1..=64).contains(&count) && plain).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use crate::config::Config;
    use crate::net::tls::{ClientConfig, Identity};

    use super::*;

    const SMALLEST: &str = "[archive.main]\nae_title = \"PACS\"\naddress = \"pacs:104\"\n";

    fn parse(text: &str) -> Result<Config, Vec<String>> {
        let text = format!("{SMALLEST}{text}");
        Config::parse(&text, []).map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn nothing_is_recorded_where_nothing_is_said() {
        assert_eq!(parse("").unwrap().audit, None);
    }

    #[test]
    fn a_file_is_enough() {
        let audit =
            parse("[audit]\nfile = { path = \"/var/log/gantry/audit.jsonl\" }\n").unwrap().audit.unwrap();
        assert_eq!(audit.spool, PathBuf::from("/var/log/gantry/audit.jsonl.spool"));
        let expected =
            FileConfig { path: "/var/log/gantry/audit.jsonl".into(), size: DEFAULT_FILE as u64, keep: 0 };
        assert_eq!((audit.file, audit.stdout, audit.syslog), (Some(expected), false, None));
        assert!(!audit.author.patient_names && !audit.author.instances);
    }

    #[test]
    fn a_receiver_is_spoken_to_over_tls() {
        let text = "[audit]\nsource = \"g1\"\nsite = \"West\"\npatient_names = true\ninstances = true\nstdout = true\n\
                    [audit.spool]\npath = \"/s\"\nsize = \"1MiB\"\n\
                    [audit.syslog]\naddress = \"audit.example:6514\"\nfacility = 13\n\
                    [audit.syslog.tls]\nca = \"ca.pem\"\ncertificate = \"c.pem\"\nkey = \"k.pem\"\nserver_name = \"a\"\n";
        let audit = parse(text).unwrap().audit.unwrap();
        let identity = Some(Identity { certificate: "c.pem".into(), key: "k.pem".into() });
        let tls = Some(ClientConfig {
            ca: Some("ca.pem".into()),
            revoked: None,
            identity,
            server_name: Some("a".into()),
        });
        let expected = SyslogConfig { address: "audit.example:6514".into(), facility: 13, tls };
        assert_eq!((audit.syslog, audit.spool_size, audit.stdout), (Some(expected), 1 << 20, true));
        let text = "[audit]\nspool = { path = \"/s\" }\nsyslog = { address = \"audit.example:6514\" }\n";
        let syslog = parse(text).unwrap().audit.unwrap().syslog.unwrap();
        assert_eq!((syslog.tls, syslog.facility), (Some(ClientConfig::default()), 10));
    }

    #[test]
    fn what_would_record_nothing_or_in_the_clear_is_an_error() {
        for (text, expected) in [
            ("[audit]\nsite = \"West\"\n", "say where"),
            ("[audit]\nstdout = true\n", "audit.spool.path"),
            ("[audit]\nstdout = \"yes\"\n", "expected true or false"),
            (
                "[audit]\nspool = { path = \"/s\" }\nsyslog = { address = \"audit.example\" }\n",
                "audit.syslog.address",
            ),
            (
                "[audit]\nspool = { path = \"/s\" }\nsyslog = { address = \"10.0.0.1:514\", transport = \"tcp\" }\n",
                "this machine alone",
            ),
            ("[audit]\nfile = { path = \"a\", size = \"1KiB\" }\n", "audit.file.size"),
        ] {
            let errors = parse(text).unwrap_err();
            assert!(errors.iter().any(|error| error.contains(expected)), "{text}: {errors:?}");
        }
        let text = "[audit]\nspool = { path = \"/s\" }\nsyslog = { address = \"127.0.0.1:514\", transport = \"tcp\" }\n";
        assert_eq!(parse(text).unwrap().audit.unwrap().syslog.unwrap().tls, None);
    }
}
