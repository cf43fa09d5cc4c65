//! Files as people write them, right and wrong.

use super::*;
use crate::access::config::{Algorithm, OidcConfig};
use crate::archive::dimse::config::{Endpoint, ForeignUids, Method, Model, StoreFrom, Timeouts};
use crate::dicom::AeTitle;
use crate::dicom::charset::QueryCharset;
use crate::front::dimse::config::Moves;
use crate::front::http::LimitsConfig;

const SMALLEST: &str = "[archive.main]\nae_title = \"PACS\"\naddress = \"pacs.example:104\"\n";

fn parse(text: &str) -> Result<Config, Vec<String>> {
    with(text, &[])
}

fn with(text: &str, environment: &[(&str, &str)]) -> Result<Config, Vec<String>> {
    let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::parse(text, environment).map_err(|errors| errors.iter().map(ConfigError::to_string).collect())
}

/// The error about `key`, of which there must be one.
fn error(text: &str, key: &str) -> String {
    let errors = parse(text).unwrap_err();
    let prefix = format!("{key}: ");
    errors.iter().find(|error| error.starts_with(&prefix)).unwrap_or_else(|| panic!("{errors:?}")).clone()
}

#[test]
fn the_smallest_file_has_every_default() {
    let config = parse(SMALLEST).unwrap();
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.http.front, HttpConfig::default());
    assert_eq!(config.dimse.listen.to_string(), "127.0.0.1:11112");
    assert_eq!(config.dimse.ae_title.as_str(), "GANTRY");
    assert_eq!(config.dimse.move_ae_titles, std::slice::from_ref(&config.dimse.ae_title));
    assert_eq!(config.default_archive, None);
    let archive = &config.archives[0];
    assert_eq!((archive.name.as_str(), archive.ae_title.as_str()), ("main", "PACS"));
    assert_eq!((archive.calling.as_str(), archive.max_associations), ("GANTRY", 4));
    assert_eq!(archive.timeouts, Timeouts::default());
}

#[test]
fn every_key_of_a_full_file_arrives() {
    let config = parse(
        r#"
        default_archive = "b"
        [http]
        listen = "0.0.0.0:80"
        base_path = "/pacs/rs/"
        public_url = "https://pacs.example/x/"
        trusted_proxies = ["10.0.0.0/8"]
        hosts = ["pacs.example"]
        max_connections = 7
        max_connections_per_address = 6
        header_timeout = "1s"
        write_timeout = "2s"
        drain_timeout = "3s"
        read_timeout = "4s"
        inline_bulk_data = "4KiB"
        cors_origins = ["https://viewer.example", "http://localhost:3000"]
        anonymize_secret = "sixteen or more characters"
        [http.limits]
        max_head = "16KiB"
        max_body = "5GiB"
        max_part = "1GiB"
        max_query = "2KiB"
        max_results = 6
        max_frames = 7
        max_requests = 8
        max_requests_per_client = 9
        rate = 10
        [auth]
        mode = "none"
        [dimse]
        listen = "0.0.0.0:104"
        ae_title = "BRIDGE"
        move_ae_titles = ["ONE", "TWO"]
        [log]
        filter = "debug"
        format = "json"
        [archive.a]
        ae_title = "A"
        address = "[::1]:104"
        [archive.b]
        protocol = "dimse"
        ae_title = "B"
        address = "10.0.0.1:11112"
        calling = "own"
        model = "patient"
        retrieve = "move"
        max_associations = 2
        store_from = [{ ae_title = "C", network = "10.0.1.0/24" }, { network = "10.0.2.1" }]
        foreign_uids = "if-correlated"
        query_charset = "ISO_IR 192"
        assume_charset = "ISO_IR 100"
        timeouts = { connect = "1s", association = "2s", silence = "3s", operation = "4m", idle = "5ms" }
        [archive.b.endpoint.query]
        ae_title = "Q"
        address = "q:104"
        [archive.b.endpoint.retrieve]
        ae_title = "R"
        address = "r:104"
        "#,
    )
    .unwrap();
    let seconds = Duration::from_secs;
    assert_eq!(config.default_archive.as_deref(), Some("b"));
    assert_eq!(config.http.front.base_path, "/pacs/rs");
    assert_eq!(config.http.front.public_url.as_deref(), Some("https://pacs.example/x"));
    assert_eq!(config.http.front.trusted_proxies.len(), 1);
    assert_eq!(config.http.front.hosts, ["pacs.example".parse().unwrap()]);
    let settings = HttpSettings {
        max_connections: 7,
        max_connections_per_address: 6,
        proxies: config.http.front.trusted_proxies.clone(),
        max_head: 16 << 10,
        head_timeout: seconds(1),
        write_timeout: seconds(2),
        drain_timeout: seconds(3),
    };
    assert_eq!((config.http.settings.clone(), config.http.front.write_timeout), (settings, seconds(2)));
    assert_eq!((config.http.front.read_timeout, config.http.front.inline_limit), (seconds(4), 4096));
    assert_eq!(config.http.front.cors_origins.len(), 2);
    assert_eq!(config.http.front.anonymize_key, Some(Key::from_secret(b"sixteen or more characters")));
    let limits = LimitsConfig {
        max_body: 5 << 30,
        max_part: 1 << 30,
        max_query: 2048,
        max_results: 6,
        max_frames: 7,
        max_requests: 8,
        max_requests_per_client: 9,
        rate: Some(10),
    };
    assert_eq!(config.http.front.limits, limits);
    assert_eq!(config.dimse.move_ae_titles.len(), 2);
    assert_eq!(config.log, LogConfig { filter: "debug".to_owned(), json: true });
    let b = &config.archives[1];
    let endpoint = |title: &str, address: &str| {
        Some(Endpoint { ae_title: title.parse().unwrap(), address: address.to_owned() })
    };
    assert_eq!(b.calling.as_str(), "BRIDGE");
    assert_eq!((b.model, b.retrieve, b.max_associations), (Model::Patient, Method::Move, 2));
    assert_eq!(b.store_from[0].ae_title.as_ref().unwrap().as_str(), "C");
    assert_eq!(b.store_from[1], StoreFrom { ae_title: None, network: Some("10.0.2.1".parse().unwrap()) });
    assert_eq!(b.foreign_uids, ForeignUids::IfCorrelated);
    assert_eq!(b.query_charset, QueryCharset::Forced("ISO_IR 192".parse().unwrap()));
    assert_eq!((b.query.clone(), b.retrieve_from.clone()), (endpoint("Q", "q:104"), endpoint("R", "r:104")));
    assert_eq!((b.timeouts.operation, b.timeouts.idle), (seconds(240), Duration::from_millis(5)));
}

#[test]
fn all_errors_are_told_at_once() {
    let errors = parse(
        "[http]\nlisten = \"here\"\nport = 1\n[dimse]\nae_title = \"SEVENTEEN_LETTERS\"\n\
         [archive.main]\nmax_associations = 0\n[nonsense]\n",
    )
    .unwrap_err();
    for key in [
        "http.listen",
        "http.port",
        "dimse.ae_title",
        "archive.main.ae_title",
        "archive.main.address",
        "archive.main.max_associations",
        "nonsense",
    ] {
        assert!(errors.iter().any(|error| error.starts_with(&format!("{key}: "))), "{key} in {errors:?}");
    }
}

#[test]
fn an_error_says_what_to_write() {
    for (text, key, says) in [
        ("", "archive", "[archive.main]"),
        ("[http]\nport = 1", "http.port", "known here are: listen"),
        ("[http]\nbase_path = \"/\"", "http.base_path", "/dicom-web"),
        ("[http]\nbase_path = \"/health/x\"", "http.base_path", "/dicom-web"),
        ("[http]\nwrite_timeout = 5", "http.write_timeout", "\"5s\""),
        ("[http]\nmax_connections = \"5\"", "http.max_connections", "number"),
        ("[http.limits]\nmax_frames = 5000", "http.limits.max_frames", "4096"),
        ("[http.limits]\nmax_head = \"1KiB\"", "http.limits.max_head", "8192"),
        ("[http]\npublic_url = \"pacs.example\"", "http.public_url", "https://"),
        ("[archive.main]\nae_title = \"A\"", "archive.main.address", "host and port"),
        ("[archive.main]\naddress = \"pacs\"", "archive.main.address", "host and port"),
        ("[archive.main]\naddress = \"::1:104\"", "archive.main.address", "host and port"),
        ("[archive.main]\nmodel = \"both\"", "archive.main.model", "\"study\""),
        ("[archive.main]\nquery_charset = \"klingon\"", "archive.main.query_charset", "ISO_IR 192"),
        ("[log]\nfilter = \"gantry=loud\"", "log.filter", "\"info\""),
        ("[archive.main]\nstore_from = [{}]", "archive.main.store_from[0]", "network"),
        ("[archive.main]\ntimeouts = 5", "archive.main.timeouts", "table"),
        ("[archive.main.endpoint.query]\nae_title = \"A\"", "archive.main.endpoint.query.address", "host"),
        ("[archive.\"a b\"]", "archive.a b", "letters"),
        ("default_archive = \"x\"", "default_archive", "no valid archive"),
        ("[archive.main]\ncalling = \"me\"", "archive.main.calling", "\"client\""),
        ("[archive.main]\ncalled_as = \"X\"", "archive.main.called_as", "AE titles"),
        ("[archive.main.endpoint.mpps]\nae_title = \"A\"", "archive.main.endpoint.mpps.address", "host"),
        ("[dimse]\naccept = \"all\"", "dimse.accept", "\"known\""),
        ("[dimse]\nmax_associations = 0", "dimse.max_associations", "4096"),
        ("[dimse]\nstorage_classes = [\"x\"]", "dimse.storage_classes", "UIDs"),
        ("[dimse]\ntimeouts = { artim = 5 }", "dimse.timeouts.artim", "\"5s\""),
        ("[ae.SEVENTEEN_LETTERS]", "ae.SEVENTEEN_LETTERS", "16"),
        ("[ae.A]\naddress = \"here\"", "ae.A.address", "host and port"),
        ("[ae.A]\nallow_from = [\"here\"]", "ae.A.allow_from", "networks"),
        ("[ae.A]\nmove = \"proxy\"", "ae.A.move", "\"direct\""),
        ("[ae.A]\nallow = [\"fly\"]", "ae.A.allow", "normalized"),
        ("[ae.A]\narchives = [\"x\"]", "ae.A.archives", "\"x\""),
    ] {
        let error = error(text, key);
        assert!(error.contains(says), "{error}");
    }
    assert!(parse("not toml").unwrap_err()[0].starts_with("not TOML: "));
}

#[test]
fn keys_of_later_versions_are_refused() {
    let (text, key) = ("[archive.main]\nprotocol = \"dicomweb\"", "archive.main.protocol");
    assert!(error(text, key).contains("later version"), "{key}");
}

#[test]
fn dimse_clients_have_their_keys() {
    let text = format!(
        "{SMALLEST}calling = \"client\"\ncalled_as = [\"PACS1\", \"PACS2\"]\nmax_associations = 5\n\
         [archive.main.endpoint.worklist]\nae_title = \"RIS\"\naddress = \"ris:104\"\n\
         [archive.main.endpoint.mpps]\nae_title = \"RIS\"\naddress = \"ris:105\"\n\
         [archive.main.endpoint.commit]\nae_title = \"COMMIT\"\naddress = \"ris:106\"\n\
         [dimse]\naccept = \"any\"\nmax_associations = 50\nmax_associations_per_ae = 4\n\
         transfer_syntaxes = [\"1.2.840.10008.1.2.4.70\"]\nstorage_classes = [\"1.3.6.1.4.1.1\"]\n\
         timeouts = {{ artim = \"1s\", negotiation = \"2s\", idle = \"3s\", read = \"4s\", write = \"5s\" }}\n\
         [ae.CT1]\naddress = \"ct1:104\"\nallow_from = [\"10.0.0.0/8\"]\nmove = \"direct\"\nmax_associations = 7\n\
         [ae.\"WS 1\"]\n"
    );
    let config = parse(&text).unwrap();
    let (front, archive) = (&config.dimse.front, &config.archives[0]);
    assert!(archive.calling_client && front.accept_any);
    assert_eq!((front.max_associations, front.max_associations_per_ae, front.max_returns), (50, 4, 64 + 5));
    assert_eq!((front.transfer_syntaxes.len(), front.storage_classes.len()), (1, 1));
    let timeouts = &front.timeouts;
    let all = [timeouts.artim, timeouts.negotiation, timeouts.idle, timeouts.read, timeouts.write];
    assert_eq!(all, [1, 2, 3, 4, 5].map(Duration::from_secs));
    let title = |text: &str| text.parse::<AeTitle>().unwrap();
    let titles: Vec<_> = front.titles.iter().map(AeTitle::to_string).collect();
    assert_eq!(titles, ["GANTRY", "PACS1", "PACS2"]);
    let archives: Vec<_> = front.archives.keys().map(AeTitle::to_string).collect();
    assert_eq!(archives, ["COMMIT", "PACS", "RIS"]);
    assert!(front.archives.values().all(|whence| whence.addresses.contains(&archive.address)));
    let ct = front.ae(&title("CT1")).unwrap();
    assert_eq!((ct.address.as_deref(), ct.max_associations), (Some("ct1:104"), Some(7)));
    assert_eq!((ct.allow_from.len(), ct.moves), (1, Moves::Direct));
    let workstation = front.ae(&title("WS 1")).unwrap();
    assert_eq!((workstation.address.as_deref(), workstation.moves), (None, Moves::Relay));
    assert_eq!(config.notes, []);
    let default = parse(SMALLEST).unwrap().dimse.front;
    assert!(!default.accept_any && default.aes.is_empty());
    assert_eq!((default.max_associations, default.max_associations_per_ae), (64, 3));
}

#[test]
fn titles_that_would_be_ambiguous_are_refused() {
    let two = format!(
        "default_archive = \"main\"\n{SMALLEST}called_as = [\"X\"]\n{}called_as = [\"GANTRY\", \"X\"]\n",
        SMALLEST.replace("main", "other")
    );
    let errors = parse(&two).unwrap_err();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.iter().all(|error| error.starts_with("archive.other.called_as: ")), "{errors:?}");
    assert!(error(&format!("{SMALLEST}[ae.\"A \"]\n[ae.A]"), "ae.A ").contains("twice"));
}

#[test]
fn several_archives_need_a_default() {
    let two = format!("{SMALLEST}{}", SMALLEST.replace("main", "other"));
    assert!(error(&two, "default_archive").contains("main, other"));
    assert!(parse(&format!("default_archive = \"main\"\n{two}")).is_ok());
}

#[test]
fn the_environment_goes_before_the_file_and_is_named_in_errors() {
    let config = with(
        &SMALLEST.replace("main", "Main"),
        &[
            ("GANTRY_HTTP__LISTEN", "127.0.0.1:9"),
            ("GANTRY_HTTP__MAX_CONNECTIONS", "9"),
            ("GANTRY_HTTP__TRUSTED_PROXIES", "10.0.0.1, 10.0.0.2"),
            ("GANTRY_AUTH__MODE", "none"),
            ("GANTRY_ARCHIVE__MAIN__ADDRESS", "other:105"),
            ("GANTRY_DEFAULT_ARCHIVE", "Main"),
            ("GANTRY_PORT", "tcp://10.0.0.1:80"),
            ("PATH", "/bin"),
        ],
    )
    .unwrap();
    assert_eq!((config.http.listen.port(), config.http.settings.max_connections), (9, 9));
    assert_eq!(config.http.front.trusted_proxies.len(), 2);
    assert_eq!((config.archives.len(), config.archives[0].address.as_str()), (1, "other:105"));

    let errors = with(SMALLEST, &[("GANTRY_HTTP__LISTEN", "x"), ("GANTRY_HTTP__PROT", "y")]).unwrap_err();
    assert!(errors.iter().any(|e| e.starts_with("http.listen (GANTRY_HTTP__LISTEN): ")), "{errors:?}");
    assert!(errors.iter().any(|e| e.starts_with("http.prot (GANTRY_HTTP__PROT): ")), "{errors:?}");
}

#[test]
fn the_environment_alone_is_enough() {
    let config = with(
        "",
        &[("GANTRY_ARCHIVE__MAIN__ADDRESS", "pacs:104"), ("GANTRY_ARCHIVE__MAIN__AE_TITLE", "PACS")],
    );
    assert_eq!(config.unwrap().archives[0].name, "main");
}

#[test]
fn a_value_can_come_from_a_mounted_file() {
    let path = std::env::temp_dir().join(format!("gantry-config-{}", std::process::id()));
    std::fs::write(&path, "SECRET\n").unwrap();
    let name = path.to_str().unwrap();
    let config = with(SMALLEST, &[("GANTRY_ARCHIVE__MAIN__AE_TITLE_FILE", name)]).unwrap();
    assert_eq!(config.archives[0].ae_title.as_str(), "SECRET");
    std::fs::remove_file(&path).unwrap();
    let errors = with(SMALLEST, &[("GANTRY_ARCHIVE__MAIN__AE_TITLE_FILE", name)]).unwrap_err();
    assert!(errors[0].starts_with("GANTRY_ARCHIVE__MAIN__AE_TITLE_FILE: cannot read"), "{errors:?}");
}

#[test]
fn the_cache_has_its_keys_and_their_bounds() {
    let text = format!(
        "{SMALLEST}[cache]\nmemory = \"1GiB\"\ndisk = {{ path = \"/var/cache/gantry\", size = \"1TiB\" }}\n\
         ttl = \"1h\"\nrevalidate = \"1m\"\nretrieve_ahead = \"finish\"\nsearches = \"10s\"\n"
    );
    let disk = Disk { path: "/var/cache/gantry".into(), size: 1 << 40 };
    let expected = CacheConfig {
        memory: 1 << 30,
        disk: Some(disk),
        ttl: Duration::from_secs(3600),
        revalidate: Duration::from_secs(60),
        retrieve_ahead: RetrieveAhead::Finish,
        searches: Some(Duration::from_secs(10)),
    };
    assert_eq!(parse(&text).unwrap().cache, expected);
    assert_eq!(parse(SMALLEST).unwrap().cache, CacheConfig::default());
    for bad in ["memory = \"1MB\"", "disk = { size = \"1GiB\" }", "retrieve_ahead = \"all\"", "ttl = \"0s\""]
    {
        let errors = parse(&format!("{SMALLEST}[cache]\n{bad}\n")).unwrap_err();
        assert_eq!(errors.len(), 1, "{bad}: {errors:?}");
    }
}

#[test]
fn the_console_is_there_unless_it_is_taken_away() {
    let console = |text: &str| parse(&format!("{SMALLEST}{text}")).unwrap().http.front.console;
    assert!(console("") && console("[console]\n") && !console("[console]\nenabled = false\n"));
    assert_eq!(parse(&format!("{SMALLEST}[console]\nenabled = \"no\"\n")).unwrap_err().len(), 1);
}

#[test]
fn the_documentation_has_every_key_and_a_valid_example() {
    let text = include_str!("../../docs/configuration.md");
    for key in [
        "default_archive",
        "enabled",
        "listen",
        "base_path",
        "public_url",
        "trusted_proxies",
        "hosts",
        "max_connections",
        "max_connections_per_address",
        "header_timeout",
        "write_timeout",
        "read_timeout",
        "inline_bulk_data",
        "cors_origins",
        "drain_timeout",
        "ae_title",
        "move_ae_titles",
        "mode",
        "file",
        "issuer",
        "audience",
        "algorithms",
        "clock_skew",
        "name_claim",
        "scope_claim",
        "roles_claim",
        "patient_claim",
        "keys_lifetime",
        "ca",
        "filter",
        "format",
        "protocol",
        "address",
        "calling",
        "called",
        "sop_class",
        "modality",
        "archive",
        "model",
        "retrieve",
        "max_associations",
        "max_associations_per_ae",
        "accept",
        "transfer_syntaxes",
        "storage_classes",
        "artim",
        "negotiation",
        "read",
        "write",
        "called_as",
        "allow_from",
        "move",
        "store_from",
        "foreign_uids",
        "query_charset",
        "assume_charset",
        "connect",
        "association",
        "silence",
        "operation",
        "idle",
        "memory",
        "ttl",
        "revalidate",
        "retrieve_ahead",
        "searches",
        "wait",
        "retry_for",
        "retry_after",
        "path",
        "size",
        "certificate",
        "key",
        "client_certificates",
        "client_ca",
        "ca",
        "server_name",
        "certificate_subject",
        "source",
        "site",
        "patient_names",
        "instances",
        "stdout",
        "keep",
        "facility",
        "transport",
    ] {
        let listed = text.contains(&format!("| `{key}` |")) || text.contains(&format!("| `{key}`, "));
        assert!(listed, "{key}");
    }
    let examples = text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    // Those that are whole files.
    for example in examples.filter(|example| example.contains("[archive.")) {
        parse(example).unwrap_or_else(|errors| panic!("{example}: {errors:?}"));
    }
}

#[test]
fn nobody_is_let_in_from_elsewhere_without_a_word() {
    let far = format!("[http]\nlisten = \"0.0.0.0:8080\"\n{SMALLEST}");
    let errors = parse(&far).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("http.listen: ") && errors[0].contains("mode = \"none\""), "{errors:?}");
    for said in [
        "mode = \"none\"\n",
        "[auth.tokens]\nfile = \"/x\"\n",
        "mode = \"required\"\n[auth.basic]\nfile = \"/x\"\n",
    ] {
        assert!(parse(&format!("{far}[auth]\n{said}")).is_ok(), "{said}");
    }
    for near in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1", "127.8.8.8:1"] {
        let config = parse(&format!("[http]\nlisten = \"{near}\"\n{SMALLEST}")).unwrap();
        assert!(!config.auth.is_required(), "{near}");
    }
    for (key, value) in [("trusted_proxies", "[\"127.0.0.1\"]"), ("public_url", "\"https://pacs.example\"")] {
        let near = format!("[http]\n{key} = {value}\n{SMALLEST}");
        let errors = parse(&near).unwrap_err();
        assert!(errors[0].starts_with(&format!("http.{key}: ")) && errors.len() == 1, "{errors:?}");
        assert!(parse(&format!("{near}[auth]\nmode = \"none\"\n")).is_ok(), "{key}");
    }
    for url in ["http://localhost:8080", "http://127.0.0.1:80/b", "https://[::1]"] {
        assert!(parse(&format!("[http]\npublic_url = \"{url}\"\n{SMALLEST}")).is_ok(), "{url}");
    }
    for (said, key) in [
        ("mode = \"required\"\n", "auth.mode"),
        ("mode = \"none\"\n[auth.tokens]\nfile = \"/x\"\n", "auth.mode"),
        ("mode = \"off\"\n", "auth.mode"),
    ] {
        let errors = parse(&format!("{SMALLEST}[auth]\n{said}")).unwrap_err();
        assert!(errors.iter().all(|error| error.starts_with(key)), "{said}: {errors:?}");
    }
}

#[test]
fn every_key_of_access_arrives() {
    let text = r#"
        [auth.tokens]
        file = "/etc/tokens.toml"
        [auth.basic]
        file = "/etc/users.toml"
        [auth.oidc]
        issuer = "https://issuer.example/realm"
        audience = "gantry"
        algorithms = ["ES256"]
        clock_skew = "5s"
        name_claim = "email"
        scope_claim = "scopes"
        roles_claim = "realm_access.roles"
        patient_claim = "pid"
        keys_lifetime = "1h"
        ca = "/etc/ca.pem"
        [auth.scopes]
        "radiology read" = ["search", "retrieve:main"]
        [auth.certificates]
        "CN=viewer,O=x" = ["store:*"]
        [http.tls]
        certificate = "/etc/own.pem"
        key = "/etc/own.key"
        client_certificates = "optional"
        client_ca = "/etc/clients.pem"
    "#;
    let auth = parse(&format!("{SMALLEST}{text}")).unwrap().auth;
    let grants = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<_>>();
    let expected = AuthConfig {
        oidc: Some(OidcConfig {
            algorithms: vec![Algorithm::Es256],
            clock_skew: Duration::from_secs(5),
            name_claim: "email".into(),
            scope_claim: Some("scopes".into()),
            roles_claim: Some("realm_access.roles".into()),
            patient_claim: "pid".into(),
            keys_lifetime: Duration::from_secs(3600),
            ca: Some("/etc/ca.pem".into()),
            ..OidcConfig::new("https://issuer.example/realm".into(), vec!["gantry".into()])
        }),
        scopes: [("radiology read".to_owned(), grants(&["search", "retrieve:main"]))].into(),
        tokens: Some("/etc/tokens.toml".into()),
        basic: Some("/etc/users.toml".into()),
        certificates: [("CN=viewer,O=x".to_owned(), grants(&["store:*"]))].into(),
    };
    assert_eq!(auth, expected);
}

#[test]
fn what_is_wrong_with_access_is_said_with_its_key() {
    for (text, key) in [
        ("[auth.tokens]\n", "auth.tokens.file"),
        ("[auth.oidc]\naudience = \"x\"\n", "auth.oidc.issuer"),
        ("[auth.oidc]\nissuer = \"https://x\"\n", "auth.oidc.audience"),
        ("[auth.oidc]\nissuer = \"http://10.0.0.1\"\naudience = \"x\"\n", "auth.oidc.issuer"),
        (
            "[auth.oidc]\nissuer = \"https://x\"\naudience = \"x\"\nalgorithms = [\"HS256\"]\n",
            "auth.oidc.algorithms",
        ),
        ("[auth.oidc]\nissuer = \"https://x\"\naudience = \"x\"\nalgorithms = []\n", "auth.oidc.algorithms"),
        (
            "[auth.oidc]\nissuer = \"https://x\"\naudience = \"x\"\nclock_skew = \"11m\"\n",
            "auth.oidc.clock_skew",
        ),
        (
            "[auth.oidc]\nissuer = \"https://x\"\naudience = \"x\"\nkeys_lifetime = \"25h\"\n",
            "auth.oidc.keys_lifetime",
        ),
        ("[auth.certificates]\n\"CN=x\" = [\"search\"]\n", "auth.certificates.CN=x"),
        ("[auth]\nmodus = \"none\"\n", "auth.modus"),
    ] {
        let errors = parse(&format!("{SMALLEST}{text}")).unwrap_err();
        assert!(errors.len() == 1 && errors[0].starts_with(&format!("{key}: ")), "{text}: {errors:?}");
    }
}

/// `[http.tls]` where clients show certificates.
const SHOWN: &str =
    "[http.tls]\ncertificate = \"c\"\nkey = \"k\"\nclient_certificates = \"optional\"\nclient_ca = \"ca\"\n";

#[test]
fn a_certificate_that_nobody_could_have_is_no_key_of_access() {
    for (name, grants) in [
        ("CN=x", "[\"read\"]"),
        ("CN=x", "\"search\""),
        ("CN=x", "[\"search:nowhere\"]"),
        ("", "[\"search\"]"),
        ("sha256:", "[\"search\"]"),
        ("viewer", "[\"search\"]"),
        ("sha256:ab:cd", "[\"search\"]"),
    ] {
        let errors = parse(&format!("{SMALLEST}{SHOWN}[auth.certificates]\n\"{name}\" = {grants}\n"));
        let errors = errors.unwrap_err();
        let key = format!("auth.certificates.{name}: ");
        assert!(errors.len() == 1 && errors[0].starts_with(&key), "{name}: {errors:?}");
    }
    let fingerprint = ["AB"; 32].join(":");
    let text = format!("{SMALLEST}{SHOWN}[auth.certificates]\n\"sha256:{fingerprint}\" = [\"search\"]\n");
    assert!(parse(&text).unwrap().auth.is_required());
}

#[test]
fn credentials_in_the_clear_are_noted_where_others_reach_the_address() {
    let noted = |listen: &str, more: &str| {
        let text = format!("[http]\nlisten = \"{listen}\"\n{more}{SMALLEST}[auth.tokens]\nfile = \"/x\"\n");
        parse(&text).unwrap().notes.iter().any(|note| note.text.contains("in the clear"))
    };
    assert!(noted("0.0.0.0:8080", ""));
    assert!(!noted("127.0.0.1:8080", ""));
    assert!(!noted("0.0.0.0:8080", "trusted_proxies = [\"10.0.0.1/32\"]\n"));
    assert!(!noted("0.0.0.0:8080", SHOWN));
}
