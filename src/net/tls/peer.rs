//! The certificate that a peer has shown, and that was found to be good.

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ring::digest::{SHA256, digest};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::standing::{Lapsed, Standing};

/// What a fingerprint begins with in place of a name.
const SHA_256: &str = "sha256:";

/// A peer's certificate: valid when it was shown, signed by an authority that is trusted for it, its private key in the peer's hands.
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
    /// Until when it holds (RFC 5280 4.1.2.5), since 1970: a connection may stay longer.
    pub not_after: Duration,
    /// What has become of it since.
    pub standing: Standing,
}

impl PeerCertificate {
    /// What a certificate in DER says of its holder. What cannot be read of it names nobody.
    pub(super) fn of(der: &[u8]) -> Self {
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(digest(&SHA256, der).as_ref());
        let nobody = Self {
            subject: String::new(),
            common_name: None,
            names: Vec::new(),
            fingerprint,
            not_after: Duration::ZERO,
            standing: Standing::default(),
        };
        let Ok(certificate) = Certificate::from_der(der) else { return nobody };
        let tbs = certificate.tbs_certificate();
        let not_after = tbs.validity().not_after.to_unix_duration();
        let subject = tbs.subject();
        let common_name = subject.common_name().ok().flatten().map(|name| name.value().into_owned());
        let alternative = tbs.get_extension::<SubjectAltName>().ok().flatten();
        let names = alternative.iter().flat_map(|(_, names)| &names.0).filter_map(|name| match name {
            GeneralName::DnsName(name)
            | GeneralName::Rfc822Name(name)
            | GeneralName::UniformResourceIdentifier(name) => Some(name.as_str().to_owned()),
            _ => None,
        });
        Self { subject: subject.to_string(), common_name, names: names.collect(), not_after, ..nobody }
    }

    /// Whether this names the certificate's holder: what has a `=` its subject, `sha256:` and hexadecimal digits its
    /// fingerprint, anything else its Common Name or one of its alternative names.
    pub fn is_named(&self, name: &str) -> bool {
        if name.contains('=') || name.starts_with(SHA_256) {
            return self.is_exactly(name);
        }
        let names = self.names.iter().map(String::as_str).chain(self.common_name.as_deref());
        !name.is_empty() && names.into_iter().any(|one| one == name)
    }

    /// The same for what can be one certificate's only: its whole subject, or its fingerprint.
    pub fn is_exactly(&self, name: &str) -> bool {
        match name.strip_prefix(SHA_256) {
            Some(digits) => fingerprint(digits) == Some(self.fingerprint),
            None => !name.is_empty() && self.subject == name,
        }
    }

    /// Whether it is as good as when it was shown. Asked before each thing that is done on its strength: a connection may
    /// stay open for days. A look costs little; the files behind it are looked at as for a handshake.
    ///
    /// # Errors
    /// It is not, and a handshake with it would fail now.
    pub async fn check(&self) -> Result<(), Lapsed> {
        if self.has_expired() { Err(Lapsed::Expired) } else { self.standing.check().await }
    }

    fn has_expired(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        // Within its last second it still holds, as in the handshake.
        now.as_secs() > self.not_after.as_secs()
    }

    /// Whether a name can be one certificate's only: a subject, which has a `=`, or a fingerprint.
    pub fn can_be_exactly(name: &str) -> bool {
        Self::can_be_named(name) && (name.contains('=') || name.starts_with(SHA_256))
    }

    /// Whether a name can be a certificate's: it is not empty, and what begins as a fingerprint is one.
    pub fn can_be_named(name: &str) -> bool {
        name.strip_prefix(SHA_256).map_or(!name.is_empty(), |digits| fingerprint(digits).is_some())
    }
}

/// A host that a certificate in DER is for: one of its alternative names that is a DNS name or an IP address.
pub(super) fn host_in(der: &[u8]) -> Option<String> {
    let certificate = Certificate::from_der(der).ok()?;
    let (_, names) = certificate.tbs_certificate().get_extension::<SubjectAltName>().ok()??;
    names.0.iter().find_map(|name| match name {
        // A wildcard stands for any one label.
        GeneralName::DnsName(name) => Some(name.as_str().replacen('*', "any", 1)),
        GeneralName::IpAddress(octets) => {
            let four = <[u8; 4]>::try_from(octets.as_bytes()).map(IpAddr::from);
            let sixteen = || <[u8; 16]>::try_from(octets.as_bytes()).map(IpAddr::from);
            four.or_else(|_| sixteen()).ok().map(|address| address.to_string())
        }
        _ => None,
    })
}

/// SHA-256 in hexadecimal, with or without colons between the bytes.
fn fingerprint(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> = match text.contains(':') {
        true if text.split(':').all(|byte| byte.len() == 2) => text.bytes().filter(|c| *c != b':').collect(),
        true => return None,
        false => text.bytes().collect(),
    };
    let mut found = [0; 32];
    if digits.len() != 2 * found.len() {
        return None;
    }
    let nibble = |byte: u8| char::from(byte).to_digit(16);
    for (byte, pair) in found.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = u8::try_from(nibble(pair[0])? << 4 | nibble(pair[1])?).ok()?;
    }
    Some(found)
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
            fingerprint: [0xab; 32],
            not_after: Duration::from_secs(u64::MAX),
            standing: Standing::default(),
        };
        for name in ["CN=CT1,O=Hospital", "CT1", "ct1.example", "urn:ct1"] {
            assert!(certificate.is_named(name), "{name}");
        }
        for name in ["", "CN=CT1", "O=Hospital", "ct1", "ct1.example.", "CN=CT1,O=Hospital,C=DE"] {
            assert!(!certificate.is_named(name), "{name}");
        }
        let (plain, colons) = ("ab".repeat(32), ["AB"; 32].join(":"));
        for name in [format!("sha256:{plain}"), format!("sha256:{colons}")] {
            assert!(certificate.is_named(&name) && PeerCertificate::can_be_named(&name), "{name}");
        }
        for name in ["sha256:", "sha256:abab", "sha256:ab:ab", &format!("sha256:{}", ["aba"; 32].join(":"))] {
            assert!(!certificate.is_named(name) && !PeerCertificate::can_be_named(name), "{name}");
        }
        assert!(!certificate.is_named(&format!("sha256:{}", "ac".repeat(32))));
        let nameless =
            PeerCertificate { subject: String::new(), common_name: None, names: vec![], ..certificate };
        assert!(PeerCertificate::can_be_exactly("CN=CT1") && !PeerCertificate::can_be_exactly("CT1"));
        assert!(!nameless.is_named("") && !nameless.is_exactly("") && !PeerCertificate::can_be_named(""));
    }

    #[test]
    fn attack_a_name_among_others_is_no_subject() {
        let certificate = PeerCertificate {
            subject: "CN=CT2,O=Hospital".into(),
            common_name: Some("CN=CT1,O=Hospital".into()),
            names: vec!["CN=CT1,O=Hospital".into()],
            fingerprint: [0; 32],
            not_after: Duration::ZERO,
            standing: Standing::default(),
        };
        assert!(!certificate.is_named("CN=CT1,O=Hospital"), "an authority that checks hosts only signs that");
        assert!(certificate.has_expired());
    }
}
