//! DIMSE clients over TLS: DCMTK's tools and pynetdicom.

use std::net::SocketAddr;

use super::{Pki, archive, before, bridge, run, tool};
use crate::support::app::TestApp;
use crate::support::certificates::Subject;
use crate::support::objects::study_uid;
use crate::support::peers::{data, repository, storescp};

/// One of DCMTK's tools over TLS at `address`, which shows a certificate, or none.
async fn dcmtk(
    pki: &Pki,
    name: &str,
    calling: &str,
    certificate: Option<&str>,
    address: SocketAddr,
    arguments: &[&str],
) -> (bool, String) {
    let (ca, port) = (pki.path("ca.pem"), address.port().to_string());
    let own = certificate.map(|file| [pki.path(&format!("{file}.key")), pki.path(&format!("{file}.pem"))]);
    let tls: Vec<&str> = match &own {
        Some([key, certificate]) => vec!["+tls", key, certificate],
        None => vec!["+tla"],
    };
    let usual = ["+cf", &ca, "-aet", calling, "-aec", "GANTRY", "127.0.0.1", &port];
    tool(name, &[&tls, arguments, &usual].concat()).await
}

fn over_tls(app: &TestApp) -> SocketAddr {
    app.dimse_tls.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dcmtks_tools_come_over_tls_with_and_without_a_certificate() {
    let (pki, archive) = (Pki::new(), archive().await);
    pki.issue("client", &Subject::client("CT1"));
    for (clients, without) in [("none", true), ("optional", true), ("required", false)] {
        let app = bridge(&pki, &archive, clients, "").await;
        for (certificate, expected) in [(Some("client"), true), (None, without)] {
            let (well, said) = dcmtk(&pki, "echoscu", "CT1", certificate, over_tls(&app), &[]).await;
            assert_eq!(well, expected, "{clients}, {certificate:?}: {said}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dcmtks_tools_search_and_store_over_tls() {
    let (pki, archive) = (Pki::new(), archive().await);
    pki.issue("client", &Subject::client("CT1"));
    let app = bridge(&pki, &archive, "required", "").await;
    let study = format!("StudyInstanceUID={}", study_uid(1));
    let keys = ["-v", "-S", "-k", "QueryRetrieveLevel=STUDY", "-k", &study];
    let (well, said) = dcmtk(&pki, "findscu", "CT1", Some("client"), over_tls(&app), &keys).await;
    assert!(well && said.contains("Pending"), "{said}");
    let file = data("ct", &["--slices", "40"]).join("00000.dcm");
    let stored = archive.count();
    let (well, said) = store(&pki, &app, &file).await;
    assert!(well && said.contains("Success"), "{said}");
    assert_ne!(archive.count(), stored, "the archive has it");
    app.settle("storescu").await;
}

/// storescu has its file behind the address.
async fn store(pki: &Pki, app: &TestApp, file: &std::path::Path) -> (bool, String) {
    let [ca, key, certificate] = ["ca.pem", "client.key", "client.pem"].map(|file| pki.path(file));
    let (port, file) = (over_tls(app).port().to_string(), file.to_str().unwrap());
    let arguments = [
        "-v",
        "+tls",
        &key,
        &certificate,
        "+cf",
        &ca,
        "-aet",
        "CT1",
        "-aec",
        "GANTRY",
        "127.0.0.1",
        &port,
        file,
    ];
    tool("storescu", &arguments).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_tls_and_who_has_none_do_not_meet() {
    let (pki, archive) = (Pki::new(), archive().await);
    pki.issue("client", &Subject::client("CT1"));
    let app = bridge(&pki, &archive, "none", "").await;
    let plain = |port: u16| async move {
        tool("echoscu", &["-aec", "GANTRY", "-ta", "5", "127.0.0.1", &port.to_string()]).await
    };
    let (well, said) = plain(app.dimse.port()).await;
    assert!(well, "{said}");
    let (well, said) = plain(over_tls(&app).port()).await;
    assert!(!well, "{said}");
    let (well, said) = dcmtk(&pki, "echoscu", "CT1", Some("client"), app.dimse, &[]).await;
    assert!(!well, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_one_dimse_port_speaks_tls_where_no_other_is_named() {
    let (pki, archive) = (Pki::new(), archive().await);
    let app =
        TestApp::start(&format!("{}[dimse.tls]\n{}", before(archive.addr()), pki.listener("none"))).await;
    assert_eq!(app.dimse_tls, None);
    let (well, said) = dcmtk(&pki, "echoscu", "CT1", None, app.dimse, &[]).await;
    assert!(well, "{said}");
    let port = app.dimse.port().to_string();
    let (well, said) = tool("echoscu", &["-aec", "GANTRY", "-ta", "5", "127.0.0.1", &port]).await;
    assert!(!well, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hazard_a_title_that_is_tied_to_a_certificate_comes_with_no_other() {
    let (pki, archive) = (Pki::new(), archive().await);
    pki.issue("ct1", &Subject { organization: Some("Hospital"), ..Subject::client("CT1") });
    pki.issue("ct2", &Subject { organization: Some("Hospital"), ..Subject::client("CT2") });
    let tied = "[ae.CT1]\ncertificate_subject = \"CN=CT1,O=Hospital\"\n";
    let app = bridge(&pki, &archive, "optional", tied).await;
    let echo =
        async |calling, certificate| dcmtk(&pki, "echoscu", calling, certificate, over_tls(&app), &[]).await;
    let (well, said) = echo("CT1", Some("ct1")).await;
    assert!(well, "{said}");
    for certificate in [Some("ct2"), None] {
        let (well, said) = echo("CT1", certificate).await;
        assert!(!well && said.contains("Calling AE Title Not Recognized"), "{certificate:?}: {said}");
    }
    let port = app.dimse.port().to_string();
    let (well, said) = tool("echoscu", &["-aet", "CT1", "-aec", "GANTRY", "127.0.0.1", &port]).await;
    assert!(!well && said.contains("Calling AE Title Not Recognized"), "without TLS: {said}");
    // Another title is not tied.
    let (well, said) = echo("CT2", None).await;
    assert!(well, "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_are_moved_to_a_destination_over_tls() {
    let (pki, archive) = (Pki::new(), archive().await);
    pki.issue("bridge", &Subject::client("GANTRY"));
    let folder = tempfile::tempdir().unwrap();
    let [ca, key, certificate] = ["ca.pem", "server.key", "server.pem"].map(|file| pki.path(file));
    let options = ["+tls", &key, &certificate, "+cf", &ca];
    let (_server, port) = storescp(folder.path(), &options);
    let place = |tls: &str| format!("[ae.STORESCP]\naddress = \"localhost:{port}\"\n{tls}");
    let own = format!(
        "[ae.STORESCP.tls]\nca = \"{ca}\"\ncertificate = \"{}\"\nkey = \"{}\"\n",
        pki.path("bridge.pem"),
        pki.path("bridge.key")
    );
    let study = format!("StudyInstanceUID={}", study_uid(1));
    let moved = async |app: &TestApp| {
        let port = app.dimse.port().to_string();
        let arguments =
            ["-v", "-S", "-aem", "STORESCP", "-aec", "GANTRY", "-k", "QueryRetrieveLevel=STUDY", "-k"];
        tool("movescu", &[&arguments, [study.as_str(), "127.0.0.1", &port].as_slice()].concat()).await
    };
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    // Without TLS towards it nothing arrives, and the client is told so.
    let (_, said) = moved(&bridge(&pki, &archive, "none", &place("")).await).await;
    assert!(files() == 0 && !said.contains("Final Response (Success)"), "{said}");
    let app = bridge(&pki, &archive, "none", &place(&own)).await;
    let (well, said) = moved(&app).await;
    assert!(well && files() == 3, "{} files: {said}", files());
    app.settle("movescu").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pynetdicom_comes_over_tls_with_and_without_a_certificate() {
    let (pki, archive) = (Pki::new(), archive().await);
    pki.issue("client", &Subject::client("CT1"));
    let python = repository(".peers/venv/bin/python");
    assert!(python.exists(), "run `make peers`");
    for (clients, without) in [("optional", true), ("required", false)] {
        let app = bridge(&pki, &archive, clients, "").await;
        for (certificate, expected) in [(Some("client"), true), (None, without)] {
            let script = repository("tests/peers/tls_session.py").to_str().unwrap().to_owned();
            let mut arguments =
                vec![script, over_tls(&app).port().to_string(), pki.path("ca.pem"), study_uid(1)];
            arguments.extend(
                certificate
                    .iter()
                    .flat_map(|file| [pki.path(&format!("{file}.pem")), pki.path(&format!("{file}.key"))]),
            );
            let (well, said) = run(python.clone(), arguments).await;
            assert_eq!(well, expected, "{clients}, {certificate:?}: {said}");
            assert!(!well || said.contains("echo 0000, 1 match, 3 objects"), "{said}");
        }
        app.settle("pynetdicom").await;
    }
}
