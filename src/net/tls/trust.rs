//! Whom we trust: authorities, and certificates that are named themselves.
//!
//! A certificate that may sign others (RFC 5280 4.2.1.9) is an authority, and whoever it has signed for is trusted. Any other
//! one stands for itself alone: the key of a device makes no further devices. Modalities and archives often show a certificate
//! that they have signed themselves and that is marked as an authority's, and so would not pass for a server's or a client's.
//! Whoever puts it into the file of those whom we trust means it: it is compared byte by byte, and then only its dates and, of
//! a server, its name are checked.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};
use x509_cert::name::Name;

use super::pem::certificates;
use super::revoked::Revoked;
use crate::net::FileError;

/// The certificates in a file of those whom we trust.
#[derive(Debug)]
pub(super) struct Listed {
    certificates: Vec<CertificateDer<'static>>,
    /// Those of them that may sign others.
    authorities: RootCertStore,
    /// The same by their names; of the system's authorities none.
    names: Vec<Name>,
    /// What they have taken back, where that is to be looked at.
    revoked: Option<Revoked>,
    /// Who signs those that clients may show: by these they choose among their certificates (RFC 8446 4.2.4).
    signers: Vec<DistinguishedName>,
}

impl Listed {
    pub(super) fn read(path: &Path) -> Result<Self, FileError> {
        let mut listed = Self::authorities(RootCertStore::empty());
        for (n, certificate) in certificates(path)?.into_iter().enumerate() {
            listed.add(certificate).map_err(|why| {
                FileError::new(path, format!("certificate {} in it cannot be read: {why}", n + 1))
            })?;
        }
        Ok(listed)
    }

    /// Authorities alone.
    pub(super) fn authorities(authorities: RootCertStore) -> Self {
        Self { certificates: Vec::new(), authorities, names: Vec::new(), revoked: None, signers: Vec::new() }
    }

    /// The same without those that stand in the lists of this file.
    pub(super) fn without_revoked(self, path: Option<&Path>) -> Result<Self, FileError> {
        let Some(path) = path else { return Ok(self) };
        let revoked = Revoked::read(path)?;
        if !self.names.is_empty() && !revoked.has_any_of(&self.names) {
            let text = "holds no list of an authority that is trusted here: give those of the authorities in the other file";
            return Err(FileError::new(path, text));
        }
        revoked.tell_if_old();
        Ok(Self { revoked: Some(revoked), ..self })
    }

    /// Says so where a list is past its time.
    pub(super) fn tell_if_old(&self) {
        if let Some(revoked) = &self.revoked {
            revoked.tell_if_old();
        }
    }

    fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), String> {
        let parsed = Certificate::from_der(&certificate).map_err(|error| error.to_string())?;
        if may_sign_others(&parsed)? {
            self.authorities.add(certificate.clone()).map_err(|error| error.to_string())?;
            self.names.push(parsed.tbs_certificate().subject().clone());
            self.signers.extend(
                self.authorities
                    .roots
                    .last()
                    .map(|root| DistinguishedName::in_sequence(root.subject.as_ref())),
            );
        } else {
            ParsedCertificate::try_from(&certificate).map_err(|error| error.to_string())?;
            let signer = parsed.tbs_certificate().issuer().to_der().map_err(|error| error.to_string())?;
            self.signers.push(signer.into());
        }
        self.certificates.push(certificate);
        Ok(())
    }

    fn has(&self, certificate: &CertificateDer<'_>) -> bool {
        self.certificates.iter().any(|listed| listed == certificate)
    }

    /// Whether a certificate that is listed itself is a good one.
    fn check(&self, certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
        check_dates(certificate, now)?;
        match &self.revoked {
            Some(revoked) if revoked.names(certificate) => Err(CertificateError::Revoked.into()),
            _ => Ok(()),
        }
    }

    /// What is wrong with the file of a verifier that cannot be made of this.
    fn misfit(&self, error: VerifierBuilderError) -> FileError {
        let path = self.revoked.as_ref().map_or(Path::new(""), Revoked::path);
        FileError::new(path, format!("cannot be used: {error}"))
    }
}

/// Whether a certificate is an authority's (RFC 5280 4.2.1.9, 4.2.1.3).
fn may_sign_others(certificate: &Certificate) -> Result<bool, String> {
    let tbs = certificate.tbs_certificate();
    let basic = tbs.get_extension::<BasicConstraints>().map_err(|error| error.to_string())?;
    let usage = tbs.get_extension::<KeyUsage>().map_err(|error| error.to_string())?;
    let is_authority = basic.is_some_and(|(_, basic)| basic.ca);
    Ok(is_authority && usage.is_none_or(|(_, usage)| usage.key_cert_sign()))
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
    /// `None`: no authority is trusted.
    by_authority: Option<Arc<WebPkiServerVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl PinnedServer {
    /// Trusts these.
    pub(super) fn new(listed: Listed, provider: Arc<CryptoProvider>) -> Result<Arc<Self>, FileError> {
        let algorithms = provider.signature_verification_algorithms;
        let by_authority = match listed.authorities.is_empty() {
            true => None,
            false => {
                let roots = Arc::new(listed.authorities.clone());
                let mut builder = WebPkiServerVerifier::builder_with_provider(roots, provider);
                if let Some(revoked) = &listed.revoked {
                    builder = builder.with_crls(revoked.ders());
                }
                Some(builder.build().map_err(|error| listed.misfit(error))?)
            }
        };
        Ok(Arc::new(Self { listed, by_authority, algorithms }))
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
            let by_authority = self.by_authority.as_ref();
            return by_authority.ok_or(CertificateError::UnknownIssuer)?.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            );
        }
        self.listed.check(end_entity, now)?;
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks clients.
#[derive(Debug)]
pub(super) struct PinnedClients {
    listed: Listed,
    /// `None`: no authority is trusted.
    by_authority: Option<Arc<dyn ClientCertVerifier>>,
    algorithms: WebPkiSupportedAlgorithms,
    is_required: bool,
}

impl PinnedClients {
    /// Trusts these. `is_required`: whoever shows none gets no connection.
    pub(super) fn new(
        listed: Listed,
        provider: Arc<CryptoProvider>,
        is_required: bool,
    ) -> Result<Arc<Self>, FileError> {
        let algorithms = provider.signature_verification_algorithms;
        let by_authority = match listed.authorities.is_empty() {
            true => None,
            false => {
                let roots = Arc::new(listed.authorities.clone());
                let mut builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
                if let Some(revoked) = &listed.revoked {
                    builder = builder.with_crls(revoked.ders());
                }
                Some(builder.build().map_err(|error| listed.misfit(error))?)
            }
        };
        Ok(Arc::new(Self { listed, by_authority, algorithms, is_required }))
    }

    /// Says so where a list of revoked certificates is past its time.
    pub(super) fn tell_if_old(&self) {
        self.listed.tell_if_old();
    }
}

impl ClientCertVerifier for PinnedClients {
    fn client_auth_mandatory(&self) -> bool {
        self.is_required
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.listed.signers
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if !self.listed.has(end_entity) {
            let by_authority = self.by_authority.as_ref().ok_or(CertificateError::UnknownIssuer)?;
            return by_authority.verify_client_cert(end_entity, intermediates, now);
        }
        self.listed.check(end_entity, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
