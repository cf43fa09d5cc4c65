//! What comes off a DIMSE connection: frames, association PDUs, messages. No panic, frames are bounded, the size of the pieces
//! changes nothing, and what was read can be written.

use std::io::Cursor;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use gantry::dicom::Uid;
use gantry::dimse::association::{Association, Event, Request, Requested};
use gantry::dimse::command::Command;
use gantry::dimse::negotiation::{self, Answer, Proposal};
use gantry::dimse::pdu::{self, AssociateAc, AssociateRq, UserInformation};
use gantry::dimse::wire::{Frame, FrameReader};
use tokio::io::{AsyncRead, ReadBuf, join, sink};
use tokio::time::Instant;

/// Longer than anything takes.
const LONG: Duration = Duration::from_secs(60);
/// What is proposed to an acceptor that answers with an input.
const CLASSES: [&str; 4] = [
    "1.2.840.10008.1.1",
    "1.2.840.10008.5.1.4.1.2.2.1",
    "1.2.840.10008.5.1.4.1.2.2.3",
    "1.2.840.10008.5.1.4.1.1.2",
];

/// Runs the target on one input.
pub(crate) fn run(data: &[u8]) {
    if let Ok(rq) = pdu::decode_associate_rq(data) {
        answer(&rq);
    }
    if let Ok(ac) = pdu::decode_associate_ac(data) {
        let _ = negotiation::agreed_by_requestor(&request(), ac);
    }
    let _ = pdu::decode_associate_rj(data);
    let _ = Command::decode(data);
    let whole = frames(data, data.len().max(1));
    let in_pieces = frames(data, 1 + data.len() % 7);
    assert_eq!(in_pieces, whole, "the size of the pieces changes what is read");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(converse(data));
}

/// Answers a request, in all it asks for.
fn answer(rq: &AssociateRq) {
    assert_eq!(
        pdu::decode_associate_rq(&pdu::encode_associate_rq(rq)[6..]).map(|again| again.user),
        Ok(rq.user.clone())
    );
    let answer = Answer::new(rq, |_, syntaxes| syntaxes.first().cloned().ok_or(4), |_| true);
    let user = UserInformation { roles: answer.roles, ..rq.user.clone() };
    pdu::encode_associate_ac(&AssociateAc { contexts: Vec::new(), user }, rq);
}

/// The frames of what is there: those that follow each other in one message are one.
fn frames(data: &[u8], size: usize) -> Vec<(u8, u8, Vec<u8>)> {
    let mut io = pin!(Pieces { left: data, size });
    let mut reader = FrameReader::default();
    let mut context = Context::from_waker(Waker::noop());
    let mut frames: Vec<(u8, u8, Vec<u8>)> = Vec::new();
    let (mut passed, mut goes_on) = (0, false);
    // A slice is always ready: it ends with an error, that of its end at the latest.
    while let Poll::Ready(Ok(frame)) = reader.poll_frame(&mut io, &mut context) {
        let (of, kind, bytes, ends) = match frame {
            Frame::Fragment { context, command, last, bytes } => (context, u8::from(command), bytes, last),
            Frame::Control(kind, bytes) => (0, kind, bytes, true),
        };
        passed += bytes.len();
        assert!(passed <= data.len());
        match frames.last_mut() {
            Some((context, known, gathered)) if goes_on && *context == of && *known == kind => {
                gathered.extend(bytes);
            }
            _ => frames.push((of, kind, bytes.to_vec())),
        }
        goes_on = !ends;
    }
    frames
}

/// Both ends of an association, each before a peer that says this.
async fn converse(data: &[u8]) {
    let deadline = || Instant::now() + LONG;
    let io = || join(Cursor::new(data.to_vec()), sink());
    if let Ok(requested) = Requested::read(io(), deadline()).await {
        let decide = |_: &Uid, syntaxes: &[Uid]| syntaxes.first().cloned().ok_or(4);
        if let Ok(association) = requested.accept(decide, |_| true, deadline()).await {
            listen(association, data.len()).await;
        }
    }
    let request = Request {
        called: "PACS".parse().expect("an AE title"),
        calling: "GANTRY".parse().expect("an AE title"),
        proposals: proposals(),
        extended: Vec::new(),
        roles: Vec::new(),
    };
    if let Ok(association) = Association::request(io(), &request, deadline()).await {
        listen(association, data.len()).await;
    }
}

/// Takes what comes.
async fn listen(mut association: Association, most: usize) {
    let mut passed = 0;
    while let Ok(event) = association.event().await {
        match event {
            Event::Data { bytes, .. } => passed += bytes.len(),
            Event::Command { .. } => {}
            Event::ReleaseRequested => return association.confirm_release(Instant::now() + LONG).await,
        }
        assert!(passed <= most);
    }
    association.release(Instant::now() + LONG).await;
}

fn request() -> AssociateRq {
    AssociateRq {
        version: pdu::PROTOCOL_VERSION,
        called: "PACS".parse().expect("an AE title"),
        calling: "GANTRY".parse().expect("an AE title"),
        application_context: pdu::APPLICATION_CONTEXT.into(),
        contexts: negotiation::number(&proposals()),
        user: UserInformation { roles: negotiation::roles(&proposals()), ..UserInformation::default() },
    }
}

fn proposals() -> Vec<Proposal> {
    let proposal = |class| Proposal {
        abstract_syntax: Uid::from_static(class),
        transfer_syntaxes: ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1"].map(Uid::from_static).to_vec(),
        as_scp: class == CLASSES[3],
    };
    CLASSES.map(proposal).to_vec()
}

/// Bytes that come a few at a time.
struct Pieces<'a> {
    left: &'a [u8],
    size: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let length = self.left.len().min(self.size).min(into.remaining());
        let (piece, left) = self.left.split_at(length);
        into.put_slice(piece);
        self.left = left;
        Poll::Ready(Ok(()))
    }
}
