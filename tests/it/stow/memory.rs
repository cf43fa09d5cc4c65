//! Objects larger than what the bridge may hold.

use std::fs;
use std::process::Command;

use gantry::demo::instance::Instance;
use tokio::io::AsyncWriteExt;

use super::{BOUNDARY, Fates, begin, delimiter, part10};
use crate::support::bridge::Bridge;
use crate::support::http::read;
use crate::support::objects::{Kind, object};
use crate::support::process::{Scratch, Server, free_port};

/// How large the object is. `GANTRY_STOW_MIB` sets it for a longer run.
fn mebibytes() -> u32 {
    std::env::var("GANTRY_STOW_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(256)
}

/// Most memory that the bridge may have had at any time, in KiB: what it is without any object, and some MiB.
const MOST: u64 = 96 << 10;

/// Most memory that a process had at any time, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A PS3.10 file whose Pixel Data has so many bytes, up to them.
fn beginning(pixels: u32) -> Vec<u8> {
    let small: Instance = object(1, 1, 1, &Kind { pixels: 2, ..Kind::default() });
    let mut file = part10(&small);
    file.truncate(file.len() - 2);
    let length = file.len() - 4;
    file[length..].copy_from_slice(&pixels.to_le_bytes());
    file
}

#[tokio::test(flavor = "multi_thread")]
async fn hazard_an_object_of_any_size_passes_in_bounded_memory() {
    let port = free_port();
    let mut command = Command::new("/usr/bin/storescp");
    command.args(["--ignore", &port.to_string()]);
    let _sink = Server::start("storescp", Scratch::new("storescp"), command, &[port]);
    let bridge = Bridge::with_configuration(&format!(
        "[dimse]\nlisten = \"127.0.0.1:{}\"\n[archive.main]\nae_title = \"STORESCP\"\naddress = \"127.0.0.1:{port}\"",
        free_port()
    ));
    let pixels = mebibytes() << 20;
    let head = [delimiter().into_bytes(), beginning(pixels)].concat();
    let tail = format!("\r\n--{BOUNDARY}--").into_bytes();
    let length = head.len() as u64 + u64::from(pixels) + tail.len() as u64;
    let mut stream = begin(bridge.http.parse().unwrap(), "/dicom-web/studies", length).await;
    stream.write_all(&head).await.unwrap();
    let block = vec![0; 1 << 20];
    for _ in 0..mebibytes() {
        stream.write_all(&block).await.unwrap();
    }
    stream.write_all(&tail).await.unwrap();
    let fates = Fates::of(read(&mut stream).await);
    assert_eq!((fates.status, fates.stored.len()), (200, 1), "{fates:?}");
    let peak = peak(bridge.server.pid());
    assert!(peak < MOST, "{peak} KiB for an object of {} MiB", mebibytes());
}
