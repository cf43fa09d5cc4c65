//! The token in every form: only a page that was drawn here, for the same person, has it.
//!
//! What a browser says of where a form comes from ([`gate`](super::gate)) is enough for browsers that say it rightly; this
//! does not depend on them. Nothing is kept for it: a token is made from who they are, and found good in the same way.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::{hmac, rand};

use crate::access::Identity;

/// Makes the tokens. They are good until the bridge ends.
pub(super) struct Seal(hmac::Key);

impl Seal {
    /// What stands in the forms of whoever this is.
    pub(super) fn token(&self, identity: &Identity) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &of(identity)))
    }

    /// Whether this stood in a form of theirs.
    pub(super) fn is_good(&self, token: &str, identity: &Identity) -> bool {
        let token = URL_SAFE_NO_PAD.decode(token).unwrap_or_default();
        hmac::verify(&self.0, &of(identity), &token).is_ok()
    }
}

/// Whoever it is: the same name by two means may be two people.
fn of(identity: &Identity) -> Vec<u8> {
    format!("{:?} {}", identity.means, identity.name).into_bytes()
}

impl Default for Seal {
    fn default() -> Self {
        let random = rand::SystemRandom::new();
        Self(hmac::Key::generate(hmac::HMAC_SHA256, &random).expect("the system has random numbers"))
    }
}

impl std::fmt::Debug for Seal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Grants, Means};

    #[test]
    fn hazard_a_token_is_good_for_one_person_and_one_run_of_the_bridge() {
        let who = |name: &str, means| {
            let grants = Grants::new(Vec::new(), None).into();
            Identity { name: name.into(), means, grants }
        };
        let (one, other) = (Seal::default(), Seal::default());
        let token = one.token(&who("ann", Means::Basic));
        assert!(one.is_good(&token, &who("ann", Means::Basic)));
        assert!(!one.is_good(&token, &who("bob", Means::Basic)));
        assert!(!one.is_good(&token, &who("ann", Means::Certificate)));
        assert!(!other.is_good(&token, &who("ann", Means::Basic)));
        for bad in ["", "AAAA", &token[1..], "\u{e9}"] {
            assert!(!one.is_good(bad, &who("ann", Means::Basic)), "{bad}");
        }
    }
}
