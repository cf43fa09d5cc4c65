//! Runs every fuzz target over its seeds and over inputs made of them: a short run that needs no fuzzer.
//!
//! The inputs are the same in every run. `GANTRY_FUZZ_RUNS` says how many there are for each target, where these are too few.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::{env, fs};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[path = "../../fuzz/targets/archive.rs"]
mod archive;
#[path = "../../fuzz/targets/association.rs"]
mod association;
#[path = "../../fuzz/targets/charset.rs"]
mod charset;
#[path = "../../fuzz/targets/client.rs"]
mod client;
#[path = "../../fuzz/targets/codec.rs"]
mod codec;
#[path = "../../fuzz/targets/command.rs"]
mod command;
#[path = "../../fuzz/targets/dataset.rs"]
mod dataset;
#[path = "../../fuzz/targets/file.rs"]
mod file;
#[path = "../../fuzz/targets/frames.rs"]
mod frames;
#[path = "../../fuzz/targets/http.rs"]
mod http;
#[path = "../../fuzz/targets/metadata.rs"]
mod metadata;
#[path = "../../fuzz/targets/multipart.rs"]
mod multipart;
#[path = "../../fuzz/targets/pool.rs"]
mod pool;
#[path = "../../fuzz/targets/reencode.rs"]
mod reencode;
#[path = "../../fuzz/targets/render.rs"]
mod render;
#[path = "../../fuzz/targets/scan.rs"]
mod scan;
#[path = "../../fuzz/targets/transcode.rs"]
mod transcode;
#[path = "../../fuzz/targets/transcribe.rs"]
mod transcribe;
#[path = "../../fuzz/targets/web.rs"]
mod web;
#[path = "../../fuzz/targets/zip.rs"]
mod zip;

/// How many inputs a target is given besides its seeds: a second or two of a debug build.
const RUNS: usize = 2000;
/// Longest input, in bytes, as the fuzzer has it too.
const LONGEST: usize = 4096;
/// Bytes at which lengths, signs and delimiters change their meaning.
const TELLING: [u8; 16] =
    [0, 1, 2, 0x1B, b' ', b'"', b'%', b'&', b'-', b'\\', b'\r', b'\n', 0x7F, 0x80, 0xFE, 0xFF];

macro_rules! targets {
    ($($name:ident),*) => {
        /// The targets that are run here.
        const TARGETS: &[&str] = &[$(stringify!($name)),*];

        mod holds {
            $(
                #[test]
                fn $name() {
                    super::run(stringify!($name), super::$name::run);
                }
            )*
        }
    };
}

targets!(
    archive,
    association,
    charset,
    client,
    codec,
    command,
    dataset,
    file,
    frames,
    http,
    metadata,
    multipart,
    pool,
    reencode,
    render,
    scan,
    transcode,
    transcribe,
    web,
    zip
);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(name)
}

/// The names of the files in a folder below `fuzz`, without what stands behind a dot.
fn names(of: &str) -> BTreeSet<String> {
    let files = fs::read_dir(folder(of)).unwrap();
    files.map(|file| file.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
    let files = fs::read_dir(folder("seeds").join(target)).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> = files.collect();
    files.sort();
    files.into_iter().map(|file| (file.display().to_string(), fs::read(file).unwrap())).collect()
}

fn run(name: &str, target: fn(&[u8])) {
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "{name} has no seeds");
    let mut random = StdRng::seed_from_u64(0x47_41_4E_54_52_59);
    for (file, seed) in &seeds {
        hold(target, file, seed);
    }
    // An input of these is a whole conversation.
    let few = if ["archive", "client", "http", "pool"].contains(&name) { RUNS / 10 } else { RUNS };
    let runs = env::var("GANTRY_FUZZ_RUNS").map_or(few, |text| text.parse().unwrap());
    for n in 0..runs {
        let input = mutated(&seeds, &mut random);
        hold(target, &format!("input {n} of {name}"), &input);
    }
}

/// Runs a target on an input, and says which one it was where it fails.
fn hold(target: fn(&[u8]), what: &str, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let hex: String = input.iter().map(|byte| format!("{byte:02x}")).collect();
        eprintln!("{what}, {} bytes: {hex}", input.len());
        resume_unwind(panic);
    }
}

fn mutated(seeds: &[(String, Vec<u8>)], random: &mut StdRng) -> Vec<u8> {
    let (_, seed) = &seeds[random.random_range(0..seeds.len())];
    let mut input = seed.clone();
    for _ in 0..random.random_range(1..=4) {
        let at = random.random_range(0..=input.len());
        let until = at + random.random_range(0..=(input.len() - at).min(16));
        match random.random_range(0..8) {
            0 => drop(input.drain(at..until)),
            1 => input.truncate(at),
            2 => drop(input.splice(at..at, [random.random()])),
            3 => drop(input.splice(at..until, [TELLING[random.random_range(0..TELLING.len())]])),
            4 => {
                let again = input[at..until].repeat(random.random_range(1..=8));
                drop(input.splice(at..at, again));
            }
            5 => {
                let (_, other) = &seeds[random.random_range(0..seeds.len())];
                let from = random.random_range(0..=other.len());
                drop(input.splice(at.., other[from..].iter().copied()));
            }
            _ if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            _ => input.push(random.random()),
        }
    }
    input.truncate(LONGEST);
    input
}

#[test]
fn every_target_is_run_here_and_by_the_fuzzer() {
    let here: BTreeSet<String> = TARGETS.iter().map(|name| (*name).to_owned()).collect();
    for of in ["targets", "fuzz_targets", "seeds"] {
        assert_eq!(names(of), here, "fuzz/{of}");
    }
    let manifest = fs::read_to_string(folder("Cargo.toml")).unwrap();
    for name in &here {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
    }
}
