//! Objects larger than what the bridge may hold.

use std::fs;
use std::net::SocketAddr;

use gantry::dimse::association::{Event, Requested};
use gantry::net::DimseSocket;
use tokio::net::TcpListener;

use super::*;
use crate::support::bridge::Bridge;
use crate::support::dimse::soon;
use crate::support::process::free_port;

/// How large the object is. `GANTRY_STORE_MIB` sets it for a longer run.
fn mebibytes() -> usize {
    std::env::var("GANTRY_STORE_MIB").ok().and_then(|text| text.parse().ok()).unwrap_or(300)
}

/// Most that the bridge may hold more than before the object came, in KiB.
const MOST_MORE: u64 = 16 << 10;

/// Most memory that a process had at any time, in KiB.
fn peak(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// An archive that counts what it reads, a little slower than it comes.
async fn slow_archive() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let deadline = soon() + Duration::from_secs(600);
                let socket = DimseSocket::from_stream(stream).unwrap();
                let requested = Requested::read(socket, deadline).await.ok()?;
                let taken = requested.accept(|_, syntaxes| Ok(syntaxes[0].clone()), |_| false, deadline);
                let mut association = taken.await.ok()?;
                let (mut request, mut read) = (None, 0);
                loop {
                    match association.event().await.ok()? {
                        Event::Command { context, command } => request = Some((context, command)),
                        Event::Data { bytes, last } => {
                            read += bytes.len();
                            if read >= 8 << 20 {
                                read = 0;
                                tokio::time::sleep(Duration::from_millis(20)).await;
                            }
                            if last && let Some((context, command)) = request.take() {
                                association.send(context, &command.response(0), None);
                            }
                        }
                        Event::ReleaseRequested => {
                            association.confirm_release(deadline).await;
                            return Some(());
                        }
                    }
                }
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_passes_in_constant_memory() {
    let archive = slow_archive().await;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let bridge = Bridge::with_configuration(&format!(
        "[dimse]\nlisten = \"{address}\"\nae_title = \"{GANTRY}\"\n[ae.CLIENT]\n\
         [archive.main]\nae_title = \"PACS\"\naddress = \"{archive}\"\n"
    ));
    let mut client = Client::to(address, GANTRY, "CLIENT", vec![proposal(CT, &[EXPLICIT])]).await.unwrap();
    let small = object(1, 1, 1, &Kind::default());
    assert_eq!(status(&mut client, &small).await, 0);
    let before = peak(bridge.server.pid());
    let context = context_of(&client, &small.head.sop_class, &small.head.transfer_syntax);
    client.association.send(context, &request(&small, 9), None);
    client.association.send_data(context, bytes_of(&small), false);
    let block = Bytes::from(vec![0; 1 << 20]);
    for number in 1..=mebibytes() {
        client.association.send_data(context, block.clone(), number == mebibytes());
        client.association.flush().await.unwrap();
    }
    assert_eq!(client.message().await.unwrap().command.status, Some(0));
    let more = peak(bridge.server.pid()) - before;
    assert!(more < MOST_MORE, "{more} KiB more for an object of {} MiB", mebibytes());
}
