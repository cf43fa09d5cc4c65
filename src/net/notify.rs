//! Tells the service manager how the bridge does (sd_notify(3)): that it is ready, that it ends, and, where it asks for
//! that, that it is still alive.
//!
//! The protocol is a datagram of `KEY=value` lines to a socket that the environment names. Without one, nobody is told.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

/// A service manager that wants to be told.
#[derive(Debug)]
pub struct Notify {
    socket: UnixDatagram,
    manager: SocketAddr,
    /// How long the bridge may be silent before it is taken for dead; `None`: it is not watched.
    watchdog: Option<Duration>,
}

impl Notify {
    /// The one that the environment names, where it names one.
    pub fn from_environment() -> Option<Self> {
        let path = std::env::var_os("NOTIFY_SOCKET")?;
        let watchdog = std::env::var("WATCHDOG_USEC").ok().filter(|_| {
            // It may have been meant for who has started us.
            std::env::var("WATCHDOG_PID").map_or(true, |pid| pid == std::process::id().to_string())
        });
        match Self::to(&path, watchdog.as_deref()) {
            Ok(notify) => Some(notify),
            Err(error) => {
                tracing::warn!(%error, "the service manager that NOTIFY_SOCKET names cannot be told anything");
                None
            }
        }
    }

    /// The one that listens at `path`; one that begins with `@` is a name in the abstract namespace. `watchdog`:
    /// microseconds.
    fn to(path: &OsString, watchdog: Option<&str>) -> io::Result<Self> {
        let manager = match path.as_bytes() {
            #[cfg(target_os = "linux")]
            [b'@', name @ ..] => {
                use std::os::linux::net::SocketAddrExt as _;
                SocketAddr::from_abstract_name(name)?
            }
            _ => SocketAddr::from_pathname(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        // A manager that does not read must not stop us.
        socket.set_nonblocking(true)?;
        let watchdog = watchdog.and_then(|text| text.parse().ok()).filter(|usec| *usec > 0);
        Ok(Self { socket, manager, watchdog: watchdog.map(Duration::from_micros) })
    }

    /// Requests are welcome from now on.
    pub fn ready(&self) {
        self.send("READY=1\nSTATUS=Serving\n");
    }

    /// The configuration is being read anew; [`Notify::ready`] tells that this has ended.
    pub fn reloading(&self) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let usec = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={usec}\nSTATUS=Reading the configuration\n"));
    }

    /// No new work is taken.
    pub fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=Waiting for the requests under way\n");
    }

    /// What the bridge does, in a line.
    pub fn status(&self, text: &str) {
        // A line of its own would be another key.
        self.send(&format!("STATUS={}\n", text.replace(['\n', '\r'], " ")));
    }

    /// Tells that the bridge is ready, then that it lives, and from `shutdown` on that it ends, until the handle is dropped.
    /// To be called in a runtime: one that does not run its tasks any more is not alive.
    pub fn attend(self: Arc<Self>, shutdown: CancellationToken) -> AbortOnDropHandle<()> {
        AbortOnDropHandle::new(tokio::spawn(async move {
            self.ready();
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.keep_alive() => {}
            }
            self.stopping();
            // It is watched while it drains, too.
            self.keep_alive().await;
        }))
    }

    /// Never ends.
    async fn keep_alive(&self) {
        let Some(watchdog) = self.watchdog else { return std::future::pending().await };
        let mut ticks = interval(watchdog / 2);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.send("WATCHDOG=1\n");
        }
    }

    fn send(&self, text: &str) {
        if let Err(error) = self.socket.send_to_addr(text.as_bytes(), &self.manager) {
            tracing::debug!(%error, "the service manager was not told");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A manager's socket in a directory of its own.
    fn manager() -> (tempfile::TempDir, UnixDatagram, OsString) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        (folder, socket, path.into_os_string())
    }

    fn received(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 1024];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn a_reload_tells_the_clock_that_the_manager_has_and_a_status_is_one_line() {
        let (_folder, socket, path) = manager();
        let notify = Notify::to(&path, None).unwrap();
        notify.reloading();
        let text = received(&socket);
        let usec = text.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
        assert!(text.starts_with("RELOADING=1\n") && usec.parse::<u64>().unwrap() > 0, "{text}");
        notify.status("two\nREADY=1");
        assert_eq!(received(&socket), "STATUS=two READY=1\n");
    }

    #[tokio::test]
    async fn it_is_ready_lives_and_ends_in_this_order() {
        let (_folder, socket, path) = manager();
        let notify = Notify::to(&path, Some("20000")).unwrap();
        let shutdown = CancellationToken::new();
        let attending = Arc::new(notify).attend(shutdown.clone());
        let heard = tokio::task::spawn_blocking(move || {
            let mut heard = vec![received(&socket)];
            while !heard.iter().any(|text| text.starts_with("WATCHDOG")) {
                heard.push(received(&socket));
            }
            shutdown.cancel();
            while !heard.iter().any(|text| text.starts_with("STOPPING")) {
                heard.push(received(&socket));
            }
            heard.push(received(&socket));
            heard
        });
        let heard = heard.await.unwrap();
        drop(attending);
        assert!(heard[0].starts_with("READY=1\n"), "{heard:?}");
        assert_eq!(heard.last().map(String::as_str), Some("WATCHDOG=1\n"), "while it drains");
    }

    #[test]
    fn a_manager_that_is_not_there_is_no_failure() {
        let nowhere = OsString::from("/nowhere/notify");
        let notify = Notify::to(&nowhere, Some("nonsense")).unwrap();
        assert_eq!(notify.watchdog, None);
        notify.ready();
        assert!(Notify::to(&OsString::from("@gantry-nobody"), None).is_ok());
    }
}
