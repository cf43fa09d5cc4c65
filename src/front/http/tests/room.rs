//! What all answers together are held with, and what is done where there is no more.

use super::frames::{asked_for, hold, wide};
use super::*;
use axum::response::Response;

const STORED: &str = "multipart/related; type=application/octet-stream; transfer-syntax=*";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const MIB: usize = 1 << 20;

/// The answer to a request whose client reads nothing of it.
async fn unread(bridge: &Bridge, path: &str) -> Response {
    let request =
        Request::builder().uri(asked_for(path)).header("Host", "bridge.example").header("Accept", STORED);
    bridge.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

/// Asserts that parts of this length came, and the closing boundary.
fn assert_whole(answer: &Answer, length: usize) {
    assert!(answer.body.len() > length, "{} bytes", answer.body.len());
    assert!(answer.body.ends_with(b"--\r\n"));
}

#[tokio::test]
async fn hazard_clients_that_read_nothing_are_held_within_one_bound_for_all() {
    let bridge = Bridge::new();
    let object = wide(2, MIB);
    let mut unread_answers = Vec::new();
    let mut refused = 0;
    for _ in 0..100 {
        hold(&bridge, EXPLICIT, object.clone()).await;
        let answer = unread(&bridge, "/frames/2,1").await;
        match answer.status().as_u16() {
            200 => unread_answers.push(answer),
            503 => {
                assert_eq!(answer.headers()["retry-after"], "5");
                refused += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!((30..=32).contains(&unread_answers.len()), "{} of 2 MiB each", unread_answers.len());
    assert_eq!(refused, 100 - unread_answers.len());
    // In ascending order they stream, and need no room.
    for _ in 0..100 {
        hold(&bridge, EXPLICIT, object.clone()).await;
        unread_answers.push(unread(&bridge, "/frames/1,2").await);
    }
    assert!(unread_answers.iter().all(|answer| answer.status() == 200));
    // What was held is whole, and its place is free afterwards.
    for answer in unread_answers.drain(..) {
        assert_whole(&Answer::of(answer).await, 2 * MIB);
    }
    hold(&bridge, EXPLICIT, object.clone()).await;
    assert_eq!(unread(&bridge, "/frames/2,1").await.status(), 200);
}

#[tokio::test]
async fn what_can_stream_does_so_where_there_is_no_room_for_its_validator() {
    let bridge = Bridge::new();
    let object = wide(1, 4 * MIB);
    let mut unread_answers = Vec::new();
    for count in 0..20 {
        hold(&bridge, EXPLICIT, object.clone()).await;
        let answer = unread(&bridge, "/frames/1").await;
        assert_eq!(answer.status(), 200);
        let has_validator = answer.headers().contains_key("etag");
        assert_eq!(has_validator, count < 7, "{count}: 32 MiB are for what cannot stream");
        unread_answers.push(answer);
    }
    for answer in unread_answers {
        assert_whole(&Answer::of(answer).await, 4 * MIB);
    }
}
