//! A range of IP addresses, as `10.0.0.0/8`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An IP network in CIDR notation (RFC 4632); one address alone is a network of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// The text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an IP network: an address, or an address/prefix length such as 10.0.0.0/8")]
pub struct InvalidNetwork;

impl Network {
    /// Whether the address lies in the network. An IPv4 address that came in over an IPv6 socket is IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(one)) => {
                agree(network.to_bits().into(), one.to_bits().into(), 32 - u32::from(self.prefix))
            }
            (IpAddr::V6(network), IpAddr::V6(one)) => {
                agree(network.to_bits(), one.to_bits(), 128 - u32::from(self.prefix))
            }
            _ => false,
        }
    }
}

/// Whether a host, by name or address, is this machine: what passes to it in the clear, nobody else sees.
pub fn is_this_machine(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether two addresses are the same but for their last `host_bits`.
fn agree(a: u128, b: u128, host_bits: u32) -> bool {
    (a ^ b).checked_shr(host_bits).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| InvalidNetwork)?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), str::parse).map_err(|_| InvalidNetwork)?;
        if prefix > longest { Err(InvalidNetwork) } else { Ok(Self { address, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_its_addresses_and_no_others() {
        let holds =
            |network: &str, one: &str| network.parse::<Network>().unwrap().contains(one.parse().unwrap());
        assert!(holds("10.0.0.0/24", "10.0.0.7") && !holds("10.0.0.0/24", "10.0.1.7"));
        assert!(holds("10.0.0.7", "10.0.0.7") && !holds("10.0.0.7", "10.0.0.8"));
        assert!(holds("0.0.0.0/0", "203.0.113.1") && !holds("0.0.0.0/0", "::1"));
        assert!(holds("10.0.0.0/8", "::ffff:10.1.2.3"), "IPv4 over an IPv6 socket");
        assert!(holds("2001:db8::/32", "2001:db8:1::1") && holds("::/0", "::1"));
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "::1/129", "host"] {
            assert_eq!(bad.parse::<Network>(), Err(InvalidNetwork), "{bad}");
        }
    }
}
