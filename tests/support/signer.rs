//! Keys of a made-up issuer, generated when the test runs, and tokens that are signed with them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};

/// A private key with its name.
pub(crate) struct Signer {
    pub(crate) id: String,
    material: Material,
    random: SystemRandom,
    /// The public key of an RSA one, in PEM.
    pub(crate) public_pem: Vec<u8>,
}

enum Material {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Signer {
    /// An RSA key of 2048 bits.
    pub(crate) fn rsa(id: &str) -> Self {
        let pem = openssl(&["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"], &[]);
        let pkcs8 = openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &pem);
        let pair = RsaKeyPair::from_pkcs8(&pkcs8).unwrap();
        let public_pem = openssl(&["pkey", "-pubout"], &pem);
        Self {
            id: id.to_owned(),
            material: Material::Rsa(Box::new(pair)),
            random: SystemRandom::new(),
            public_pem,
        }
    }

    /// A key on P-256.
    pub(crate) fn p256(id: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        Self { id: id.to_owned(), material: Material::P256(pair), random, public_pem: Vec::new() }
    }

    /// An Ed25519 key.
    pub(crate) fn ed25519(id: &str) -> Self {
        let random = SystemRandom::new();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        Self { id: id.to_owned(), material: Material::Ed25519(pair), random, public_pem: Vec::new() }
    }

    /// The public key as it is published.
    pub(crate) fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.material {
            Material::Rsa(pair) => {
                let public = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                json!({ "kty": "RSA", "n": text(&public.n), "e": text(&public.e) })
            }
            Material::P256(pair) => {
                let point = pair.public_key().as_ref();
                json!({ "kty": "EC", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..]) })
            }
            Material::Ed25519(pair) => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) })
            }
        };
        jwk["kid"] = json!(self.id);
        jwk["use"] = json!("sig");
        jwk
    }

    /// A token with these claims, signed as such keys mostly sign.
    pub(crate) fn token(&self, claims: &Value) -> String {
        let algorithm = match self.material {
            Material::Rsa(_) => "RS256",
            Material::P256(_) => "ES256",
            Material::Ed25519(_) => "EdDSA",
        };
        self.token_with(&json!({ "alg": algorithm, "typ": "JWT", "kid": self.id }), claims)
    }

    /// A token with this header. What its `alg` says decides how it is signed, truthfully or not: `HS256` is an HMAC with
    /// the PEM text of the public key, anything unknown has no signature.
    pub(crate) fn token_with(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let bytes = signed.as_bytes();
        let signature = match (header["alg"].as_str().unwrap_or_default(), &self.material) {
            ("HS256", _) => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &self.public_pem);
                hmac::sign(&key, bytes).as_ref().to_vec()
            }
            (algorithm @ ("RS256" | "PS256"), Material::Rsa(pair)) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                match algorithm {
                    "RS256" => pair.sign(&RSA_PKCS1_SHA256, &self.random, bytes, &mut signature).unwrap(),
                    _ => pair.sign(&RSA_PSS_SHA256, &self.random, bytes, &mut signature).unwrap(),
                }
                signature
            }
            ("ES256", Material::P256(pair)) => pair.sign(&self.random, bytes).unwrap().as_ref().to_vec(),
            ("EdDSA", Material::Ed25519(pair)) => pair.sign(bytes).as_ref().to_vec(),
            _ => Vec::new(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn encode(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the tests make their RSA keys with the program `openssl`");
    // Some commands read nothing.
    let _ = child.stdin.take().unwrap().write_all(input);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}
