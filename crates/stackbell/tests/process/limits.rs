//! Each configurable limit is enforced as docs/operating.md says, with a helpful message.

use serde_json::{Value, json};
use stackbell_testkit::{Answer, Gate, Receiver, Reply, wait};

use crate::support::{register, setup, update, webhook};

const EVENTS: &str = "/v1/orgs/acme/events";

#[track_caller]
fn check(answer: Answer, status: u16, text: &str) {
    let has_wait = answer.headers.contains_key("retry-after");
    let answer = answer.expect(status);
    assert!(answer.text().contains(text), "{text}: {}", answer.text());
    assert_eq!(has_wait, status == 429, "{}", answer.text());
}

#[tokio::test]
async fn requests_are_limited() {
    let server = setup()
        .flag("--payload-bytes-max", "1KiB")
        .flag("--request-bytes-max", "8KiB")
        .flag("--events-in-request-max", "2")
        .flag("--webhooks-in-scope-max", "1")
        .start()
        .await;
    let client = server.client();
    let mut large = update();
    large["payload"]["notes"] = "of ours ".repeat(128).into();
    check(client.post(EVENTS, &large).await, 400, "longer than 1024 bytes");
    let huge = json!([update(), {"padding": "x".repeat(8 * 1024)}]);
    check(client.post(EVENTS, &huge).await, 413, "at most 8192 bytes");
    check(client.post(EVENTS, &Value::from(vec![update(); 3])).await, 400, "at most 2");
    client.post(EVENTS, &Value::from(vec![update(); 2])).await.expect(202);
    let url = "https://example.com/";
    register(&client, &webhook("one", url)).await;
    check(client.post("/api/orgs/acme/hooks", &webhook("two", url)).await, 400, "webhooks_in_scope_max");
}

#[tokio::test]
async fn quotas_are_limited() {
    let server = setup().flag("--pending-deliveries-max", "2").flag("--retry-schedule", "1h").start().await;
    let (client, receiver) = (server.client(), Receiver::start().await);
    receiver.answer(Reply::status(500));
    register(&client, &webhook("hook", &receiver.url("/"))).await;
    let refused = wait::until("a refusal", || async {
        let answer = client.post(EVENTS, &update()).await;
        (answer.status != 202).then_some(answer)
    });
    check(refused.await, 429, "pending_deliveries_max");
    assert!(receiver.count() <= 2);
}

/// The last wait of the schedule is short, so the delivery ends at once.
#[tokio::test]
async fn the_retry_schedule_is_the_one_that_is_set() {
    let server = setup().flag("--retry-schedule", "10ms,20ms").start().await;
    let (client, receiver) = (server.client(), Receiver::start().await);
    receiver.answer(Reply::status(500));
    register(&client, &webhook("hook", &receiver.url("/"))).await;
    client.post(EVENTS, &update()).await.expect(202);
    wait::until("a delivery that failed", || async {
        let failed = client.get("/v1/orgs/acme/deliveries?state=failed").await.expect(200).json();
        (failed[0]["failReason"] == "attempts_exhausted").then_some(())
    })
    .await;
    assert_eq!(receiver.count(), 3);
}

#[tokio::test]
async fn a_token_has_a_rate() {
    let server = setup().flag("--requests-per-second", "1").start().await;
    let client = server.client();
    let refused = wait::until("a refusal", || async {
        let answer = client.get("/v1/orgs/acme/webhooks").await;
        (answer.status != 200).then_some(answer)
    });
    check(refused.await, 429, "requests_per_second");
}

#[tokio::test]
async fn an_exchange_has_the_time_that_is_set() {
    let server = setup().flag("--exchange-timeout", "1s").start().await;
    let (client, receiver) = (server.client(), Receiver::start().await);
    let gate = Gate::new();
    receiver.answer(Reply::status(200).behind(&gate));
    register(&client, &webhook("hook", &receiver.url("/"))).await;
    let ping = client.post_empty("/api/orgs/acme/hooks/hook/ping").await.expect(200).json();
    assert_eq!(ping["responseCode"], 0, "{ping}");
    assert!(ping["responseBody"].as_str().is_some_and(|text| text.contains("within 1s")), "{ping}");
}
