//! Signatures of requests, as the Standard Webhooks specification has them, so that receivers can check them with a
//! library of their language: HMAC-SHA-256 over id, timestamp and body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use ionveil_actors::error::Invalid;
use sha2::Sha256;

use super::secret::Revealed;

/// Shortest key, in bytes: what the specification asks for.
const KEY_BYTES_MIN: usize = 24;

/// The key that requests are signed with.
#[derive(Clone)]
pub(super) struct Signer {
    keyed: Hmac<Sha256>,
}

impl Signer {
    /// `whsec_` and base64, or the bytes as they are.
    pub(super) fn new(secret: &Revealed, field: &str) -> Result<Self, Invalid> {
        let key = match secret.expose().strip_prefix("whsec_") {
            Some(encoded) => STANDARD
                .decode(encoded)
                .map_err(|_| Invalid::new(field, "not base64 after whsec_", "whsec_ and base64, or any other text"))?,
            None => secret.expose().as_bytes().to_vec(),
        };
        if key.len() < KEY_BYTES_MIN {
            let allowed = format!("at least {KEY_BYTES_MIN} bytes");
            return Err(Invalid::new(field, format_args!("a key of {} bytes", key.len()), allowed));
        }
        Ok(Signer { keyed: Hmac::new_from_slice(&key).expect("HMAC takes keys of any length") })
    }

    /// The value of the header `webhook-signature`. `id` has no full stop in it, so that the parts cannot be shifted.
    pub(super) fn sign(&self, id: &str, timestamp_seconds: u64, body: &[u8]) -> String {
        let mut mac = self.keyed.clone();
        mac.update(format!("{id}.{timestamp_seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channels::secret::Secret;

    fn revealed(text: &str) -> Revealed {
        Secret::Env("KEY".into()).read("key", &|_| Some(text.to_owned())).expect("a secret")
    }

    #[test]
    fn it_signs_as_the_specifications_example_does() {
        let signer = Signer::new(&revealed("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "key").expect("a key");
        let signature = signer.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_part_is_signed() {
        let signer = Signer::new(&revealed("a secret of twenty-four bytes or more"), "key").expect("a key");
        let signed = signer.sign("id", 1, b"body");
        for other in [signer.sign("ie", 1, b"body"), signer.sign("id", 2, b"body"), signer.sign("id", 1, b"bodx")] {
            assert_ne!(other, signed);
        }
    }

    #[test]
    fn a_key_that_is_short_or_no_base64_is_refused_without_being_shown() {
        for text in ["short", "whsec_????", "whsec_c2hvcnQ="] {
            let refusal = Signer::new(&revealed(text), "channels.webhook.signing_secret").err().expect("refused");
            assert!(!refusal.to_string().contains(text), "{refusal}");
        }
    }
}
