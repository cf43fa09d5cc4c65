use serde_json::json;

use super::*;
use crate::access::signer::Signer;

const ALL: [Algorithm; 9] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
];

fn key(jwk: &Value) -> Option<Key> {
    Key::of(&serde_json::from_value(jwk.clone()).unwrap(), &ALL)
}

fn verify(token: &str, key: &Key) -> Result<Map<String, Value>, &'static str> {
    Token::read(token)?.verify([key])
}

#[test]
fn tokens_of_every_kind_of_key_are_verified_and_by_no_other_key() {
    let claims = json!({ "sub": "anna" });
    let signers =
        [Signer::rsa("a"), Signer::p256("b"), Signer::ed25519("c"), Signer::p256("d"), Signer::ed25519("e")];
    for signer in &signers {
        let token = signer.token(&claims);
        for other in &signers {
            let verified = verify(&token, &key(&other.jwk()).unwrap());
            assert_eq!(verified.is_ok(), other.id == signer.id, "{} by {}", signer.id, other.id);
        }
    }
    let header = json!({ "alg": "PS256" });
    assert!(verify(&signers[0].token_with(&header, &claims), &key(&signers[0].jwk()).unwrap()).is_ok());
}

#[test]
fn attack_a_token_that_calls_itself_unsigned_or_signed_with_a_shared_secret_is_refused() {
    let signer = Signer::rsa("a");
    let rsa = key(&signer.jwk()).unwrap();
    let claims = json!({ "sub": "anna" });
    for algorithm in ["none", "None", "NONE", "", "HS256", "HS384", "HS512", "RS1", "ES256K", "dir"] {
        let token = signer.token_with(&json!({ "alg": algorithm, "kid": "a" }), &claims);
        assert!(verify(&token, &rsa).is_err(), "{algorithm}");
    }
    // Of another family than the key: it chooses among the key's own algorithms alone.
    for algorithm in ["ES256", "EdDSA", "PS256", "RS384"] {
        let token = signer.token(&claims);
        let (_, rest) = token.split_once('.').unwrap();
        let header = json!({ "alg": algorithm, "kid": "a" }).to_string();
        let forged = format!("{}.{rest}", URL_SAFE_NO_PAD.encode(header));
        assert!(verify(&forged, &rsa).is_err(), "{algorithm}");
    }
}

#[test]
fn attack_a_shared_secret_among_the_keys_is_none_of_them() {
    for jwk in [
        json!({ "kty": "oct", "k": "c2VjcmV0", "alg": "HS256" }),
        json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "HS256" }),
        json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "enc" }),
        json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([1; 1025]), "e": "AQAB" }),
        json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA" }),
        json!({ "kty": "OKP", "crv": "X25519", "x": "AA" }),
        json!({ "kty": "RSA" }),
        json!({ "kty": "" }),
    ] {
        assert_eq!(key(&jwk), None, "{jwk}");
    }
}

#[test]
fn a_key_is_for_what_it_says_and_for_what_is_configured() {
    let signer = Signer::rsa("a");
    let mut jwk = signer.jwk();
    let token = signer.token(&json!({}));
    jwk["alg"] = json!("PS256");
    assert!(verify(&token, &key(&jwk).unwrap()).is_err(), "a key for PS256 verifies no RS256");
    jwk["alg"] = json!("RS256");
    assert!(verify(&token, &key(&jwk).unwrap()).is_ok());
    let jwk: Jwk = serde_json::from_value(jwk).unwrap();
    assert_eq!(Key::of(&jwk, &[Algorithm::Es256]), None);
}

#[test]
fn attack_a_token_that_was_changed_is_refused() {
    let signer = Signer::p256("a");
    let own = key(&signer.jwk()).unwrap();
    let token = signer.token(&json!({ "sub": "anna" }));
    let parts: Vec<&str> = token.split('.').collect();
    let payload = URL_SAFE_NO_PAD.encode(json!({ "sub": "root" }).to_string());
    for forged in [
        format!("{}.{payload}.{}", parts[0], parts[2]),
        format!("{}.{}.", parts[0], parts[1]),
        format!("{}.{}.{}", parts[0], parts[1], URL_SAFE_NO_PAD.encode([0; 64])),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}.x"),
        format!("{token}="),
        format!("{token}.x.y"),
        parts[1].to_owned(),
        "..".to_owned(),
        ".".repeat(10_000),
        String::new(),
        format!(" {token}"),
        // Deep JSON in the header.
        format!("{}.{}.{}", URL_SAFE_NO_PAD.encode("[".repeat(9_000)), parts[1], parts[2]),
    ] {
        assert!(verify(&forged, &own).is_err(), "{}", forged.chars().take(200).collect::<String>());
    }
    assert!(verify(&token, &own).is_ok());
}

#[test]
fn tokens_for_something_else_and_with_unknown_extensions_are_refused() {
    let signer = Signer::ed25519("a");
    let own = key(&signer.jwk()).unwrap();
    let with = |header: Value| verify(&signer.token_with(&header, &json!({})), &own).is_ok();
    for typ in ["JWT", "jwt", "at+jwt", "application/at+jwt"] {
        assert!(with(json!({ "alg": "EdDSA", "typ": typ })), "{typ}");
    }
    assert!(with(json!({ "alg": "EdDSA" })));
    for typ in ["dpop+jwt", "logout+jwt", "x"] {
        assert!(!with(json!({ "alg": "EdDSA", "typ": typ })), "{typ}");
    }
    assert!(!with(json!({ "alg": "EdDSA", "crit": ["exp"] })));
}
