//! Structured reports as text.

use std::io::Write as _;

use super::*;
use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, layout};

/// A Basic Text SR of these bytes.
async fn object_of(syntax: &'static str, bytes: Vec<u8>) -> Object {
    let head = Head {
        sop_class: Uid::from_static("1.2.840.10008.5.1.4.1.1.88.11"),
        sop_instance: Uid::from_static("1.4"),
        transfer_syntax: Uid::from_static(syntax),
    };
    let (log, object) = ObjectLog::new(head, &Budget::new(1 << 24));
    log.append(&bytes.into()).await;
    log.finish();
    object
}

/// A report of one text, in this transfer syntax.
fn report(syntax: &'static str, text: &str) -> Vec<u8> {
    let mut item = DataSet::new();
    item.set_str(tags::VALUE_TYPE, VR::CS, "TEXT");
    item.set_str(tags::TEXT_VALUE, VR::UT, text);
    let mut report = DataSet::new();
    report.set_str(tags::PATIENT_NAME, VR::PN, "Doe^<script>");
    report.set_items(tags::CONTENT_SEQUENCE, vec![item]);
    let bytes = report.encode(layout(&Uid::from_static(syntax)), QueryCharset::Auto);
    if syntax != DEFLATED_EXPLICIT_VR_LE {
        return bytes;
    }
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(&bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_report_is_a_page_for_a_browser_which_runs_and_loads_nothing() {
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
    for syntax in [EXPLICIT, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", DEFLATED_EXPLICIT_VR_LE] {
        for (accept, content_type, expected) in [
            (browser, "text/html; charset=utf-8", "<td>Doe, &#60;script&#62;</td>"),
            ("*/*", "text/html; charset=utf-8", "Größe"),
            ("text/plain", "text/plain; charset=utf-8", "Patient: Doe, <script>\n"),
        ] {
            let bridge = Bridge::new();
            let driver = lay(&bridge, Vec::new());
            driver.item(object_of(syntax, report(syntax, "Größe")).await);
            driver.complete();
            let answer = bridge.ask("GET", &format!("{INSTANCE}/rendered"), accept).await;
            assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, content_type));
            let text = String::from_utf8(answer.body.to_vec()).unwrap();
            assert!(text.contains(expected), "{text}");
            assert!(
                answer
                    .header("content-security-policy")
                    .starts_with("default-src 'none'; style-src 'sha256-")
            );
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert!(!answer.header("etag").is_empty());
        }
    }
    let bridge = Bridge::new();
    let driver = lay(&bridge, Vec::new());
    driver.item(object_of(EXPLICIT, report(EXPLICIT, "x")).await);
    driver.complete();
    bridge.ask("GET", &format!("{INSTANCE}/rendered"), "image/jpeg").await.problem(406);
}

#[tokio::test]
async fn hazard_a_report_that_breaks_off_or_swells_without_end_is_an_error_with_its_status() {
    let cut = report(EXPLICIT, "x");
    let bomb = report(DEFLATED_EXPLICIT_VR_LE, &" ".repeat(9 << 20));
    let long = report(EXPLICIT, &"x".repeat(9 << 20));
    for (syntax, bytes, status) in [
        (EXPLICIT, cut[..cut.len() - 3].to_vec(), 502),
        (DEFLATED_EXPLICIT_VR_LE, bomb, 501),
        (EXPLICIT, long, 501),
    ] {
        let bridge = Bridge::new();
        let driver = lay(&bridge, Vec::new());
        driver.item(object_of(syntax, bytes).await);
        driver.complete();
        bridge.get(&format!("{INSTANCE}/rendered")).await.problem(status);
    }
}
