//! What is configured of the DIMSE front end: `[dimse]` and `[ae.…]`.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use crate::dicom::{AeTitle, Uid};
use crate::net::Network;
use crate::net::tls::ClientConfig;

/// Associations of archives that bring objects, besides as many as we have to them.
pub const MORE_RETURNS: usize = 64;

/// The DIMSE front end's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Our AE title.
    pub ae_title: AeTitle,
    /// All titles by which we may be called: our own, those that archives move to, those of archives and routes.
    pub titles: BTreeSet<AeTitle>,
    /// Titles under which archives call: their own, those of their endpoints, and those from which they send; with where
    /// they may come from.
    pub archives: BTreeMap<AeTitle, Whence>,
    /// Most associations at once by which archives bring what we asked them to move: of all archives together, and some
    /// for those that open one for each object.
    pub max_returns: usize,
    /// Whether everybody may call who knows one of our titles; else those in `aes`, and archives.
    pub accept_any: bool,
    /// What who is not in `aes` may do, where `accept_any` lets them call at all; `None`: everything.
    pub allow_any: Option<BTreeSet<Operation>>,
    /// Most associations of clients at once.
    pub max_associations: usize,
    /// Most associations at once under one calling title.
    pub max_associations_per_ae: usize,
    /// Most associations at once from one address, or from one network of IPv6 that a site has whole.
    pub max_associations_per_address: usize,
    /// Time-outs.
    pub timeouts: Timeouts,
    /// Transfer syntaxes that are preferred where a client offers several in one context, best first.
    pub transfer_syntaxes: Vec<Uid>,
    /// Private SOP classes whose objects are stored and retrieved as any other.
    pub storage_classes: Vec<Uid>,
    /// The application entities that are known.
    pub aes: Vec<AeConfig>,
}

impl Config {
    /// With defaults, under this title.
    pub fn new(ae_title: AeTitle) -> Self {
        Self {
            titles: [ae_title.clone()].into(),
            ae_title,
            archives: BTreeMap::new(),
            max_returns: MORE_RETURNS,
            accept_any: false,
            allow_any: None,
            max_associations: 64,
            max_associations_per_ae: 3,
            max_associations_per_address: 32,
            timeouts: Timeouts::default(),
            transfer_syntaxes: Vec::new(),
            storage_classes: Vec::new(),
            aes: Vec::new(),
        }
    }

    /// What is known of an application entity.
    pub fn ae(&self, title: &AeTitle) -> Option<&AeConfig> {
        self.aes.iter().find(|ae| ae.title == *title)
    }

    /// Whether a client of this title may do all of this.
    pub fn allows(&self, title: &AeTitle, operations: &[Operation]) -> bool {
        let allowed = match self.ae(title) {
            Some(ae) => ae.allow.as_ref(),
            None => self.allow_any.as_ref(),
        };
        allowed.is_none_or(|allowed| operations.iter().all(|operation| allowed.contains(operation)))
    }

    /// The titles of those who may reach some archives only, with the archives' names.
    pub fn reach(&self) -> impl Iterator<Item = (&AeTitle, &[String])> {
        self.aes.iter().filter_map(|ae| Some((&ae.title, ae.archives.as_deref()?)))
    }
}

/// Where an archive calls from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whence {
    /// Hosts and ports at which it listens.
    pub addresses: BTreeSet<String>,
    /// Networks from which it sends besides.
    pub networks: Vec<Network>,
}

/// `[ae.TITLE]`: an application entity that calls us, or that objects are sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AeConfig {
    /// Its AE title.
    pub title: AeTitle,
    /// Host and port where it listens.
    pub address: Option<String>,
    /// Networks from which it may call; none: anywhere.
    pub allow_from: Vec<Network>,
    /// How objects are moved to it.
    pub moves: Moves,
    /// Most associations at once under its title; `None`: as for all.
    pub max_associations: Option<usize>,
    /// How we connect to it; `None`: without TLS.
    pub tls: Option<ClientConfig>,
    /// It comes only over TLS, with a certificate that answers to this name.
    pub certificate_subject: Option<String>,
    /// What it may do; `None`: everything.
    pub allow: Option<BTreeSet<Operation>>,
    /// The names of the archives that it may reach; `None`: all.
    pub archives: Option<Vec<String>>,
}

/// What a DIMSE client may be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// C-ECHO.
    Echo,
    /// C-FIND: searches and worklists.
    Find,
    /// C-GET.
    Get,
    /// C-MOVE.
    Move,
    /// C-STORE.
    Store,
    /// Normalized operations: procedure steps, storage commitment, print; and what the standard's other classes have.
    Normalized,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Echo, Self::Find, Self::Get, Self::Move, Self::Store, Self::Normalized];

    /// The word for it in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Find => "find",
            Self::Get => "get",
            Self::Move => "move",
            Self::Store => "store",
            Self::Normalized => "normalized",
        }
    }
}

/// There is no such operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchOperation;

impl FromStr for Operation {
    type Err = NoSuchOperation;

    fn from_str(text: &str) -> Result<Self, NoSuchOperation> {
        Self::ALL.into_iter().find(|operation| operation.word() == text).ok_or(NoSuchOperation)
    }
}

/// How a C-MOVE to a destination is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moves {
    /// Objects are retrieved here and sent from here.
    Relay,
    /// The archive sends to the destination itself, and must know it.
    Direct,
}

/// Time-outs towards clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the connection to the association request (ARTIM, PS3.8 9.1.5).
    pub artim: Duration,
    /// Asking archives what they take, meanwhile. DCMTK's clients wait 30 s for an answer.
    pub negotiation: Duration,
    /// Between two requests.
    pub idle: Duration,
    /// Within a message.
    pub read: Duration,
    /// No byte of what we send is taken.
    pub write: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            artim: Duration::from_secs(10),
            negotiation: Duration::from_secs(15),
            idle: Duration::from_secs(5 * 60),
            read: Duration::from_secs(30),
            write: Duration::from_secs(30),
        }
    }
}
