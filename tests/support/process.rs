//! Servers as child processes: free ports, a scratch folder, a wait until they answer, an end by pid.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How long a server may take until it answers. Orthanc needs about a second; a busy machine some more.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// Between two looks at a server that starts.
const POLL: Duration = Duration::from_millis(20);
/// Ports are given out from here, below what Linux takes for outgoing connections (32768 and up), so that none is
/// taken between its choice and the server's bind.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
/// Where what a server prints goes, in its folder.
const LOG: &str = "log";
/// Where it writes what it does, where it can be told to write it elsewhere than it prints.
pub(super) const EVENTS: &str = "events";
/// How much of a server's log a failed test shows.
const LOG_TAIL: usize = 8 * 1024;
/// Longest that a program may run whose end a test waits for, in seconds: several times what the slowest takes on a busy machine.
const LONGEST_RUN: &str = "600";

/// A program whose end a test waits for. One that hangs is aborted with all that it has started, so that the test fails and does
/// not hang as well: its status is 124 then, and a Python script says where it was.
///
/// # Panics
/// The program is not there.
pub(crate) fn bounded(program: impl AsRef<OsStr>) -> Command {
    let name = Path::new(&program);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    // A path with folders in it stays what it is.
    let is_there = std::env::split_paths(&folders).any(|folder| folder.join(name).exists());
    assert!(is_there, "{} is missing: run `make peers` first", name.display());
    let mut command = Command::new("timeout");
    command
        .env("PYTHONFAULTHANDLER", "1")
        .args(["--signal=ABRT", "--kill-after=10", LONGEST_RUN])
        .arg(program);
    command
}

/// A port on loopback that nobody listens on, and that no other test of this run gets.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let span = PORTS.end - PORTS.start;
    // Runs side by side begin at different places.
    let offset = (std::process::id() % u32::from(span)) as u16;
    for _ in 0..span {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = PORTS.start + ((u32::from(offset) * 61 + u32::from(step)) % u32::from(span)) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port between {} and {}", PORTS.start, PORTS.end);
}

/// A folder that is removed when it is dropped, unless the test fails.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    /// A new, empty folder; `name` tells whose it is.
    pub(crate) fn new(name: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(unique);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file in it.
    pub(crate) fn write(&self, name: &str, content: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, content).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !thread::panicking() {
            let _ = fs::remove_dir_all(&self.0);
        }
    }
}

/// A running server. Dropping it kills it, and what it forked.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    command: Command,
    ports: Vec<u16>,
    child: Child,
    scratch: Scratch,
}

impl Server {
    /// Starts `command`, and waits until every one of `ports` accepts connections. What it prints is kept.
    ///
    /// # Panics
    /// When the server ends, or has not answered by the deadline; the message holds the end of its log.
    pub(crate) fn start(name: &str, scratch: Scratch, mut command: Command, ports: &[u16]) -> Self {
        let output = File::create(scratch.path().join(LOG)).unwrap();
        // A group of its own: dcmqrscp forks for each association.
        command.stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output).process_group(0);
        let child = spawn(name, &mut command);
        let mut server = Self { name: name.to_owned(), command, ports: ports.to_vec(), child, scratch };
        server.wait_until_it_answers();
        server
    }

    /// Starts it again after [`kill`](Self::kill), on the same ports and with what it has on disk.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(&self.name, &mut self.command);
        self.wait_until_it_answers();
    }

    fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + START_DEADLINE;
        for port in &self.ports {
            while TcpStream::connect((Ipv4Addr::LOCALHOST, *port)).is_err() {
                if let Some(status) = self.child.try_wait().unwrap() {
                    panic!("{} ended with {status} while starting:\n{}", self.name, self.log());
                }
                assert!(
                    Instant::now() < deadline,
                    "{} does not answer on {port}:\n{}",
                    self.name,
                    self.log()
                );
                thread::sleep(POLL);
            }
        }
    }

    /// The process ID.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// The end of its log.
    pub(crate) fn log(&self) -> String {
        let bytes = self.written();
        String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(LOG_TAIL)..]).into_owned()
    }

    /// All of its log; bytes that are no ASCII as question marks, so that a place in it stays where it is.
    pub(crate) fn whole_log(&self) -> String {
        self.written().into_iter().map(|byte| if byte.is_ascii() { char::from(byte) } else { '?' }).collect()
    }

    fn written(&self) -> Vec<u8> {
        let events = fs::read(self.folder().join(EVENTS));
        events.or_else(|_| fs::read(self.folder().join(LOG))).unwrap_or_default()
    }

    /// Asks it to end, as a service manager does.
    pub(crate) fn terminate(&self) {
        signal_group(self.child.id(), "TERM");
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// Kills it at once, as a crash would.
    pub(crate) fn kill(&mut self) {
        signal_group(self.child.id(), "KILL");
        let _ = self.child.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("--- {} ({}):\n{}", self.name, self.folder().display(), self.log());
        }
    }
}

/// Starts `command`, whose program may be missing.
fn spawn(name: &str, command: &mut Command) -> Child {
    let started = command.spawn();
    started.unwrap_or_else(|error| {
        panic!("{name} does not start ({error}): run `make peers` first ({command:?})")
    })
}

/// Sends a signal to the process group that `pid` leads. The shell's own `kill` is there on every machine.
fn signal_group(pid: u32, signal: &str) {
    let _ = Command::new("sh").args(["-c", &format!("kill -{signal} -{pid} 2>/dev/null")]).status();
}
