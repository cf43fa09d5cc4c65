//! The archive, or the bridge, killed between the last byte and the response: what a client was told is stored is.

use gantry::demo::Archive;

use super::*;
use crate::support::bridge::Bridge;
use crate::support::process::free_port;

/// How long the archive takes over an object, in milliseconds: most kills fall into it.
const SLOW: u32 = 20;
/// How often each of the two is killed.
const KILLS: u64 = 50;

/// When the kill after so many others comes: anywhere in what a store takes, and somewhat behind.
async fn moment(kill: u64) {
    tokio::time::sleep(Duration::from_micros(kill * 7919 % 30_000)).await;
}

async fn associated(address: std::net::SocketAddr) -> Client {
    Client::to(address, GANTRY, "CLIENT", vec![proposal(CT, &[EXPLICIT])]).await.unwrap()
}

/// Stores on new associations until the object is stored.
async fn insist(address: std::net::SocketAddr, object: &Instance) {
    let insisting = async {
        loop {
            let mut client = associated(address).await;
            if status(&mut client, object).await == 0 {
                return client.release().await;
            }
            client.release().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), insisting).await.expect("it is never stored");
}

#[tokio::test]
async fn hazard_every_0000_is_in_the_archive_that_was_killed_fifty_times() {
    let scene = Scene::new(vec![], &[Fault::StoreSlow(SLOW)], "").await;
    let mut told = 0;
    for kill in 0..KILLS {
        let object = object(1, 1, kill as usize + 1, &Kind::default());
        let mut client = associated(scene.app.dimse).await;
        let (answer, ()) = tokio::join!(store(&mut client, &object), async {
            moment(kill).await;
            scene.archive.kill().await;
        });
        if answer.is_ok_and(|response| response.status == Some(0)) {
            told += 1;
            assert!(holds(&scene.archive, &object), "told to be stored, and is not");
        }
        scene.archive.restart().await.unwrap();
        insist(scene.app.dimse, &object).await;
        assert!(holds(&scene.archive, &object));
    }
    assert!(told < KILLS, "no kill came in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn hazard_every_0000_is_in_the_archive_though_the_bridge_was_killed_fifty_times() {
    let archive = Archive::builder().fault(Fault::StoreSlow(SLOW)).start().await.unwrap();
    let port = free_port();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let mut bridge = Bridge::with_configuration(&format!(
        "[dimse]\nlisten = \"{address}\"\nae_title = \"{GANTRY}\"\n[ae.CLIENT]\n\
         [archive.main]\nae_title = \"{}\"\naddress = \"{}\"\n",
        archive.ae_title(),
        archive.addr()
    ));
    let mut told = 0;
    for kill in 0..KILLS {
        let object = object(1, 1, kill as usize + 1, &Kind::default());
        let mut client = associated(address).await;
        let (answer, ()) = tokio::join!(store(&mut client, &object), async {
            moment(kill).await;
            bridge.server.kill();
        });
        if answer.is_ok_and(|response| response.status == Some(0)) {
            told += 1;
            assert!(holds(&archive, &object), "told to be stored, and is not");
        }
        bridge.server.restart();
        insist(address, &object).await;
        assert!(holds(&archive, &object));
    }
    assert!(told < KILLS, "no kill came in time");
}
