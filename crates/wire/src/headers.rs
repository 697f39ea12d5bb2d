//! The headers of an outgoing request, and the form in which headers are recorded.

use std::borrow::Cow;

use stackbell_model::Timestamp;
use stackbell_model::ids::EventId;

use crate::signature::SigningKeys;

/// Our `User-Agent`. It is sent but not recorded, because receivers' logs have it anyway.
pub const USER_AGENT: &str = concat!("Stackbell/", env!("CARGO_PKG_VERSION"));

const ACCEPT: &str = "Accept";
const USER_AGENT_NAME: &str = "User-Agent";
const PULUMI_SIGNATURE: &str = "Pulumi-Webhook-Signature";
const STANDARD_SIGNATURE: &str = "webhook-signature";

/// One request of a delivery.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// The id of the event or ping; equal for every attempt.
    pub id: EventId,
    /// The event's kind, or `ping`.
    pub kind: &'static str,
    /// The body of the request.
    pub body: &'a [u8],
    /// The webhook's keys; `None` when it has no secret.
    pub keys: Option<&'a SigningKeys>,
    /// Whether to add the headers of Standard Webhooks. They need keys.
    pub standard_headers: bool,
    /// The start of the attempt.
    pub at: Timestamp,
}

/// The headers of one request that we set. The client adds `Host` and `Content-Length`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeaders(Vec<(&'static str, Cow<'static, str>)>);

impl RequestHeaders {
    /// Builds the headers of `request`. Source of names and values: wire-facts.md#outgoing-request.
    pub fn new(request: &Outgoing<'_>) -> Self {
        let mut headers = Vec::with_capacity(9);
        headers.push((ACCEPT, Cow::Borrowed("*/*")));
        headers.push(("Content-Type", Cow::Borrowed("application/json")));
        headers.push((USER_AGENT_NAME, Cow::Borrowed(USER_AGENT)));
        headers.push(("Pulumi-Webhook-Id", Cow::Owned(request.id.to_string())));
        headers.push(("Pulumi-Webhook-Kind", Cow::Borrowed(request.kind)));
        if let Some(keys) = request.keys {
            headers.push((PULUMI_SIGNATURE, Cow::Owned(keys.sign_pulumi(request.body))));
            if request.standard_headers {
                headers.push(("webhook-id", Cow::Owned(request.id.to_string())));
                headers.push(("webhook-timestamp", Cow::Owned(request.at.as_secs().to_string())));
                let signatures = keys.sign_standard(request.id, request.at, request.body);
                headers.push((STANDARD_SIGNATURE, Cow::Owned(signatures)));
            }
        }
        Self(headers)
    }

    /// Returns these headers with another `Accept`.
    #[must_use]
    pub fn with_accept(mut self, accept: &'static str) -> Self {
        self.0.retain(|(name, _)| *name != ACCEPT);
        self.0.push((ACCEPT, Cow::Borrowed(accept)));
        self
    }

    /// Names, spelled as on the wire, and values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (*name, value.as_ref()))
    }

    /// Names and values, owned, for sending.
    pub fn into_pairs(self) -> Vec<(&'static str, String)> {
        self.0.into_iter().map(|(name, value)| (name, value.into_owned())).collect()
    }

    /// The recorded form of these headers: see [`record_lines`].
    pub fn record_lines(&self) -> String {
        record_lines(self.iter().filter(|(name, _)| *name != USER_AGENT_NAME))
    }
}

/// The recorded form of headers: `Name: value` lines sorted by name, byte by byte, each ended by CRLF.
/// Source: wire-facts.md#webhook-delivery.
pub fn record_lines<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut headers: Vec<_> = headers.into_iter().collect();
    // The sort is stable, so repeated headers keep their order.
    headers.sort_by_key(|(name, _)| *name);
    let mut lines =
        String::with_capacity(headers.iter().map(|(name, value)| name.len() + value.len() + 4).sum());
    for (name, value) in headers {
        for part in [name, ": ", value, "\r\n"] {
            lines.push_str(part);
        }
    }
    lines
}

/// Masks the signatures in recorded request headers as `***`, for users with read access only. With a
/// signature and its body, they could try weak secrets offline.
pub fn mask_signatures(lines: &str) -> String {
    let mut masked = String::with_capacity(lines.len());
    for line in lines.split_inclusive("\r\n") {
        match line.split_once(": ") {
            Some((name, _)) if is_signature(name) => {
                masked.push_str(name);
                masked.push_str(": ***\r\n");
            }
            Some(_) | None => masked.push_str(line),
        }
    }
    masked
}

fn is_signature(name: &str) -> bool {
    [PULUMI_SIGNATURE, STANDARD_SIGNATURE].iter().any(|signature| name.eq_ignore_ascii_case(signature))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signature::SigningKey;
    use stackbell_model::secret::WebhookSecret;
    use stackbell_payload::ping;

    const AT: Timestamp = Timestamp::from_millis(1_778_653_205_000);

    fn keys() -> SigningKeys {
        let secret = WebhookSecret::new("test").expect("short enough");
        SigningKeys { current: SigningKey::new(&secret), previous: None }
    }

    fn ping_headers(keys: Option<&SigningKeys>, standard_headers: bool) -> RequestHeaders {
        let id = EventId::from_uuid(uuid::uuid!("c64dd9a8-be18-4e6a-8208-2bb2efbbd13a"));
        let body = ping::render(stackbell_model::webhook::Format::Raw, AT);
        RequestHeaders::new(&Outgoing { id, kind: ping::KIND, body: &body, keys, standard_headers, at: AT })
    }

    const SIGNED: &str = "Accept: */*\r\nContent-Type: application/json\r\nPulumi-Webhook-Id: c64dd9a8-be18-4e6a-8208-2bb2efbbd13a\r\nPulumi-Webhook-Kind: ping\r\nPulumi-Webhook-Signature: 95d20970c78cf451a50c415e699d71ab2e98199ebd4389e36695852b0964925e\r\n";

    #[test]
    fn records_are_those_observed() {
        assert_eq!(ping_headers(Some(&keys()), false).record_lines(), SIGNED);
        let id = EventId::from_uuid(uuid::uuid!("8d001000-7ef4-4086-b12a-3ec6d3ea1de9"));
        let unsigned = RequestHeaders::new(&Outgoing {
            id,
            kind: "stack_update",
            body: b"{}",
            keys: None,
            standard_headers: true,
            at: AT,
        });
        let expected = "Accept: */*\r\nContent-Type: application/json\r\nPulumi-Webhook-Id: 8d001000-7ef4-4086-b12a-3ec6d3ea1de9\r\nPulumi-Webhook-Kind: stack_update\r\n";
        assert_eq!(unsigned.record_lines(), expected);
    }

    #[test]
    fn standard_headers_come_after_in_the_record() {
        let headers = ping_headers(Some(&keys()), true);
        let lines = headers.record_lines();
        let standard = lines.strip_prefix(SIGNED).expect("upper case comes first");
        let names: Vec<_> =
            standard.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
        assert_eq!(names, ["webhook-id", "webhook-signature", "webhook-timestamp"]);
        assert!(standard.ends_with("webhook-timestamp: 1778653205\r\n"));
        let sent: Vec<_> = headers.iter().map(|(name, _)| name).collect();
        assert_eq!(
            sent,
            [
                "Accept",
                "Content-Type",
                "User-Agent",
                "Pulumi-Webhook-Id",
                "Pulumi-Webhook-Kind",
                "Pulumi-Webhook-Signature",
                "webhook-id",
                "webhook-timestamp",
                "webhook-signature",
            ]
        );
    }

    #[test]
    fn signatures_are_masked_whatever_their_case() {
        let masked = mask_signatures(&ping_headers(Some(&keys()), true).record_lines());
        assert_eq!(masked.lines().count(), 8);
        assert!(masked.contains("\r\nPulumi-Webhook-Signature: ***\r\n"));
        assert!(masked.contains("\r\nwebhook-signature: ***\r\n"));
        assert!(masked.contains("\r\nPulumi-Webhook-Kind: ping\r\n"));
        assert_eq!(mask_signatures("WEBHOOK-SIGNATURE: v1,x: y"), "WEBHOOK-SIGNATURE: ***\r\n");
        assert_eq!(mask_signatures(""), "");
    }

    #[test]
    fn doubled_headers_keep_their_order() {
        let lines = record_lines([("b", "2"), ("a", "1"), ("B", "0"), ("b", "1")]);
        assert_eq!(lines, "B: 0\r\na: 1\r\nb: 2\r\nb: 1\r\n");
    }
}
