//! Stores over real associations, in memory, at an archive that does as a test says.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{DuplexStream, duplex};
use tokio::time::{Instant, timeout};

use super::*;
use crate::archive::Archive;
use crate::archive::dimse::DimseArchive;
use crate::archive::dimse::config::{Config, Timeouts};
use crate::archive::testing::config;
use crate::caller::Priority;
use crate::dicom::charset::QueryCharset;
use crate::dicom::dataset::{DataSet, Element, Value};
use crate::dicom::object::{Budget, ObjectLog};
use crate::dicom::transfer_syntax::{
    DEFLATED_EXPLICIT_VR_LE, EXPLICIT_VR_BE, EXPLICIT_VR_LE, IMPLICIT_VR_LE, layout,
};
use crate::dicom::{Uid, VR, tags};
use crate::dimse::association::{Association, Event, Io, Requested};
use crate::dimse::negotiation::Decision;
use crate::dimse::pdu::{MAX_CONTEXTS, context_result};
use crate::dimse::pool::Connect;
use crate::metrics::Metrics;

mod archives;
mod objects;

const CT: &str = "1.2.840.10008.5.1.4.1.1.2";
const SR: &str = "1.2.840.10008.5.1.4.1.1.88.11";
const RLE: &str = "1.2.840.10008.1.2.5";

/// What the archive does with a C-STORE.
#[derive(Debug, Clone, Copy)]
enum Does {
    /// It answers when it has the object.
    Answer(u16),
    /// It answers when it has so many bytes of it, and reads on.
    Early(usize, u16),
    /// It aborts when it has so many bytes.
    Abort(usize),
    /// It is cut off when it has so many bytes.
    Cut(usize),
    /// It never answers.
    Silence,
    /// It reads no further than so many bytes.
    Deaf(usize),
    /// It answers another message.
    WrongMessageId,
    /// It says that it is pending.
    Pending,
    /// It does nothing for so long, then it answers.
    Late(Duration),
}

type Policy = fn(&Uid, &[Uid]) -> Decision;

fn everything(_: &Uid, syntaxes: &[Uid]) -> Decision {
    Ok(syntaxes[0].clone())
}

fn implicit_only(_: &Uid, syntaxes: &[Uid]) -> Decision {
    let implicit = syntaxes.iter().find(|syntax| syntax.as_str() == IMPLICIT_VR_LE);
    implicit.cloned().ok_or(context_result::TRANSFER_SYNTAXES)
}

fn no_ct(class: &Uid, syntaxes: &[Uid]) -> Decision {
    if class.as_str() == CT { Err(context_result::ABSTRACT_SYNTAX) } else { everything(class, syntaxes) }
}

/// An archive, and what it has seen.
struct Pacs {
    policy: Policy,
    /// An association that proposes more contexts is aborted.
    most_contexts: usize,
    /// What becomes of the next objects; when there are no more, they are stored.
    script: Mutex<VecDeque<Does>>,
    /// Connections end at the first byte of the next message.
    stale: Mutex<bool>,
    stored: Mutex<Vec<(Head, Vec<u8>)>>,
    /// Whose C-MOVE the last object was said to be an answer to.
    originator: Mutex<Option<(AeTitle, u16)>>,
    associations: AtomicUsize,
    /// How often an object ended without its last PDV.
    broken: AtomicUsize,
    bytes: AtomicUsize,
}

impl Pacs {
    fn new(policy: Policy, script: &[Does]) -> Arc<Self> {
        Arc::new(Self::with(policy, script))
    }

    fn with(policy: Policy, script: &[Does]) -> Self {
        Self {
            policy,
            most_contexts: MAX_CONTEXTS,
            script: Mutex::new(script.iter().copied().collect()),
            stale: Mutex::default(),
            stored: Mutex::default(),
            originator: Mutex::default(),
            associations: AtomicUsize::new(0),
            broken: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
        }
    }

    fn archive(self: &Arc<Self>) -> DimseArchive {
        let config = Config {
            timeouts: Timeouts { idle: Duration::from_secs(3600), ..config().timeouts },
            ..config()
        };
        let pacs = Arc::clone(self);
        DimseArchive::over(config, None, None, Metrics::default(), move |_| connector(Arc::clone(&pacs)))
    }

    fn stored(&self) -> Vec<(Head, Vec<u8>)> {
        self.stored.lock().unwrap().clone()
    }

    fn associations(&self) -> usize {
        self.associations.load(Ordering::SeqCst)
    }

    async fn serve(self: Arc<Self>, io: DuplexStream) -> Option<()> {
        let deadline = Instant::now() + Duration::from_secs(36_000);
        let requested = Requested::read(io, deadline).await.ok()?;
        if requested.request().contexts.len() > self.most_contexts {
            return None;
        }
        let mut association = requested.accept(self.policy, |_| false, deadline).await.ok()?;
        self.associations.fetch_add(1, Ordering::SeqCst);
        loop {
            match association.event().await.ok()? {
                Event::ReleaseRequested => {
                    association.confirm_release(deadline).await;
                    return None;
                }
                Event::Command { context, command } => {
                    assert_eq!((command.field, command.priority), (field::C_STORE_RQ, Some(0)));
                    *self.originator.lock().unwrap() =
                        command.move_originator.clone().zip(command.move_originator_id);
                    if std::mem::take(&mut *self.stale.lock().unwrap()) {
                        return None;
                    }
                    let does = self.script.lock().unwrap().pop_front().unwrap_or(Does::Answer(0));
                    association = self.store(association, context, command, does).await?;
                }
                Event::Data { .. } => panic!("a data set of no object"),
            }
        }
    }

    async fn store(
        &self,
        mut association: Association,
        context: u8,
        request: Command,
        does: Does,
    ) -> Option<Association> {
        let (mut bytes, mut answered) = (Vec::new(), false);
        loop {
            match does {
                Does::Early(after, status) if bytes.len() >= after && !answered => {
                    association.send(context, &request.response(status), None);
                    answered = true;
                }
                Does::Abort(after) if bytes.len() >= after => {
                    association.abort().await;
                    return None;
                }
                Does::Cut(after) if bytes.len() >= after => return None,
                Does::Deaf(after) if bytes.len() >= after => std::future::pending().await,
                _ => {}
            }
            let Ok(event) = association.event().await else {
                self.broken.fetch_add(1, Ordering::SeqCst);
                return None;
            };
            let Event::Data { bytes: piece, last } = event else { panic!("{event:?}") };
            self.bytes.fetch_add(piece.len(), Ordering::SeqCst);
            bytes.extend_from_slice(&piece);
            if last {
                break;
            }
        }
        let response = match does {
            Does::Answer(status) => Command { comment: Some("as told".into()), ..request.response(status) },
            Does::WrongMessageId => Command { message_id: request.message_id + 7, ..request.response(0) },
            Does::Pending => request.response(0xFF00),
            Does::Late(delay) => {
                tokio::time::sleep(delay).await;
                request.response(0)
            }
            Does::Silence => std::future::pending().await,
            _ => return Some(association),
        };
        if matches!(does, Does::Answer(0 | 0xB000..=0xBFFF) | Does::Late(_)) {
            let context = association.agreement().context(context).unwrap();
            let head = Head {
                sop_class: request.sop_class.clone().unwrap(),
                sop_instance: request.sop_instance.clone().unwrap(),
                transfer_syntax: context.transfer_syntax.clone(),
            };
            self.stored.lock().unwrap().push((head, bytes));
        }
        association.send(context, &response, None);
        association.flush().await.ok()?;
        Some(association)
    }
}

fn connector(pacs: Arc<Pacs>) -> Connect {
    Arc::new(move |_| {
        let pacs = Arc::clone(&pacs);
        Box::pin(async move {
            let (ours, theirs) = duplex(1 << 14);
            tokio::spawn(pacs.serve(theirs));
            Ok(Box::new(ours) as Box<dyn Io>)
        })
    })
}

fn caller() -> Caller {
    Caller { client: None, priority: Priority::Interactive, title: None }
}

fn head(class: &str, syntax: &str, number: usize) -> Head {
    let uid = |text: &str| text.parse().unwrap();
    Head { sop_class: uid(class), sop_instance: uid(&format!("1.2.{number}")), transfer_syntax: uid(syntax) }
}

/// A data set for this head, with so many bytes of pixel data.
fn data_set(head: &Head, pixels: usize) -> Bytes {
    let mut data_set = DataSet::new();
    data_set.set_str(tags::SOP_CLASS_UID, VR::UI, head.sop_class.as_str());
    data_set.set_str(tags::SOP_INSTANCE_UID, VR::UI, head.sop_instance.as_str());
    data_set.set_str(tags::MODALITY, VR::CS, "CT");
    data_set.set_u16(tags::ROWS, 2);
    let value = Value::Bytes((0..pixels).map(|n| n as u8).collect::<Vec<_>>().into());
    data_set.insert(tags::PIXEL_DATA, Element { vr: VR::OW, value });
    let bytes = data_set.encode(layout(&head.transfer_syntax), QueryCharset::Auto);
    if head.transfer_syntax.as_str() == DEFLATED_EXPLICIT_VR_LE { deflate(&bytes) } else { bytes.into() }
}

pub(super) fn deflate(bytes: &[u8]) -> Bytes {
    use std::io::Write;
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap().into()
}

/// An object that is there whole, in pieces of `size`.
async fn whole(head: &Head, bytes: &Bytes, size: usize) -> Object {
    let (log, object) = ObjectLog::new(head.clone(), &Budget::new(u32::MAX >> 4));
    for piece in bytes.chunks(size) {
        log.append(&Bytes::copy_from_slice(piece)).await;
    }
    log.finish();
    object
}

async fn store(archive: &DimseArchive, object: Object) -> Result<Stored> {
    store_as(archive, object, Manner::default()).await
}

async fn store_as(archive: &DimseArchive, object: Object, manner: Manner) -> Result<Stored> {
    let stored = timeout(Duration::from_secs(7200), archive.store_as(&caller(), object, manner)).await;
    stored.expect("the store hangs")
}

/// Waits until no association is in use.
async fn settle(archive: &DimseArchive) {
    for _ in 0..1000 {
        let (open, idle) = archive.associations();
        if open == idle {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("associations stay in use: {:?}", archive.associations());
}
