//! WADO-URI: files, de-identified ones, and what there is to look at.

use super::*;
use crate::dicom::deidentify::Key;

const OBJECT: &str = "requestType=WADO&studyUID=1.2&seriesUID=1.3&objectUID=1.4";
const CT: &str = "1.2.840.10008.5.1.4.1.1.2";

/// An image of two frames of 8 by 4 pixels, whose rows are of one grey each.
fn picture() -> Vec<u8> {
    let mut image = DataSet::new();
    image.set_str(tags::SOP_CLASS_UID, VR::UI, CT);
    image.set_str(tags::SOP_INSTANCE_UID, VR::UI, "1.4");
    image.set_str(tags::PATIENT_NAME, VR::PN, "Doe^Jane");
    image.set_str(tags::STUDY_INSTANCE_UID, VR::UI, "1.2");
    image.set_u16(tags::SAMPLES_PER_PIXEL, 1);
    image.set_str(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    image.set_str(tags::NUMBER_OF_FRAMES, VR::IS, "2");
    for (tag, value) in [
        (tags::ROWS, 4),
        (tags::COLUMNS, 8),
        (tags::BITS_ALLOCATED, 8),
        (tags::BITS_STORED, 8),
        (tags::HIGH_BIT, 7),
        (tags::PIXEL_REPRESENTATION, 0),
    ] {
        image.set_u16(tag, value);
    }
    let pixels: Vec<u8> = (0..8).flat_map(|row| [row * 30; 8]).collect();
    image.insert(tags::PIXEL_DATA, Element { vr: VR::OB, value: DicomValue::Bytes(pixels.into()) });
    image.encode(Layout::ExplicitLe, QueryCharset::Auto)
}

/// What a bridge that holds this object answers with.
async fn of(class: &'static str, bytes: Vec<u8>, more: &str) -> Answer {
    ask(&Bridge::new(), class, bytes, more).await
}

async fn ask(bridge: &Bridge, class: &'static str, bytes: Vec<u8>, more: &str) -> Answer {
    let driver = lay(bridge, Vec::new());
    driver.item(of_class(class, EXPLICIT, bytes).await);
    driver.complete();
    bridge.ask("GET", &format!("/dicom-web/wado?{OBJECT}&{more}"), "image/avif,*/*;q=0.8").await
}

#[tokio::test]
async fn a_file_comes_on_the_resource_itself_and_on_the_root() {
    let query = format!("{OBJECT}&contentType=application%2Fdicom");
    for path in [
        format!("/dicom-web/wado?{query}&transferSyntax=*"),
        format!("/dicom-web?{query}"),
        format!("/archives/main?{query}&transferSyntax={EXPLICIT}"),
        format!("/archives/main/wado?{query}&transferSyntax=%2A"),
    ] {
        let bridge = Bridge::new();
        hold(&bridge, EXPLICIT, native(b"aa")).await;
        let answer = bridge.ask("GET", &path, STORED).await;
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), format!("application/dicom; transfer-syntax={EXPLICIT}"));
        assert!(answer.body[128..].starts_with(b"DICM") && answer.body.ends_with(b"aa"));
        let asked = &bridge.archive.retrieves()[0];
        assert_eq!(asked.target.instance.as_ref().unwrap().as_str(), "1.4");
    }
    let bridge = Bridge::new();
    bridge.get("/dicom-web").await.problem(404);
    bridge.get("/dicom-web/wado?requestType=WADO&studyUID=1.2").await.problem(400);
    bridge.get(&format!("/dicom-web/wado?{query}&transferSyntax=1.2.840.10008.1.2.2")).await.problem(406);
    for more in ["transferSyntax=*", "contentType=image/png&anonymize=yes", "windowCenter=1", "rows=99999"] {
        bridge.get(&format!("/dicom-web/wado?{OBJECT}&{more}")).await.problem(400);
    }
    assert!(bridge.archive.retrieves().is_empty());
}

#[tokio::test]
async fn a_picture_comes_in_the_type_the_size_and_the_part_that_are_asked_for() {
    for (more, content_type) in [
        ("", "image/jpeg"),
        ("contentType=image/png", "image/png"),
        ("contentType=image/jp2,image/gif", "image/gif"),
        ("contentType=image/jpeg&imageQuality=10&frameNumber=2", "image/jpeg"),
    ] {
        let answer = of(CT, picture(), more).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, content_type), "{more}");
    }
    of(CT, picture(), "contentType=application/pdf").await.problem(406);
    of(CT, picture(), "frameNumber=3").await.problem(404);
    let size = |answer: &Answer| {
        let side = |at: usize| u32::from_be_bytes(answer.body[at..at + 4].try_into().unwrap());
        (side(16), side(20))
    };
    for (more, expected) in [
        ("", (8, 4)),
        ("&rows=8", (16, 8)),
        ("&columns=4", (4, 2)),
        ("&rows=100&columns=16", (16, 8)),
        ("&region=0.5,0,1,1", (4, 4)),
        ("&region=0,0.5,1,1&columns=16", (16, 4)),
    ] {
        let answer = of(CT, picture(), &format!("contentType=image/png{more}")).await;
        assert_eq!(size(&answer), expected, "{more}");
    }
    let (whole, windowed) = (
        of(CT, picture(), "contentType=image/png").await,
        of(CT, picture(), "contentType=image/png&windowCenter=10&windowWidth=1").await,
    );
    assert_ne!(whole.body, windowed.body);
    let annotated = of(CT, picture(), "contentType=image/png&rows=400&annotation=patient").await;
    let plain = of(CT, picture(), "contentType=image/png&rows=400").await;
    assert!(annotated.status == 200 && annotated.body != plain.body);
}

#[tokio::test]
async fn an_image_is_shown_as_a_presentation_state_wants_it() {
    const STATE: &str = "1.2.840.10008.5.1.4.1.1.11.1";
    let state = |about: &str| {
        let (mut image, mut series, mut window, mut state) =
            <(DataSet, DataSet, DataSet, DataSet)>::default();
        image.set_str(tags::REFERENCED_SOP_INSTANCE_UID, VR::UI, about);
        series.set_items(tags::REFERENCED_IMAGE_SEQUENCE, vec![image]);
        state.set_items(tags::REFERENCED_SERIES_SEQUENCE, vec![series]);
        window.set_str(tags::WINDOW_CENTER, VR::DS, "60");
        window.set_str(tags::WINDOW_WIDTH, VR::DS, "1");
        state.set_items(tags::SOFTCOPY_VOILUT_SEQUENCE, vec![window]);
        state.set_u16(tags::IMAGE_ROTATION, 90);
        state.encode(Layout::ExplicitLe, QueryCharset::Auto)
    };
    let shown = async |class: &'static str, state: Vec<u8>| {
        let bridge = Bridge::new();
        let driver = lay(&bridge, Vec::new());
        driver.item(of_class(class, EXPLICIT, state).await);
        driver.complete();
        let more = "contentType=image/png&presentationSeriesUID=1.5&presentationUID=1.6";
        let answer = ask(&bridge, CT, picture(), more).await;
        let named = bridge.archive.retrieves()[0].target.clone();
        let uid = |uid: Option<Uid>| uid.map(|uid| uid.to_string());
        assert_eq!((uid(named.series), uid(named.instance)), (Some("1.5".into()), Some("1.6".into())));
        answer
    };
    let answer = shown(STATE, state("1.4")).await;
    let mut reader = png::Decoder::new(std::io::Cursor::new(&answer.body[..])).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((info.width, info.height), (4, 8), "turned");
    // The rows of 0, 30, 60 and 90 are columns now, the last of them first.
    assert_eq!(pixels[..4], [255, 255, 0, 0]);
    shown(STATE, state("1.9")).await.problem(400);
    shown(CT, state("1.4")).await.problem(400);
    shown(STATE, b"no data set".to_vec()).await.problem(502);
}

#[tokio::test]
async fn what_is_no_image_comes_as_what_it_is() {
    const REPORT: &str = "1.2.840.10008.5.1.4.1.1.88.11";
    let mut report = DataSet::new();
    report.set_str(tags::PATIENT_NAME, VR::PN, "Doe^Jane");
    let report = report.encode(Layout::ExplicitLe, QueryCharset::Auto);
    for (more, content_type) in [
        ("", "text/html; charset=utf-8"),
        ("contentType=text/plain&charset=UTF-8", "text/plain; charset=utf-8"),
        ("contentType=application/dicom", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
    ] {
        let answer = of(REPORT, report.clone(), more).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, content_type), "{more}");
    }
    of(REPORT, report.clone(), "charset=iso-8859-1").await.problem(406);
    of(REPORT, report.clone(), "contentType=image/jpeg").await.problem(406);
    let mut document = DataSet::new();
    let value = DicomValue::Bytes(Bytes::from_static(b"%PDF-1.4"));
    document.insert(tags::ENCAPSULATED_DOCUMENT, Element { vr: VR::OB, value });
    let document = document.encode(Layout::ExplicitLe, QueryCharset::Auto);
    for more in ["", "contentType=application/pdf"] {
        let answer = of("1.2.840.10008.5.1.4.1.1.104.1", document.clone(), more).await;
        assert_eq!((answer.header("content-type"), &answer.body[..]), ("application/pdf", &b"%PDF-1.4"[..]));
    }
    // Of a plan there is nothing to see.
    let answer = of("1.2.840.10008.5.1.4.1.1.481.5", report, "").await;
    assert!(answer.header("content-type").starts_with("application/dicom;"));
}

#[tokio::test]
async fn an_object_that_is_de_identified_tells_nobodys_name_and_is_the_same_each_time() {
    let ask_for = "contentType=application/dicom&anonymize=yes";
    let text = |answer: &Answer| -> String { answer.body.iter().map(|&b| char::from(b)).collect() };
    let bridge = Bridge::new();
    let first = ask(&bridge, CT, picture(), ask_for).await;
    assert_eq!(first.status, 200);
    assert_eq!(ask(&bridge, CT, picture(), ask_for).await.body, first.body);
    let file = dicom_object::from_reader(&first.body[..]).unwrap();
    let uid = |tag| file.element(tag).unwrap().to_str().unwrap().trim_end_matches('\0').to_owned();
    assert_eq!(file.meta().media_storage_sop_instance_uid(), uid(tags::SOP_INSTANCE_UID));
    assert!(
        uid(tags::SOP_INSTANCE_UID).starts_with("2.25.")
            && uid(tags::STUDY_INSTANCE_UID).starts_with("2.25.")
    );
    assert!(!text(&first).contains("Doe"));
    assert_eq!(file.element(tags::PATIENT_IDENTITY_REMOVED).unwrap().to_str().unwrap(), "YES");
    // Who the object was given to, and which it was, is known of the object itself.
    assert_eq!(bridge.archive.retrieves()[0].target.instance.as_ref().unwrap().as_str(), "1.4");
    let other = of(CT, picture(), ask_for).await;
    assert_ne!(other.body, first.body, "another run of the bridge");
    let key = Some(Key::from_secret(b"sixteen or more characters"));
    let config = Config { anonymize_key: key, ..Config::default() };
    let kept = [Bridge::with(config.clone()), Bridge::with(config)];
    let [one, two] =
        [ask(&kept[0], CT, picture(), ask_for).await, ask(&kept[1], CT, picture(), ask_for).await];
    assert_eq!(one.body, two.body);
}

#[tokio::test]
async fn an_object_whose_pixels_name_the_patient_is_not_given_out_as_de_identified() {
    let ask_for = "contentType=application/dicom&anonymize=yes";
    let burned = |value: &str| {
        let mut image = DataSet::parse(&picture(), Layout::ExplicitLe, None).unwrap().data_set;
        image.set_str(tags::BURNED_IN_ANNOTATION, VR::CS, value);
        image.encode(Layout::ExplicitLe, QueryCharset::Auto)
    };
    assert!(of(CT, burned("YES"), ask_for).await.problem(406).contains("Burned In Annotation"));
    assert_eq!(of(CT, burned("YES"), "contentType=application/dicom").await.status, 200);
    assert_eq!(of(CT, burned("NO"), ask_for).await.status, 200);
}

#[tokio::test]
async fn what_of_a_private_class_has_no_pixels_comes_as_a_file() {
    const PRIVATE: &str = "1.3.6.1.4.1.9.9";
    let mut object = DataSet::new();
    object.set_str(tags::SOP_CLASS_UID, VR::UI, PRIVATE);
    object.set_str(tags::SOP_INSTANCE_UID, VR::UI, "1.4");
    let object = object.encode(Layout::ExplicitLe, QueryCharset::Auto);
    let bridge = Bridge::new();
    let driver = lay(&bridge, Vec::new());
    driver.item(of_class(PRIVATE, EXPLICIT, object.clone()).await);
    driver.complete();
    // It is asked for again: what was read of it is gone.
    let answer = ask(&bridge, PRIVATE, object.clone(), "").await;
    assert!(answer.header("content-type").starts_with("application/dicom;"));
    of(PRIVATE, object, "contentType=image/jpeg").await.problem(404);
    assert_eq!(of(PRIVATE, picture(), "").await.header("content-type"), "image/jpeg");
}

#[tokio::test]
async fn hazard_an_object_that_cannot_be_de_identified_to_its_end_is_not_given_out() {
    let ask_for = "contentType=application/dicom&anonymize=yes";
    let whole = picture();
    of(CT, whole[..whole.len() - 3].to_vec(), ask_for).await.problem(502);
    of(CT, b"no data set at all".to_vec(), ask_for).await.problem(502);
}
