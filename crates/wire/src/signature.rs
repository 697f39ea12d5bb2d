//! The signatures of deliveries.
//!
//! There are two schemes over the same bytes: Pulumi's own (wire-facts.md#signature) and Standard Webhooks.
//! Only the latter also covers id and time, so that a receiver can reject a replayed request.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use stackbell_model::Timestamp;
use stackbell_model::ids::EventId;
use stackbell_model::secret::{STANDARD_PREFIX, WebhookSecret};
use zeroize::Zeroizing;

/// Secrets saved now have padding. Earlier versions also saved secrets without it, and receivers still use
/// those.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A webhook's secret, prepared for signing. Make it once and keep it: it holds HMAC states with the key
/// already applied. `Debug` shows nothing of it, and it is wiped from memory when dropped.
#[derive(Clone)]
pub struct SigningKey {
    pulumi: Hmac<Sha256>,
    standard: Hmac<Sha256>,
}

impl SigningKey {
    /// Prepares `secret`.
    ///
    /// The key of Pulumi's signature is the secret's bytes. Standard Webhooks uses the same key, unless the
    /// secret is `whsec_` and base64 of at least one byte: then the key is the decoded bytes, as in every
    /// receiver's library. For any other secret, the receiver configures its library with `whsec_` and base64
    /// of the secret.
    pub fn new(secret: &WebhookSecret) -> Self {
        let text = secret.expose();
        let decoded = text.strip_prefix(STANDARD_PREFIX).and_then(|rest| LENIENT.decode(rest).ok());
        // Anybody could sign with an empty key.
        let decoded = decoded.map(Zeroizing::new).filter(|key| !key.is_empty());
        let pulumi = prepare(text.as_bytes());
        let standard = decoded.map_or_else(|| pulumi.clone(), |key| prepare(&key));
        Self { pulumi, standard }
    }

    /// `Pulumi-Webhook-Signature`: lowercase hex of HMAC-SHA-256 over exactly the body's bytes.
    pub fn sign_pulumi(&self, body: &[u8]) -> String {
        let mac = self.pulumi.clone().chain_update(body);
        hex::encode(mac.finalize().into_bytes())
    }

    /// One signature of `webhook-signature`: `v1,` and base64 of HMAC-SHA-256 over `{id}.{seconds}.{body}`.
    pub fn sign_standard(&self, id: EventId, at: Timestamp, body: &[u8]) -> String {
        let head = format!("{id}.{}.", at.as_secs());
        let mac = self.standard.clone().chain_update(head).chain_update(body);
        format!("v1,{}", general_purpose::STANDARD.encode(mac.finalize().into_bytes()))
    }
}

fn prepare(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// All keys of a webhook: the current one and, for a while after a rotation, the previous one.
#[derive(Clone, Debug)]
pub struct SigningKeys {
    /// The key of the webhook's secret.
    pub current: SigningKey,
    /// The key of the previous secret, and when it stops signing.
    pub previous: Option<(SigningKey, Timestamp)>,
}

impl SigningKeys {
    /// `Pulumi-Webhook-Signature`. The header has only one signature, the current key's.
    pub fn sign_pulumi(&self, body: &[u8]) -> String {
        self.current.sign_pulumi(body)
    }

    /// `webhook-signature` of a request that starts at `at`: the current key's signature and, while the
    /// previous key is valid, a space and its signature.
    pub fn sign_standard(&self, id: EventId, at: Timestamp, body: &[u8]) -> String {
        let mut signatures = self.current.sign_standard(id, at, body);
        if let Some((previous, until)) = &self.previous
            && at < *until
        {
            signatures.push(' ');
            signatures.push_str(&previous.sign_standard(id, at, body));
        }
        signatures
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use standardwebhooks::Webhook;

    fn key(secret: &str) -> SigningKey {
        SigningKey::new(&WebhookSecret::from_stored(secret))
    }

    fn check_pulumi(body: &str, expected: &str) {
        assert_eq!(key("test").sign_pulumi(body.as_bytes()), expected);
    }

    #[test]
    fn pulumi_signatures_are_those_observed() {
        check_pulumi(
            r#"{"timestamp":1778653144,"message":"🍹 Just a friendly ping from Pulumi 🍹"}"#,
            "d56b77df4dd68e623988b326d5e3c13d62906ba54d45f497aebb8347f24dec13",
        );
        check_pulumi(
            r#"{"timestamp":1778653205,"message":"🍹 Just a friendly ping from Pulumi 🍹"}"#,
            "95d20970c78cf451a50c415e699d71ab2e98199ebd4389e36695852b0964925e",
        );
    }

    const AT: Timestamp = Timestamp::from_millis(1_778_653_205_123);
    const BODY: &str = r#"{"timestamp":1778653205,"message":"🍹"}"#;

    fn id() -> EventId {
        EventId::from_uuid(uuid::uuid!("c64dd9a8-be18-4e6a-8208-2bb2efbbd13a"))
    }

    fn published(receiver: &Webhook) -> String {
        receiver.sign(&id().to_string(), AT.as_secs(), BODY.as_bytes()).expect("UTF-8")
    }

    /// Checks that the published library, configured with `receiver`, computes the same signature.
    fn check_standard(secret: &str, receiver: &str) {
        let receiver = Webhook::new(receiver).expect("a key in base64");
        assert_eq!(key(secret).sign_standard(id(), AT, BODY.as_bytes()), published(&receiver), "{secret}");
    }

    #[test]
    fn the_published_library_agrees() {
        check_standard("test", &format!("whsec_{}", general_purpose::STANDARD.encode("test")));
        check_standard("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        check_standard("whsec_dGVzdA==", "whsec_dGVzdA==");
        check_standard("whsec_dGVzdA", "whsec_dGVzdA==");
        for bad in ["whsec_not base64!", "whsec_"] {
            check_standard(bad, &general_purpose::STANDARD.encode(bad));
        }
    }

    #[test]
    fn after_a_rotation_both_keys_sign_for_a_while() {
        let (new, old) = (key("new"), key("old"));
        let until = AT.after(std::time::Duration::from_millis(1));
        let sign = |at: Timestamp| {
            let keys = SigningKeys { current: new.clone(), previous: Some((old.clone(), until)) };
            keys.sign_standard(id(), at, BODY.as_bytes())
        };
        let one = |key: &SigningKey, at| key.sign_standard(id(), at, BODY.as_bytes());
        assert_eq!(sign(AT), format!("{} {}", one(&new, AT), one(&old, AT)));
        assert_eq!(sign(until), one(&new, until));
    }

    #[test]
    fn keys_are_not_shown() {
        let keys = SigningKeys { current: key("hidden"), previous: Some((key("hidden"), AT)) };
        assert!(!format!("{keys:?}").contains("hidden"));
        assert_eq!(format!("{:?}", keys.current), "SigningKey(…)");
    }
}
