//! Webhooks of all scopes: list, Standard Webhooks, suspension.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::{ORGANIZATION, Receiver, World, event, webhook};

const HOOKS: &str = "/api/orgs/crazy-adventures/hooks";
const STACK: &str = "/api/stacks/crazy-adventures/website/website-prod/hooks";
const ENVIRONMENT: &str = "/api/esc/environments/crazy-adventures/website/dev/hooks";
const ALL: &str = "/v1/orgs/crazy-adventures/webhooks";
const EVENTS: &str = "/v1/orgs/crazy-adventures/events";

fn of(index: usize, all: &Value) -> String {
    format!("{ALL}/{}", all[index]["id"].as_str().expect("an id"))
}

#[tokio::test]
async fn webhooks_of_all_scopes_are_listed() {
    let world = World::start().await;
    for (path, name) in [(STACK, "s"), (HOOKS, "o"), (ENVIRONMENT, "e")] {
        world.admin("POST", path, webhook(name, "https://a.example/secret")).await.expect(201);
    }
    let answer = world.admin("GET", ALL, Value::Null).await;
    let all = answer.expect(200);
    let expected = json!({
        "id": all[0]["id"], "scope": "stack", "organizationName": ORGANIZATION, "projectName": "website",
        "stackName": "website-prod", "name": "s", "displayName": "d", "payloadUrl": "https://a.example/secret",
        "active": true, "format": "raw", "filters": [], "groups": [], "hasSecret": false, "secretCiphertext": "",
        "state": "active", "breaker": all[0]["breaker"], "standardHeaders": true,
    });
    assert_eq!(all[0], expected);
    // Payload URLs are credentials, so callers with only the right to read see just a part of each.
    let viewer = world.user("summer", Some("viewer")).await;
    let cut = world.ask(&viewer, "GET", ALL, Value::Null).await;
    assert!(!cut.text().contains("secret\""), "{}", cut.text());
    assert_eq!(cut.expect(200)[0]["payloadUrl"], "https://a.example");
    assert_eq!((&all[1]["scope"], &all[2]["environmentName"]), (&json!("organization"), &json!("dev")));
    let first = world.admin("GET", &format!("{ALL}?pageSize=2"), Value::Null).await;
    assert_eq!(first.expect(200), json!([all[0], all[1]]));
    let token = first.header("pulumi-continuation-token").expect("a token");
    let rest = world.admin("GET", &format!("{ALL}?continuationToken={token}"), Value::Null).await;
    assert_eq!(rest.expect(200), json!([all[2]]));
    assert_eq!(rest.header("link"), None);
}

#[tokio::test]
async fn standard_headers_are_switched() {
    let world = World::start().await;
    let mut receiver = Receiver::answering(StatusCode::OK).await;
    let mut body = webhook("a", &receiver.url());
    body["secret"] = json!("test");
    world.admin("POST", HOOKS, body).await.expect(201);
    let all = world.admin("GET", ALL, Value::Null).await.expect(200);
    for is_on in [true, false, true] {
        let set = json!({"standardHeaders": is_on});
        let set = world.admin("PATCH", &of(0, &all), set).await.expect(200);
        assert_eq!(set["standardHeaders"], is_on);
        assert_eq!(world.admin("GET", ALL, Value::Null).await.expect(200), json!([set]));
        world.admin("POST", &format!("{HOOKS}/a/ping"), Value::Null).await.expect(200);
        assert_eq!(receiver.next().await.headers.contains_key("webhook-signature"), is_on);
    }
    let same = world.admin("PATCH", &of(0, &all), json!({})).await.expect(200);
    assert_eq!(same["standardHeaders"], true);
}

#[tokio::test]
async fn a_suspension_is_seen_and_ended() {
    let world = World::start().await;
    let mut gone = Receiver::answering(StatusCode::GONE).await;
    world.admin("POST", HOOKS, webhook("a", &gone.url())).await.expect(201);
    world.admin("POST", EVENTS, event(None)).await.expect(202);
    gone.next().await;
    // A ping is recorded after the attempt that it follows.
    let all = loop {
        world.admin("POST", &format!("{HOOKS}/a/ping"), Value::Null).await.expect(200);
        let all = world.admin("GET", ALL, Value::Null).await.expect(200);
        if all[0]["state"] == "suspended" {
            break all;
        }
    };
    assert_eq!(all[0]["suspension"]["reason"], "gone");
    assert!(all[0]["suspension"]["since"].as_str().is_some_and(|since| since.ends_with('Z')));
    let resume = format!("{}/resume", of(0, &all));
    for _ in 0..2 {
        // The second resume has no effect, because the suspension has ended already.
        let resumed = world.admin("POST", &resume, Value::Null).await.expect(200);
        assert_eq!(resumed["suspension"], Value::Null);
    }
}

/// Suspends the webhook `a` with an event to which its endpoint responds with 410. Another event is held. Returns the webhook in
/// our own API.
async fn suspended(world: &World, gone: &mut Receiver) -> Value {
    world.admin("POST", HOOKS, webhook("a", &gone.url())).await.expect(201);
    world.admin("POST", EVENTS, event(None)).await.expect(202);
    gone.next().await;
    let all = loop {
        world.admin("POST", &format!("{HOOKS}/a/ping"), Value::Null).await.expect(200);
        gone.next().await;
        let all = world.admin("GET", ALL, Value::Null).await.expect(200);
        if all[0]["state"] == "suspended" {
            break all;
        }
    };
    world.admin("POST", EVENTS, event(None)).await.expect(202);
    all[0].clone()
}

/// Checks that these edits make the webhook active, and that both events arrive at once, although one is due only in seconds.
async fn check_goes_on(edits: impl Fn(&str) -> Vec<(&'static str, Value)>) {
    let world = World::start().await;
    let mut gone = Receiver::answering(StatusCode::GONE).await;
    let mut back = Receiver::answering(StatusCode::OK).await;
    let own = suspended(&world, &mut gone).await;
    for (method, body) in edits(&back.url()) {
        let path = if method == "PATCH /v1" { of(0, &json!([own])) } else { format!("{HOOKS}/a") };
        world.admin("PATCH", &path, body).await.expect(200);
    }
    let state = world.admin("GET", &of(0, &json!([own])), Value::Null).await.expect(200)["state"].clone();
    assert_eq!(state, "active");
    let (first, second) = (back.next().await, back.next().await);
    assert_ne!(first.headers["pulumi-webhook-id"], second.headers["pulumi-webhook-id"]);
}

#[tokio::test]
async fn another_url_sets_a_suspended_webhook_going() {
    check_goes_on(|url| vec![("PATCH", json!({"payloadUrl": url}))]).await;
    // Pulumi's provider sends all fields.
    check_goes_on(|url| vec![("PATCH", webhook("a", url))]).await;
    // The URL is changed with `active: false`, and the webhook is set active later.
    check_goes_on(|url| {
        let off = json!({"payloadUrl": url, "active": false});
        vec![("PATCH", off), ("PATCH /v1", json!({"active": true}))]
    })
    .await;
}

/// Sets the webhook inactive with the API `off` and active with the API `on`. Its endpoint works again by then.
async fn check_off_and_on(off: &str, on: &str) {
    let world = World::start().await;
    let mut endpoint = Receiver::answering(StatusCode::GONE).await;
    let own = suspended(&world, &mut endpoint).await;
    endpoint.answer(StatusCode::OK);
    for (api, active) in [(off, false), (on, true)] {
        let path = if api == "/v1" { of(0, &json!([own])) } else { format!("{HOOKS}/a") };
        let edited = world.admin("PATCH", &path, json!({"active": active})).await.expect(200);
        assert_eq!(edited["active"], active);
        assert_eq!(edited["suspension"].is_null(), active || api == "/api", "{edited}");
    }
    let (first, second) = (endpoint.next().await, endpoint.next().await);
    assert_ne!(first.headers["pulumi-webhook-id"], second.headers["pulumi-webhook-id"]);
}

#[tokio::test]
async fn switching_off_and_on_sets_a_suspended_webhook_going() {
    check_off_and_on("/api", "/api").await;
    check_off_and_on("/v1", "/v1").await;
    check_off_and_on("/api", "/v1").await;
}

#[tokio::test]
async fn an_edit_that_repeats_url_and_state_leaves_a_suspension() {
    let world = World::start().await;
    let mut gone = Receiver::answering(StatusCode::GONE).await;
    let own = suspended(&world, &mut gone).await;
    let mut body = webhook("a", &gone.url());
    for display_name in ["d", "another"] {
        body["displayName"] = json!(display_name);
        world.admin("PATCH", &format!("{HOOKS}/a"), body.clone()).await.expect(200);
    }
    let after = world.admin("GET", &of(0, &json!([own])), Value::Null).await.expect(200);
    assert_eq!((&after["state"], &after["displayName"]), (&json!("suspended"), &json!("another")));
}

async fn check_refused(world: &World, method: &str, path: &str, body: Value, status: u16, expected: &str) {
    let answer = world.admin(method, path, body).await;
    assert_eq!(answer.refusal(status), expected, "{method} {path}");
}

#[tokio::test]
async fn invalid_options_are_refused() {
    let world = World::start().await;
    let unknown = "00000000-0000-4000-8000-000000000000";
    for id in [unknown, "x", "a%2Fb"] {
        let shown = id.replace("%2F", "/");
        let expected = format!("Webhook '{shown}' not found");
        check_refused(&world, "PATCH", &format!("{ALL}/{id}"), json!({}), 404, &expected).await;
        check_refused(&world, "POST", &format!("{ALL}/{id}/resume"), Value::Null, 404, &expected).await;
    }
    let path = format!("{ALL}/{unknown}");
    let expected = "standardHeaders must be true or false, is a number";
    check_refused(&world, "PATCH", &path, json!({"standardHeaders": 1}), 400, expected).await;
    let expected = "pageSize must be a number from 1 to 100";
    check_refused(&world, "GET", &format!("{ALL}?pageSize=101"), Value::Null, 400, expected).await;
}

#[tokio::test]
async fn each_needs_the_permission_for_it() {
    let world = World::start().await;
    for (path, name) in [(HOOKS, "o"), (STACK, "s")] {
        world.admin("POST", path, webhook(name, "https://a.example/")).await.expect(201);
    }
    let all = world.admin("GET", ALL, Value::Null).await.expect(200);
    let off = || json!({"standardHeaders": false});
    // Columns: role; may list, set options in the organization, set options in a stack, resume.
    let rows = [("member", [200, 403, 200, 200]), ("viewer", [200, 403, 403, 403]), ("publisher", [403; 4])];
    for (role, expected) in rows {
        let token = world.user(role, Some(role)).await;
        let answers = [
            world.ask(&token, "GET", ALL, Value::Null).await,
            world.ask(&token, "PATCH", &of(0, &all), off()).await,
            world.ask(&token, "PATCH", &of(1, &all), off()).await,
            world.ask(&token, "POST", &format!("{}/resume", of(0, &all)), Value::Null).await,
        ];
        assert_eq!(answers.map(|answer| answer.status.as_u16()), expected, "{role} in {ORGANIZATION}");
    }
    let stranger = world.user("stranger", None).await;
    let nowhere = format!("Organization '{ORGANIZATION}' not found");
    for path in [ALL.to_owned(), of(0, &all)] {
        let method = if path == ALL { "GET" } else { "PATCH" };
        let answer = world.ask(&stranger, method, &path, Value::Null).await;
        assert_eq!(answer.refusal(404), nowhere);
    }
}
