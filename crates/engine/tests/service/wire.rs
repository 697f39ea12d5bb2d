//! Outgoing requests, byte for byte.

use http::{HeaderMap, HeaderName, HeaderValue};
use stackbell_engine::core::CoreConfig;
use stackbell_model::Clock as _;
use stackbell_model::secret::WebhookSecret;
use stackbell_model::webhook::StoredSecret;
use stackbell_system::SystemClock;
use stackbell_testkit::Request;

use crate::world::{PAYLOAD, World};

/// The lines of a request as received, sorted, with placeholders for values that differ between runs.
fn lines(request: &Request, world: &World) -> Vec<String> {
    let host = world.receiver.address().to_string();
    let mut lines: Vec<String> =
        request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    lines.push(format!("{} {}", request.method, request.path));
    lines.sort();
    lines.iter().map(|line| line.replace(&host, "{host}").replace(request.id(), "{id}")).collect()
}

/// Source: wire-facts.md#outgoing-request.
#[tokio::test]
async fn the_head_of_an_unsigned_request() {
    let mut world = World::start().await;
    world.webhook("hook", |_| ()).await;
    world.publish().await;
    let requests = world.receiver.wait_for(1).await;
    let expected = [
        "Accept-Encoding: identity",
        "Accept: */*",
        &format!("Content-Length: {}", PAYLOAD.len()),
        "Content-Type: application/json",
        "Host: {host}",
        "POST /hook",
        "Pulumi-Webhook-Id: {id}",
        "Pulumi-Webhook-Kind: stack_update",
        concat!("User-Agent: Stackbell/", env!("CARGO_PKG_VERSION")),
    ];
    assert_eq!(lines(&requests[0], &world), expected);
}

/// Source: wire-facts.md#signature and wire-facts.md#standard-webhooks.
#[tokio::test]
async fn the_head_of_a_signed_request() {
    let mut world = World::start().await;
    world.signed_webhook("hook", "test").await;
    world.publish().await;
    let requests = world.receiver.wait_for(1).await;
    let signature = requests[0].header("webhook-signature").expect("signed").to_owned();
    let expected = [
        "Accept-Encoding: identity",
        "Accept: */*",
        &format!("Content-Length: {}", PAYLOAD.len()),
        "Content-Type: application/json",
        "Host: {host}",
        "POST /hook",
        "Pulumi-Webhook-Id: {id}",
        "Pulumi-Webhook-Kind: stack_update",
        // printf '%s' "$PAYLOAD" | openssl dgst -sha256 -hmac test
        "Pulumi-Webhook-Signature: c1f11b03b9fad58734a0f52257fadea3db5bcf2da7f4ceeb5910c74027ba3e4c",
        concat!("User-Agent: Stackbell/", env!("CARGO_PKG_VERSION")),
        "webhook-id: {id}",
        &format!("webhook-signature: {signature}"),
        "webhook-timestamp: 1778653205",
    ];
    assert_eq!(lines(&requests[0], &world), expected);
}

/// The published library verifies the signature and the time.
#[tokio::test]
async fn stock_libraries_verify() {
    // Both forms of a secret. The library wants its 24 bytes in base64 after `whsec_`.
    for (secret, configured) in [
        ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("correct horse battery st", "whsec_Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0"),
    ] {
        let mut world = World::start_with(SystemClock.now(), CoreConfig::default()).await;
        world.signed_webhook("hook", secret).await;
        world.publish().await;
        let requests = world.receiver.wait_for(1).await;
        let headers: HeaderMap =
            requests[0].headers.iter().map(|(name, value)| header(name, value)).collect();
        let library = standardwebhooks::Webhook::new(configured).expect("a secret");
        library.verify(&requests[0].body, &headers).expect("verified");
        library.verify(b"{}", &headers).expect_err("other bytes");
    }
}

/// For a day after a rotation both secrets verify. Pulumi's own signature uses only the new one.
#[tokio::test]
async fn a_rotated_secret_verifies_for_a_day_more() {
    let mut world = World::start_with(SystemClock.now(), CoreConfig::default()).await;
    let webhook = world.signed_webhook("hook", "old").await;
    let until = world.clock.now().after(std::time::Duration::from_secs(24 * 3600));
    let keyring = std::sync::Arc::clone(&world.keyring);
    let mut entropy = world.entropy.clone();
    world
        .edit(&webhook, |webhook| {
            let new = WebhookSecret::new("new").expect("short enough");
            let old = webhook.secret.take().expect("it has one");
            let sealed = keyring.seal_secret(webhook.id, &new, &mut entropy);
            let fingerprint = keyring.fingerprint(webhook.id, &new);
            webhook.secret = Some(StoredSecret { sealed, fingerprint, previous: Some((old.sealed, until)) });
        })
        .await;
    for (count, verify) in [(1, [true, true]), (2, [true, false])] {
        world.publish().await;
        let requests = world.receiver.wait_for(count).await;
        let request = &requests[count - 1];
        let id = request.header("webhook-id").expect("signed");
        let at = request.header("webhook-timestamp").expect("signed").parse().expect("seconds");
        let signatures = request.header("webhook-signature").expect("signed");
        for (secret, expected) in ["new", "old"].into_iter().zip(verify) {
            let library = standardwebhooks::Webhook::from_bytes(secret.into()).expect("a key");
            let signature = library.sign(id, at, &request.body).expect("UTF-8");
            assert_eq!(signatures.split(' ').any(|one| one == signature), expected, "{secret}: {signatures}");
        }
        world.clock.advance_to(until);
    }
    let pulumi = |request: &Request| request.header("Pulumi-Webhook-Signature").map(str::to_owned);
    let requests = world.receiver.requests();
    assert_eq!(pulumi(&requests[0]), pulumi(&requests[1]));
}

fn header(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    (name.parse().expect("a name"), value.parse().expect("a value"))
}
