//! A film printed by DCMTK's dcmprscu on its dcmprscp: an SOP class that the bridge does not know.

use std::path::Path;

use super::same;
use crate::support::bridge::Bridge;
use crate::support::peers::{Destination, data, dcmprscp, manifest, print_configuration};
use crate::support::process::{Scratch, bounded};

/// Renders the first slice and prints it on the printer at that port; the printer's folder of stored prints.
fn print(scratch: &Scratch, port: u16) {
    let configuration = print_configuration(scratch, "PRINTER", port, "PRINTER");
    let ct = data("ct", &["--slices", "40"]);
    let image = ct.join(manifest(&ct)[0]["file"].as_str().unwrap());
    let run = |program: &str, file: &Path| {
        let mut command = bounded(Path::new("/usr/bin").join(program));
        command.args(["-v", "-c"]).arg(&configuration).args(["-p", "PRINTER"]).arg(file);
        let output = command.current_dir(scratch.path()).output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let failed = said.lines().any(|line| line.starts_with("E:") || line.starts_with("F:"));
        assert!(output.status.success() && !failed, "{program}: {said}");
    };
    run("dcmpsprt", &image);
    let job = std::fs::read_dir(scratch.path().join("db")).unwrap().map(|entry| entry.unwrap().path());
    let job = job.into_iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with("SP_"));
    run("dcmprscu", &job.unwrap());
}

/// The hardcopy images that the printer has stored.
fn films(server: &Path) -> std::path::PathBuf {
    let films = server.join("films");
    std::fs::create_dir(&films).unwrap();
    for entry in std::fs::read_dir(server.join("db")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_owned();
        if name.to_string_lossy().starts_with("HG_") {
            std::fs::copy(&path, films.join(name)).unwrap();
        }
    }
    films
}

#[test]
fn a_film_is_printed_through_the_bridge() {
    let (directly, port) = dcmprscp();
    print(&Scratch::new("print-direct"), port);
    let (behind, port) = dcmprscp();
    let own = Destination::new("PRINTER");
    let configuration = format!(
        "[dimse]\nlisten = \"127.0.0.1:{}\"\nae_title = \"PRINTER\"\naccept = \"any\"\n\
         [archive.main]\nae_title = \"PRINTER\"\naddress = \"127.0.0.1:{port}\"\n",
        own.port
    );
    let _bridge = Bridge::with_configuration(&configuration);
    print(&Scratch::new("print-through"), own.port);
    let [direct, through] = [&directly, &behind].map(|server| films(server.folder()));
    // Each film has UIDs, dates and times of its own.
    let own = [
        "00080018", "00080016", "0020000D", "0020000E", "00080012", "00080013", "00080020", "00080021",
        "00080030", "00080031", "00080023", "00080033", "00181200", "00181201", "00200010", "00080070",
    ];
    assert_eq!(same(&direct, &through, &own), 1);
}
