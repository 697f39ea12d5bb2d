//! A received delivery, and the verdict on its signatures.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, StatusCode};
use stackbell_model::Timestamp;
use stackbell_model::ids::EventId;
use stackbell_wire::signature::SigningKey;
use subtle::ConstantTimeEq as _;

// Source of the names: wire-facts.md#outgoing-request.
pub(super) const ID: &str = "Pulumi-Webhook-Id";
pub(super) const KIND: &str = "Pulumi-Webhook-Kind";
const SIGNATURE: &str = "Pulumi-Webhook-Signature";
const STANDARD_ID: &str = "webhook-id";
const STANDARD_TIME: &str = "webhook-timestamp";
const STANDARD_SIGNATURE: &str = "webhook-signature";

/// The largest difference between a delivery's time and ours. The libraries of Standard Webhooks use this value.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// A request that was received.
#[derive(Debug)]
pub(super) struct Receipt {
    /// Its number, from 1.
    pub(super) number: u64,
    pub(super) at: Timestamp,
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) signatures: Signatures,
    /// The status of the response.
    pub(super) status: StatusCode,
}

impl Receipt {
    /// The text of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }
}

/// The verdict on one signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The signature is missing.
    Missing,
    /// There is a signature, but no key to check it with.
    Unchecked,
    /// The signature is right.
    Right,
    /// The signature is wrong, for this reason.
    Wrong(&'static str),
}

/// The verdicts of both schemes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Signatures {
    pub(super) pulumi: Verdict,
    pub(super) standard: Verdict,
    /// Whether there was a key to check with.
    has_key: bool,
}

impl Signatures {
    /// Checks the signatures of a request that arrived at `now`.
    pub(super) fn check(key: Option<&SigningKey>, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Self {
        let verdict =
            |name: &str, check: &dyn Fn(&SigningKey, &str) -> Verdict| match (text(headers, name), key) {
                (None, _) => Verdict::Missing,
                (Some(_), None) => Verdict::Unchecked,
                (Some(signature), Some(key)) => check(key, signature),
            };
        let pulumi = |key: &SigningKey, signature: &str| {
            if is_same(&key.sign_pulumi(body), signature) {
                Verdict::Right
            } else {
                Verdict::Wrong("made with another secret, or for another body")
            }
        };
        Self {
            pulumi: verdict(SIGNATURE, &pulumi),
            standard: verdict(STANDARD_SIGNATURE, &|key, signatures| {
                check_standard(key, headers, body, now, signatures)
            }),
            has_key: key.is_some(),
        }
    }

    /// Whether a receiver with the key must refuse the request.
    pub(super) fn are_wrong(&self) -> bool {
        let is_wrong = |verdict| matches!(verdict, Verdict::Wrong(_));
        // With a key, a missing signature counts as a wrong one.
        let is_unsigned = self.pulumi == Verdict::Missing && self.standard == Verdict::Missing;
        is_wrong(self.pulumi) || is_wrong(self.standard) || (self.has_key && is_unsigned)
    }
}

fn check_standard(
    key: &SigningKey,
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
    signatures: &str,
) -> Verdict {
    let Some(id) = text(headers, STANDARD_ID).and_then(EventId::parse) else {
        return Verdict::Wrong("webhook-id is no UUID");
    };
    let seconds = text(headers, STANDARD_TIME).and_then(|text| text.parse::<i64>().ok());
    let Some(at) = seconds.and_then(|seconds| seconds.checked_mul(1000)).map(Timestamp::from_millis) else {
        return Verdict::Wrong("webhook-timestamp is no number of seconds");
    };
    if now.since(at).max(at.since(now)) > TOLERANCE {
        return Verdict::Wrong("webhook-timestamp is more than 5 minutes off");
    }
    let expected = key.sign_standard(id, at, body);
    if signatures.split(' ').any(|signature| is_same(&expected, signature)) {
        return Verdict::Right;
    }
    Verdict::Wrong("made with another secret, or for another body")
}

/// Compares in constant time, so that the duration does not reveal how many bytes match.
fn is_same(expected: &str, given: &str) -> bool {
    expected.as_bytes().ct_eq(given.as_bytes()).into()
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use stackbell_model::secret::WebhookSecret;

    const NOW: Timestamp = Timestamp::from_millis(1_778_653_205_123);
    const UUID: &str = "c64dd9a8-be18-4e6a-8208-2bb2efbbd13a";
    const BODY: &[u8] = b"{}";

    fn key(secret: &str) -> SigningKey {
        SigningKey::new(&WebhookSecret::new(secret).expect("short enough"))
    }

    fn signed(key: &SigningKey, id: &str, at: Timestamp) -> HeaderMap {
        let event = EventId::parse(UUID).expect("a UUID");
        let headers = [
            (SIGNATURE, key.sign_pulumi(BODY)),
            (STANDARD_ID, id.to_owned()),
            (STANDARD_TIME, at.as_secs().to_string()),
            (STANDARD_SIGNATURE, format!("v1,old {}", key.sign_standard(event, at, BODY))),
        ];
        let parse = |(name, value): (&str, String)| {
            let name: axum::http::HeaderName = name.parse().expect("a name");
            (name, value.parse().expect("a value"))
        };
        headers.into_iter().map(parse).collect()
    }

    #[track_caller]
    fn check(headers: &HeaderMap, with: Option<&str>, pulumi: Verdict, standard: Verdict, wrong: bool) {
        let key = with.map(key);
        let signatures = Signatures::check(key.as_ref(), headers, BODY, NOW);
        assert_eq!((signatures.pulumi, signatures.standard), (pulumi, standard));
        assert_eq!(signatures.are_wrong(), wrong);
    }

    #[test]
    fn both_schemes_are_checked() {
        use Verdict::{Missing, Right, Unchecked, Wrong};
        let other = Wrong("made with another secret, or for another body");
        let good = signed(&key("a"), UUID, NOW);
        check(&good, Some("a"), Right, Right, false);
        check(&good, Some("b"), other, other, true);
        check(&good, None, Unchecked, Unchecked, false);
        check(&HeaderMap::new(), None, Missing, Missing, false);
        check(&HeaderMap::new(), Some("a"), Missing, Missing, true);
        let mut alone = good;
        alone.remove(STANDARD_SIGNATURE);
        check(&alone, Some("a"), Right, Missing, false);
        let strange = signed(&key("a"), "msg_1", NOW);
        check(&strange, Some("a"), Right, Wrong("webhook-id is no UUID"), true);
        let old = signed(&key("a"), UUID, NOW.after(TOLERANCE + Duration::from_secs(1)));
        check(&old, Some("a"), Right, Wrong("webhook-timestamp is more than 5 minutes off"), true);
    }
}
