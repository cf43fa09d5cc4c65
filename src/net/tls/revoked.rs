//! Certificates that their authorities have taken back, as the lists in a file say (CRL, RFC 5280 5).
//!
//! With lists, each certificate between a peer's and an authority whom we trust needs one of who signed it: where there is
//! none, nobody can tell, and the peer is refused. A list past its next update goes on, with a warning: what it names stays
//! revoked, and a list that was not fetched in time must not stop every device of a hospital at once.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_cert::Certificate;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode;
use x509_cert::name::Name;

use super::pem::contents;
use crate::net::FileError;

/// Longest file of lists, in bytes: a million certificates.
const MAX_FILE: u64 = 64 << 20;

/// The lists of a file.
#[derive(Debug)]
pub(super) struct Revoked {
    path: PathBuf,
    lists: Vec<List>,
    /// The same as they were read.
    ders: Vec<CertificateRevocationListDer<'static>>,
    /// It has been said that one is old.
    told: AtomicBool,
}

/// What one authority has taken back.
#[derive(Debug)]
struct List {
    issuer: Name,
    /// Serial numbers, in order.
    serials: Vec<Box<[u8]>>,
    /// In seconds since 1970.
    next_update: Option<u64>,
}

impl Revoked {
    pub(super) fn read(path: &Path) -> Result<Self, FileError> {
        let text = contents(path, MAX_FILE)?;
        let found: Result<Vec<_>, pem::Error> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
        let ders =
            found.map_err(|_| FileError::new(path, "is broken: its PEM does not end, or is no Base64"))?;
        if ders.is_empty() {
            let text = "holds no list of revoked certificates: give a PEM file with -----BEGIN X509 CRL----- \
                        (`openssl crl -inform der` makes one)";
            return Err(FileError::new(path, text));
        }
        let lists: Result<Vec<List>, FileError> = ders
            .iter()
            .enumerate()
            .map(|(n, der)| {
                List::of(der).map_err(|why| {
                    FileError::new(path, format!("list {} in it cannot be read: {why}", n + 1))
                })
            })
            .collect();
        Ok(Self { path: path.to_owned(), lists: lists?, ders, told: AtomicBool::new(false) })
    }

    /// The lists in DER.
    pub(super) fn ders(&self) -> Vec<CertificateRevocationListDer<'static>> {
        self.ders.clone()
    }

    /// Which file they are of.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether one of these authorities has a list.
    pub(super) fn has_any_of(&self, authorities: &[Name]) -> bool {
        self.lists.iter().any(|list| authorities.contains(&list.issuer))
    }

    /// Whether a certificate is named, whoever signed the list.
    pub(super) fn names(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(parsed) = Certificate::from_der(certificate) else { return true };
        let tbs = parsed.tbs_certificate();
        let serial = tbs.serial_number().as_bytes();
        let of_issuer = self.lists.iter().filter(|list| list.issuer == *tbs.issuer());
        of_issuer.into_iter().any(|list| list.serials.binary_search_by(|one| (**one).cmp(serial)).is_ok())
    }

    /// Says, once, that a list should have been followed by another one.
    pub(super) fn tell_if_old(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let is_old = |list: &List| list.next_update.is_some_and(|next| next < now);
        if let Some(old) = self.lists.iter().find(|list| is_old(list))
            && !self.told.swap(true, Ordering::Relaxed)
        {
            let (file, authority) = (self.path.display(), &old.issuer);
            tracing::warn!(%file, %authority, "a list of revoked certificates is past its next update, and stays in use: fetch a new one");
        }
    }
}

impl List {
    fn of(der: &CertificateRevocationListDer<'_>) -> Result<Self, String> {
        let list: CertificateList = CertificateList::from_der(der).map_err(|error| error.to_string())?;
        let list = list.tbs_cert_list;
        let entries = list.revoked_certificates.unwrap_or_default();
        let mut serials: Vec<Box<[u8]>> =
            entries.iter().map(|entry| entry.serial_number.as_bytes().into()).collect();
        serials.sort_unstable();
        let next_update = list.next_update.map(|time| time.to_unix_duration().as_secs());
        Ok(Self { issuer: list.issuer, serials, next_update })
    }
}
