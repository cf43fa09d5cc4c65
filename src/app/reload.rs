//! Reads the configuration again: when it is asked to, and when the file has changed.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::running::Running;
use crate::config::{Config, ConfigError};
use crate::net::{FileStamp, Notify};

/// How often the file is looked at.
const LOOK: Duration = Duration::from_secs(2);

/// Reads the configuration, or tells all that is wrong with it.
pub type Load = Arc<dyn Fn() -> Result<Config, Vec<ConfigError>> + Send + Sync>;

/// Somebody asks for the configuration to be read again, and is told what has changed, or why it stays as it was.
pub type Asked = oneshot::Sender<Result<String, String>>;

/// When and whence the configuration is read again.
pub struct Reload {
    /// Reads it.
    pub load: Load,
    /// The file that is watched; `None`: there is none.
    pub path: Option<PathBuf>,
    /// Somebody asks for it.
    pub asked: mpsc::Receiver<Asked>,
    /// Who waits for it to have ended; `None`: nobody.
    pub manager: Option<Arc<Notify>>,
}

impl Reload {
    /// Reads the configuration again for `running` until `shutdown`.
    pub(super) async fn run(mut self, running: &Running, shutdown: &CancellationToken) {
        let mut watch = Watch { path: self.path.take(), known: None, seen: None };
        watch.known = watch.look().await;
        watch.seen.clone_from(&watch.known);
        loop {
            let asked = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                Some(asked) = self.asked.recv() => Some(asked),
                () = watch.changed() => None,
            };
            // As it is before it is read: what is written meanwhile is another.
            watch.known = watch.look().await;
            watch.seen.clone_from(&watch.known);
            if let Some(manager) = &self.manager {
                manager.reloading();
            }
            let told = self.read(running).await;
            if let Some(manager) = self.manager.as_ref().filter(|_| !shutdown.is_cancelled()) {
                manager.ready();
                if told.is_err() {
                    manager.status(
                        "Serving by the configuration before: the new one is wrong, the log says where",
                    );
                }
            }
            running.metrics().configuration(told.is_ok());
            match &told {
                Ok(changes) => tracing::info!("the configuration was read again: {changes}"),
                Err(errors) => {
                    tracing::error!("the new configuration is wrong, and the one before stays:{errors}");
                }
            }
            if let Some(asked) = asked {
                // Who does not wait does not want to know.
                let _ = asked.send(told);
            }
        }
    }

    /// Reads it once; what has changed.
    async fn read(&self, running: &Running) -> Result<String, String> {
        let load = Arc::clone(&self.load);
        let loaded = spawn_blocking(move || {
            let config = load()?;
            config.check_files()?;
            Ok::<_, Vec<ConfigError>>(config)
        });
        let config = match loaded.await {
            Ok(loaded) => loaded.map_err(|errors| super::lines(&errors))?,
            Err(error) => return Err(format!("\n  {error}")),
        };
        let notes = config.notes.clone();
        let changes = running.take(config).map_err(|error| format!("\n  {error}"))?;
        for note in notes {
            tracing::warn!("{note}");
        }
        if !changes.after_a_restart().is_empty() {
            let keys = changes.after_a_restart().join(", ");
            tracing::warn!("restart for these to take effect, which stay as they were: {keys}");
        }
        Ok(changes.to_string())
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("path", &self.path).finish_non_exhaustive()
    }
}

/// A file that is watched.
struct Watch {
    path: Option<PathBuf>,
    /// As it was when it was read.
    known: Option<FileStamp>,
    /// As it was when it was last looked at.
    seen: Option<FileStamp>,
}

impl Watch {
    /// Waits until the file is another than it was, and has been the same for a while: whoever writes it has finished.
    async fn changed(&mut self) {
        loop {
            sleep(LOOK).await;
            let now = self.look().await;
            let is_settled = now == self.seen;
            self.seen = now;
            // One that is not there is about to be.
            if is_settled && self.seen.is_some() && self.seen != self.known {
                return;
            }
        }
    }

    async fn look(&self) -> Option<FileStamp> {
        let path = self.path.clone()?;
        spawn_blocking(move || FileStamp::of(&path)).await.ok().flatten()
    }
}
