//! One Storage SCP, many retrievals: every object finds the one that asked for it, and none is lost.

use std::path::PathBuf;
use std::thread;

use crate::support::bridge::Bridge;
use crate::support::curl::{curl, header_accepting_as_stored};
use crate::support::peers::{Archive, Destination, data, manifest};

/// Objects of the study that the archives hold.
const SLICES: usize = 200;
/// Study retrievals one after the other.
const IN_A_ROW: usize = 100;
/// Clients at once.
const CLIENTS: usize = 8;
/// Retrievals of each.
const EACH: usize = 4;

/// A study of small slices; every variant has the same UIDs, and its own name in every object.
fn study(variant: &str) -> PathBuf {
    data("ct", &["--slices", "200", "--rows", "64", "--variant", variant])
}

/// How often `word` stands in `body`.
fn count(body: &[u8], word: &str) -> usize {
    let word = word.as_bytes();
    let starts = body.iter().enumerate().filter(|(_, byte)| **byte == word[0]);
    starts.filter(|(at, _)| body[*at..].starts_with(word)).count()
}

#[test]
fn a_hundred_study_retrievals_in_a_row_by_c_move_give_200_of_200_every_time() {
    let folder = study("ALPHA");
    let holds = folder.join("manifest.json");
    let own = Destination::new("GANTRY");
    let orthanc = Archive::orthanc(&folder, std::slice::from_ref(&own), serde_json::json!({}));
    let other = Destination::new("GANTRY");
    let dcmqrscp = Archive::dcmqrscp(&folder, &holds, std::slice::from_ref(&other), &["--disable-get"]);
    let uid = manifest(&folder)[0]["study"].as_str().unwrap().to_owned();
    for (archive, own) in [(&orthanc, &own), (&dcmqrscp, &other)] {
        let bridge = Bridge::start(archive, own, "move", "");
        for number in 0..IN_A_ROW {
            let answer =
                curl(&format!("{}/studies/{uid}", bridge.url), &["-H", header_accepting_as_stored()]);
            assert_eq!((answer.exit, answer.status), (0, 200), "{} {number}", archive.ae_title);
            assert_eq!(count(&answer.body, "ALPHA"), SLICES, "{} {number}", archive.ae_title);
        }
    }
}

#[test]
fn two_archives_with_the_same_uids_behind_one_move_destination_never_mix() {
    let own = Destination::new("GANTRY");
    let [alpha, beta] = ["ALPHA", "BETAS"]
        .map(|variant| Archive::orthanc(&study(variant), std::slice::from_ref(&own), serde_json::json!({})));
    let table = |name: &str, archive: &Archive| {
        format!(
            "[archive.{name}]\nprotocol = \"dimse\"\nae_title = \"{}\"\naddress = \"127.0.0.1:{}\"\n\
             retrieve = \"move\"\n",
            archive.ae_title, archive.port
        )
    };
    let bridge = Bridge::with_configuration(&format!(
        "default_archive = \"alpha\"\n[dimse]\nlisten = \"127.0.0.1:{}\"\nae_title = \"GANTRY\"\n\
         move_ae_titles = [\"GANTRY\"]\n{}{}",
        own.port,
        table("alpha", &alpha),
        table("beta", &beta)
    ));
    let uid = manifest(&study("ALPHA"))[0]["study"].as_str().unwrap().to_owned();
    thread::scope(|clients| {
        for client in 0..CLIENTS {
            let (bridge, uid) = (&bridge, &uid);
            clients.spawn(move || {
                for number in 0..EACH {
                    let (archive, mine, foreign) = match (client + number) % 2 {
                        0 => ("alpha", "ALPHA", "BETAS"),
                        _ => ("beta", "BETAS", "ALPHA"),
                    };
                    let url = format!("http://{}/archives/{archive}/studies/{uid}", bridge.http);
                    let answer = curl(&url, &["-H", header_accepting_as_stored()]);
                    assert_eq!((answer.exit, answer.status), (0, 200), "{archive}");
                    let found = (count(&answer.body, mine), count(&answer.body, foreign));
                    assert_eq!(found, (SLICES, 0), "{archive}: own and foreign objects");
                }
            });
        }
    });
}
