//! The archive as a program or a test handles it: built, started, watched, killed and started again.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use socket2::{Domain, Socket, Type};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::faults::{Fault, Faults};
use super::files;
use super::find::Abilities;
use super::instance::Instance;
use super::observe::{Observations, Observer};
use super::plain::Plain;
use super::server;
use super::store::Store;
use crate::dicom::{AeTitle, Uid};

/// How long [`Running::wait_for`] waits.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two attempts to listen again.
const REBIND_PAUSE: Duration = Duration::from_millis(2);
/// Associations at once, unless told otherwise.
const MAX_ASSOCIATIONS: usize = 64;

/// An archive that is not started yet: what it holds and how it behaves.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// use gantry::demo::{Archive, Fault};
/// let archive = Archive::builder().plain(3, 2, 10, 4096).fault(Fault::LastLate(500)).start().await?;
/// println!("{} at {}", archive.ae_title(), archive.addr());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Archive {
    settings: Settings,
    listen: SocketAddr,
    instances: Vec<Instance>,
    folders: Vec<PathBuf>,
    destinations: HashMap<AeTitle, String>,
    faults: Vec<Fault>,
}

/// How the archive behaves, for good.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) ae_title: AeTitle,
    pub(super) abilities: Abilities,
    pub(super) get: bool,
    pub(super) without_bulk_data: bool,
    pub(super) study_root: bool,
    pub(super) nagle: bool,
    pub(super) latency: Duration,
    pub(super) max_associations: usize,
    pub(super) move_from: Option<AeTitle>,
}

/// What all associations of the archive share.
pub(super) struct Shared {
    pub(super) settings: Settings,
    pub(super) observer: Arc<Observer>,
    /// Connections end with RST.
    pub(super) reset: Arc<AtomicBool>,
    store: RwLock<Store>,
    destinations: Mutex<HashMap<AeTitle, String>>,
    faults: Mutex<Vec<Fault>>,
}

impl Archive {
    /// An empty archive `PACS` that can do everything, on a free port of the loopback interface.
    pub fn builder() -> Self {
        let abilities = Abilities { relational: true, image_level: true, optional_keys: true };
        let settings = Settings {
            ae_title: "PACS".parse().expect("PACS is an AE title"),
            abilities,
            get: true,
            without_bulk_data: false,
            study_root: true,
            nagle: false,
            latency: Duration::ZERO,
            max_associations: MAX_ASSOCIATIONS,
            move_from: None,
        };
        Self {
            settings,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            instances: Vec::new(),
            folders: Vec::new(),
            destinations: HashMap::new(),
            faults: Vec::new(),
        }
    }

    /// Its AE title; it takes no calls by another.
    #[must_use]
    pub fn ae_title(mut self, title: AeTitle) -> Self {
        self.settings.ae_title = title;
        self
    }

    /// Where it listens.
    #[must_use]
    pub fn listen(mut self, address: SocketAddr) -> Self {
        self.listen = address;
        self
    }

    /// Adds plain objects: `slices` of `bytes` bytes of pixel data in each of `series` series of each of `studies`
    /// studies. [`Plain`] has more to choose.
    #[must_use]
    pub fn plain(self, studies: usize, series: usize, slices: usize, bytes: usize) -> Self {
        self.studies(Plain::new(studies, series, slices, bytes).make())
    }

    /// Adds objects.
    #[must_use]
    pub fn studies(mut self, instances: impl IntoIterator<Item = Instance>) -> Self {
        self.instances.extend(instances);
        self
    }

    /// Adds the Part 10 files in a folder and those below it, when the archive starts. Files that are none are
    /// passed over.
    #[must_use]
    pub fn data(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folders.push(folder.into());
        self
    }

    /// Makes a C-MOVE destination known; `address` is `host:port`.
    #[must_use]
    pub fn destination(mut self, title: AeTitle, address: impl fmt::Display) -> Self {
        self.destinations.insert(title, address.to_string());
        self
    }

    /// The title that it calls itself towards C-MOVE destinations; its own unless told otherwise.
    #[must_use]
    pub fn move_from(mut self, title: AeTitle) -> Self {
        self.settings.move_from = Some(title);
        self
    }

    /// Adds a fault.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Refuses C-GET.
    #[must_use]
    pub fn no_get(mut self) -> Self {
        self.settings.get = false;
        self
    }

    /// Serves C-GET without bulk data too (PS3.4 Annex Z).
    #[must_use]
    pub fn without_bulk_data(mut self) -> Self {
        self.settings.without_bulk_data = true;
        self
    }

    /// Refuses C-FIND at IMAGE level, with status A900.
    #[must_use]
    pub fn no_image_level_find(mut self) -> Self {
        self.settings.abilities.image_level = false;
        self
    }

    /// Refuses C-FIND without the unique keys of the levels above, with status A900.
    #[must_use]
    pub fn no_relational(mut self) -> Self {
        self.settings.abilities.relational = false;
        self
    }

    /// Matches unique keys only, and says so by status FF01.
    #[must_use]
    pub fn ignore_optional_keys(mut self) -> Self {
        self.settings.abilities.optional_keys = false;
        self
    }

    /// Refuses the Study Root model.
    #[must_use]
    pub fn patient_root_only(mut self) -> Self {
        self.settings.study_root = false;
        self
    }

    /// Leaves Nagle's algorithm on and writes command and data set apart, as many toolkits do.
    #[must_use]
    pub fn nagle(mut self) -> Self {
        self.settings.nagle = true;
        self
    }

    /// Lets this much time pass before each operation and each object, as a far-away archive does.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.settings.latency = latency;
        self
    }

    /// Most associations at once, 64 unless told otherwise; further ones are refused for now.
    #[must_use]
    pub fn max_associations(mut self, count: usize) -> Self {
        self.settings.max_associations = count;
        self
    }

    /// Reads the folders, binds the port and begins to serve, on the runtime that this runs on.
    ///
    /// # Errors
    /// A folder cannot be read, or the port cannot be bound.
    pub async fn start(self) -> io::Result<Running> {
        let mut store = Store::default();
        for instance in self.instances {
            store.insert(instance);
        }
        for folder in self.folders {
            let name = folder.display().to_string();
            let found = tokio::task::spawn_blocking(move || files::read_folder(&folder));
            let found = found.await.map_err(io::Error::other)?;
            for instance in found.map_err(|error| named(&error, &format!("cannot read {name}")))? {
                store.insert(instance);
            }
        }
        let not_bound = |error| named(&error, &format!("cannot listen on {}", self.listen));
        let port = reserve(self.listen).map_err(not_bound)?;
        let bound = port.as_ref().and_then(|port| port.local_addr().ok()?.as_socket());
        let address = bound.unwrap_or(self.listen);
        let listener = TcpListener::bind(address).await.map_err(not_bound)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            settings: self.settings,
            observer: Arc::new(Observer::new()),
            reset: Arc::default(),
            store: RwLock::new(store),
            destinations: Mutex::new(self.destinations),
            faults: Mutex::new(self.faults),
        });
        let life = Life::begin(listener, &shared);
        Ok(Running { shared, address, life: Mutex::new(Some(life)), _port: port })
    }
}

/// A socket that is bound and never listens: as long as there is one, the port is given to nobody who takes any, also
/// while the archive is stopped. Elsewhere than on Unix nothing is held.
fn reserve(address: SocketAddr) -> io::Result<Option<Socket>> {
    if !cfg!(unix) {
        return Ok(None);
    }
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(Some(socket))
}

/// The same error, which says what could not be done.
fn named(error: &io::Error, what: &str) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// An archive that serves. It ends with the last of this.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    address: SocketAddr,
    /// `None` after [`Self::kill`].
    life: Mutex<Option<Life>>,
    /// Holds the port from [`Self::kill`] to [`Self::restart`].
    _port: Option<Socket>,
}

/// From a start to a stop.
#[derive(Debug)]
struct Life {
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Life {
    fn begin(listener: TcpListener, shared: &Arc<Shared>) -> Self {
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server::serve(listener, Arc::clone(shared), stop.clone()));
        Self { stop, serving }
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Running {
    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Its AE title.
    pub fn ae_title(&self) -> &AeTitle {
        &self.shared.settings.ae_title
    }

    /// How many patients, studies, series and instances it holds.
    pub fn count(&self) -> [usize; 4] {
        self.shared.store().count()
    }

    /// The first object of the first study, where there is one.
    pub fn first_instance(&self) -> Option<Arc<Instance>> {
        self.shared.store().instances().next().cloned()
    }

    /// The object with this SOP Instance UID, as it is stored.
    pub fn instance(&self, sop_instance: &Uid) -> Option<Arc<Instance>> {
        self.shared.store().instances().find(|i| i.head.sop_instance == *sop_instance).cloned()
    }

    /// Adds objects, in place of those with the same UIDs.
    pub fn add(&self, instances: impl IntoIterator<Item = Instance>) {
        for instance in instances {
            self.shared.insert(instance);
        }
    }

    /// Makes a C-MOVE destination known, or another address of it.
    pub fn set_destination(&self, title: AeTitle, address: impl fmt::Display) {
        lock(&self.shared.destinations).insert(title, address.to_string());
    }

    /// Adds a fault. It shows from the next association, or the next operation, on.
    pub fn set_fault(&self, fault: Fault) {
        lock(&self.shared.faults).push(fault);
    }

    /// Behaves from the next association and operation on.
    pub fn clear_faults(&self) {
        lock(&self.shared.faults).clear();
    }

    /// What has happened so far.
    pub fn observations(&self) -> Observations {
        self.shared.observer.subscribe().borrow().clone()
    }

    /// Waits until what has happened is enough for `enough`, ten seconds at most.
    ///
    /// # Errors
    /// The time is over; with what has happened until then.
    pub async fn wait_for(
        &self,
        enough: impl FnMut(&Observations) -> bool,
    ) -> Result<Observations, Box<Observations>> {
        let mut changes = self.shared.observer.subscribe();
        if let Ok(Ok(seen)) = timeout(PATIENCE, changes.wait_for(enough)).await {
            return Ok(seen.clone());
        }
        Err(Box::new(self.observations()))
    }

    /// Dies: stops listening and drops all connections at once, with RST.
    pub async fn kill(&self) {
        self.shared.reset.store(true, Ordering::Relaxed);
        self.end().await;
    }

    /// Stops listening and closes all connections.
    pub async fn stop(&self) {
        self.end().await;
    }

    /// Serves again after [`Self::kill`] or [`Self::stop`], on the same port, with all that it held.
    ///
    /// # Errors
    /// Somebody else has the port by now.
    pub async fn restart(&self) -> io::Result<()> {
        self.end().await;
        self.shared.reset.store(false, Ordering::Relaxed);
        // A process that is being started holds a copy of the old listener, until it becomes another program.
        let deadline = Instant::now() + PATIENCE;
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                    sleep(REBIND_PAUSE).await;
                }
                bound => break bound?,
            }
        };
        *lock(&self.life) = Some(Life::begin(listener, &self.shared));
        Ok(())
    }

    async fn end(&self) {
        let Some(mut life) = lock(&self.life).take() else { return };
        life.stop.cancel();
        // A panic of the accept loop has ended it, too.
        let _ = (&mut life.serving).await;
    }
}

impl Shared {
    pub(super) fn store(&self) -> RwLockReadGuard<'_, Store> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn insert(&self, instance: Instance) {
        self.store.write().unwrap_or_else(PoisonError::into_inner).insert(instance);
    }

    pub(super) fn faults(&self) -> Faults {
        Faults::new(&lock(&self.faults))
    }

    pub(super) fn destination(&self, title: &AeTitle) -> Option<String> {
        lock(&self.destinations).get(title).cloned()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("settings", &self.settings).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
