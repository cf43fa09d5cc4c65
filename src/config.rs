//! The file `gantry.toml` and the environment become a checked configuration, or every error at once.
//!
//! Each part of the program says in its own `Config` what it needs; here stand the keys' names and defaults,
//! the check of what belongs together, and no more.

mod ae;
mod archive;
mod audit;
mod auth;
mod console;
mod dimse;
mod environment;
mod limits;
mod restart;
mod route;
mod section;
mod state;
mod telemetry;
mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Table;

use crate::access::config::Config as AuthConfig;
use crate::archive::dimse::config as dimse_config;
use crate::archive::shared::config::{Config as CacheConfig, Disk, RetrieveAhead};
use crate::audit::Config as AuditConfig;
use crate::dicom::deidentify::Key;
use crate::front::http::Config as HttpConfig;
use crate::net::HttpSettings;
use crate::net::tls::ServerConfig as TlsConfig;
use crate::router::config::RuleConfig;
use crate::telemetry::{Config as LogConfig, TracesConfig};
use section::{Report, Section};

pub use dimse::{Dimse, DimseTls};

/// Longest configuration file that is read, in bytes: a thousand archives.
const MAX_FILE: u64 = 1024 * 1024;

/// Largest `http.inline_bulk_data`: what stands in the metadata is held in memory, and one and a third as long.
const MAX_INLINE: usize = 1 << 20;

/// Largest tier of the cache: more than any machine has.
const MAX_CACHE: usize = 1 << 50;
/// Smallest tier on disk: below it there is no room for a series.
const MIN_DISK: usize = 64 << 20;
/// Size of the tier on disk where only its path is given.
const DEFAULT_DISK: u64 = 20 << 30;

/// What `gantry serve` runs by.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The archive of requests that name none; always one of `archives`.
    pub default_archive: Option<String>,
    /// `[auth]`.
    pub auth: AuthConfig,
    /// `[http]`.
    pub http: Http,
    /// `[dimse]`.
    pub dimse: Dimse,
    /// `[archive.…]`, by name.
    pub archives: Vec<dimse_config::Config>,
    /// `[cache]`.
    pub cache: CacheConfig,
    /// `[[route]]`, in order.
    pub routes: Vec<RuleConfig>,
    /// Where what must survive a restart is kept.
    pub state: Option<PathBuf>,
    /// `[audit]`; `None`: nothing is recorded.
    pub audit: Option<AuditConfig>,
    /// `[log]`.
    pub log: LogConfig,
    /// `[telemetry]`; `None`: no traces are sent.
    pub traces: Option<TracesConfig>,
    /// Keys that are set and have no effect in this version.
    pub notes: Vec<ConfigError>,
}

/// The HTTP side.
#[derive(Debug, Clone, PartialEq)]
pub struct Http {
    /// Where to listen.
    pub listen: SocketAddr,
    /// `[http.tls]`: HTTPS only.
    pub tls: Option<TlsConfig>,
    /// What the front end shows.
    pub front: HttpConfig,
    /// Limits of connections.
    pub settings: HttpSettings,
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The key, as `archive.main.address`, with the environment variable it came from; empty for the file.
    pub key: String,
    /// What is wrong and what to do.
    pub text: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.key.is_empty() { f.write_str(&self.text) } else { write!(f, "{}: {}", self.key, self.text) }
    }
}

impl Config {
    /// Reads the file at `path`, if any, and lays the environment's `GANTRY_…` variables over it.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn load(
        path: Option<&Path>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<ConfigError>> {
        let text = path.map_or(Ok(String::new()), read).map_err(|error| vec![error])?;
        Self::parse(&text, environment)
    }

    /// As [`Config::load`], from the text of a file.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn parse(
        text: &str,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self, Vec<ConfigError>> {
        let mut table: Table = text.parse().map_err(|error: toml::de::Error| {
            // Its place and what is wrong, without the line: somebody may have written a secret there.
            let line = error.span().map_or(1, |span| text[..span.start.min(text.len())].split('\n').count());
            vec![ConfigError {
                key: String::new(),
                text: format!("not TOML: line {line}: {}", error.message()),
            }]
        })?;
        let mut errors = Vec::new();
        let variables = environment::overlay(&mut table, environment, &mut errors);
        let report = Report::new(variables, errors);
        let config = whole(table, &report);
        let errors = report.into_errors();
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let bad = |text: String| ConfigError { key: String::new(), text };
    let name = path.display();
    let length = std::fs::metadata(path).map_err(|error| bad(format!("cannot read {name}: {error}")))?.len();
    if length > MAX_FILE {
        return Err(bad(format!("{name} is longer than {MAX_FILE} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| bad(format!("cannot read {name}: {error}")))
}

/// The whole configuration; where the report has errors in the end, defaults stand in for what is wrong.
fn whole(table: Table, report: &Report) -> Config {
    let mut root = Section::root(table, report);
    let log = log(root.section("log"));
    let traces = telemetry::traces(root.section("telemetry"));
    let mut http = http(root.section("http"));
    http.front.ready = telemetry::health(root.section("health"));
    let mut dimse = dimse::read(root.section("dimse"));
    let named = root.named_sections("archive");
    if named.is_empty() {
        report.add("archive", "name at least one archive, as [archive.main] with its ae_title and address");
    }
    let own_title = &dimse.ae_title;
    let archives: Vec<_> =
        named.into_iter().filter_map(|(name, section)| archive::read(&name, section, own_title)).collect();
    let default_archive = root.text("default_archive");
    check_default(default_archive.as_deref(), &archives, report);
    let routes = route::read(root.section_list("route"), &archives, report);
    dimse.front.titles.extend(routes.iter().flat_map(|rule| rule.called.iter().cloned()));
    let names: Vec<&str> = archives.iter().map(|archive| archive.name.as_str()).collect();
    dimse.front.aes = ae::read(root.named_sections("ae"), &names, report);
    ae::check_certificates(&dimse, report);
    dimse::acquaint(&mut dimse.front, &archives, report);
    http.front.console = console::read(root.section("console"));
    let auth = auth::read(root.section("auth"), &http, &archives, report);
    let cache = cache(root.section("cache"));
    let state = state::state(root.section("state"));
    let audit = {
        let titles = archives.iter().map(|archive| (archive.name.clone(), archive.ae_title.clone()));
        // The titles to which archives move are ours, too.
        let mut own = vec![dimse.ae_title.clone()];
        own.extend(dimse.move_ae_titles.iter().filter(|title| **title != dimse.ae_title).cloned());
        audit::read(root.optional_section("audit"), titles.collect(), own)
    };
    root.finish();
    Config {
        default_archive,
        auth,
        http,
        dimse,
        archives,
        cache,
        routes,
        state,
        audit,
        log,
        traces,
        notes: report.notes(),
    }
}

fn check_default(default: Option<&str>, archives: &[dimse_config::Config], report: &Report) {
    match default {
        Some(name) if !archives.iter().any(|archive| archive.name == name) => {
            report.add("default_archive", "there is no valid archive of this name");
        }
        None if archives.len() > 1 => {
            let names: Vec<&str> = archives.iter().map(|archive| archive.name.as_str()).collect();
            let text =
                format!("missing: with several archives say which is the default: {}", names.join(", "));
            report.add("default_archive", text);
        }
        _ => {}
    }
}

fn log(mut section: Section<'_>) -> LogConfig {
    let expected = "levels such as \"info\" or \"warn,gantry::dimse=debug\"";
    let filter =
        section.checked("filter", expected, |text| LogConfig::is_filter(text).then(|| text.to_owned()));
    let json = section.choice("format", &[("text", false), ("json", true)]);
    section.finish();
    let default = LogConfig::default();
    LogConfig { filter: filter.unwrap_or(default.filter), json: json.unwrap_or(default.json) }
}

fn http(mut section: Section<'_>) -> Http {
    let defaults = HttpConfig::default();
    let listen = section.listen("listen").unwrap_or((Ipv4Addr::LOCALHOST, 8080).into());
    let base_path = section.checked(
        "base_path",
        "a path such as \"/dicom-web\", not \"/\" nor one of this server's own",
        base_path,
    );
    let public_url = section.checked("public_url", "a URL such as \"https://pacs.example\"", public_url);
    let trusted_proxies = section.list("trusted_proxies", "networks such as [\"10.0.0.0/8\"]");
    let hosts = section.list("hosts", "names of hosts such as [\"pacs.example\"], without scheme and port");
    let max_connections = section.number("max_connections", 1..=65_536);
    let max_connections_per_address = section.number("max_connections_per_address", 1..=65_536);
    let head_timeout = section.duration("header_timeout").unwrap_or(Duration::from_secs(30));
    let write_timeout = section.duration("write_timeout").unwrap_or(defaults.write_timeout);
    let drain_timeout = section.duration("drain_timeout").unwrap_or(Duration::from_secs(30));
    let read_timeout = section.duration("read_timeout").unwrap_or(defaults.read_timeout);
    let inline_limit = section.size("inline_bulk_data", 0..=MAX_INLINE).unwrap_or(defaults.inline_limit);
    let cors_origins =
        section.list("cors_origins", "origins such as [\"https://viewer.example\"], without a path");
    let anonymize_key = section.checked("anonymize_secret", "a text of 16 characters at least", |text| {
        (text.chars().count() >= 16).then(|| Key::from_secret(text.as_bytes()))
    });
    let (limits, max_head) = limits::read(section.section("limits"));
    let tls = section.optional_section("tls").and_then(|mut section| {
        let server = tls::server(&mut section);
        section.finish();
        server
    });
    section.finish();
    Http {
        listen,
        tls,
        front: HttpConfig {
            base_path: base_path.unwrap_or(defaults.base_path),
            public_url,
            trusted_proxies: trusted_proxies.clone().unwrap_or_default(),
            hosts: hosts.unwrap_or_default(),
            write_timeout,
            read_timeout,
            inline_limit,
            cors_origins: cors_origins.unwrap_or_default(),
            limits,
            ready: defaults.ready,
            console: defaults.console,
            anonymize_key,
        },
        settings: HttpSettings {
            max_connections: max_connections.unwrap_or(1024),
            max_connections_per_address: max_connections_per_address.unwrap_or(512),
            proxies: trusted_proxies.unwrap_or_default(),
            max_head,
            head_timeout,
            write_timeout,
            drain_timeout,
        },
    }
}

fn cache(mut section: Section<'_>) -> CacheConfig {
    let defaults = CacheConfig::default();
    let memory = section.size("memory", 0..=MAX_CACHE).map(|size| size as u64);
    let disk = section.optional_section("disk").and_then(|mut disk| {
        let path = disk.required::<PathBuf>("path", "a directory that is the cache's own");
        let size = disk.size("size", MIN_DISK..=MAX_CACHE).map(|size| size as u64);
        disk.finish();
        Some(Disk { path: path?, size: size.unwrap_or(DEFAULT_DISK) })
    });
    let ttl = section.duration("ttl").unwrap_or(defaults.ttl);
    let revalidate = section.duration("revalidate").unwrap_or(defaults.revalidate);
    let ahead =
        [("off", RetrieveAhead::Off), ("series", RetrieveAhead::Series), ("finish", RetrieveAhead::Finish)];
    let retrieve_ahead = section.choice("retrieve_ahead", &ahead).unwrap_or(defaults.retrieve_ahead);
    let searches = section.duration("searches");
    section.finish();
    CacheConfig { memory: memory.unwrap_or(defaults.memory), disk, ttl, revalidate, retrieve_ahead, searches }
}

fn base_path(text: &str) -> Option<String> {
    let path = text.strip_suffix('/').unwrap_or(text);
    let parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let fits = |part: &&str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b))
    };
    // The first parts of the server's own pages.
    let taken = ["archives", "health", "metrics", "openapi.yaml", "admin", "console"].contains(&parts[0]);
    (parts.iter().all(fits) && !taken).then(|| path.to_owned())
}

fn public_url(text: &str) -> Option<String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"))?;
    // No name and password before the host, which would stand in every answer.
    let plain = |b: u8| b.is_ascii_graphic() && !b"?#\"<>\\@".contains(&b);
    (!rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(plain))
        .then(|| text.trim_end_matches('/').to_owned())
}

/// The keys that came from the environment, each with its variable.
type Variables = BTreeMap<String, String>;

#[cfg(test)]
mod tests;
