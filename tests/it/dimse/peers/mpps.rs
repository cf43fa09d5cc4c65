//! Modality performed procedure steps, from a pynetdicom modality to a pynetdicom server.

use super::Called;
use crate::support::bridge::Bridge;
use crate::support::peers::{Destination, mpps_and_commitment};

#[test]
fn performed_procedure_steps_through_the_bridge_have_the_same_answers() {
    let (server, port) = mpps_and_commitment("MPPS", &[]);
    let own = Destination::new("GANTRY");
    let configuration = format!(
        "[dimse]\nlisten = \"127.0.0.1:{}\"\nae_title = \"GANTRY\"\n[ae.MODALITY]\n\
         [archive.main]\nae_title = \"PACS\"\naddress = \"127.0.0.1:1\"\n\
         endpoint.mpps = {{ ae_title = \"MPPS\", address = \"127.0.0.1:{port}\" }}\n",
        own.port
    );
    let _bridge = Bridge::with_configuration(&configuration);
    let answers = |peer: Called, serial: &str| {
        let said = peer.session("mpps", "MODALITY", &[serial]).to_string();
        // Each run has UIDs of its own.
        said.replace(&format!("498.9.{serial}"), "498.9.N")
    };
    let (direct, through) =
        (answers(Called::new("MPPS", port), "1"), answers(Called::new(&own.ae_title, own.port), "2"));
    assert_eq!(direct, through);
    for expected in ["\"create\",0", "\"create again\",273", "\"set\",0", "\"set again\",272", "\"get\",0"] {
        assert!(through.contains(expected), "{expected}: {through}");
    }
    assert_eq!(server.log().matches("\"calling\": \"GANTRY\"").count(), 7, "{}", server.log());
}
