//! The walk: no panic, events well nested, positions ascending, in pieces of any size.

#![no_main]

use bytes::Bytes;
use gantry::dicom::scan::{Event, Scanner};
use gantry::dicom::transfer_syntax::Layout;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((choice, bytes)) = data.split_first() else { return };
    let layout = [Layout::ImplicitLe, Layout::ExplicitLe, Layout::ExplicitBe][usize::from(choice % 3)];
    let mut scanner = Scanner::new(layout);
    let mut open = Vec::new();
    for piece in bytes.chunks(usize::from(choice / 3) + 1) {
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
});
