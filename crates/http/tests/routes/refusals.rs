//! A caller without the right is refused before the rest of the request is checked: 401, 404 and 403 come before 400.

use axum::body::Body;
use axum::http::StatusCode;
use serde_json::{Value, json};
use stackbell_model::permission::Role;

use crate::support::calls::{Call, calls};
use crate::support::identities::Planted;
use crate::support::{ADMIN, ORGANIZATION, Receiver, TestResponse, World, request, webhook};

/// A refusal because of the caller, not because of the request.
fn is_of_the_caller(answer: &TestResponse) -> bool {
    match answer.status.as_u16() {
        401 | 403 => true,
        404 => answer.text().contains("Organization '"),
        _ => false,
    }
}

/// The call with a wrong query, body or path.
async fn spoiled(world: &World, token: &str, call: &Call) -> Vec<(&'static str, TestResponse)> {
    let Call { method, path, body, .. } = call;
    let mut answers = Vec::new();
    for (what, path, body) in [
        ("a query", format!("{path}?pageSize=x&continuationToken=x&nonsense=1"), body.clone()),
        ("a query that cannot be read", format!("{path}?a=%ff"), body.clone()),
        ("a body of another type", path.clone(), json!(1)),
        ("fields that there are not", path.clone(), json!({"nonsense": 1})),
        ("no body", path.clone(), Value::Null),
        ("names that are none", path.replace("website", "a%20b").replace("/prod", "/a%20b"), body.clone()),
    ] {
        answers.push((what, world.ask(token, method, &path, body).await));
    }
    let raw = |text: &str| Body::from(text.to_owned());
    let encoded = request(token, method, path).header("Content-Encoding", "gzip").body(raw("x"));
    answers.push(("an encoded body", world.send(encoded.expect("a request")).await));
    let broken = request(token, method, path).body(raw("{"));
    answers.push(("a body that is no JSON", world.send(broken.expect("a request")).await));
    answers
}

/// Checks all routes with a token. Returns the number of routes that refuse the caller.
async fn check(world: &World, who: &str, token: &str) -> usize {
    let receiver = Receiver::answering(StatusCode::OK).await;
    let names = world.furnish(&receiver.url()).await;
    let mut refused = 0;
    for call in calls(&names) {
        let Call { method, route, path, body } = &call;
        let good = world.ask(token, method, path, body.clone()).await;
        if !is_of_the_caller(&good) {
            continue;
        }
        refused += 1;
        for (what, answer) in spoiled(world, token, &call).await {
            let (expected, actual) = ((good.status, good.text()), (answer.status, answer.text()));
            assert_eq!(actual, expected, "{who}: {method} {route} with {what}");
        }
    }
    refused
}

#[tokio::test]
async fn a_refusal_of_the_caller_comes_first_on_every_route() {
    // The test would prove nothing if too few routes refused the caller.
    for (who, role, operator, at_least) in [
        ("stranger", None, false, 60),
        ("operator", None, true, 50),
        ("viewer", Some("viewer"), false, 40),
        ("publisher", Some("publisher"), false, 60),
        ("member", Some("member"), false, 25),
        ("admin", Some("admin"), false, 10),
    ] {
        let world = World::start().await;
        let body = json!({"login": who, "operator": operator});
        world.admin("POST", "/v1/users", body).await.expect(201);
        if let Some(role) = role {
            let path = format!("/v1/orgs/{ORGANIZATION}/members/{who}");
            world.admin("PUT", &path, json!({"role": role})).await.expect(200);
        }
        let owner = world.user_owner(who).await;
        let planted = Planted { owner, role: Role::Admin, is_operator: operator, expires_at: None };
        let token = world.plant(planted).await;
        let refused = check(&world, who, &token).await;
        assert!(refused >= at_least, "{who}: {refused}");
    }
}

#[tokio::test]
async fn a_service_token_is_refused_first_on_every_route() {
    let world = World::start().await;
    let owner = world.organization_owner(ORGANIZATION).await;
    let planted = Planted { owner, role: Role::Viewer, is_operator: false, expires_at: None };
    let token = world.plant(planted).await;
    let refused = check(&world, "service token", &token).await;
    assert!(refused >= 45, "{refused}");
}

#[tokio::test]
async fn no_token_is_refused_first_on_every_route() {
    let world = World::start().await;
    let refused = check(&world, "nobody", "unknown").await;
    assert_eq!(refused, calls(&crate::support::calls::Names::unknown(ORGANIZATION)).len());
}

/// The right that an edit needs depends on the webhook's scope.
#[tokio::test]
async fn a_member_learns_first_that_a_webhook_is_for_admins_to_edit() {
    let world = World::start().await;
    let member = world.user("member", Some("member")).await;
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    world.ask(ADMIN, "POST", &hooks, webhook("a", "https://a.example/")).await.expect(201);
    let all = format!("/v1/orgs/{ORGANIZATION}/webhooks");
    let id = world.ask(ADMIN, "GET", &all, Value::Null).await.expect(200)[0]["id"].clone();
    let one = format!("{all}/{}", id.as_str().expect("an id"));
    for body in [json!({"standardHeaders": false}), json!({"nonsense": 1}), json!(1), Value::Null] {
        world.ask(&member, "PATCH", &one, body.clone()).await.refusal(403);
        world.ask(&member, "PATCH", &format!("{one}?nonsense=1"), body).await.refusal(403);
    }
}
