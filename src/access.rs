//! Who asks over HTTP, and what they may do: everything is refused that nobody has allowed.
//!
//! [`Access`] turns what a request brings (its Authorization header, the certificate of its connection) into an
//! [`Identity`], whose [`Grants`] say which [`Operation`] is allowed at which archive. Front ends ask here and
//! nowhere else. Cookies and the query are no credentials: a browser sends the ones by itself, and URLs stand in logs.

mod basic;
pub mod config;
mod failures;
mod file;
mod grants;
mod identity;
mod jws;
mod oidc;
mod refused;
mod remembered;
mod scopes;
mod tokens;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use crate::event::{Alert, Event, Events, Outcome, What, Who};
use crate::net::PeerCertificate;

use self::basic::{Basic, Turn};
use self::config::Config;
use self::failures::{Failures, Of, Origin, is_power_of_ten, is_told, so_often};
use self::oidc::Oidc;
use self::remembered::Remembered;
use self::tokens::Tokens;

pub use self::basic::entry as password_entry;
pub use self::grants::{BadGrant, Grant, Grants, Operation};
pub use self::identity::{Identity, Means};
pub use self::refused::Refused;
pub use self::tokens::fresh as fresh_token;
pub use crate::caller::Restriction;

/// Longest value of an Authorization header that is looked at, in bytes: tokens with some hundred groups stay below.
const MAX_CREDENTIALS: usize = 16 << 10;
/// How long credentials that were found to be good are not looked at again. So long somebody may stay who was taken out.
const REMEMBER: Duration = Duration::from_secs(60);

/// Decides who somebody is. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Access {
    inner: Arc<Inner>,
    events: Events,
}

#[derive(Debug)]
struct Inner {
    /// `None`: everybody may do everything.
    methods: Option<Methods>,
    remembered: Remembered,
    failures: Failures,
}

#[derive(Debug)]
struct Methods {
    oidc: Option<Oidc>,
    tokens: Option<Tokens>,
    basic: Option<Basic>,
    certificates: Vec<(String, Arc<Grants>)>,
}

/// A file that says who may come cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {}: {why}", path.display())]
pub struct OpenError {
    /// The configuration's key.
    pub key: &'static str,
    /// The file.
    pub path: PathBuf,
    /// What is wrong, and nothing of what stands in it.
    pub why: String,
}

/// What somebody brings to be known by.
#[derive(Clone, Copy)]
enum Credentials<'a> {
    Bearer(&'a str),
    Basic(&'a str),
    Certificate(&'a PeerCertificate),
}

impl Access {
    /// Everybody may do everything.
    pub fn open() -> Self {
        Self::over(None)
    }

    /// Access as it is configured. Reads the files of tokens and passwords, and begins to ask the issuer for its keys; must
    /// be called within a runtime.
    ///
    /// # Errors
    /// A file cannot be read, or says something that cannot be.
    pub fn new(config: Config) -> Result<Self, OpenError> {
        if !config.is_required() {
            return Ok(Self::open());
        }
        let methods = Methods {
            tokens: config.tokens.map(Tokens::open).transpose()?,
            basic: config.basic.map(Basic::open).transpose()?,
            oidc: config.oidc.map(|oidc| Oidc::new(oidc, config.scopes)).transpose()?,
            certificates: config
                .certificates
                .into_iter()
                .map(|(name, allowed)| (name, Arc::new(Grants::new(allowed, None))))
                .collect(),
        };
        Ok(Self::over(Some(methods)))
    }

    fn over(methods: Option<Methods>) -> Self {
        let (remembered, failures) = (Remembered::new(REMEMBER), Failures::default());
        Self { inner: Arc::new(Inner { methods, remembered, failures }), events: Events::none() }
    }

    /// The same, which tells these how it went.
    #[must_use]
    pub fn telling(self, events: Events) -> Self {
        Self { events, ..self }
    }

    /// Whether one has to say who one is.
    pub fn is_required(&self) -> bool {
        self.inner.methods.is_some()
    }

    /// Who asks. `authorization`: the request's header; `certificate`: the one that its connection has shown; `from`:
    /// where it comes from.
    ///
    /// # Errors
    /// Nobody that is known here.
    pub async fn authenticate(
        &self,
        authorization: Option<&HeaderValue>,
        certificate: Option<&PeerCertificate>,
        from: Option<IpAddr>,
    ) -> Result<Identity, Refused> {
        // Also where it is not by this that somebody is known: without it there would be no connection.
        if let Some(shown) = certificate
            && let Err(lapsed) = shown.check().await
        {
            let refused = Refused::Lapsed(lapsed);
            self.tell_failure(&refused, Credentials::Certificate(shown), certificate, from);
            return Err(refused);
        }
        let Some(methods) = &self.inner.methods else { return Ok(Identity::everybody()) };
        let credentials = match authorization {
            Some(value) => Some(read(value)?),
            None => certificate.map(Credentials::Certificate),
        };
        let credentials = credentials.ok_or(Refused::Missing)?;
        let key = self.inner.remembered.key(&credentials, from);
        let generation = methods.generation().await;
        if let Some(identity) = self.inner.remembered.find(&key, generation) {
            return Ok(identity);
        }
        // A browser sends its password many times at once: what the first of them has come to holds for the others.
        let known = || self.inner.remembered.find(&key, generation);
        match self.inner.look_at(methods, credentials, from, known).await {
            Ok((identity, lifetime)) => {
                self.tell_success(&identity, certificate, from);
                self.inner.remembered.keep(key, identity.clone(), generation, lifetime);
                Ok(identity)
            }
            Err(refused) => {
                self.tell_failure(&refused, credentials, certificate, from);
                Err(refused)
            }
        }
    }

    /// Counts that somebody asked for what they may not do. How it is to be told, with `text` for what they asked for;
    /// `None`: not again, it happens too often.
    pub fn tell_of_overreach(&self, identity: &Identity, text: &str) -> Option<String> {
        let number = self.inner.failures.note(Of::Rights(Arc::clone(&identity.name)));
        is_told(number).then(|| format!("{text}{}", so_often(number)))
    }

    /// The values of WWW-Authenticate (RFC 9110 11.6.1) that go with a refusal.
    pub fn challenges(&self, refused: &Refused) -> Vec<HeaderValue> {
        let methods = self.inner.methods.as_ref();
        let bearer = methods.is_some_and(|methods| methods.oidc.is_some() || methods.tokens.is_some());
        refused.challenges(bearer, methods.is_some_and(|methods| methods.basic.is_some()))
    }

    fn tell_success(&self, identity: &Identity, certificate: Option<&PeerCertificate>, from: Option<IpAddr>) {
        if self.events.is_heard() {
            let who = Who {
                user: Some(Arc::clone(&identity.name)),
                address: from,
                certificate: certificate.map(|certificate| certificate.subject.as_str().into()),
                ..Who::default()
            };
            self.events.send(Event::now(who, What::Authentication));
        }
    }

    fn tell_failure(
        &self,
        refused: &Refused,
        credentials: Credentials<'_>,
        certificate: Option<&PeerCertificate>,
        from: Option<IpAddr>,
    ) {
        let failures = &self.inner.failures;
        let origin = Origin::from(from);
        let who = Who {
            user: match credentials {
                Credentials::Basic(encoded) => basic::name_in(encoded).map(Into::into),
                Credentials::Bearer(_) | Credentials::Certificate(_) => None,
            },
            address: from,
            certificate: certificate.map(|certificate| certificate.subject.as_str().into()),
            ..Who::default()
        };
        let (number, is_told, outcome) = match (refused, credentials) {
            // Whoever connects with a certificate needs not be anybody here: seldom is often enough.
            (Refused::Missing, Credentials::Certificate(shown)) => {
                let number = failures.note(Of::Certificate(shown.fingerprint));
                (number, is_power_of_ten(number), Outcome::MinorFailure)
            }
            // Nobody has tried anything.
            (Refused::Missing, _) => return,
            (Refused::Invalid(_) | Refused::TooMany(_) | Refused::Lapsed(_), _) => {
                let number = failures.note(Of::Credentials(origin));
                (number, is_told(number), Outcome::MinorFailure)
            }
            (Refused::Unavailable(_), _) => {
                let number = failures.note(Of::Undecided(origin));
                (number, is_told(number), Outcome::SeriousFailure)
            }
        };
        if !is_told {
            return;
        }
        let why = match refused {
            Refused::Missing => "the certificate is nobody's here".to_owned(),
            other => other.to_string(),
        };
        tracing::debug!("refused credentials: {why}");
        let event = Event::now(who.clone(), What::Authentication);
        self.events.send(event.failed(outcome, why + &so_often(number)));
        if matches!(refused, Refused::Invalid(_) | Refused::TooMany(_)) && number == failures::SUSPICIOUS {
            tracing::warn!("many credentials that were refused have come from one address lately");
            let text = format!("{number} refused credentials within a minute");
            let what = What::SecurityAlert { kind: Alert::NodeAuthentication, text: text.clone() };
            self.events.send(Event::now(who, what).failed(Outcome::SeriousFailure, text));
        }
    }
}

impl Methods {
    /// Counts how often what is known has changed.
    async fn generation(&self) -> u64 {
        let mut sum = 0;
        if let Some(tokens) = &self.tokens {
            sum += tokens.generation().await;
        }
        if let Some(basic) = &self.basic {
            sum += basic.generation().await;
        }
        sum
    }
}

impl Inner {
    /// Who this is, and for how long that holds. `known`: whether it has been found out meanwhile.
    async fn look_at(
        &self,
        methods: &Methods,
        credentials: Credentials<'_>,
        from: Option<IpAddr>,
        known: impl FnOnce() -> Option<Identity>,
    ) -> Result<(Identity, Duration), Refused> {
        match credentials {
            Credentials::Bearer(token) => {
                if let Some(tokens) = &methods.tokens
                    && let Some(identity) = tokens.find(token).await?
                {
                    return Ok((identity, REMEMBER));
                }
                match &methods.oidc {
                    Some(oidc) => oidc.verify(token).await,
                    None => Err(Refused::Invalid("the token is not known")),
                }
            }
            Credentials::Basic(encoded) => {
                let Some(basic) = &methods.basic else {
                    return Err(Refused::Invalid("passwords are not taken here"));
                };
                // To try passwords costs us more than them.
                let origin = Origin::from(from);
                self.failures.admits_password(origin)?;
                let begin = || match known() {
                    Some(identity) => Ok(Turn::Known(identity)),
                    None => self.failures.try_password(origin).map(Turn::Look),
                };
                let (identity, tried) = basic.verify(encoded, begin).await?;
                if let Some(one) = tried {
                    self.failures.give_back(one);
                }
                Ok((identity, REMEMBER))
            }
            Credentials::Certificate(certificate) => {
                let known = methods.certificates.iter().find(|(name, _)| certificate.is_exactly(name));
                // Who may connect with a certificate needs not be anybody here.
                let (name, grants) = known.ok_or(Refused::Missing)?;
                let identity = Identity {
                    name: name.as_str().into(),
                    means: Means::Certificate,
                    grants: Arc::clone(grants),
                };
                Ok((identity, REMEMBER))
            }
        }
    }
}

/// The scheme and what stands behind it (RFC 9110 11.6.2).
fn read(value: &HeaderValue) -> Result<Credentials<'_>, Refused> {
    if value.len() > MAX_CREDENTIALS {
        return Err(Refused::Invalid("the credentials are too long"));
    }
    let text = value.to_str().map_err(|_| Refused::Invalid("the credentials are not ASCII"))?;
    let (scheme, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim_matches(' ');
    if rest.is_empty() {
        return Err(Refused::Invalid("there are no credentials in the Authorization header"));
    }
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(Credentials::Bearer(rest))
    } else if scheme.eq_ignore_ascii_case("basic") {
        Ok(Credentials::Basic(rest))
    } else {
        Err(Refused::Invalid("the authentication scheme is not known"))
    }
}

#[cfg(test)]
#[path = "../tests/support/issuer.rs"]
pub(crate) mod issuer;
#[cfg(test)]
#[path = "../tests/support/signer.rs"]
pub(crate) mod signer;
#[cfg(test)]
mod tests;
