//! The interface answers as `openapi/gantry.yaml` says, whatever it is asked: schemathesis makes up the requests.

use std::path::Path;

use gantry::demo::{Archive, Plain};

use crate::support::app::TestApp;
use crate::support::process::{Scratch, bounded};

/// Requests of each operation, in each phase. Enough for every parameter to be wrong in its own way; some ten seconds in all.
const EXAMPLES: &str = "5";
/// What is held against each answer.
const CHECKS: &str =
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";

/// Runs schemathesis against these operations; what it printed where one of them fails. An error of its own is no answer
/// of ours, and what is made up is the same each time: it is run once more.
fn conforms(url: &str, folder: &Path, which: [&str; 2]) -> Result<(), String> {
    run(url, folder, which).or_else(|text| {
        let is_finding = text.contains("= FAILURES =") || !text.contains("= ERRORS =");
        if is_finding { Err(text) } else { run(url, folder, which) }
    })
}

fn run(url: &str, folder: &Path, which: [&str; 2]) -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = root.join(".peers/venv/bin/schemathesis");
    assert!(program.exists(), "{} is missing: run tests/peers/install", program.display());
    let mut command = bounded(program);
    command.arg("--config-file").arg(root.join("tests/peers/schemathesis.toml"));
    command.arg("run").arg(root.join("openapi/gantry.yaml")).args(["--url", url]).args(which);
    command.args(["--checks", CHECKS, "--max-examples", EXAMPLES, "--phases", "coverage,fuzzing"]);
    // By one thread: Python 3.11 counts the depth of what it parses for all threads together, and several that parse at
    // once fail of it.
    command.args(["--generation-deterministic", "--workers", "1"]);
    command.args([
        "--suppress-health-check",
        "all",
        "--request-timeout",
        "20",
        "--no-color",
        "--warnings",
        "off",
    ]);
    let output = command.current_dir(folder).output().unwrap();
    let text = || String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    if output.status.success() { Ok(()) } else { Err(text()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_has_an_answer_that_is_not_described() {
    let archive =
        Archive::builder().ae_title("PACS".parse().unwrap()).studies(Plain::new(2, 2, 2, 4096).make());
    let archive = archive.start().await.unwrap();
    let app = TestApp::start(&format!(
        "[dimse]\nlisten = \"127.0.0.1:0\"\n[archive.main]\nae_title = \"PACS\"\naddress = \"{}\"\n",
        archive.addr()
    ))
    .await;
    let (root, base) = (format!("http://{}", app.http), format!("http://{}/dicom-web", app.http));
    let ran = tokio::task::spawn_blocking(move || {
        let scratch = Scratch::new("schemathesis");
        [(base, ["--exclude-tag", "Server"]), (root, ["--include-tag", "Server"])]
            .map(|(url, which)| conforms(&url, scratch.path(), which))
    });
    for result in ran.await.unwrap() {
        result.unwrap_or_else(|text| panic!("{text}"));
    }
    app.settle("made up requests").await;
}
