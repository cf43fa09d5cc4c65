//! The walk: no panic, events well nested, positions ascending, in pieces of any size, walked
//! through or skipped.

use bytes::Bytes;
use gantry::dicom::Uid;
use gantry::dicom::scan::{Event, Scanner};
use gantry::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, Layout};

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    let Some((choice, bytes)) = data.split_first() else { return };
    let mut scanner = match choice % 4 {
        0 => Scanner::new(Layout::ImplicitLe),
        1 => Scanner::new(Layout::ExplicitLe),
        2 => Scanner::new(Layout::ExplicitBe),
        _ => Scanner::for_transfer_syntax(&Uid::from_static(DEFLATED_EXPLICIT_VR_LE)),
    };
    let skips = choice / 4 % 2 == 1;
    let mut open = Vec::new();
    for piece in bytes.chunks(usize::from(choice / 8) + 1) {
        scanner.push(Bytes::copy_from_slice(piece));
        loop {
            let before = scanner.position();
            let event = match scanner.next() {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(_) => return,
            };
            assert!(before <= scanner.position());
            match event {
                // Every other element or so.
                Event::Element(header) if skips && header.tag.element() % 2 == 0 => scanner.skip(),
                Event::Element(_) => open.push(Event::ElementEnd),
                Event::Item(_) => open.push(Event::ItemEnd),
                Event::Fragment(_) => open.push(Event::FragmentEnd),
                Event::Value(value) => assert!(!value.is_empty() && !open.is_empty()),
                end => assert_eq!(open.pop(), Some(end)),
            }
        }
    }
    if scanner.finish().is_ok() {
        assert!(open.is_empty());
    }
}
