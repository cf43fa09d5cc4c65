//! The application while it runs: what it was set up with, which another configuration may replace.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::changes::Changes;
use super::setup::{Foundation, Setup, SharedArchive};
use crate::access;
use crate::archive::dimse::DimseArchive;
use crate::archive::shared::Purge;
use crate::config::Config;
use crate::front::dimse::{self, Entrance, Front};
use crate::front::http::{self, Site};
use crate::metrics::Metrics;

/// How long an archive that is configured no more, or otherwise, may still be at work.
const FAREWELL: Duration = Duration::from_secs(30 * 60);
/// How often is looked whether it is.
const LOOK: Duration = Duration::from_secs(1);

/// The application while it runs.
#[derive(Debug)]
pub(super) struct Running {
    foundation: Foundation,
    site: Site,
    entrance: Arc<Entrance>,
    shutdown: CancellationToken,
    state: Mutex<State>,
    /// Those who see archives off.
    farewells: TaskTracker,
}

#[derive(Debug)]
struct State {
    config: Config,
    setup: Setup,
}

impl Running {
    pub(super) fn new(
        config: Config,
        setup: Setup,
        foundation: Foundation,
        shutdown: CancellationToken,
    ) -> Self {
        let services = dimse::Services {
            router: setup.router(&config),
            moves: foundation.moves.clone(),
            commitments: foundation.commitments.clone(),
            metrics: foundation.metrics.clone(),
            events: foundation.events.clone(),
            shutdown: shutdown.clone(),
        };
        let entrance = Arc::new(Entrance::to(Front::new(config.dimse.front.clone(), services)));
        let services = web_services(&foundation, &config, &setup, &entrance, &shutdown);
        let site = Site::new(config.http.front.clone(), services);
        let state = Mutex::new(State { config, setup });
        Self { foundation, site, entrance, shutdown, state, farewells: TaskTracker::new() }
    }

    /// What is counted.
    pub(super) fn metrics(&self) -> &Metrics {
        &self.foundation.metrics
    }

    /// What HTTP connections ask.
    pub(super) fn site(&self) -> Site {
        self.site.clone()
    }

    /// Where associations come in.
    pub(super) fn entrance(&self) -> Arc<Entrance> {
        Arc::clone(&self.entrance)
    }

    /// Waits, after the shutdown has begun, until the last DIMSE client has left.
    pub(super) async fn drained(&self) {
        self.entrance.front().drained().await;
    }

    /// Takes another configuration, but for what needs a restart. What runs goes on.
    ///
    /// # Errors
    /// A file that it names cannot be used; all stays as it was.
    pub(super) fn take(&self, mut config: Config) -> Result<Changes, access::OpenError> {
        let mut state = self.state();
        let restart = config.keep_what_needs_a_restart(&state.config);
        let changes = Changes::between(&state.config, &config, restart);
        let setup = Setup::of(&config, Some((&state.config, &state.setup)), &self.foundation)?;
        // First who may send what we ask for, then those who ask.
        self.foundation.acquaint(&config);
        let services = web_services(&self.foundation, &config, &setup, &self.entrance, &self.shutdown);
        self.site.renew(config.http.front.clone(), services);
        self.entrance.renew(config.dimse.front.clone(), setup.router(&config));
        let before = std::mem::replace(&mut *state, State { config, setup });
        let gone: Vec<_> = before.setup.without(&state.setup).collect();
        let has_scope = |scope: &str| state.setup.scopes().any(|kept| kept == scope);
        for (archive, shared) in gone {
            let SharedArchive(reached) = &shared;
            if !has_scope(reached.scope()) {
                let name = Some(reached.name().to_owned());
                self.foundation.cache.purge(&Purge { archive: name, ..Purge::default() });
            }
            self.farewells.spawn(see_off(archive, shared, self.shutdown.clone()));
        }
        Ok(changes)
    }

    /// Releases what is idle, and waits until `deadline` for what is not.
    pub(super) async fn shut_down(&self, deadline: Instant) {
        self.entrance.front().shut_down(deadline).await;
        self.farewells.close();
        let archives = self.state().setup.archives.clone();
        let mut closing = JoinSet::new();
        for archive in archives {
            closing.spawn(async move { archive.shut_down(deadline).await });
        }
        while closing.join_next().await.is_some() {}
        self.farewells.wait().await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn web_services(
    foundation: &Foundation,
    config: &Config,
    setup: &Setup,
    entrance: &Arc<Entrance>,
    shutdown: &CancellationToken,
) -> http::Services {
    let Foundation { cache, metrics, events, kept, activity, .. } = foundation.clone();
    http::Services {
        archives: setup.router(config),
        access: setup.access.clone(),
        kept: kept.under(config.http.front.limits),
        cache,
        metrics,
        events,
        activity,
        dimse: Some(Arc::clone(entrance)),
        shutdown: shutdown.clone(),
    }
}

/// Waits until an archive that nobody is sent to any more has nothing to do, then lets go of it.
async fn see_off(archive: DimseArchive, shared: SharedArchive, shutdown: CancellationToken) {
    let until = Instant::now() + FAREWELL;
    let mut was_at_rest = false;
    while Instant::now() < until {
        archive.release_idle();
        // Between two of its associations a retrieval has none: once is not enough.
        let is_at_rest = archive.is_at_rest() && Arc::strong_count(&shared.0) == 1;
        if is_at_rest && was_at_rest {
            break;
        }
        was_at_rest = is_at_rest;
        tokio::select! {
            () = sleep(LOOK) => {}
            () = shutdown.cancelled() => break,
        }
    }
    archive.shut_down(Instant::now() + LOOK).await;
    drop(shared);
}
