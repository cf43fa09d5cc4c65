//! The way to an archive, one step at a time: its name, a connection, TLS, an association.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{Instant, timeout};

use super::Examination;
use super::advice::CA;
use super::finding::{Code, Finding};
use super::talk::Talk;
use crate::archive::dimse::config::Config;
use crate::dimse::association::{Association, AssociationError, EstablishError, Io, Request};
use crate::dimse::negotiation::Proposal;
use crate::dimse::wire::SPEAKS_TLS;
use crate::net::{DimseSocket, tls};

/// How long it may take to see whether the other end speaks TLS, or does not, after it has turned out not to do what is
/// configured.
const PROBE: Duration = Duration::from_secs(3);

/// What was learnt on the way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// Our own address, as the archive sees it unless something between changes it.
    pub(super) local: Option<SocketAddr>,
    pub(super) peer: SocketAddr,
    /// How long the TCP connection took: about one round trip.
    pub(super) round_trip: Duration,
}

impl Examination {
    /// Goes the whole way with these contexts, and says what each step found. `None`: there is no association.
    pub(super) async fn reach(&mut self, proposals: Vec<Proposal>) -> Option<Talk> {
        let config = self.config.clone();
        self.resolve(&config).await?;
        let socket = self.connect(&config).await?;
        let io = self.secure(&config, socket).await?;
        let begin = Instant::now();
        match associate(&config, io, proposals).await {
            Ok(association) => {
                let agreement = association.agreement();
                let (version, pdu) = (shown(&agreement.peer_version), agreement.peer_max_pdu);
                let what = format!(
                    "{} took us as {}: {version}, largest PDU {pdu}",
                    config.ae_title, config.calling
                );
                self.found(Finding::new(Code::Associated, what).took(begin.elapsed()));
                Some(Talk::new(association, &config.timeouts))
            }
            Err(error) => {
                let speaks_tls = config.tls.is_none() && may_be_tls(&error) && self.speaks_tls(&config).await;
                let finding =
                    if speaks_tls { tls_required(&config) } else { not_associated(&config, &error) };
                self.found(finding.took(begin.elapsed()));
                None
            }
        }
    }

    /// Goes the way again, which was open before.
    pub(super) async fn reach_again(&mut self, proposals: Vec<Proposal>) -> Result<Talk, EstablishError> {
        let config = &self.config;
        let deadline = Instant::now() + config.timeouts.connect;
        let lost = |error: io::Error| EstablishError::Association(AssociationError::Lost(error.to_string()));
        let socket = DimseSocket::connect(&config.address, deadline).await.map_err(lost)?;
        let io: Box<dyn Io> = match &self.tls {
            None => Box::new(socket),
            Some(tls) => {
                Box::new(tls.connect(socket, tls::host_of(&config.address), deadline).await.map_err(lost)?)
            }
        };
        Ok(Talk::new(associate(config, io, proposals).await?, &config.timeouts))
    }

    async fn resolve(&mut self, config: &Config) -> Option<()> {
        let begin = Instant::now();
        let found = timeout(config.timeouts.connect, lookup_host(&config.address)).await;
        let addresses: Vec<String> = match found {
            Ok(Ok(found)) => found.map(|address| address.ip().to_string()).collect(),
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        let host = tls::host_of(&config.address);
        if addresses.is_empty() {
            let finding = Finding::new(Code::NameUnknown, format!("{host} has no address"))
                .means("this machine cannot turn the archive's name into an address")
                .remedy(format!(
                    "check the spelling of archive.{}.address, and this machine's DNS (getent hosts {host}); or write the address itself",
                    config.name
                ));
            self.found(finding.took(begin.elapsed()));
            return None;
        }
        let is_address = host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        let what = match is_address {
            true => format!("{host} is an address and no name"),
            false => format!("{host} is {}", addresses.join(", ")),
        };
        self.found(Finding::new(Code::Resolved, what).took(begin.elapsed()));
        Some(())
    }

    async fn connect(&mut self, config: &Config) -> Option<DimseSocket> {
        let begin = Instant::now();
        let socket = DimseSocket::connect(&config.address, begin + config.timeouts.connect).await;
        let took = begin.elapsed();
        let error = match socket {
            Ok(socket) => {
                let local = socket.local_addr().ok();
                self.way = Some(Way { local, peer: socket.peer_addr(), round_trip: took });
                let from = local.map_or(String::new(), |local| format!(" from {}", local.ip()));
                let what = format!("a connection to {}{from}", socket.peer_addr());
                self.found(Finding::new(Code::Connected, what).took(took));
                return Some(socket);
            }
            Err(error) => error,
        };
        let (at, name) = (&config.address, &config.name);
        let finding = match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                Finding::new(Code::ConnectRefused, format!("nobody listens at {at}"))
                    .means("the machine is there, and refuses connections to this port: the archive does not run, or listens at another one")
                    .remedy(format!("ask the PACS administrator for the DICOM port, and put it into archive.{name}.address; DICOM's own are 104 and 11112"))
            }
            io::ErrorKind::TimedOut => {
                let seconds = config.timeouts.connect.as_secs_f64();
                Finding::new(Code::ConnectTimeout, format!("no answer from {at} within {seconds} s"))
                    .means("the machine is off, or a firewall drops what we send")
                    .remedy(format!("have the firewalls between opened for TCP from this machine to {at}"))
            }
            _ => Finding::new(Code::ConnectFailed, format!("no connection to {at}: {error}"))
                .means("the network has no way there")
                .remedy("check the address, this machine's routes, and its VPN if there is one"),
        };
        self.found(finding.took(took));
        None
    }

    async fn secure(&mut self, config: &Config, socket: DimseSocket) -> Option<Box<dyn Io>> {
        let Some(tls) = self.tls.clone() else { return Some(Box::new(socket)) };
        let begin = Instant::now();
        let deadline = begin + config.timeouts.connect;
        let error = match tls.connect(socket, tls::host_of(&config.address), deadline).await {
            Ok(stream) => {
                let what = "TLS, with a certificate that we trust";
                self.found(Finding::new(Code::TlsAgreed, what).took(begin.elapsed()));
                return Some(Box::new(stream));
            }
            Err(error) => error,
        };
        let took = begin.elapsed();
        let finding = if self.speaks_plainly(config).await {
            Finding::new(Code::TlsNotSpoken, format!("{} speaks DICOM without TLS", config.address))
                .means(format!("TLS is configured towards {}, and the archive has none at this port", config.name))
                .remedy(format!(
                    "have TLS turned on at the archive, or give its TLS port in archive.{0}.address (2762 is usual), or take [archive.{0}.tls] out if the network is to be trusted",
                    config.name
                ))
        } else {
            not_secured(config, &error)
        };
        self.found(finding.took(took));
        None
    }

    /// Whether an association without TLS is answered there, in whatever way.
    async fn speaks_plainly(&self, config: &Config) -> bool {
        let deadline = Instant::now() + PROBE;
        let Ok(socket) = DimseSocket::connect(&config.address, deadline).await else { return false };
        let asked = Association::request(socket, &request(config, super::contexts::few()), deadline).await;
        match asked {
            Ok(association) => {
                association.release(deadline).await;
                true
            }
            Err(EstablishError::Rejected(_)) => true,
            Err(EstablishError::Association(AssociationError::Aborted { .. })) => true,
            Err(_) => false,
        }
    }

    /// Whether the archive answers a TLS handshake.
    async fn speaks_tls(&self, config: &Config) -> bool {
        let deadline = Instant::now() + PROBE;
        let Ok(socket) = DimseSocket::connect(&config.address, deadline).await else { return false };
        tls::is_spoken(socket, tls::host_of(&config.address), deadline).await
    }
}

fn request(config: &Config, proposals: Vec<Proposal>) -> Request {
    Request {
        called: config.ae_title.clone(),
        calling: config.calling.clone(),
        proposals,
        extended: Vec::new(),
        roles: Vec::new(),
    }
}

async fn associate(
    config: &Config,
    io: Box<dyn Io>,
    proposals: Vec<Proposal>,
) -> Result<Association, EstablishError> {
    Association::request(io, &request(config, proposals), Instant::now() + config.timeouts.association).await
}

/// Text that the archive has chosen.
fn shown(version: &str) -> String {
    let text: String = version.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
    if text.trim().is_empty() { "it does not say what it is".to_owned() } else { text.trim().to_owned() }
}

fn may_be_tls(error: &EstablishError) -> bool {
    match error {
        EstablishError::Timeout => true,
        EstablishError::Association(AssociationError::Protocol(what)) => what == SPEAKS_TLS,
        EstablishError::Association(AssociationError::Lost(_)) => true,
        _ => false,
    }
}

fn tls_required(config: &Config) -> Finding {
    Finding::new(Code::TlsRequired, format!("{} speaks TLS, and we do not", config.address))
        .means("the archive takes connections over TLS only at this port")
        .remedy(format!(
            "add [archive.{}.tls], with `ca` naming the certificate of who signed the archive's; or give the port where it speaks without TLS",
            config.name
        ))
}

fn not_secured(config: &Config, error: &io::Error) -> Finding {
    let Some(failure) = tls::Failure::of(error) else {
        return Finding::new(Code::TlsFailed, error.to_string())
            .means("the connection broke in the TLS handshake")
            .remedy("see the archive's log for why it closed the connection");
    };
    let mut advice = failure.advice.clone().unwrap_or_else(|| "see the archive's log".to_owned());
    for key in ["ca", "revoked", "certificate", "key", "server_name"] {
        advice = advice.replace(&format!("`{key}`"), &format!("archive.{}.tls.{key}", config.name));
    }
    let code = if failure.is_untrusted { Code::TlsUntrusted } else { Code::TlsFailed };
    let listed = config.tls.as_ref().and_then(|tls| tls.ca.as_ref());
    let advice = match (failure.is_untrusted, listed) {
        (false, _) => advice,
        (true, Some(file)) => format!("{advice}, {}", file.display()),
        (true, None) => format!(
            "{advice}: write ca = \"{CA}\" below [archive.{}.tls], and that certificate into the file; the PACS administrator has it, and openssl s_client -showcerts -connect {} shows it: compare fingerprints before you trust it",
            config.name, config.address
        ),
    };
    Finding::new(code, failure.what.clone())
        .means("nobody can be sure who stands at the other end, so that nothing is sent")
        .remedy(advice)
}

fn not_associated(config: &Config, error: &EstablishError) -> Finding {
    let (title, calling, at, name) = (&config.ae_title, &config.calling, &config.address, &config.name);
    match error {
        EstablishError::Rejected(rj) => match (rj.source, rj.reason) {
            (1, 7) => Finding::new(Code::CalledTitleRefused, format!("there is no {title} at {at}: it knows no such called AE title"))
                .means("the archive has another AE title than we call it by; upper and lower case count")
                .remedy(format!("ask the PACS administrator for the archive's own AE title, and put it into archive.{name}.ae_title")),
            (1, 3) => Finding::new(Code::CallingTitleRefused, format!("{title} does not know {calling}: it rejects the calling AE title"))
                .means("the archive takes associations from AE titles only that are entered there")
                .remedy("have the entry below added at the archive: title, host and port"),
            (3, _) => Finding::new(Code::AssociationLimit, format!("{title} is full for now: {}", rj.reason_text()))
                .means("the archive has as many associations as it takes, from us or from others")
                .remedy(format!("try again; where it goes on, lower archive.{name}.max_associations, or have the archive's own limit raised")),
            _ => Finding::new(Code::AssociationRejected, format!("{title} rejects the association: {}", rj.reason_text()))
                .means("it does not say whether it is for one of the titles or for where we come from: archives check both")
                .remedy(format!("check that {title} is its own AE title, and have the entry below added there; its log says which")),
        },
        EstablishError::Timeout => Finding::new(Code::AssociationTimeout, format!("{at} takes the connection, and does not answer the association request"))
            .means("what listens there is no DICOM archive, or one that hangs")
            .remedy(format!("check port and address with the PACS administrator; a slow archive may need a longer archive.{name}.timeouts.association")),
        EstablishError::Association(AssociationError::Aborted { .. } | AssociationError::Lost(_)) => {
            Finding::new(Code::AssociationAborted, format!("{at} breaks the connection off in place of an answer ({error})"))
                .means("some archives do so where an AE title, or the address that we come from, is not entered there")
                .remedy(format!("check that {title} is its own AE title, and have the entry below added there; its log says why it hung up"))
        }
        EstablishError::Association(AssociationError::Protocol(what)) => {
            Finding::new(Code::NotDicom, format!("what answers at {at} is no DICOM archive: {what}"))
                .means("another kind of server listens there, such as a web server")
                .remedy("ask the PACS administrator for the DICOM port: it is not that of the web interface")
        }
    }
}
