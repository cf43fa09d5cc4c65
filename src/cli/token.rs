//! `gantry token` and `gantry password`: entries for the files that say who may come.

use std::io::{self, BufRead as _, Read as _};

use super::Failure;
use crate::access;

/// Most bytes that are read as a password.
const MAX_INPUT: u64 = 4096;

/// The arguments of `gantry token`.
#[derive(Debug, clap::Args)]
pub(super) struct TokenArguments {
    /// The name by which the program is known, in the audit trail too.
    name: String,
}

/// The arguments of `gantry password`.
#[derive(Debug, clap::Args)]
pub(super) struct PasswordArguments {
    /// The name with which the user logs in.
    name: String,
}

/// Prints a token, once, and its entry.
pub(super) fn run(arguments: TokenArguments) -> Result<(), Failure> {
    let (token, entry) = access::fresh_token(&arguments.name).map_err(Failure::Other)?;
    println!("{token}\n");
    println!(
        "# The token stands nowhere else: give it to the program now. The entry for the file of auth.tokens:"
    );
    print!("{entry}");
    Ok(())
}

/// Prints the entry of a user.
pub(super) fn run_password(arguments: PasswordArguments) -> Result<(), Failure> {
    eprintln!("password, to be ended with a new line:");
    let mut line = String::new();
    io::stdin().lock().take(MAX_INPUT).read_line(&mut line).map_err(Failure::other)?;
    let password = line.trim_end_matches(['\r', '\n']);
    let entry = access::password_entry(&arguments.name, password).map_err(Failure::Usage)?;
    println!("# The entry for the file of auth.basic:");
    print!("{entry}");
    Ok(())
}
