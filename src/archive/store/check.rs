//! Whether what passes is the whole data set of the object that was announced.

use bytes::Bytes;
use tokio::task::yield_now;

use super::inflate::Inflate;
use super::source::Broken;
use crate::dicom::object::Head;
use crate::dicom::scan::{Event, Scanner};
use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, Layout, layout};
use crate::dicom::{Tag, Uid, tags};

/// After so many steps of inflation others get their turn: that is a megabyte.
const STEPS_A_TURN: usize = 16;

/// A walk along a data set that passes.
#[derive(Debug)]
pub(super) struct Check {
    head: Head,
    layout: Layout,
    scanner: Scanner,
    inflate: Option<Inflate>,
    depth: usize,
    /// The UID whose value is open.
    open: Option<(Tag, Vec<u8>)>,
}

impl Check {
    pub(super) fn new(head: &Head) -> Self {
        let deflated = head.transfer_syntax.as_str() == DEFLATED_EXPLICIT_VR_LE;
        let layout = layout(&head.transfer_syntax);
        Self {
            head: head.clone(),
            layout,
            scanner: Scanner::new(layout),
            inflate: deflated.then(Inflate::new),
            depth: 0,
            open: None,
        }
    }

    /// Looks at the next bytes.
    pub(super) async fn push(&mut self, bytes: Bytes) -> Result<(), Broken> {
        let Some(inflate) = &mut self.inflate else {
            self.scanner.push(bytes);
            return self.scan();
        };
        inflate.push(bytes);
        let mut steps = 0;
        while let Some(inflated) = self.inflate.as_mut().map_or(Ok(None), Inflate::next)? {
            self.scanner.push(inflated);
            self.scan()?;
            steps += 1;
            if steps % STEPS_A_TURN == 0 {
                yield_now().await;
            }
        }
        Ok(())
    }

    /// No more bytes come.
    pub(super) fn finish(self) -> Result<(), Broken> {
        let deflated = self.inflate.is_some();
        if self.inflate.is_some_and(|inflate| !inflate.has_ended()) {
            return Err(Broken::Deflation);
        }
        let odd = self.scanner.position() % 2 == 1 && !deflated;
        self.scanner.finish().map_err(Broken::Structure)?;
        if odd { Err(Broken::OddLength) } else { Ok(()) }
    }

    fn scan(&mut self) -> Result<(), Broken> {
        while let Some(event) = self.scanner.next().map_err(Broken::Structure)? {
            match event {
                // Archives built on DCMTK wait for ever for the rest of a data set that has no VRs and should.
                Event::Element(header) if self.depth == 0 && header.layout != self.layout => {
                    return Err(Broken::NotItsSyntax(header.tag));
                }
                Event::Element(header) => {
                    if self.depth == 0 && [tags::SOP_CLASS_UID, tags::SOP_INSTANCE_UID].contains(&header.tag)
                    {
                        self.open = Some((header.tag, Vec::new()));
                    }
                    self.depth += 1;
                }
                Event::Value(piece) => {
                    if let Some((_, value)) = &mut self.open {
                        // A longer one is no UID, and needs not be held to be seen as such.
                        let room = (Uid::MAX_LENGTH + 2).saturating_sub(value.len());
                        value.extend_from_slice(&piece[..piece.len().min(room)]);
                    }
                }
                Event::ElementEnd => {
                    self.depth -= 1;
                    if let Some((tag, value)) = self.open.take() {
                        self.compare(tag, &value)?;
                    }
                }
                Event::Item(_) | Event::Fragment(_) | Event::ItemEnd | Event::FragmentEnd => {}
            }
        }
        Ok(())
    }

    fn compare(&self, tag: Tag, value: &[u8]) -> Result<(), Broken> {
        let announced =
            if tag == tags::SOP_CLASS_UID { &self.head.sop_class } else { &self.head.sop_instance };
        match Uid::from_padded(value) {
            Ok(uid) if uid == *announced => Ok(()),
            _ => Err(Broken::OtherUid(tag)),
        }
    }
}
