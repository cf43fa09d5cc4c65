use serde_json::json;

use super::*;
use crate::dicom::transfer_syntax::EXPLICIT_VR_LE;

fn bulk() -> BulkData {
    BulkData { inline: 1024, url: "http://host/bulkdata".into() }
}

#[test]
fn a_ct_becomes_json() {
    let bytes = [
        &b"\x08\x00\x05\x00CS\x0A\x00ISO_IR 100"[..],
        b"\x10\x00\x10\x00PN\x02\x00\xC4 ",
        b"\xE0\x7F\x10\x00OW\0\0\x02\0\0\0\x01\x02",
    ]
    .concat();
    let mut transcriber = Transcriber::new(Format::Json, &Uid::from_static(EXPLICIT_VR_LE), None, bulk());
    transcriber.push(bytes.into());
    let transcript = transcriber.finish();
    assert_eq!(transcript.broken, None);
    let json: serde_json::Value = serde_json::from_slice(&transcript.text).unwrap();
    assert_eq!(
        json,
        json!({
            "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
            "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Ä"}]},
            "7FE00010": {"vr": "OW", "BulkDataURI": "http://host/bulkdata/7FE00010"},
        })
    );
}
