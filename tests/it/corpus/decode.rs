//! Compressed frames through the bridge's decoders, against those of others: pylibjpeg, libjpeg-turbo, OpenJPEG, CharLS.
//!
//! What comes of each file stands in `docs/codecs.md`, which is held against it. `GANTRY_DOCS=1` writes it anew.

use std::path::Path;
use std::{env, fs};

use bytes::Bytes;
use gantry::dicom::Uid;
use gantry::dicom::part10::MetaReader;
use gantry::dicom::transfer_syntax::{Codec, EXPLICIT_VR_BE, codec};
use gantry::image::codec::{self, Refusal};
use gantry::image::frames::{Cut, Cutter, Step};
use gantry::image::pixels::{Frame, Photometric, Shape};
use gantry::image::render::{HeadReader, attributes};
use serde_json::{Value, json};

use crate::support::peers::{data, manifest, python};
use crate::support::process::Scratch;

const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/codecs.md");

#[test]
fn every_compressed_frame_of_the_corpus_is_decoded_as_others_do() {
    let folder = data("corpus", &[]);
    let out = Scratch::new("decoded");
    let files = manifest(&folder);
    let decoded: Vec<Value> = files.iter().filter_map(|entry| decoded(&folder, entry, out.path())).collect();
    fs::write(out.path().join("decoded.json"), serde_json::to_string(&decoded).unwrap()).unwrap();
    let arguments = [folder.to_str().unwrap(), out.path().to_str().unwrap()];
    let rows: Vec<(String, String, u32, String)> =
        serde_json::from_str(&python("decoded_corpus.py", &arguments)).unwrap();
    assert!(rows.len() >= 50, "{rows:?}");
    let wrong: Vec<_> = rows.iter().filter(|(.., verdict)| verdict.contains("WRONG")).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let seconded = rows
        .iter()
        .filter(|(.., verdict)| verdict.ends_with(", GDCM") || verdict.ends_with("1 of GDCM"))
        .count();
    assert!(seconded >= 45, "{rows:?}");
    let row = |(file, syntax, frames, verdict): &(String, String, u32, String)| {
        format!("| `{file}` | {syntax} | {frames} | {verdict} |\n")
    };
    // With libraries in C, other lossy pixels are off by one.
    if !cfg!(any(feature = "openjpeg", feature = "turbojpeg")) {
        in_docs("corpus", &rows.iter().map(row).collect::<String>());
    }
}

#[test]
fn what_other_encoders_write_is_decoded_to_what_their_decoders_make_of_it() {
    let out = Scratch::new("samples");
    let samples: Vec<Value> =
        serde_json::from_str(&python("codec_samples.py", &[out.path().to_str().unwrap()])).unwrap();
    assert!(samples.len() > 150, "{}", samples.len());
    let mut wrong = Vec::new();
    for sample in &samples {
        let shape = shape(sample);
        let file = |kind: &str| fs::read(out.path().join(format!("{}.{kind}", sample["number"]))).unwrap();
        let syntax = sample["syntax"].as_str().unwrap().parse().unwrap();
        let is_there = sample["by"] != "openjpeg" || cfg!(feature = "openjpeg");
        match codec::decode(&syntax, &file("codestream"), &shape) {
            Err(Refusal::Unsupported(_)) if !is_there => {}
            _ if !is_there => wrong.push(format!("{}: is not refused", sample["name"])),
            Err(refusal) => wrong.push(format!("{}: {refusal}", sample["name"])),
            Ok(frame) => {
                let found = greatest_difference(&frame.bytes, &file("native"), shape.bits_allocated);
                if i64::from(found) > sample["within"].as_i64().unwrap() {
                    wrong.push(format!("{}: by {found}", sample["name"]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), samples.len());
}

/// What a sample's data set says.
pub(super) fn shape(sample: &Value) -> Shape {
    let number = |name: &str| u16::try_from(sample[name].as_u64().unwrap()).unwrap();
    Shape {
        rows: number("rows"),
        columns: number("columns"),
        samples: number("samples"),
        bits_allocated: number("bits_allocated"),
        bits_stored: number("bits_stored"),
        high_bit: number("bits_stored") - 1,
        signed: sample["signed"].as_bool().unwrap(),
        photometric: Photometric::read(sample["photometric"].as_str().unwrap()).unwrap(),
        planar: false,
    }
}

/// Of samples without signs, in cells of 8 to 32 bits.
fn greatest_difference(ours: &[u8], theirs: &[u8], bits_allocated: u16) -> i32 {
    assert_eq!(ours.len(), theirs.len());
    let cell = usize::from(bits_allocated / 8);
    let sample = |cell: &[u8]| cell.iter().rev().fold(0, |sample, byte| sample << 8 | i32::from(*byte));
    let pairs = ours.chunks_exact(cell).zip(theirs.chunks_exact(cell));
    pairs.map(|(ours, theirs)| (sample(ours) - sample(theirs)).abs()).max().unwrap()
}

#[test]
fn what_is_encoded_others_decode_to_the_same_pixels() {
    let folder = data("corpus", &[]);
    let out = Scratch::new("encoded");
    let mut encoded = Vec::new();
    for entry in manifest(&folder) {
        let Some((syntax, shape, frames)) = frames(&folder, &entry) else { continue };
        // Of what is native little endian; of some hundred frames the first.
        let Some(frame) = frames.into_iter().next().filter(|_| codec(&syntax) == Codec::Other) else {
            continue;
        };
        // What pydicom cannot read is no reference.
        let unread = entry["source"] == "test_files/badVR.dcm";
        if unread || syntax.as_str() == EXPLICIT_VR_BE || frame.len() as u64 != shape.frame_length() {
            continue;
        }
        let frame = Frame { shape, bytes: frame };
        for syntax in
            ["5", "4.50", "4.70", "4.80", "4.90", "4.201"].map(|last| format!("1.2.840.10008.1.2.{last}"))
        {
            let uid = syntax.parse().unwrap();
            if codec::can_encode(&uid, &shape) {
                let result = codec::encode(&uid, &frame).unwrap();
                let name = format!("{}.codestream", encoded.len());
                fs::write(out.path().join(&name), &result.bytes).unwrap();
                encoded.push(json!({
                    "file": entry["file"], "source": entry["source"], "syntax": syntax, "codestream": name,
                    "photometric": result.shape.photometric.name(), "planar": result.shape.planar,
                }));
            }
        }
    }
    fs::write(out.path().join("encoded.json"), serde_json::to_string(&encoded).unwrap()).unwrap();
    let arguments = [folder.to_str().unwrap(), out.path().to_str().unwrap()];
    let found: Value = serde_json::from_str(&python("encoded_corpus.py", &arguments)).unwrap();
    println!("{}", found["right"]);
    assert!(found["wrong"].as_array().unwrap().is_empty(), "{:#}", found["wrong"]);
    let right = found["right"].as_object().unwrap();
    assert!(right.len() == 6 && right.values().all(|count| count.as_u64().unwrap() > 20), "{right:?}");
}

/// The frames of a file, decoded into one beside, or why not. `None`: not compressed, or a video.
fn decoded(folder: &Path, entry: &Value, out: &Path) -> Option<Value> {
    let (syntax, shape, frames) = frames(folder, entry)?;
    if codec(&syntax) == Codec::Other {
        return None;
    }
    let mut native = Vec::new();
    for frame in frames {
        match codec::decode(&syntax, &frame, &shape) {
            Ok(frame) => native.extend(frame.bytes),
            Err(refusal) => {
                let refused = refusal.to_string();
                return Some(json!({ "file": entry["file"], "source": entry["source"], "refused": refused }));
            }
        }
    }
    let name = format!("{}.native", entry["file"].as_str().unwrap());
    fs::write(out.join(&name), native).unwrap();
    Some(json!({ "file": entry["file"], "source": entry["source"], "frames": name }))
}

/// The transfer syntax of a file, how its pixels lie, and its frames as they are stored. `None`: no image.
fn frames(folder: &Path, entry: &Value) -> Option<(Uid, Shape, Vec<Vec<u8>>)> {
    let mut meta = MetaReader::new();
    let bytes = Bytes::from(fs::read(folder.join(entry["file"].as_str().unwrap())).unwrap());
    let (meta, data_set) = meta.push(bytes).unwrap()?;
    let syntax = meta.transfer_syntax.filter(|syntax| !codec(syntax).is_video())?;
    let mut head = HeadReader::new(&syntax, None);
    head.push(data_set.clone()).ok()?;
    let shape = attributes::shape(&head.finish()?.data_set).ok()?;
    let frames = cut(Cutter::all(&syntax), data_set)?;
    Some((syntax, shape, frames))
}

/// Every frame; `None`: the pixel data break off.
pub(super) fn cut(mut cutter: Cutter, data_set: Bytes) -> Option<Vec<Vec<u8>>> {
    cutter.push(data_set);
    let mut frames: Vec<Vec<u8>> = Vec::new();
    loop {
        match cutter.next().ok()? {
            Step::Cut(Cut::Begin { .. }) => frames.push(Vec::new()),
            Step::Cut(Cut::Bytes(bytes)) => frames.last_mut().unwrap().extend(bytes),
            Step::Cut(Cut::End) => {}
            Step::Done(_) => return Some(frames),
            Step::MoreBytes => return cutter.finish().ok().map(|_| frames),
        }
    }
}

/// Holds the rows of a table of the documentation, between two comments, against what was found.
fn in_docs(table: &str, rows: &str) {
    let text = fs::read_to_string(DOCS).unwrap();
    let (begin, end) = (format!("<!-- {table} -->\n"), format!("<!-- end of {table} -->"));
    let (before, rest) = text.split_once(&begin).unwrap();
    let (head, rest) = rest.split_once("|---|---|---|---|\n").unwrap();
    let (found, after) = rest.split_once(&end).unwrap();
    if env::var_os("GANTRY_DOCS").is_some() {
        let text = format!("{before}{begin}{head}|---|---|---|---|\n{rows}{end}{after}");
        fs::write(DOCS, text).unwrap();
    } else {
        assert_eq!(found, rows, "docs/codecs.md says otherwise; GANTRY_DOCS=1 writes it anew");
    }
}
