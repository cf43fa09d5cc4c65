//! What every DICOMweb request needs to know of itself: archive, client, the entity in its path, its URL.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::error::Problem;
use super::identity::{admit, no_such_archive};
use super::observe::Notes;
use super::record::Record;
use super::{Server, origin};
use crate::access::{Identity, Means, Restriction};
use crate::archive::{Archive, Restricted};
use crate::caller::{Caller, Priority};
use crate::dicom::query::Target;
use crate::dicomweb::media_type::Accept;
use crate::dicomweb::request;
use crate::event::Who;
use crate::net::Connection;

/// A request to an archive.
pub(super) struct Context {
    pub(super) server: Server,
    /// The archive, as far as who asks may see it.
    pub(super) archive: Arc<dyn Archive>,
    /// The same, where that is not all of it.
    pub(super) confined: Option<Restricted>,
    /// The absolute URL of the archive's DICOMweb service, without a slash at its end.
    pub(super) service_url: String,
    /// The query as it was sent.
    pub(super) query: String,
    /// UIDs in the path, percent-decoded: study, series, instance.
    pub(super) study: Option<String>,
    pub(super) series: Option<String>,
    pub(super) instance: Option<String>,
    /// The list of frames in the path.
    pub(super) frames: Option<String>,
    /// The path of a bulk data value within its object.
    pub(super) path: Option<String>,
    /// What who asks is confined to.
    pub(super) restriction: Option<Arc<Restriction>>,
    /// What is noted of the request, and whose it is.
    pub(super) record: Record,
    pub(super) who: Who,
    client: Option<IpAddr>,
    pub(super) headers: HeaderMap,
}

impl Context {
    /// The client, for an operation of this priority.
    pub(super) fn caller(&self, priority: Priority) -> Caller {
        Caller { client: self.client, priority, title: None }
    }

    /// The part of a single value that the client asks for, where it does without a condition.
    pub(super) fn range(&self) -> Option<&str> {
        let conditional = self.headers.contains_key(http::header::IF_RANGE);
        self.headers.get(http::header::RANGE).filter(|_| !conditional)?.to_str().ok()
    }

    /// The entity in the path, of a route that has a study in it.
    pub(super) fn target(&self) -> Result<Target, Problem> {
        let study = self.study.as_deref().unwrap_or_default();
        Ok(request::target(study, self.series.as_deref(), self.instance.as_deref())?)
    }

    /// What the client accepts: the values of the query parameter, then the headers.
    pub(super) fn accept(&self, parameters: &[String]) -> Accept {
        let headers = self.headers.get_all(http::header::ACCEPT);
        Accept::new(
            parameters.iter().map(String::as_str),
            headers.iter().filter_map(|value| value.to_str().ok()),
        )
    }
}

impl FromRequestParts<Server> for Context {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, Problem> {
        let query = parts.uri.query().unwrap_or_default().to_owned();
        let most = server.0.config.limits.max_query;
        if query.len() > most {
            let detail = format!("the query is longer than {most} bytes (http.limits.max_query)");
            return Err(Problem::client(StatusCode::URI_TOO_LONG, detail));
        }
        let path = RawPathParams::from_request_parts(parts, server)
            .await
            .map_err(|_| Problem::client(StatusCode::BAD_REQUEST, "the path is not UTF-8"))?;
        let part = |name: &str| path.iter().find(|(n, _)| *n == name).map(|(_, value)| value.to_owned());
        let (archive, prefix) = find_archive(server, part("archive"))?;
        Notes::of(&parts.extensions).archive(archive.name());
        let identity = admit(server, parts, archive.name())?;
        let restriction = identity.grants.restriction().cloned();
        let confine =
            |it: &Arc<_>| Restricted::new(Arc::clone(&archive), Arc::clone(it), server.0.owners.clone());
        let confined = restriction.as_ref().map(confine);
        let archive = match &confined {
            Some(confined) => Arc::new(confined.clone()),
            None => archive,
        };
        let connection = parts.extensions.get::<Connection>();
        let peer = connection.map(|connection| connection.peer.ip());
        let config = &server.0.config;
        let is_secure = connection.is_some_and(|connection| connection.is_secure);
        let root = origin::names_one_host(parts.version, &parts.uri, &parts.headers)
            .and_then(|()| origin::root_url(config, peer, is_secure, &parts.uri, &parts.headers))
            .map_err(|_| Problem::client(StatusCode::BAD_REQUEST, "there has to be one good Host header"))?;
        let client = origin::client_address(config, peer, &parts.headers);
        let who = who(Some(&identity), connection, client);
        Ok(Self {
            service_url: root + &prefix,
            query,
            study: part("study"),
            series: part("series"),
            instance: part("instance"),
            frames: part("frames"),
            path: part("path"),
            record: parts.extensions.get::<Record>().cloned().unwrap_or_default(),
            who,
            client,
            headers: parts.headers.clone(),
            server: server.clone(),
            confined,
            restriction,
            archive,
        })
    }
}

/// Who asks, as far as is known, for whoever reads the audit trail.
pub(super) fn who(
    identity: Option<&Identity>,
    connection: Option<&Connection>,
    address: Option<IpAddr>,
) -> Who {
    let certificate = connection.and_then(|connection| connection.certificate.as_ref());
    let certificate = certificate.map(|certificate| certificate.subject.as_str().into());
    let known = identity.filter(|identity| identity.means != Means::Nobody);
    Who { user: known.map(|identity| Arc::clone(&identity.name)), title: None, address, certificate }
}

/// The archive that a path names, or the default one, and the path of its service.
fn find_archive(server: &Server, name: Option<String>) -> Result<(Arc<dyn Archive>, String), Problem> {
    let archives = &server.0.archives;
    let (found, prefix) = match name {
        Some(name) => (archives.by_name(&name), format!("/archives/{name}")),
        None => (archives.default_archive(), server.0.config.base_path.clone()),
    };
    let archive = found.ok_or_else(no_such_archive)?;
    Ok((Arc::clone(archive), prefix))
}
