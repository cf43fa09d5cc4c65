//! `gantry echo`: asks an archive whether it is there.

use std::time::Instant;

use super::Failure;
use super::peer::{Opened, Peer, caller, failed};
use crate::archive::Archive;
use crate::caller::Priority;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    peer: Peer,
    /// How often.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    count: u16,
}

/// Runs the command.
pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let opened = arguments.peer.open()?;
    let result = echo(&opened, arguments.count).await;
    opened.close().await;
    result
}

async fn echo(opened: &Opened, count: u16) -> Result<(), Failure> {
    let config = opened.archive.config();
    let what = format!("{} at {}", config.ae_title, config.address);
    for number in 1..=count {
        let begin = Instant::now();
        let answered = opened.archive.verify(&caller(Priority::Interactive)).await;
        answered.map_err(|error| failed(&error))?;
        let how = if number == 1 { "with connection and association" } else { "on the same association" };
        println!("{what} answered in {:.1} ms ({how})", begin.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}
