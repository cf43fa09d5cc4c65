//! What is configured of an archive that speaks DIMSE.

use std::time::Duration;

use crate::archive::relay::Service;
use crate::dicom::AeTitle;
use crate::dicom::charset::{Charset, QueryCharset};
use crate::net::Network;
use crate::net::tls::ClientConfig;

/// One archive's configuration: `[archive.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The name in the configuration and in URLs.
    pub name: String,
    /// The archive's AE title.
    pub ae_title: AeTitle,
    /// Host and port.
    pub address: String,
    /// The title under which we call.
    pub calling: AeTitle,
    /// Another title and address for queries.
    pub query: Option<Endpoint>,
    /// Another title and address for retrievals.
    pub retrieve_from: Option<Endpoint>,
    /// Another title and address to store at.
    pub store_at: Option<Endpoint>,
    /// Another title and address for the modality worklist.
    pub worklist: Option<Endpoint>,
    /// Another title and address for modality performed procedure steps.
    pub mpps: Option<Endpoint>,
    /// Another title and address for storage commitment.
    pub commit: Option<Endpoint>,
    /// DIMSE clients are seen by the archive under their own titles.
    pub calling_client: bool,
    /// Further titles by which DIMSE clients call this archive.
    pub called_as: Vec<AeTitle>,
    /// The information model.
    pub model: Model,
    /// How objects are retrieved.
    pub retrieve: Method,
    /// Most associations open at once, those that the archive opens back to us included.
    pub max_associations: usize,
    /// Further titles and networks from which this archive sends objects of a C-MOVE; its own address always
    /// may.
    pub store_from: Vec<StoreFrom>,
    /// Whether objects may carry other UIDs than were asked for.
    pub foreign_uids: ForeignUids,
    /// The character set of queries.
    pub query_charset: QueryCharset,
    /// What answers without Specific Character Set are encoded in.
    pub assume_charset: Option<Charset>,
    /// How we connect to it, at each of its endpoints; `None`: without TLS.
    pub tls: Option<ClientConfig>,
    /// Time-outs.
    pub timeouts: Timeouts,
}

impl Config {
    /// Where a service is: at its own title and address, or at the archive's.
    pub fn endpoint(&self, service: Service) -> Endpoint {
        let own = match service {
            Service::Query => &self.query,
            Service::Retrieve => &self.retrieve_from,
            Service::Store => &self.store_at,
            Service::Worklist => &self.worklist,
            Service::Mpps => &self.mpps,
            Service::Commit => &self.commit,
        };
        let main = || Endpoint { ae_title: self.ae_title.clone(), address: self.address.clone() };
        own.clone().unwrap_or_else(main)
    }
}

impl Config {
    /// What a configuration has that says no more than where the archive is, and under which title we call it.
    pub fn new(name: String, ae_title: AeTitle, address: String, calling: AeTitle) -> Self {
        Self {
            name,
            ae_title,
            address,
            calling,
            query: None,
            retrieve_from: None,
            store_at: None,
            worklist: None,
            mpps: None,
            commit: None,
            calling_client: false,
            called_as: Vec::new(),
            model: Model::Auto,
            retrieve: Method::Auto,
            max_associations: 4,
            store_from: Vec::new(),
            foreign_uids: ForeignUids::Refuse,
            query_charset: QueryCharset::Auto,
            assume_charset: None,
            tls: None,
            timeouts: Timeouts::default(),
        }
    }
}

/// A title and an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// AE title.
    pub ae_title: AeTitle,
    /// Host and port.
    pub address: String,
}

/// The query/retrieve information model (PS3.4 C.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Model {
    /// Study Root where the archive takes it, else Patient Root.
    Auto,
    /// Study Root.
    Study,
    /// Patient Root.
    Patient,
}

/// How objects are retrieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// C-GET where the archive takes it, else C-MOVE; what was learnt is remembered.
    Auto,
    /// C-GET.
    Get,
    /// C-MOVE to our own Storage SCP.
    Move,
}

/// Who else sends objects for an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreFrom {
    /// Its calling AE title; `None`: any.
    pub ae_title: Option<AeTitle>,
    /// Its network; `None`: the archive's own address.
    pub network: Option<Network>,
}

/// Whether objects may carry other UIDs than were asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForeignUids {
    /// They are refused.
    Refuse,
    /// They are taken where the association, or the Move Originator, says that they belong to the retrieval:
    /// for archives that coerce UIDs on the way.
    IfCorrelated,
}

/// Time-outs of one archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// A TCP connection.
    pub connect: Duration,
    /// An association, after the connection.
    pub association: Duration,
    /// The archive says nothing in the middle of an operation.
    pub silence: Duration,
    /// A whole operation.
    pub operation: Duration,
    /// An idle association is released.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            association: Duration::from_secs(10),
            silence: Duration::from_secs(60),
            operation: Duration::from_secs(30 * 60),
            idle: Duration::from_secs(15),
        }
    }
}
