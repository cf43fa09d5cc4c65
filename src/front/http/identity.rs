//! Who asks, found out before anything is done for them, and whether they may do what a route does.
//!
//! Whoever is not known gets 401, whatever they ask for; who may not do such a thing anywhere gets 403 before any archive
//! is looked for. An archive at which somebody may do nothing does not exist for them.

use std::net::IpAddr;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, Method, StatusCode};

use super::error::Problem;
use super::observe::Notes;
use super::{PAGES, Server, host, origin, stow};
use crate::access::{Identity, Means, Operation, Refused};
use crate::event::{Alert, Event, Outcome, What, Who};
use crate::net::Connection;

/// What a route wants of who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: for everybody. Who says who they are may see more.
    Nothing,
    /// Somebody who may do something.
    Anything,
    /// Somebody who may do this.
    Operation(Operation),
}

/// Finds out who asks.
pub(super) async fn identify(State(server): State<Server>, mut request: Request, next: Next) -> Response {
    let access = &server.0.access;
    let connection = request.extensions().get::<Connection>().cloned();
    let from = address(&server, request.extensions(), request.headers());
    let certificate = connection.as_ref().and_then(|connection| connection.certificate.as_deref());
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let found = match (values.next(), values.next()) {
        // Which of them counts, a proxy and we could see differently.
        (Some(_), Some(_)) => Err(Refused::Invalid("there are two Authorization headers")),
        (authorization, _) => access.authenticate(authorization, certificate, from).await,
    };
    let identity = match found {
        Ok(identity) => identity,
        Err(_) if is_for_everybody(&request) => return next.run(request).await,
        Err(refused) => {
            if let (Refused::Lapsed(_), Some(connection)) = (&refused, &connection) {
                // Who has a better one by now can only show it on another connection.
                connection.retire();
            }
            let mut response = problem(&refused).into_response();
            for challenge in access.challenges(&refused) {
                response.headers_mut().append(WWW_AUTHENTICATE, challenge);
            }
            return answer_in_place_of(&server, request, response).await;
        }
    };
    if identity.means == Means::Nobody {
        let config = &server.0.config;
        match host::check(config, connection.as_ref(), request.uri(), request.headers()) {
            Ok(()) => {}
            Err(_) if is_for_everybody(&request) => return next.run(request).await,
            Err(problem) => {
                tell(&server, &identity, from, None, "asked for this server by a name that is not its own");
                return answer_in_place_of(&server, request, problem.into_response()).await;
            }
        }
    } else {
        Notes::of(request.extensions()).user(&identity.name);
    }
    request.extensions_mut().insert(identity);
    next.run(request).await
}

/// Lets those through who may do somewhere what the route does.
pub(super) async fn permit(
    State((server, needs)): State<(Server, Needs)>,
    mut request: Request,
    next: Next,
) -> Response {
    let identity = request.extensions().get::<Identity>();
    let may = match (needs, identity) {
        (Needs::Nothing, _) | (Needs::Anything, Some(_)) => true,
        (Needs::Operation(operation), Some(identity)) => identity.grants.has(operation),
        (_, None) => false,
    };
    if !may {
        let response = match (needs, identity) {
            (Needs::Operation(operation), Some(identity)) => {
                let from = address(&server, request.extensions(), request.headers());
                forbidden(&server, identity, from, operation)
            }
            // Nobody comes here: whoever is not known was refused before.
            _ => problem(&Refused::Missing).into_response(),
        };
        return answer_in_place_of(&server, request, response).await;
    }
    request.extensions_mut().insert(needs);
    next.run(request).await
}

/// Whether whoever asks may do at the archive of this name what the route does.
///
/// # Errors
/// 403, or 404 for an archive of which they are to know nothing.
pub(super) fn admit(server: &Server, parts: &Parts, archive: &str) -> Result<Identity, Problem> {
    let (Some(identity), Some(needs)) = (parts.extensions.get::<Identity>(), parts.extensions.get::<Needs>())
    else {
        return Err(Problem::bridge(StatusCode::INTERNAL_SERVER_ERROR, "nobody has found out who asks"));
    };
    let grants = &identity.grants;
    let from = address(server, &parts.extensions, &parts.headers);
    if !grants.knows(archive) {
        let text = "asked for an archive at which nothing is allowed to them";
        tell(server, identity, from, Some(archive), text);
        return Err(no_such_archive());
    }
    match needs {
        Needs::Operation(operation) if !grants.allows(*operation, archive) => {
            tell(server, identity, from, Some(archive), "asked for what they may not do at this archive");
            Err(may_not(*operation))
        }
        _ => Ok(identity.clone()),
    }
}

/// The answer for an archive that there is not, or not for who asks.
pub(super) fn no_such_archive() -> Problem {
    Problem::client(StatusCode::NOT_FOUND, "there is no such archive")
        .advise("Name an archive of the configuration: /archives/{name}/studies")
}

/// Whether the request is for a page that everybody may see.
fn is_for_everybody(request: &Request) -> bool {
    let path = request.uri().path();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    reads && PAGES.iter().any(|(known, page)| *known == path && page.needs() == Needs::Nothing)
}

fn forbidden(server: &Server, identity: &Identity, from: Option<IpAddr>, operation: Operation) -> Response {
    tell(server, identity, from, None, "asked for what they may not do anywhere");
    let mut response = may_not(operation).into_response();
    if matches!(identity.means, Means::Oidc | Means::Token) {
        // RFC 6750 3.1.
        let challenge = HeaderValue::from_static("Bearer realm=\"gantry\", error=\"insufficient_scope\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

fn may_not(operation: Operation) -> Problem {
    Problem::client(StatusCode::FORBIDDEN, format!("you may not do this: it needs the right `{operation}`"))
        .advise("Ask the operator of this server for that right, or come with credentials that have it.")
}

fn problem(refused: &Refused) -> Problem {
    let text = refused.to_string();
    match refused {
        Refused::Missing => Problem::client(StatusCode::UNAUTHORIZED, text)
            .advise("Send credentials of a kind that WWW-Authenticate names, in the Authorization header."),
        Refused::Invalid(_) => Problem::client(StatusCode::UNAUTHORIZED, text),
        Refused::Lapsed(_) => Problem::client(StatusCode::UNAUTHORIZED, text)
            .advise("Connect again, with a certificate that is good now."),
        Refused::Unavailable(_) => Problem::bridge(StatusCode::SERVICE_UNAVAILABLE, text).try_again(),
        Refused::TooMany(wait) => Problem::client(StatusCode::TOO_MANY_REQUESTS, text).try_again_in(*wait),
    }
}

/// Where a request comes from.
fn address(server: &Server, extensions: &Extensions, headers: &HeaderMap) -> Option<IpAddr> {
    let peer = extensions.get::<Connection>().map(|connection| connection.peer.ip());
    origin::client_address(&server.0.config, peer, headers).map(|address| address.to_canonical())
}

/// Tells of somebody who tried what they may not do.
pub(super) fn tell(
    server: &Server,
    identity: &Identity,
    from: Option<IpAddr>,
    archive: Option<&str>,
    text: &str,
) {
    let at = archive.map_or_else(String::new, |name| format!(" ({name})"));
    let Some(text) = server.0.access.tell_of_overreach(identity, &format!("{text}{at}")) else { return };
    let who = Who { user: Some(identity.name.clone()), address: from, ..Who::default() };
    let what = What::SecurityAlert { kind: Alert::RestrictedFunction, text: text.clone() };
    server.0.events.send(Event::now(who, what).failed(Outcome::MinorFailure, text));
}

/// Answers with `response` a request whose body nobody wants.
async fn answer_in_place_of(server: &Server, request: Request, response: Response) -> Response {
    let (parts, body): (Parts, Body) = request.into_parts();
    stow::pass_over_little(server, &parts.headers, body).await;
    response
}
