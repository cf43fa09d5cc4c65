//! Secrets of every kind, given rightly and wrongly, while everything is logged that can be: none of them comes out.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry::access::{fresh_token, password_entry};
use gantry::config::Config;
use serde_json::json;

use crate::support::certificates::{Authority, Folder, Subject};
use crate::support::issuer::Issuer;
use crate::support::process::{Scratch, Server, bounded, free_port};
use crate::support::signer::Signer;
use crate::support::{DEADLINE, until};

/// What must not come out, with what it is.
#[derive(Default)]
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn keep(&mut self, what: &'static str, secret: impl Into<String>) -> String {
        let secret = secret.into();
        self.0.push((what, secret.clone()));
        secret
    }

    /// The lines of a private key in PEM, but for its first and last.
    fn keep_key(&mut self, pem: &str) {
        for line in pem.lines().filter(|line| !line.starts_with('-') && line.len() > 20) {
            self.keep("private key", line);
        }
    }

    fn assert_absent(&self, place: &str, text: &str) {
        for (what, secret) in &self.0 {
            assert!(!text.contains(secret.as_str()), "{what} in {place}:\n{text}");
        }
    }
}

/// The value of a key in an entry.
fn value(entry: &str, key: &str) -> String {
    let begin = format!("{key} = \"");
    let found = entry.lines().find_map(|line| line.strip_prefix(&begin)?.strip_suffix('"'));
    found.unwrap_or_else(|| panic!("no {key}: {entry}")).to_owned()
}

/// What curl is told, body and headers.
fn curl(secrets: &Secrets, url: &str, options: &[&str]) -> String {
    let output = bounded("/usr/bin/curl")
        .args(["--silent", "--include", "--max-time", "20"])
        .args(options)
        .arg(url)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    secrets.assert_absent(url, &text);
    text
}

/// What `gantry ARGUMENTS` says, which may have failed.
fn gantry(arguments: &[&str], environment: &[(&str, &str)]) -> String {
    let mut command = bounded(env!("CARGO_BIN_EXE_gantry"));
    let output = command.args(arguments).envs(environment.iter().copied()).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_no_secret_comes_out_in_log_metrics_answers_audit_or_configuration() {
    let (folder, mut secrets) = (Folder::new(), Secrets::default());
    let (token, entry) = fresh_token("viewer").unwrap();
    let token = secrets.keep("token", token);
    let entry = entry.replace("\"retrieve\"", "\"retrieve\", \"admin\"");
    secrets.keep("hash of the token", value(&entry, "sha256"));
    let wrong_token = secrets.keep("wrong token", format!("gantry_{}", "x7".repeat(20)));
    folder.write("tokens.toml", &entry);
    let password = secrets.keep("password", "correct-Horse-battery");
    let wrong_password = secrets.keep("wrong password", "incorrect-Horse-stapler");
    let users = password_entry("anna", &password).unwrap();
    secrets.keep("hash of the password", value(&users, "hash"));
    secrets.keep("salt of the password", users.split('$').nth(4).unwrap());
    folder.write("users.toml", &users);
    let basic = [&password, &wrong_password].map(|password| STANDARD.encode(format!("anna:{password}")));
    for encoded in &basic {
        secrets.keep("password in Base64", encoded);
    }
    let signer = Signer::rsa("first");
    let issuer = Issuer::start(&[&signer]).await;
    let good = signer.token(&issuer.claims("gantry", &json!({ "scope": "dicomweb:admin" })));
    let bad = Signer::rsa("first").token(&issuer.claims("gantry", &json!({ "scope": "dicomweb:admin" })));
    for token in [&good, &bad] {
        secrets.keep("token of the issuer", token);
        secrets.keep("signature of a token", token.rsplit('.').next().unwrap());
        secrets.keep("claims of a token", token.split('.').nth(1).unwrap());
    }
    let authority = Authority::new("Test CA");
    let (shown, other) = (authority.issue(&Subject::default()), authority.issue(&Subject::default()));
    secrets.keep_key(&shown.key);
    secrets.keep_key(&other.key);
    let (certificate, key) = folder.issued("server", &shown);

    let (http, dimse, dimse_tls) = (free_port(), free_port(), free_port());
    let path = |name: &str| folder.path(name).display().to_string();
    let configuration = format!(
        "[http]\nlisten = \"127.0.0.1:{http}\"\n[log]\nfilter = \"trace\"\n\
         [dimse]\nlisten = \"127.0.0.1:{dimse}\"\n[dimse.tls]\nlisten = \"127.0.0.1:{dimse_tls}\"\n\
         certificate = \"{}\"\nkey = \"{}\"\n\
         [archive.main]\nae_title = \"PACS\"\naddress = \"127.0.0.1:9\"\n\
         [auth.tokens]\nfile = \"{}\"\n[auth.basic]\nfile = \"{}\"\n\
         [auth.oidc]\nissuer = \"{}\"\naudience = \"gantry\"\n\
         [audit]\nfile = {{ path = \"{}\" }}\nspool = {{ path = \"{}\" }}\n",
        certificate.display(),
        key.display(),
        path("tokens.toml"),
        path("users.toml"),
        issuer.url,
        path("audit.jsonl"),
        path("spool"),
    );
    secrets.assert_absent("Debug of the configuration", &format!("{:?}", Config::parse(&configuration, [])));
    let scratch = Scratch::new("secrets");
    let file = scratch.write("gantry.toml", &configuration);
    let file = file.to_str().unwrap().to_owned();
    secrets.assert_absent("check-config", &gantry(&["check-config", "--config", &file], &[]));
    let mut command = Command::new(env!("CARGO_BIN_EXE_gantry"));
    command.args(["serve", "--config", &file]);
    let server = Server::start("gantry", scratch, command, &[http, dimse, dimse_tls]);

    let url = |path: &str| format!("http://127.0.0.1:{http}{path}");
    let (mut refused, mut admitted) = (0, 0);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for credentials in [
            format!("Authorization: Bearer {token}"),
            format!("Authorization: Bearer {wrong_token}"),
            format!("Authorization: Basic {}", basic[0]),
            format!("Authorization: Basic {}", basic[1]),
            format!("Authorization: Bearer {good}"),
            format!("Authorization: Bearer {bad}"),
            format!("Authorization: Digest {wrong_password}"),
            format!("Authorization: {wrong_token}"),
            format!("Cookie: token={token}"),
            format!("X-Api-Key: {wrong_token}"),
        ] {
            for path in ["/metrics", "/dicom-web/studies", "/nowhere"] {
                let said = curl(&secrets, &url(path), &[version, "-H", &credentials]);
                refused += usize::from(said.lines().next().unwrap_or_default().contains(" 401"));
                admitted += usize::from(said.contains("gantry_"));
            }
        }
        for query in [format!("access_token={token}"), format!("PatientID={wrong_password}")] {
            let header = format!("Authorization: Bearer {token}");
            curl(&secrets, &url(&format!("/dicom-web/studies?{query}")), &[version, "-H", &header]);
            curl(&secrets, &url(&format!("/{query}")), &[version]);
        }
    }
    assert!(refused > 20 && admitted >= 4, "{refused} refused, {admitted} were shown the metrics");

    // Files that change into what cannot be used, with secrets in the wrong place.
    folder.write("tokens.toml", &format!("[viewer]\nsha256 = \"{wrong_token}\"\nallow = []\n[{token}\n"));
    folder.write("users.toml", &format!("[anna]\nhash = \"{password}\"\nallow = [\"{wrong_password}\"]\n"));
    folder.write("server.pem", &shown.key);
    folder.write("server.key", &other.key);
    let authorization = format!("Authorization: Bearer {token}");
    until("all files are looked at", DEADLINE, async || {
        curl(&secrets, &url("/metrics"), &["-H", &authorization]);
        let _ = bounded("/usr/bin/echoscu")
            .args(["+tla", "-ic", "-to", "2", "127.0.0.1", &dimse_tls.to_string()])
            .output();
        let log = server.whole_log();
        ["auth.tokens.file", "auth.basic.file", "TLS"]
            .iter()
            .all(|what| log.contains(&format!("{what}: a changed file cannot be used")))
    })
    .await;
    secrets.assert_absent("the log", &server.whole_log());
    let audit = std::fs::read_to_string(folder.path("audit.jsonl")).unwrap_or_default();
    secrets.assert_absent("the audit trail", &audit);

    // The same at the start, and secrets in the configuration itself.
    secrets.assert_absent("what serve says", &gantry(&["serve", "--config", &file], &[]));
    for wrong in [
        format!("{configuration}\n[ae.X]\nsecret = \"{password}\"\n"),
        format!("{configuration}\n[ae.X]\nsecret = \"{password}\n"),
        configuration.replace(&issuer.url, &format!("https://anna:{password}@issuer.example")),
        configuration.replace("[log]", &format!("public_url = \"https://anna:{password}@a.example\"\n[log]")),
        configuration.replace(&path("tokens.toml"), &path("users.toml")),
        configuration.replace(&path("users.toml"), &path("server.key")),
    ] {
        assert_ne!(wrong, configuration);
        let wrong = folder.write("wrong.toml", &wrong);
        for command in ["check-config", "serve"] {
            let said = gantry(&[command, "--config", wrong.to_str().unwrap()], &[]);
            secrets.assert_absent(command, &said);
            assert!(command == "check-config" || !said.is_empty(), "it says what is wrong");
        }
    }
    folder.write("secret", &password);
    for (variable, value) in [
        ("GANTRY_AUTH__MODE_FILE", path("secret")),
        ("GANTRY_HTTP__LISTEN_FILE", path("secret")),
        ("GANTRY_AUTH__MODE", password.clone()),
    ] {
        let said = gantry(&["check-config", "--config", &file], &[(variable, &value)]);
        assert!(said.contains(variable), "{said}");
        secrets.assert_absent(variable, &said);
    }
    assert!(Path::new(&file).exists());
}
