//! Certificates that are taken back, before a connection and while one is open.

use super::*;

/// A server that wants to see certificates of the authority that are not revoked, and one client's.
struct Revoking {
    scene: Scene,
    shown: Issued,
}

impl Revoking {
    fn new() -> Self {
        let mut scene = scene();
        let shown = scene.authority.issue(&Subject::client("CT1"));
        scene.client.identity = Some(identity(&scene.folder, "client", &shown));
        scene.server.clients = ClientCertificates::Required(scene.ca());
        scene.server.revoked = Some(scene.folder.write("crl.pem", &scene.authority.revoke(&[], 2090)));
        Self { scene, shown }
    }

    fn revoke(&self, revoked: &[&Issued], next_update: i32) {
        self.scene.folder.write("crl.pem", &self.scene.authority.revoke(revoked, next_update));
    }

    /// Whether the client comes in, else what the server tells of it.
    async fn comes(&self) -> Result<(), String> {
        let (accepted, _) = self.scene.meet("localhost").await;
        if accepted.is_ok() { Ok(()) } else { Err(told(accepted)) }
    }
}

#[tokio::test]
async fn attack_a_client_whose_certificate_was_revoked_is_refused_and_others_come_in() {
    let scene = Revoking::new();
    scene.comes().await.unwrap();
    let other = scene.scene.authority.issue(&Subject::client("CT1"));
    scene.revoke(&[&other], 2090);
    scene.comes().await.unwrap();
    scene.revoke(&[&other, &scene.shown], 2090);
    let why = scene.comes().await.unwrap_err();
    assert!(why.contains("has been revoked"), "{why}");
}

#[tokio::test]
async fn a_list_past_its_next_update_goes_on_with_what_it_names() {
    let scene = Revoking::new();
    scene.revoke(&[], 2022);
    scene.comes().await.unwrap();
    scene.revoke(&[&scene.shown], 2022);
    assert!(scene.comes().await.unwrap_err().contains("has been revoked"));
}

#[tokio::test]
async fn attack_who_is_listed_itself_is_not_let_in_when_it_is_revoked() {
    let mut scene = Revoking::new();
    let listed = scene.scene.folder.write("listed.pem", &scene.shown.certificate);
    scene.scene.server.clients = ClientCertificates::Required(listed);
    scene.comes().await.unwrap();
    scene.revoke(&[&scene.shown], 2090);
    assert!(scene.comes().await.unwrap_err().contains("has been revoked"));
}

#[tokio::test]
async fn attack_a_certificate_of_an_authority_without_a_list_is_refused() {
    let mut scene = Revoking::new();
    let another = Authority::new("Another CA");
    scene.scene.folder.write("ca.pem", &format!("{}{}", scene.scene.authority.pem, another.pem));
    scene.comes().await.unwrap();
    let foreign = another.issue(&Subject::client("CT2"));
    scene.scene.client.identity = Some(identity(&scene.scene.folder, "foreign", &foreign));
    let why = scene.comes().await.unwrap_err();
    assert!(why.contains("`client_revoked` has no list"), "{why}");
    let both = scene.scene.authority.revoke(&[], 2090) + &another.revoke(&[], 2090);
    scene.scene.folder.write("crl.pem", &both);
    scene.comes().await.unwrap();
}

#[tokio::test]
async fn attack_a_list_that_somebody_else_has_signed_lets_nobody_in() {
    let scene = Revoking::new();
    let forged = Authority::new("Test CA").revoke(&[], 2090);
    scene.scene.folder.write("crl.pem", &forged);
    let why = scene.comes().await.unwrap_err();
    assert!(why.contains("list of revoked certificates") && why.contains("fetch it again"), "{why}");
}

#[tokio::test]
async fn a_server_whose_certificate_was_revoked_is_refused() {
    let mut scene = scene();
    let shown = scene.authority.issue(&Subject::default());
    scene.server.identity = identity(&scene.folder, "server", &shown);
    scene.client.revoked = Some(scene.folder.write("crl.pem", &scene.authority.revoke(&[], 2090)));
    scene.meet("localhost").await.1.unwrap();
    scene.folder.write("crl.pem", &scene.authority.revoke(&[&shown], 2090));
    let why = told(scene.meet("localhost").await.1);
    assert!(why.contains("the peer's certificate has been revoked"), "{why}");
}

#[test]
fn a_file_of_lists_that_cannot_be_used_is_named_with_what_to_do() {
    let scene = Revoking::new();
    scene.scene.server.check().unwrap();
    for (text, named) in [
        (String::new(), "no list of revoked certificates"),
        (scene.scene.authority.pem.clone(), "no list of revoked certificates"),
        (Authority::new("Another").revoke(&[], 2090), "no list of an authority"),
        ("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n".to_owned(), "list 1 in it"),
        ("-----BEGIN X509 CRL-----\nAAAA\n".to_owned(), "is broken"),
    ] {
        let path = scene.scene.folder.write("crl.pem", &text);
        let error = scene.scene.server.check().unwrap_err();
        assert!(error.path == path && error.text.contains(named), "{error}");
    }
}

#[tokio::test]
async fn attack_what_opened_a_connection_is_looked_at_again_while_it_is_open() {
    let scene = Revoking::new();
    let server = Server::looking_every(Duration::ZERO, scene.scene.server.clone(), Protocol::Dimse).unwrap();
    let client = Client::new(scene.scene.client.clone());
    let open = async || {
        let certificate = meet(&server, &client, "localhost").await.0.unwrap().unwrap();
        certificate.check().await.unwrap();
        certificate
    };
    let certificate = open().await;
    scene.revoke(&[&scene.shown], 2090);
    assert_eq!(certificate.check().await, Err(Lapsed::Revoked));
    scene.scene.folder.write("crl.pem", "nothing of use");
    assert_eq!(certificate.check().await, Err(Lapsed::Revoked), "a bad file changes nothing");
    scene.revoke(&[], 2090);
    certificate.check().await.unwrap();

    let certificate = open().await;
    let another = Authority::new("Another");
    scene.scene.folder.write("ca.pem", &another.pem);
    scene.scene.folder.write("crl.pem", &another.revoke(&[], 2090));
    assert_eq!(certificate.check().await, Err(Lapsed::Untrusted), "its authority was taken out");
}
