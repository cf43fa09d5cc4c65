//! Passing over what nobody wants.

use super::*;

/// The events when every element, item or fragment that `unwanted` picks is passed over.
fn skip_if(
    layout: Layout,
    bytes: &[u8],
    size: usize,
    unwanted: impl Fn(&Event) -> bool,
) -> (Vec<Event>, Result<(), Error>) {
    let mut events = Vec::new();
    let mut scanner = Scanner::new(layout);
    for piece in bytes.chunks(size) {
        scanner.push(Bytes::copy_from_slice(piece));
        loop {
            match scanner.next() {
                Ok(None) => break,
                Ok(Some(event)) => {
                    if unwanted(&event) {
                        scanner.skip();
                    }
                    events.push(event);
                }
                Err(error) => return (events, Err(error)),
            }
        }
    }
    (events, scanner.finish())
}

const DEFINED: &[u8] =
    b"\x08\x00\x32\x10SQ\0\0\x12\0\0\0\xFE\xFF\x00\xE0\x0A\0\0\0\x08\x00\x00\x01SH\x02\x00A1";

#[test]
fn what_follows_a_skipped_element_comes_next() {
    let bytes =
        [DEFINED, SEQUENCE, ITEM_OPEN, DEFINED, CODE, ITEM_END, ITEM_OPEN, ITEM_END, SEQUENCE_END, CODE]
            .concat();
    for size in [1, 3, usize::MAX] {
        let (events, end) =
            skip_if(Layout::ExplicitLe, &bytes, size, |event| matches!(event, Event::Element(_)));
        assert_eq!(end, Ok(()));
        let offsets: Vec<_> = events
            .iter()
            .map(|event| match event {
                Event::Element(header) => header.offset,
                _ => panic!("{event:?}"),
            })
            .collect();
        assert_eq!(offsets, [0, DEFINED.len() as u64, (bytes.len() - CODE.len()) as u64]);
    }
}

#[test]
fn items_and_fragments_are_skipped_one_by_one() {
    let items = [SEQUENCE, ITEM_OPEN, DEFINED, ITEM_END, &DEFINED[12..], ITEM_OPEN, ITEM_END, SEQUENCE_END];
    let fragments: [&[u8]; 4] = [
        b"\xE0\x7F\x10\x00OB\0\0\xFF\xFF\xFF\xFF",
        b"\xFE\xFF\x00\xE0\0\0\0\0",
        b"\xFE\xFF\x00\xE0\x02\0\0\0ab",
        SEQUENCE_END,
    ];
    let bytes = [items.concat(), fragments.concat()].concat();
    for size in [1, usize::MAX] {
        let (events, end) = skip_if(Layout::ExplicitLe, &bytes, size, |event| {
            matches!(event, Event::Item(_) | Event::Fragment(_))
        });
        assert_eq!(end, Ok(()));
        let outline: String = events
            .iter()
            .map(|event| match event {
                Event::Element(_) => '(',
                Event::Item(_) => 'i',
                Event::Fragment(_) => 'f',
                Event::ElementEnd => ')',
                _ => panic!("{event:?}"),
            })
            .collect();
        assert_eq!(outline, "(iii)(ff)");
    }
}

#[test]
fn hazard_a_skipped_value_that_breaks_off_is_truncated() {
    let bytes = b"\x10\x00\x20\x40UT\0\0\0\0\0\x80abc";
    let (events, end) = skip_if(Layout::ExplicitLe, bytes, usize::MAX, |_| true);
    assert_eq!(events.len(), 1);
    assert_eq!(end.map_err(|e| e.kind), Err(ErrorKind::Truncated));
}

proptest! {
    #[test]
    fn skipping_and_walking_lead_to_the_same_elements(
        bytes in likely_bytes(),
        layout in prop::sample::select(LAYOUTS.to_vec()),
        size in 1_usize..40,
    ) {
        let (events, end) = walk(layout, &bytes, usize::MAX);
        let mut depth = 0;
        let mut outermost = Vec::new();
        for event in events {
            match event {
                Event::Element(_) => {
                    if depth == 0 {
                        outermost.push(event);
                    }
                    depth += 1;
                }
                Event::ElementEnd => depth -= 1,
                _ => {}
            }
        }
        let skipped = skip_if(layout, &bytes, size, |_| true);
        if end.is_ok() {
            prop_assert_eq!(skipped, (outermost, end));
        } else {
            prop_assert!(skipped.0.starts_with(&outermost));
        }
    }
}
