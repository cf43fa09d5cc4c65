//! An issuer behind TLS, with an authority of its own: asked by the whole program, which says what is wrong.

use serde_json::json;

use crate::support::bridge::Bridge;
use crate::support::certificates::{Authority, Folder, Subject};
use crate::support::http::{Reply, Version, get_with};
use crate::support::issuer::Issuer;
use crate::support::process::free_port;
use crate::support::signer::Signer;

/// A bridge that trusts the authorities in this file for its issuer.
fn bridge(issuer: &Issuer, ca: &std::path::Path) -> Bridge {
    Bridge::with_configuration(&format!(
        "[dimse]\nlisten = \"127.0.0.1:{}\"\n[archive.main]\nae_title = \"PACS\"\naddress = \"127.0.0.1:9\"\n\
         [auth.oidc]\nissuer = \"{}\"\naudience = \"gantry\"\nca = \"{}\"\n",
        free_port(),
        issuer.url,
        ca.display(),
    ))
}

async fn metrics(bridge: &Bridge, token: &str) -> Reply {
    let header = format!("Authorization: Bearer {token}");
    get_with(bridge.http.parse().unwrap(), "/metrics", Version::Http11, &header).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_is_asked_over_tls_where_its_own_authority_vouches_for_it_and_not_else() {
    let (folder, authority, signer) = (Folder::new(), Authority::new("Issuer CA"), Signer::rsa("first"));
    let shown = authority.issue(&Subject::default());
    let issuer = Issuer::start_over_tls(&[&signer], &shown.certificate, &shown.key).await;
    let token = signer.token(&issuer.claims("gantry", &json!({ "scope": "dicomweb:admin" })));

    let own = bridge(&issuer, &folder.write("ca.pem", &authority.pem));
    let reply = metrics(&own, &token).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert_eq!(metrics(&own, &Signer::rsa("first").token(&json!({}))).await.status, 401);

    let asked = issuer.asked();
    let other = bridge(&issuer, &folder.write("other.pem", &Authority::new("Another CA").pem));
    let reply = metrics(&other, &token).await;
    assert_eq!(reply.status, 503, "whether the token is good, nobody can tell: {}", reply.text());
    assert_eq!(issuer.asked(), asked);
    let log = other.server.whole_log();
    assert!(log.contains("cannot ask the issuer") && log.contains("signed by nobody whom we trust"), "{log}");
}
