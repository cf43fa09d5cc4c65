//! UIDs in place of others: the same for the same, and nobody without the key can tell whose they are.

use ring::digest::{SHA256, digest};
use ring::hmac::{self, HMAC_SHA256};

use crate::dicom::Uid;

/// What the UIDs of the standard begin with, which are nobody's (PS3.5 9.1).
const STANDARD: &[u8] = b"1.2.840.10008.";

/// The key under which UIDs are replaced. Objects that are de-identified under the same one refer to each other as before;
/// who has it can find out which object a UID was given to, if they know the object. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// A key that nobody knows, and that is forgotten with the process.
    pub fn random() -> Self {
        Self(rand::random())
    }

    /// The key of a secret that is kept elsewhere.
    pub fn from_secret(secret: &[u8]) -> Self {
        let digest = digest(&SHA256, secret);
        Self(digest.as_ref().first_chunk().copied().unwrap_or_default())
    }

    /// The UID in place of this one.
    pub fn uid(&self, uid: &Uid) -> Uid {
        let text = self.text(uid.as_str().as_bytes());
        text.parse().expect("2.25 and a number of 128 bits is a UID")
    }

    /// The values in place of these, of VR UI, without padding. What is no UID becomes one all the same; empty values stay
    /// empty, and those of the standard as they are, where it `keeps` them.
    pub(super) fn uids(&self, values: &[u8], keeps: bool) -> Vec<u8> {
        let padding = |byte: &u8| matches!(byte, 0 | b' ');
        let replaced = values.split(|byte| *byte == b'\\').map(|value| {
            let begin = value.iter().position(|byte| !padding(byte)).unwrap_or(value.len());
            let end = value.iter().rposition(|byte| !padding(byte)).map_or(begin, |last| last + 1);
            match &value[begin..end] {
                [] => Vec::new(),
                known if keeps && known.starts_with(STANDARD) => known.to_vec(),
                value => self.text(value).into_bytes(),
            }
        });
        replaced.collect::<Vec<_>>().join(&b'\\')
    }

    /// A UID of a UUID (PS3.5 B.2), which is a keyed hash (version 8 of RFC 9562).
    fn text(&self, value: &[u8]) -> String {
        let hash = hmac::sign(&hmac::Key::new(HMAC_SHA256, &self.0), value);
        let first = hash.as_ref().first_chunk().copied().unwrap_or_default();
        let version_and_variant = 0xF << 76 | 0b11 << 62;
        let number = u128::from_be_bytes(first) & !version_and_variant | 8 << 76 | 0b10 << 62;
        format!("2.25.{number}")
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}
