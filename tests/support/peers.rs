//! Real archives, a real proxy and Python clients, as Debian ships them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

use super::process::{EVENTS, Scratch, Server, bounded, free_port};

/// An AE title and the port it listens on: a destination that an archive is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    /// The AE title.
    pub(crate) ae_title: String,
    /// The port on loopback.
    pub(crate) port: u16,
}

impl Destination {
    /// `ae_title` on a free port.
    pub(crate) fn new(ae_title: &str) -> Self {
        Self { ae_title: ae_title.to_owned(), port: free_port() }
    }
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Runs a script of `tests/peers/` and returns what it prints.
///
/// # Panics
/// When it fails; the message holds what it wrote to its standard error.
pub(crate) fn python<S: AsRef<std::ffi::OsStr>>(script: &str, arguments: &[S]) -> String {
    let interpreter = repository(".peers/venv/bin/python");
    assert!(interpreter.exists(), "{} is missing: run `make peers`", interpreter.display());
    let output =
        bounded(interpreter).arg(repository("tests/peers").join(script)).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{script} failed, {}:\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// The folder of test data that `make_data.py` makes for these arguments; made once, and again when the script changes.
pub(crate) fn data(kind: &str, options: &[&str]) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let folder = repository(".peers/data").join(format!("{kind}{}", options.concat()));
    let script = fs::metadata(repository("tests/peers/make_data.py")).unwrap().modified().unwrap();
    // The manifest is written last.
    let made = fs::metadata(folder.join("manifest.json")).and_then(|manifest| manifest.modified());
    if !made.is_ok_and(|made| made > script) {
        let _ = fs::remove_dir_all(&folder);
        let mut arguments = vec![kind, folder.to_str().unwrap()];
        arguments.extend(options);
        python("make_data.py", &arguments);
    }
    folder
}

/// The manifest of `folder`: one JSON object for each DICOM object.
pub(crate) fn manifest(folder: &Path) -> Vec<serde_json::Value> {
    serde_json::from_str(&fs::read_to_string(folder.join("manifest.json")).unwrap()).unwrap()
}

/// `program` with what makes it bind loopback only, and its sockets send at once.
fn on_loopback(program: &str) -> Command {
    let shim = repository(".peers/loopback.so");
    assert!(shim.exists(), "{} is missing: run `make peers`", shim.display());
    let mut command = Command::new(program);
    command.env("LD_PRELOAD", shim).env("TCP_NODELAY", "1").env("MALLOC_ARENA_MAX", "5");
    command
}

/// An archive that speaks DIMSE.
#[derive(Debug)]
pub(crate) struct Archive {
    /// Its AE title.
    pub(crate) ae_title: String,
    /// Its DICOM port on loopback.
    pub(crate) port: u16,
    /// Orthanc's REST interface, such as `http://127.0.0.1:8042`; empty for others.
    pub(crate) rest: String,
    /// The process.
    pub(crate) server: Server,
    /// The manifest of what it holds.
    pub(crate) holds: PathBuf,
}

impl Archive {
    /// Orthanc, holding what it takes of the objects of `data`. It moves to `destinations`. `extra` is merged into its
    /// configuration, for example `{"DicomAet": "OTHER"}`.
    pub(crate) fn orthanc(data: &Path, destinations: &[Destination], extra: serde_json::Value) -> Self {
        let ae_title = extra["DicomAet"].as_str().unwrap_or("ORTHANC").to_owned();
        let (port, http) = (free_port(), free_port());
        let scratch = Scratch::new("orthanc");
        let modalities: serde_json::Map<_, _> = destinations
            .iter()
            .map(|to| (to.ae_title.clone(), serde_json::json!([to.ae_title, "127.0.0.1", to.port])))
            .collect();
        let mut configuration = serde_json::json!({
            "Name": ae_title,
            "StorageDirectory": scratch.path().join("db"),
            "IndexDirectory": scratch.path().join("db"),
            "Plugins": [],
            "DicomAet": ae_title,
            "DicomPort": port,
            "HttpPort": http,
            "RemoteAccessAllowed": false,
            "AuthenticationEnabled": false,
            "DicomCheckCalledAet": true,
            "DicomAlwaysAllowEcho": true,
            "DicomAlwaysAllowStore": true,
            "DicomAlwaysAllowFind": true,
            "DicomAlwaysAllowGet": true,
            "DicomAlwaysAllowMove": true,
            "DicomModalities": modalities,
            // Its default, Latin-1, loses what is not Latin.
            "DefaultEncoding": "Utf8",
            "OverwriteInstances": false,
            "UnknownSopClassAccepted": true,
            "StableAge": 1,
            "SaveJobs": false,
            "DicomThreadsCount": 8,
        });
        if let (Some(all), Some(extra)) = (configuration.as_object_mut(), extra.as_object()) {
            all.extend(extra.clone());
        }
        let file = scratch.write("orthanc.json", &configuration.to_string());
        let mut command = on_loopback("/usr/sbin/Orthanc");
        // So that its log tells of every association and retrieval.
        command.arg("--verbose-dicom").arg(file);
        let server = Server::start("Orthanc", scratch, command, &[port, http]);
        let rest = format!("http://127.0.0.1:{http}");
        let taken = python("load_orthanc.py", &[rest.as_ref(), data.as_os_str()]);
        let holds = server.folder().join("holds.json");
        fs::write(&holds, taken).unwrap();
        Self { ae_title, port, rest, server, holds }
    }

    /// DCMTK's dcmqrscp, holding the objects that the manifest `objects` of the folder `data` lists. It moves to
    /// `destinations`. `options` are command line options, for example `--disable-get`.
    pub(crate) fn dcmqrscp(
        data: &Path,
        objects: &Path,
        destinations: &[Destination],
        options: &[&str],
    ) -> Self {
        let ae_title = "DCMQRSCP".to_owned();
        let port = free_port();
        let scratch = Scratch::new("dcmqrscp");
        let database = scratch.path().join("db");
        fs::create_dir(&database).unwrap();
        let mut hosts = String::new();
        let mut names = Vec::new();
        for (number, to) in destinations.iter().enumerate() {
            hosts += &format!("peer{number} = ({}, localhost, {})\n", to.ae_title, to.port);
            names.push(format!("peer{number}"));
        }
        let configuration = format!(
            "NetworkTCPPort = {port}\nMaxPDUSize = 131072\nMaxAssociations = 64\n\
             HostTable BEGIN\n{hosts}known = {}\nHostTable END\nVendorTable BEGIN\nVendorTable END\n\
             AETable BEGIN\n{ae_title} {} RW (500, 1024mb) ANY\nAETable END\n",
            names.join(", "),
            database.display()
        );
        let file = scratch.write("dcmqrscp.cfg", &configuration);
        let text = fs::read_to_string(objects).unwrap();
        let entries: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
        let files = entries.iter().map(|entry| data.join(entry["file"].as_str().unwrap()));
        // Registering leaves the files where they are, whatever their transfer syntax.
        let registered = bounded("/usr/bin/dcmqridx").arg(&database).args(files).output().unwrap();
        assert!(registered.status.success(), "dcmqridx: {}", String::from_utf8_lossy(&registered.stderr));
        let holds = scratch.write("holds.json", &text);
        // What it prints comes by the character out of each of its processes; to a file it writes by the event.
        let events = scratch.path().join(EVENTS);
        let log = scratch.write(
            "log.cfg",
            &format!(
                "log4cplus.rootLogger = INFO, file\nlog4cplus.appender.file = log4cplus::FileAppender\n\
                 log4cplus.appender.file.File = {}\nlog4cplus.appender.file.Append = true\n\
                 log4cplus.appender.file.layout = log4cplus::PatternLayout\n\
                 log4cplus.appender.file.layout.ConversionPattern = %D{{%H:%M:%S.%q}} %i %m%n\n",
                events.display()
            ),
        );
        let mut command = on_loopback("/usr/bin/dcmqrscp");
        command.arg("-lc").arg(log).arg("-c").arg(file).args(options).arg(port.to_string());
        let server = Server::start("dcmqrscp", scratch, command, &[port]);
        Self { ae_title, port, rest: String::new(), server, holds }
    }

    /// The built-in archive, `gantry pacs`, over the folder `data`. It moves to `destinations`. `options` are command
    /// line options, for example `--no-get`.
    pub(crate) fn built_in(data: &Path, destinations: &[Destination], options: &[&str]) -> Self {
        let ae_title = "PACS".to_owned();
        let port = free_port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
        command.args(["pacs", "--ae-title", &ae_title, "--listen", &format!("127.0.0.1:{port}")]);
        command.arg("--data").arg(data).args(options);
        for to in destinations {
            command.arg("--destination").arg(format!("{}=127.0.0.1:{}", to.ae_title, to.port));
        }
        let server = Server::start("gantry pacs", Scratch::new("pacs"), command, &[port]);
        Self { ae_title, port, rest: String::new(), server, holds: data.join("manifest.json") }
    }

    /// `HOST:PORT:TITLE`, as the scripts want it.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}:{}", self.port, self.ae_title)
    }
}

/// DCMTK's storescp, which writes what is stored to `folder`; its AE title is `STORESCP`. `options` are command line
/// options, for example `+xi`.
pub(crate) fn storescp(folder: &Path, options: &[&str]) -> (Server, u16) {
    let port = free_port();
    let mut command = on_loopback("/usr/bin/storescp");
    command.arg("-od").arg(folder).args(options).arg(port.to_string());
    (Server::start("storescp", Scratch::new("storescp"), command, &[port]), port)
}

/// DCMTK's wlmscpfs, which serves a worklist to who calls it by `title`: an entry for each kind of name.
pub(crate) fn wlmscpfs(title: &str) -> (Server, u16) {
    let port = free_port();
    let scratch = Scratch::new("wlmscpfs");
    let folder = scratch.path().join("worklists");
    python("make_worklist.py", &[folder.as_os_str(), title.as_ref()]);
    let mut command = on_loopback("/usr/bin/wlmscpfs");
    command.arg("-v").arg("-csk").arg("-dfp").arg(folder).arg(port.to_string());
    (Server::start("wlmscpfs", scratch, command, &[port]), port)
}

/// nginx with a plain `proxy_pass` before `upstream`, a `host:port`: HTTP/1.0 to the upstream, buffering on, as
/// nginx does when nobody says otherwise.
pub(crate) fn nginx(upstream: &str) -> (Server, u16) {
    let port = free_port();
    let scratch = Scratch::new("nginx");
    let folder = scratch.path().display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .collect();
    let configuration = format!(
        "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n\
         http {{\naccess_log off;\n{temporary}\
         server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://{upstream}; }} }}\n}}\n"
    );
    let file = scratch.write("nginx.conf", &configuration);
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-e").arg("stderr").arg("-c").arg(file);
    (Server::start("nginx", scratch, command, &[port]), port)
}

/// pydicom's own test files, as far as Orthanc takes them: their folder, and a manifest of those taken.
pub(crate) fn pydicom_files() -> (PathBuf, PathBuf) {
    static TAKEN: OnceLock<PathBuf> = OnceLock::new();
    let folder = data("pydicom", &[]);
    let taken = TAKEN.get_or_init(|| {
        let archive = Archive::orthanc(&folder, &[], serde_json::json!({}));
        let taken = folder.join("taken.json");
        fs::copy(&archive.holds, &taken).unwrap();
        taken
    });
    (folder, taken.clone())
}

/// A server for performed procedure steps and storage commitment, made with pynetdicom.
pub(crate) fn mpps_and_commitment(title: &str, options: &[&str]) -> (Server, u16) {
    let port = free_port();
    let mut command = Command::new(repository(".peers/venv/bin/python"));
    command
        .arg(repository("tests/peers/mpps_and_commitment.py"))
        .arg(port.to_string())
        .arg(title)
        .args(options);
    (Server::start("mpps_and_commitment", Scratch::new("mpps"), command, &[port]), port)
}

/// The configuration of DCMTK's print programs, in their folder: a printer of `kind`, `PRINTER` for clients and
/// `LOCALPRINTER` for the printer itself.
pub(crate) fn print_configuration(scratch: &Scratch, title: &str, port: u16, kind: &str) -> PathBuf {
    let folder = scratch.path().display();
    for name in ["logs", "spool", "db"] {
        fs::create_dir_all(scratch.path().join(name)).unwrap();
    }
    scratch.write(
        "dcmpstat.cfg",
        &format!(
            "[[GENERAL]]\n[APPLICATION]\nLogDirectory = {folder}/logs\n[PRINT]\nDirectory = {folder}/spool\n\
             DetailedLog = false\nDeletePrintJobs = false\n[DATABASE]\nDirectory = {folder}/db\n\
             [[COMMUNICATION]]\n[{title}]\nAetitle = {title}\nDescription = test\nHostname = 127.0.0.1\n\
             Port = {port}\nType = {kind}\nDisableNewVRs = false\nDisplayFormat=1,1\n\
             FilmDestination = MAGAZINE\nFilmSizeID = 8INX10IN\nImplicitOnly = false\n\
             MagnificationType = NONE\nMaxPDU = 32768\nMediumType = PAPER\nResolutionID = STANDARD\n\
             SmoothingType = NONE\nSupports12Bit = true\nSupportsPresentationLUT = true\n"
        ),
    )
}

/// DCMTK's printer, called `PRINTER`; what is printed is stored in the folder `db`.
pub(crate) fn dcmprscp() -> (Server, u16) {
    let (port, scratch) = (free_port(), Scratch::new("dcmprscp"));
    let configuration = print_configuration(&scratch, "PRINTER", port, "LOCALPRINTER");
    let mut command = on_loopback("/usr/bin/dcmprscp");
    command.arg("-v").arg("-c").arg(configuration).args(["-p", "PRINTER"]).current_dir(scratch.path());
    (Server::start("dcmprscp", scratch, command, &[port]), port)
}
