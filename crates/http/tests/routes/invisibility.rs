//! Who may not see an organization cannot learn whether a thing in it exists (invariant 9).

use serde_json::{Value, json};

use crate::support::{ORGANIZATION, World, event, webhook};

/// Every route below an organization, with a body that would be accepted and one that would not.
fn requests(organization: &str) -> Vec<(&'static str, String, Value)> {
    let prefixes = [
        format!("/api/orgs/{organization}/hooks"),
        format!("/api/stacks/{organization}/website/prod/hooks"),
        format!("/api/stacks/{organization}/a%20b/prod/hooks"),
        format!("/api/esc/environments/{organization}/infra/dev/hooks"),
        format!("/api/preview/environments/{organization}/dev/hooks"),
    ];
    let id = "c64dd9a8-be18-4e6a-8208-2bb2efbbd13a";
    let mut requests = Vec::new();
    for hooks in prefixes {
        requests.extend([
            ("GET", hooks.clone(), Value::Null),
            ("GET", format!("{hooks}?pageSize=x"), Value::Null),
            ("POST", hooks.clone(), webhook("b", "https://a.example/")),
            ("POST", hooks.clone(), json!(1)),
            ("GET", format!("{hooks}/a"), Value::Null),
            ("PATCH", format!("{hooks}/a"), json!({"active": false})),
            ("PATCH", format!("{hooks}/a"), json!([])),
            ("DELETE", format!("{hooks}/a"), Value::Null),
            ("POST", format!("{hooks}/a/ping"), Value::Null),
            ("GET", format!("{hooks}/a/deliveries"), Value::Null),
            ("POST", format!("{hooks}/a/deliveries/{id}/redeliver"), Value::Null),
        ]);
    }
    let own = format!("/v1/orgs/{organization}");
    requests.extend([
        ("POST", format!("{own}/events"), event(None)),
        ("POST", format!("{own}/events?x=1"), json!(1)),
        ("GET", format!("{own}/events"), Value::Null),
        ("GET", format!("{own}/events/{id}"), Value::Null),
        ("GET", format!("{own}/members"), Value::Null),
        ("PUT", format!("{own}/members/morty"), json!({"role": "admin"})),
        ("DELETE", format!("{own}/members/morty"), Value::Null),
        ("GET", format!("{own}/audit"), Value::Null),
        ("GET", format!("{own}/tokens"), Value::Null),
        ("POST", format!("{own}/tokens"), json!({"name": "x", "role": "viewer"})),
        ("DELETE", format!("{own}/tokens/{id}"), Value::Null),
    ]);
    requests
}

#[tokio::test]
async fn a_foreign_organization_looks_like_none() {
    let world = World::start().await;
    let stranger = world.user("stranger", None).await;
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    world.admin("POST", &hooks, webhook("a", "https://a.example/")).await.expect(201);
    let unknown = "no-such-organization";
    for ((method, foreign, body), (_, none, _)) in requests(ORGANIZATION).into_iter().zip(requests(unknown)) {
        let foreign = world.ask(&stranger, method, &foreign, body.clone()).await;
        let none = world.ask(&stranger, method, &none, body).await;
        let expected = format!("Organization '{ORGANIZATION}' not found");
        assert_eq!(foreign.refusal(404), expected, "{method}");
        assert_eq!(foreign.text().replace(ORGANIZATION, unknown), none.text());
        let names = |answer: &crate::support::Answer| {
            answer.headers.keys().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names(&foreign), names(&none));
    }
}
