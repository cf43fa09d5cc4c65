//! Storage commitment, from pynetdicom modalities to a pynetdicom server.

use std::process::{Child, Stdio};

use super::Called;
use crate::support::bridge::Bridge;
use crate::support::peers::{Destination, mpps_and_commitment, repository};
use crate::support::process::{Scratch, Server, bounded, free_port};

/// The bridge before a server of commitment, with a state that survives it.
fn configuration(own: &Destination, server: u16, modality: u16, state: &Scratch) -> String {
    format!(
        "[dimse]\nlisten = \"127.0.0.1:{}\"\nae_title = \"GANTRY\"\n\
         [ae.MODALITY]\naddress = \"127.0.0.1:{modality}\"\n[ae.OTHER]\n\
         [state]\npath = \"{}\"\n\
         [archive.main]\nae_title = \"COMMIT\"\naddress = \"127.0.0.1:{server}\"\n",
        own.port,
        state.path().join("state.redb").display()
    )
}

/// A modality that asks for commitment of three objects in the background.
fn ask(own: &Destination, calling: &str, serial: &str, listen: Option<u16>) -> Child {
    let mut command = bounded(repository(".peers/venv/bin/python"));
    command.arg(repository("tests/peers/dimse_session.py")).args(["commit", "127.0.0.1"]);
    command.args([&own.port.to_string(), &own.ae_title, calling, serial, "3", "--wait", "30"]);
    if let Some(port) = listen {
        command.args(["--listen", &port.to_string()]);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn report_of(asking: Child, server: &Server) -> serde_json::Value {
    let output = asking.wait_with_output().unwrap();
    let (printed, complaint) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{complaint}\n{printed}\nthe server:\n{}", server.log());
    serde_json::from_str(printed.lines().last().unwrap()).unwrap()
}

/// Event type 1, all stored; or 2, of which one failed. And for the right transaction.
fn check(report: &serde_json::Value, kind: u64, serial: &str) {
    assert_eq!(report[0][0], kind, "{report}");
    let transaction = report[0][1]["00081195"]["Value"][0].as_str().unwrap();
    assert!(transaction.ends_with(&format!(".{serial}")), "{report}");
    let stored = report[0][1]["00081199"]["Value"].as_array().unwrap().len();
    assert_eq!(stored, if kind == 1 { 3 } else { 2 }, "{report}");
}

#[test]
fn a_report_on_the_same_association_reaches_the_client_that_asked() {
    let (server, port) = mpps_and_commitment("COMMIT", &[]);
    let (own, state) = (Destination::new("GANTRY"), Scratch::new("state"));
    let _bridge = Bridge::with_configuration(&configuration(&own, port, free_port(), &state));
    let direct = Called::new("COMMIT", port).session("commit", "MODALITY", &["1"]);
    check(&direct, 1, "1");
    // Two at once: each gets its own, on the association on which it asked.
    let asking =
        [("MODALITY", "2"), ("OTHER", "3")].map(|(title, serial)| (ask(&own, title, serial, None), serial));
    for (child, serial) in asking {
        check(&report_of(child, &server), 1, serial);
    }
}

#[test]
fn a_report_on_a_new_association_reaches_the_client_at_its_own_address() {
    let (own, state, listen) = (Destination::new("GANTRY"), Scratch::new("state"), free_port());
    let back = format!("GANTRY={}", own.port);
    let (server, port) = mpps_and_commitment("COMMIT", &["--report", "new", "--to", &back, "--failed", "1"]);
    let _bridge = Bridge::with_configuration(&configuration(&own, port, listen, &state));
    check(&report_of(ask(&own, "MODALITY", "4", Some(listen)), &server), 2, "4");
}

#[test]
fn a_report_that_comes_after_a_restart_reaches_the_client() {
    let (own, state, listen) = (Destination::new("GANTRY"), Scratch::new("state"), free_port());
    let back = format!("GANTRY={}", own.port);
    let (server, port) = mpps_and_commitment("COMMIT", &["--report", "new", "--to", &back, "--delay", "3"]);
    let configuration = configuration(&own, port, listen, &state);
    let bridge = Bridge::with_configuration(&configuration);
    let asking = ask(&own, "MODALITY", "5", Some(listen));
    let begin = std::time::Instant::now();
    while !server.log().contains("N-ACTION") {
        assert!(begin.elapsed() < std::time::Duration::from_secs(20), "nobody asked: {}", server.log());
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // Killed, as dropping a server does.
    drop(bridge);
    let _bridge = Bridge::with_configuration(&configuration);
    check(&report_of(asking, &server), 1, "5");
}
