//! `gantry health`, by which containers are watched.

use std::process::Output;

use super::GANTRY;
use crate::support::bridge::Bridge;
use crate::support::process::{Scratch, bounded, free_port};

const ARCHIVE: &str = "[archive.main]\nae_title = \"PACS\"\naddress = \"127.0.0.1:1\"\n";

/// Asks the bridge that listens at `port` and has `more` in its configuration.
fn health(scratch: &Scratch, port: u16, more: &str, options: &[&str]) -> Output {
    let file =
        scratch.write("health.toml", &format!("{ARCHIVE}[http]\nlisten = \"127.0.0.1:{port}\"\n{more}"));
    bounded(GANTRY).arg("health").arg("--config").arg(file).args(options).output().unwrap()
}

/// The port in `127.0.0.1:PORT`.
fn port(bridge: &Bridge) -> u16 {
    bridge.http.rsplit_once(':').unwrap().1.parse().unwrap()
}

/// A self-signed certificate for `names`, such as `IP:127.0.0.1`, and the configuration that shows it.
fn certificate(scratch: &Scratch, names: &str) -> String {
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| scratch.path().join(name));
    let made = bounded("/usr/bin/openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=gantry", "-addext"])
        .arg(format!("subjectAltName={names}"))
        .args(["-keyout".as_ref(), key.as_os_str(), "-out".as_ref(), cert.as_os_str()])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    format!("[http.tls]\ncertificate = {cert:?}\nkey = {key:?}\n")
}

#[test]
fn a_bridge_that_lives_is_well_and_one_that_is_away_is_not() {
    let scratch = Scratch::new("health");
    let bridge = Bridge::with_configuration(&format!("[dimse]\nlisten = \"127.0.0.1:0\"\n{ARCHIVE}"));
    for options in [&[][..], &["--ready"]] {
        let well = health(&scratch, port(&bridge), "", options);
        assert!(well.status.success(), "{}", String::from_utf8_lossy(&well.stderr));
    }
    let away = health(&scratch, free_port(), "", &[]);
    assert_eq!(away.status.code(), Some(1));
    let said = String::from_utf8_lossy(&away.stderr);
    assert!(said.contains("no answer from 127.0.0.1:"), "{said}");
}

#[test]
fn it_is_asked_over_tls_under_whichever_name_its_certificate_is_for() {
    for names in ["DNS:*.hospital.example", "IP:192.0.2.1", "IP:2001:db8::1"] {
        let scratch = Scratch::new("health");
        let tls = certificate(&scratch, names);
        let configuration = format!("[dimse]\nlisten = \"127.0.0.1:0\"\n{ARCHIVE}{tls}");
        let bridge = Bridge::with_configuration(&configuration);
        let well = health(&scratch, port(&bridge), &tls, &[]);
        assert!(well.status.success(), "{names}: {}", String::from_utf8_lossy(&well.stderr));
        // Another server's certificate is not ours.
        let other = Scratch::new("health");
        let theirs = certificate(&other, names);
        let refused = health(&other, port(&bridge), &theirs, &[]);
        assert_eq!(refused.status.code(), Some(1), "{names}");
    }
}

#[test]
fn one_that_answers_those_alone_who_show_a_certificate_is_well_when_it_shakes_hands() {
    let scratch = Scratch::new("health");
    let tls = certificate(&scratch, "DNS:gantry");
    let authority = scratch.path().join("cert.pem");
    let tls = format!("{tls}client_certificates = \"required\"\nclient_ca = {authority:?}\n");
    let bridge = Bridge::with_configuration(&format!("[dimse]\nlisten = \"127.0.0.1:0\"\n{ARCHIVE}{tls}"));
    let well = health(&scratch, port(&bridge), &tls, &[]);
    assert!(well.status.success(), "{}", String::from_utf8_lossy(&well.stderr));
}
