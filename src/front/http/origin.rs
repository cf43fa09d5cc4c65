//! By which name the client knows this bridge, and who the client is, behind proxies too.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HOST, HeaderValue};
use http::{HeaderMap, Uri, Version};

use super::Config;
use crate::net::Network;

/// Longest host name with its port (RFC 1035 2.3.4), and longest prefix that a proxy may add.
const MAX_NAME: usize = 262;
/// Where most proxies say for whom they ask.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The host that the client asked for is malformed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BadHost;

/// Whether a request names one host, as it must (RFC 9112 3.2): two are a smuggler's, or a proxy's mistake, and none is
/// what HTTP/1.0 had, and what later versions say in the URL.
pub(super) fn names_one_host(version: Version, uri: &Uri, headers: &HeaderMap) -> Result<(), BadHost> {
    match headers.get_all(HOST).iter().count() {
        0 if version == Version::HTTP_11 && uri.authority().is_none() => Err(BadHost),
        0 | 1 => Ok(()),
        _ => Err(BadHost),
    }
}

/// The URL that clients reach the root of this server by, without a slash at its end: as configured, else
/// as the nearest proxy says where it may be trusted, else as the request says.
pub(super) fn root_url(
    config: &Config,
    peer: Option<IpAddr>,
    is_secure: bool,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<String, BadHost> {
    if let Some(public) = &config.public_url {
        return Ok(public.clone());
    }
    let trusted = peer.is_some_and(|peer| is_trusted(config, peer));
    let said = |parameter: &str, header: &str| {
        let value =
            if trusted { forwarded(headers, parameter).or_else(|| first(headers, header)) } else { None };
        value.filter(|text| !text.is_empty())
    };
    let scheme = match said("proto", "x-forwarded-proto").as_deref() {
        Some("https") => "https",
        Some(_) => "http",
        None if is_secure => "https",
        None => "http",
    };
    let asked = || match uri.authority() {
        Some(authority) => Some(authority.as_str().to_owned()),
        None => headers.get(HOST).and_then(|value| value.to_str().ok()).map(str::to_owned),
    };
    // HTTP/1.0 has no Host; such a client does not follow URLs either.
    let mut host = said("host", "x-forwarded-host").or_else(asked).unwrap_or_else(|| "localhost".to_owned());
    // Many proxies pass on the host without its port, and the port by itself.
    let usual = if scheme == "https" { "443" } else { "80" };
    if let Some(port) = said("", "x-forwarded-port").filter(|port| port != usual && is_port(port))
        && !has_port(&host)
    {
        host = format!("{host}:{port}");
    }
    if !is_host(&host) {
        return Err(BadHost);
    }
    let prefix = said("", "x-forwarded-prefix").filter(|prefix| is_prefix(prefix)).unwrap_or_default();
    Ok(format!("{scheme}://{host}{}", prefix.trim_end_matches('/')))
}

/// The client's address: the peer, or behind trusted proxies the nearest hop that is not one of theirs. What stands
/// beyond a hop that is no address is anybody's invention: it is not read, and the client is the last hop before it.
///
/// `Forwarded` is read where there is no `X-Forwarded-For`: of two, one is a client's that its proxy passed on.
pub(super) fn client_address(config: &Config, peer: Option<IpAddr>, headers: &HeaderMap) -> Option<IpAddr> {
    let mut last = peer?;
    let listed = headers.contains_key(FORWARDED_FOR);
    let header = if listed { FORWARDED_FOR } else { FORWARDED.as_str() };
    let values: Vec<&HeaderValue> = headers.get_all(header).iter().collect();
    let mut hops = values.into_iter().rev().flat_map(|value| {
        let value = value.to_str().unwrap_or_default();
        value.rsplit(',').map(|element| node(if listed { element } else { said_for(element) }))
    });
    while is_trusted(config, last) {
        let Some(Some(hop)) = hops.next() else { break };
        last = hop;
    }
    Some(last)
}

/// The address of a hop, with its port or without; `None` for a name, or what is neither.
fn node(text: &str) -> Option<IpAddr> {
    let text = text.trim().trim_matches('"');
    let bare = || text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let address = match text.parse::<SocketAddr>() {
        Ok(address) => address.ip(),
        Err(_) => bare().parse().ok()?,
    };
    Some(address.to_canonical())
}

/// Whom an element of `Forwarded` is for (RFC 7239 5.2); empty where it does not say.
fn said_for(element: &str) -> &str {
    let mut pairs = element.split(';').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for")).map_or("", |(_, value)| value)
}

/// Whether this is the address of a proxy whose word counts.
pub(super) fn is_trusted(config: &Config, address: IpAddr) -> bool {
    config.trusted_proxies.iter().any(|network: &Network| network.contains(address))
}

/// A parameter of the first element of `Forwarded` (RFC 7239), unquoted.
fn forwarded(headers: &HeaderMap, parameter: &str) -> Option<String> {
    let value = headers.get(FORWARDED)?.to_str().ok()?;
    let element = value.split(',').next()?;
    element.split(';').find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        let value = value.trim().trim_matches('"');
        name.trim().eq_ignore_ascii_case(parameter).then(|| value.to_owned())
    })
}

/// The first value of a comma-separated header.
fn first(headers: &HeaderMap, name: &str) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.split(',').next()?.trim().to_owned())
}

fn is_host(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(allowed)
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// Whether the host has a port behind it; the colons of an IPv6 address stand in brackets.
fn has_port(host: &str) -> bool {
    host.rsplit_once(':').is_some_and(|(_, port)| is_port(port))
}

fn is_prefix(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"/.-_~".contains(&b);
    text.len() <= MAX_NAME && text.starts_with('/') && !text.contains("//") && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn behind_proxy() -> Config {
        Config { trusted_proxies: vec!["10.0.0.0/8".parse().unwrap()], ..Config::default() }
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    fn root(config: &Config, pairs: &[(&'static str, &'static str)]) -> Result<String, BadHost> {
        root_url(config, Some(PROXY), false, &Uri::from_static("/x"), &headers(pairs))
    }

    #[test]
    fn the_request_names_the_server_unless_a_trusted_proxy_does() {
        let said = [
            ("host", "inner:8080"),
            ("x-forwarded-host", "pacs.example"),
            ("x-forwarded-proto", "https, http"),
            ("x-forwarded-prefix", "/bridge/"),
        ];
        assert_eq!(root(&Config::default(), &said).unwrap(), "http://inner:8080");
        assert_eq!(root(&behind_proxy(), &said).unwrap(), "https://pacs.example/bridge");
        let standard =
            [("host", "inner"), ("forwarded", "for=1.2.3.4;Proto=https;host=\"pacs.example:444\"")];
        assert_eq!(root(&behind_proxy(), &standard).unwrap(), "https://pacs.example:444");
        let over_tls = |config: &Config, pairs: &[(&'static str, &'static str)]| {
            root_url(config, Some(PROXY), true, &Uri::from_static("/x"), &headers(pairs)).unwrap()
        };
        assert_eq!(over_tls(&Config::default(), &said), "https://inner:8080");
        assert_eq!(over_tls(&behind_proxy(), &[("host", "inner")]), "https://inner");
        let said_plain = [("host", "inner"), ("x-forwarded-proto", "http")];
        assert_eq!(over_tls(&behind_proxy(), &said_plain), "http://inner");
        let public = Config { public_url: Some("https://a.example/b".to_owned()), ..Config::default() };
        assert_eq!(root(&public, &said).unwrap(), "https://a.example/b");
    }

    #[test]
    fn a_port_that_comes_by_itself_is_put_to_a_host_without_one() {
        let config = behind_proxy();
        let url = |host: &'static str, proto: &'static str, port: &'static str| {
            let said = [("host", host), ("x-forwarded-proto", proto), ("x-forwarded-port", port)];
            root(&config, &said).unwrap()
        };
        assert_eq!(url("pacs.example", "https", "8443"), "https://pacs.example:8443");
        assert_eq!(url("pacs.example", "https", "443"), "https://pacs.example");
        assert_eq!(url("pacs.example:81", "http", "8080"), "http://pacs.example:81");
        assert_eq!(url("[::1]", "http", "8080"), "http://[::1]:8080");
        assert_eq!(url("pacs.example", "http", "x/y"), "http://pacs.example");
    }

    #[test]
    fn hazard_two_hosts_are_none() {
        let mut two = headers(&[("host", "a")]);
        two.append("host", "b".parse().unwrap());
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            assert_eq!(names_one_host(version, &Uri::from_static("/x"), &two), Err(BadHost), "{version:?}");
        }
    }

    #[test]
    fn hazard_a_request_that_names_no_host_is_none_of_http_1_1() {
        let none = HeaderMap::new();
        let names = |version, uri| names_one_host(version, &Uri::from_static(uri), &none);
        assert_eq!(names(Version::HTTP_11, "/x"), Err(BadHost));
        assert_eq!(names(Version::HTTP_10, "/x"), Ok(()));
        assert_eq!(names(Version::HTTP_2, "https://a/x"), Ok(()));
        assert_eq!(
            names_one_host(Version::HTTP_11, &Uri::from_static("/x"), &headers(&[("host", "a")])),
            Ok(())
        );
    }

    #[test]
    fn http2_names_the_server_in_its_authority() {
        let uri = Uri::from_static("http://h2.example/x");
        let url = |is_secure| root_url(&Config::default(), None, is_secure, &uri, &HeaderMap::new()).unwrap();
        assert_eq!(url(false), "http://h2.example");
        assert_eq!(url(true), "https://h2.example");
    }

    #[test]
    fn a_host_that_would_break_out_of_a_url_is_refused() {
        for bad in ["a/b", "a b", "a\"b", "a@b", "<a>"] {
            assert_eq!(root(&Config::default(), &[("host", bad)]), Err(BadHost), "{bad}");
        }
        assert_eq!(root(&Config::default(), &[]).unwrap(), "http://localhost");
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_trusted_proxy() {
        let said = headers(&[("x-forwarded-for", "1.1.1.1, 203.0.113.9, 10.0.0.2")]);
        let address = |config: &Config| client_address(config, Some(PROXY), &said).unwrap().to_string();
        assert_eq!(address(&behind_proxy()), "203.0.113.9");
        assert_eq!(address(&Config::default()), "10.0.0.1");
    }

    #[test]
    fn hazard_a_client_does_not_choose_its_address_by_a_hop_that_is_none() {
        let client = |pairs: &[(&'static str, &'static str)]| {
            let mut said = HeaderMap::new();
            for (name, value) in pairs {
                said.append(*name, value.parse().unwrap());
            }
            client_address(&behind_proxy(), Some(PROXY), &said).unwrap().to_string()
        };
        for (said, expected) in [
            ("6.6.6.6, 203.0.113.9:4711", "203.0.113.9"),
            ("6.6.6.6, [2001:db8::1]:4711, 10.0.0.2", "2001:db8::1"),
            ("6.6.6.6, [2001:db8::1]", "2001:db8::1"),
            ("6.6.6.6, ::ffff:203.0.113.9", "203.0.113.9"),
            ("6.6.6.6, unknown", "10.0.0.1"),
            ("6.6.6.6, , 10.0.0.2", "10.0.0.2"),
            ("6.6.6.6, 203.0.113.9.", "10.0.0.1"),
            ("10.7.7.7", "10.7.7.7"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(client(&[("x-forwarded-for", said)]), expected, "{said}");
        }
        let two = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-for", "203.0.113.9, 10.0.0.2")];
        assert_eq!(client(&two), "203.0.113.9", "the proxy adds its header behind the client's");
        for (said, expected) in [
            ("for=6.6.6.6, For=\"203.0.113.9:4711\";proto=https", "203.0.113.9"),
            ("for=6.6.6.6, by=10.0.0.2;for=\"[2001:db8::1]\", for=10.0.0.3", "2001:db8::1"),
            ("for=6.6.6.6, for=_hidden", "10.0.0.1"),
            ("for=6.6.6.6, proto=https", "10.0.0.1"),
            ("for=\"6.6.6.6, for=203.0.113.9", "203.0.113.9"),
        ] {
            assert_eq!(client(&[("forwarded", said)]), expected, "{said}");
            let both = [("forwarded", "for=6.6.6.6"), ("x-forwarded-for", "203.0.113.9")];
            assert_eq!(client(&both), "203.0.113.9");
        }
    }
}
