//! Codestreams that are cut short, changed and shuffled: no codec takes long, or takes much memory, nor does a panic get out.

use std::path::Path;
use std::time::{Duration, Instant};
use std::{env, fs};

use gantry::dicom::transfer_syntax::{Codec, codec};
use gantry::image::codec::{Refusal, can_encode, decode, encode};
use gantry::image::pixels::Frame;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::decode::shape;
use crate::support::peers::python;
use crate::support::process::{Scratch, bounded};

/// Where the samples are, for the process that does the work.
const SAMPLES: &str = "GANTRY_TEST_CODEC_SAMPLES";
/// How often each sample is mutated.
const TIMES: usize = 40;
/// Longest that a frame of some thousand pixels may take on a machine that is busy.
const LONGEST: Duration = Duration::from_secs(10);
/// What all of it may take, in KiB: JPEG XL alone may take 64 MiB.
const MOST_MEMORY: u64 = 256 << 10;

#[test]
fn hazard_damaged_codestreams_end_soon_and_take_little() {
    let Some(folder) = env::var_os(SAMPLES) else {
        // Memory is a process's: it is measured in one where nothing else runs.
        let out = Scratch::new("mutations");
        fs::write(out.path().join("samples.json"), python("codec_samples.py", &[out.path()])).unwrap();
        let mut child = bounded(env::current_exe().unwrap());
        let name = "corpus::mutations::hazard_damaged_codestreams_end_soon_and_take_little";
        let child = child.args(["--exact", name, "--nocapture"]).env(SAMPLES, out.path()).output().unwrap();
        let said =
            [child.stdout, child.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(child.status.success() && said.contains("1 passed"), "{said}");
        return;
    };
    let folder = Path::new(&folder);
    let samples: Vec<Value> =
        serde_json::from_slice(&fs::read(folder.join("samples.json")).unwrap()).unwrap();
    let mut random = StdRng::seed_from_u64(0x47_41_4E_54_52_59);
    let before = most_memory();
    let (mut decoded, mut refused) = (0, 0);
    for (n, sample) in samples.iter().enumerate() {
        let shape = shape(sample);
        let read = |kind: &str| fs::read(folder.join(format!("{}.{kind}", sample["number"]))).unwrap();
        let mut codestream = read("codestream");
        let mut syntax = sample["syntax"].as_str().unwrap().parse().unwrap();
        // Nobody among the peers writes RLE.
        let rle = "1.2.840.10008.1.2.5".parse().unwrap();
        if n % 10 == 0 && can_encode(&rle, &shape) {
            syntax = rle;
            codestream = encode(&syntax, &Frame { shape, bytes: read("native") }).unwrap().bytes;
        }
        for _ in 0..TIMES {
            let damaged = mutated(&codestream, &mut random);
            let start = Instant::now();
            let result = decode(&syntax, &damaged, &shape);
            assert!(start.elapsed() < LONGEST, "{}: {damaged:?}", sample["name"]);
            match result {
                Ok(frame) => {
                    decoded += 1;
                    assert_eq!(frame.bytes.len() as u64, frame.shape.frame_length());
                }
                // jxl-oxide has assertions that codestreams can reach: one in some ten thousand of these.
                Err(refusal) => {
                    refused += 1;
                    let failed = refusal == Refusal::Failed && codec(&syntax) != Codec::JpegXl;
                    assert!(!failed, "{}: {damaged:?}", sample["name"]);
                }
            }
        }
    }
    println!("{decoded} decoded, {refused} refused, {} KiB before, {} KiB after", before, most_memory());
    assert!(refused > 4000 && decoded > 500, "{decoded} decoded, {refused} refused");
    assert!(most_memory() - before < MOST_MEMORY, "{before} KiB became {} KiB", most_memory());
}

fn mutated(codestream: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = codestream.to_vec();
    // What says how large everything is stands in the beginning.
    let head = bytes.len().min(200);
    match random.random_range(0..5) {
        0 => bytes.truncate(random.random_range(0..codestream.len())),
        1 => (0..random.random_range(1..4)).for_each(|_| {
            let at = random.random_range(0..bytes.len());
            bytes[at] ^= 1 << random.random_range(0..8);
        }),
        2 => {
            (0..random.random_range(1..4)).for_each(|_| bytes[random.random_range(0..head)] = random.random())
        }
        3 => {
            let from = random.random_range(0..bytes.len());
            bytes.drain(from..(from + random.random_range(1..40)).min(codestream.len()));
        }
        _ => {
            let from = random.random_range(0..bytes.len());
            let piece = bytes[from..(from + 40).min(codestream.len())].to_vec();
            let to = random.random_range(0..bytes.len());
            bytes.splice(to..to, piece);
        }
    }
    bytes
}

/// The most memory that this process has had at a time, in KiB.
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}
