//! Holds the code in `src/` against the direction of imports that `docs/architecture.md` draws.
//!
//! Every `crate::`, `gantry::` and `super::` path is read, in `use` lines and in the middle of code alike, and an
//! arrow between two top-level modules that the table does not have fails. Two libraries have one place each:
//! axum under `front/http`, dicom_ul under `dimse`.

mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

/// From the entry point down: a module may import whatever stands in a later line, never its own line.
const CHAIN: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["app"],
    &["front"],
    &["router", "doctor"],
    &["archive", "access"],
    &["dimse", "dicomweb", "image"],
    &["dicom"],
];
/// What anybody may import; these import only what `BESIDE` lists.
const BOTTOM: &[&str] = &["net", "caller", "current", "event", "metrics", "trace"];
/// Arrows beside the chain. Where the third entry is set, only paths that name a `…Config`, or a module
/// `config` that holds one, may be imported.
const BESIDE: &[(&str, &[&str], bool)] = &[
    ("main", &["config", "telemetry"], false),
    ("cli", &["config", "demo", "telemetry", "audit"], false),
    ("app", &["config", "telemetry", "audit"], false),
    ("demo", &["dimse", "dicom"], false),
    ("audit", &["dicom"], false),
    ("event", &["caller", "dicom"], false),
    ("caller", &["dicom"], false),
    ("config", &["dicom"], false),
    (
        "config",
        &["app", "access", "audit", "telemetry", "front", "router", "archive", "dimse", "dicomweb", "image"],
        true,
    ),
];
/// What only tests may import besides: the built-in archive is what they talk to.
const IN_TESTS: &[&str] = &["demo"];
/// Libraries that only one folder may name.
const CONFINED: &[(&str, &str)] = &[("axum", "front/http"), ("dicom_ul", "dimse")];

/// Whether `from` may import `path`, whose first segment is a top-level module.
fn may_import(from: &str, path: &[String], in_tests: bool) -> bool {
    let Some(to) = path.first().map(String::as_str) else { return true };
    if from == to || BOTTOM.contains(&to) || (in_tests && IN_TESTS.contains(&to)) {
        return true;
    }
    let line = |module: &str| CHAIN.iter().position(|line| line.contains(&module));
    if let (Some(upper), Some(lower)) = (line(from), line(to)) {
        return upper < lower;
    }
    let names_config = path.iter().any(|segment| segment.ends_with("Config") || segment == "config");
    BESIDE.iter().any(|(module, lower, config_only)| {
        *module == from && lower.contains(&to) && (!config_only || names_config)
    })
}

/// Every offence in the source text of `file`, a path below `src/`. `modules` are the crate's top-level modules.
fn offences(file: &Path, text: &str, modules: &[String]) -> Vec<String> {
    let source = Source::read(file, text);
    // `lib.rs` is the map of the crate: it declares every module and imports none.
    let from = source.module.first().map_or("lib", String::as_str);
    let mut found = Vec::new();
    for import in &source.imports {
        // `crate::Something` at the root is not an arrow between modules.
        let to_module = import.path.first().is_some_and(|to| modules.contains(to));
        if to_module && !may_import(from, &import.path, import.in_tests) {
            let path = import.path.join("::");
            found.push(format!("{}:{}: {from} must not import {path}", file.display(), import.line));
        }
    }
    for (library, folder) in CONFINED {
        if !file.starts_with(folder)
            && let Some(line) = source.first_line_naming(library)
        {
            found.push(format!("{}:{line}: {library} belongs under {folder} only", file.display()));
        }
    }
    found
}

/// The Rust files below `src/`, relative to it.
fn files(src: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![src.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path.strip_prefix(src).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// The top-level modules that `files` make.
fn top_level(files: &[PathBuf]) -> Vec<String> {
    let mut modules: Vec<String> =
        files.iter().filter_map(|file| source::module_path(file).into_iter().next()).collect();
    modules.dedup();
    modules
}

#[test]
fn imports_go_one_way() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let files = files(&src);
    let modules = top_level(&files);
    let found: Vec<String> = files
        .iter()
        .flat_map(|file| offences(file, &fs::read_to_string(src.join(file)).unwrap(), &modules))
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn every_module_has_its_place_in_the_table() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for module in top_level(&files(&src)) {
        let placed = CHAIN.iter().any(|line| line.contains(&module.as_str()))
            || BOTTOM.contains(&module.as_str())
            || BESIDE.iter().any(|(from, to, _)| *from == module || to.contains(&module.as_str()));
        assert!(placed, "where does `{module}` stand? say so in CHAIN, BOTTOM or BESIDE");
    }
}

/// The offences of `text` as if it stood in `file`, in a crate that has every module of the table.
fn planted(file: &str, text: &str) -> Vec<String> {
    let modules: Vec<String> = CHAIN
        .iter()
        .flat_map(|line| line.iter())
        .chain(BOTTOM)
        .chain(&["config", "demo", "telemetry", "audit"])
        .map(|module| (*module).to_owned())
        .collect();
    offences(Path::new(file), text, &modules)
}

#[test]
fn a_planted_arrow_against_the_rule_is_found() {
    for (file, text) in [
        ("dimse/pool.rs", "use crate::dicomweb::json;"),
        ("dicomweb/json.rs", "use crate::dimse::status::Status;"),
        ("dicom/uid.rs", "use crate::archive::Error;"),
        ("archive/mod.rs", "use crate::{\n    caller::Caller,\n    front::{http, Error},\n};"),
        ("archive/dimse.rs", "fn f() { let _ = crate::router::Router::new(); }"),
        ("archive/dimse.rs", "use super::super::app::App;"),
        ("router.rs", "use super::front::http;"),
        ("dimse/mod.rs", "mod inner { use super::super::archive::Error; }"),
        ("front/http/mod.rs", "use crate::config::Config;"),
        ("config.rs", "use crate::archive::Error;"),
        ("demo/mod.rs", "use crate::archive::Archive;"),
        ("net/mod.rs", "use crate::dimse::Error;"),
        ("dimse/scu.rs", "use crate::demo::Demo;"),
        ("main.rs", "use gantry::demo::run;"),
        ("dimse/wire.rs", "fn f<'a>(c: char) { if c == '\"' { crate::front::f() } }"),
        ("app.rs", "use axum::Router;"),
        ("front/mod.rs", "use axum::Router;"),
        ("archive/dimse.rs", "fn f(pdu: dicom_ul::Pdu) {}"),
    ] {
        let found = planted(file, text);
        assert!(!found.is_empty(), "{file}: {text}");
        assert!(found.iter().all(|offence| offence.starts_with(file)), "{found:?}");
    }
}

#[test]
fn an_arrow_with_the_rule_is_not_an_offence() {
    for (file, text) in [
        ("main.rs", "fn main() { gantry::cli::main() }"),
        ("cli/demo.rs", "use crate::{app::App, config::Config, demo::Demo};"),
        ("app.rs", "use crate::front::http as web; use crate::dimse::pool::{self, Pool};"),
        ("front/http/qido.rs", "use axum::Router; use crate::dicomweb::json; use crate::archive::Archive;"),
        ("archive/dimse.rs", "use super::Error; use crate::dimse::scu; use crate::net::DimseSocket;"),
        ("archive/dimse/mod.rs", "use super::super::dicom::Uid;"),
        (
            "dimse/wire.rs",
            "// use crate::front::http;\n/* crate::app /* nested */ crate::app */ use dicom_ul::Pdu;",
        ),
        ("dimse/wire.rs", "const S: &str = \"crate::front\"; const R: &str = r#\"a\" crate::app\"#;"),
        ("archive/dimse.rs", "fn f() {}\n#[cfg(test)]\nmod tests { use crate::demo::Demo; }"),
        ("archive/dimse/tests.rs", "use crate::demo::Demo;"),
        ("config.rs", "use crate::archive::dimse::Config as Archive; use crate::front::HttpConfig;"),
        ("archive/error.rs", "pub(in crate::archive) struct Error { tags: crate::Unknown }"),
    ] {
        assert_eq!(planted(file, text), Vec::<String>::new(), "{file}: {text}");
    }
}
