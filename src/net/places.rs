//! So many at a time for each of many: clients by their addresses, associations by their titles.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The bits of an IPv6 address that a site is given whole (RFC 6177): whoever has one address has them all.
const SITE: u32 = 64;

/// Places that are counted for each key. What has none taken is forgotten, so that strangers, who may call themselves
/// anything, fill no memory. Cheap to clone.
#[derive(Debug)]
pub struct Places<K: Eq + Hash>(Arc<Mutex<HashMap<K, usize>>>);

/// A place, taken until it is dropped.
#[derive(Debug)]
pub struct Place<K: Eq + Hash> {
    places: Places<K>,
    key: K,
}

impl<K: Eq + Hash + Clone> Places<K> {
    /// Takes one of the `most` places that `key` has; `None`: all are taken.
    pub fn take(&self, key: &K, most: usize) -> Option<Place<K>> {
        let mut counts = self.lock();
        let count = counts.get(key).copied().unwrap_or(0);
        if count >= most {
            return None;
        }
        counts.insert(key.clone(), count + 1);
        drop(counts);
        Some(Place { places: self.clone(), key: key.clone() })
    }
}

impl<K: Eq + Hash> Places<K> {
    /// How many keys have a place taken.
    pub fn keys(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<K, usize>> {
        // A count is whole before and after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Clone for Places<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K: Eq + Hash> Default for Places<K> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<K: Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut counts = self.places.lock();
        match counts.get_mut(&self.key) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(counts.remove(&self.key)),
        }
    }
}

/// What a client is counted by: its address, of IPv6 the network that its site has whole.
pub fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> (128 - SITE) << (128 - SITE);
            Ipv6Addr::from(network).into()
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hazard_places_come_back_and_who_has_none_is_forgotten() {
        let places = Places::default();
        for _ in 0..3 {
            let taken: Vec<_> = (0..2).map(|_| places.take(&"a", 2).unwrap()).collect();
            assert!(places.take(&"a", 2).is_none());
            assert!(places.take(&"b", 2).is_some(), "another has places of its own");
            assert_eq!(places.keys(), 1);
            drop(taken);
            assert_eq!(places.keys(), 0);
        }
    }

    #[test]
    fn whoever_has_a_whole_network_of_ipv6_is_one_client() {
        let of = |text: &str| counted_as(text.parse().unwrap()).to_string();
        assert_eq!(of("10.1.2.3"), "10.1.2.3");
        assert_eq!(of("::ffff:10.1.2.3"), "10.1.2.3");
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
    }
}
