//! Whoever uses the console: an operator, who may do at an archive what they may do over DICOMweb.

use std::net::IpAddr;
use std::sync::Arc;

use axum::RequestExt as _;
use axum::body::Body;
use axum::extract::{FromRequestParts, RawPathParams, Request};
use http::StatusCode;
use http::request::Parts;

use super::fields::Fields;
use super::gate::{path_of, root_of};
use super::{Frame, Here, ROOT};
use crate::access::{Identity, Means, Operation};
use crate::archive::Archive;
use crate::caller::{Caller, Priority};
use crate::dicom::Uid;
use crate::dicomweb::request::path_uid;
use crate::event::Who;
use crate::front::http::error::Problem;
use crate::front::http::identity::{no_such_archive, tell};
use crate::front::http::observe::Notes;
use crate::front::http::record::Record;
use crate::front::http::{Server, admin, origin, stow};
use crate::net::Connection;

/// An operator, and what their request names.
pub(super) struct Operator {
    pub(super) server: Server,
    /// What is noted of the request, and whose it is.
    pub(super) record: Record,
    pub(super) who: Who,
    /// The query as it was sent.
    pub(super) query: String,
    notes: Notes,
    identity: Identity,
    base: String,
    path: Vec<(String, String)>,
    client: Option<IpAddr>,
}

impl Operator {
    /// What their pages have in common.
    pub(super) fn frame(&self, here: Here) -> Frame {
        let user = (self.identity.means != Means::Nobody).then(|| self.identity.name.to_string());
        let token = self.server.0.kept.desk.seal().token(&self.identity);
        Frame { base: self.base.clone(), here, user, token, is_live: false }
    }

    /// The same, of a page that shows what changes.
    pub(super) fn live_frame(&self, here: Here) -> Frame {
        Frame { is_live: true, ..self.frame(here) }
    }

    /// The URL of a page of the console, without the host.
    pub(super) fn url(&self, page: &str) -> String {
        format!("{}{ROOT}{page}", self.base)
    }

    /// On whose behalf archives are asked.
    pub(super) fn caller(&self, priority: Priority) -> Caller {
        Caller { client: self.client, priority, title: None }
    }

    /// A part of the path.
    pub(super) fn part(&self, name: &str) -> &str {
        self.path.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// A UID in the path.
    pub(super) fn uid(&self, name: &str) -> Result<Uid, Problem> {
        Ok(path_uid(name, self.part(name))?)
    }

    /// Whether they may do this at the archive of this name.
    pub(super) fn may(&self, operation: Operation, archive: &str) -> bool {
        self.identity.grants.allows(operation, archive)
    }

    /// The archive in the path, at which they may do this.
    ///
    /// # Errors
    /// There is none, or they may not.
    pub(super) fn archive(&self, operation: Operation) -> Result<Arc<dyn Archive>, Problem> {
        self.archive_named(self.part("archive"), operation)
    }

    /// The archive of this name, at which they may do this.
    ///
    /// # Errors
    /// There is none, or they may not.
    pub(super) fn archive_named(
        &self,
        name: &str,
        operation: Operation,
    ) -> Result<Arc<dyn Archive>, Problem> {
        let archive = self.server.0.archives.by_name(name).ok_or_else(no_such_archive)?;
        self.notes.archive(name);
        if operation != Operation::Admin && !self.may(operation, name) {
            let asked = "asked for what they may not do at this archive";
            tell(&self.server, &self.identity, self.client, Some(name), asked);
            let text = format!("you may not do this at archive `{name}`: it needs the right `{operation}`");
            return Err(Problem::client(StatusCode::FORBIDDEN, text)
                .advise("Whoever operates the bridge does not see patients by that alone."));
        }
        Ok(Arc::clone(archive))
    }
}

/// Who posts a form, and its fields.
///
/// # Errors
/// It is not from a page that was drawn for them, or cannot be read.
pub(super) async fn posted(server: &Server, request: Request) -> Result<(Operator, Fields), Problem> {
    let (mut parts, body) = request.into_parts();
    let at = Request::from_parts(parts.clone(), Body::empty()).extract_parts_with_state(server).await;
    let at: Operator = match at {
        Ok(at) => at,
        Err(problem) => {
            stow::pass_over_little(server, &parts.headers, body).await;
            return Err(problem);
        }
    };
    let headers = std::mem::take(&mut parts.headers);
    let fields = Fields::of_body(server, &headers, body).await?;
    if !server.0.kept.desk.seal().is_good(fields.get("token"), &at.identity) {
        let text = "the page that this was sent from is out of date";
        return Err(Problem::client(StatusCode::FORBIDDEN, text).advise(
            "Open it again and repeat what you did: the bridge was started anew, or you have signed in anew.",
        ));
    }
    Ok((at, fields))
}

impl FromRequestParts<Server> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, Problem> {
        let Some(identity) = parts.extensions.get::<Identity>().cloned() else {
            return Err(Problem::bridge(StatusCode::INTERNAL_SERVER_ERROR, "nobody has found out who asks"));
        };
        let path = RawPathParams::from_request_parts(parts, server)
            .await
            .map_err(|_| Problem::client(StatusCode::BAD_REQUEST, "the path is not UTF-8"))?;
        let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let request = Request::from_parts(parts.clone(), Body::empty());
        let root = root_of(server, &request)
            .ok_or_else(|| Problem::client(StatusCode::BAD_REQUEST, "the Host header is malformed"))?;
        let config = &server.0.config;
        let connection = parts.extensions.get::<Connection>();
        let peer = connection.map(|connection| connection.peer.ip());
        // By which name it asks has been looked at before.
        if identity.means == Means::Nobody && !admin::is_local(config, peer, &parts.headers) {
            return Err(Problem::client(
                StatusCode::FORBIDDEN,
                "where nobody has to sign in, the console is for browsers on this machine alone",
            )
            .advise(
                "Open it on the machine that the bridge runs on, at http://localhost, or set up [auth].",
            ));
        }
        let client = origin::client_address(config, peer, &parts.headers);
        let certificate = connection.and_then(|connection| connection.certificate.as_ref());
        let certificate = certificate.map(|certificate| certificate.subject.as_str().into());
        let user = (identity.means != Means::Nobody).then(|| Arc::clone(&identity.name));
        Ok(Self {
            server: server.clone(),
            record: parts.extensions.get::<Record>().cloned().unwrap_or_default(),
            who: Who { user, title: None, address: client, certificate },
            notes: Notes::of(&parts.extensions),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            base: path_of(&root).to_owned(),
            identity,
            path,
            client,
        })
    }
}
