//! Signed tokens (JSON Web Signature, RFC 7515) and the public keys that verify them (JSON Web Key, RFC 7517).
//!
//! A key says which algorithms it is for, and a token can choose among these alone: one that calls itself unsigned, or
//! that is "signed" with a public key taken for a shared secret, finds no key.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest RSA modulus, in bytes: larger ones cost more than they protect.
const MAX_RSA: usize = 1024;
/// What tokens that are meant for us may call themselves (RFC 7519 5.1, RFC 9068 2.1).
const TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// How a token is signed (RFC 7518 3.1), always with a private key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA, PKCS#1 1.5, SHA-256.
    Rs256,
    /// RSA, PKCS#1 1.5, SHA-384.
    Rs384,
    /// RSA, PKCS#1 1.5, SHA-512.
    Rs512,
    /// RSA, PSS, SHA-256.
    Ps256,
    /// RSA, PSS, SHA-384.
    Ps384,
    /// RSA, PSS, SHA-512.
    Ps512,
    /// ECDSA on P-256, SHA-256.
    Es256,
    /// ECDSA on P-384, SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl Algorithm {
    /// All of them, by their names.
    pub const ALL: [(&'static str, Self); 9] = [
        ("RS256", Self::Rs256),
        ("RS384", Self::Rs384),
        ("RS512", Self::Rs512),
        ("PS256", Self::Ps256),
        ("PS384", Self::Ps384),
        ("PS512", Self::Ps512),
        ("ES256", Self::Es256),
        ("ES384", Self::Es384),
        ("EdDSA", Self::EdDsa),
    ];

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
    }

    /// The kind of key that it wants.
    fn kind(self) -> Kind {
        match self {
            Self::Rs256 | Self::Rs384 | Self::Rs512 | Self::Ps256 | Self::Ps384 | Self::Ps512 => Kind::Rsa,
            Self::Es256 => Kind::P256,
            Self::Es384 => Kind::P384,
            Self::EdDsa => Kind::Ed25519,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Rsa,
    P256,
    P384,
    Ed25519,
}

/// The text names no algorithm that is taken here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no algorithm of signatures with a public key")]
pub struct BadAlgorithm;

impl std::str::FromStr for Algorithm {
    type Err = BadAlgorithm;

    fn from_str(text: &str) -> Result<Self, BadAlgorithm> {
        Self::named(text).ok_or(BadAlgorithm)
    }
}

/// A token, taken apart and not yet believed.
#[derive(Debug)]
pub(super) struct Token<'a> {
    algorithm: Algorithm,
    /// Which key it is signed with.
    pub(super) key_id: Option<String>,
    signed: &'a [u8],
    signature: Vec<u8>,
    payload: &'a str,
}

#[derive(Debug, Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    typ: Option<String>,
    /// Extensions that must be understood (RFC 7515 4.1.11): none is.
    crit: Option<Value>,
}

impl<'a> Token<'a> {
    /// Takes a token apart; what is wrong with it otherwise.
    pub(super) fn read(text: &'a str) -> Result<Self, &'static str> {
        const MALFORMED: &str = "the token is neither known nor a signed one";
        let mut parts = text.splitn(4, '.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(MALFORMED);
        };
        let signed = &text.as_bytes()[..header.len() + 1 + payload.len()];
        let header: Header =
            serde_json::from_slice(&decode(header).ok_or(MALFORMED)?).map_err(|_| MALFORMED)?;
        if header.crit.is_some() {
            return Err("the token has extensions that are not known here");
        }
        let typ = header.typ.unwrap_or_default().to_ascii_lowercase();
        let typ = typ.strip_prefix("application/").unwrap_or(&typ);
        if !typ.is_empty() && !TYPES.contains(&typ) {
            return Err("the token is one for something else");
        }
        let algorithm = Algorithm::named(&header.alg).ok_or("the token is not signed as it must be")?;
        let signature = decode(signature).ok_or(MALFORMED)?;
        Ok(Self { algorithm, key_id: header.kid, signed, signature, payload })
    }

    /// What the token says, where one of these keys has signed it.
    pub(super) fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k Key>,
    ) -> Result<Map<String, Value>, &'static str> {
        let mut keys = keys.into_iter().filter(|key| key.algorithms.contains(&self.algorithm));
        if !keys.any(|key| key.has_signed(self.algorithm, self.signed, &self.signature)) {
            return Err("the token's signature is not the issuer's");
        }
        let payload = decode(self.payload).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match payload {
            Some(Value::Object(claims)) => Ok(claims),
            _ => Err("the token says nothing that can be read"),
        }
    }
}

/// A public key of an issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    /// Its name.
    pub(super) id: Option<String>,
    algorithms: Vec<Algorithm>,
    material: Material,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Material {
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// As ring takes it: a point without compression, or the bytes of Ed25519.
    Other(Vec<u8>),
}

/// A key as it is published.
#[derive(Debug, Deserialize)]
pub(super) struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    /// The key, where it is one that verifies signatures by some of `allowed`.
    pub(super) fn of(jwk: &Jwk, allowed: &[Algorithm]) -> Option<Self> {
        if jwk.usage.as_deref().is_some_and(|usage| usage != "sig") {
            return None;
        }
        let bytes = |text: &Option<String>| decode(text.as_deref()?);
        let (kind, material) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let n: Vec<u8> = bytes(&jwk.n)?.into_iter().skip_while(|byte| *byte == 0).collect();
                let e: Vec<u8> = bytes(&jwk.e)?.into_iter().skip_while(|byte| *byte == 0).collect();
                (n.len() <= MAX_RSA).then_some((Kind::Rsa, Material::Rsa { n, e }))?
            }
            ("EC", Some(curve @ ("P-256" | "P-384"))) => {
                let (kind, length) = if curve == "P-256" { (Kind::P256, 32) } else { (Kind::P384, 48) };
                let (x, y) = (bytes(&jwk.x)?, bytes(&jwk.y)?);
                let point = [&[4][..], &x, &y].concat();
                (x.len() == length && y.len() == length).then_some((kind, Material::Other(point)))?
            }
            ("OKP", Some("Ed25519")) => (Kind::Ed25519, Material::Other(bytes(&jwk.x)?)),
            // `oct` too, a shared secret: whoever verifies with it could sign.
            _ => return None,
        };
        let own = match &jwk.alg {
            Some(name) => Some(Algorithm::named(name)?),
            None => None,
        };
        let fits =
            |algorithm: &&Algorithm| algorithm.kind() == kind && own.is_none_or(|own| own == **algorithm);
        let algorithms: Vec<Algorithm> = allowed.iter().filter(fits).copied().collect();
        (!algorithms.is_empty()).then(|| Self { id: jwk.kid.clone(), algorithms, material })
    }

    fn has_signed(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let rsa = |parameters: &'static RsaParameters| match &self.material {
            Material::Rsa { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(parameters, message, signature).is_ok()
            }
            Material::Other(_) => false,
        };
        let other = |verification: &'static dyn VerificationAlgorithm| match &self.material {
            Material::Other(bytes) => {
                UnparsedPublicKey::new(verification, bytes).verify(message, signature).is_ok()
            }
            Material::Rsa { .. } => false,
        };
        match algorithm {
            Algorithm::Rs256 => rsa(&RSA_PKCS1_2048_8192_SHA256),
            Algorithm::Rs384 => rsa(&RSA_PKCS1_2048_8192_SHA384),
            Algorithm::Rs512 => rsa(&RSA_PKCS1_2048_8192_SHA512),
            Algorithm::Ps256 => rsa(&RSA_PSS_2048_8192_SHA256),
            Algorithm::Ps384 => rsa(&RSA_PSS_2048_8192_SHA384),
            Algorithm::Ps512 => rsa(&RSA_PSS_2048_8192_SHA512),
            Algorithm::Es256 => other(&ECDSA_P256_SHA256_FIXED),
            Algorithm::Es384 => other(&ECDSA_P384_SHA384_FIXED),
            Algorithm::EdDsa => other(&ED25519),
        }
    }
}

fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

#[cfg(test)]
mod tests;
