//! What the operator may look at and do: the cache's state, and emptying it.
//!
//! Where nobody has to say who they are, whoever sits at this machine is the operator. A browser, there or with a password
//! that it sends by itself, also runs the pages of other sites, and these may do nothing here.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ORIGIN};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::error::Problem;
use super::{Config, Server, origin};
use crate::access::{Identity, Means};
use crate::archive::shared;
use crate::dicom::Uid;
use crate::dicomweb::request;
use crate::net::Connection;
use crate::router::Router;

/// Where the cache is looked at and emptied.
pub(super) const CACHE: &str = "/admin/cache";

/// What proxies put to a request. One that is not trusted tells nothing of who stands behind it.
const OF_PROXIES: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// Says how the cache does.
pub(super) async fn cache_state(State(server): State<Server>, request: Request) -> Result<Response, Problem> {
    admit(&server.0.config, &request)?;
    if !request.uri().query().unwrap_or_default().is_empty() {
        return Err(Problem::client(StatusCode::BAD_REQUEST, "this resource has no parameters"));
    }
    let state = server.0.cache.state();
    let mut body = cache_json(&state);
    body["objects"] = json!(state.objects);
    if let (Some(disk), Some(text)) = (&state.disk, body.get_mut("disk")) {
        text["path"] = json!(disk.path);
    }
    Ok(answer(body))
}

/// Empties the cache, or that part of it which the query names.
pub(super) async fn purge_cache(State(server): State<Server>, request: Request) -> Result<Response, Problem> {
    admit(&server.0.config, &request)?;
    let what = purge(request.uri().query().unwrap_or_default(), &server.0.archives)?;
    server.0.thumbnails.clear();
    let cache = server.0.cache.clone();
    // Files are deleted on the way.
    let purged = tokio::task::spawn_blocking(move || cache.purge(&what))
        .await
        .map_err(|_| Problem::bridge(StatusCode::INTERNAL_SERVER_ERROR, "the cache could not be emptied"))?;
    tracing::info!(objects = purged.objects, bytes = purged.bytes, "emptied the cache");
    Ok(answer(json!({ "objects": purged.objects, "bytes": purged.bytes })))
}

/// How full the cache is, and what is wrong with it.
pub(super) fn cache_json(state: &shared::State) -> Value {
    let disk = state.disk.as_ref().map(|disk| {
        let mut text = json!({ "bytes": disk.bytes, "size": disk.size });
        if let Some(problem) = &disk.problem {
            text["problem"] = json!(problem);
        }
        text
    });
    json!({ "memory": { "bytes": state.memory, "size": state.memory_size }, "disk": disk })
}

/// An answer that holds for this moment alone.
pub(super) fn answer(body: Value) -> Response {
    let headers = [(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")];
    (headers, body.to_string()).into_response()
}

/// What a query asks to be dropped.
fn purge(query: &str, archives: &Router) -> Result<shared::Purge, Problem> {
    let bad = |why: String| Problem::client(StatusCode::BAD_REQUEST, why);
    let mut purge = shared::Purge::default();
    for (name, value) in request::parameters(query)? {
        let is_new = match name.as_str() {
            "archive" if archives.by_name(&value).is_none() => {
                return Err(Problem::client(StatusCode::NOT_FOUND, "there is no such archive"));
            }
            "archive" => purge.archive.replace(value).is_none(),
            "study" => purge.study.replace(uid(&name, &value)?).is_none(),
            "series" => purge.series.replace(uid(&name, &value)?).is_none(),
            "instance" => purge.instance.replace(uid(&name, &value)?).is_none(),
            // Left out, it would make more be dropped than was meant.
            _ => return Err(bad(format!("there is no parameter `{name}`"))),
        };
        if !is_new {
            return Err(bad(format!("`{name}` stands there twice")));
        }
    }
    Ok(purge)
}

pub(super) fn uid(name: &str, value: &str) -> Result<Uid, Problem> {
    value.parse().map_err(|error| Problem::client(StatusCode::BAD_REQUEST, format!("`{name}` is {error}")))
}

/// Lets through who has said that they are the operator, else who is at this machine; and no pages of other sites.
pub(super) fn admit(config: &Config, request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let peer = request.extensions().get::<Connection>().map(|connection| connection.peer.ip());
    let is_known = |identity: &Identity| identity.means != Means::Nobody;
    let is_operator = request.extensions().get::<Identity>().is_some_and(is_known);
    if !is_operator && !is_local(config, peer, headers) {
        return Err(Problem::client(
            StatusCode::FORBIDDEN,
            "this resource is for clients on this machine alone",
        )
        .advise("Ask on the machine that the bridge runs on, at its own address and not through a proxy."));
    }
    if is_of_a_page(headers) {
        return Err(Problem::client(StatusCode::FORBIDDEN, "this resource is not for pages in a browser"));
    }
    Ok(())
}

/// Whether the client is on this machine. Where a proxy passed the request on, only a trusted one's word counts.
pub(super) fn is_local(config: &Config, peer: Option<IpAddr>, headers: &HeaderMap) -> bool {
    let is_loopback = |address: IpAddr| address.to_canonical().is_loopback();
    let Some(peer) = peer.filter(|&peer| is_loopback(peer)) else { return false };
    let through_proxy = OF_PROXIES.iter().any(|name| headers.contains_key(*name));
    let told = headers.contains_key("x-forwarded-for") && origin::is_trusted(config, peer);
    (!through_proxy || told) && origin::client_address(config, Some(peer), headers).is_some_and(is_loopback)
}

/// Whether a browser says that a page of some site sent this. What a person typed in has no origin, and forms and
/// scripts of other sites cannot leave theirs out.
fn is_of_a_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|value| value.as_bytes());
    headers.contains_key(ORIGIN) || !matches!(site, None | Some(b"none" | b"same-origin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "127.0.0.1";

    fn local(trusted: &[&str], peer: &str, pairs: &[(&'static str, &'static str)]) -> bool {
        let trusted_proxies = trusted.iter().map(|network| network.parse().unwrap()).collect();
        let config = Config { trusted_proxies, ..Config::default() };
        let headers = pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        is_local(&config, Some(peer.parse().unwrap()), &headers.collect())
    }

    #[test]
    fn only_who_is_at_this_machine_is_local() {
        assert!(local(&[], HERE, &[]));
        assert!(local(&[], "::1", &[]));
        assert!(local(&[], "::ffff:127.0.0.1", &[]));
        assert!(!local(&[], "10.0.0.7", &[]));
        assert!(!is_local(&Config::default(), None, &HeaderMap::new()));
    }

    #[test]
    fn who_comes_through_a_proxy_is_who_a_trusted_one_says() {
        let from = |address| [("x-forwarded-for", address)];
        assert!(!local(&[], HERE, &from(HERE)), "a proxy on this machine that nobody trusts");
        assert!(!local(&[], HERE, &[("via", "1.1 nginx")]));
        assert!(!local(&["127.0.0.0/8"], HERE, &from("203.0.113.9")));
        assert!(local(&["127.0.0.0/8"], HERE, &from(HERE)));
        assert!(!local(&["127.0.0.0/8"], HERE, &[("forwarded", "for=203.0.113.9")]));
        assert!(!local(&["10.0.0.0/8"], "10.0.0.1", &from(HERE)), "the proxy's own machine is another one");
    }

    #[test]
    fn pages_are_known_by_what_browsers_say_of_them() {
        let of_a_page = |name: &'static str, value: &'static str| {
            is_of_a_page(&HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]))
        };
        assert!(of_a_page("origin", "http://localhost:8080"));
        assert!(of_a_page("origin", "null"));
        assert!(of_a_page("sec-fetch-site", "cross-site"));
        assert!(of_a_page("sec-fetch-site", "same-site"));
        assert!(!of_a_page("sec-fetch-site", "none"));
        assert!(!of_a_page("user-agent", "curl/8"));
    }
}
