//! Certificates made for a test.

#![allow(dead_code, unreachable_pub)] // The library's own tests use it too, by its path.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_cert::der::Decode;

/// Who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its own certificate, in PEM.
    pub pem: String,
}

/// What a certificate is to say.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Common Name.
    pub name: &'static str,
    /// Organization.
    pub organization: Option<&'static str>,
    /// DNS names and addresses.
    pub hosts: Vec<&'static str>,
    /// A further name.
    pub uri: Option<&'static str>,
    /// First and last year.
    pub years: (i32, i32),
    /// For clients, else for servers.
    pub is_client: bool,
}

impl Default for Subject {
    fn default() -> Self {
        Self {
            name: "somebody",
            organization: None,
            hosts: vec!["localhost", "127.0.0.1"],
            uri: None,
            years: (2020, 2090),
            is_client: false,
        }
    }
}

impl Subject {
    /// A client's.
    pub fn client(name: &'static str) -> Self {
        Self { name, is_client: true, hosts: Vec::new(), ..Self::default() }
    }

    fn params(&self) -> CertificateParams {
        let hosts: Vec<String> = self.hosts.iter().map(|&host| host.to_owned()).collect();
        let mut params = CertificateParams::new(hosts).unwrap();
        params.subject_alt_names.extend(self.uri.map(|uri| SanType::URI(uri.try_into().unwrap())));
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(organization) = self.organization {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        params.distinguished_name.push(DnType::CommonName, self.name);
        params.not_before = rcgen::date_time_ymd(self.years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(self.years.1, 1, 1);
        params.extended_key_usages = vec![match self.is_client {
            true => ExtendedKeyUsagePurpose::ClientAuth,
            false => ExtendedKeyUsagePurpose::ServerAuth,
        }];
        params
    }
}

/// A certificate with its key, in PEM.
pub struct Issued {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub fn issue(&self, subject: &Subject) -> Issued {
        let key = KeyPair::generate().unwrap();
        let certificate = subject.params().signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }
}

impl Authority {
    /// For servers and clients.
    pub fn issue_for_both(&self, subject: &Subject) -> Issued {
        let key = KeyPair::generate().unwrap();
        let mut params = subject.params();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Issued { certificate, key: key.serialize_pem() }
    }
}

impl Authority {
    /// Its list of those that it has taken back, in PEM, to be followed by another one in this year.
    pub fn revoke(&self, revoked: &[&Issued], next_update: i32) -> String {
        let serial = |issued: &&Issued| {
            let der = CertificateDer::from_pem_slice(issued.certificate.as_bytes()).unwrap();
            let parsed = x509_cert::Certificate::from_der(&der).unwrap();
            SerialNumber::from_slice(parsed.tbs_certificate().serial_number().as_bytes())
        };
        let entry = |issued| RevokedCertParams {
            serial_number: serial(issued),
            revocation_time: rcgen::date_time_ymd(2021, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2021, 1, 1),
            next_update: rcgen::date_time_ymd(next_update, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// A certificate that has signed itself, and is marked as an authority's: what `openssl req -x509` makes.
pub fn self_signed(subject: &Subject) -> Issued {
    let key = KeyPair::generate().unwrap();
    let mut params = subject.params();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.extended_key_usages = Vec::new();
    Issued { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// A certificate that has signed itself and is no authority's: what careful devices make.
pub fn self_signed_device(subject: &Subject) -> Issued {
    let key = KeyPair::generate().unwrap();
    let params = subject.params();
    Issued { certificate: params.self_signed(&key).unwrap().pem(), key: key.serialize_pem() }
}

/// A certificate that the holder of `device`, whose certificate said `own`, signs for somebody else.
pub fn signed_by_a_device(own: &Subject, device: &Issued, subject: &Subject) -> Issued {
    let issuer = Issuer::new(own.params(), KeyPair::from_pem(&device.key).unwrap());
    let key = KeyPair::generate().unwrap();
    let certificate = subject.params().signed_by(&key, &issuer).unwrap().pem();
    Issued { certificate, key: key.serialize_pem() }
}

/// A directory of PEM files.
pub struct Folder(pub tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file under another name and renames it, as those do who care for readers.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, &path).unwrap();
        path
    }

    /// Writes `NAME.pem` and `NAME.key`.
    pub fn issued(&self, name: &str, issued: &Issued) -> (PathBuf, PathBuf) {
        let certificate = self.write(&format!("{name}.pem"), &issued.certificate);
        (certificate, self.write(&format!("{name}.key"), &issued.key))
    }

    pub fn dir(&self) -> &Path {
        self.0.path()
    }
}
