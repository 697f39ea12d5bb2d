//! Webhooks and deliveries show that an endpoint fails.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ORGANIZATION, Receiver, World, event, webhook};

fn path(of: &str) -> String {
    format!("/v1/orgs/{ORGANIZATION}/{of}")
}

/// The only webhook of the organization, once its circuit breaker is in this state.
async fn webhook_with(world: &World, state: &str) -> Value {
    let look = async {
        loop {
            let list = world.admin("GET", &path("webhooks"), Value::Null).await.expect(200);
            if list[0]["breaker"]["state"] == state {
                return list[0].clone();
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), look).await.expect("a breaker in this state")
}

/// The delivery number `index`, counted from the oldest.
async fn waiting(world: &World, index: usize) -> Value {
    let list = world.admin("GET", &path("deliveries?state=pending"), Value::Null).await.expect(200);
    let list = list.as_array().expect("a list");
    let id = list[list.len() - 1 - index]["id"].as_str().expect("an id");
    world.admin("GET", &path(&format!("deliveries/{id}")), Value::Null).await.expect(200)["waiting"].clone()
}

async fn failing() -> (World, Receiver) {
    let world = World::start().await;
    let receiver = Receiver::answering(StatusCode::SERVICE_UNAVAILABLE).await;
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    world.admin("POST", &hooks, webhook("a", &receiver.url())).await.expect(201);
    (world, receiver)
}

#[tokio::test]
async fn a_webhook_whose_breaker_is_open_says_so() {
    let (world, mut receiver) = failing().await;
    let closed = webhook_with(&world, "closed").await;
    assert_eq!(closed["breaker"], json!({"state": "closed"}));
    for _ in 0..5 {
        world.admin("POST", &path("events"), event(None)).await.expect(202);
        receiver.next().await;
    }
    let listed = webhook_with(&world, "open").await;
    assert_eq!(listed["breaker"].get("because"), None, "a list says no reason");
    let one = path(&format!("webhooks/{}", listed["id"].as_str().expect("an id")));
    let webhook = world.admin("GET", &one, Value::Null).await.expect(200);
    assert_eq!(webhook["state"], "active");
    let breaker = &webhook["breaker"];
    assert_eq!((&breaker["state"], &breaker["cause"]), (&json!("open"), &json!("failures")));
    assert_eq!(breaker["because"], "the endpoint answered 503");
    assert_eq!(breaker["failures"], 5);
    for field in ["until", "failingSince"] {
        assert!(breaker[field].as_str().is_some_and(|moment| moment.ends_with('Z')), "{breaker}");
    }
    // Pulumi's API shows none of our fields.
    let hook =
        world.admin("GET", &format!("/api/orgs/{ORGANIZATION}/hooks/a"), Value::Null).await.expect(200);
    assert_eq!(hook.get("breaker"), None);

    // A failed delivery waits for its next attempt. A newer delivery waits for the circuit breaker.
    let failed = waiting(&world, 0).await;
    assert_eq!(
        (&failed["reason"], &failed["because"]),
        (&json!("backoff"), &json!("the endpoint answered 503"))
    );
    assert!(failed["until"].as_str() >= breaker["until"].as_str(), "{failed} {breaker}");
    world.admin("POST", &path("events"), event(None)).await.expect(202);
    let held = waiting(&world, 5).await;
    assert_eq!((&held["reason"], &held["because"]), (&json!("breaker"), &json!("the endpoint answered 503")));
    assert_eq!(held["until"], breaker["until"]);
}

#[tokio::test]
async fn a_delivery_says_whom_it_waits_for() {
    let (world, mut receiver) = failing().await;
    world.admin("POST", &path("events"), event(None)).await.expect(202);
    receiver.next().await;
    let listed = webhook_with(&world, "closed").await;
    world.admin("POST", "/v1/instance/sending/hold", json!({"reason": "a test"})).await.expect(200);
    let held = async {
        while waiting(&world, 0).await != json!({"reason": "sending_held"}) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), held).await.expect("it is held");
    let one = path(&format!("webhooks/{}", listed["id"].as_str().expect("an id")));
    let pause = json!({"active": false, "pauseReason": "it moves"});
    world.admin("PATCH", &one, pause).await.expect(200);
    assert_eq!(waiting(&world, 0).await, json!({"reason": "inactive", "because": "it moves"}));
}
