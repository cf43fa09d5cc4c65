//! `gantry check-config`: says whether `gantry serve` would take a configuration.

use std::path::{Path, PathBuf};

use super::Failure;
use super::explain::explain;
use crate::config::{Config, ConfigError};
use crate::dicom::AeTitle;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file. Without it, the environment's GANTRY_… variables alone.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Tell where the requests of a DIMSE client go that calls itself CALLING, and us CALLED.
    #[arg(long, num_args = 2, value_names = ["CALLING", "CALLED"])]
    explain: Option<Vec<AeTitle>>,
}

/// What is to be said of a bridge that lets everybody in.
pub(super) const NOBODY_SAYS_WHO: &str = "nobody has to say who they are: whoever reaches `http.listen` may do everything; [auth] says who may come";

/// Runs the command.
pub(super) fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = load(arguments.config.as_deref())?;
    if let Some([calling, called]) = arguments.explain.as_deref() {
        print!("{}", explain(&config, calling, called));
        return Ok(());
    }
    config.check_files().map_err(|errors| {
        let lines: Vec<String> = errors.iter().map(|error| format!("  {error}")).collect();
        Failure::Usage(format!("TLS cannot be spoken:\n{}", lines.join("\n")))
    })?;
    for note in &config.notes {
        println!("{note}");
    }
    if !config.auth.is_required() {
        println!("{NOBODY_SAYS_WHO}");
    }
    if config.state.is_none() {
        println!("state.path is not set: storage commitment under way is forgotten at a restart");
    }
    let names: Vec<&str> = config.archives.iter().map(|archive| archive.name.as_str()).collect();
    println!("the configuration is good: {} archive(s): {}", names.len(), names.join(", "));
    Ok(())
}

/// Reads the configuration; all that is wrong with it becomes one text.
pub(super) fn load(path: Option<&Path>) -> Result<Config, Failure> {
    read(path).map_err(|errors| {
        let name = path.map_or("the environment".to_owned(), |path| path.display().to_string());
        let lines: Vec<String> = errors.iter().map(|error| format!("  {error}")).collect();
        Failure::Usage(format!("the configuration is wrong ({name}):\n{}", lines.join("\n")))
    })
}

/// Reads the configuration, or tells all that is wrong with it.
pub(super) fn read(path: Option<&Path>) -> Result<Config, Vec<ConfigError>> {
    // A variable that is not Unicode is none of ours.
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Config::load(path, environment)
}
