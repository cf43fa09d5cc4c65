//! How Gantry is installed: the chart, the image, Compose, the unit file, and replicas behind what hashes.

mod health;
mod replicas;

use std::ffi::OsStr;

use crate::support::peers::repository;
use crate::support::process::bounded;

const GANTRY: &str = env!("CARGO_BIN_EXE_gantry");

/// Runs a script of `tests/peers/` with the packages that judge charts, and returns what it prints.
fn judge<S: AsRef<OsStr>>(script: &str, arguments: &[S]) -> String {
    let interpreter = repository(".peers/deploy/bin/python");
    assert!(interpreter.exists(), "{} is missing: run `make peers`", interpreter.display());
    let script = repository("tests/peers").join(script);
    let output = bounded(interpreter).arg(&script).args(arguments).output().unwrap();
    let [said, failed] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    assert!(output.status.success(), "{} failed:\n{said}\n{failed}", script.display());
    said.into_owned()
}

#[test]
fn kubernetes_checkov_and_gantry_itself_take_what_the_chart_makes() {
    judge("chart.py", &["test", GANTRY]);
}

#[test]
fn hadolint_has_nothing_to_say_of_the_dockerfile_whose_image_runs_without_a_writable_file() {
    judge("dockerfile.py", &["--binary", GANTRY]);
}

#[test]
fn what_compose_starts_is_configured_as_gantry_and_orthanc_take_it() {
    judge("compose.py", &[GANTRY]);
}

#[test]
fn systemd_takes_the_unit_file() {
    let unit = repository("deploy/gantry.service");
    let checked = bounded("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output();
    let checked = checked.unwrap_or_else(|error| panic!("{error}: run `make peers`"));
    let said = String::from_utf8_lossy(&checked.stderr);
    // All that may be missing here is the program where it is to be installed.
    let faults = said.lines().filter(|line| !line.contains("/usr/local/bin/gantry"));
    let faults: Vec<&str> = faults.filter(|line| line.contains("gantry.service")).collect();
    assert!(faults.is_empty(), "{said}");
}
