//! Whether a request means this server: a browser takes whatever name it was asked by for the site that a page is of.
//!
//! Where nobody has to say who they are, to reach this server is to read patients. A page of any site whose name is made to
//! mean this machine (DNS rebinding) would reach it from a browser that runs here, or beside it, and would be this server's
//! own page to that browser. All that gives it away is the name. An address in place of a name means who has that
//! address; over TLS the certificate says which names are ours, and the browser has looked.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, StatusCode, Uri};

use super::error::Problem;
use super::{Config, origin};
use crate::net::Connection;

/// Longest host name, in characters (RFC 1035 2.3.4).
const MAX_NAME: usize = 253;

/// A name of this server: a host's, without a port, in lower case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

/// The text is no name of a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not the name of a host, which has no scheme and no port")]
pub struct BadHostName;

impl FromStr for HostName {
    type Err = BadHostName;

    fn from_str(text: &str) -> Result<Self, BadHostName> {
        let name = bare(text);
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        let is_name = (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(allowed);
        if is_name && !name.starts_with('.') { Ok(Self(name)) } else { Err(BadHostName) }
    }
}

/// Lets through a request that names this server by a name of its own.
///
/// # Errors
/// 421 for another name, 400 for what is none.
pub(super) fn check(
    config: &Config,
    connection: Option<&Connection>,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Problem> {
    if connection.is_some_and(|connection| connection.is_secure || is_of_a_distant_proxy(config, connection))
    {
        return Ok(());
    }
    let malformed = || Problem::client(StatusCode::BAD_REQUEST, "the Host header is malformed");
    let mut named: Vec<Authority> = uri.authority().cloned().into_iter().collect();
    for value in headers.get_all(HOST) {
        named.push(Authority::try_from(value.as_bytes()).map_err(|_| malformed())?);
    }
    // Programs of HTTP/1.0 name none, and no browser is among them.
    if named.iter().all(|authority| is_own(config, &bare(authority.host()))) {
        return Ok(());
    }
    let text = "this server does not go by the name that it was asked by";
    Err(Problem::client(StatusCode::MISDIRECTED_REQUEST, text).advise(
        "Ask by its address or as localhost, or let its operator add the name to http.hosts in the configuration. \
         Where [auth] says who may come, any name will do.",
    ))
}

/// Whether a trusted proxy on another machine has passed this on: it decides by which names it is reached itself. One on
/// this machine has the address that a browser here has.
fn is_of_a_distant_proxy(config: &Config, connection: &Connection) -> bool {
    let peer = connection.peer.ip().to_canonical();
    !peer.is_loopback() && origin::is_trusted(config, peer)
}

fn is_own(config: &Config, name: &str) -> bool {
    let is_address = || name.parse::<IpAddr>().is_ok() || in_brackets(name).is_some();
    // Browsers look nowhere for what ends so (RFC 6761 6.3).
    let is_local = || name == "localhost" || name.ends_with(".localhost");
    let is_public = || {
        let public = config.public_url.as_deref().and_then(|url| url.parse::<Uri>().ok());
        public.and_then(|url| url.host().map(bare)).is_some_and(|own| own == name)
    };
    is_address() || is_local() || config.hosts.iter().any(|own| own.0 == name) || is_public()
}

/// An address of IPv6 as it stands in a URL.
fn in_brackets(name: &str) -> Option<Ipv6Addr> {
    name.strip_prefix('[')?.strip_suffix(']')?.parse().ok()
}

/// A name in lower case, without the full stop that ends it in the DNS.
fn bare(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(config: &Config, peer: &str, host: &str) -> u16 {
        let connection = Connection::of(format!("{peer}:4711").parse().unwrap());
        let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
        let checked = check(config, Some(&connection), &Uri::from_static("/x"), &headers);
        checked.map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    fn named(hosts: &[&str]) -> Config {
        Config { hosts: hosts.iter().map(|name| name.parse().unwrap()).collect(), ..Config::default() }
    }

    #[test]
    fn attack_a_name_that_is_made_to_mean_this_machine_is_not_ours() {
        for host in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1@evil.example",
            "pacs.example.evil.example",
            "xpacs.example",
        ] {
            let config = Config { public_url: Some("https://pacs.example".into()), ..named(&["gantry"]) };
            assert_eq!(checked(&config, "127.0.0.1", host), 421, "{host}");
        }
        let both = HeaderMap::from_iter([(HOST, "localhost".parse().unwrap())]);
        let uri = Uri::from_static("http://evil.example/x");
        assert!(check(&Config::default(), None, &uri, &both).is_err(), "each name that is said counts");
        let mut two = both.clone();
        two.append(HOST, "evil.example".parse().unwrap());
        assert!(check(&Config::default(), None, &Uri::from_static("/x"), &two).is_err());
    }

    #[test]
    fn addresses_and_localhost_are_ours_and_what_is_configured() {
        for host in [
            "127.0.0.1:8080",
            "127.0.0.1",
            "[::1]:8080",
            "[::1]",
            "10.0.0.7",
            "localhost",
            "LocalHost:80",
            "localhost.",
            "ohif.localhost:3000",
        ] {
            assert_eq!(checked(&Config::default(), "127.0.0.1", host), 200, "{host}");
        }
        assert_eq!(checked(&named(&["Gantry."]), "127.0.0.1", "gantry:8080"), 200);
        let public = Config { public_url: Some("https://PACS.example:8443/b".into()), ..Config::default() };
        assert_eq!(checked(&public, "127.0.0.1", "pacs.example"), 200);
        assert_eq!(checked(&Config::default(), "127.0.0.1", "a/b"), 400);
        let none = check(&Config::default(), None, &Uri::from_static("/x"), &HeaderMap::new());
        assert!(none.is_ok(), "HTTP/1.0");
    }

    #[test]
    fn a_trusted_proxy_elsewhere_answers_for_its_names_and_one_on_this_machine_does_not() {
        let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap(), "127.0.0.1".parse().unwrap()];
        let config = Config { trusted_proxies, ..Config::default() };
        assert_eq!(checked(&config, "10.0.0.1", "pacs.example"), 200);
        assert_eq!(checked(&config, "127.0.0.1", "pacs.example"), 421, "a browser has this address, too");
        assert_eq!(checked(&config, "192.0.2.1", "pacs.example"), 421);
    }

    #[test]
    fn over_tls_the_certificate_has_said_whose_name_it_is() {
        let mut connection = Connection::of(([127, 0, 0, 1], 4711).into());
        connection.is_secure = true;
        let headers = HeaderMap::from_iter([(HOST, "pacs.example".parse().unwrap())]);
        assert!(check(&Config::default(), Some(&connection), &Uri::from_static("/x"), &headers).is_ok());
    }

    #[test]
    fn a_name_has_no_scheme_and_no_port() {
        for bad in ["", ".", "http://a", "a:80", "a/b", "*", "*.example", "[::1]", "a b", &"a".repeat(254)] {
            assert_eq!(bad.parse::<HostName>(), Err(BadHostName), "{bad}");
        }
    }
}
