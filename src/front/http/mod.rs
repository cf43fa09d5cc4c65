//! DICOMweb over HTTP; the only place that names `axum`.
//!
//! A request becomes a `Context`: archive, client, service URL. A search goes to `qido`,
//! which orders and pages the matches; a retrieval to `wado`, which streams the objects; what is to be stored
//! to `stow`, which passes it on while it arrives. Every failure on the way is a `Problem`, and `error` alone
//! knows its status.

mod admin;
mod body;
mod bulkdata;
mod capabilities;
mod console;
mod contents;
mod context;
mod cors;
mod error;
mod frames;
mod guard;
mod health;
mod host;
mod identity;
mod limits;
mod metadata;
mod objects;
mod observe;
mod origin;
mod pages;
mod parts;
mod pictures;
mod qido;
mod record;
mod rendered;
mod report;
mod return_path;
mod room;
mod site;
mod snapshot;
mod stow;
mod validate;
mod wado;
mod wado_uri;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodRouter, get, options, post};
use http::header::CONTENT_TYPE;
use tokio_util::sync::CancellationToken;
use tower_http::compression::{CompressionLayer, Predicate};

use super::dimse::{Entrance, Front};
use crate::access::{Access, Operation};
use crate::archive::Owners;
use crate::archive::activity::Activity;
use crate::archive::shared::Cache;
use crate::dicom::deidentify::Key;
use crate::dicom::query::Level;
use crate::event::Events;
use crate::metrics::Metrics;
use crate::net::Network;
use crate::router;

pub use cors::Origin;
pub use health::ReadyConfig;
pub use host::HostName;
pub use identity::Needs;
pub use limits::LimitsConfig;
pub use site::Site;

/// Shortest text that is compressed, in bytes: what fits into a packet gains nothing.
const MIN_COMPRESSED: u64 = 1024;

/// How the HTTP front end presents itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where the default archive is served: a path that begins with a slash and does not end with one.
    pub base_path: String,
    /// The URL by which clients reach the root of this server, without a slash at its end. `None`: as each
    /// request says.
    pub public_url: Option<String>,
    /// Proxies whose `Forwarded` and `X-Forwarded-…` headers are believed.
    pub trusted_proxies: Vec<Network>,
    /// Names of this server besides its addresses and `localhost`, where nobody has to say who they are.
    pub hosts: Vec<HostName>,
    /// How long an answer may wait for its reader.
    pub write_timeout: Duration,
    /// How long a request's body may be silent.
    pub read_timeout: Duration,
    /// Longest value of a binary VR, in bytes, that stands in the metadata itself; longer ones are bulk data.
    pub inline_limit: usize,
    /// The origins whose pages may use this server (CORS).
    pub cors_origins: Vec<Origin>,
    /// How much a client may ask for.
    pub limits: LimitsConfig,
    /// Which archives have to answer for `/health/ready`.
    pub ready: ReadyConfig,
    /// Whether operators have a console in their browsers.
    pub console: bool,
    /// Under which key UIDs are replaced in what is de-identified; `None`: one of this process.
    pub anonymize_key: Option<Key>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            base_path: "/dicom-web".to_owned(),
            public_url: None,
            trusted_proxies: Vec::new(),
            hosts: Vec::new(),
            write_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(30),
            inline_limit: 1024,
            cors_origins: Vec::new(),
            limits: LimitsConfig::default(),
            ready: ReadyConfig::default(),
            console: true,
            anonymize_key: None,
        }
    }
}

/// What a DICOMweb resource does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// QIDO-RS at this level (PS3.18 10.6).
    Search(Level),
    /// WADO-RS of PS3.10 objects (PS3.18 10.4).
    Retrieve,
    /// WADO-RS of metadata (PS3.18 10.4.1.1.2).
    Metadata,
    /// WADO-RS of frames (PS3.18 10.4.1.1.4).
    Frames,
    /// A value by its bulk data URI (PS3.18 10.4.1.1.5).
    Value,
    /// WADO-RS of all bulk data (PS3.18 10.4.1.1.5).
    BulkData,
    /// WADO-RS of all pixel data (PS3.18 10.4.1.1.6).
    PixelData,
    /// WADO-RS of pictures, and of what is shown as it is stored (PS3.18 10.4.1.1.3).
    Rendered,
    /// WADO-RS of one small picture that stands for an entity (PS3.18 10.4.1.1.7).
    Thumbnail,
    /// WADO-URI (PS3.18 chapter 9).
    WadoUri,
}

impl Resource {
    /// What one has to be allowed to do.
    pub fn operation(self) -> Operation {
        match self {
            Self::Search(_) => Operation::Search,
            Self::Retrieve
            | Self::Metadata
            | Self::Frames
            | Self::Value
            | Self::BulkData
            | Self::PixelData
            | Self::Rendered
            | Self::Thumbnail
            | Self::WadoUri => Operation::Retrieve,
        }
    }
}

/// The DICOMweb resources that are served, below `base_path` and below `/archives/{archive}`, by GET and HEAD;
/// on the root of each service, and of the server, OPTIONS tells what there is.
pub const RESOURCES: [(&str, Resource); 29] = [
    ("/studies", Resource::Search(Level::Study)),
    ("/series", Resource::Search(Level::Series)),
    ("/instances", Resource::Search(Level::Instance)),
    ("/studies/{study}/series", Resource::Search(Level::Series)),
    ("/studies/{study}/instances", Resource::Search(Level::Instance)),
    ("/studies/{study}/series/{series}/instances", Resource::Search(Level::Instance)),
    ("/studies/{study}", Resource::Retrieve),
    ("/studies/{study}/series/{series}", Resource::Retrieve),
    ("/studies/{study}/series/{series}/instances/{instance}", Resource::Retrieve),
    ("/studies/{study}/metadata", Resource::Metadata),
    ("/studies/{study}/series/{series}/metadata", Resource::Metadata),
    ("/studies/{study}/series/{series}/instances/{instance}/metadata", Resource::Metadata),
    ("/studies/{study}/series/{series}/instances/{instance}/frames/{frames}", Resource::Frames),
    ("/studies/{study}/series/{series}/instances/{instance}/bulkdata/{*path}", Resource::Value),
    ("/studies/{study}/bulkdata", Resource::BulkData),
    ("/studies/{study}/series/{series}/bulkdata", Resource::BulkData),
    ("/studies/{study}/series/{series}/instances/{instance}/bulkdata", Resource::BulkData),
    ("/studies/{study}/pixeldata", Resource::PixelData),
    ("/studies/{study}/series/{series}/pixeldata", Resource::PixelData),
    ("/studies/{study}/series/{series}/instances/{instance}/pixeldata", Resource::PixelData),
    ("/studies/{study}/rendered", Resource::Rendered),
    ("/studies/{study}/series/{series}/rendered", Resource::Rendered),
    ("/studies/{study}/series/{series}/instances/{instance}/rendered", Resource::Rendered),
    ("/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/rendered", Resource::Rendered),
    ("/studies/{study}/thumbnail", Resource::Thumbnail),
    ("/studies/{study}/series/{series}/thumbnail", Resource::Thumbnail),
    ("/studies/{study}/series/{series}/instances/{instance}/thumbnail", Resource::Thumbnail),
    ("/studies/{study}/series/{series}/instances/{instance}/frames/{frames}/thumbnail", Resource::Thumbnail),
    ("/wado", Resource::WadoUri),
];

/// The resources among them that store what is posted to them (STOW-RS, PS3.18 10.5).
pub const STORES: [&str; 2] = ["/studies", "/studies/{study}"];

/// The other pages of the server, from its root.
pub const PAGES: [(&str, Page); 7] = [
    ("/", Page::Welcome),
    ("/health/live", Page::Live),
    ("/health/ready", Page::Ready),
    ("/openapi.yaml", Page::OpenApi),
    ("/metrics", Page::Metrics),
    (admin::CACHE, Page::Cache),
    ("/admin/archives/{archive}/return-path", Page::ReturnPath),
];

/// A page that is no DICOMweb resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// What this server is, for a person with a browser.
    Welcome,
    /// The process runs.
    Live,
    /// Requests are welcome: not while the server shuts down.
    Ready,
    /// The description of this interface.
    OpenApi,
    /// What is counted, for Prometheus.
    Metrics,
    /// The cache: how it does, and by DELETE to empty it. Where nobody has to say who they are, for clients on this
    /// machine.
    Cache,
    /// By POST: has an archive move an instance to this bridge, and says what that shows of the way back. For whom the
    /// cache is for.
    ReturnPath,
}

impl Page {
    /// What it wants of who asks.
    pub fn needs(self) -> Needs {
        match self {
            Self::Welcome | Self::Live | Self::Ready | Self::OpenApi => Needs::Nothing,
            Self::Metrics | Self::Cache | Self::ReturnPath => Needs::Operation(Operation::Admin),
        }
    }
}

/// What all requests share.
#[derive(Debug, Clone)]
struct Server(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    config: Config,
    kept: Kept,
    archives: router::Router,
    access: Access,
    owners: Owners,
    snapshots: snapshot::Snapshots,
    thumbnails: pictures::Thumbnails,
    cache: Cache,
    metrics: Metrics,
    events: Events,
    activity: Activity,
    dimse: Option<Arc<Entrance>>,
    shutdown: CancellationToken,
    health: health::Health,
    routes: observe::Routes,
}

/// What bounds all requests together, also those that began before the configuration was read again. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Kept {
    gate: Arc<limits::Gate>,
    room: room::Room,
    workers: workers::Workers,
    metadata_room: stow::Room,
    workshop: pictures::Workshop,
    desk: console::Desk,
    anonymize_key: Key,
}

impl Kept {
    /// Nothing is under way yet. Whom it turns away is counted.
    pub fn new(limits: LimitsConfig, metrics: &Metrics) -> Self {
        let (room, workers, metadata_room) = <(room::Room, workers::Workers, stow::Room)>::default();
        let workshop = pictures::Workshop::new(workers.clone());
        let gate = Arc::new(limits::Gate::new(limits, metrics.http_refused.clone()));
        let (desk, anonymize_key) = (console::Desk::default(), Key::random());
        Self { gate, room, workers, metadata_room, workshop, desk, anonymize_key }
    }

    /// The same under these limits. Where they are others, requests are counted from here on.
    pub fn under(&self, limits: LimitsConfig) -> Self {
        let gate = match self.gate.limits() == limits {
            true => Arc::clone(&self.gate),
            false => Arc::new(self.gate.under(limits)),
        };
        Self { gate, ..self.clone() }
    }
}

impl Shared {
    /// The front end that sends objects to application entities, by the configuration that holds now.
    fn dimse_front(&self) -> Option<Arc<Front>> {
        self.dimse.as_ref().map(|entrance| entrance.front())
    }
}

/// What the front end is built upon.
#[derive(Debug)]
pub struct Services {
    /// The archives.
    pub archives: router::Router,
    /// Who may come.
    pub access: Access,
    /// What bounds all requests together.
    pub kept: Kept,
    /// What is kept of their objects.
    pub cache: Cache,
    /// What is counted.
    pub metrics: Metrics,
    /// Where is told what somebody may have to answer for.
    pub events: Events,
    /// What happens at the archives.
    pub activity: Activity,
    /// Who sends objects to application entities; `None`: nobody does.
    pub dimse: Option<Arc<Entrance>>,
    /// From here on the server is not ready any more.
    pub shutdown: CancellationToken,
}

/// The routes of the server, ready to be served.
pub fn app(config: Config, services: Services) -> Router {
    let Services { archives, access, kept, cache, metrics, events, activity, dimse, shutdown } = services;
    let base_path = config.base_path.clone();
    let (owners, snapshots, thumbnails) = <(Owners, snapshot::Snapshots, pictures::Thumbnails)>::default();
    let routes = observe::Routes::new(&metrics);
    let shared = Shared {
        config,
        kept,
        archives,
        access,
        owners,
        snapshots,
        thumbnails,
        cache,
        metrics,
        events,
        activity,
        dimse,
        shutdown,
        health: health::Health::default(),
        routes,
    };
    let server = Server(Arc::new(shared));
    let permit = |needs| from_fn_with_state((server.clone(), needs), identity::permit);
    let resources = RESOURCES.iter().fold(Router::new(), |routes, (path, resource)| {
        let held = from_fn_with_state(server.clone(), validate::validate);
        // Many objects stream; what a client asks for again and again is small.
        let objects = matches!(
            resource,
            Resource::Retrieve | Resource::BulkData | Resource::PixelData | Resource::Rendered
        );
        let streams = objects && !path.contains("{instance}");
        let handler = method(*resource);
        let handler = if streams { handler } else { handler.layer(held) };
        routes.route(path, handler.route_layer(permit(Needs::Operation(resource.operation()))))
    });
    let resources = STORES.iter().fold(resources, |routes, path| {
        let handler = post(stow::store);
        routes.route(path, handler.route_layer(permit(Needs::Operation(Operation::Store))))
    });
    let pages = PAGES.iter().fold(Router::new(), |routes, (path, page)| {
        routes.route(path, show(*page).route_layer(permit(page.needs())))
    });
    let roots = ["/", &base_path, &format!("{base_path}/"), "/archives/{archive}", "/archives/{archive}/"];
    let pages = roots.iter().fold(pages, |routes, root| {
        let method = options(capabilities::describe).route_layer(permit(Needs::Anything));
        let wado_uri = || {
            let needs = Needs::Operation(Resource::WadoUri.operation());
            get(wado_uri::on_the_root).route_layer(permit(needs))
        };
        routes.route(root, if *root == "/" { method } else { method.merge(wado_uri()) })
    });
    let pages = if server.0.config.console { pages.merge(console::routes(&server)) } else { pages };
    pages
        .nest(&base_path, resources.clone())
        .nest("/archives/{archive}", resources)
        .fallback(pages::not_found)
        .method_not_allowed_fallback(pages::method_not_allowed)
        .layer(CompressionLayer::new().gzip(true).zstd(true).compress_when(Text))
        // Whoever floods the server is held up before anybody looks at their passwords.
        .layer(from_fn_with_state(server.clone(), identity::identify))
        .layer(from_fn_with_state(server.clone(), guard::guard))
        .layer(from_fn_with_state(server.clone(), console::gate))
        .layer(from_fn_with_state(server.clone(), record::record))
        .layer(from_fn_with_state(server.clone(), cors::allow))
        .layer(from_fn_with_state(server.clone(), observe::observe))
        .with_state(server)
}

fn method(resource: Resource) -> MethodRouter<Server> {
    match resource {
        Resource::Search(level) => get(move |context| qido::search(level, context)),
        Resource::Retrieve => get(wado::retrieve),
        Resource::Metadata => get(metadata::retrieve),
        Resource::Frames => get(frames::retrieve),
        Resource::Value => get(bulkdata::value),
        Resource::BulkData => get(bulkdata::large),
        Resource::PixelData => get(bulkdata::pixels),
        Resource::Rendered => get(rendered::retrieve),
        Resource::Thumbnail => get(pictures::thumbnail::retrieve),
        Resource::WadoUri => get(wado_uri::retrieve),
    }
}

fn show(page: Page) -> MethodRouter<Server> {
    match page {
        Page::Welcome => get(console::welcome),
        Page::Live => get(health::live),
        Page::Ready => get(health::ready),
        Page::OpenApi => get(pages::openapi),
        Page::Metrics => get(pages::metrics),
        Page::Cache => get(admin::cache_state).delete(admin::purge_cache),
        Page::ReturnPath => post(return_path::check),
    }
}

/// What is worth compressing: JSON, XML and reports. Pixels that compress well are compressed already, and those that are
/// not cost more time than they save on the way.
#[derive(Debug, Clone, Copy)]
struct Text;

impl Predicate for Text {
    fn should_compress<B: http_body::Body>(&self, response: &http::Response<B>) -> bool {
        let media_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let is_text = |of: &str| of.contains("json") || of.contains("xml") || of.starts_with("text/");
        let text = media_type.is_some_and(is_text);
        text && response.body().size_hint().upper().is_none_or(|length| length >= MIN_COMPRESSED)
    }
}

#[cfg(test)]
mod tests;
