//! Storing, proven over the wire: what the archive has is the whole object, and what the caller is told is true.

mod faults;
mod peers;
mod stream;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gantry::archive::dimse::DimseArchive;
use gantry::archive::dimse::config::{Config, Timeouts};
use gantry::archive::{Archive as _, Error, Stored};
use gantry::caller::{Caller, Priority};
use gantry::demo::instance::{Data, Instance};
use gantry::demo::{Archive, Fault, Running};
use gantry::dicom::object::{Budget, Head, ObjectLog};
use tokio::time::sleep;

use crate::support::app::archive_config;

/// How many bytes of an object may wait to be sent.
const BUDGET: u32 = 1 << 20;
/// The pieces in which objects come, in bytes: what a web server reads at once.
const PIECE: usize = 16 << 10;
/// How long the built-in archive may be silent.
const SILENCE: Duration = Duration::from_secs(2);
/// How long what is left over may take to go away.
const AFTERMATH: Duration = Duration::from_secs(5);

/// The built-in archive, empty, and the bridge's way to it.
struct Scene {
    archive: Running,
    gantry: DimseArchive,
}

impl Scene {
    async fn new(faults: &[Fault]) -> Self {
        let archive = faults.iter().fold(Archive::builder(), |archive, fault| archive.fault(*fault));
        let archive = archive.start().await.unwrap();
        let gantry = bridge_to(archive.ae_title().as_str(), archive.addr(), SILENCE);
        Self { archive, gantry }
    }

    async fn store(&self, instance: &Instance) -> Result<Stored, Error> {
        store(&self.gantry, &instance.head, &bytes_of(instance)).await
    }

    /// Waits until no association is in use.
    async fn settle(&self, what: &str) {
        let begin = Instant::now();
        loop {
            let (open, idle) = self.gantry.associations();
            if open == idle {
                return;
            }
            assert!(begin.elapsed() < AFTERMATH, "{what}: {} associations stay in use", open - idle);
            sleep(Duration::from_millis(2)).await;
        }
    }

    /// Whether the archive holds the object, and if so, as it was sent.
    fn holds(&self, instance: &Instance) -> bool {
        let Some(held) = self.archive.instance(&instance.head.sop_instance) else { return false };
        assert_eq!(held.head, instance.head);
        assert!(bytes_of(&held) == bytes_of(instance), "it is stored with other bytes");
        true
    }
}

/// The bridge's way to an archive that is silent for so long at most.
fn bridge_to(ae_title: &str, address: SocketAddr, silence: Duration) -> DimseArchive {
    let timeouts = Timeouts { silence, ..Timeouts::default() };
    let config = Config { timeouts, ..archive_config("main", ae_title, address.to_string()) };
    DimseArchive::new(config, None, None, gantry::metrics::Metrics::default())
}

/// The data set of an object in memory.
fn bytes_of(instance: &Instance) -> Bytes {
    match &instance.data {
        Data::Memory(bytes) => bytes.clone(),
        Data::Parts(parts) => parts.concat().into(),
        other => panic!("{other:?}"),
    }
}

/// Stores an object that comes in pieces, as from a web client.
async fn store(gantry: &DimseArchive, head: &Head, bytes: &Bytes) -> Result<Stored, Error> {
    store_in_two(gantry, head, bytes, bytes.len(), std::future::ready(())).await
}

/// Stores an object of which what is behind the first `part` bytes comes after `pause`.
async fn store_in_two(
    gantry: &DimseArchive,
    head: &Head,
    bytes: &Bytes,
    part: usize,
    pause: impl Future<Output = ()>,
) -> Result<Stored, Error> {
    let (log, object) = ObjectLog::new(head.clone(), &Budget::new(BUDGET));
    let feed = async {
        let mut rest = bytes.clone();
        let mut first = rest.split_to(part);
        while !first.is_empty() {
            log.append(&first.split_to(first.len().min(PIECE))).await;
        }
        pause.await;
        while !rest.is_empty() {
            log.append(&rest.split_to(rest.len().min(PIECE))).await;
        }
        log.finish();
    };
    let caller = Caller { client: None, priority: Priority::Bulk, title: None };
    tokio::join!(gantry.store(&caller, object), feed).0
}
