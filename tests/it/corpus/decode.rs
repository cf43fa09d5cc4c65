//! Compressed frames through the bridge's decoders, against those of others: pylibjpeg, libjpeg-turbo, OpenJPEG, CharLS.
//!
//! What comes of each file stands in `docs/codecs.md`, which is held against it. `GANTRY_DOCS=1` writes it anew.

use std::path::Path;
use std::{env, fs};

use bytes::Bytes;
use gantry::dicom::part10::MetaReader;
use gantry::dicom::transfer_syntax::{Codec, codec};
use gantry::image::codec;
use gantry::image::frames::{Cut, Cutter, Step};
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
    let row = |(file, syntax, frames, verdict): &(String, String, u32, String)| {
        format!("| `{file}` | {syntax} | {frames} | {verdict} |\n")
    };
    in_docs("corpus", &rows.iter().map(row).collect::<String>());
}

/// The frames of a file, decoded into one beside, or why not. `None`: not compressed, or a video.
fn decoded(folder: &Path, entry: &Value, out: &Path) -> Option<Value> {
    let file = entry["file"].as_str().unwrap();
    let mut meta = MetaReader::new();
    let bytes = Bytes::from(fs::read(folder.join(file)).unwrap());
    let (meta, data_set) = meta.push(bytes).unwrap()?;
    let syntax = meta.transfer_syntax.as_ref()?;
    if codec(syntax) == Codec::Other || codec(syntax).is_video() {
        return None;
    }
    let mut head = HeadReader::new(syntax, None);
    head.push(data_set.clone()).unwrap();
    let shape = attributes::shape(&head.finish()?.data_set).unwrap();
    let mut native = Vec::new();
    let mut refused = None;
    for frame in cut(Cutter::all(syntax), data_set) {
        match codec::decode(syntax, &frame, &shape) {
            Ok(frame) => native.extend(frame.bytes),
            Err(refusal) => refused = Some(refusal.to_string()),
        }
    }
    if let Some(refused) = refused {
        return Some(json!({ "file": file, "source": entry["source"], "refused": refused }));
    }
    let name = format!("{file}.native");
    fs::write(out.join(&name), native).unwrap();
    Some(json!({ "file": file, "source": entry["source"], "frames": name }))
}

fn cut(mut cutter: Cutter, data_set: Bytes) -> Vec<Vec<u8>> {
    cutter.push(data_set);
    let mut frames: Vec<Vec<u8>> = Vec::new();
    loop {
        match cutter.next().unwrap() {
            Step::Cut(Cut::Begin { .. }) => frames.push(Vec::new()),
            Step::Cut(Cut::Bytes(bytes)) => frames.last_mut().unwrap().extend(bytes),
            Step::Cut(Cut::End) => {}
            Step::Done(_) => return frames,
            Step::MoreBytes => {
                cutter.finish().unwrap();
                return frames;
            }
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
