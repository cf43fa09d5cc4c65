//! Clients as they are, against the bridge before real archives.

use crate::support::bridge::Bridge;
use crate::support::peers::{Archive, Destination, data, python};

#[test]
fn dicomweb_client_stores_unmodified_and_orthanc_has_the_very_bytes() {
    let own = Destination::new("GANTRY");
    let empty = data("viewers", &[]);
    let archive = Archive::orthanc(&empty, std::slice::from_ref(&own), serde_json::json!({}));
    let bridge = Bridge::start(&archive, &own, "auto", "");
    python("dicomweb_client_store.py", &[&bridge.url, &archive.rest]);
}
