//! Two nodes on one store: a change that the first node has acknowledged applies to every later response of the second node
//! (invariant 10), whatever the second node has cached.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ADMIN, ORGANIZATION, Receiver, TestResponse, World, event, request, webhook};

const EVENTS: &str = "/v1/orgs/crazy-adventures/events";
const DELIVERIES: &str = "/v1/orgs/crazy-adventures/deliveries?pageSize=100";
const HOOKS: &str = "/api/orgs/crazy-adventures/hooks";

async fn two() -> (World, World) {
    let first = World::first_of_several().await;
    let second = first.beside().await;
    (first, second)
}

async fn publish(node: &World, token: &str) -> TestResponse {
    node.ask(token, "POST", EVENTS, event(None)).await
}

async fn publish_lines(node: &World, token: &str, lines: &str) -> TestResponse {
    let mut request = request(token, "POST", EVENTS).body(lines.to_owned().into()).expect("a request");
    request.headers_mut().insert("content-type", "application/x-ndjson".parse().expect("a value"));
    node.send(request).await
}

/// The ids of all stored events.
async fn stored_events(node: &World) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    let mut path = format!("{EVENTS}?pageSize=100");
    loop {
        let page = node.admin("GET", &path, Value::Null).await;
        ids.extend(page.expect(200).as_array().expect("an array").iter().map(id_of));
        match page.header("pulumi-continuation-token") {
            Some(next) => path = format!("{EVENTS}?pageSize=100&continuationToken={next}"),
            None => return ids,
        }
    }
}

fn id_of(event: &Value) -> String {
    event["id"].as_str().expect("an id").to_owned()
}

/// Creates a service token for publishing through `node`. Returns the token and its path.
async fn service_token(node: &World) -> (String, String) {
    let tokens = format!("/v1/orgs/{ORGANIZATION}/tokens");
    let issued = node.admin("POST", &tokens, json!({"name": "ci", "role": "publisher"})).await.expect(201);
    let text = |name: &str| issued[name].as_str().expect("a text").to_owned();
    (text("token"), format!("{tokens}/{}", text("id")))
}

#[tokio::test]
async fn a_token_that_was_revoked_publishes_nothing_on_any_node() {
    let (first, second) = two().await;
    let mut accepted = BTreeSet::new();
    for _ in 0..1000 {
        let (token, path) = service_token(&first).await;
        // Two requests, so that the second node has cached the holder.
        for _ in 0..2 {
            accepted.insert(id_of(&publish(&second, &token).await.expect(202)));
        }
        first.admin("DELETE", &path, Value::Null).await.expect_empty(204);
        publish(&second, &token).await.refusal(401);
        publish_lines(&second, &token, &event(None).to_string()).await.refusal(401);
    }
    // The store has exactly the events with a 202.
    assert_eq!(accepted.len(), 2000);
    for node in [&first, &second] {
        let stored = stored_events(node).await;
        assert_eq!((stored.len(), stored.is_superset(&accepted)), (2000, true));
    }
}

/// Rights are also checked for requests without a commit, which would validate them.
#[tokio::test]
async fn a_revoked_token_learns_nothing_on_any_node() {
    let (first, second) = two().await;
    let line = event(None).to_string();
    let mut accepted = 0;
    for body in [json!([]), json!({"kind": "no such"}), json!("no event")] {
        let (token, path) = service_token(&first).await;
        publish(&second, &token).await.expect(202);
        accepted += 1;
        first.admin("DELETE", &path, Value::Null).await.expect_empty(204);
        second.ask(&token, "POST", EVENTS, body).await.refusal(401);
    }
    for lines in [line.as_str(), "", "no event\n"] {
        let (token, path) = service_token(&first).await;
        publish(&second, &token).await.expect(202);
        accepted += 1;
        first.admin("DELETE", &path, Value::Null).await.expect_empty(204);
        publish_lines(&second, &token, lines).await.refusal(401);
    }
    assert_eq!(stored_events(&first).await.len(), accepted);
}

#[tokio::test]
async fn other_requests_use_current_rights() {
    let (first, second) = two().await;
    for _ in 0..100 {
        let body = json!({"name": "ci", "role": "member"});
        let tokens = format!("/v1/orgs/{ORGANIZATION}/tokens");
        let issued = first.admin("POST", &tokens, body).await.expect(201);
        let token = issued["token"].as_str().expect("a token");
        publish(&second, token).await.expect(202);
        second.ask(token, "GET", HOOKS, Value::Null).await.expect(200);
        let path = format!("{tokens}/{}", issued["id"].as_str().expect("an id"));
        first.admin("DELETE", &path, Value::Null).await.expect_empty(204);
        second.ask(token, "GET", HOOKS, Value::Null).await.refusal(401);
    }
}

#[tokio::test]
async fn a_member_who_was_removed_cannot_publish_on_any_node() {
    let (first, second) = two().await;
    let token = first.user("rick", Some("member")).await;
    let mut accepted = 0;
    let member = format!("/v1/orgs/{ORGANIZATION}/members/rick");
    for _ in 0..100 {
        publish(&second, &token).await.expect(202);
        first.admin("DELETE", &member, Value::Null).await.expect_empty(204);
        publish(&second, &token).await.refusal(404);
        // A right that is given back is also valid at once, whatever the second node has cached.
        first.admin("PUT", &member, json!({"role": "member"})).await.expect(200);
        publish(&second, &token).await.expect(202);
        first.admin("PUT", &member, json!({"role": "viewer"})).await.expect(200);
        publish(&second, &token).await.refusal(403);
        first.admin("PUT", &member, json!({"role": "publisher"})).await.expect(200);
        let lines = publish_lines(&second, &token, &event(None).to_string()).await.expect(202);
        assert_eq!(lines["accepted"], 1, "{lines}");
        accepted += 3;
    }
    assert_eq!(stored_events(&first).await.len(), accepted);
}

#[tokio::test]
async fn a_webhook_set_inactive_hears_of_nothing_on_any_node() {
    let (first, second) = two().await;
    let mut receiver = Receiver::answering(StatusCode::OK).await;
    first.admin("POST", HOOKS, webhook("a", &receiver.url())).await.expect(201);
    let mut expected = BTreeSet::new();
    let mut publish = async |deliveries: u32| {
        let accepted = publish(&second, ADMIN).await.expect(202);
        assert_eq!(accepted["deliveries"], deliveries);
        if deliveries == 1 {
            expected.insert(id_of(&accepted));
        }
    };
    publish(1).await;
    for _ in 0..100 {
        for (active, deliveries) in [(false, 0), (true, 1)] {
            let path = format!("{HOOKS}/a");
            first.admin("PATCH", &path, json!({"active": active})).await.expect(200);
            publish(deliveries).await;
        }
    }
    // The endpoint gets exactly the events from the times in which its webhook was active.
    let mut received = BTreeSet::new();
    for _ in 0..expected.len() {
        received
            .insert(receiver.next().await.headers["pulumi-webhook-id"].to_str().expect("an id").to_owned());
    }
    assert_eq!(received, expected);
    let all = second.admin("GET", DELIVERIES, Value::Null).await;
    assert!(all.expect(200).as_array().is_some_and(|all| all.len() == 100), "a page of those 101 alone");
    let beyond = all.header("pulumi-continuation-token").expect("the oldest is on the next page").to_owned();
    let rest = second.admin("GET", &format!("{DELIVERIES}&continuationToken={beyond}"), Value::Null).await;
    assert_eq!(rest.expect(200).as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn no_node_sends_events_that_were_accepted_during_a_hold() {
    const EVENTS_HELD: usize = 20;
    let (first, second) = two().await;
    let mut receiver = Receiver::answering(StatusCode::OK).await;
    first.admin("POST", HOOKS, webhook("a", &receiver.url())).await.expect(201);
    // Both nodes have loaded the webhook and send to it.
    for node in [&first, &second] {
        publish(node, ADMIN).await.expect(202);
        receiver.next().await;
    }
    let hold = json!({"reason": "to see"});
    first.admin("POST", "/v1/instance/sending/hold", hold).await.expect(200);
    let mut held = BTreeSet::new();
    for _ in 0..EVENTS_HELD {
        let accepted = publish(&second, ADMIN).await.expect(202);
        assert_eq!(accepted["deliveries"], 1);
        held.insert(id_of(&accepted));
    }
    // Pings are sent despite the hold, and they come first.
    second.admin("POST", &format!("{HOOKS}/a/ping"), Value::Null).await.expect(200);
    assert_eq!(receiver.next().await.headers["pulumi-webhook-kind"], "ping");
    // No attempt of a held delivery began: each is pending and has no attempts.
    for node in [&first, &second] {
        let pending =
            node.admin("GET", &format!("{DELIVERIES}&state=pending"), Value::Null).await.expect(200);
        let pending = pending.as_array().expect("an array").iter();
        let untouched = pending.filter(|one| one["attempts"] == 0);
        let ids = untouched.map(|one| one["eventId"].as_str().expect("an id").to_owned());
        assert_eq!(ids.collect::<BTreeSet<_>>(), held);
    }
    first.admin("POST", "/v1/instance/sending/resume", Value::Null).await.expect(200);
    let mut sent = BTreeSet::new();
    for _ in 0..EVENTS_HELD {
        let received = receiver.next().await;
        assert_eq!(received.headers["pulumi-webhook-kind"], "stack_update");
        sent.insert(received.headers["pulumi-webhook-id"].to_str().expect("an id").to_owned());
    }
    assert_eq!(sent, held);
}

/// A node that stops announces it, and the others take over its part at once.
#[tokio::test]
async fn nodes_see_each_other_come_and_go() {
    let (first, mut second) = two().await;
    second.sees(2).await;
    second.stop_engine().await;
    let third = first.beside().await;
    third.sees(2).await;
}
