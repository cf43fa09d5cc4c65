//! `gantry pacs`: the built-in test archive alone.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{Failure, on_signal};
use crate::demo::{Archive, Fault, studies};
use crate::dicom::AeTitle;

/// The command's arguments.
#[derive(Debug, clap::Args)]
#[command(after_long_help = fault_list())]
pub(super) struct Arguments {
    /// Where to listen.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:11113")]
    listen: SocketAddr,
    /// The archive's AE title; it takes no calls by another.
    #[arg(long, value_name = "AET", default_value = "PACS")]
    ae_title: AeTitle,
    /// How many studies to make up.
    #[arg(long, value_name = "N", default_value_t = 10)]
    studies: usize,
    /// How many slices the largest series has.
    #[arg(long, value_name = "N", default_value_t = 40)]
    slices: usize,
    /// Serve the DICOM files in this folder in place of made-up studies.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Make up plain studies of noise, with this many bytes of pixel data in each object.
    #[arg(long, value_name = "BYTES", conflicts_with = "data")]
    plain: Option<usize>,
    /// A C-MOVE destination. Repeatable.
    #[arg(long, value_name = "AET=HOST:PORT", value_parser = parse_destination)]
    destination: Vec<(AeTitle, String)>,
    /// The title it calls itself towards C-MOVE destinations, where that is not its own.
    #[arg(long, value_name = "AET")]
    move_from: Option<AeTitle>,
    /// Refuse C-GET.
    #[arg(long)]
    no_get: bool,
    /// Serve C-GET without bulk data too (PS3.4 Annex Z).
    #[arg(long)]
    without_bulk_data: bool,
    /// Refuse C-FIND at IMAGE level.
    #[arg(long)]
    no_image_level_find: bool,
    /// Refuse C-FIND without the unique keys of the levels above.
    #[arg(long)]
    no_relational: bool,
    /// Match unique keys only.
    #[arg(long)]
    ignore_optional_keys: bool,
    /// Refuse the Study Root model.
    #[arg(long)]
    patient_root_only: bool,
    /// Leave Nagle's algorithm on and write command and data set apart, as many toolkits do.
    #[arg(long)]
    nagle: bool,
    /// Milliseconds to wait before each operation and each object, as a far-away archive does.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    latency: u64,
    /// Most associations at once; further ones are refused for now.
    #[arg(long, value_name = "N", default_value_t = 64)]
    max_associations: usize,
    /// Behave rudely; --help lists how. Repeatable.
    #[arg(long, value_name = "KIND[:N]")]
    fault: Vec<Fault>,
}

/// Runs the command.
pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    let mut archive = Archive::builder()
        .ae_title(arguments.ae_title)
        .listen(arguments.listen)
        .latency(Duration::from_millis(arguments.latency))
        .max_associations(arguments.max_associations);
    archive = match (arguments.data, arguments.plain) {
        (Some(folder), _) => archive.data(folder),
        (None, Some(bytes)) => archive.plain(arguments.studies, 1, arguments.slices, bytes),
        (None, None) => archive.studies(studies::make(arguments.studies, arguments.slices)),
    };
    for (title, address) in arguments.destination {
        archive = archive.destination(title, address);
    }
    if let Some(title) = arguments.move_from {
        archive = archive.move_from(title);
    }
    for fault in arguments.fault {
        archive = archive.fault(fault);
    }
    type Switch = fn(Archive) -> Archive;
    let switches: [(bool, Switch); 7] = [
        (arguments.no_get, Archive::no_get),
        (arguments.without_bulk_data, Archive::without_bulk_data),
        (arguments.no_image_level_find, Archive::no_image_level_find),
        (arguments.no_relational, Archive::no_relational),
        (arguments.ignore_optional_keys, Archive::ignore_optional_keys),
        (arguments.patient_root_only, Archive::patient_root_only),
        (arguments.nagle, Archive::nagle),
    ];
    for (_, switch) in switches.into_iter().filter(|(on, _)| *on) {
        archive = switch(archive);
    }
    let running = archive.start().await.map_err(Failure::other)?;
    let [patients, studies, series, instances] = running.count();
    println!(
        "{} on {}: {patients} patients, {studies} studies, {series} series, {instances} instances",
        running.ae_title(),
        running.addr()
    );
    on_signal()?.cancelled().await;
    Ok(())
}

fn parse_destination(text: &str) -> Result<(AeTitle, String), String> {
    let (title, address) = text.split_once('=').ok_or("not AET=HOST:PORT")?;
    if !address.contains(':') {
        return Err("the port is missing".to_owned());
    }
    Ok((title.parse().map_err(|error| format!("{error}"))?, address.to_owned()))
}

/// The faults, for `--help`.
fn fault_list() -> String {
    let mut text =
        "Faults, with their default N (objects, matches and messages are counted from 1):\n".to_owned();
    for kind in Fault::KINDS {
        let name = match kind.default {
            Some(default) => format!("{}:{default}", kind.name),
            None => kind.name.to_owned(),
        };
        // Writing to a string cannot fail.
        let _ = writeln!(text, "  {name:<26}{}", kind.doc.trim());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_a_title_and_an_address() {
        let (title, address) = parse_destination("GANTRY=127.0.0.1:11112").unwrap();
        assert_eq!((title.as_str(), address.as_str()), ("GANTRY", "127.0.0.1:11112"));
        for bad in ["", "GANTRY", "GANTRY=host", "=host:1"] {
            assert!(parse_destination(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn help_lists_every_fault() {
        let text = fault_list();
        assert!(Fault::KINDS.iter().all(|kind| text.contains(kind.name)));
    }
}
