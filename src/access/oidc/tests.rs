use serde_json::{Value, json};

use super::*;
use crate::access::issuer::{Issuer, Manners};
use crate::access::signer::Signer;
use crate::access::{Operation, config};

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn config(issuer: &str) -> OidcConfig {
    OidcConfig {
        roles_claim: Some("realm_access.roles".to_owned()),
        ..OidcConfig::new(issuer.to_owned(), vec!["gantry".into()])
    }
}

/// What the claims of a token allow, the good ones with these changes: `null` takes one out.
async fn identify(changes: Value) -> Result<Identity, Refused> {
    let scopes = [("readers", "retrieve:main"), ("patient/ImagingStudy.read", "search:main")];
    let scopes = scopes.map(|(scope, grant)| (scope.to_owned(), vec![grant.parse().unwrap()])).into();
    let oidc = Oidc::new(config("https://issuer.example"), scopes).unwrap();
    let mut claims =
        json!({ "iss": "https://issuer.example", "aud": "gantry", "sub": "anna", "exp": NOW.as_secs() + 60 });
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    let claims = claims.as_object().unwrap().clone().into_iter().filter(|(_, value)| !value.is_null());
    oidc.identify(&Claims(claims.collect()), NOW).map(|(identity, _)| identity)
}

#[tokio::test]
async fn attack_a_token_of_another_time_issuer_or_audience_is_refused() {
    let now = NOW.as_secs();
    for good in [
        json!({}),
        json!({ "aud": ["other", "gantry"] }),
        json!({ "exp": now - 29 }),
        json!({ "nbf": now + 29 }),
        json!({ "exp": now as f64 + 0.5 }),
        json!({ "nbf": now, "iat": now }),
    ] {
        assert!(identify(good.clone()).await.is_ok(), "{good}");
    }
    for bad in [
        json!({ "exp": now - 31 }),
        json!({ "exp": null }),
        json!({ "exp": format!("{}", now + 60) }),
        json!({ "exp": -1 }),
        json!({ "exp": 1e300 }),
        json!({ "nbf": now + 31 }),
        json!({ "nbf": "never" }),
        json!({ "nbf": [1] }),
        json!({ "iss": "https://issuer.example/" }),
        json!({ "iss": null }),
        json!({ "iss": ["https://issuer.example"] }),
        json!({ "aud": "other" }),
        json!({ "aud": ["other"] }),
        json!({ "aud": [] }),
        json!({ "aud": null }),
        json!({ "aud": ["gantry", 1] }),
        json!({ "aud": { "gantry": 1 } }),
        json!({ "aud": "gantry2" }),
        json!({ "sub": null }),
        json!({ "sub": 1 }),
        json!({ "sub": "a\nb" }),
        json!({ "sub": "x".repeat(257) }),
    ] {
        assert!(matches!(identify(bad.clone()).await, Err(Refused::Invalid(_))), "{bad}");
    }
}

#[tokio::test]
async fn scopes_and_roles_allow_what_is_configured_and_what_they_say_themselves() {
    let allows = async |claims: Value, operation, archive| {
        identify(claims).await.unwrap().grants.allows(operation, archive)
    };
    let readers = json!({ "scope": "openid readers" });
    assert!(allows(readers.clone(), Operation::Retrieve, "main").await);
    assert!(!allows(readers.clone(), Operation::Retrieve, "other").await);
    assert!(!allows(readers, Operation::Search, "main").await);
    assert!(
        allows(json!({ "realm_access": { "roles": ["x", "readers"] } }), Operation::Retrieve, "main").await
    );
    assert!(allows(json!({ "scp": ["user/ImagingStudy.rs"] }), Operation::Search, "main").await);
    assert!(!allows(json!({ "scope": "openid profile" }), Operation::Search, "main").await);
    assert!(!allows(json!({ "scope": { "readers": true } }), Operation::Retrieve, "main").await);
    // A role is nothing but what is configured.
    assert!(!allows(json!({ "realm_access": { "roles": ["dicomweb:admin"] } }), Operation::Admin, "").await);
}

#[tokio::test]
async fn attack_a_patients_scope_without_a_patient_allows_nothing() {
    let scope = json!({ "scope": "patient/ImagingStudy.read" });
    assert!(!identify(scope).await.unwrap().grants.has(Operation::Search));
    let one = json!({ "scope": "patient/ImagingStudy.read", "patient": "Patient/4711" });
    let grants = identify(one).await.unwrap().grants;
    assert!(grants.has(Operation::Search));
    assert_eq!(grants.restriction().unwrap().patients, ["4711".to_owned()].into());
}

#[tokio::test]
async fn attack_a_patients_scope_that_is_configured_without_a_patient_allows_nothing() {
    let scope = "patient/ImagingStudy.read";
    for claims in [json!({ "scope": scope }), json!({ "realm_access": { "roles": [scope] } })] {
        assert!(!identify(claims.clone()).await.unwrap().grants.has(Operation::Search), "{claims}");
        let mut of_one = claims;
        of_one["patient"] = json!("4711");
        let grants = identify(of_one).await.unwrap().grants;
        assert!(grants.allows(Operation::Search, "main") && grants.restriction().is_some());
    }
    let roles = json!({ "realm_access": { "roles": [scope] }, "scope": "openid" });
    assert!(!identify(roles).await.unwrap().grants.has(Operation::Store));
}

#[tokio::test]
async fn attack_a_claim_that_confines_and_cannot_be_read_refuses_the_token() {
    let restriction = async |claims: Value| {
        identify(claims).await.map(|identity| identity.grants.restriction().map(|it| (**it).clone()))
    };
    let both = json!({ "patient": "1", "gantry_patients": ["1", "2"], "gantry_studies": ["1.2"] });
    let both = restriction(both).await.unwrap().unwrap();
    assert_eq!(both.patients, ["1".to_owned()].into(), "both hold");
    assert_eq!(both.studies.len(), 1);
    assert_eq!(restriction(json!({})).await, Ok(None));
    for bad in [
        json!({ "gantry_patients": [] }),
        json!({ "gantry_patients": [1] }),
        json!({ "gantry_patients": { "id": "1" } }),
        json!({ "gantry_patients": [""] }),
        json!({ "patient": "" }),
        json!({ "patient": "1", "gantry_patients": ["2"] }),
        json!({ "gantry_studies": [] }),
        json!({ "gantry_studies": ["x"] }),
        json!({ "gantry_studies": 5 }),
        json!({ "gantry_patients": vec!["1"; 101] }),
    ] {
        assert!(matches!(restriction(bad.clone()).await, Err(Refused::Invalid(_))), "{bad}");
    }
}

#[tokio::test]
async fn keys_rotate_without_a_restart_and_unknown_ones_are_asked_for_seldom() {
    let (old, new) = (Signer::p256("old"), Signer::p256("new"));
    let issuer = Issuer::start(&[&old]).await;
    let oidc = Oidc::new(config(&issuer.url), BTreeMap::new()).unwrap();
    let claims = issuer.claims("gantry", &json!({}));
    assert!(oidc.verify(&old.token(&claims)).await.is_ok());
    assert_eq!(issuer.asked(), 1);
    // Just asked: whoever invents names of keys makes no further question.
    for _ in 0..100 {
        assert!(matches!(oidc.verify(&new.token(&claims)).await, Err(Refused::Invalid(_))));
    }
    assert_eq!(issuer.asked(), 1);
    issuer.publish(&[&new]);
    oidc.keys.forget_the_last_question();
    assert!(oidc.verify(&new.token(&claims)).await.is_ok());
    assert!(matches!(oidc.verify(&old.token(&claims)).await, Err(Refused::Invalid(_))), "rotated out");
    assert_eq!(issuer.asked(), 2);
}

#[tokio::test]
async fn requests_that_come_at_once_make_one_question() {
    let signer = Signer::p256("a");
    let issuer = Issuer::start(&[&signer]).await;
    let oidc = std::sync::Arc::new(Oidc::new(config(&issuer.url), BTreeMap::new()).unwrap());
    let token = signer.token(&issuer.claims("gantry", &json!({})));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let (oidc, token) = (oidc.clone(), token.clone());
        tasks.spawn(async move { oidc.verify(&token).await.is_ok() });
    }
    assert!(tasks.join_all().await.into_iter().all(|good| good));
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn an_issuer_that_is_down_is_not_the_clients_fault_and_its_keys_go_on() {
    let signer = Signer::p256("a");
    let issuer = Issuer::start(&[&signer]).await;
    let claims = issuer.claims("gantry", &json!({}));
    let oidc = Oidc::new(config(&issuer.url), BTreeMap::new()).unwrap();
    assert!(oidc.verify(&signer.token(&claims)).await.is_ok());
    issuer.behave(Manners::Broken);
    oidc.keys.forget_the_last_question();
    let other = Signer::p256("b").token(&claims);
    assert!(matches!(oidc.verify(&other).await, Err(Refused::Unavailable(_))), "nobody can tell");
    assert!(oidc.verify(&signer.token(&claims)).await.is_ok(), "what is known goes on");
    let short = OidcConfig { keys_lifetime: Duration::from_nanos(1), ..config(&issuer.url) };
    let oidc = Oidc::new(short, BTreeMap::new()).unwrap();
    assert!(matches!(oidc.verify(&signer.token(&claims)).await, Err(Refused::Unavailable(_))));
}

#[tokio::test]
async fn attack_an_issuer_that_redirects_floods_or_has_another_name_gives_no_keys() {
    let signer = Signer::p256("a");
    for manners in [Manners::Broken, Manners::Redirects, Manners::Endless, Manners::OtherName] {
        let issuer = Issuer::start(&[&signer]).await;
        issuer.behave(manners);
        let oidc = Oidc::new(config(&issuer.url), BTreeMap::new()).unwrap();
        let token = signer.token(&issuer.claims("gantry", &json!({})));
        assert!(matches!(oidc.verify(&token).await, Err(Refused::Unavailable(_))), "{manners:?}");
    }
}

#[tokio::test]
async fn attack_an_issuer_that_never_answers_holds_nobody_for_ever() {
    let signer = Signer::p256("a");
    let issuer = Issuer::start(&[&signer]).await;
    issuer.behave(Manners::Silent);
    let oidc = Oidc::new(config(&issuer.url), BTreeMap::new()).unwrap();
    let token = signer.token(&issuer.claims("gantry", &json!({})));
    let begin = std::time::Instant::now();
    assert!(matches!(oidc.verify(&token).await, Err(Refused::Unavailable(_))));
    assert!(begin.elapsed() < Duration::from_secs(15), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn keys_come_from_this_machine_or_over_tls() {
    for url in ["http://issuer.example", "ftp://127.0.0.1", "http://10.0.0.1", "file:///etc/passwd"] {
        let fetch = Fetch::new(None).unwrap();
        assert!(matches!(fetch.json::<Value>(url).await, Err(fetch::FetchError::BadUrl)), "{url}");
    }
    assert_eq!(config::Algorithm::named("HS256"), None);
}
