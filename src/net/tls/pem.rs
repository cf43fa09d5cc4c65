//! PEM files: what is in them, within bounds.

use std::fs;
use std::io::Read;
use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::net::FileError;

/// Longest file that is read, in bytes: ten times the bundle of all authorities that browsers trust.
const MAX_FILE: u64 = 4 << 20;

/// The certificates in a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, FileError> {
    let text = contents(path, MAX_FILE)?;
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(&text).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(FileError::new(
            path,
            "holds no certificate: give a PEM file with -----BEGIN CERTIFICATE-----",
        )),
        Err(_) => Err(FileError::new(path, "is broken: its PEM does not end, or is no Base64")),
    }
}

/// The private key in a file.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, FileError> {
    // The error itself may quote what it does not understand.
    PrivateKeyDer::from_pem_slice(&contents(path, MAX_FILE)?).map_err(|_| {
        let text = "holds no private key that can be read: give a PEM file with PKCS #8, PKCS #1 or SEC 1, without a password (`openssl pkey` takes it off)";
        FileError::new(path, text)
    })
}

/// What a file holds, which is not longer than `most` bytes.
pub(super) fn contents(path: &Path, most: u64) -> Result<Vec<u8>, FileError> {
    let cannot = |error: std::io::Error| FileError::new(path, format!("cannot be read: {error}"));
    let file = fs::File::open(path).map_err(cannot)?;
    let mut contents = Vec::new();
    let read = file.take(most + 1).read_to_end(&mut contents).map_err(cannot)?;
    if read as u64 > most {
        return Err(FileError::new(path, format!("is longer than {most} bytes: that is no such PEM file")));
    }
    Ok(contents)
}
