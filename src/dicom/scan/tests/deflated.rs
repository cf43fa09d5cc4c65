//! Deflated data sets.

use super::*;

fn scanner() -> Scanner {
    Scanner::for_transfer_syntax(&Uid::from_static(DEFLATED_EXPLICIT_VR_LE))
}

fn plain() -> Vec<u8> {
    let long = [&b"\x08\x00\x04\x01UT\0\0\x00\x00\x02\0"[..], &vec![b'x'; 0x2_0000]].concat();
    [SEQUENCE, ITEM_OPEN, CODE, ITEM_END, SEQUENCE_END, &long, CODE].concat()
}

#[test]
fn tell_the_same_as_what_they_were_made_of() {
    let plain = plain();
    let deflated = deflated(&plain);
    let expected = walk(Layout::ExplicitLe, &plain, usize::MAX);
    assert_eq!(expected.1, Ok(()));
    for size in [1, 7, usize::MAX] {
        assert_eq!(walk_with(scanner(), &deflated, size), expected, "{size}");
        // PS3.5 A.5: a NUL makes the length even; some writers pad further.
        for padding in [1, 512] {
            let padded = [&deflated[..], &vec![0; padding]].concat();
            assert_eq!(walk_with(scanner(), &padded, size), expected, "{size}, {padding}");
        }
    }
}

#[test]
fn hazard_a_deflated_data_set_cut_at_any_byte_is_truncated() {
    let deflated = deflated(&plain());
    for end in 0..deflated.len() {
        let error = walk_with(scanner(), &deflated[..end], 64).1.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Truncated, "{end}");
    }
}

#[test]
fn what_is_not_deflated_is_an_error_with_its_place() {
    let error = walk_with(scanner(), b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 3).1.unwrap_err();
    assert_eq!((error.kind, error.offset), (ErrorKind::NotDeflated, 0));
}

#[test]
fn hazard_a_bomb_is_inflated_only_as_far_as_the_walk_asks() {
    let mut bomb = b"\x09\x00\x10\x00OB\0\0\xFE\xFF\xFF\x7F".to_vec();
    bomb.resize(16 << 20, 0);
    let mut scanner = scanner();
    scanner.push(deflated(&bomb).into());
    let mut walked = 0;
    while let Some(event) = scanner.next().unwrap() {
        if let Event::Value(piece) = event {
            assert!(piece.len() <= 64 << 10);
            assert!(scanner.input.length() <= 64 << 10, "more is waiting than one piece");
            walked += piece.len();
        }
    }
    assert_eq!(walked, bomb.len() - 12);
    assert_eq!(scanner.finish().map_err(|e| e.kind), Err(ErrorKind::Truncated));
}

#[test]
fn are_skipped_like_others() {
    let deflated = deflated(&plain());
    let mut scanner = scanner();
    let mut tags = Vec::new();
    for piece in deflated.chunks(5) {
        scanner.push(Bytes::copy_from_slice(piece));
        while let Some(event) = scanner.next().unwrap() {
            let Event::Element(header) = event else { panic!("{event:?}") };
            tags.push(header.tag);
            scanner.skip();
        }
    }
    assert_eq!(tags, [Tag(0x0008, 0x1032), Tag(0x0008, 0x0104), Tag(0x0008, 0x0100)]);
    assert_eq!(scanner.finish(), Ok(()));
}
