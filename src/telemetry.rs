//! Sets up the log.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Levels by module, as `info` or `warn,gantry::dimse=debug`.
    pub filter: String,
    /// One JSON object a line, in place of text for people.
    pub json: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { filter: "info".to_owned(), json: false }
    }
}

impl Config {
    /// Whether the text is a filter that [`init`] takes.
    pub fn is_filter(text: &str) -> bool {
        EnvFilter::try_new(text).is_ok()
    }
}

/// Sends the log to standard error from now on. Once a process; a second call changes nothing.
pub fn init(config: &Config) {
    // The configuration has checked it; `info` is what a filter that does not parse can still mean.
    let filter = EnvFilter::try_new(&config.filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let colours = io::stderr().is_terminal();
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(colours);
    let _ = if config.json { builder.json().try_init() } else { builder.try_init() };
}
