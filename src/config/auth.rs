//! `[auth]`: who may come, and how they are known.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::section::{Report, Section};
use crate::access::config::{Algorithm, Config, Grant, OidcConfig};
use crate::archive::dimse::config as archive;

/// What a list of grants looks like.
const GRANTS: &str =
    "a list of \"search\", \"retrieve\", \"store\" and \"admin\", such as [\"search\", \"retrieve:main\"]";

/// Reads `[auth]`, for a server that listens there before these archives.
pub(super) fn read(
    mut section: Section<'_>,
    listen: SocketAddr,
    archives: &[archive::Config],
    report: &Report,
) -> Config {
    let mode = section.choice("mode", &[("required", true), ("none", false)]);
    let scopes = section.section("scopes").lists::<Grant>(GRANTS);
    let certificates = section.section("certificates").lists::<Grant>(GRANTS);
    let mut file = |key| {
        let mut section = section.optional_section(key)?;
        let file = section.required::<PathBuf>("file", "the path of a file");
        section.finish();
        file
    };
    let (tokens, basic) = (file("tokens"), file("basic"));
    let oidc = section.optional_section("oidc").and_then(oidc);
    let config = Config {
        oidc,
        tokens,
        basic,
        scopes: scopes.into_iter().collect(),
        certificates: certificates.into_iter().collect(),
    };
    for (table, entries) in [("scopes", &config.scopes), ("certificates", &config.certificates)] {
        let grants = entries.iter().flat_map(|(name, grants)| grants.iter().map(move |grant| (name, grant)));
        for (name, grant) in grants {
            if let Some(archive) = &grant.archive
                && !archives.iter().any(|known| known.name == *archive)
            {
                report.add(&format!("auth.{table}.{name}"), format!("there is no archive `{archive}`"));
            }
        }
    }
    match mode {
        Some(true) if !config.is_required() => {
            section.error("mode", "say how clients are known: [auth.tokens], [auth.oidc], [auth.basic] or [auth.certificates]");
        }
        Some(false) if config.is_required() => {
            section.error("mode", "\"none\" lets everybody in: take it out, or what says how clients are known");
        }
        None if !config.is_required() && !listen.ip().to_canonical().is_loopback() => report.add(
            "http.listen",
            "other machines reach this address, and nobody would have to say who they are: configure [auth.tokens], \
             [auth.oidc], [auth.basic] or [auth.certificates]; or say `mode = \"none\"` in [auth] where something before \
             this server decides who may come",
        ),
        _ => {}
    }
    section.finish();
    config
}

fn oidc(mut section: Section<'_>) -> Option<OidcConfig> {
    let is_there = section.has("issuer");
    let issuer = section.checked(
        "issuer",
        "the issuer's URL as it stands in its tokens: https, or http at this machine alone",
        issuer,
    );
    if !is_there {
        section.error("issuer", "missing: give the issuer's URL as it stands in its tokens");
    }
    let audience =
        section.one_or_list::<String>("audience", "as whom tokens name this server, such as [\"gantry\"]");
    let audience = audience.unwrap_or_default();
    if audience.is_empty() {
        section
            .error("audience", "missing: say as whom tokens name this server; those for others are refused");
    }
    let named: Vec<&str> = Algorithm::ALL.iter().map(|(name, _)| *name).collect();
    let expected = format!("some of {}", named.join(", "));
    let algorithms = section.list::<Algorithm>("algorithms", &expected);
    if algorithms.as_ref().is_some_and(Vec::is_empty) {
        section.error("algorithms", "name at least one, or leave the key out for all");
    }
    let mut config = OidcConfig::new(issuer.unwrap_or_default(), audience);
    config.algorithms = algorithms.unwrap_or(config.algorithms);
    config.clock_skew = section.duration("clock_skew").unwrap_or(config.clock_skew);
    config.name_claim = section.text("name_claim").unwrap_or(config.name_claim);
    config.scope_claim = section.text("scope_claim");
    config.roles_claim = section.text("roles_claim");
    config.patient_claim = section.text("patient_claim").unwrap_or(config.patient_claim);
    config.keys_lifetime = section.duration("keys_lifetime").unwrap_or(config.keys_lifetime);
    config.ca = section.parsed::<PathBuf>("ca", "the path of a PEM file");
    section.finish();
    Some(config)
}

fn issuer(text: &str) -> Option<String> {
    let uri: http::Uri = text.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let is_here =
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    let scheme = uri.scheme_str()?;
    (uri.query().is_none() && (scheme == "https" || scheme == "http" && is_here)).then(|| text.to_owned())
}
