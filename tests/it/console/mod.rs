//! The operators' pages in a real browser: headless Chromium looks at them, wide and narrow, light and dark, by mouse and
//! by keyboard, and other sites' pages try what they must not be able to.
//!
//! With `GANTRY_SCREENSHOTS=1` in the environment the pictures in `docs/console` are taken anew; a folder in its place gets all
//! there are.

use std::time::Duration;

use gantry::demo::{Archive, Instance, Running, studies};
use gantry::dicom::charset::{Charset, QueryCharset};
use gantry::dicom::dataset::DataSet;
use gantry::dicom::transfer_syntax::layout;
use gantry::dicom::{Uid, VR, tags};
use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use crate::support::app::TestApp;
use crate::support::objects::{self, JPEG_BASELINE, Kind};
use crate::support::peers::repository;

/// An image as an ultrasound device stores it, drawn by a program.
const HEART: &[u8] = include_bytes!("heart.jpg");
/// How slow the destination is, so that a person, or a script, sees a study on its way.
const SLOW: Duration = Duration::from_millis(250);
/// The study of many objects.
const LONG: usize = 5;
/// The browser starts, and looks at some forty pages, on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(600);

/// Runs a part of `console.py` against this bridge.
async fn browse(part: &str, app: &TestApp, facts: serde_json::Value) {
    let python = repository(".peers/console/bin/python");
    assert!(python.exists(), "{} is missing: run `make peers`", python.display());
    let mut facts = facts;
    facts["url"] = json!(format!("http://127.0.0.1:{}", app.http.port()));
    facts["screenshots"] = match std::env::var_os("GANTRY_SCREENSHOTS") {
        Some(one) if one == "1" => json!(repository("docs/console")),
        Some(folder) => json!(folder.into_string().unwrap()),
        None => json!(null),
    };
    let mut command = Command::new(python);
    command.arg(repository("tests/peers/console.py")).arg(part).arg(facts.to_string()).kill_on_drop(true);
    let output = timeout(PATIENCE, command.output()).await.expect("the browser takes too long").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// An archive of made-up studies, one that is away, and a destination that is slow.
struct Stage {
    app: TestApp,
    _archive: Running,
    destination: Running,
}

impl Stage {
    async fn new(more: impl IntoIterator<Item = Instance>) -> Self {
        let archive = Archive::builder().studies(studies::make(12, 40)).start().await.unwrap();
        archive.add(more);
        // Made-up images take their time to be drawn; these are at hand.
        let kind = Kind { pixels: 100_000, ..Kind::default() };
        archive.add(objects::study(LONG, 1, 40, &kind));
        let destination = Archive::builder()
            .ae_title("WORKSTATION".parse().unwrap())
            .studies([])
            .latency(SLOW)
            .start()
            .await
            .unwrap();
        let app = TestApp::start(&format!(
            "default_archive = \"radiology\"\n\
             [dimse]\nlisten = \"127.0.0.1:0\"\n\
             [archive.radiology]\nae_title = \"{}\"\naddress = \"{}\"\n\
             [archive.cardiology]\nae_title = \"HEART\"\naddress = \"127.0.0.1:9\"\n\
             [ae.WORKSTATION]\naddress = \"{}\"\n\
             [ae.CT1]\n\
             [cache]\nmemory = \"64MiB\"\n",
            archive.ae_title(),
            archive.addr(),
            destination.addr(),
        ))
        .await;
        Self { app, _archive: archive, destination }
    }
}

/// An object with these attributes, and `pixels` as a JPEG.
fn object(syntax: &'static str, set: &[(gantry::dicom::Tag, VR, &str)], pixels: &[u8]) -> Instance {
    let mut data_set = DataSet::new();
    for (tag, vr, value) in set {
        data_set.set_str(*tag, *vr, *value);
    }
    data_set.set_u16(tags::ROWS, 200);
    data_set.set_u16(tags::COLUMNS, 240);
    data_set.set_u16(tags::SAMPLES_PER_PIXEL, 3);
    data_set.set_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "YBR_FULL_422");
    data_set.set_u16(tags::BITS_ALLOCATED, 8);
    let syntax = Uid::from_static(syntax);
    let charset = QueryCharset::Forced("ISO_IR 192".parse::<Charset>().unwrap());
    let mut bytes = data_set.encode(layout(&syntax), charset);
    bytes.extend(b"\xE0\x7F\x10\0OB\0\0\xFF\xFF\xFF\xFF\xFE\xFF\0\xE0\0\0\0\0\xFE\xFF\0\xE0");
    let padded = pixels.len().next_multiple_of(2);
    bytes.extend((padded as u32).to_le_bytes());
    bytes.extend_from_slice(pixels);
    bytes.resize(bytes.len() + padded - pixels.len(), 0);
    bytes.extend(b"\xFE\xFF\xDD\xE0\0\0\0\0");
    Instance::from_bytes(syntax, bytes.into()).unwrap()
}

/// An ultrasound image that browsers can show.
fn heart() -> Instance {
    let set = [
        (tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.6.1"),
        (tags::SOP_INSTANCE_UID, VR::UI, "2.25.77.1.1"),
        (tags::STUDY_DATE, VR::DA, "20261109"),
        (tags::STUDY_TIME, VR::TM, "090500"),
        (tags::ACCESSION_NUMBER, VR::SH, "A000777"),
        (tags::MODALITY, VR::CS, "US"),
        (tags::STUDY_DESCRIPTION, VR::LO, "Echocardiography"),
        (tags::SERIES_DESCRIPTION, VR::LO, "Apical four chamber"),
        (tags::PATIENT_NAME, VR::PN, "Müller^Jürgen"),
        (tags::PATIENT_ID, VR::LO, "GN-0001"),
        (tags::PATIENT_BIRTH_DATE, VR::DA, "19580412"),
        (tags::PATIENT_SEX, VR::CS, "M"),
        (tags::STUDY_INSTANCE_UID, VR::UI, "2.25.77"),
        (tags::SERIES_INSTANCE_UID, VR::UI, "2.25.77.1"),
        (tags::SERIES_NUMBER, VR::IS, "1"),
        (tags::INSTANCE_NUMBER, VR::IS, "1"),
    ];
    object(JPEG_BASELINE, &set, HEART)
}

/// A study whose every word would be a script, were it not escaped.
fn hostile() -> Instance {
    let script = "<script>hacked=1</script><img src=x onerror=hacked=2>";
    let set = [
        (tags::SOP_CLASS_UID, VR::UI, "1.2.840.10008.5.1.4.1.1.6.1"),
        (tags::SOP_INSTANCE_UID, VR::UI, "2.25.66.1.1"),
        (tags::STUDY_DATE, VR::DA, "20200101"),
        (tags::ACCESSION_NUMBER, VR::SH, "\"><svg/onload=hacked=3>"),
        (tags::MODALITY, VR::CS, "US"),
        (tags::STUDY_DESCRIPTION, VR::LO, "</title></h1><script>hacked=4</script>"),
        (tags::SERIES_DESCRIPTION, VR::LO, "javascript:hacked=5 '\"><b onclick=hacked=5>"),
        (tags::PATIENT_NAME, VR::PN, script),
        (tags::PATIENT_ID, VR::LO, "HOSTILE' autofocus onfocus='hacked=6"),
        (tags::STUDY_INSTANCE_UID, VR::UI, "2.25.66"),
        (tags::SERIES_INSTANCE_UID, VR::UI, "2.25.66.1"),
        (tags::INSTANCE_NUMBER, VR::IS, "1"),
    ];
    // No JPEG at all, whatever it says.
    object(JPEG_BASELINE, &set, b"<svg xmlns='http://www.w3.org/2000/svg' onload='hacked=7'/>")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pages_look_right_wide_and_narrow_light_and_dark_and_have_no_serious_fault() {
    let stage = Stage::new([heart()]).await;
    browse("look", &stage.app, json!({ "study": objects::study_uid(LONG) })).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_searches_sends_a_study_sees_its_progress_and_cancels() {
    let stage = Stage::new([heart()]).await;
    browse("work", &stage.app, json!({ "study": objects::study_uid(LONG) })).await;
    let has = |instance: &str| stage.destination.instance(&instance.parse().unwrap()).is_some();
    assert!(has("2.25.77.1.1"), "what is called sent is there");
    assert_eq!(stage.destination.count()[3], 41, "one object, and the long study");
    stage.app.settle("a send that was cancelled").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_neither_what_is_stored_nor_other_sites_can_do_anything_in_the_console() {
    let stage = Stage::new([hostile()]).await;
    browse("attack", &stage.app, json!({ "study": "2.25.66" })).await;
    assert_eq!(stage.destination.count()[3], 0, "nothing was sent");
}
