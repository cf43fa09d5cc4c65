//! `gantry doctor`: says what stands between us and an archive, and what to do about it.

mod running;
mod show;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::json;

use super::Failure;
use super::acceptor::{Acceptor, Taken};
use super::peer::Settings;
use crate::archive::dimse::config::{Config as ArchiveConfig, Method};
use crate::config::Config;
use crate::dicom::Uid;
use crate::doctor::{Code, Examination, Finding, Level, Report, Return, Watch};
use running::Running;

/// How long a bridge that runs may take for what it is asked, beyond what the archive may take.
const MORE: Duration = Duration::from_secs(30);
/// Longest token, in bytes: those of OpenID providers have some thousand.
const MAX_TOKEN: u64 = 64 << 10;
/// Longest wait for it.
const MOST_PATIENCE: Duration = Duration::from_secs(240);

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A name from the configuration, or AET@HOST:PORT for an archive that is in none; without it, all of the
    /// configuration.
    #[arg(value_name = "ARCHIVE")]
    archive: Option<String>,
    #[command(flatten)]
    settings: Settings,
    /// Retrieve this study, whole, in place of one instance of some study.
    #[arg(long, value_name = "UID")]
    study: Option<Uid>,
    /// A file with a token that has the right `admin`, for a Gantry that runs already and wants to know who asks.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Print one JSON object, with codes that do not change.
    #[arg(long)]
    json: bool,
}

/// Where objects of a C-MOVE come.
enum Back<'a> {
    /// To us.
    Own(Acceptor),
    /// To a bridge that runs.
    Bridge(Running<'a>),
    /// To nobody.
    Nowhere(Finding),
}

/// Runs the command.
pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { archive, settings, study, token_file, json } = arguments;
    let config = settings.load(archive.as_deref())?;
    let archives = chosen(&config, archive.as_deref())?;
    let token = token_file.as_deref().map(token).transpose()?;
    let back = back(&config, token.as_deref()).await;
    let mut reports = Vec::new();
    for archive in archives {
        let watch: Watch = if json { Box::new(|_| {}) } else { show::watch(archive) };
        let report = examine(&config, archive, &back, study.clone(), watch).await;
        if !json {
            show::conclusion(&report);
        }
        reports.push(report);
    }
    if let Back::Own(acceptor) = back {
        acceptor.close().await;
    }
    if json {
        println!("{}", json!({ "archives": reports }));
    }
    match reports.iter().filter(|report| report.worst() == Level::Error).count() {
        0 => Ok(()),
        1 => Err(Failure::Other("one archive has something that does not work".to_owned())),
        more => Err(Failure::Other(format!("{more} archives have something that does not work"))),
    }
}

fn chosen<'a>(config: &'a Config, named: Option<&str>) -> Result<Vec<&'a ArchiveConfig>, Failure> {
    let all = config.archives.iter();
    match named.filter(|name| !name.contains('@')) {
        None => Ok(all.collect()),
        Some(name) => match all.clone().find(|archive| archive.name == name) {
            Some(archive) => Ok(vec![archive]),
            None => {
                let names: Vec<&str> = all.map(|archive| archive.name.as_str()).collect();
                let text =
                    format!("there is no archive `{name}`: the configuration has {}", names.join(", "));
                Err(Failure::Usage(text))
            }
        },
    }
}

/// The token in a file.
fn token(path: &Path) -> Result<String, Failure> {
    let bad = |why: String| Failure::Usage(format!("--token-file {}: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| bad(error.to_string()))?.len();
    if length > MAX_TOKEN {
        return Err(bad(format!("is longer than {MAX_TOKEN} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
    Ok(text.trim().to_owned())
}

/// Listens for what comes back, or finds out who does.
async fn back<'a>(config: &'a Config, token: Option<&'a str>) -> Back<'a> {
    let taken = match Acceptor::bind(config, &config.archives).await {
        Ok(acceptor) => return Back::Own(acceptor),
        Err(taken) => taken,
    };
    if taken.is_in_use()
        && let Some(running) = Running::find(config, token).await
    {
        return Back::Bridge(running);
    }
    Back::Nowhere(port_taken(&taken))
}

fn port_taken(taken: &Taken) -> Finding {
    let port = taken.address.port();
    let finding = Finding::new(Code::PortTaken, taken.to_string());
    if taken.is_in_use() {
        finding
            .means("another program listens where objects of a C-MOVE are to come, and no Gantry answers at http.listen: neither this examination nor `gantry serve` can receive there")
            .remedy(format!("see which one it is (ss -ltnp 'sport = :{port}') and stop it; or give Gantry another port by dimse.listen, and enter that at the archive; with another configuration file a Gantry may run here after all: name that file by --config"))
    } else {
        finding
            .means("objects of a C-MOVE cannot come in")
            .remedy("put dimse.listen right: an address of this machine, and a port above 1023 unless Gantry may have lower ones")
    }
}

async fn examine(
    config: &Config,
    archive: &ArchiveConfig,
    back: &Back<'_>,
    study: Option<Uid>,
    watch: Watch,
) -> Report {
    let dimse = &config.dimse;
    let title = dimse.move_ae_titles.first().unwrap_or(&dimse.ae_title);
    // Over TLS archives come where that is spoken.
    let tls_at = dimse.tls.as_ref().map(|tls| tls.listen.unwrap_or(dimse.listen));
    let listen = tls_at.filter(|_| archive.tls.is_some()).unwrap_or(dimse.listen);
    let is_secured = tls_at == Some(listen);
    let returns = Return { ae_title: title.to_string(), listen, tls: is_secured };
    let mut examination = Examination::new(archive.clone(), returns, study, watch);
    examination.examine().await;
    match back {
        _ if archive.retrieve == Method::Get => {}
        Back::Own(acceptor) => examination.bring_back(acceptor.moves().clone()).await,
        Back::Bridge(running) => match examination.to_move() {
            None => examination.nothing_to_move(),
            Some((target, patient)) => {
                let what =
                    format!("the Gantry that runs holds the port, and tries it ({})", running.address());
                examination.found(Finding::new(Code::PortOfGantry, what));
                let time = (archive.timeouts.operation + MORE).min(MOST_PATIENCE);
                let finding = running.try_return_path(&archive.name, &target, patient.as_deref(), time).await;
                examination.found(finding);
            }
        },
        Back::Nowhere(finding) => examination.found(finding.clone()),
    }
    examination.conclude()
}
