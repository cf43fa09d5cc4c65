//! Whom we trust: authorities, and certificates that are named themselves.
//!
//! Modalities and archives often show a certificate that they have signed themselves. As a rule such a one is marked as an
//! authority's, and so would not pass for a server's or a client's (RFC 5280 4.2.1.9). Whoever puts it into the file of those
//! whom we trust means it: it is compared byte by byte, and then only its dates and, of a server, its name are checked.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::files::{FileError, certificates};

/// The certificates in a file of those whom we trust.
#[derive(Debug, Default)]
pub(super) struct Listed {
    certificates: Vec<CertificateDer<'static>>,
}

impl Listed {
    pub(super) fn read(path: &Path) -> Result<Self, FileError> {
        Ok(Self { certificates: certificates(path)? })
    }

    /// Adds them as authorities.
    pub(super) fn add_to(&self, roots: &mut RootCertStore, path: &Path) -> Result<(), FileError> {
        for (n, certificate) in self.certificates.iter().enumerate() {
            roots.add(certificate.clone()).map_err(|error| {
                FileError::new(path, format!("certificate {} in it cannot be read: {error}", n + 1))
            })?;
        }
        Ok(())
    }

    fn has(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|listed| listed == certificate)
    }
}

/// Whether a certificate is within its dates (RFC 5280 4.1.2.5).
fn check_dates(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let parsed = Certificate::from_der(certificate).map_err(|_| CertificateError::BadEncoding)?;
    let validity = parsed.tbs_certificate().validity();
    if now.as_secs() < validity.not_before.to_unix_duration().as_secs() {
        return Err(CertificateError::NotValidYet.into());
    }
    if now.as_secs() > validity.not_after.to_unix_duration().as_secs() {
        return Err(CertificateError::Expired.into());
    }
    Ok(())
}

/// Checks servers.
#[derive(Debug)]
pub(super) struct PinnedServer {
    listed: Listed,
    by_authority: Arc<dyn ServerCertVerifier>,
}

impl PinnedServer {
    pub(super) fn new(listed: Listed, by_authority: Arc<dyn ServerCertVerifier>) -> Arc<Self> {
        Arc::new(Self { listed, by_authority })
    }
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.listed.has(end_entity) {
            let by_authority = &self.by_authority;
            return by_authority.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            );
        }
        check_dates(end_entity, now)?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}

/// Checks clients.
#[derive(Debug)]
pub(super) struct PinnedClients {
    listed: Listed,
    by_authority: Arc<dyn ClientCertVerifier>,
}

impl PinnedClients {
    pub(super) fn new(listed: Listed, by_authority: Arc<dyn ClientCertVerifier>) -> Arc<Self> {
        Arc::new(Self { listed, by_authority })
    }
}

impl ClientCertVerifier for PinnedClients {
    fn client_auth_mandatory(&self) -> bool {
        self.by_authority.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_authority.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !self.listed.has(end_entity) {
            return self.by_authority.verify_client_cert(end_entity, intermediates, now);
        }
        check_dates(end_entity, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_authority.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}
