//! What a token says (RFC 7519 4.1), read strictly: a claim of another type than its own refuses the token, as whoever
//! leaves it out of account lets in what it was to keep out.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::access::config::OidcConfig;
use crate::caller::Restriction;

/// Longest name, in characters.
const MAX_NAME: usize = 256;
/// Most patients or studies that a token may name: each is a search of its own.
const MAX_NAMED: usize = 100;
/// Most scopes and roles that are looked at.
const MAX_SCOPES: usize = 1_000;

/// The claims of a token whose signature is good.
#[derive(Debug)]
pub(super) struct Claims(pub(super) Map<String, Value>);

type Read<T> = Result<T, &'static str>;

impl Claims {
    /// For how long the token holds yet, where it is one of this issuer for us. `now`: since 1970.
    pub(super) fn lifetime(&self, config: &OidcConfig, now: Duration) -> Read<Duration> {
        if self.0.get("iss").and_then(Value::as_str) != Some(config.issuer.as_str()) {
            return Err("the token is of another issuer");
        }
        let is_us =
            |value: &Value| value.as_str().is_some_and(|one| config.audience.iter().any(|us| us == one));
        let for_us = match self.0.get("aud") {
            Some(Value::Array(values)) => values.iter().all(Value::is_string) && values.iter().any(is_us),
            Some(value) => is_us(value),
            None => false,
        };
        if !for_us {
            return Err("the token is for somebody else");
        }
        let expires = self.time("exp")?.ok_or("the token does not say when it expires")? + config.clock_skew;
        let lifetime = expires.checked_sub(now).filter(|left| !left.is_zero());
        let lifetime = lifetime.ok_or("the token has expired")?;
        if self.time("nbf")?.is_some_and(|begins| begins > now + config.clock_skew) {
            return Err("the token is not valid yet");
        }
        Ok(lifetime)
    }

    /// The name by which the audit trail knows who it is.
    pub(super) fn name(&self, claim: &str) -> Read<&str> {
        // Tokens of programs may have no subject.
        let named = [claim, "client_id", "azp"].iter().find_map(|claim| self.0.get(*claim));
        let name = named.and_then(Value::as_str).ok_or("the token does not say who it is of")?;
        let is_name = (1..=MAX_NAME).contains(&name.chars().count()) && !name.chars().any(char::is_control);
        if is_name { Ok(name) } else { Err("the token has no usable name") }
    }

    /// The scopes: a text with spaces between (RFC 8693 4.2), or a list.
    pub(super) fn scopes(&self, claim: Option<&str>) -> Vec<&str> {
        let claims = claim.map_or(vec!["scope", "scp"], |claim| vec![claim]);
        claims.into_iter().filter_map(|claim| self.0.get(claim)).flat_map(words).take(MAX_SCOPES).collect()
    }

    /// The roles at a path with dots.
    pub(super) fn roles(&self, path: &str) -> Vec<&str> {
        // A claim may have dots in its own name, as those that are URLs.
        let whole = self.0.get(path);
        let mut parts = path.split('.');
        let first = parts.next().and_then(|name| self.0.get(name));
        let value = whole.or_else(|| parts.try_fold(first?, |value, name| value.get(name)));
        value.map(words).unwrap_or_default().into_iter().take(MAX_SCOPES).collect()
    }

    /// What the token is confined to. Where it is said twice, both hold.
    pub(super) fn restriction(&self, patient_claim: &str) -> Read<Restriction> {
        let mut restriction = Restriction::default();
        let id = |text: &str| text.strip_prefix("Patient/").unwrap_or(text).trim().to_owned();
        for claim in [patient_claim, "gantry_patients"] {
            let Some(named) = self.named(claim)? else { continue };
            let named = named.into_iter().map(id).collect();
            restriction.patients = match restriction.patients.is_empty() {
                true => named,
                false => restriction.patients.intersection(&named).cloned().collect(),
            };
            if restriction.patients.is_empty() || restriction.patients.contains("") {
                return Err("the token is for no patient");
            }
        }
        if let Some(named) = self.named("gantry_studies")? {
            let uids: Result<_, _> = named.into_iter().map(str::parse).collect();
            restriction.studies = uids.map_err(|_| "the token names a study that is none")?;
        }
        Ok(restriction)
    }

    /// The texts of a claim that confines; `None`: it is not there.
    fn named(&self, claim: &str) -> Read<Option<Vec<&str>>> {
        let texts: Option<Vec<&str>> = match self.0.get(claim) {
            None => return Ok(None),
            Some(Value::String(text)) => Some(vec![text]),
            Some(Value::Array(values)) => values.iter().map(Value::as_str).collect(),
            Some(_) => None,
        };
        // Nobody is not the same as everybody.
        let texts = texts.filter(|texts| (1..=MAX_NAMED).contains(&texts.len()));
        texts.map(Some).ok_or("the token is confined to patients or studies in a way that is not known here")
    }

    /// A NumericDate: seconds since 1970, with or without a fraction.
    fn time(&self, claim: &str) -> Read<Option<Duration>> {
        let Some(value) = self.0.get(claim) else { return Ok(None) };
        let seconds = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        // Beyond it nothing can be added.
        let sane = seconds.filter(|time| *time < Duration::from_secs(1 << 40));
        sane.map(Some).ok_or("the token says a time that is none")
    }
}

fn words(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => text.split(' ').filter(|word| !word.is_empty()).collect(),
        Value::Array(values) => values.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
