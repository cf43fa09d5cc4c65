//! Who may come, over the wire: tokens of an issuer that rotates its keys, in front of a whole bridge.

mod issuer;
mod secrets;

use serde_json::{Value, json};

use crate::retrieval::{Method, Scene, study_path};
use crate::support::http::{Reply, Version, ask_with};
use crate::support::issuer::{Issuer, Manners};
use crate::support::objects::{Kind, study, study_uid};
use crate::support::signer::Signer;

/// An archive with two studies of two patients, a bridge with a cache before it, and an issuer with an RSA key.
struct Guarded {
    scene: Scene,
    issuer: Issuer,
    signer: Signer,
}

impl Guarded {
    async fn new() -> Self {
        let signer = Signer::rsa("first");
        let issuer = Issuer::start(&[&signer]).await;
        let auth = format!(
            "\n[cache]\nmemory = \"64MiB\"\n[auth.oidc]\nissuer = \"{}\"\naudience = \"gantry\"\n\
             [auth.scopes]\nreader = [\"search:main\", \"retrieve:main\"]\nelsewhere = []\n",
            issuer.url
        );
        let instances = [study(1, 1, 2, &Kind::default()), study(2, 1, 2, &Kind::default())].concat();
        let scene = Scene::new(Method::Get, instances, &[], &auth).await;
        Self { scene, issuer, signer }
    }

    fn claims(&self, more: &Value) -> Value {
        self.issuer.claims("gantry", more)
    }

    async fn ask(&self, method: &str, path: &str, token: &str) -> Reply {
        let header = format!("Authorization: Bearer {token}\r\nAccept: */*");
        ask_with(self.scene.app.http, method, path, Version::Http11, &header).await
    }

    /// The status of a retrieval of study 1 with this token.
    async fn study(&self, token: &str) -> u16 {
        self.ask("GET", &study_path(1), token).await.status
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_tokens_that_are_not_good_are_refused_and_good_ones_come_in() {
    let guarded = Guarded::new().await;
    let good = guarded.claims(&json!({ "scope": "openid reader" }));
    let token = guarded.signer.token(&good);
    assert_eq!(guarded.study(&token).await, 200);
    let now = good["iat"].as_u64().unwrap();
    let with = |more: Value| {
        let mut claims = good.clone();
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims
    };
    for (what, claims) in [
        ("expired", with(json!({ "exp": now - 60 }))),
        ("not valid yet", with(json!({ "nbf": now + 600 }))),
        ("another audience", with(json!({ "aud": "other" }))),
        ("another issuer", with(json!({ "iss": "https://other.example" }))),
        ("without an end", with(json!({ "exp": null }))),
    ] {
        let reply = guarded.ask("GET", &study_path(1), &guarded.signer.token(&claims)).await;
        assert_eq!(reply.status, 401, "{what}: {}", reply.text());
        assert!(reply.header("www-authenticate").contains("invalid_token"), "{what}");
    }
    for (what, header) in [
        ("unsigned", json!({ "alg": "none" })),
        ("HMAC with the public key", json!({ "alg": "HS256", "typ": "JWT", "kid": "first" })),
        ("an unknown key", json!({ "alg": "RS256", "typ": "JWT", "kid": "second" })),
    ] {
        let token = guarded.signer.token_with(&header, &good);
        assert_eq!(guarded.study(&token).await, 401, "{what}");
    }
    let foreign = Signer::rsa("first").token(&good);
    assert_eq!(guarded.study(&foreign).await, 401, "another key of the same name");
    assert_eq!(guarded.study(&format!("{token}{}", "A".repeat(20_000))).await, 401, "a huge token");
    let no_scope = guarded.signer.token(&with(json!({ "scope": "openid" })));
    assert_eq!(guarded.study(&no_scope).await, 403);
    let only_search = guarded.signer.token(&with(json!({ "scope": "dicomweb:search" })));
    assert_eq!(guarded.study(&only_search).await, 403);
    let other_archive = guarded.signer.token(&with(json!({ "scope": "dicomweb:retrieve:other" })));
    assert_eq!(guarded.study(&other_archive).await, 404);
    assert_eq!(guarded.study(&token).await, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_the_cache_gives_nothing_to_who_is_confined_to_another_study() {
    let guarded = Guarded::new().await;
    let all = guarded.signer.token(&guarded.claims(&json!({ "scope": "reader" })));
    for study in [1, 2] {
        assert_eq!(guarded.ask("GET", &study_path(study), &all).await.status, 200);
    }
    let confined = json!({ "scope": "reader", "gantry_studies": [study_uid(2)] });
    let confined = guarded.signer.token(&guarded.claims(&confined));
    let own = guarded.ask("GET", &study_path(2), &confined).await;
    assert_eq!((own.status, own.whole), (200, true));
    let outside = guarded.ask("GET", &study_path(1), &confined).await;
    let unknown = guarded.ask("GET", "/dicom-web/studies/1.2.3.4.5", &confined).await;
    assert_eq!((outside.status, outside.text()), (404, unknown.text()));
    let metadata = guarded.ask("GET", &format!("{}/metadata", study_path(1)), &confined).await;
    assert_eq!((metadata.status, metadata.text()), (404, unknown.text()));
    let listed = guarded.ask("GET", "/dicom-web/studies", &confined).await.text();
    assert!(listed.contains(&study_uid(2)) && !listed.contains(&format!("\"{}\"", study_uid(1))), "{listed}");
    let series = guarded.ask("GET", "/dicom-web/series", &confined).await.text();
    assert!(series.contains(&study_uid(2)) && !series.contains(&format!("\"{}\"", study_uid(1))), "{series}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attack_who_is_confined_to_a_patient_sees_no_other_one() {
    let guarded = Guarded::new().await;
    let all = guarded.signer.token(&guarded.claims(&json!({ "scope": "reader" })));
    let listed = guarded.ask("GET", "/dicom-web/studies", &all).await;
    let listed: Value = serde_json::from_slice(&listed.body).unwrap();
    let value = |study: &Value, tag: &str| study[tag]["Value"][0].as_str().unwrap_or_default().to_owned();
    let own = listed.as_array().unwrap().iter().find(|one| value(one, "0020000D") == study_uid(1)).unwrap();
    let patient = value(own, "00100020");
    let is_own = |one: &&Value| value(one, "00100020") == patient;
    let count = listed.as_array().unwrap().iter().filter(is_own).count();
    let scope = json!({ "scope": "patient/ImagingStudy.rs", "patient": patient });
    let confined = guarded.signer.token(&guarded.claims(&scope));
    let seen = guarded.ask("GET", "/dicom-web/studies?PatientID=*", &confined).await;
    let seen: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(seen.as_array().unwrap().len(), count);
    assert_eq!(guarded.ask("GET", &study_path(1), &confined).await.status, 200);
    let nobody = json!({ "scope": "patient/ImagingStudy.rs", "patient": "nobody's" });
    let nobody = guarded.signer.token(&guarded.claims(&nobody));
    for study in [1, 2] {
        let path = study_path(study);
        for path in [
            path.clone(),
            format!("{path}/metadata"),
            format!("{path}/bulkdata"),
            format!("{path}/pixeldata"),
        ] {
            assert_eq!(guarded.ask("GET", &path, &nobody).await.status, 404, "{path}");
        }
        assert_eq!(guarded.ask("GET", &format!("{path}/series"), &nobody).await.status, 204);
    }
    for path in ["/dicom-web/studies", "/dicom-web/series", "/dicom-web/instances"] {
        assert_eq!(guarded.ask("GET", path, &nobody).await.status, 204, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_goes_down_leaves_those_in_whose_keys_are_known() {
    let guarded = Guarded::new().await;
    let token = guarded.signer.token(&guarded.claims(&json!({ "scope": "reader" })));
    assert_eq!(guarded.study(&token).await, 200);
    guarded.issuer.behave(Manners::Broken);
    let another = guarded.signer.token(&guarded.claims(&json!({ "scope": "reader", "sub": "ben" })));
    assert_eq!(guarded.study(&another).await, 200);
    assert_eq!(guarded.issuer.asked(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_for_everybody_and_counters_are_the_operators() {
    let guarded = Guarded::new().await;
    assert_eq!(guarded.ask("GET", "/health/live", "nonsense").await.status, 200);
    let ready = guarded.ask("GET", "/health/ready", "nonsense").await;
    assert_eq!((ready.status, ready.text().contains("main")), (200, false));
    assert_eq!(guarded.ask("GET", "/metrics", "nonsense").await.status, 401);
    let reader = guarded.signer.token(&guarded.claims(&json!({ "scope": "reader" })));
    assert_eq!(guarded.ask("GET", "/metrics", &reader).await.status, 403);
    let operator = guarded.signer.token(&guarded.claims(&json!({ "scope": "dicomweb:admin" })));
    let metrics = guarded.ask("GET", "/metrics", &operator).await;
    assert_eq!(metrics.status, 200);
    assert!(!metrics.text().contains("anna"), "names of users are no labels");
    assert_eq!(guarded.study(&operator).await, 403);
}
