//! `gantry serve`: runs the bridge until SIGTERM or ctrl-C.

use std::path::PathBuf;
use std::sync::Arc;

use super::{Failure, check_config, on_hangup, on_signal};
use crate::app::{App, Load, Reload};
use crate::net::Notify;
use crate::telemetry;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The configuration file. Without it, the environment's GANTRY_… variables alone.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs the command.
pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let config = check_config::load(arguments.config.as_deref())?;
    let traces = telemetry::init(&config.log, config.traces.as_ref());
    for note in &config.notes {
        tracing::warn!("{note}");
    }
    if !config.auth.is_required() {
        tracing::warn!("{}", check_config::NOBODY_SAYS_WHO);
    }
    let app = App::bind(config).await.map_err(Failure::other)?;
    let exporter = traces.map(|traces| traces.export(app.metrics().clone()));
    let shutdown = on_signal()?;
    let path = arguments.config;
    let file = path.clone();
    let load: Load = Arc::new(move || check_config::read(file.as_deref()));
    let manager = Notify::from_environment().map(Arc::new);
    let app = app.reloading(Reload { load, path, asked: on_hangup()?, manager: manager.clone() });
    let _attending = manager.map(|manager| manager.attend(shutdown.clone()));
    tracing::info!("serving DICOMweb on {}://{}{}", app.scheme(), app.http_address(), app.base_path());
    app.run(shutdown).await;
    if let Some(exporter) = exporter {
        exporter.finish().await;
    }
    Ok(())
}
