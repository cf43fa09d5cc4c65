//! Tokens of an issuer (OpenID Connect): who they are for, whether they hold now, and what they allow.

mod claims;
mod fetch;
mod keys;

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::config::OidcConfig;
use super::grants::{Grant, Grants};
use super::identity::{Identity, Means};
use super::jws::Token;
use super::{OpenError, Refused, scopes};

use self::claims::Claims;
use self::fetch::Fetch;
use self::keys::Keys;

/// One issuer.
#[derive(Debug)]
pub(super) struct Oidc {
    config: OidcConfig,
    scopes: BTreeMap<String, Vec<Grant>>,
    keys: Keys,
}

impl Oidc {
    /// An issuer whose scopes and roles allow what `scopes` says, else what they say themselves. Begins to ask for its keys.
    ///
    /// # Errors
    /// The file of its authorities cannot be used.
    pub(super) fn new(config: OidcConfig, scopes: BTreeMap<String, Vec<Grant>>) -> Result<Self, OpenError> {
        let fetch = Fetch::new(config.ca.as_deref())?;
        let keys = Keys::new(&config, fetch);
        Ok(Self { config, scopes, keys })
    }

    /// Whose token this is, and for how long it holds.
    pub(super) async fn verify(&self, text: &str) -> Result<(Identity, Duration), Refused> {
        let token = Token::read(text).map_err(Refused::Invalid)?;
        let keys = self.keys.find(token.key_id.as_deref()).await?;
        let claims = token.verify(&keys).map_err(Refused::Invalid)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.identify(&Claims(claims), now)
    }

    /// Whom the claims name. `now`: since 1970.
    fn identify(&self, claims: &Claims, now: Duration) -> Result<(Identity, Duration), Refused> {
        let lifetime = claims.lifetime(&self.config, now).map_err(Refused::Invalid)?;
        let name = claims.name(&self.config.name_claim).map_err(Refused::Invalid)?;
        let restriction = claims.restriction(&self.config.patient_claim).map_err(Refused::Invalid)?;
        // One patient, and none is named: nobody, whatever the configuration lets such a scope do.
        let is_nobodys = |scope: &&str| scopes::is_of_one_patient(scope) && restriction.patients.is_empty();
        let mut allowed = Vec::new();
        let scopes = claims.scopes(self.config.scope_claim.as_deref());
        for scope in scopes.into_iter().filter(|scope| !is_nobodys(scope)) {
            match self.scopes.get(scope) {
                Some(grants) => allowed.extend_from_slice(grants),
                None => allowed.extend(scopes::meaning(scope).unwrap_or_default()),
            }
        }
        let roles = self.config.roles_claim.as_deref().map(|path| claims.roles(path)).unwrap_or_default();
        let roles = roles.into_iter().filter(|role| !is_nobodys(role));
        allowed.extend(roles.filter_map(|role| self.scopes.get(role)).flatten().cloned());
        let grants = Grants::new(allowed, Some(restriction)).into();
        Ok((Identity { name: name.into(), means: Means::Oidc, grants }, lifetime))
    }
}

#[cfg(test)]
mod tests;
