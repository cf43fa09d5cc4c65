//! What is asked about an object, and what is a right answer.

use std::time::Duration;

use bytes::Bytes;
use gantry::demo::instance::Instance;
use gantry::dicom::part10::MetaReader;
use gantry::dicom::transfer_syntax::{EXPLICIT_VR_LE, Layout, is_encapsulated, layout};
use gantry::dicom::{Tag, Uid, tags};
use gantry::image::codec;
use gantry::image::frames::Cutter;
use gantry::image::pixels::{Frame, Shape};
use gantry::image::render::{Error, HeadReader, attributes};

use super::mutation::{Element, Mutant, elements};
use crate::corpus::decode::cut;
use crate::support::http::Reply;

/// What came of each of [`QUESTIONS`], and how long it took.
pub(super) type Answers = Vec<(Duration, Reply)>;

/// Something that is asked for.
pub(super) struct Question {
    /// What it is called in the table.
    pub(super) name: &'static str,
    /// What stands behind the instance's path; of a query, in its place.
    resource: &'static str,
    /// The header field.
    pub(super) accept: &'static str,
}

const fn question(name: &'static str, resource: &'static str, accept: &'static str) -> Question {
    Question { name, resource, accept }
}

/// Everything that is asked for, in this order.
pub(super) const QUESTIONS: [Question; 12] = [
    question("frame, native", "/frames/1", "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"),
    question("frame, as stored", "/frames/1", "application/octet-stream; transfer-syntax=*"),
    question("frame", "/frames/1", "multipart/related; type=\"application/octet-stream\""),
    question("object, native", "", "application/dicom; transfer-syntax=1.2.840.10008.1.2.1"),
    question("object, RLE", "", "application/dicom; transfer-syntax=1.2.840.10008.1.2.5"),
    question("object, JPEG-LS", "", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.80"),
    question("object, JPEG Baseline", "", "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.50"),
    question("rendered, PNG", "/rendered", "image/png"),
    question("rendered, JPEG 64 × 48", "/rendered?viewport=64,48", "image/jpeg"),
    question("thumbnail", "/thumbnail", "image/jpeg"),
    question("metadata", "/metadata", "application/dicom+json"),
    question("WADO-URI, JPEG", "?requestType=WADO&contentType=image/jpeg", "*/*"),
];
/// Where some of them stand.
const NATIVE: usize = 0;
const STORED: usize = 1;
const PNG: usize = 7;
const METADATA: usize = 10;
/// Statuses that say what is wrong with an object, or that it cannot be had so.
const ERRORS: [u16; 6] = [400, 404, 406, 413, 501, 502];

impl Question {
    /// Its path for this object.
    pub(super) fn path(&self, of: &Instance) -> String {
        let (study, series, instance) = (of.study(), of.series(), &of.head.sop_instance);
        if self.resource.starts_with("?requestType") {
            let query = self.resource;
            return format!("/dicom-web{query}&studyUID={study}&seriesUID={series}&objectUID={instance}");
        }
        format!("/dicom-web/studies/{study}/series/{series}/instances/{instance}{}", self.resource)
    }
}

/// What is wrong with the answers about an object; `original`: those about what it was made of.
pub(super) fn problems(mutant: &Mutant, answers: &Answers, original: &Answers) -> Vec<String> {
    let native = Some(&answers[NATIVE].1).filter(|reply| is_right(reply)).map(|reply| &reply.body[..]);
    let mut problems = Vec::new();
    for (at, (question, (_, reply))) in QUESTIONS.iter().zip(answers).enumerate() {
        let checked = match reply.status {
            200 | 206 if !reply.whole => Ok(()),
            200 | 206 => content(at, mutant, reply, native),
            status if ERRORS.contains(&status) && reply.whole => {
                let kind = reply.header("content-type");
                if kind == "application/problem+json" { Ok(()) } else { Err(format!("{status} as {kind}")) }
            }
            status => Err(format!("{status} {}", reply.text())),
        };
        problems.extend(checked.err().map(|problem| format!("{}: {problem}", question.name)));
        let was = &original[at].1;
        if mutant.is_harmless && (was.status, was.whole) != (reply.status, reply.whole) {
            problems.push(format!("{}: {}, and was {}", question.name, reply.status, was.status));
        }
        let same = matches!(at, NATIVE | STORED | PNG) || question.name.contains("JPEG 64");
        if mutant.is_harmless && is_right(reply) && same && was.body != reply.body {
            problems.push(format!("{}: others than the original's", question.name));
        }
    }
    problems
}

/// Whether this is no error.
pub(super) fn is_right(reply: &Reply) -> bool {
    reply.whole && matches!(reply.status, 200 | 206)
}

/// Whether what came whole is what it is said to be, and the same as the first frame, natively.
fn content(at: usize, mutant: &Mutant, reply: &Reply, native: Option<&[u8]>) -> Result<(), String> {
    let stored = &mutant.instance.head.transfer_syntax;
    let body = &reply.body;
    match at {
        NATIVE => {
            let lengths = frame_lengths(mutant);
            let fits = lengths.is_empty() || lengths.contains(&(body.len() as u64));
            fits.then_some(()).ok_or_else(|| format!("{} bytes, and not {lengths:?}", body.len()))
        }
        STORED if !is_encapsulated(stored) => {
            let same = native.is_none_or(|native| native == body);
            same.then_some(()).ok_or_else(|| "other than the native one".to_owned())
        }
        STORED => Ok(()),
        2 => Ok(()),
        3..=6 => object(mutant, body, native),
        PNG => picture(body),
        METADATA => match serde_json::from_slice::<serde_json::Value>(body) {
            Err(error) if !error.to_string().starts_with("recursion limit") => Err(error.to_string()),
            _ => Ok(()),
        },
        _ => {
            let is_jpeg = body.starts_with(b"\xFF\xD8\xFF") && body.ends_with(b"\xFF\xD9");
            is_jpeg.then_some(()).ok_or_else(|| "no JPEG".to_owned())
        }
    }
}

fn picture(body: &[u8]) -> Result<(), String> {
    let mut reader =
        png::Decoder::new(std::io::Cursor::new(body)).read_info().map_err(|error| error.to_string())?;
    let mut pixels = vec![0; reader.output_buffer_size().ok_or("too large")?];
    reader.next_frame(&mut pixels).map(|_| ()).map_err(|error| error.to_string())
}

/// How long a native frame may be by what the data set says, in bytes; none: it says so twice, or not at all.
fn frame_lengths(mutant: &Mutant) -> Vec<u64> {
    let layout = layout(&mutant.instance.head.transfer_syntax);
    let elements = elements(&mutant.bytes, layout);
    let number = |tag| number(&mutant.bytes, &elements, tag, layout);
    // It may be left out, but not be there twice.
    let is_told = elements.iter().any(|it| it.tag == tags::SAMPLES_PER_PIXEL);
    let samples = if is_told { number(tags::SAMPLES_PER_PIXEL) } else { Some(1) };
    let (Some(rows), Some(columns), Some(samples), Some(bits)) =
        (number(tags::ROWS), number(tags::COLUMNS), samples, number(tags::BITS_ALLOCATED))
    else {
        return Vec::new();
    };
    let length = |samples: u64| (rows * columns * samples * bits).div_ceil(8);
    // Half of the chrominances may be missing.
    if samples == 3 { vec![length(3), length(2)] } else { vec![length(samples)] }
}

/// The number of an element that is there once.
fn number(bytes: &[u8], elements: &[Element], tag: Tag, layout: Layout) -> Option<u64> {
    let mut found = elements.iter().filter(|it| it.tag == tag);
    let (Some(element), None) = (found.next(), found.next()) else { return None };
    let word = *bytes[element.value.clone()].first_chunk()?;
    Some(
        if layout == Layout::ExplicitBe { u16::from_be_bytes(word) } else { u16::from_le_bytes(word) }.into(),
    )
}

/// Whether an object can be read to its end, and has as many pixels as it says, the first of them those of `native`.
fn object(mutant: &Mutant, body: &[u8], native: Option<&[u8]>) -> Result<(), String> {
    let stored = &mutant.instance.head.transfer_syntax;
    let (meta, data_set) = MetaReader::new()
        .push(Bytes::copy_from_slice(body))
        .map_err(|error| error.to_string())?
        .ok_or("no data set")?;
    let sent = meta.transfer_syntax.ok_or("no transfer syntax")?;
    // What passes as it is stored is as wrong as it is.
    if sent == *stored || !is_encapsulated(&sent) && !is_encapsulated(stored) {
        return Ok(());
    }
    let read = frames(&sent, data_set);
    // What does not say how its pixels lie says no more when it has passed: a Photometric Interpretation of an unknown VR.
    if read.is_err() && frames(stored, Bytes::copy_from_slice(&mutant.bytes)).is_err() {
        return Ok(());
    }
    let Some((shape, frames)) = read? else { return Ok(()) };
    if sent.as_str() == EXPLICIT_VR_LE
        && frames.iter().any(|frame| frame.len() as u64 != shape.frame_length())
    {
        return Err("frames of another length than it says".to_owned());
    }
    let lossy = sent.as_str().ends_with("4.50");
    // Colours may come plane by plane, or with fewer chrominances, as they are stored; a frame by itself as the metadata say.
    let is_plain = elements(&mutant.bytes, layout(stored))
        .iter()
        .filter(|it| it.tag == tags::PLANAR_CONFIGURATION)
        .all(|it| mutant.bytes[it.value.clone()] == [0, 0]);
    let differs = shape.samples > 1 && !(is_encapsulated(stored) && is_plain);
    let first = frames.into_iter().next().ok_or("no frames")?;
    let decoded = if is_encapsulated(&sent) {
        codec::decode(&sent, &first, &shape).map_err(|refusal| format!("its frame: {refusal}"))?
    } else {
        Frame { shape, bytes: first }
    };
    let same = lossy || differs || native.is_none_or(|native| native == decoded.bytes);
    same.then_some(()).ok_or_else(|| "other pixels than the native frame".to_owned())
}

/// How the pixels of a frame lie, and all of them.
type Frames = (Shape, Vec<Vec<u8>>);

/// How the pixels of an object lie, and its frames. `None`: it has no pixels, or contradicts itself as it is
/// stored: a High Bit that is none of its cells', or another number of samples than colours.
fn frames(syntax: &Uid, data_set: Bytes) -> Result<Option<Frames>, String> {
    let mut head = HeadReader::new(syntax, None);
    head.push(data_set.clone()).map_err(|error| error.to_string())?;
    let Some(head) = head.finish() else { return Ok(None) };
    let shape = match attributes::shape(&head.data_set) {
        Err(Error::Attribute(tags::HIGH_BIT | tags::SAMPLES_PER_PIXEL)) => return Ok(None),
        shape => shape.map_err(|error| error.to_string())?,
    };
    Ok(Some((shape, cut(Cutter::all(syntax), data_set).ok_or("it breaks off")?)))
}
