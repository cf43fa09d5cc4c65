//! `[auth]`: who may come, and how they are known.

use std::path::PathBuf;
use std::time::Duration;

use super::Http;
use super::section::{Report, Section};
use crate::access::config::{Algorithm, Config, Grant, OidcConfig};
use crate::archive::dimse::config as archive;
use crate::net::tls::ClientCertificates;
use crate::net::{PeerCertificate, is_this_machine};

/// What a list of grants looks like.
const GRANTS: &str =
    "a list of \"search\", \"retrieve\", \"store\" and \"admin\", such as [\"search\", \"retrieve:main\"]";

/// Longest time by which clocks may differ: beyond it a token that has expired would be as good as one that has not.
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(10 * 60);

/// Reads `[auth]`, for such a server before these archives.
pub(super) fn read(
    mut section: Section<'_>,
    http: &Http,
    archives: &[archive::Config],
    report: &Report,
) -> Config {
    let reach = Reach::of(http);
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
            section.error(
                "mode",
                "say how clients are known: [auth.tokens], [auth.oidc], [auth.basic] or [auth.certificates]",
            );
        }
        Some(false) if config.is_required() => {
            section
                .error("mode", "\"none\" lets everybody in: take it out, or what says how clients are known");
        }
        None if !config.is_required() && reach != Reach::Here => {
            let (key, why) = match reach {
                Reach::Network => ("http.listen", "other machines reach this address"),
                Reach::Proxy => ("http.trusted_proxies", "other machines reach this server through a proxy"),
                Reach::Here | Reach::Url => {
                    ("http.public_url", "other machines reach this server by this URL")
                }
            };
            report.add(
                key,
                format!(
                    "{why}, and nobody would have to say who they are: configure [auth.tokens], [auth.oidc], [auth.basic] \
                     or [auth.certificates]; or say `mode = \"none\"` in [auth] where something before this server decides \
                     who may come"
                ),
            );
        }
        _ => {}
    }
    let is_encrypted = http.tls.is_some() || !http.front.trusted_proxies.is_empty();
    if config.is_required() && !http.front.hosts.is_empty() {
        report.note("http.hosts", "has no effect: with [auth] this server is asked by any name");
    }
    if reach == Reach::Network
        && !is_encrypted
        && (config.oidc.is_some() || config.tokens.is_some() || config.basic.is_some())
    {
        let text = "tokens and passwords come in the clear to http.listen: configure [http.tls], or name in \
                    http.trusted_proxies what speaks TLS before this server";
        section.note("", text);
    }
    check_certificates(&config, http, report);
    section.finish();
    config
}

/// From where requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// From this machine.
    Here,
    /// From wherever the address that is listened on is reached.
    Network,
    /// From other machines, through a proxy on this one.
    Proxy,
    /// The same, as its URL says.
    Url,
}

impl Reach {
    fn of(http: &Http) -> Self {
        let public: Option<http::Uri> = http.front.public_url.as_deref().and_then(|url| url.parse().ok());
        let is_here = |host: &str| is_this_machine(host.trim_matches(['[', ']']));
        if !http.listen.ip().to_canonical().is_loopback() {
            Self::Network
        } else if !http.front.trusted_proxies.is_empty() {
            Self::Proxy
        } else if public.is_some_and(|url| url.host().is_some_and(|host| !is_here(host))) {
            Self::Url
        } else {
            Self::Here
        }
    }
}

/// Certificates that are named can be shown, and can be one's.
fn check_certificates(config: &Config, http: &Http, report: &Report) {
    let asks = http.tls.as_ref().is_some_and(|tls| tls.clients != ClientCertificates::None);
    for name in config.certificates.keys() {
        if !PeerCertificate::can_be_exactly(name) {
            let text = "name the whole subject such as \"CN=viewer,O=Hospital\", as `openssl x509 -noout -subject -nameopt RFC2253` \
                 writes it, or sha256: with the 64 hexadecimal digits of the fingerprint";
            report.add(&format!("auth.certificates.{name}"), text);
        } else if !asks {
            let text =
                "nobody could ever come: set http.tls.client_certificates to \"optional\" or \"required\"";
            report.add(&format!("auth.certificates.{name}"), text);
        }
    }
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
    if config.clock_skew > MAX_CLOCK_SKEW {
        section.error("clock_skew", "more than 10m: set the clocks right, by NTP for example");
    }
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
    let scheme = uri.scheme_str()?;
    // A name and a password before the host would stand in the log.
    let is_bare = uri.query().is_none() && !uri.authority()?.as_str().contains('@');
    (is_bare && (scheme == "https" || scheme == "http" && is_this_machine(host))).then(|| text.to_owned())
}
