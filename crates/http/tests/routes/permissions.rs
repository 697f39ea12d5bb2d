//! Permissions: every operation with every role.

use serde_json::{Value, json};

use crate::support::{ADMIN, ORGANIZATION, World, event, webhook};

const ROLES: [&str; 4] = ["admin", "member", "publisher", "viewer"];

/// A token for each role, in the order of the roles.
async fn tokens(world: &World) -> Vec<String> {
    let mut tokens = Vec::new();
    for role in ROLES {
        tokens.push(world.user(role, Some(role)).await);
    }
    tokens
}

/// The status for each role; columns as in [`ROLES`].
struct Row {
    method: &'static str,
    path: String,
    body: Value,
    statuses: [u16; 4],
}

fn row(method: &'static str, path: impl Into<String>, body: Value, statuses: [u16; 4]) -> Row {
    Row { method, path: path.into(), body, statuses }
}

async fn check(world: &World, tokens: &[String], rows: Vec<Row>) {
    for Row { method, path, body, statuses } in rows {
        for ((role, token), expected) in ROLES.iter().zip(tokens).zip(statuses) {
            let answer = world.ask(token, method, &path, body.clone()).await;
            assert_eq!(answer.status.as_u16(), expected, "{role}: {method} {path}: {}", answer.text());
        }
        let nobody = world.ask("unknown", method, &path, body).await;
        assert_eq!(nobody.refusal(401), "No credentials provided or are invalid.", "{method} {path}");
    }
}

/// The rows for a path prefix. `1` marks the roles that may edit its webhooks, `0` the others.
fn rows_of(hooks: &str, edit: [u16; 4]) -> Vec<Row> {
    let ok = |status: u16| edit.map(|allowed| if allowed == 0 { 403 } else { status });
    let one = format!("{hooks}/kept");
    let create = json!({
        "organizationName": ORGANIZATION, "displayName": "d", "payloadUrl": "https://a.example/", "active": true,
    });
    let event = "c64dd9a8-be18-4e6a-8208-2bb2efbbd13a";
    vec![
        row("GET", hooks, Value::Null, [200, 200, 403, 200]),
        row("POST", hooks, create, ok(201)),
        row("GET", &one, Value::Null, [200, 200, 403, 200]),
        row("PATCH", &one, json!({"displayName": "e"}), ok(200)),
        row("POST", format!("{one}/ping"), Value::Null, [200, 200, 403, 403]),
        row("GET", format!("{one}/deliveries"), Value::Null, [200, 200, 403, 200]),
        row("POST", format!("{one}/deliveries/{event}/redeliver"), Value::Null, [404, 404, 403, 403]),
        row("DELETE", format!("{hooks}/none"), Value::Null, ok(204)),
    ]
}

#[tokio::test]
async fn webhooks() {
    let world = World::start().await;
    let tokens = tokens(&world).await;
    let prefixes = [
        (format!("/api/orgs/{ORGANIZATION}/hooks"), [1, 0, 0, 0]),
        (format!("/api/stacks/{ORGANIZATION}/website/prod/hooks"), [1, 1, 0, 0]),
        (format!("/api/esc/environments/{ORGANIZATION}/infra/dev/hooks"), [1, 1, 0, 0]),
        (format!("/api/preview/environments/{ORGANIZATION}/dev/hooks"), [1, 1, 0, 0]),
    ];
    for (hooks, edit) in prefixes {
        // The host's name does not resolve, so no ping leaves this machine.
        let kept = webhook("kept", "http://localhost.invalid/");
        world.admin("POST", &hooks, kept).await.expect(201);
        check(&world, &tokens, rows_of(&hooks, edit)).await;
    }
}

#[tokio::test]
async fn events() {
    let world = World::start().await;
    let tokens = tokens(&world).await;
    let id = "c64dd9a8-be18-4e6a-8208-2bb2efbbd13a";
    let events = format!("/v1/orgs/{ORGANIZATION}/events");
    let rows = vec![
        row("POST", &events, event(Some(id)), [202, 202, 202, 403]),
        row("POST", &events, json!([]), [202, 202, 202, 403]),
        row("GET", &events, Value::Null, [200, 200, 403, 200]),
        row("GET", format!("{events}/{id}"), Value::Null, [200, 200, 403, 200]),
    ];
    check(&world, &tokens, rows).await;
}

#[tokio::test]
async fn members_and_service_tokens() {
    let world = World::start().await;
    let tokens = tokens(&world).await;
    world.user("somebody", None).await;
    let (members, service) =
        (format!("/v1/orgs/{ORGANIZATION}/members"), format!("/v1/orgs/{ORGANIZATION}/tokens"));
    let unknown = "c64dd9a8-be18-4e6a-8208-2bb2efbbd13a";
    let rows = vec![
        row("GET", &members, Value::Null, [200, 200, 403, 200]),
        row("PUT", format!("{members}/somebody"), json!({"role": "viewer"}), [200, 403, 403, 403]),
        row("DELETE", format!("{members}/nobody"), Value::Null, [404, 403, 403, 403]),
        row("GET", &service, Value::Null, [200, 403, 403, 403]),
        row("POST", &service, json!({"name": "ci", "role": "publisher"}), [201, 403, 403, 403]),
        row("DELETE", format!("{service}/{unknown}"), Value::Null, [404, 403, 403, 403]),
        row("GET", format!("/v1/orgs/{ORGANIZATION}/audit"), Value::Null, [200, 403, 403, 403]),
    ];
    check(&world, &tokens, rows).await;
}

#[tokio::test]
async fn options() {
    let world = World::start().await;
    let tokens = tokens(&world).await;
    let unknown = "c64dd9a8-be18-4e6a-8208-2bb2efbbd13a";
    let path = |of: &str| format!("/v1/orgs/{ORGANIZATION}/{of}");
    let one = path(&format!("deliveries/{unknown}"));
    let hook = path(&format!("webhooks/{unknown}"));
    let since = json!({"since": "2020-01-01T00:00:00Z"});
    let rows = vec![
        row("GET", path("webhooks"), Value::Null, [200, 200, 403, 200]),
        row("GET", &hook, Value::Null, [404, 404, 403, 404]),
        row("GET", path("deliveries"), Value::Null, [200, 200, 403, 200]),
        row("GET", &one, Value::Null, [404, 404, 403, 404]),
        row("POST", format!("{one}/cancel"), Value::Null, [404, 404, 403, 403]),
        row("POST", format!("{one}/retry"), Value::Null, [404, 404, 403, 403]),
        row("POST", format!("{one}/redeliver"), Value::Null, [404, 404, 403, 403]),
        row("POST", format!("{hook}/recoveries"), since, [404, 404, 403, 403]),
        row("GET", path("recoveries"), Value::Null, [200, 200, 403, 200]),
        row("GET", path("statistics"), Value::Null, [200, 200, 403, 200]),
        row("GET", path("deployments"), Value::Null, [404, 403, 403, 403]),
        row("DELETE", path("deployments"), Value::Null, [404, 403, 403, 403]),
    ];
    check(&world, &tokens, rows).await;
}

#[tokio::test]
async fn the_instance_is_for_operators() {
    let world = World::start().await;
    let tokens = tokens(&world).await;
    let rows = vec![
        row("GET", "/v1/users", Value::Null, [403; 4]),
        row("POST", "/v1/users", json!({"login": "x"}), [403; 4]),
        row("POST", "/v1/orgs", json!({"name": "x"}), [403; 4]),
        row("GET", "/v1/orgs", Value::Null, [200; 4]),
        row("GET", "/v1/users/morty/tokens", Value::Null, [403; 4]),
        row("POST", "/v1/users/nobody/tokens", json!({"name": "x", "role": "viewer"}), [403; 4]),
        row("DELETE", "/v1/users/morty/tokens/x", Value::Null, [403; 4]),
        row("GET", "/v1/user/tokens", Value::Null, [200; 4]),
        row("GET", "/v1/instance", Value::Null, [403; 4]),
        row("GET", "/v1/instance/audit", Value::Null, [403; 4]),
        row("POST", "/v1/instance/sending/hold", json!({"reason": "x"}), [403; 4]),
        row("POST", "/v1/instance/sending/resume", Value::Null, [403; 4]),
        row("POST", "/v1/instance/master-key/rotate", Value::Null, [403; 4]),
        row("POST", "/v1/instance/backup", Value::Null, [403; 4]),
    ];
    check(&world, &tokens, rows).await;
    world.ask(ADMIN, "GET", "/v1/users", Value::Null).await.expect(200);
}

#[tokio::test]
async fn a_viewer_sees_no_credentials() {
    let world = World::start().await;
    let viewer = world.user("viewer", Some("viewer")).await;
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    let mut body = webhook("a", "http://localhost.invalid/secret");
    body["secret"] = json!("test");
    world.admin("POST", &hooks, body).await.expect(201);
    world.admin("POST", &format!("{hooks}/a/ping"), Value::Null).await.expect(200);
    let seen = world.ask(&viewer, "GET", &format!("{hooks}/a"), Value::Null).await;
    assert_eq!(seen.expect(200)["payloadUrl"], "http://localhost.invalid");
    let seen = world.ask(&viewer, "GET", &format!("{hooks}/a/deliveries"), Value::Null).await.expect(200);
    assert_eq!(seen[0]["requestUrl"], "http://localhost.invalid");
    let headers = seen[0]["requestHeaders"].as_str().expect("headers");
    assert!(headers.contains("Pulumi-Webhook-Signature: ***\r\n"), "{headers}");
}
