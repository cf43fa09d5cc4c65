//! Real programs before real archives: what they are answered through the bridge is what they are answered directly.

mod commitment;
mod find;
mod mpps;
mod print;
mod query_retrieve;

use std::fs;
use std::path::Path;

use tokio::task::block_in_place;

use super::GANTRY;
use crate::support::app::TestApp;
use crate::support::peers::{python, repository};
use crate::support::process::{Scratch, bounded};

/// Somebody to call: a title and a port on loopback.
#[derive(Debug, Clone)]
struct Called {
    title: String,
    port: u16,
}

impl Called {
    fn new(title: &str, port: u16) -> Self {
        Self { title: title.to_owned(), port }
    }

    /// The bridge.
    fn bridge(app: &TestApp) -> Self {
        Self::new(GANTRY, app.dimse.port())
    }

    /// Runs one of DCMTK's programs, which has to end well: by what it returns, and by what it says, as some return 0
    /// after a failure. `files` come last.
    fn succeed(&self, program: &str, calling: &str, arguments: &[&str], files: &[&Path]) -> String {
        let (well, said) = dcmtk_with(program, calling, self, arguments, files);
        let failed = said.lines().any(|line| line.starts_with("E:") || line.starts_with("F:"));
        assert!(well && !failed, "{program} {arguments:?} at {self:?}:\n{said}");
        said
    }

    /// Runs `dimse_session.py` against it, and reads the last line that it prints as JSON.
    fn session(&self, work: &str, calling: &str, arguments: &[&str]) -> serde_json::Value {
        let port = self.port.to_string();
        let mut all = vec![work, "127.0.0.1", &port, &self.title, calling];
        all.extend(arguments);
        let printed = block_in_place(|| python("dimse_session.py", &all));
        serde_json::from_str(printed.lines().last().unwrap()).unwrap()
    }
}

/// Runs one of DCMTK's programs, verbosely, and returns what it says and whether it ended well.
fn dcmtk(program: &str, calling: &str, called: &Called, arguments: &[&str]) -> (bool, String) {
    dcmtk_with(program, calling, called, arguments, &[])
}

/// The same, with files.
fn dcmtk_with(
    program: &str,
    calling: &str,
    called: &Called,
    arguments: &[&str],
    files: &[&Path],
) -> (bool, String) {
    let mut command = bounded(format!("/usr/bin/{program}"));
    command.env("LD_PRELOAD", repository(".peers/loopback.so")).env("TCP_NODELAY", "1");
    command.args(["-v", "-aet", calling, "-aec", &called.title]).args(arguments);
    command.args(["127.0.0.1", &called.port.to_string()]).args(files);
    let output = block_in_place(|| command.output()).unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// Searches with findscu, which is to succeed; its matches are in `folder`.
fn findscu(calling: &str, called: &Called, arguments: &[&str], folder: &Path) {
    let mut all = vec!["-X", "-od", folder.to_str().unwrap()];
    all.extend(arguments);
    let (well, said) = dcmtk("findscu", calling, called, &all);
    // It ends well whatever the final status is.
    assert!(well && said.contains("Received Final Find Response (Success)"), "{arguments:?}: {said}");
}

/// How many matches a search has: the same ones directly and through the bridge.
fn same_matches(calling: &str, direct: &Called, bridge: &Called, arguments: &[&str]) -> usize {
    let folders = [Scratch::new("direct"), Scratch::new("through")];
    findscu(calling, direct, arguments, folders[0].path());
    findscu(calling, bridge, arguments, folders[1].path());
    let [direct, through] = folders.each_ref().map(|folder| folder.path().as_os_str());
    let compared = block_in_place(|| python("same_matches.py", &[direct, through, GANTRY.as_ref()]));
    compared.trim().parse().unwrap()
}

/// How many data sets both folders hold; they are the same in both, apart from the elements `without`.
fn same(one: &Path, other: &Path, without: &[&str]) -> usize {
    let mut arguments = vec![one.to_str().unwrap(), other.to_str().unwrap()];
    if !without.is_empty() {
        arguments.push("--without");
        arguments.extend(without);
    }
    block_in_place(|| python("compare_objects.py", &arguments)).trim().parse().unwrap()
}

/// A folder that is there and empty.
fn empty(folder: &Path) -> &str {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir_all(folder).unwrap();
    folder.to_str().unwrap()
}
