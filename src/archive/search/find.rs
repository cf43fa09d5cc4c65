//! One C-FIND after the other (PS3.4 C.4.1, PS3.7 9.1.2): the identifier goes out, matches come in, and the
//! association goes back only when it is clean.

use std::sync::Arc;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::request::Root;
use crate::archive::remote::Inner;
use crate::archive::{Error, Kind};
use crate::caller::Caller;
use crate::dicom::charset::{Charset, QueryCharset};
use crate::dicom::dataset::DataSet;
use crate::dicom::transfer_syntax::{Layout, layout};
use crate::dimse::command::{Command, field};
use crate::dimse::pool::Lease;
use crate::dimse::scu::{Limits, Operation, Reply};
use crate::dimse::status::{self, Class};

/// Longest match, in bytes. Real ones have some hundred, with many sequences some thousand.
pub(in crate::archive) const MAX_MATCH_LENGTH: usize = 256 << 10;

/// Why a search ends early.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody waits for it any more.
    Cancelled,
    /// It failed.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The C-FINDs of one search.
pub(super) struct Client {
    pub(super) inner: Arc<Inner>,
    caller: Caller,
    cancelled: CancellationToken,
    limits: Limits,
    charset: QueryCharset,
    assumed: Option<Charset>,
    /// The association whose contexts decided on the model; the first C-FIND takes it.
    spare: Option<Lease>,
    root: Root,
    /// Some response said that optional keys were not matched on (FF01).
    pub(super) optional_keys_ignored: bool,
}

/// A C-FIND under way.
pub(super) struct Find {
    operation: Option<Operation>,
    identifier: DataSet,
    client_keys: bool,
    layout: Layout,
    /// It was requested once more, on another association.
    retried: bool,
    /// Length of the last match as encoded, in bytes.
    pub(super) last_length: usize,
}

impl Client {
    /// Leases the first association, whose contexts tell which model the archive has.
    pub(super) async fn open(
        inner: Arc<Inner>,
        caller: Caller,
        cancelled: CancellationToken,
    ) -> Result<Self, Stop> {
        use crate::archive::dimse::config::Model;
        let limits = inner.limits();
        let config = &inner.config;
        let (charset, assumed) = (config.query_charset.clone(), inner.assumed_charset());
        let contexts = inner.query_contexts();
        let mut lease = tokio::select! {
            biased;
            () = cancelled.cancelled() => return Err(Stop::Cancelled),
            lease = inner.lease(&inner.query, &caller, &contexts, 1, limits.deadline) => lease?,
        };
        let takes = |lease: &mut Lease, root: Root| {
            lease.association().agreement().for_class(root.sop_class()).is_some()
        };
        let root = match config.model {
            Model::Study => Root::Study,
            Model::Patient => Root::Patient,
            Model::Auto if takes(&mut lease, Root::Study) => Root::Study,
            Model::Auto if takes(&mut lease, Root::Patient) => Root::Patient,
            Model::Auto => Root::Study,
        };
        Ok(Self {
            inner,
            caller,
            cancelled,
            limits,
            charset,
            assumed,
            spare: Some(lease),
            root,
            optional_keys_ignored: false,
        })
    }

    /// The information model in use.
    pub(super) fn root(&self) -> Root {
        self.root
    }

    /// Requests a C-FIND. `client_keys`: some keys are the client's own.
    pub(super) async fn find(&mut self, identifier: DataSet, client_keys: bool) -> Result<Find, Stop> {
        let mut find = Find {
            operation: None,
            identifier,
            client_keys,
            layout: Layout::ImplicitLe,
            retried: false,
            last_length: 0,
        };
        self.start(&mut find).await?;
        Ok(find)
    }

    /// The next match; `None` at the clean end, after which the association is back in its pool.
    pub(super) async fn next(&mut self, find: &mut Find) -> Result<Option<DataSet>, Stop> {
        loop {
            let Some(operation) = &mut find.operation else { return Ok(None) };
            let reply = tokio::select! {
                biased;
                () = self.cancelled.cancelled() => {
                    find.cancel().await;
                    return Err(Stop::Cancelled);
                }
                reply = operation.next() => reply,
            };
            match reply {
                Ok(Reply::Pending(response, Some(bytes))) => {
                    self.optional_keys_ignored |= response.status == Some(status::PENDING_OPTIONAL_KEYS);
                    return match self.parse(find, &bytes) {
                        Ok(data_set) => {
                            find.last_length = bytes.len();
                            Ok(Some(data_set))
                        }
                        Err(kind) => {
                            find.abort().await;
                            Err(self.inner.error(kind).into())
                        }
                    };
                }
                Ok(Reply::Final(response, _)) => {
                    if let Some(operation) = find.operation.take() {
                        operation.finish();
                    }
                    return self.conclude(find, &response).map(|()| None);
                }
                Ok(_) => {
                    find.abort().await;
                    return Err(self.inner.error(Kind::Protocol("a match without a data set".into())).into());
                }
                Err(error) => {
                    let again = operation.may_retry(&error) && !find.retried;
                    find.abort().await;
                    if !again {
                        return Err(self.inner.operation_error(error).into());
                    }
                    // It may have died while it was idle.
                    find.retried = true;
                    self.start(find).await?;
                }
            }
        }
    }

    /// All matches of a C-FIND, at most `limit`: the rest is cancelled.
    pub(super) async fn all(
        &mut self,
        identifier: DataSet,
        client_keys: bool,
        limit: usize,
    ) -> Result<Vec<DataSet>, Stop> {
        let mut find = self.find(identifier, client_keys).await?;
        let mut matches = Vec::new();
        while let Some(data_set) = self.next(&mut find).await? {
            // Not at the last one that is wanted: its search has most likely ended by itself.
            if matches.len() == limit {
                find.cancel().await;
                break;
            }
            matches.push(data_set);
        }
        Ok(matches)
    }

    async fn start(&mut self, find: &mut Find) -> Result<(), Stop> {
        let inner = &self.inner;
        let contexts = inner.query_contexts();
        let lease = match self.spare.take() {
            Some(lease) => lease,
            None => tokio::select! {
                biased;
                () = self.cancelled.cancelled() => return Err(Stop::Cancelled),
                lease = inner.lease(&inner.query, &self.caller, &contexts, 1, self.limits.deadline) => lease?,
            },
        };
        let request =
            Command { priority: Some(0), ..Command::request(field::C_FIND_RQ, self.root.sop_class(), 0) };
        let mut agreed = Layout::ImplicitLe;
        let identifier = &find.identifier;
        let operation = inner.start(
            lease,
            request,
            |context| {
                agreed = layout(&context.transfer_syntax);
                Some(Bytes::from(identifier.encode(agreed, self.charset.clone())))
            },
            self.limits,
        )?;
        find.layout = agreed;
        find.operation = Some(operation);
        Ok(())
    }

    fn parse(&self, find: &Find, bytes: &[u8]) -> Result<DataSet, Kind> {
        if bytes.len() > MAX_MATCH_LENGTH {
            return Err(Kind::Protocol("a match of impossible length".to_owned()));
        }
        let parsed = DataSet::parse(bytes, find.layout, self.assumed.as_ref())
            .map_err(|error| Kind::Protocol(format!("a match that cannot be read: {error}")))?;
        for warning in &parsed.warnings {
            tracing::debug!(archive = %self.inner.config.name, %warning, "a match has a bad element");
        }
        Ok(parsed.data_set)
    }

    /// What the final status says. Only success is a complete answer: one that the archive cancelled by itself is not, nor
    /// is one with a warning, of which C-FIND has none (PS3.4 Table C.4-1) and by which some say that there is more. Those
    /// about attributes (PS3.7 C.4) leave no match out.
    fn conclude(&self, find: &Find, response: &Command) -> Result<(), Stop> {
        let code = response.status.unwrap_or_default();
        match status::class(code) {
            Class::Success => Ok(()),
            Class::Warning if code < 0xB000 => Ok(()),
            _ => {
                let blames_keys = matches!(code, 0xA900..=0xA9FF | 0x0105 | 0x0106 | 0x0120 | 0x0121);
                let client_keys = blames_keys && find.client_keys;
                Err(self.inner.status_error("C-FIND", response, client_keys).into())
            }
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // Nothing was asked over it.
        if let Some(lease) = self.spare.take() {
            lease.give_back();
        }
    }
}

impl Find {
    /// Ends it before its end.
    pub(super) async fn cancel(&mut self) {
        if let Some(operation) = self.operation.take() {
            Box::pin(operation.give_up()).await;
        }
    }

    /// The time in which nobody listened is not the archive's silence.
    pub(super) fn forgive_silence(&mut self) {
        if let Some(operation) = &mut self.operation {
            operation.forgive_silence();
        }
    }

    async fn abort(&mut self) {
        if let Some(operation) = self.operation.take() {
            operation.abort().await;
        }
    }
}
