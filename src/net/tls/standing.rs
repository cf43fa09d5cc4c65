//! What has become of a certificate since it was shown: a connection may outlive the trust in who opened it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier as _;

use super::server::Built;
use crate::net::Files;

/// Why a certificate that was good is so no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Lapsed {
    /// Its time is over.
    #[error("the certificate of the connection has expired")]
    Expired,
    /// Its authority has taken it back.
    #[error("the certificate of the connection has been revoked")]
    Revoked,
    /// It, or who signed it, is not among those who are trusted any more.
    #[error("the certificate of the connection is trusted no longer")]
    Untrusted,
}

/// How a client's certificate stands with those who vouch for it. Cheap to clone. Two of them are always equal: what it says
/// is no part of a certificate.
#[derive(Clone, Default)]
pub struct Standing(Option<Arc<Shown>>);

struct Shown {
    /// The client's certificate, and those that it has shown with it.
    chain: Vec<CertificateDer<'static>>,
    files: Arc<Files<Built>>,
    last: Mutex<Looked>,
}

/// What came of a look, with these files.
struct Looked {
    files: Arc<Built>,
    found: Result<(), Lapsed>,
}

impl Standing {
    /// That of a chain which was found to be good by `built`, as long as nobody looks again.
    pub(super) fn new(chain: &[CertificateDer<'_>], files: Arc<Files<Built>>, built: Arc<Built>) -> Self {
        if chain.is_empty() {
            return Self::default();
        }
        let chain = chain.iter().map(|der| der.clone().into_owned()).collect();
        let last = Mutex::new(Looked { files: built, found: Ok(()) });
        Self(Some(Arc::new(Shown { chain, files, last })))
    }

    /// Verifies the chain again where the files have changed.
    pub(super) async fn check(&self) -> Result<(), Lapsed> {
        let Some(shown) = &self.0 else { return Ok(()) };
        // What was read once stays where it cannot be read any more.
        let Ok(current) = shown.files.current().await else { return Ok(()) };
        let mut last = shown.last.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&last.files, &current) {
            let found = shown.verify(&current);
            *last = Looked { files: current, found };
        }
        last.found
    }
}

impl Shown {
    fn verify(&self, current: &Built) -> Result<(), Lapsed> {
        let Some((own, above)) = self.chain.split_first() else { return Ok(()) };
        let clients = current.clients.as_ref().ok_or(Lapsed::Untrusted)?;
        let verified = clients.verify_client_cert(own, above, UnixTime::now());
        verified.map(drop).map_err(|error| match error {
            rustls::Error::InvalidCertificate(CertificateError::Revoked) => Lapsed::Revoked,
            rustls::Error::InvalidCertificate(
                CertificateError::Expired | CertificateError::ExpiredContext { .. },
            ) => Lapsed::Expired,
            _ => Lapsed::Untrusted,
        })
    }
}

impl fmt::Debug for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standing").finish_non_exhaustive()
    }
}

impl PartialEq for Standing {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Standing {}
