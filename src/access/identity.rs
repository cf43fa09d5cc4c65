//! Who somebody is.

use std::sync::Arc;

use super::grants::{Grant, Grants, Operation};

/// Somebody who is known, with what they may do. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The name by which the audit trail knows them. Not for metrics.
    pub name: Arc<str>,
    /// By which means they have shown who they are.
    pub means: Means,
    /// What they may do.
    pub grants: Arc<Grants>,
}

/// How somebody has shown who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Means {
    /// A token of ours, by its hash in a file.
    Token,
    /// A token of the issuer's.
    Oidc,
    /// Name and password.
    Basic,
    /// A client certificate.
    Certificate,
    /// Not at all: nobody has to.
    Nobody,
}

impl Identity {
    /// Whoever it is, where nobody has to say.
    pub(super) fn everybody() -> Self {
        let all = [Operation::Search, Operation::Retrieve, Operation::Store, Operation::Admin];
        let grants = all.map(|operation| Grant { operation, archive: None });
        Self {
            name: "anybody".into(),
            means: Means::Nobody,
            grants: Arc::new(Grants::new(grants.into(), None)),
        }
    }
}
