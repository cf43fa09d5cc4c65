use proptest::prelude::*;

use super::*;

mod deflated;
mod skipping;

const LAYOUTS: [Layout; 3] = [Layout::ImplicitLe, Layout::ExplicitLe, Layout::ExplicitBe];

/// The bytes as Deflated Explicit VR Little Endian has them.
pub(crate) fn deflated(plain: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}

/// Walks over the bytes in pieces of `size`. Pieces of values are joined, so that results can be compared.
fn walk(layout: Layout, bytes: &[u8], size: usize) -> (Vec<Event>, Result<(), Error>) {
    walk_with(Scanner::new(layout), bytes, size)
}

fn walk_with(mut scanner: Scanner, bytes: &[u8], size: usize) -> (Vec<Event>, Result<(), Error>) {
    let mut events: Vec<Event> = Vec::new();
    for piece in bytes.chunks(size) {
        scanner.push(Bytes::copy_from_slice(piece));
        loop {
            match (scanner.next(), events.last_mut()) {
                (Ok(None), _) => break,
                (Ok(Some(Event::Value(more))), Some(Event::Value(value))) => {
                    *value = [&value[..], &more[..]].concat().into();
                }
                (Ok(Some(event)), _) => events.push(event),
                (Err(error), _) => return (events, Err(error)),
            }
        }
    }
    (events, scanner.finish())
}

/// The walk in short: `(gggg,eeee)VR` for elements, `[` `]` for items, `<` `>` for fragments, `.` at the end of
/// an element, and values as they are.
fn outline(layout: Layout, bytes: &[u8]) -> Result<String, ErrorKind> {
    let (events, end) = walk(layout, bytes, usize::MAX);
    end.map_err(|e| e.kind)?;
    Ok(events
        .iter()
        .map(|event| match event {
            Event::Element(h) => format!("{}{}", h.tag, h.vr),
            Event::Value(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Event::Item(_) => "[".into(),
            Event::ItemEnd => "]".into(),
            Event::Fragment(_) => "<".into(),
            Event::FragmentEnd => ">".into(),
            Event::ElementEnd => ".".into(),
        })
        .collect())
}

fn explicit(parts: &[&[u8]]) -> Result<String, ErrorKind> {
    outline(Layout::ExplicitLe, &parts.concat())
}

const SEQUENCE: &[u8] = b"\x08\x00\x32\x10SQ\0\0\xFF\xFF\xFF\xFF";
const ITEM_OPEN: &[u8] = b"\xFE\xFF\x00\xE0\xFF\xFF\xFF\xFF";
const ITEM_END: &[u8] = b"\xFE\xFF\x0D\xE0\0\0\0\0";
const SEQUENCE_END: &[u8] = b"\xFE\xFF\xDD\xE0\0\0\0\0";
const CODE: &[u8] = b"\x08\x00\x00\x01SH\x02\x00A1";

#[test]
fn headers_tell_where_everything_stands() {
    let bytes = [CODE, b"\x08\x00\x04\x01UT\0\0\x03\0\0\0abc"].concat();
    let (events, end) = walk(Layout::ExplicitLe, &bytes, 1);
    assert_eq!(end, Ok(()));
    let Event::Element(second) = &events[3] else { panic!("{events:?}") };
    assert_eq!((second.tag, second.vr, second.length), (Tag(0x0008, 0x0104), VR::UT, Some(3)));
    assert_eq!((second.offset, second.value_offset), (10, 22));
    assert_eq!(events[4], Event::Value(Bytes::from_static(b"abc")));
}

#[test]
fn defined_and_undefined_lengths_tell_the_same() {
    let undefined = explicit(&[SEQUENCE, ITEM_OPEN, CODE, ITEM_END, ITEM_OPEN, ITEM_END, SEQUENCE_END, CODE]);
    let defined = explicit(&[
        b"\x08\x00\x32\x10SQ\0\0\x1A\0\0\0",
        b"\xFE\xFF\x00\xE0\x0A\0\0\0",
        CODE,
        b"\xFE\xFF\x00\xE0\0\0\0\0",
        CODE,
    ]);
    assert_eq!(undefined, defined);
    assert_eq!(undefined.unwrap(), "(0008,1032)SQ[(0008,0100)SHA1.][].(0008,0100)SHA1.");
}

#[test]
fn un_of_undefined_length_is_a_sequence_in_implicit_vr() {
    let inside = b"\x08\x00\x00\x01\x02\0\0\0A1";
    let outline = explicit(&[
        b"\x09\x00\x01\x10UN\0\0\xFF\xFF\xFF\xFF",
        ITEM_OPEN,
        inside,
        ITEM_END,
        SEQUENCE_END,
        CODE,
    ]);
    assert_eq!(outline.unwrap(), "(0009,1001)UN[(0008,0100)SHA1.].(0008,0100)SHA1.");
}

#[test]
fn an_unknown_vr_fails_nothing() {
    let future = b"\x09\x00\x01\x10ZZ\0\0\x02\0\0\0xx";
    let none = b"\x09\x00\x02\x10??\x02\x00yy";
    assert_eq!(explicit(&[future, none, CODE]).unwrap(), "(0009,1001)UNxx.(0009,1002)UNyy.(0008,0100)SHA1.");
}

#[test]
fn an_element_without_vr_under_an_explicit_syntax_fails_nothing() {
    let implicit = b"\x08\x00\x60\x00\x02\0\0\0CT";
    let sequence = b"\x08\x00\x32\x10\x12\0\0\0\xFE\xFF\x00\xE0\x0A\0\0\0\x08\x00\x00\x01\x02\0\0\0A1";
    assert_eq!(
        explicit(&[implicit, sequence, CODE]).unwrap(),
        "(0008,0060)CSCT.(0008,1032)SQ[(0008,0100)SHA1.].(0008,0100)SHA1."
    );
}

#[test]
fn fragments_are_told_one_by_one() {
    let outline = explicit(&[
        b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF",
        b"\xFE\xFF\x00\xE0\0\0\0\0",
        b"\xFE\xFF\x00\xE0\x02\0\0\0ab",
        SEQUENCE_END,
    ]);
    assert_eq!(outline.unwrap(), "(7FE0,0010)OB<><ab>.");
}

#[test]
fn a_sequence_that_holds_no_items_is_a_value() {
    assert_eq!(
        explicit(&[b"\x08\x00\x32\x10SQ\0\0\x08\0\0\0no items", b"\x08\x00\x32\x10SQ\0\0\x02\0\0\0no", CODE])
            .unwrap(),
        "(0008,1032)UNno items.(0008,1032)UNno.(0008,0100)SHA1."
    );
}

#[test]
fn delimiters_that_close_nothing_are_passed_over() {
    let outline = explicit(&[
        b"\x08\x00\x32\x10SQ\0\0\x22\0\0\0",
        b"\xFE\xFF\x00\xE0\x12\0\0\0",
        CODE,
        ITEM_END,
        SEQUENCE_END,
        CODE,
    ]);
    assert_eq!(outline.unwrap(), "(0008,1032)SQ[(0008,0100)SHA1.].(0008,0100)SHA1.");
}

#[test]
fn lengths_that_contradict_each_other_are_errors() {
    let overrun = explicit(&[b"\x08\x00\x32\x10SQ\0\0\x10\0\0\0", b"\xFE\xFF\x00\xE0\x0A\0\0\0", CODE]);
    assert_eq!(overrun, Err(ErrorKind::Overrun));
    let overrun = explicit(&[SEQUENCE, b"\xFE\xFF\x00\xE0\x09\0\0\0", CODE, SEQUENCE_END]);
    assert_eq!(overrun, Err(ErrorKind::Overrun));
    assert_eq!(explicit(&[SEQUENCE, CODE]), Err(ErrorKind::NotAnItem));
    assert_eq!(explicit(&[ITEM_OPEN, CODE]), Err(ErrorKind::NotAnElement));
    assert_eq!(explicit(&[b"\x08\x00\x04\x01UT\0\0\xFF\xFF\xFF\xFF"]), Err(ErrorKind::UndefinedLength));
}

#[test]
fn errors_say_where() {
    let (_, end) = walk(Layout::ExplicitLe, &[CODE, SEQUENCE, CODE].concat(), usize::MAX);
    let error = end.unwrap_err();
    assert_eq!((error.offset, error.tag), (22, Tag(0x0008, 0x0100)));
    assert_eq!(error.to_string(), "an item was expected, at byte 22 of the data set, at (0008,0100)");
}

#[test]
fn whatever_breaks_off_is_truncated() {
    let bytes =
        [SEQUENCE, ITEM_OPEN, CODE, ITEM_END, SEQUENCE_END, b"\x08\x00\x04\x01UT\0\0\x03\0\0\0abc"].concat();
    let mut whole = 0;
    for end in 0..=bytes.len() {
        match walk(Layout::ExplicitLe, &bytes[..end], 7).1 {
            Ok(()) => whole += 1,
            Err(error) => assert_eq!(error.kind, ErrorKind::Truncated, "{end}"),
        }
    }
    assert_eq!(whole, 3, "only where no element is cut: nothing, the sequence, everything");
}

#[test]
fn nesting_1800_deep_is_refused_and_max_depth_is_not() {
    let nested = |depth: usize| {
        let open = [SEQUENCE, ITEM_OPEN].concat().repeat(depth);
        let close = [ITEM_END, SEQUENCE_END].concat().repeat(depth);
        outline(Layout::ExplicitLe, &[open, close].concat()).err()
    };
    assert_eq!(nested(MAX_DEPTH), None);
    assert_eq!(nested(MAX_DEPTH + 1), Some(ErrorKind::TooDeep));
    assert_eq!(nested(1800), Some(ErrorKind::TooDeep));
}

#[test]
fn a_declared_length_of_2_gib_with_3_bytes_present_allocates_nothing() {
    let bytes = Bytes::from_static(b"\x10\x00\x20\x40UT\0\0\0\0\0\x80abc");
    let mut scanner = Scanner::new(Layout::ExplicitLe);
    scanner.push(bytes.clone());
    assert!(matches!(
        scanner.next(),
        Ok(Some(Event::Element(ElementHeader { length: Some(0x8000_0000), .. })))
    ));
    let Ok(Some(Event::Value(value))) = scanner.next() else { panic!("no value") };
    assert_eq!(value.as_ptr(), bytes[12..].as_ptr(), "a slice of what came");
    assert_eq!(scanner.next(), Ok(None));
    assert_eq!(scanner.finish().map_err(|e| e.kind), Err(ErrorKind::Truncated));
}

#[test]
fn skipping_costs_no_time() {
    const PIECES: u32 = 1 << 14;
    let piece = Bytes::from(vec![0; 128 * 1024]);
    let mut scanner = Scanner::new(Layout::ExplicitLe);
    let begun = std::time::Instant::now();
    let header = [&b"\xE0\x7F\x10\x00OB\0\0"[..], &(PIECES * 128 * 1024 - 2).to_le_bytes()].concat();
    scanner.push(header.into());
    for _ in 0..PIECES {
        while scanner.next().unwrap().is_some() {}
        scanner.push(piece.clone());
    }
    assert!(begun.elapsed().as_secs_f64() < 1.0, "2 GiB in {:?}", begun.elapsed());
}

/// Bytes that look like a data set more often than by chance.
fn likely_bytes() -> impl Strategy<Value = Vec<u8>> {
    let parts: Vec<&[u8]> =
        vec![SEQUENCE, ITEM_OPEN, ITEM_END, SEQUENCE_END, CODE, b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF"];
    let part = prop_oneof![
        4 => prop::sample::select(parts).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn any_bytes_in_pieces_of_any_size_tell_the_same(
        bytes in likely_bytes(),
        layout in prop::sample::select(LAYOUTS.to_vec()),
        size in 1_usize..40,
    ) {
        prop_assert_eq!(walk(layout, &bytes, size), walk(layout, &bytes, usize::MAX));
    }

    #[test]
    fn events_are_well_nested(bytes in likely_bytes(), layout in prop::sample::select(LAYOUTS.to_vec())) {
        let (events, end) = walk(layout, &bytes, usize::MAX);
        let mut open = Vec::new();
        for event in events {
            match event {
                Event::Element(_) => open.push(Event::ElementEnd),
                Event::Item(_) => open.push(Event::ItemEnd),
                Event::Fragment(_) => open.push(Event::FragmentEnd),
                Event::Value(_) => prop_assert!(!open.is_empty()),
                end => prop_assert_eq!(open.pop(), Some(end)),
            }
        }
        prop_assert!(end.is_err() || open.is_empty());
    }
}
