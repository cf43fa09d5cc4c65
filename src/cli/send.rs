//! `gantry send`: stores files at an archive, and says of each that is not stored why.

mod files;

use std::path::PathBuf;

use tokio::task::JoinSet;

use super::peer::{Opened, Peer, caller};
use super::terminal::harmless;
use super::terminal::progress::Progress;
use super::{Failure, on_signal};
use crate::archive::{Archive, Stored};
use crate::caller::Priority;
use crate::dimse::status;
use files::{Found, Passed, collect};

/// How many files are sent at once: one while the archive answers about another.
const AT_ONCE: usize = 4;
/// Most files that are named as not stored; the rest is counted.
const MOST_NAMED: usize = 50;

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    peer: Peer,
    /// DICOM files, and folders with some in them.
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
}

/// How it has gone so far.
#[derive(Debug, Default)]
struct Account {
    stored: usize,
    failed: usize,
    named: usize,
}

/// Runs the command.
pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let stop = on_signal()?;
    let opened = arguments.peer.open()?;
    let mut progress = Progress::new("sending");
    let paths = arguments.paths;
    let (found, passed) =
        tokio::task::spawn_blocking(move || collect(&paths)).await.map_err(Failure::other)?;
    let mut account = Account::default();
    let besides = passed.iter().filter(|passed| !passed.is_failure).count();
    for Passed { path, why, .. } in passed.iter().filter(|passed| passed.is_failure) {
        account.fail(&progress, &path.display().to_string(), why);
    }
    if found.is_empty() && account.failed == 0 {
        return Err(Failure::Usage("there is no DICOM file in what was named".to_owned()));
    }
    let all = found.len();
    progress.expect(Some(all));
    let mut left = found.into_iter();
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < AT_ONCE.min(opened.archive.config().max_associations)
            && !stop.is_cancelled()
            && let Some(found) = left.next()
        {
            under_way.spawn(store(&opened, found));
        }
        let stored = tokio::select! {
            stored = under_way.join_next() => stored,
            // What is under way is aborted: the archive keeps no half of an object.
            () = stop.cancelled() => break,
        };
        match stored {
            None => break,
            Some(Err(died)) => return Err(Failure::other(died)),
            Some(Ok((found, Ok(stored)))) => account.stored(&mut progress, &found, &stored),
            Some(Ok((found, Err(why)))) => account.fail(&progress, &found.path.display().to_string(), &why),
        }
    }
    under_way.shutdown().await;
    let summary = progress.summary();
    drop(progress);
    opened.close().await;
    if besides > 0 {
        eprintln!("not counted: {besides} in the folders that are no DICOM objects");
    }
    let Account { stored, failed, .. } = account;
    if stop.is_cancelled() {
        let left = all.saturating_sub(stored + failed);
        return Err(Failure::Other(format!(
            "interrupted: stored {summary}; {failed} failed, {left} not sent"
        )));
    }
    if failed > 0 {
        let files = if failed == 1 { "1 file was".to_owned() } else { format!("{failed} files were") };
        return Err(Failure::Other(format!("{files} not stored; stored {summary}")));
    }
    println!("stored {summary}");
    Ok(())
}

type Outcome = (Found, Result<Stored, String>);

fn store(opened: &Opened, found: Found) -> impl Future<Output = Outcome> + use<> {
    let archive = opened.archive.clone();
    async move {
        let object = match found.object() {
            Ok(object) => object,
            Err(error) => return (found, Err(error.to_string())),
        };
        let stored = archive.store(&caller(Priority::Bulk), object).await;
        (found, stored.map_err(|error| error.to_string()))
    }
}

impl Account {
    fn stored(&mut self, progress: &mut Progress, found: &Found, stored: &Stored) {
        self.stored += 1;
        progress.bytes(usize::try_from(found.length).unwrap_or(usize::MAX));
        progress.object();
        if stored.status != status::SUCCESS {
            let comment = stored.comment.as_deref().map(|text| format!(" ({})", harmless(text)));
            let path = found.path.display();
            progress.say(&format!(
                "{path}: stored, with warning {:04X}{}",
                stored.status,
                comment.unwrap_or_default()
            ));
        }
    }

    fn fail(&mut self, progress: &Progress, path: &str, why: &str) {
        self.failed += 1;
        match self.named.cmp(&MOST_NAMED) {
            std::cmp::Ordering::Less => progress.say(&format!("{path}: not stored: {}", harmless(why))),
            std::cmp::Ordering::Equal => progress.say("… and more, which are only counted"),
            std::cmp::Ordering::Greater => return,
        }
        self.named += 1;
    }
}
