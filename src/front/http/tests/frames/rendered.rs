//! What a browser shows as it is stored.

use super::*;

#[tokio::test]
async fn a_pdf_is_shown_by_a_browser_without_the_byte_that_makes_it_even() {
    let mut document = DataSet::new();
    let value = DicomValue::Bytes(Bytes::from_static(b"%PDF-1.4\n\0"));
    document.insert(tags::ENCAPSULATED_DOCUMENT, Element { vr: VR::OB, value });
    let value = DicomValue::Bytes(Bytes::from_static(&[9, 0, 0, 0]));
    document.insert(tags::ENCAPSULATED_DOCUMENT_LENGTH, Element { vr: VR::UL, value });
    let bytes = document.encode(Layout::ExplicitLe, QueryCharset::Auto);
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
    let viewer =
        "multipart/related; type=\"application/pdf\", multipart/related; type=\"application/octet-stream\"";
    for (path, accept) in
        [("/rendered", browser), ("/rendered", "application/pdf"), ("/bulkdata/00420011", viewer)]
    {
        let bridge = Bridge::new();
        let driver = lay(&bridge, Vec::new());
        driver.item(of_class("1.2.840.10008.5.1.4.1.1.104.1", EXPLICIT, bytes.clone()).await);
        driver.complete();
        let answer = bridge.ask("GET", &format!("{INSTANCE}{path}"), accept).await;
        if accept == viewer {
            assert_eq!(parts(&answer)[0].0, "application/pdf");
            assert_eq!(parts(&answer)[0].2, b"%PDF-1.4\n");
        } else {
            assert_eq!(
                (answer.header("content-type"), &answer.body[..]),
                ("application/pdf", &b"%PDF-1.4\n"[..])
            );
            assert_eq!(answer.header("content-length"), "9");
        }
    }
}

#[tokio::test]
async fn a_video_is_played_as_it_is_stored_and_in_ranges() {
    let bridge = Bridge::new();
    hold(&bridge, MPEG4, encapsulated(&[b"mov", b"ie"])).await;
    let request = Request::builder().uri(format!("{INSTANCE}/rendered")).header("Range", "bytes=0-");
    let request = request.header("Host", "localhost").header("Accept", "*/*").body(Body::empty()).unwrap();
    let response = bridge.app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 206);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("video/mp4"));
    assert_eq!(response.headers()["content-range"], "bytes 0-4/5");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "movie");
}
