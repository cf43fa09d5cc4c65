//! Who may come, and how many at a time.
//!
//! Archives that bring what we asked them to move have places of their own, so that clients never keep out what a
//! retrieval waits for.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::lookup_host;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use super::config::Config;
use crate::dicom::AeTitle;
use crate::dimse::pdu::AssociateRj;
use crate::dimse::scp::Peer;
use crate::net::{Place, Places, counted_as};

/// What somebody comes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A client.
    Client,
    /// An archive, with what we asked it to move.
    Return,
    /// An archive, with a report of storage commitment or to see whether we are there.
    Archive,
}

/// A place, held until the connection is closed.
#[derive(Debug)]
pub struct Seat {
    pub(super) kind: Kind,
    _place: OwnedSemaphorePermit,
    _counted: Option<(Place<AeTitle>, Place<IpAddr>)>,
}

/// Why somebody is not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What the peer is told.
    pub(super) rj: AssociateRj,
    /// What the log says: more than PS3.8 has numbers for.
    pub(super) why: &'static str,
}

/// The places there are.
#[derive(Debug)]
pub(super) struct Admission {
    clients: Arc<Semaphore>,
    most_clients: usize,
    returns: Arc<Semaphore>,
    most_returns: AtomicUsize,
    /// Associations under each title; none that has none.
    titles: Places<AeTitle>,
    /// Associations from each address.
    addresses: Places<IpAddr>,
}

impl Admission {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            clients: Arc::new(Semaphore::new(config.max_associations)),
            most_clients: config.max_associations,
            returns: Arc::new(Semaphore::new(config.max_returns)),
            most_returns: AtomicUsize::new(config.max_returns),
            titles: Places::default(),
            addresses: Places::default(),
        }
    }

    /// Places that are taken by clients.
    pub(super) fn taken(&self) -> usize {
        self.most_clients - self.clients.available_permits()
    }

    /// Archives may bring objects over so many associations from now on, where it is more than before.
    pub(super) fn make_room_for_returns(&self, most: usize) {
        let before = self.most_returns.fetch_max(most, Ordering::AcqRel);
        self.returns.add_permits(most.saturating_sub(before));
    }

    /// Gives a place. `brings`: somebody from there is to bring us objects, and that is what this one proposes;
    /// `closing`: no client is taken any more.
    ///
    /// # Errors
    /// What the peer is told, and the reason in words.
    pub(super) fn admit(
        &self,
        config: &Config,
        peer: &Peer,
        brings: bool,
        closing: bool,
    ) -> Result<Seat, Refusal> {
        let refuse = |rj, why| Err(Refusal { rj, why });
        if !config.titles.contains(&peer.called) {
            return refuse(AssociateRj::CALLED_TITLE, "the called AE title is none of ours");
        }
        // Who is listed keeps to what the list says, whatever it brings.
        let kind = match config.ae(&peer.calling) {
            None if brings => Ok(Kind::Return),
            _ => kind(config, peer).map(|kind| if brings { Kind::Return } else { kind }),
        };
        let kind = kind.map_err(|why| Refusal { rj: AssociateRj::CALLING_TITLE, why })?;
        if kind == Kind::Return {
            return match Arc::clone(&self.returns).try_acquire_owned() {
                Ok(place) => Ok(Seat { kind, _place: place, _counted: None }),
                Err(_) => refuse(AssociateRj::LOCAL_LIMIT, "too many archives bring objects at once"),
            };
        }
        if closing {
            return refuse(AssociateRj::CONGESTION, "shutting down");
        }
        let Ok(place) = Arc::clone(&self.clients).try_acquire_owned() else {
            return refuse(AssociateRj::LOCAL_LIMIT, "dimse.max_associations are open");
        };
        let listed = config.ae(&peer.calling).and_then(|ae| ae.max_associations);
        let most = listed.unwrap_or(config.max_associations_per_ae);
        let Some(title) = self.titles.take(&peer.calling, most) else {
            return refuse(
                AssociateRj::LOCAL_LIMIT,
                "as many as one calling AE title may have are open under it",
            );
        };
        match self.addresses.take(&counted_as(peer.address), config.max_associations_per_address) {
            Some(address) => Ok(Seat { kind, _place: place, _counted: Some((title, address)) }),
            None => refuse(
                AssociateRj::LOCAL_LIMIT,
                "dimse.max_associations_per_address are open from this address",
            ),
        }
    }
}

/// What who calls by this title from this address may come for.
pub(super) fn kind(config: &Config, peer: &Peer) -> Result<Kind, &'static str> {
    let listed = config.ae(&peer.calling);
    let is_from_there = listed.is_some_and(|ae| {
        ae.allow_from.is_empty() || ae.allow_from.iter().any(|network| network.contains(peer.address))
    });
    let named = listed.and_then(|ae| ae.certificate_subject.as_deref());
    let shows_it = |name: &str| peer.certificate.as_ref().is_some_and(|shown| shown.is_named(name));
    match listed {
        Some(_) if is_from_there && !named.is_none_or(shows_it) => Err(match peer.certificate {
            Some(_) => "the calling AE title comes with another certificate than its certificate_subject",
            None => "the calling AE title comes without the certificate that its certificate_subject names",
        }),
        Some(_) if is_from_there => Ok(Kind::Client),
        // One that is listed with its networks comes from nowhere else, whoever else may come.
        Some(_) => Err("the calling AE title does not come from this network"),
        None if config.accept_any => Ok(Kind::Client),
        None if config.archives.contains_key(&peer.calling) => Ok(Kind::Archive),
        None => Err("the calling AE title is not known"),
    }
}

/// Whether who calls by an archive's title is that archive: it comes from one of its addresses, as `store_from` says, or
/// as its entry among the application entities has it show. Names are resolved until `deadline`.
pub(super) async fn is_archive(config: &Config, peer: &Peer, deadline: Instant) -> bool {
    let Some(whence) = config.archives.get(&peer.calling) else { return false };
    // Admitted, it has kept to its entry.
    let listed = config.ae(&peer.calling);
    if listed.is_some_and(|ae| !ae.allow_from.is_empty() || ae.certificate_subject.is_some())
        || whence.networks.iter().any(|network| network.contains(peer.address))
    {
        return true;
    }
    let from = peer.address.to_canonical();
    for address in &whence.addresses {
        match timeout_at(deadline, lookup_host(address)).await {
            Ok(Ok(mut found)) => {
                if found.any(|one| one.ip().to_canonical() == from) {
                    return true;
                }
            }
            Ok(Err(error)) => tracing::warn!(%address, %error, "an archive's name is not resolved"),
            Err(_) => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::super::config::{AeConfig, Moves, Whence};
    use super::*;

    fn ae(title: &str, allow_from: &[&str], max_associations: Option<usize>) -> AeConfig {
        AeConfig {
            title: title.parse().unwrap(),
            address: None,
            allow_from: allow_from.iter().map(|network| network.parse().unwrap()).collect(),
            moves: Moves::Relay,
            max_associations,
            allow: None,
            archives: None,
            tls: None,
            certificate_subject: None,
        }
    }

    fn config() -> Config {
        Config {
            accept_any: false,
            max_associations: 5,
            max_associations_per_ae: 3,
            max_returns: 2,
            aes: vec![ae("CT1", &[], None), ae("WS1", &["10.1.0.0/16"], Some(1))],
            archives: [("PACS".parse().unwrap(), Whence::default())].into(),
            ..Config::new("GANTRY".parse().unwrap())
        }
    }

    fn peer(calling: &str, called: &str, address: &str) -> Peer {
        let title = |text: &str| text.parse().unwrap();
        let (calling, called) = (title(calling), title(called));
        Peer { address: address.parse().unwrap(), calling, called, certificate: None }
    }

    #[test]
    fn reject_reasons_are_those_of_ps3_8() {
        let known = config();
        let any = Config { accept_any: true, ..config() };
        let numbers = |rj: AssociateRj| (rj.result, rj.source, rj.reason);
        for (config, calling, called, address, closing, expected) in [
            (&known, "CT1", "GANTRY", "10.9.9.9", false, Ok(Kind::Client)),
            (&known, "CT1", "OTHER", "10.9.9.9", false, Err((1, 1, 7))),
            (&known, "STRANGER", "GANTRY", "10.9.9.9", false, Err((1, 1, 3))),
            (&any, "STRANGER", "GANTRY", "10.9.9.9", false, Ok(Kind::Client)),
            (&any, "STRANGER", "OTHER", "10.9.9.9", false, Err((1, 1, 7))),
            (&known, "WS1", "GANTRY", "10.1.2.3", false, Ok(Kind::Client)),
            (&known, "WS1", "GANTRY", "10.2.2.3", false, Err((1, 1, 3))),
            (&any, "WS1", "GANTRY", "10.2.2.3", false, Err((1, 1, 3))),
            (&known, "PACS", "GANTRY", "10.9.9.9", false, Ok(Kind::Archive)),
            (&any, "PACS", "GANTRY", "10.9.9.9", false, Ok(Kind::Client)),
            (&known, "CT1", "GANTRY", "10.9.9.9", true, Err((2, 3, 1))),
        ] {
            let admission = Admission::new(config);
            let admitted = admission.admit(config, &peer(calling, called, address), false, closing);
            let admitted = admitted.map(|seat| seat.kind).map_err(|refusal| numbers(refusal.rj));
            assert_eq!(admitted, expected, "{calling} {called} {address}");
        }
    }

    #[test]
    fn who_is_listed_keeps_to_the_list_whatever_it_brings() {
        let listed = AeConfig { certificate_subject: Some("pacs".to_owned()), ..ae("CT1", &[], None) };
        let config = Config { aes: vec![listed, ae("WS1", &["10.1.0.0/16"], None)], ..config() };
        let admission = Admission::new(&config);
        let come = |calling, address| {
            let admitted = admission.admit(&config, &peer(calling, "GANTRY", address), true, false);
            admitted.map(|seat| seat.kind).map_err(|refusal| refusal.rj)
        };
        assert_eq!(come("WS1", "10.2.2.3"), Err(AssociateRj::CALLING_TITLE));
        assert_eq!(come("CT1", "10.1.2.3"), Err(AssociateRj::CALLING_TITLE), "without its certificate");
        assert_eq!(come("WS1", "10.1.2.3"), Ok(Kind::Return));
        assert_eq!(come("MOVER", "10.2.2.3"), Ok(Kind::Return), "one that nobody lists");
    }

    #[test]
    fn the_log_tells_whether_the_title_or_the_network_is_wrong() {
        let admission = Admission::new(&config());
        let why = |calling, address| {
            admission.admit(&config(), &peer(calling, "GANTRY", address), false, false).unwrap_err().why
        };
        assert!(why("STRANGER", "10.1.2.3").contains("not known"));
        assert!(why("WS1", "10.2.2.3").contains("network"));
    }

    #[test]
    fn hazard_places_come_back_and_titles_that_nobody_uses_are_forgotten() {
        let config = Config { accept_any: true, ..config() };
        let admission = Admission::new(&config);
        let come = |calling: &str| {
            let seat = admission.admit(&config, &peer(calling, "GANTRY", "10.1.2.3"), false, false);
            seat.map_err(|refusal| refusal.rj)
        };
        for round in 0..3 {
            let ct: Vec<_> = (0..3).map(|_| come("CT1").unwrap()).collect();
            assert_eq!(come("CT1").unwrap_err(), AssociateRj::LOCAL_LIMIT, "three under one title");
            let workstation = come("WS1").unwrap();
            assert_eq!(come("WS1").unwrap_err(), AssociateRj::LOCAL_LIMIT, "its own limit");
            let stranger = come(&format!("STRANGER{round}")).unwrap();
            assert_eq!(come("ANOTHER").unwrap_err(), AssociateRj::LOCAL_LIMIT, "five in all");
            assert_eq!(admission.taken(), 5);
            drop((ct, workstation, stranger));
            assert_eq!((admission.taken(), admission.titles.keys()), (0, 0));
        }
    }

    #[test]
    fn one_address_has_so_many_associations_under_whatever_titles() {
        let config = Config { accept_any: true, max_associations_per_address: 2, ..config() };
        let admission = Admission::new(&config);
        let come = |calling: &str, from: &str| {
            admission
                .admit(&config, &peer(calling, "GANTRY", from), false, false)
                .map_err(|refusal| refusal.rj)
        };
        let here: Vec<_> = (0..2).map(|n| come(&format!("C{n}"), "10.9.0.1").unwrap()).collect();
        assert_eq!(come("C2", "10.9.0.1").unwrap_err(), AssociateRj::LOCAL_LIMIT);
        let _there = come("C2", "10.9.0.2").unwrap();
        drop(here);
        let _again = come("C2", "10.9.0.1").unwrap();
    }

    #[test]
    fn clients_that_fill_every_place_do_not_keep_out_what_a_move_brings() {
        let config = Config { accept_any: true, ..config() };
        let admission = Admission::new(&config);
        let come = |calling: &str, brings, closing| {
            admission.admit(&config, &peer(calling, "GANTRY", "10.1.2.3"), brings, closing)
        };
        let clients: Vec<_> = (0..5).map(|n| come(&format!("C{n}"), false, false).unwrap()).collect();
        assert!(come("C9", false, false).is_err());
        let returns: Vec<_> = (0..2).map(|_| come("PACS", true, true).unwrap()).collect();
        assert!(returns.iter().all(|seat| seat.kind == Kind::Return), "also at the end");
        assert_eq!(come("PACS", true, false).unwrap_err().rj, AssociateRj::LOCAL_LIMIT);
        drop((clients, returns));
        assert_eq!(admission.taken(), 0);
    }
}
