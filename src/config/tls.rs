//! `tls` within other tables: the files of certificates and keys, at a listener and towards a peer.

use std::path::PathBuf;

use super::section::Section;
use super::{Config, ConfigError};
use crate::net::FileError;
use crate::net::tls::{ClientCertificates, ClientConfig, Identity, ServerConfig};

/// What a file's path looks like.
const PEM: &str = "the path of a PEM file";

/// Whether clients show certificates, as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    None,
    Optional,
    Required,
}

/// What a listener shows; its further keys have been read before. `None`: something necessary is wrong.
pub(super) fn server(section: &mut Section<'_>) -> Option<ServerConfig> {
    let certificate = section.required::<PathBuf>("certificate", PEM);
    let key = section.required::<PathBuf>("key", PEM);
    let words = [("none", Wanted::None), ("optional", Wanted::Optional), ("required", Wanted::Required)];
    let wanted = section.choice("client_certificates", &words).unwrap_or(Wanted::None);
    let ca = section.parsed::<PathBuf>("client_ca", PEM);
    let revoked = section
        .parsed::<PathBuf>("client_revoked", "the path of a PEM file with lists of revoked certificates");
    if revoked.is_some() && wanted == Wanted::None {
        section
            .error("client_revoked", "has no effect: say client_certificates = \"optional\" or \"required\"");
    }
    let clients = match (wanted, ca) {
        (Wanted::None, None) => Some(ClientCertificates::None),
        (Wanted::None, Some(_)) => {
            section
                .error("client_ca", "has no effect: say client_certificates = \"optional\" or \"required\"");
            None
        }
        (_, None) => {
            let text = "missing: give the PEM file of the authorities that sign clients' certificates";
            section.error("client_ca", text);
            None
        }
        (Wanted::Optional, Some(ca)) => Some(ClientCertificates::Optional(ca)),
        (Wanted::Required, Some(ca)) => Some(ClientCertificates::Required(ca)),
    };
    Some(ServerConfig {
        identity: Identity { certificate: certificate?, key: key? },
        clients: clients?,
        revoked,
    })
}

/// How we connect to a peer: an empty table is TLS with defaults, none is none.
pub(super) fn client(section: Option<Section<'_>>) -> Option<ClientConfig> {
    let mut section = section?;
    let ca = section.parsed("ca", PEM);
    let revoked = section.parsed("revoked", "the path of a PEM file with lists of revoked certificates");
    let certificate = section.parsed::<PathBuf>("certificate", PEM);
    let key = section.parsed::<PathBuf>("key", PEM);
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (Some(_), None) => {
            section.error("key", "missing: the certificate needs its private key");
            None
        }
        (None, Some(_)) => {
            section.error("certificate", "missing: the key needs its certificate");
            None
        }
        (None, None) => None,
    };
    let server_name = section.checked("server_name", "a host name or an IP address", |text| {
        ClientConfig::is_server_name(text).then(|| text.to_owned())
    });
    section.finish();
    Some(ClientConfig { ca, revoked, identity, server_name })
}

impl Config {
    /// Reads all certificates and keys that are configured.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub fn check_files(&self) -> Result<(), Vec<ConfigError>> {
        let listeners = [
            ("http.tls".to_owned(), self.http.tls.as_ref()),
            ("dimse.tls".to_owned(), self.dimse.tls.as_ref().map(|tls| &tls.server)),
        ];
        let archives =
            self.archives.iter().map(|one| (format!("archive.{}.tls", one.name), one.tls.as_ref()));
        let clients = self.dimse.front.aes.iter().map(|ae| (format!("ae.{}.tls", ae.title), ae.tls.as_ref()));
        let receiver = self.audit.iter().filter_map(|audit| audit.syslog.as_ref());
        let receiver = receiver.map(|syslog| ("audit.syslog.tls".to_owned(), syslog.tls.as_ref()));
        let wrong = |key: String, error: FileError| ConfigError { key, text: error.to_string() };
        let listeners = listeners.into_iter().filter_map(|(key, tls)| Some(wrong(key, tls?.check().err()?)));
        let peers = archives
            .chain(clients)
            .chain(receiver)
            .filter_map(|(key, tls)| Some(wrong(key, tls?.check().err()?)));
        let errors: Vec<ConfigError> = listeners.chain(peers).collect();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALLEST: &str = "[archive.main]\nae_title = \"PACS\"\naddress = \"pacs:104\"\n";
    const OWN: &str = "certificate = \"c.pem\"\nkey = \"k.pem\"\n";

    fn read(more: &str) -> Result<Config, Vec<String>> {
        let parsed = Config::parse(&format!("{SMALLEST}{more}"), []);
        parsed.map_err(|errors| errors.iter().map(ToString::to_string).collect())
    }

    fn refused(more: &str, expected: &str) {
        let errors = read(more).unwrap_err();
        assert!(errors.iter().any(|error| error.contains(expected)), "{errors:?}");
    }

    fn own() -> Identity {
        Identity { certificate: "c.pem".into(), key: "k.pem".into() }
    }

    #[test]
    fn listeners_have_a_certificate_and_may_want_one() {
        let config = read("").unwrap();
        assert_eq!((config.http.tls, config.dimse.tls), (None, None));
        let config = read(&format!("[http.tls]\n{OWN}")).unwrap();
        let clients = ClientCertificates::None;
        assert_eq!(config.http.tls, Some(ServerConfig { identity: own(), clients, revoked: None }));
        let text = format!(
            "[dimse.tls]\n{OWN}listen = \"0.0.0.0:2762\"\nclient_certificates = \"required\"\nclient_ca = \"ca.pem\"\nclient_revoked = \"crl.pem\"\n"
        );
        let tls = read(&text).unwrap().dimse.tls.unwrap();
        assert_eq!(tls.server.revoked, Some("crl.pem".into()));
        assert_eq!(tls.listen, Some("0.0.0.0:2762".parse().unwrap()));
        assert_eq!(tls.server.clients, ClientCertificates::Required("ca.pem".into()));
        refused("[http.tls]\ncertificate = \"c.pem\"\n", "http.tls.key: missing");
        refused(
            &format!("[http.tls]\n{OWN}client_certificates = \"optional\"\n"),
            "http.tls.client_ca: missing",
        );
        refused(&format!("[dimse.tls]\n{OWN}client_ca = \"ca.pem\"\n"), "dimse.tls.client_ca: has no effect");
        refused(
            &format!("[http.tls]\n{OWN}client_revoked = \"crl.pem\"\n"),
            "http.tls.client_revoked: has no effect",
        );
        refused(&format!("[http.tls]\n{OWN}listen = \"0.0.0.0:443\"\n"), "http.tls.listen: unknown key");
    }

    #[test]
    fn peers_are_spoken_to_by_tls_where_the_table_is_there_even_an_empty_one() {
        let config =
            read("[archive.main.tls]\n[ae.WS1]\naddress = \"ws1:104\"\n[ae.WS1.tls]\nca = \"ws.pem\"\n");
        let config = config.unwrap();
        assert_eq!(config.archives[0].tls, Some(ClientConfig::default()));
        assert_eq!(config.dimse.front.aes[0].tls.as_ref().unwrap().ca, Some("ws.pem".into()));
        let text =
            format!("[archive.main.tls]\n{OWN}server_name = \"pacs.example\"\nrevoked = \"crl.pem\"\n");
        let tls = read(&text).unwrap().archives.remove(0).tls.unwrap();
        assert_eq!((tls.identity, tls.server_name.as_deref()), (Some(own()), Some("pacs.example")));
        assert_eq!(tls.revoked, Some("crl.pem".into()));
        refused("[archive.main.tls]\ncertificate = \"c.pem\"\n", "archive.main.tls.key: missing");
        refused("[archive.main.tls]\nserver_name = \"a b\"\n", "archive.main.tls.server_name");
    }

    #[test]
    fn a_certificate_can_only_be_asked_of_a_title_where_clients_show_one() {
        let ae = "[ae.CT1]\ncertificate_subject = \"CN=CT1\"\n";
        refused(ae, "dimse.tls.client_certificates");
        refused(&format!("{ae}[dimse.tls]\n{OWN}"), "dimse.tls.client_certificates");
        let tls = format!("[dimse.tls]\n{OWN}client_ca = \"ca.pem\"\nclient_certificates = \"optional\"\n");
        let config = read(&format!("{ae}{tls}")).unwrap();
        assert_eq!(config.dimse.front.aes[0].certificate_subject.as_deref(), Some("CN=CT1"));
        refused(&format!("[ae.CT1]\ncertificate_subject = \"\"\n{tls}"), "ae.CT1.certificate_subject");
    }

    #[test]
    fn every_file_that_cannot_be_used_is_named_with_its_key() {
        let config = read(&format!("[http.tls]\n{OWN}[archive.main.tls]\nca = \"nowhere.pem\"\n")).unwrap();
        let errors = config.check_files().unwrap_err();
        let keys: Vec<&str> = errors.iter().map(|error| error.key.as_str()).collect();
        assert_eq!(keys, ["http.tls", "archive.main.tls"]);
        assert!(errors[1].text.contains("nowhere.pem"), "{errors:?}");
        read("").unwrap().check_files().unwrap();
    }
}
