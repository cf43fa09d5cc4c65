//! `gantry` as somebody at a shell runs it: a command that ends.

use std::process::{Command, Output, Stdio};

use super::process::bounded;

/// What a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its exit code.
    pub(crate) code: i32,
    /// What it wrote to its standard output.
    pub(crate) out: String,
    /// What it wrote to its standard error.
    pub(crate) err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
    }
}

/// `gantry` with these arguments, its output kept apart: a process of its own, that takes signals.
pub(crate) fn command(arguments: &[&str]) -> Command {
    with_output(Command::new(env!("CARGO_BIN_EXE_gantry")), arguments)
}

fn with_output(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs `gantry` to its end.
pub(crate) fn gantry(arguments: &[&str]) -> Ran {
    with_output(bounded(env!("CARGO_BIN_EXE_gantry")), arguments).output().unwrap().into()
}

/// The same, while what the test serves goes on.
pub(crate) async fn gantry_beside(arguments: &[&str]) -> Ran {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    let run = move || gantry(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    tokio::task::spawn_blocking(run).await.unwrap()
}
