//! Which archive a command speaks to: one of the configuration, or one that is named by its title and address.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::acceptor::{Acceptor, Taken};
use super::{Failure, check_config};
use crate::archive::dimse::DimseArchive;
use crate::archive::dimse::config::{Config as ArchiveConfig, Method};
use crate::archive::{Error, Fault};
use crate::caller::{Caller, Priority};
use crate::config::Config;
use crate::dicom::AeTitle;
use crate::metrics::Metrics;
use crate::net::tls;
use crate::telemetry;

/// Longest name of an archive that is made up from its title.
const MAX_NAME: usize = 16;
/// How long the end of a command may take: a C-CANCEL, and the release of what is open.
const ENDING: Duration = Duration::from_secs(3);

/// Where the archives are described, and who we are towards them.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct Settings {
    /// The configuration file. Without it, the environment's GANTRY_… variables alone.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Call by this AE title, and have objects moved to it, in place of dimse.ae_title.
    #[arg(long, value_name = "AET")]
    calling: Option<AeTitle>,
    /// Take objects of a C-MOVE here, in place of dimse.listen.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Say on the standard error what goes on.
    #[arg(long, short)]
    verbose: bool,
}

/// An archive, and how it is reached.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Peer {
    /// A name from the configuration, or AET@HOST:PORT for an archive that is in none.
    #[arg(value_name = "ARCHIVE")]
    archive: String,
    #[command(flatten)]
    settings: Settings,
}

impl Settings {
    /// The configuration with what the command line says of it; `named` may be an archive that is in none.
    pub(super) fn load(&self, named: Option<&str>) -> Result<Config, Failure> {
        let mut config = match named.filter(|text| text.contains('@')) {
            Some(text) if self.config.is_none() => alone(text)?,
            Some(text) => {
                let mut config = check_config::load(self.config.as_deref())?;
                config.archives = alone(text)?.archives;
                for archive in &mut config.archives {
                    archive.calling = config.dimse.ae_title.clone();
                }
                config
            }
            None => check_config::load(self.config.as_deref()).map_err(|failure| match failure {
                Failure::Usage(text) if self.config.is_none() => Failure::Usage(format!(
                    "{text}\nname a configuration by --config FILE, or the archive as AET@HOST:PORT"
                )),
                other => other,
            })?,
        };
        if let Some(title) = &self.calling {
            config.dimse.ae_title = title.clone();
            config.dimse.move_ae_titles = vec![title.clone()];
            config.dimse.front.ae_title = title.clone();
            config.dimse.front.titles.insert(title.clone());
            for archive in &mut config.archives {
                archive.calling = title.clone();
            }
        }
        config.dimse.listen = self.listen.unwrap_or(config.dimse.listen);
        if self.verbose {
            telemetry::init(&config.log, None);
        }
        Ok(config)
    }
}

/// A configuration of one archive alone, `AET@HOST:PORT`. It goes the way of every other one, so that the same is
/// checked.
fn alone(text: &str) -> Result<Config, Failure> {
    let Some((title, address)) = text.rsplit_once('@') else {
        return Err(Failure::Usage(format!("{text} is not AET@HOST:PORT")));
    };
    let quoted = |text: &str| toml::Value::from(text).to_string();
    let (name, title, address) = (name_for(title), quoted(title), quoted(address));
    let text = format!("[archive.{name}]\nae_title = {title}\naddress = {address}\n");
    Config::parse(&text, []).map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|error| format!("  {error}")).collect();
        Failure::Usage(format!("the archive is to be AET@HOST:PORT:\n{}", lines.join("\n")))
    })
}

/// A name for the archive of this title.
fn name_for(title: &str) -> String {
    let fits = |c: &char| c.is_ascii_alphanumeric() || "-_".contains(*c);
    let name: String = title.to_ascii_lowercase().chars().filter(fits).take(MAX_NAME).collect();
    if name.is_empty() { "main".to_owned() } else { name }
}

impl Peer {
    /// The archive's configuration, within the whole one.
    pub(super) fn load(&self) -> Result<(ArchiveConfig, Config), Failure> {
        let config = self.settings.load(Some(&self.archive))?;
        let found = match config.archives.as_slice() {
            [one] if self.archive.contains('@') => Some(one.clone()),
            all => all.iter().find(|archive| archive.name == self.archive).cloned(),
        };
        let found = found.ok_or_else(|| {
            let names: Vec<&str> = config.archives.iter().map(|archive| archive.name.as_str()).collect();
            Failure::Usage(format!(
                "there is no archive `{}`: the configuration has {}; others are AET@HOST:PORT",
                self.archive,
                names.join(", ")
            ))
        })?;
        Ok((found, config))
    }

    /// The archive, for what needs no way back.
    pub(super) fn open(&self) -> Result<Opened, Failure> {
        let (archive, _) = self.load()?;
        Ok(Opened { archive: DimseArchive::new(archive, None, None, Metrics::default()), back: None })
    }

    /// The archive, and where it can send objects to, unless all come by C-GET.
    pub(super) async fn open_with_return(&self) -> Result<Opened, Failure> {
        let (archive, config) = self.load()?;
        let back = match archive.retrieve {
            Method::Get => None,
            Method::Auto | Method::Move => {
                Some(Acceptor::bind(&config, std::slice::from_ref(&archive)).await)
            }
        };
        let moves = back.as_ref().and_then(|back| Some(back.as_ref().ok()?.moves().clone()));
        Ok(Opened { archive: DimseArchive::new(archive, moves, None, Metrics::default()), back })
    }
}

/// An archive that a command works with.
pub(super) struct Opened {
    pub(super) archive: DimseArchive,
    /// Where it sends objects to; `None`: nowhere.
    back: Option<Result<Acceptor, Taken>>,
}

impl Opened {
    /// Why there is no way back, where there should be one.
    pub(super) fn no_way_back(&self) -> Option<&Taken> {
        self.back.as_ref()?.as_ref().err()
    }

    /// What to do where nothing can come back from the archive, as we listen on this machine alone and it is on another.
    pub(super) fn out_of_reach(&self) -> Option<String> {
        let Some(Ok(back)) = &self.back else { return None };
        let (listen, host) = (back.address(), tls::host_of(&self.archive.config().address));
        let is_here =
            host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.to_canonical().is_loopback());
        (listen.ip().is_loopback() && !is_here).then(|| {
            format!(
                "we listen on {listen}, which is this machine alone: say --listen 0.0.0.0:{}, and have the archive send there",
                listen.port()
            )
        })
    }

    /// Lets what is under way be cancelled, and releases what is open.
    pub(super) async fn close(self) {
        self.archive.shut_down(Instant::now() + ENDING).await;
        if let Some(Ok(back)) = self.back {
            back.close().await;
        }
    }
}

/// On whose behalf a command asks.
pub(super) fn caller(priority: Priority) -> Caller {
    Caller { client: None, priority, title: None }
}

/// An archive's error as the end of a command.
pub(super) fn failed(error: &Error) -> Failure {
    Failure::Other(told(error))
}

/// An archive's error in words: what happened, and whose it is to mend.
pub(super) fn told(error: &Error) -> String {
    let whose = match error.fault() {
        Fault::Client => "this is on our side: what was asked for cannot be had so",
        Fault::Archive => "this is on the archive's side, or on the way to it; `gantry doctor` tells which",
        Fault::Bridge => "this is on our side: Gantry itself",
    };
    format!("{error}\n  {whose}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(archive: &str) -> Peer {
        Peer { archive: archive.to_owned(), settings: Settings::default() }
    }

    #[test]
    fn an_archive_that_is_in_no_configuration_is_a_title_and_an_address() {
        let (archive, config) = peer("PACS 1@pacs.example:104").load().unwrap();
        assert_eq!((archive.ae_title.as_str(), archive.address.as_str()), ("PACS 1", "pacs.example:104"));
        assert_eq!((archive.name.as_str(), config.dimse.ae_title.as_str()), ("pacs1", "GANTRY"));
        let named = Settings { calling: Some("OTHER".parse().unwrap()), ..Settings::default() };
        let (archive, config) = Peer { settings: named, ..peer("A@[::1]:104") }.load().unwrap();
        assert_eq!((archive.calling.as_str(), config.dimse.move_ae_titles[0].as_str()), ("OTHER", "OTHER"));
    }

    #[test]
    fn what_is_no_title_and_address_is_told() {
        for bad in ["@pacs:104", "PACS@pacs", "PACS@pacs:0", "A TITLE THAT IS TOO LONG@pacs:104", "A\"\n@b:1"]
        {
            let Err(Failure::Usage(text)) = peer(bad).load() else { panic!("{bad}") };
            assert!(text.contains("AET@HOST:PORT"), "{text}");
        }
    }
}
