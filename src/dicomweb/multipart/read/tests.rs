use proptest::prelude::*;

use super::*;

/// A part as (Content-Type, bytes), and whether a delimiter followed it.
type Part = (Option<String>, Vec<u8>, bool);

/// What a reader makes of a body that comes in pieces of these sizes, again and again.
fn read(boundary: &str, body: &[u8], sizes: &[usize]) -> (Vec<Part>, Result<(), Error>) {
    let mut reader = Reader::new(boundary).unwrap();
    let mut parts: Vec<Part> = Vec::new();
    let mut rest = body;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at((*sizes.next().unwrap()).clamp(1, rest.len()));
        rest = behind;
        reader.push(Bytes::copy_from_slice(piece));
        loop {
            match reader.next() {
                Ok(None) => break,
                Ok(Some(Event::Part(headers))) => {
                    parts.push((headers.get("content-type").map(str::to_owned), Vec::new(), false));
                }
                Ok(Some(Event::Data(bytes))) => {
                    assert!(!bytes.is_empty());
                    parts.last_mut().unwrap().1.extend(bytes);
                }
                Ok(Some(Event::PartEnd)) => parts.last_mut().unwrap().2 = true,
                Err(error) => return (parts, Err(error)),
            }
        }
    }
    (parts, reader.finish())
}

fn whole(body: &[u8]) -> (Vec<Part>, Result<(), Error>) {
    read("b", body, &[usize::MAX])
}

fn part(content_type: &str, bytes: &[u8]) -> Part {
    let content_type = Some(content_type).filter(|text| !text.is_empty());
    (content_type.map(str::to_owned), bytes.to_vec(), true)
}

#[test]
fn reads_a_body_as_rfc_2046_has_it_with_preamble_epilogue_padding_and_folded_headers() {
    let body = b"For old readers\r\n--b not yet\r\n--b \t\r\nContent-Type: application/dicom;\r\n \
                 transfer-syntax=1.2\r\n\r\none\r\n\r\n--b  \r\ncontent-type : x/y\r\n\r\n\r\n--bb\r\n--b--rest\r\n--b\r\n";
    // A line that begins with the boundary is a delimiter or nothing.
    assert_eq!(whole(body).1, Err(Error::BadDelimiter));
    let body = b"For old readers\r\n--b not yet\r\n--b \t\r\nContent-Type: application/dicom;\r\n \
                 transfer-syntax=1.2\r\n\r\none\r\n\r\n--b  \r\ncontent-type : x/y\r\n\r\n\r\n-b\r\n--b--rest\r\n--b\r\n";
    let expected = vec![part("application/dicom; transfer-syntax=1.2", b"one\r\n"), part("x/y", b"\r\n-b")];
    assert_eq!(whole(body), (expected, Ok(())));
}

#[test]
fn a_body_may_begin_with_a_line_end_and_end_with_its_last_hyphen() {
    assert_eq!(whole(b"\r\n--b\r\n\r\nx\r\n--b--"), (vec![part("", b"x")], Ok(())));
    assert_eq!(whole(b"--b--"), (Vec::new(), Ok(())));
    assert_eq!(
        whole(b"--b\r\n\r\n--b\r\nA: b\r\n\r\n\r\n--b--"),
        (vec![part("", b""), part("", b"")], Ok(()))
    );
}

#[test]
fn the_length_of_a_preamble_does_not_count_as_padding() {
    let body = [&b"x".repeat(MAX_PADDING)[..], b"\r\n--b\r\n\r\none\r\n--b \r\n\r\ntwo\r\n--b--"].concat();
    assert_eq!(whole(&body), (vec![part("", b"one"), part("", b"two")], Ok(())));
}

#[test]
fn line_ends_are_lf_where_the_first_delimiter_says_so_and_data_keep_their_cr() {
    let body = b"--b\nContent-Type: x/y\n\none\r\n--b\n\ntwo\n--b--\n";
    assert_eq!(whole(body), (vec![part("x/y", b"one\r"), part("", b"two")], Ok(())));
    // Where it does not, LF is data.
    assert_eq!(whole(b"--b\r\n\r\none\n--b\r\n--b--"), (vec![part("", b"one\n--b")], Ok(())));
}

#[test]
fn hazard_a_body_that_breaks_off_anywhere_is_truncated_and_its_open_part_has_not_ended() {
    let body = b"--b\r\nContent-Type: x/y\r\n\r\none\r\n--b\r\n\r\ntwo\r\n--b--";
    let second_delimiter = body.windows(7).position(|w| w == b"one\r\n--").unwrap() + 3 + "\r\n--b\r\n".len();
    for length in 0..body.len() {
        let (parts, end) = whole(&body[..length]);
        assert_eq!(end, Err(Error::Truncated), "{length}");
        let ended = parts.iter().filter(|(_, _, ended)| *ended).count();
        assert_eq!(ended, usize::from(length >= second_delimiter), "{length}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error_of_its_kind() {
    for (body, error) in [
        (&b"--b\r\nno header\r\n\r\n"[..], Error::BadHeader),
        (b"--b\r\n--b\r\n\r\n", Error::BadHeader),
        (b"--b\r\n folded: without a first line\r\n\r\n", Error::BadHeader),
        (b"--b\r\n\r\nx\r\n--bc\r\n", Error::BadDelimiter),
        (b"--b\r\n\r\nx\r\n--b-\r\n", Error::BadDelimiter),
        (b"no delimiter at all", Error::Truncated),
        (b"", Error::Truncated),
    ] {
        assert_eq!(whole(body).1, Err(error), "{:?}", String::from_utf8_lossy(body));
    }
    for boundary in ["", "a\r\n", "\u{e4}", &"x".repeat(MAX_BOUNDARY + 1)] {
        assert!(Reader::new(boundary).is_err(), "{boundary}");
    }
}

#[test]
fn hazard_endless_headers_preambles_and_padding_are_cut_off() {
    let endless_line = [b"--b\r\nA: ".to_vec(), vec![b'x'; 2 * MAX_LINE]].concat();
    let endless_fields = [b"--b\r\n".to_vec(), b"A: b\r\n".repeat(MAX_FIELDS + 1)].concat();
    let endless_field = [b"--b\r\nA: b\r\n".to_vec(), b" folded\r\n".repeat(MAX_LINE)].concat();
    let endless_preamble = b"hello\r\n".repeat(MAX_PREAMBLE);
    for body in [endless_line, endless_fields, endless_field, endless_preamble] {
        assert_eq!(read("b", &body, &[1000]).1, Err(Error::TooLong));
    }
    let padding = [b"--b\r\n\r\nx\r\n--b".to_vec(), vec![b' '; MAX_PADDING + 1]].concat();
    assert_eq!(read("b", &padding, &[10]).1, Err(Error::BadDelimiter));
}

#[test]
fn data_are_handed_out_as_they_were_pushed_and_not_copied() {
    let mut reader = Reader::new("b").unwrap();
    reader.push(Bytes::from_static(b"--b\r\n\r\n"));
    assert!(matches!(reader.next(), Ok(Some(Event::Part(_)))));
    let piece = Bytes::from(vec![b'\r'; 1000]);
    reader.push(piece.clone());
    let Ok(Some(Event::Data(data))) = reader.next() else { panic!("no data") };
    assert_eq!((data.as_ptr(), data.len()), (piece.as_ptr(), 999), "the last may begin a delimiter");
    assert_eq!(reader.next(), Ok(None));
}

/// Pieces of bodies, the ones that matter more often than chance has it.
fn soup() -> impl Strategy<Value = Vec<u8>> {
    let tokens: [&[u8]; 12] =
        [b"\r\n--b", b"--b", b"\r\n", b"\n", b"\r", b"-", b"--", b" ", b"A: b", b"\r\n\r\n", b"x", b"b"];
    prop::collection::vec(prop::sample::select(tokens.to_vec()), 0..40).prop_map(|tokens| tokens.concat())
}

proptest! {
    #[test]
    fn any_split_into_pieces_gives_the_same_parts(body in soup(), sizes in prop::collection::vec(1usize..9, 1..9)) {
        for body in [body.clone(), [b"--b\r\n\r\n", &body[..]].concat(), [b"--b\n\n", &body[..]].concat()] {
            prop_assert_eq!(read("b", &body, &sizes), whole(&body));
        }
    }

    #[test]
    fn random_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300), size in 1usize..50) {
        let _ = read("b", &body, &[size]);
    }

    #[test]
    fn what_was_written_is_read(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..100), 0..5),
        sizes in prop::collection::vec(1usize..70, 1..9),
    ) {
        let mut body = Vec::new();
        for part in &parts {
            body.extend(b"\r\n--a boundary that does not occur\r\nContent-Type: application/dicom\r\n\r\n");
            body.extend(part);
        }
        body.extend(b"\r\n--a boundary that does not occur--\r\n");
        let expected: Vec<Part> = parts.iter().map(|bytes| part("application/dicom", bytes)).collect();
        prop_assert_eq!(read("a boundary that does not occur", &body, &sizes), (expected, Ok(())));
    }
}
