//! Bodies that break off, stall or cannot be read to their end.

use std::collections::BTreeSet;

use super::stream::{Feeder, body};
use super::*;

#[tokio::test]
async fn hazard_a_body_that_breaks_off_at_any_byte_never_has_its_last_instance_stored() {
    let body = multipart(&[file("1.2", "1.4.1"), file("1.2", "1.4.2")]);
    let delimiter = b"\r\n--b\r\n";
    let second = body.windows(7).rposition(|w| w == delimiter).unwrap() + delimiter.len();
    let closed = body.len() - b"\r\n".len();
    for length in 0..body.len() {
        let bridge = Bridge::new();
        let answer = bridge.post(STUDIES, body[..length].to_vec()).await;
        let expected = match length {
            _ if length >= closed => 200,
            _ if length >= second => 202,
            _ => 400,
        };
        assert_eq!(answer.status, expected, "{length}: {:?}", answer.body);
        let held: BTreeSet<String> =
            bridge.archive.stored().iter().map(|(head, _)| head.sop_instance.to_string()).collect();
        let told: BTreeSet<String> = match expected {
            400 => BTreeSet::new(),
            _ => answer.stored().into_iter().map(|(instance, _)| instance).collect(),
        };
        assert_eq!(told, held, "{length}");
        assert_eq!(
            held.len(),
            [(400, 0), (202, 1), (200, 2)].iter().find(|(s, _)| *s == expected).unwrap().1
        );
        if expected == 202 {
            assert!(answer.header("warning").contains("closing delimiter"), "{length}");
        }
    }
}

#[tokio::test]
async fn the_instance_in_which_a_body_broke_off_is_told_with_its_uid_where_it_is_known() {
    let bridge = Bridge::new();
    let mut body = multipart(&[file("1.2", "1.4.1"), file("1.2", "1.4.2")]);
    body.truncate(body.len() - 12);
    let answer = bridge.post(STUDIES, body).await;
    assert_eq!((answer.stored(), answer.failed()), (vec![told("1.4.1", 0)], vec![told("1.4.2", 0xC000)]));
}

#[tokio::test]
async fn a_broken_boundary_ends_the_reading_but_not_what_was_stored() {
    let bridge = Bridge::new();
    let first = [b"--b\r\n\r\n", &file("1.2", "1.4.1")[..]].concat();
    for rest in [&b"\r\n--b\r\nno header\r\n\r\n"[..], b"\r\n--b\r\n\r\nx\r\n--bx\r\n"] {
        let answer = bridge.post(STUDIES, [&first[..], rest].concat()).await;
        assert_eq!((answer.status.as_u16(), answer.stored()), (202, vec![told("1.4.1", 0)]));
    }
    let text = bridge.post(STUDIES, [&first[..], b"\r\n--bx\r\n"].concat()).await.problem(400);
    assert!(text.contains("delimiter"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn hazard_a_client_that_stalls_has_its_instance_aborted_and_is_told_so() {
    let bridge = Bridge::new();
    let whole = multipart(&[file("1.2", "1.4.1"), file("1.2", "1.4.2")]);
    let (feeder, sent) = Feeder::new();
    feeder.push(&whole[..whole.len() - 12]);
    let answer = bridge.send(STUDIES, &[("Content-Type", TYPE)], body(sent)).await;
    assert_eq!((answer.status.as_u16(), answer.stored()), (202, vec![told("1.4.1", 0)]));
    assert_eq!(answer.failed(), [told("1.4.2", 0xC000)]);
    assert!(answer.header("warning").contains("did not go on"));
    drop(feeder);
    let (feeder, sent) = Feeder::new();
    feeder.push(&whole[..200]);
    bridge.send(STUDIES, &[("Content-Type", TYPE)], body(sent)).await.problem(408);
    assert_eq!(bridge.archive.stored().len(), 1);
}

#[tokio::test]
async fn a_connection_that_breaks_stores_nothing_half() {
    let bridge = Bridge::new();
    let whole = multipart(&[file("1.2", "1.4.1")]);
    let (feeder, sent) = Feeder::new();
    feeder.push(&whole[..whole.len() - 12]);
    feeder.fail();
    bridge.send(STUDIES, &[("Content-Type", TYPE)], body(sent)).await.problem(400);
    // A bare file has no closing delimiter; HTTP alone tells that it is not whole.
    let (feeder, sent) = Feeder::new();
    feeder.push(&file("1.2", "1.4.1"));
    feeder.fail();
    bridge.send(STUDIES, &[("Content-Type", "application/dicom")], body(sent)).await.problem(400);
    assert!(bridge.archive.stored().is_empty());
}
