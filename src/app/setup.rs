//! What a configuration comes to, and may be replaced while the ports stay open: archives, rules, and who may come.

use std::sync::Arc;

use crate::access::{self, Access};
use crate::archive::activity::{Activity, Followed, Observed};
use crate::archive::commitment::Commitments;
use crate::archive::dimse::{Config as ArchiveConfig, DimseArchive};
use crate::archive::shared::{Cache, Shared};
use crate::archive::{Archive, MoveDestination};
use crate::config::Config;
use crate::dicom::AeTitle;
use crate::event::Events;
use crate::front::http;
use crate::metrics::{Metrics, OfArchive};
use crate::router::Router;

/// What stays while configurations come and go. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Foundation {
    pub(super) cache: Cache,
    pub(super) moves: MoveDestination,
    pub(super) commitments: Commitments,
    pub(super) metrics: Metrics,
    pub(super) events: Events,
    pub(super) kept: http::Kept,
    pub(super) activity: Activity,
}

/// What one configuration comes to. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    pub(super) archives: Vec<DimseArchive>,
    /// The same with what their readers share.
    shared: Vec<SharedArchive>,
    pub(super) access: Access,
}

/// An archive with what its readers share.
#[derive(Clone)]
pub(super) struct SharedArchive(pub(super) Arc<dyn Archive>);

impl std::fmt::Debug for SharedArchive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

impl Setup {
    /// What `config` comes to. Of `before`, what is configured as it was stays as it is, with its associations and with
    /// all that it has learnt.
    ///
    /// # Errors
    /// A file that says who may come cannot be used.
    pub(super) fn of(
        config: &Config,
        before: Option<(&Config, &Self)>,
        foundation: &Foundation,
    ) -> Result<Self, access::OpenError> {
        let access = match before {
            Some((old, setup)) if old.auth == config.auth => setup.access.clone(),
            _ => Access::new(config.auth.clone())?.telling(foundation.events.clone()),
        };
        let known = before.map(|(_, setup)| setup);
        let found = |config: &ArchiveConfig| {
            let known = known?;
            let index = known.archives.iter().position(|archive| archive.config() == config)?;
            Some((known.archives[index].clone(), known.shared[index].clone()))
        };
        let archive = |config| found(config).unwrap_or_else(|| foundation.archive(config));
        let (archives, shared) = config.archives.iter().map(archive).unzip();
        Ok(Self { archives, shared, access })
    }

    /// Where requests go by this configuration.
    pub(super) fn router(&self, config: &Config) -> Router {
        let called_as = config
            .archives
            .iter()
            .flat_map(|archive| archive.called_as.iter().map(|title| (title, archive.name.as_str())));
        let shared = self.shared.iter().map(|shared| Arc::clone(&shared.0));
        Router::new(shared, config.default_archive.as_deref())
            .with_routes(&config.routes, called_as)
            .with_reach(config.dimse.front.reach())
    }

    /// Under what the archives' objects are kept.
    pub(super) fn scopes(&self) -> impl Iterator<Item = &str> {
        self.shared.iter().map(|shared| shared.0.scope())
    }

    /// The archives of this one that are not in `after`.
    pub(super) fn without(self, after: &Self) -> impl Iterator<Item = (DimseArchive, SharedArchive)> {
        let stays =
            |archive: &SharedArchive| after.shared.iter().any(|kept| Arc::ptr_eq(&kept.0, &archive.0));
        let all = self.archives.into_iter().zip(self.shared);
        all.filter(move |(_, shared)| !stays(shared)).collect::<Vec<_>>().into_iter()
    }
}

impl Foundation {
    fn archive(&self, config: &ArchiveConfig) -> (DimseArchive, SharedArchive) {
        let (moves, reports) = (self.moves.clone(), self.commitments.of(&config.name));
        let archive = DimseArchive::new(config.clone(), Some(moves), Some(reports), self.metrics.clone());
        OfArchive::new(&self.metrics, &config.name).from_zero();
        // What goes wrong is noted once, however many wait for it; who waits is listed each.
        let observed = Observed::new(Arc::new(archive.clone()), self.activity.clone());
        let shared = Shared::new(Arc::new(observed), self.cache.clone(), self.metrics.clone());
        let followed = Followed::new(Arc::new(shared), self.activity.clone());
        (archive, SharedArchive(Arc::new(followed)))
    }

    /// The archives and clients of this configuration are known from now on.
    pub(super) fn acquaint(&self, config: &Config) {
        self.moves.acquaint(&config.archives, clients(config));
        self.commitments.acquaint(&config.archives);
    }
}

/// The titles under which others send objects of their own.
pub(super) fn clients(config: &Config) -> impl Iterator<Item = AeTitle> {
    config.dimse.front.aes.iter().map(|ae| ae.title.clone())
}
