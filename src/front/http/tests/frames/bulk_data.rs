//! Bulk data: one value by its URI, and all values of an instance, a series or a study.

use super::*;

#[tokio::test]
async fn a_value_comes_by_the_uri_that_the_metadata_name() {
    let bridge = Bridge::new();
    let accept = "multipart/related; type=\"application/octet-stream\"";
    let answer = asked(&bridge, "/bulkdata/00281201", accept, &[(EXPLICIT, native(b"aa"))]).await;
    let table: Vec<u8> = (0..=255).cycle().take(2000).collect();
    assert_eq!(
        parts(&answer),
        [("application/octet-stream".into(), format!("{URL}/bulkdata/00281201"), table.clone())]
    );
    assert_eq!(bridge.archive.retrieves()[0].form, Form::AsStored);
    for accept in ["*/*", "", "application/octet-stream"] {
        let answer = asked(&bridge, "/bulkdata/00281201", accept, &[(EXPLICIT, native(b"aa"))]).await;
        assert_eq!(answer.body[..], table[..], "{accept}");
        assert_eq!(answer.header("content-length"), "2000");
        assert_eq!(answer.header("accept-ranges"), "bytes");
        assert_eq!(answer.header("content-location"), format!("{URL}/bulkdata/00281201"));
    }
    asked(&bridge, "/bulkdata/00281202", "*/*", &[(EXPLICIT, native(b"aa"))]).await.problem(404);
    asked(&bridge, "/bulkdata/00281201", "image/png", &[(EXPLICIT, native(b"aa"))]).await.problem(406);
    bridge.get(&format!("{INSTANCE}/bulkdata/PixelData")).await.problem(400);
    bridge.get(&format!("{INSTANCE}/bulkdata/54000100/0/54001010")).await.problem(400);
}

#[tokio::test]
async fn a_range_of_a_value_is_206_and_one_behind_its_end_416() {
    let bridge = Bridge::new();
    let ask = async |range: &str, condition: Option<&str>| {
        hold(&bridge, EXPLICIT, native(b"aabbcc")).await;
        let request = Request::builder().uri(format!("{INSTANCE}/bulkdata/7FE00010")).header("Range", range);
        let request = match condition {
            Some(tag) => request.header("If-Range", tag),
            None => request,
        };
        let request =
            request.header("Host", "localhost").header("Accept", "*/*").body(Body::empty()).unwrap();
        let response = bridge.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, body }
    };
    for (range, part, bytes) in [
        ("bytes=1-2", "1-2", &b"ab"[..]),
        ("bytes=4-", "4-5", b"cc"),
        ("bytes=-1", "5-5", b"c"),
        ("bytes=0-", "0-5", b"aabbcc"),
    ] {
        let answer = ask(range, None).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (206, bytes), "{range}");
        assert_eq!(answer.header("content-range"), format!("bytes {part}/6"));
        assert_eq!(answer.header("content-length"), bytes.len().to_string());
    }
    for (range, condition) in [("bytes=0-1,3-4", None), ("lines=1-2", None), ("bytes=0-1", Some("\"x\""))] {
        let answer = ask(range, condition).await;
        assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"aabbcc"[..]), "{range}");
    }
    let answer = ask("bytes=6-", None).await;
    answer.problem(416);
    assert_eq!(answer.header("content-range"), "bytes */6");
}

#[tokio::test]
async fn compressed_pixel_data_by_its_uri_is_its_frames_or_a_single_file() {
    let bridge = Bridge::new();
    let two = encapsulated(&[b"\xFF\xD8\xFFa\xFF\xD9", b"\xFF\xD8\xFFb\xFF\xD9"]);
    let answer =
        asked(&bridge, "/bulkdata/7FE00010", "multipart/related; type=\"*/*\"", &[(JPEG, two)]).await;
    let own = format!("image/jpeg; transfer-syntax={JPEG}");
    let found: Vec<_> = parts(&answer).into_iter().map(|(own, _, bytes)| (own, bytes)).collect();
    assert_eq!(
        found,
        [(own.clone(), b"\xFF\xD8\xFFa\xFF\xD9".to_vec()), (own.clone(), b"\xFF\xD8\xFFb\xFF\xD9".to_vec())]
    );
    let one = encapsulated(&[b"\xFF\xD8\xFFa\xFF\xD9\0"]);
    let answer = asked(&bridge, "/bulkdata/7FE00010", "*/*", &[(JPEG, one)]).await;
    assert_eq!(
        (answer.header("content-type"), &answer.body[..]),
        (own.as_str(), &b"\xFF\xD8\xFFa\xFF\xD9"[..])
    );
}

#[tokio::test]
async fn bulk_data_and_pixel_data_of_three_levels_come_with_the_uris_of_their_values() {
    let series = "/dicom-web/studies/1.2/series/1.3";
    let (table, pixels) = (format!("{URL}/bulkdata/00281201"), format!("{URL}/bulkdata/7FE00010"));
    for (path, expected) in [
        (format!("{INSTANCE}/bulkdata"), vec![&table, &pixels]),
        (format!("{INSTANCE}/pixeldata"), vec![&pixels]),
        (format!("{series}/bulkdata"), vec![&table, &pixels]),
        (format!("{series}/pixeldata"), vec![&pixels]),
        ("/dicom-web/studies/1.2/pixeldata".to_owned(), vec![&pixels]),
        ("/dicom-web/studies/1.2/bulkdata".to_owned(), vec![&table, &pixels]),
    ] {
        let bridge = Bridge::new();
        let driver = lay(&bridge, Vec::new());
        let mut first = whole(EXPLICIT, native(b"aa")).await;
        first.series = Some(Uid::from_static("1.3"));
        driver.item(first);
        driver.complete();
        let answer = bridge.ask("GET", &path, STORED).await;
        let found = parts(&answer);
        assert_eq!(found.iter().map(|(_, location, _)| location).collect::<Vec<_>>(), expected, "{path}");
        assert_eq!(found.last().unwrap().2, b"aa");
    }
    let bridge = Bridge::new();
    let octets = "multipart/related; type=\"application/octet-stream\"";
    let answer = asked(&bridge, "", octets, &[(EXPLICIT, native(b"aa"))]).await;
    assert_eq!(parts(&answer).len(), 2, "bytes of an instance are its bulk data");
    let empty = DataSet::new().encode(Layout::ExplicitLe, QueryCharset::Auto);
    asked(&bridge, "/bulkdata", octets, &[(EXPLICIT, empty)]).await.problem(404);
}

#[tokio::test]
async fn hazard_bulk_data_of_a_short_study_has_no_closing_boundary() {
    let bridge = Bridge::new();
    let driver = lay(&bridge, Vec::new());
    driver.item(whole(EXPLICIT, native(b"aa")).await);
    driver.fail(Error::new("main", Kind::Incomplete { missing: 1, named: Vec::new() }));
    let request = Request::builder().uri("/dicom-web/studies/1.2/bulkdata").header("Host", "localhost");
    let response = bridge.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
}
