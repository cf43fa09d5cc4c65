//! `gantry demo`: the built-in archive and the bridge before it, on the loopback interface, to try things out.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{Failure, on_signal};
use crate::app::App;
use crate::config::Config;
use crate::demo::{Archive, Running, studies};
use crate::telemetry;

/// The title of the bridge, which the archive knows as a C-MOVE destination.
const BRIDGE: &str = "GANTRY";

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Where the bridge serves DICOMweb. Port 0 is any free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    http: SocketAddr,
    /// Where the bridge receives what the archive sends.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:11112")]
    dimse: SocketAddr,
    /// Where the archive listens.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:11113")]
    archive: SocketAddr,
    /// How many studies to make up.
    #[arg(long, value_name = "N", default_value_t = 10)]
    studies: usize,
    /// How many slices the largest series has.
    #[arg(long, value_name = "N", default_value_t = 40)]
    slices: usize,
    /// Serve the DICOM files in this folder in place of made-up studies.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Runs the command.
pub(super) async fn run(arguments: Arguments) -> Result<(), Failure> {
    telemetry::init(&telemetry::Config { filter: "warn".to_owned(), json: false }, None);
    let archive = Archive::builder().listen(arguments.archive);
    let archive = match arguments.data {
        Some(folder) => archive.data(folder),
        None => archive.studies(studies::make(arguments.studies, arguments.slices)),
    };
    let in_the_way = |error| Failure::Other(format!("the archive, --archive {}: {error}", arguments.archive));
    let archive = archive.start().await.map_err(in_the_way)?;
    let config = configuration(&archive, arguments.http, arguments.dimse)?;
    let app = App::bind(config).await.map_err(Failure::other)?;
    let destination = BRIDGE.parse().map_err(Failure::other)?;
    archive.set_destination(destination, app.dimse_address());
    let url = format!("http://{}{}", app.http_address(), app.base_path());
    let shutdown = on_signal()?;
    println!("{}", welcome(&url, &archive));
    app.run(shutdown).await;
    Ok(())
}

fn configuration(archive: &Running, http: SocketAddr, dimse: SocketAddr) -> Result<Config, Failure> {
    let text = format!(
        "[http]\nlisten = \"{http}\"\n\
         [dimse]\nlisten = \"{dimse}\"\nae_title = \"{BRIDGE}\"\n\
         [archive.demo]\nae_title = \"{}\"\naddress = \"{}\"\n",
        archive.ae_title(),
        archive.addr()
    );
    Config::parse(&text, []).map_err(|errors| {
        Failure::Usage(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })
}

/// What there is, and what to try.
fn welcome(url: &str, archive: &Running) -> String {
    let [patients, studies, _, instances] = archive.count();
    let mut text = format!(
        "DICOMweb   {url}\n\
         archive    {} at {}: {patients} patients, {studies} studies, {instances} objects\n\n\
         Search for studies:\n\
         \x20 curl '{url}/studies?PatientName=M*&limit=5'\n",
        archive.ae_title(),
        archive.addr()
    );
    if let Some(instance) = archive.first_instance() {
        let study = format!("{url}/studies/{}", instance.study());
        let object = format!("{study}/series/{}/instances/{}", instance.series(), instance.head.sop_instance);
        text += &format!(
            "Save a study, one Part 10 file in each part:\n\
             \x20 curl -H 'Accept: multipart/related; type=\"application/dicom\"; transfer-syntax=*' \\\n\
             \x20      -o study.multipart '{study}'\n\
             Save an object as a file:\n\
             \x20 curl -H 'Accept: application/dicom; transfer-syntax=*' \\\n\
             \x20      -o object.dcm '{object}'\n"
        );
    }
    text + "\nCtrl-C ends it."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_welcome_has_a_line_that_searches_and_one_that_saves_a_study() {
        let archive = Archive::builder().plain(2, 1, 3, 10).start().await.unwrap();
        let text = welcome("http://localhost/dicom-web", &archive);
        assert!(text.contains("2 patients, 2 studies, 6 objects"), "{text}");
        assert!(text.contains("curl 'http://localhost/dicom-web/studies?"), "{text}");
        assert!(text.contains("-o study.multipart 'http://localhost/dicom-web/studies/2.25."), "{text}");
        let any = "127.0.0.1:0".parse().unwrap();
        let config = configuration(&archive, any, any).unwrap();
        assert_eq!(config.archives[0].address, archive.addr().to_string());
    }
}
