//! Our own API for users: deliveries, recoveries, statistics, the deployments credential, options of webhooks.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ORGANIZATION, Receiver, World, event, webhook};

fn path(of: &str) -> String {
    format!("/v1/orgs/{ORGANIZATION}/{of}")
}

/// The only delivery, once it is in this state.
async fn delivery_in(world: &World, state: &str) -> Value {
    loop {
        let list = world.admin("GET", &path("deliveries"), Value::Null).await.expect(200);
        if let Some(found) = list.as_array().and_then(|all| all.iter().find(|one| one["state"] == state)) {
            return found.clone();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_delivery_is_shown_and_redelivered_and_not_retried_once_it_has_succeeded() {
    let world = World::start().await;
    let mut receiver = Receiver::answering(StatusCode::OK).await;
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    world.admin("POST", &hooks, webhook("a", &receiver.url())).await.expect(201);
    world.admin("POST", &path("events"), event(None)).await.expect(202);
    receiver.next().await;
    let delivery = delivery_in(&world, "succeeded").await;
    assert_eq!((&delivery["webhook"]["name"], &delivery["attempts"]), (&json!("a"), &json!(1)));
    let one = path(&format!("deliveries/{}", delivery["id"].as_str().expect("an id")));
    let detail = world.admin("GET", &one, Value::Null).await.expect(200);
    assert_eq!(detail["history"][0]["responseCode"], 200);
    assert_eq!(detail["history"][0]["requestUrl"], receiver.url());
    assert!(detail["payload"].as_str().is_some_and(|payload| payload.contains(ORGANIZATION)));
    let viewer = world.user("viewer", Some("viewer")).await;
    let seen = world.ask(&viewer, "GET", &one, Value::Null).await.expect(200);
    assert_eq!(seen["history"][0]["requestUrl"], "http://127.0.0.1");
    let attempt = world.admin("POST", &format!("{one}/redeliver"), Value::Null).await.expect(200);
    assert_eq!((&attempt["trigger"], &attempt["responseCode"]), (&json!("redeliver"), &json!(200)));
    let retried = world.admin("POST", &format!("{one}/retry"), Value::Null).await.refusal(409);
    assert!(retried.starts_with("the delivery is succeeded: "), "{retried}");
    let cancelled = world.admin("POST", &format!("{one}/cancel"), Value::Null).await.refusal(409);
    assert_eq!(cancelled, "the delivery is succeeded: only a pending one can be cancelled");
    let statistics = world.admin("GET", &path("statistics"), Value::Null).await.expect(200);
    assert_eq!(statistics["buckets"].as_array().map(Vec::len), Some(24));
    assert_eq!(statistics["usage"]["pending"], 0);
    let none = path("deliveries?state=failed&kind=ping");
    assert_eq!(world.admin("GET", &none, Value::Null).await.expect(200), json!([]));
}

#[tokio::test]
async fn a_held_delivery_is_cancelled_and_recovered() {
    let world = World::start().await;
    let hold = json!({"reason": "a test"});
    world.admin("POST", "/v1/instance/sending/hold", hold).await.expect(200);
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    world.admin("POST", &hooks, webhook("a", "http://localhost.invalid/")).await.expect(201);
    world.admin("POST", &path("events"), event(None)).await.expect(202);
    let pending = delivery_in(&world, "pending").await;
    let one = path(&format!("deliveries/{}", pending["id"].as_str().expect("an id")));
    let cancelled = world.admin("POST", &format!("{one}/cancel"), Value::Null).await.expect(200);
    assert_eq!((&cancelled["state"], &cancelled["cancelledBy"]), (&json!("cancelled"), &json!("morty")));
    let webhook = pending["webhook"]["id"].as_str().expect("an id");
    let since = json!({"since": "2020-01-01T00:00:00Z"});
    let recoveries = path(&format!("webhooks/{webhook}/recoveries"));
    let recovery = world.admin("POST", &recoveries, since).await.expect(202);
    assert_eq!((&recovery["state"], &recovery["total"]), (&json!("running"), &json!(1)));
    let found = path(&format!("recoveries/{}", recovery["id"].as_str().expect("an id")));
    assert_eq!(world.admin("GET", &found, Value::Null).await.expect(200)["total"], 1);
    let future = json!({"since": "2999-01-01T00:00:00Z"});
    assert_eq!(
        world.admin("POST", &recoveries, future).await.refusal(400),
        "since must not be in the future"
    );
}

#[tokio::test]
async fn options_of_a_webhook_are_set_and_found_by() {
    let world = World::start().await;
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    world.admin("POST", &hooks, webhook("a", "http://localhost.invalid/")).await.expect(201);
    let all = world.admin("GET", &path("webhooks"), Value::Null).await.expect(200);
    let one = path(&format!("webhooks/{}", all[0]["id"].as_str().expect("an id")));
    let options = json!({"active": false, "pauseReason": "moving", "attemptsPerMinute": 60});
    let set = world.admin("PATCH", &one, options).await.expect(200);
    assert_eq!((&set["pauseReason"], &set["attemptsPerMinute"]), (&json!("moving"), &json!(60)));
    for (query, count) in
        [("state=inactive", 1), ("active=true", 0), ("text=LOCALHOST", 1), ("format=slack", 0)]
    {
        let found = world.admin("GET", &path(&format!("webhooks?{query}")), Value::Null).await.expect(200);
        assert_eq!(found.as_array().map(Vec::len), Some(count), "{query}");
    }
    let wrong = world.admin("GET", &path("webhooks?state=tired"), Value::Null).await;
    assert_eq!(wrong.refusal(400), "state must be 'active', 'inactive' or 'suspended'");
    // The reason is also removed if the other API sets the webhook active.
    world.admin("PATCH", &format!("{hooks}/a"), json!({"active": true})).await.expect(200);
    let found = world.admin("GET", &one, Value::Null).await.expect(200);
    assert_eq!((&found["state"], found.get("pauseReason")), (&json!("active"), None));
    let reason = world.admin("PATCH", &one, json!({"pauseReason": "x"})).await;
    assert_eq!(reason.details(), ["Webhook pauseReason invalid"]);
    let reset = world.admin("PATCH", &one, json!({"attemptsPerMinute": null})).await.expect(200);
    assert_eq!(reset.get("attemptsPerMinute"), None);
    let fast = world.admin("PATCH", &one, json!({"attemptsPerMinute": 60_001})).await;
    assert_eq!(fast.details(), ["Webhook attemptsPerMinute invalid"]);
}

#[tokio::test]
async fn the_deployments_credential_never_shows_its_token() {
    let world = World::start().await;
    let path = path("deployments");
    world.admin("GET", &path, Value::Null).await.refusal(404);
    let body = json!({"apiUrl": "https://api.example/", "token": "pul-1", "stacks": ["web/prod", "a/b"]});
    let set = world.admin("PUT", &path, body).await;
    assert!(!set.text().contains("pul-1"));
    let set = set.expect(200);
    assert_eq!((&set["hasToken"], &set["stacks"]), (&json!(true), &json!(["a/b", "web/prod"])));
    let kept = json!({"apiUrl": "https://api.example/", "stacks": []});
    world.admin("PUT", &path, kept).await.expect(200);
    let elsewhere = json!({"apiUrl": "https://other.example/", "stacks": []});
    assert_eq!(world.admin("PUT", &path, elsewhere).await.refusal(400), "token is required");
    let member = world.user("member", Some("member")).await;
    world.ask(&member, "GET", &path, Value::Null).await.refusal(403);
    world.admin("DELETE", &path, Value::Null).await.expect_empty(204);
    world.admin("DELETE", &path, Value::Null).await.refusal(404);
}
