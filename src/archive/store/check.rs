//! Whether what passes is the whole data set of the object that was announced.

use bytes::Bytes;
use tokio::task::yield_now;

use super::broken::Broken;
use crate::dicom::head::OpenValue;
use crate::dicom::object::Head;
use crate::dicom::scan::{Event, Scanner};
use crate::dicom::tags;
use crate::dicom::transfer_syntax::{DEFLATED_EXPLICIT_VR_LE, Layout, layout};

/// How far the walk over a deflated data set goes, in inflated bytes, before others get their turn: a small piece
/// may swell to hundreds of megabytes.
const TURN: u64 = 1 << 20;

/// A walk along a data set that passes.
#[derive(Debug)]
pub(super) struct Check {
    head: Head,
    layout: Layout,
    scanner: Scanner,
    depth: usize,
    /// The UID whose value is open.
    open: Option<OpenValue>,
    /// Where others get their turn; `None`: it is not deflated.
    turn: Option<u64>,
}

impl Check {
    pub(super) fn new(head: &Head) -> Self {
        let syntax = &head.transfer_syntax;
        Self {
            head: head.clone(),
            layout: layout(syntax),
            scanner: Scanner::for_transfer_syntax(syntax),
            depth: 0,
            open: None,
            turn: (syntax.as_str() == DEFLATED_EXPLICIT_VR_LE).then_some(TURN),
        }
    }

    /// Looks at the next bytes.
    pub(super) async fn push(&mut self, bytes: Bytes) -> Result<(), Broken> {
        self.scanner.push(bytes);
        while let Some(event) = self.scanner.next()? {
            self.look_at(event)?;
            let position = self.scanner.position();
            if self.turn.is_some_and(|turn| turn <= position) {
                self.turn = Some(position + TURN);
                yield_now().await;
            }
        }
        Ok(())
    }

    /// No more bytes come.
    pub(super) fn finish(self) -> Result<(), Broken> {
        // A deflated one may be padded (PS3.5 A.5).
        let odd = self.turn.is_none() && self.scanner.position() % 2 == 1;
        self.scanner.finish()?;
        if odd { Err(Broken::OddLength) } else { Ok(()) }
    }

    fn look_at(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            // Archives built on DCMTK wait for ever for the rest of a data set that has no VRs and should.
            Event::Element(header) if self.depth == 0 && header.layout != self.layout => {
                return Err(Broken::NotItsSyntax(header.tag));
            }
            Event::Element(header) => {
                let is_uid = [tags::SOP_CLASS_UID, tags::SOP_INSTANCE_UID].contains(&header.tag);
                if self.depth == 0 && is_uid {
                    self.open = Some(OpenValue::new(header.tag));
                }
                self.depth += 1;
            }
            Event::Value(piece) => {
                if let Some(open) = &mut self.open {
                    open.push(&piece);
                }
            }
            Event::ElementEnd => {
                self.depth -= 1;
                if let Some(open) = self.open.take() {
                    self.compare(&open)?;
                }
            }
            Event::Item(_) | Event::Fragment(_) | Event::ItemEnd | Event::FragmentEnd => {}
        }
        Ok(())
    }

    fn compare(&self, open: &OpenValue) -> Result<(), Broken> {
        let of_class = open.tag == tags::SOP_CLASS_UID;
        let announced = if of_class { &self.head.sop_class } else { &self.head.sop_instance };
        if open.uid().as_ref() == Some(announced) { Ok(()) } else { Err(Broken::OtherUid(open.tag)) }
    }
}
