//! The `gantry` command: exit codes only.

use std::process::ExitCode;

fn main() -> ExitCode {
    gantry::cli::run(std::env::args_os())
}
