//! An archive in memory that does what the bytes of an input say, on whichever associations are opened to it.
//!
//! Bytes that nobody has used yet say what follows a request: its low four bits what is sent, the others of what. When they
//! are used up, every request is answered with success.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use gantry::dicom::charset::QueryCharset;
use gantry::dicom::dataset::DataSet;
use gantry::dicom::transfer_syntax::layout;
use gantry::dicom::{Uid, VR, tags};
use gantry::dimse::association::{Association, Event, Io, Requested};
use gantry::dimse::command::{Command, field};
use gantry::dimse::negotiation::AcceptedContext;
use gantry::dimse::pdu::AssociateRj;
use gantry::dimse::pool::Connect;
use tokio::io::{DuplexStream, duplex};
use tokio::time::{Instant, timeout};

/// The study that is asked for; the other one is somebody else's.
pub(crate) const STUDIES: [&str; 2] = ["1.1", "1.2"];
/// CT, Secondary Capture, a PDF, and what is no storage class.
const CLASSES: [&str; 4] = [
    "1.2.840.10008.5.1.4.1.1.2",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.104.1",
    "1.2.840.10008.1.1",
];
/// Success, warnings, failures, and what means nothing.
const STATUSES: [u16; 16] = [
    0, 0xFE00, 0xA700, 0xA701, 0xA702, 0xA801, 0xA900, 0xB000, 0xB007, 0xC000, 0xC001, 0x0110, 0x0122,
    0x0124, 0x0001, 0xFFFF,
];
/// Longer than any operation.
const LONG: Duration = Duration::from_secs(3600);

/// What the archive does next on an association.
enum Next {
    Request,
    Confirm,
    Release,
    Abort,
    Close,
}

/// The archive.
pub(crate) struct Peer {
    script: Mutex<VecDeque<u8>>,
    /// How it answers association requests.
    accepts: u8,
    /// Connections that it has open.
    open: AtomicUsize,
    /// Pending responses that it has sent.
    pending: AtomicUsize,
    /// Final responses with success.
    successes: AtomicUsize,
    /// Objects that it has sent whole: SOP Instance UID as the request has it, and the bytes.
    objects: Mutex<Vec<(Uid, Bytes)>>,
}

impl Peer {
    /// One that does this; `accepts` says how it answers association requests.
    pub(crate) fn new(accepts: u8, script: &[u8]) -> Arc<Self> {
        let script = Mutex::new(script.iter().copied().collect());
        let (open, pending, successes, objects) = Default::default();
        Arc::new(Self { script, accepts, open, pending, successes, objects })
    }

    /// Connects to it.
    pub(crate) fn connector(self: &Arc<Self>) -> Connect {
        let peer = Arc::clone(self);
        Arc::new(move |_| {
            let peer = Arc::clone(&peer);
            Box::pin(async move {
                let (ours, theirs) = duplex(1 << 16);
                peer.open.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    peer.serve(theirs).await;
                    peer.open.fetch_sub(1, Ordering::SeqCst);
                });
                Ok(Box::new(ours) as Box<dyn Io>)
            })
        })
    }

    /// Connections that it has open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// How many pending responses, and how many final ones with success, it has sent.
    pub(crate) fn responses(&self) -> (usize, usize) {
        (self.pending.load(Ordering::SeqCst), self.successes.load(Ordering::SeqCst))
    }

    /// The objects that it has sent whole.
    pub(crate) fn objects(&self) -> MutexGuard<'_, Vec<(Uid, Bytes)>> {
        self.objects.lock().expect("no code panics while it holds this lock")
    }

    fn byte(&self) -> Option<u8> {
        self.script.lock().expect("no code panics while it holds this lock").pop_front()
    }

    /// A length, and so many bytes.
    fn bytes(&self) -> Bytes {
        let length = self.byte().unwrap_or(0);
        (0..length).map_while(|_| self.byte()).collect()
    }

    async fn serve(&self, io: DuplexStream) -> Option<()> {
        let deadline = || Instant::now() + LONG;
        let requested = Requested::read(io, deadline()).await.ok()?;
        if self.accepts & 0xF0 == 0xF0 {
            let rj = AssociateRj { result: 1 + (self.accepts & 1), source: 1, reason: self.accepts & 0x0F };
            requested.reject(rj, deadline()).await;
            return None;
        }
        let decide = |class: &Uid, syntaxes: &[Uid]| match self.accepts & 3 {
            0 => syntaxes.first().cloned().ok_or(4),
            1 => syntaxes.last().cloned().ok_or(4),
            // No C-GET.
            2 if class.as_str().ends_with(".3") => Err(3),
            2 => syntaxes.first().cloned().ok_or(4),
            _ => syntaxes.iter().find(|one| one.as_str() == "1.2.840.10008.1.2").cloned().ok_or(4),
        };
        let grants = |_: &Uid| self.accepts & 4 == 0;
        let mut association = requested.accept(decide, grants, deadline()).await.ok()?;
        loop {
            let (context, request) = match association.event().await.ok()? {
                Event::Command { context, command } => (context, command),
                Event::Data { .. } => continue,
                Event::ReleaseRequested => break,
            };
            let mut is_whole = !request.has_data_set;
            while !is_whole {
                let Event::Data { last, .. } = association.event().await.ok()? else { return None };
                is_whole = last;
            }
            if request.is_response() || request.field == field::C_CANCEL_RQ {
                continue;
            }
            match self.answer(&mut association, context, &request).await? {
                Next::Request => {}
                Next::Confirm => break,
                Next::Release => {
                    association.release(deadline()).await;
                    return None;
                }
                Next::Abort => {
                    association.abort().await;
                    return None;
                }
                Next::Close => return None,
            }
        }
        association.confirm_release(deadline()).await;
        None
    }

    /// Does what the script says, to the final response or whatever else comes last.
    async fn answer(&self, association: &mut Association, context: u8, request: &Command) -> Option<Next> {
        let mut counters = [None; 4];
        loop {
            let Some(byte) = self.byte() else {
                self.end(association, context, Command { ..request.response(0) });
                return Some(Next::Request);
            };
            let n = byte >> 4;
            let count = |command: Command| {
                let [remaining, completed, failed, warning] = counters;
                Command { remaining, completed, failed, warning, ..command }
            };
            let pending = || count(request.response(if n & 8 == 0 { 0xFF00 } else { 0xFF01 }));
            match byte & 0x0F {
                0..=2 => {
                    let entity = entity(n, self.byte().unwrap_or(0));
                    self.pend(association, context, pending(), Some(encoded(association, context, &entity)));
                }
                3 => self.pend(association, context, pending(), Some(self.bytes())),
                4 | 5 => self.store(association, n, None),
                6 => self.store(association, n, Some(self.bytes())),
                7 => {
                    let status = STATUSES[usize::from(n)];
                    self.end(association, context, count(request.response(status)));
                    return Some(Next::Request);
                }
                8 => match timeout(Duration::from_millis(100 << n), association.event()).await {
                    Ok(Err(_)) => return None,
                    Ok(Ok(Event::ReleaseRequested)) => return Some(Next::Confirm),
                    Ok(Ok(_)) | Err(_) => {}
                },
                9 => counters = [0; 4].map(|_: u8| self.byte().map(u16::from)),
                10 => {
                    // One that is not odd at all would be a success that nobody counts.
                    let n = if n < 2 { n | 2 } else { n };
                    let mut odd = request.response(if n & 1 == 0 { 0 } else { 0xFF00 });
                    odd.message_id = odd.message_id.wrapping_add(u16::from(n >> 1 & 1));
                    odd.field ^= u16::from(n >> 2 & 1);
                    association.send(if n & 8 == 0 { context } else { context + 2 }, &odd, None);
                }
                11 => self.report(association, n),
                12 => return Some(Next::Request),
                13 => return Some(Next::Release),
                14 => return Some(if n < 8 { Next::Abort } else { Next::Close }),
                _ => self.pend(association, context, pending(), None),
            }
            association.flush().await.ok()?;
        }
    }

    fn pend(&self, association: &mut Association, context: u8, mut pending: Command, data: Option<Bytes>) {
        self.pending.fetch_add(1, Ordering::SeqCst);
        pending.has_data_set = data.is_some();
        association.send(context, &pending, data);
    }

    fn end(&self, association: &mut Association, context: u8, response: Command) {
        // The other one leaves no match out.
        if matches!(response.status, Some(0 | 1)) {
            self.successes.fetch_add(1, Ordering::SeqCst);
        }
        association.send(context, &response, None);
    }

    /// Sends an object on the first context that there is for one.
    fn store(&self, association: &mut Association, n: u8, raw: Option<Bytes>) {
        let odd = self.byte().unwrap_or(0);
        let class = CLASSES[usize::from(odd >> 6)];
        let fits = |context: &&AcceptedContext| {
            context.requestor_is_scp && (odd & 1 != 0 || context.abstract_syntax.as_str() == class)
        };
        let Some(context) = association.agreement().contexts.iter().find(fits).cloned() else { return };
        let entity = entity(n, odd & 0x0E);
        let bytes = raw.unwrap_or_else(|| encoded(association, context.id, &entity));
        let mut request = Command::request(field::C_STORE_RQ, class, u16::from(odd) + 1);
        let instance = entity.uid(tags::SOP_INSTANCE_UID);
        request.sop_instance = if odd & 0x10 == 0 { instance } else { "1.9".parse().ok() };
        request.has_data_set = true;
        association.send(context.id, &request, None);
        let is_whole = odd & 0x20 == 0;
        association.send_data(context.id, bytes.clone(), is_whole);
        if let (true, Some(instance)) = (is_whole, request.sop_instance) {
            self.objects().push((instance, bytes));
        }
    }

    /// A report of storage commitment, which nobody has asked for.
    fn report(&self, association: &mut Association, n: u8) {
        let Some(context) = association.agreement().contexts.first().map(|context| context.id) else {
            return;
        };
        let data = (n & 1 == 0).then(|| self.bytes());
        let report = Command {
            has_data_set: data.is_some(),
            sop_instance: "1.2.840.10008.1.20.1.1".parse().ok(),
            others: vec![(0x1002, Bytes::copy_from_slice(&[n >> 1, 0]))],
            ..Command::request(field::N_EVENT_REPORT_RQ, "1.2.840.10008.1.20.1", u16::from(n))
        };
        association.send(context, &report, data);
    }
}

/// What identifies a study, a series and an instance; each bit of `without` leaves something out, or bends it.
fn entity(n: u8, without: u8) -> DataSet {
    let study = STUDIES[usize::from(without >> 3 & 1)];
    let series = format!("{study}.{}", n & 3);
    let mut entity = DataSet::new();
    let mut put = |bit: u8, tag, vr, value: String| {
        if without & bit == 0 {
            entity.set_str(tag, vr, value);
        }
    };
    put(0, tags::SOP_CLASS_UID, VR::UI, CLASSES[0].into());
    put(1, tags::SOP_INSTANCE_UID, VR::UI, format!("{series}.{}", n >> 2));
    put(2, tags::STUDY_INSTANCE_UID, VR::UI, study.into());
    put(4, tags::SERIES_INSTANCE_UID, VR::UI, series);
    put(16, tags::MODALITY, VR::CS, "CT".into());
    put(32, tags::PATIENT_ID, VR::LO, "P".into());
    put(64, tags::NUMBER_OF_SERIES_RELATED_INSTANCES, VR::IS, (n >> 2).to_string());
    put(128, tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192".into());
    entity
}

fn encoded(association: &Association, context: u8, entity: &DataSet) -> Bytes {
    let syntax = association.agreement().context(context).map(|context| layout(&context.transfer_syntax));
    let syntax = syntax.unwrap_or(gantry::dicom::transfer_syntax::Layout::ImplicitLe);
    entity.encode(syntax, QueryCharset::Auto).into()
}
