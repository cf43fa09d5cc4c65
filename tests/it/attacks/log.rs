//! What a peer says is not what the log says.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use gantry::dimse::negotiation::number;
use gantry::dimse::pdu::{
    APPLICATION_CONTEXT, AssociateRq, PROTOCOL_VERSION, UserInformation, encode_associate_rq,
};

use crate::support::bridge::Bridge;
use crate::support::dimse::proposal;
use crate::support::objects::EXPLICIT;
use crate::support::process::free_port;

/// What an attacker wants to see at the beginning of a line.
const FORGED: &str = "FORGED";

/// Sends this and waits until the other side has said something or closed.
fn send(address: &str, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let _ = stream.write_all(bytes);
    let _ = stream.read(&mut [0; 1024]);
}

#[test]
fn hazard_no_peer_begins_a_line_of_the_log_or_colours_it() {
    let port = free_port();
    let bridge = Bridge::with_configuration(&format!(
        "[dimse]\nlisten = \"127.0.0.1:{port}\"\n[archive.main]\nae_title = \"PACS\"\naddress = \"127.0.0.1:9\"\n"
    ));
    let request = AssociateRq {
        version: PROTOCOL_VERSION,
        called: "GANTRY".parse().unwrap(),
        calling: "AAAAAAAAAAAAAAAA".parse().unwrap(),
        application_context: APPLICATION_CONTEXT.into(),
        contexts: number(&[proposal("1.2.840.10008.1.1", &[EXPLICIT])]),
        user: UserInformation { max_pdu: 16_384, ..UserInformation::default() },
    };
    let valid = encode_associate_rq(&request).to_vec();
    for title in [
        &b"\r\nFORGED\r\nAAAAA"[..],
        b"\x1b[31mFORGED\x1b[0m",
        b"\nFORGED\0AAAAAAA",
        b"\xc2\x85FORGED\xe2\x80\xa8",
    ] {
        // The calling title stands behind the header, the version and the called title (PS3.8 Table 9-11).
        let mut bytes = valid.clone();
        let length = title.len().min(16);
        bytes[26..26 + length].copy_from_slice(&title[..length]);
        send(&format!("127.0.0.1:{port}"), &bytes);
        let mut bytes = valid.clone();
        bytes[10..10 + length].copy_from_slice(&title[..length]);
        send(&format!("127.0.0.1:{port}"), &bytes);
    }
    for request in [
        "GET /%0AFORGED HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET /dicom-web/studies?PatientName=%0AFORGED%1B[31m HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET /dicom-web/studies?limit=%0AFORGED HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET /dicom-web/studies/%0AFORGED HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: \x1b[31mFORGED\r\nConnection: close\r\n\r\n",
        "FORGED / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    ] {
        send(&bridge.http, request.as_bytes());
    }
    let log = bridge.server.whole_log();
    assert!(log.contains("answered"), "{log}");
    assert!(!log.lines().any(|line| line.trim_start().starts_with(FORGED)), "{log}");
    assert!(!log.contains('\x1b') && !log.contains('\0'), "{log}");
    // Nor is what a client searches for anywhere in it, at the level of debugging.
    assert!(!log.contains("PatientName"), "{log}");
}
