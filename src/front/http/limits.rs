//! How much a client may ask for: at once, in a second, and in one request.
//!
//! A client is an address, the one behind trusted proxies; of IPv6 the network that a site has whole. What is over the
//! limit is answered at once, with when to come back, before anything is parsed or any archive is asked.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::error::Problem;
use super::{Config, origin};
use crate::dicomweb::request::MAX_QUERY_LENGTH;
use crate::image::frames::MAX_FRAMES_ASKED;
use crate::metrics::Reason;
use crate::net::{Connection, Place, Places, counted_as};

/// For how long a client that was silent may ask as fast as it likes, in seconds of its rate: a viewer that opens a study
/// asks for everything at once.
const BURST: u32 = 2;
/// Most clients whose rates are followed. One is forgotten as soon as it could ask at will again, so that these asked in
/// the last seconds; what is more is not held back by its rate.
const MOST_FOLLOWED: usize = 16_384;
/// How often it is looked for those that can be forgotten, which costs a pass over all.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// When to come back where requests under way must end first.
const SOON: Duration = Duration::from_secs(1);

/// `[http.limits]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Most bytes of what is stored with one request.
    pub max_body: u64,
    /// Most bytes of one part of it: of an object.
    pub max_part: u64,
    /// Most bytes of a query; at most [`MAX_QUERY_LENGTH`].
    pub max_query: usize,
    /// Most matches of a search.
    pub max_results: usize,
    /// Most frames that are asked for by one request; at most [`MAX_FRAMES_ASKED`].
    pub max_frames: usize,
    /// Most requests under way, of all clients.
    pub max_requests: usize,
    /// Most requests under way of one client.
    pub max_requests_per_client: usize,
    /// Most requests of one client in a second, in the mean; `None`: any number.
    pub rate: Option<u32>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            max_body: 64 << 30,
            max_part: 16 << 30,
            max_query: MAX_QUERY_LENGTH,
            max_results: 100_000,
            max_frames: MAX_FRAMES_ASKED,
            max_requests: 2048,
            max_requests_per_client: 512,
            rate: None,
        }
    }
}

/// The requests that are under way, and how fast they came.
#[derive(Debug)]
pub(super) struct Gate {
    limits: LimitsConfig,
    all: Arc<Semaphore>,
    clients: Places<IpAddr>,
    rates: Mutex<Rates>,
    refused: Family<Reason, Counter>,
}

/// A request's place among those under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Admitted {
    _all: OwnedSemaphorePermit,
    _client: Option<Place<IpAddr>>,
}

impl Gate {
    /// `refused` counts whom it does not let in, by reason.
    pub(super) fn new(limits: LimitsConfig, refused: Family<Reason, Counter>) -> Self {
        let all = Arc::new(Semaphore::new(limits.max_requests));
        Self { limits, all, clients: Places::default(), rates: Mutex::default(), refused }
    }

    /// Another one that counts in the same place.
    pub(super) fn under(&self, limits: LimitsConfig) -> Self {
        Self::new(limits, self.refused.clone())
    }

    /// The limits that it holds to.
    pub(super) fn limits(&self) -> LimitsConfig {
        self.limits
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// 429 where its client asks for too much, 503 where all together do.
    pub(super) fn admit(
        &self,
        config: &Config,
        connection: Option<&Connection>,
        headers: &HeaderMap,
    ) -> Result<Admitted, Problem> {
        let peer = connection.map(|connection| connection.peer.ip());
        let client = origin::client_address(config, peer, headers).map(counted_as);
        if let (Some(client), Some(rate)) = (client, self.limits.rate) {
            let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
            rates.ask(client, rate, Instant::now()).map_err(|wait| {
                self.count("rate");
                let text = format!("more than {rate} requests a second from one address (http.limits.rate)");
                Problem::client(StatusCode::TOO_MANY_REQUESTS, text).try_again_in(wait)
            })?;
        }
        let place = client.map(|client| {
            let most = self.limits.max_requests_per_client;
            self.clients.take(&client, most).ok_or_else(|| {
                self.count("client");
                let text = format!(
                    "{most} requests of one address are under way (http.limits.max_requests_per_client)"
                );
                Problem::client(StatusCode::TOO_MANY_REQUESTS, text).try_again_in(SOON)
            })
        });
        let client = place.transpose()?;
        let all = Arc::clone(&self.all).try_acquire_owned().map_err(|_| {
            self.count("all");
            let text = "as many requests as there may be are under way (http.limits.max_requests)";
            Problem::bridge(StatusCode::SERVICE_UNAVAILABLE, text).try_again_in(SOON)
        })?;
        Ok(Admitted { _all: all, _client: client })
    }

    fn count(&self, reason: &'static str) {
        self.refused.get_or_create(&Reason { reason }).inc();
    }
}

/// When each client would be back to silence, had it asked at its rate (the generic cell rate algorithm).
#[derive(Debug, Default)]
struct Rates {
    until: HashMap<IpAddr, Instant>,
    /// When those who are back to silence were last looked for.
    looked: Option<Instant>,
}

impl Rates {
    /// Counts a request at `now`, or says how long to wait with it.
    fn ask(&mut self, client: IpAddr, rate: u32, now: Instant) -> Result<(), Duration> {
        let (each, burst) = (Duration::from_secs(1) / rate, Duration::from_secs(1) * BURST);
        let until = self.until.get(&client).copied().unwrap_or(now).max(now) + each;
        if let Some(wait) = (until - now).checked_sub(burst).filter(|wait| !wait.is_zero()) {
            return Err(wait);
        }
        if self.until.len() >= MOST_FOLLOWED && !self.until.contains_key(&client) {
            if self.looked.is_none_or(|looked| now - looked >= LOOK_AGAIN) {
                self.looked = Some(now);
                self.until.retain(|_, until| *until > now);
            }
            if self.until.len() >= MOST_FOLLOWED {
                return Ok(());
            }
        }
        self.until.insert(client, until);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers() -> HeaderMap {
        HeaderMap::new()
    }

    fn from(address: &str) -> Connection {
        Connection::of(format!("{address}:1").parse().unwrap())
    }

    #[test]
    fn a_client_has_so_many_requests_under_way_and_others_have_their_own() {
        let limits = LimitsConfig { max_requests_per_client: 2, max_requests: 3, ..LimitsConfig::default() };
        let (gate, config) = (Gate::new(limits, Family::default()), Config::default());
        let ask = |address| {
            gate.admit(&config, Some(&from(address)), &headers()).map_err(|problem| problem.status().as_u16())
        };
        let first: Vec<_> = (0..2).map(|_| ask("10.0.0.1").unwrap()).collect();
        assert_eq!(ask("10.0.0.1").unwrap_err(), 429);
        let _other = ask("10.0.0.2").unwrap();
        assert_eq!(ask("10.0.0.3").unwrap_err(), 503, "three of all");
        assert_eq!(gate.clients.keys(), 2, "a refused one holds no place");
        drop(first);
        assert!(ask("10.0.0.1").is_ok() && ask("10.0.0.3").is_ok());
    }

    #[test]
    fn who_hides_behind_a_forged_header_is_counted_all_the_same() {
        let limits = LimitsConfig { max_requests_per_client: 1, ..LimitsConfig::default() };
        let (gate, config) = (Gate::new(limits, Family::default()), Config::default());
        let forged = |n: u8| [("x-forwarded-for".parse().unwrap(), format!("10.9.9.{n}").parse().unwrap())];
        let _first = gate.admit(&config, Some(&from("10.0.0.1")), &forged(1).into_iter().collect()).unwrap();
        assert!(gate.admit(&config, Some(&from("10.0.0.1")), &forged(2).into_iter().collect()).is_err());
    }

    #[test]
    fn a_rate_holds_in_the_mean_and_allows_a_burst() {
        let (mut rates, client, now) = (Rates::default(), IpAddr::from([10, 0, 0, 1]), Instant::now());
        let at = |milliseconds| now + Duration::from_millis(milliseconds);
        let burst = (0..100).take_while(|_| rates.ask(client, 10, now).is_ok()).count();
        assert_eq!(burst, 20);
        assert_eq!(rates.ask(client, 10, now), Err(Duration::from_millis(100)));
        assert_eq!(rates.ask(IpAddr::from([10, 0, 0, 2]), 10, now), Ok(()), "another client");
        let second = (0..1000).filter(|n| rates.ask(client, 10, at(*n)).is_ok()).count();
        assert!((9..=10).contains(&second), "{second}");
    }

    #[test]
    fn any_number_of_strangers_fills_no_memory() {
        let (mut rates, now) = (Rates::default(), Instant::now());
        for n in 0..2 * MOST_FOLLOWED as u32 {
            assert!(rates.ask(IpAddr::from(n.to_be_bytes()), 10, now).is_ok());
        }
        assert_eq!(rates.until.len(), MOST_FOLLOWED);
        assert_eq!(rates.looked, Some(now));
        let soon = now + Duration::from_millis(99);
        assert!(rates.ask(IpAddr::from([254; 4]), 10, soon).is_ok());
        assert_eq!(rates.looked, Some(now), "all are looked through so often");
        let later = now + Duration::from_secs(10);
        assert!(rates.ask(IpAddr::from([255; 4]), 10, later).is_ok());
        assert_eq!(rates.until.len(), 1, "what was silent is forgotten");
    }
}
