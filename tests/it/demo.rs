//! `gantry demo`, as a newcomer meets it: the lines that it prints do what they say.

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::process::{Scratch, Server, bounded, free_port};

fn demo() -> Server {
    let ports = [free_port(), free_port(), free_port()];
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command.args(["demo", "--studies", "6", "--slices", "2"]);
    for (option, port) in ["--http", "--dimse", "--archive"].iter().zip(&ports) {
        command.args([option, &format!("127.0.0.1:{port}")[..]]);
    }
    Server::start("gantry-demo", Scratch::new("gantry-demo"), command, &ports)
}

/// The curl lines of the welcome, continuation lines joined.
fn curl_lines(welcome: &str) -> Vec<String> {
    let joined = welcome.replace("\\\n", " ");
    joined.lines().map(str::trim).filter(|line| line.starts_with("curl ")).map(str::to_owned).collect()
}

#[test]
fn the_curl_lines_of_the_demo_return_studies_and_save_a_study() {
    let demo = demo();
    let deadline = Instant::now() + Duration::from_secs(10);
    while !demo.log().contains("Ctrl-C") {
        assert!(Instant::now() < deadline, "{}", demo.log());
        sleep(Duration::from_millis(20));
    }
    let lines = curl_lines(&demo.log());
    assert_eq!(lines.len(), 3, "{}", demo.log());
    let run = |line: &str| {
        let output = bounded("sh")
            .args(["-c", &format!("{line} --silent --fail")])
            .current_dir(demo.folder())
            .output();
        let output = output.unwrap();
        assert!(output.status.success(), "{line}: {output:?}\n{}", demo.log());
        output.stdout
    };
    let studies: serde_json::Value = serde_json::from_slice(&run(&lines[0])).unwrap();
    assert_eq!(studies[0]["00100010"]["Value"][0]["Alphabetic"], "Müller^Jürgen");
    run(&lines[1]);
    let study = fs::read(demo.folder().join("study.multipart")).unwrap();
    // Two slices and their report.
    assert_eq!(study.windows(4).filter(|window| *window == b"DICM").count(), 3);
    assert!(study.trim_ascii_end().ends_with(b"--"), "no closing boundary");
    run(&lines[2]);
    let object = fs::read(demo.folder().join("object.dcm")).unwrap();
    assert_eq!(&object[128..132], b"DICM");
}
