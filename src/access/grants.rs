//! What somebody may do, at which archive, and with which patients.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::caller::Restriction;

/// What can be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// Searches (QIDO-RS).
    Search,
    /// Objects, and whatever is in them (WADO-RS, WADO-URI).
    Retrieve,
    /// Storing (STOW-RS).
    Store,
    /// What is the operator's: metrics, the cache. It concerns no archive, and includes nothing else.
    Admin,
}

impl Operation {
    const ALL: [(&'static str, Self); 4] = [
        ("search", Self::Search),
        ("retrieve", Self::Retrieve),
        ("store", Self::Store),
        ("admin", Self::Admin),
    ];
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, operation)| operation == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// One thing that is allowed: `search`, `retrieve:main`, `store:*`, `admin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// What.
    pub operation: Operation,
    /// At the archive of this name; `None`: at each.
    pub archive: Option<String>,
}

/// The text is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not \"search\", \"retrieve\", \"store\" or \"admin\", the first three with or without \":archive\"")]
pub struct BadGrant;

impl FromStr for Grant {
    type Err = BadGrant;

    fn from_str(text: &str) -> Result<Self, BadGrant> {
        let (name, archive) = match text.split_once(':') {
            Some((name, archive)) => (name, Some(archive)),
            None => (text, None),
        };
        let found = Operation::ALL.iter().find(|(known, _)| *known == name);
        let operation = found.ok_or(BadGrant)?.1;
        match archive {
            None | Some("*") => Ok(Self { operation, archive: None }),
            Some("") => Err(BadGrant),
            Some(_) if operation == Operation::Admin => Err(BadGrant),
            Some(archive) => Ok(Self { operation, archive: Some(archive.to_owned()) }),
        }
    }
}

/// Everything that somebody may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grants {
    allowed: Vec<Grant>,
    restriction: Option<Arc<Restriction>>,
}

impl Grants {
    /// These, within `restriction`. An empty restriction is none.
    pub fn new(allowed: Vec<Grant>, restriction: Option<Restriction>) -> Self {
        Self { allowed, restriction: restriction.filter(|it| !it.is_empty()).map(Arc::new) }
    }

    /// Whether this is allowed at the archive of this name.
    pub fn allows(&self, operation: Operation, archive: &str) -> bool {
        self.has(operation) && self.any(|grant| grant.operation == operation && grant.is_at(archive))
    }

    /// Whether this is allowed anywhere. Who is confined to some patients is no operator.
    pub fn has(&self, operation: Operation) -> bool {
        let confined = self.restriction.is_some() && operation == Operation::Admin;
        !confined && self.any(|grant| grant.operation == operation)
    }

    /// Whether anything is allowed at the archive of this name: to others it does not exist.
    pub fn knows(&self, archive: &str) -> bool {
        self.any(|grant| grant.operation != Operation::Admin && grant.is_at(archive))
    }

    /// What all of it is confined to.
    pub fn restriction(&self) -> Option<&Arc<Restriction>> {
        self.restriction.as_ref()
    }

    fn any(&self, matches: impl Fn(&Grant) -> bool) -> bool {
        self.allowed.iter().any(matches)
    }
}

impl Grant {
    fn is_at(&self, archive: &str) -> bool {
        self.archive.as_deref().is_none_or(|own| own == archive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(texts: &[&str], restriction: Option<Restriction>) -> Grants {
        Grants::new(texts.iter().map(|text| text.parse().unwrap()).collect(), restriction)
    }

    #[test]
    fn nothing_is_allowed_that_is_not_said() {
        let grants = grants(&["search", "retrieve:main", "store:*"], None);
        assert!(grants.allows(Operation::Search, "main") && grants.allows(Operation::Search, "other"));
        assert!(grants.allows(Operation::Retrieve, "main") && !grants.allows(Operation::Retrieve, "other"));
        assert!(grants.allows(Operation::Store, "other"));
        assert!(!grants.has(Operation::Admin) && !grants.allows(Operation::Admin, "main"));
    }

    #[test]
    fn an_archive_without_a_grant_is_not_known_and_the_operator_knows_none() {
        let own = grants(&["retrieve:main"], None);
        assert!(own.knows("main") && !own.knows("other") && !own.knows("mai"));
        assert!(!grants(&["admin"], None).knows("main"));
    }

    #[test]
    fn who_is_confined_to_patients_is_no_operator() {
        let only =
            |id: &str| Some(Restriction { patients: [id.to_owned()].into(), ..Restriction::default() });
        let confined = grants(&["admin", "search"], only("1"));
        assert!(!confined.has(Operation::Admin) && confined.has(Operation::Search));
        assert!(
            grants(&["admin"], Some(Restriction::default())).has(Operation::Admin),
            "an empty one is none"
        );
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        for bad in ["", "read", "Search", "search:", "admin:main", "search main", ":main"] {
            assert_eq!(bad.parse::<Grant>(), Err(BadGrant), "{bad}");
        }
    }
}
