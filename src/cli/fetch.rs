//! `gantry fetch`: brings a study, or a part of one, from an archive into a folder.

mod folder;

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::peer::{Opened, Peer, caller, told};
use super::terminal::progress::Progress;
use super::{Failure, on_signal};
use crate::archive::error::Kind;
use crate::archive::{Archive, Error, Form, Retrieval, Retrieve, Step};
use crate::caller::Priority;
use crate::dicom::Uid;
use crate::dicom::query::Target;
use folder::{Folder, Saved, Unsaved};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    peer: Peer,
    /// Study Instance UID.
    #[arg(value_name = "STUDY")]
    study: Uid,
    /// Only this series.
    #[arg(long, value_name = "UID")]
    series: Option<Uid>,
    /// Only this instance of the series.
    #[arg(long, value_name = "UID", requires = "series")]
    instance: Option<Uid>,
    /// The folder: files become DIR/SERIES/INSTANCE.dcm.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Leave out what lies in the folder already.
    #[arg(long)]
    resume: bool,
    /// Replace files that lie in the folder already and hold something else. Without it they stay as they are.
    #[arg(long, conflicts_with = "resume")]
    overwrite: bool,
    /// Ask for objects in native form, so that the archive decompresses what it can.
    #[arg(long)]
    native: bool,
    /// The study's Patient ID, where the archive has the Patient Root model only.
    #[arg(long, value_name = "ID")]
    patient: Option<String>,
}

/// Most files that are named as kept; the rest is counted.
const MOST_NAMED: usize = 10;

/// What was there before.
#[derive(Debug, Default)]
struct Before {
    /// Files that hold what came.
    unchanged: usize,
    /// Files that hold something else.
    kept: usize,
}

/// How it ended, where nothing failed here.
enum End {
    Complete,
    Interrupted,
    Failed(Error),
}

/// Runs the command.
pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let folder = Folder::open(&arguments.out, arguments.overwrite).await.map_err(Failure::other)?;
    let having =
        if arguments.resume { folder.holds().await.map_err(Failure::other)? } else { BTreeSet::new() };
    let opened = arguments.peer.open_with_return().await?;
    let form = if arguments.native { Form::Native } else { Form::AsStored };
    let target = Target { study: arguments.study, series: arguments.series, instance: arguments.instance };
    let mut retrieve = Retrieve::new(target, form);
    retrieve.having = having;
    retrieve.patient = arguments.patient;
    let stop = on_signal()?;
    let mut progress = Progress::new("fetching");
    let mut before = Before::default();
    let end = bring(&opened, retrieve, &folder, &mut progress, &mut before, &stop).await;
    let came = format!("{}, in {}{}", progress.summary(), folder.path().display(), before.shown());
    let is_empty = progress.objects() == 0;
    drop(progress);
    let out_of_reach = opened.out_of_reach();
    let no_way_back = opened.no_way_back().map(|taken| (taken.to_string(), taken.is_in_use()));
    // What was interrupted is cancelled meanwhile.
    opened.close().await;
    let so_far = if is_empty { "nothing has come".to_owned() } else { format!("what came: {came}") };
    match end.map_err(|error| Failure::Other(format!("{error}\n  {so_far}")))? {
        End::Complete if before.kept > 0 => Err(Failure::Other(format!(
            "{came}\n  --overwrite replaces what is there; or name another folder by --out"
        ))),
        End::Complete => {
            match is_empty {
                true => println!("nothing is missing in {}", folder.path().display()),
                false => println!("{came}"),
            }
            Ok(())
        }
        End::Interrupted => {
            Err(Failure::Other(format!("interrupted, and cancelled at the archive; {so_far}")))
        }
        End::Failed(error) => {
            let text = why(&error, no_way_back, &so_far);
            let is_return = matches!(
                &error.kind,
                Kind::Status { operation: "C-MOVE", .. } | Kind::Timeout(_) | Kind::Incomplete { .. }
            );
            let hint = out_of_reach.filter(|_| is_return).map(|hint| format!("\n  {hint}"));
            Err(Failure::Other(format!("{text}{}", hint.unwrap_or_default())))
        }
    }
}

impl Before {
    /// Behind what came.
    fn shown(&self) -> String {
        let mut text = String::new();
        for (count, how) in [
            (self.unchanged, "lay there already, the same"),
            (self.kept, "not written: files of these names lie there with something else in them"),
        ] {
            if count > 0 {
                text.push_str(&format!("; {count} {how}"));
            }
        }
        text
    }
}

/// What is said of a retrieval that the archive, or the way to it, has failed.
fn why(error: &Error, no_way_back: Option<(String, bool)>, so_far: &str) -> String {
    // Without a way back, whoever has no C-GET can do nothing.
    let wants_return = matches!(&error.kind, Kind::Unsupported(_));
    let Some((why, is_in_use)) = no_way_back.filter(|_| wants_return) else {
        return format!("{}\n  {so_far}", told(error));
    };
    let advice = if is_in_use {
        "a Gantry that runs there can fetch it over HTTP; or stop what listens there, or name another address by \
         --listen, which the archive must know for our title"
    } else {
        "name an address of this machine by --listen, which the archive must know for our title"
    };
    format!("the archive sends by C-MOVE only, and its objects cannot come in: {why}\n  {advice}")
}

/// Brings the objects, until the end or until `stop`.
async fn bring(
    opened: &Opened,
    retrieve: Retrieve,
    folder: &Folder,
    progress: &mut Progress,
    before: &mut Before,
    stop: &CancellationToken,
) -> Result<End, Unsaved> {
    let caller = caller(Priority::Bulk);
    let begun = tokio::select! {
        begun = opened.archive.retrieve(&caller, retrieve) => begun,
        () = stop.cancelled() => return Ok(End::Interrupted),
    };
    let Retrieval { mut objects, missing, expected, .. } = match begun {
        Ok(retrieval) => retrieval,
        Err(error) => return Ok(End::Failed(error)),
    };
    if !missing.is_empty() {
        progress.say(&format!("{} objects are known not to come", missing.len()));
    }
    loop {
        progress.expect(expected.get());
        let step = tokio::select! {
            step = objects.next() => step,
            () = stop.cancelled() => return Ok(End::Interrupted),
        };
        let object = match step {
            Step::Item(object) => object,
            Step::End(Ok(_)) => return Ok(End::Complete),
            Step::End(Err(error)) => return Ok(End::Failed(error)),
        };
        let saved = tokio::select! {
            saved = folder.save(object, |bytes| progress.bytes(bytes.len())) => saved,
            () = stop.cancelled() => return Ok(End::Interrupted),
        };
        match saved {
            Ok(Saved::New) => progress.object(),
            Ok(Saved::Unchanged) => {
                before.unchanged += 1;
                progress.object();
            }
            Ok(Saved::Kept(path)) => {
                before.kept += 1;
                progress.object();
                match before.kept.cmp(&MOST_NAMED) {
                    Ordering::Greater => {}
                    Ordering::Equal => progress.say("… and more, which are only counted"),
                    Ordering::Less => {
                        progress.say(&format!("{}: holds something else, and stays as it is", path.display()))
                    }
                }
            }
            // The feed's end tells why.
            Err(Unsaved::Broken(_)) => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_the_port_is_told_where_the_archive_has_c_move_only() {
        let error = Error::new("main", Kind::Unsupported("it takes no C-GET".into()));
        let taken = Some(("cannot listen on 127.0.0.1:11112: in use".to_owned(), true));
        let text = why(&error, taken.clone(), "nothing has come");
        assert!(text.contains("C-MOVE only") && text.contains("--listen") && text.contains("HTTP"), "{text}");
        let other = Error::new("main", Kind::Aborted("gone".into()));
        let text = why(&other, taken, "nothing has come");
        assert!(text.contains("the archive's side") && text.ends_with("nothing has come"), "{text}");
    }
}
