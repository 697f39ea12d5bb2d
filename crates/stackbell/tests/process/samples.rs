//! The running binary sends every sample of a payload.

use std::fs;
use std::path::Path;

use serde_json::value::RawValue;
use stackbell_model::filter::Filter;
use stackbell_testkit::Receiver;

use crate::support::{compact, hmac_hex, register, server, signed_webhook};

const SECRET: &str = "a secret for samples";

/// Filter and payload of each sample, with our organization in place of its own.
fn samples() -> Vec<(Filter, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../payload/golden/payloads");
    let paths = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("readable").path());
    let mut samples: Vec<_> = paths
        .filter_map(|path| {
            let filter = Filter::parse(path.file_stem()?.to_str()?)?;
            let text = fs::read_to_string(path).expect("readable");
            Some((filter, text.replace(r#""githubLogin": "crazy-adventures""#, r#""githubLogin": "acme""#)))
        })
        .collect();
    samples.sort_by_key(|(filter, _)| filter.as_str());
    samples
}

/// Each sample is published and compared with the delivered body. Source: wire-facts.md#raw-payloads.
#[tokio::test]
async fn each_sample_arrives_byte_for_byte_compact_signed_and_of_its_kind() {
    let samples = samples();
    assert_eq!(samples.len(), 44);
    let (server, receiver) = tokio::join!(server(), Receiver::start());
    let client = server.client();
    register(&client, &signed_webhook("all", &receiver.url("/all"), SECRET)).await;
    for (count, (filter, text)) in (1..).zip(&samples) {
        let payload: &RawValue = serde_json::from_str(text).expect("a sample in JSON");
        let event = format!(r#"{{"kind":"{}","payload":{payload}}}"#, filter.kind().as_str());
        let answer =
            client.send(http::Method::POST, "/v1/orgs/acme/events", &[], event.into()).await.expect(202);
        let accepted = answer.json();
        let filters = accepted["filters"].as_array().expect("an array");
        assert!(filters.contains(&filter.as_str().into()), "{}: {filters:?}", filter.as_str());
        let requests = receiver.wait_for(count).await;
        let request = &requests[count - 1];
        assert_eq!(request.text(), compact(text), "{}", filter.as_str());
        assert_eq!(request.header("Pulumi-Webhook-Kind"), Some(filter.kind().as_str()));
        assert_eq!(request.header("Pulumi-Webhook-Signature"), Some(&*hmac_hex(SECRET, &request.body)));
        assert_eq!(accepted["id"], request.id());
    }
    server.assert_quiet();
}
