//! The certificate that a peer has shown, and that was found to be good.

use ring::digest::{SHA256, digest};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// A peer's certificate: valid now, signed by an authority that is trusted for it, its private key in the peer's hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The subject's distinguished name, as RFC 4514 writes it: `CN=CT1,O=Hospital,C=DE`. Empty where the certificate has
    /// none, as those of some authorities that only name hosts.
    pub subject: String,
    /// The first Common Name of the subject.
    pub common_name: Option<String>,
    /// The Subject Alternative Names (RFC 5280 4.2.1.6): DNS names, URIs and e-mail addresses, in the certificate's order.
    pub names: Vec<String>,
    /// SHA-256 of the certificate in DER.
    pub fingerprint: [u8; 32],
}

impl PeerCertificate {
    /// What a certificate in DER says of its holder. What cannot be read of it names nobody.
    pub(super) fn of(der: &[u8]) -> Self {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, der).as_ref());
        let nobody = Self { subject: String::new(), common_name: None, names: Vec::new(), fingerprint };
        let Ok(certificate) = Certificate::from_der(der) else { return nobody };
        let tbs = certificate.tbs_certificate();
        let subject = tbs.subject();
        let common_name = subject.common_name().ok().flatten().map(|name| name.value().into_owned());
        let alternative = tbs.get_extension::<SubjectAltName>().ok().flatten();
        let names = alternative.iter().flat_map(|(_, names)| &names.0).filter_map(|name| match name {
            GeneralName::DnsName(name)
            | GeneralName::Rfc822Name(name)
            | GeneralName::UniformResourceIdentifier(name) => Some(name.as_str().to_owned()),
            _ => None,
        });
        Self { subject: subject.to_string(), common_name, names: names.collect(), ..nobody }
    }

    /// Whether this names the certificate's holder: its subject, its Common Name, or one of its alternative names.
    pub fn is_named(&self, name: &str) -> bool {
        !name.is_empty()
            && (self.subject == name
                || self.common_name.as_deref() == Some(name)
                || self.names.iter().any(|one| one == name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_answers_to_its_subject_its_common_name_and_its_alternative_names() {
        let certificate = PeerCertificate {
            subject: "CN=CT1,O=Hospital".into(),
            common_name: Some("CT1".into()),
            names: vec!["ct1.example".into(), "urn:ct1".into()],
            fingerprint: [0; 32],
        };
        for name in ["CN=CT1,O=Hospital", "CT1", "ct1.example", "urn:ct1"] {
            assert!(certificate.is_named(name), "{name}");
        }
        for name in ["", "CN=CT1", "O=Hospital", "ct1", "ct1.example.", "CN=CT1,O=Hospital,C=DE"] {
            assert!(!certificate.is_named(name), "{name}");
        }
        let nameless =
            PeerCertificate { subject: String::new(), common_name: None, names: vec![], ..certificate };
        assert!(!nameless.is_named(""));
    }
}
