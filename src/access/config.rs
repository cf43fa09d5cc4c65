//! What is configured of access: `[auth]`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use super::grants::Grant;
pub use super::jws::Algorithm;

/// Who may come, and how they are known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Tokens of an issuer (OpenID Connect).
    pub oidc: Option<OidcConfig>,
    /// What scopes and roles of its tokens allow, besides what they say themselves.
    pub scopes: BTreeMap<String, Vec<Grant>>,
    /// The file of our own tokens.
    pub tokens: Option<PathBuf>,
    /// The file of names and passwords.
    pub basic: Option<PathBuf>,
    /// Client certificates: subject (RFC 4514) or `sha256:` and the fingerprint → what it allows.
    pub certificates: BTreeMap<String, Vec<Grant>>,
}

impl Config {
    /// Whether anybody has to say who they are.
    pub fn is_required(&self) -> bool {
        self.oidc.is_some() || self.tokens.is_some() || self.basic.is_some() || !self.certificates.is_empty()
    }
}

/// An issuer of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcConfig {
    /// Its URL, as it stands in its tokens.
    pub issuer: String,
    /// As whom we are named in them; one of these is enough.
    pub audience: Vec<String>,
    /// Algorithms of signatures that are taken; all of them have a public key.
    pub algorithms: Vec<Algorithm>,
    /// By how much its clock and ours may differ.
    pub clock_skew: Duration,
    /// The claim that says who it is, for the audit trail.
    pub name_claim: String,
    /// The claim with scopes; `None`: `scope` and `scp`.
    pub scope_claim: Option<String>,
    /// The claim with roles, its path with dots: `realm_access.roles`.
    pub roles_claim: Option<String>,
    /// The claim with the one patient whom a token is for.
    pub patient_claim: String,
    /// How long its keys are used that cannot be asked for again.
    pub keys_lifetime: Duration,
    /// The authorities that vouch for it; `None`: the system's.
    pub ca: Option<PathBuf>,
}

impl OidcConfig {
    /// An issuer with the defaults of everything else.
    pub fn new(issuer: String, audience: Vec<String>) -> Self {
        Self {
            issuer,
            audience,
            algorithms: Algorithm::ALL.iter().map(|(_, algorithm)| *algorithm).collect(),
            clock_skew: Duration::from_secs(30),
            name_claim: "sub".to_owned(),
            scope_claim: None,
            roles_claim: None,
            patient_claim: "patient".to_owned(),
            keys_lifetime: Duration::from_secs(12 * 3600),
            ca: None,
        }
    }
}
