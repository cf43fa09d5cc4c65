//! The commands, one file each.

mod acceptor;
mod check_config;
mod demo;
mod doctor;
mod echo;
mod explain;
mod fetch;
mod find;
mod health;
mod pacs;
mod peer;
mod send;
mod serve;
mod terminal;
mod token;

use std::ffi::OsString;
use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::app::Asked;

/// Threads that run the bridge. It moves bytes and waits; more threads were not faster.
const THREADS: usize = 2;

/// A DICOM ↔ DICOMweb bridge: viewers search and retrieve over HTTP from archives that speak only DIMSE.
#[derive(Debug, Parser)]
#[command(name = "gantry", version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the bridge.
    Serve(serve::Arguments),
    /// Run the bridge before the built-in archive, to try things out.
    Demo(demo::Arguments),
    /// Run the built-in test archive: a DIMSE server over made-up studies or a folder of files.
    Pacs(pacs::Arguments),
    /// Say what stands between Gantry and an archive, and what to do about it.
    Doctor(doctor::Arguments),
    /// Ask an archive whether it is there (C-ECHO).
    Echo(echo::Arguments),
    /// Search an archive (C-FIND).
    Find(find::Arguments),
    /// Bring a study from an archive into a folder (C-GET or C-MOVE).
    Fetch(fetch::Arguments),
    /// Store files at an archive (C-STORE).
    Send(send::Arguments),
    /// Make a token for a program, and the entry by which it is let in.
    Token(token::TokenArguments),
    /// Make the entry by which somebody is let in with a password, which is read from the standard input.
    Password(token::PasswordArguments),
    /// Check a configuration, and tell everything that is wrong with it.
    CheckConfig(check_config::Arguments),
    /// Ask the bridge that runs with this configuration whether it is well: exit code 0, or 1 and why not.
    Health(health::Arguments),
}

/// Why a command ended early.
#[derive(Debug)]
enum Failure {
    /// The command line or the configuration is wrong: exit code 2.
    Usage(String),
    /// Anything else: exit code 1.
    Other(String),
}

impl Failure {
    fn other(error: impl Display) -> Self {
        Self::Other(error.to_string())
    }
}

/// Runs the command that `arguments`, the program's name first, ask for.
pub fn run(arguments: impl IntoIterator<Item = impl Into<OsString> + Clone>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors: clap knows, and prints to the right stream.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
    };
    let result = match arguments.command {
        Command::Serve(arguments) => block_on(serve::run(arguments)),
        Command::Demo(arguments) => block_on(demo::run(arguments)),
        Command::Pacs(arguments) => block_on(pacs::run(arguments)),
        Command::Doctor(arguments) => block_on(doctor::run(arguments)),
        Command::Echo(arguments) => block_on(echo::run(arguments)),
        Command::Find(arguments) => block_on(find::run(arguments)),
        Command::Fetch(arguments) => block_on(fetch::run(arguments)),
        Command::Send(arguments) => block_on(send::run(arguments)),
        Command::Token(arguments) => token::run(arguments),
        Command::Password(arguments) => token::run_password(arguments),
        Command::CheckConfig(arguments) => check_config::run(arguments),
        Command::Health(arguments) => block_on(health::run(arguments)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(text)) => {
            eprintln!("{text}");
            ExitCode::from(2)
        }
        Err(Failure::Other(text)) => {
            eprintln!("gantry: {text}");
            ExitCode::FAILURE
        }
    }
}

fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    runtime.map_err(Failure::other)?.block_on(command)
}

/// A token that SIGTERM or ctrl-C cancels. A second ctrl-C ends the process without waiting.
fn on_signal() -> Result<CancellationToken, Failure> {
    let shutdown = CancellationToken::new();
    let mut signals = Signals::new().map_err(Failure::other)?;
    let token = shutdown.clone();
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("shutting down; waiting for the requests under way");
        token.cancel();
        signals.next().await;
        std::process::exit(1);
    });
    Ok(shutdown)
}

/// Something comes in whenever SIGHUP asks to read the configuration again.
fn on_hangup() -> Result<mpsc::Receiver<Asked>, Failure> {
    // One that waits stands for all.
    let (sender, asked) = mpsc::channel(1);
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangup = signal(SignalKind::hangup()).map_err(Failure::other)?;
        tokio::spawn(async move {
            while !sender.is_closed() && hangup.recv().await.is_some() {
                let _ = sender.try_send(oneshot::channel().0);
            }
        });
    }
    #[cfg(not(unix))]
    drop(sender);
    Ok(asked)
}

/// The signals that ask the process to end.
#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The signals that ask the process to end.
#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(arguments: &[&str]) -> String {
        format!("{:?}", run(arguments.iter().copied()))
    }

    #[test]
    fn exit_codes_are_0_and_2_for_what_the_user_wrote() {
        let two = format!("{:?}", ExitCode::from(2));
        let zero = format!("{:?}", ExitCode::SUCCESS);
        assert_eq!(code(&["gantry", "--version"]), zero);
        assert_eq!(code(&["gantry", "serve", "--help"]), zero);
        assert_eq!(code(&["gantry"]), two);
        assert_eq!(code(&["gantry", "nonsense"]), two);
        assert_eq!(code(&["gantry", "check-config", "--config", "/nowhere/gantry.toml"]), two);
        assert_eq!(code(&["gantry", "serve", "--config", "/nowhere/gantry.toml"]), two);
    }
}
