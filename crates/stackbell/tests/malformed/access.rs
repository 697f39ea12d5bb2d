//! Requests without permission: no token, an invalid token, another organization, a lower role.

use http::Method;
use serde_json::json;

use crate::cases::{Case, KNOWN_EVENT, Who};

const UNAUTHORIZED: &str = "Unauthorized: No credentials provided or are invalid.";

pub(crate) fn cases() -> Vec<Case> {
    [tokens(), routes(), organizations(), roles()].concat()
}

fn tokens() -> Vec<Case> {
    let long = format!("token {}", "t".repeat(8000));
    let rows = [
        "",
        "token",
        "token ",
        "token wrong",
        "token\twrong",
        "Bearer wrong",
        "Basic dXNlcjpwYXNz",
        "Digest username=\"a\"",
        "update-token wrong",
        "test-token-of-more-than-32-characters",
        "token test-token-of-more-than-32-character",
        "token test-token-of-more-than-32-characters x",
        "token TEST-TOKEN-OF-MORE-THAN-32-CHARACTERS",
        "token sbl_0000000000000000000000000000000000000000",
        long.as_str(),
    ];
    let get = |authorization: &str| {
        Case::get("/api/orgs/acme/hooks", UNAUTHORIZED)
            .header("Authorization", authorization)
            .by(Who::Given)
            .status(401)
    };
    rows.into_iter().map(get).collect()
}

/// No route reveals anything to a caller without a token.
fn routes() -> Vec<Case> {
    let event = format!("/api/orgs/acme/hooks/hook/deliveries/{KNOWN_EVENT}/redeliver");
    let rows = [
        (Method::GET, "/api/orgs/missing/hooks"),
        (Method::POST, "/api/orgs/acme/hooks"),
        (Method::GET, "/api/orgs/acme/hooks/hook"),
        (Method::PATCH, "/api/orgs/acme/hooks/hook"),
        (Method::DELETE, "/api/orgs/acme/hooks/hook"),
        (Method::POST, "/api/orgs/acme/hooks/hook/ping"),
        (Method::GET, "/api/orgs/acme/hooks/hook/deliveries"),
        (Method::POST, event.as_str()),
        (Method::GET, "/api/stacks/acme/web/prod/hooks"),
        (Method::GET, "/api/stacks/acme/a%20b/prod/hooks"),
        (Method::GET, "/api/esc/environments/acme/web/dev/hooks"),
        (Method::GET, "/api/preview/environments/acme/dev/hooks"),
        (Method::POST, "/v1/orgs/acme/events"),
        (Method::GET, "/v1/orgs/acme/events"),
        (Method::GET, "/v1/orgs/acme/members"),
        (Method::GET, "/v1/orgs/acme/tokens"),
        (Method::GET, "/v1/orgs"),
        (Method::GET, "/v1/users"),
        (Method::GET, "/v1/user/tokens"),
    ];
    let ask = |(method, path): (Method, &str)| {
        Case::new(method, path, "{", UNAUTHORIZED)
            .header("Authorization", "token wrong")
            .by(Who::Given)
            .status(401)
    };
    rows.into_iter().map(ask).collect()
}

/// Requests for another organization get the same response as for a missing one, whatever else is wrong.
fn organizations() -> Vec<Case> {
    let rows = [
        (Method::POST, "/api/orgs/rival/hooks"),
        (Method::GET, "/api/orgs/rival/hooks/hook"),
        (Method::PATCH, "/api/orgs/rival/hooks/hook"),
        (Method::DELETE, "/api/orgs/rival/hooks/hook"),
        (Method::POST, "/api/orgs/rival/hooks/hook/ping"),
        (Method::GET, "/api/orgs/rival/hooks/hook/deliveries"),
        (Method::POST, "/api/stacks/rival/a%20b/prod/hooks"),
        (Method::POST, "/v1/orgs/rival/events"),
        (Method::POST, "/v1/orgs/rival/events?nonsense=1"),
        (Method::GET, "/v1/orgs/rival/tokens"),
    ];
    let ask = |(method, path): (Method, &str)| {
        Case::new(method, path, "{", "Organization 'rival' not found").by(Who::Member).status(404)
    };
    rows.into_iter().map(ask).collect()
}

fn roles() -> Vec<Case> {
    let hook = json!({"organizationName": "acme", "displayName": "d", "payloadUrl": "http://127.0.0.1:1/", "active": true});
    let update = json!({"projectName": "web", "stackName": "prod", "action": "created"});
    let event = json!({"kind": "stack", "payload": update});
    let get = |who, path: &str| Case::get(path, "").by(who);
    let post = |who, path: &str, body: &serde_json::Value| Case::post(path, body, "").by(who);
    let cases = [
        get(Who::Publisher, "/api/orgs/acme/hooks"),
        get(Who::Publisher, "/api/orgs/acme/hooks/hook"),
        get(Who::Publisher, "/api/orgs/acme/hooks/hook/deliveries"),
        get(Who::Publisher, "/v1/orgs/acme/events"),
        post(Who::Publisher, "/api/orgs/acme/hooks", &hook),
        post(Who::Publisher, "/api/orgs/acme/hooks/hook/ping", &json!({})),
        post(Who::Viewer, "/api/orgs/acme/hooks", &hook),
        post(Who::Viewer, "/api/stacks/acme/web/prod/hooks", &hook),
        post(Who::Viewer, "/api/orgs/acme/hooks/hook/ping", &json!({})),
        post(Who::Viewer, "/v1/orgs/acme/events", &event),
        Case::patch("/api/orgs/acme/hooks/hook", &json!({"active": true}), "").by(Who::Viewer),
        Case::new(Method::DELETE, "/api/orgs/acme/hooks/hook", "", "").by(Who::Viewer),
        post(Who::Member, "/api/orgs/acme/hooks", &hook),
        Case::patch("/api/orgs/acme/hooks/hook", &json!({"active": true}), "").by(Who::Member),
        Case::new(Method::DELETE, "/api/orgs/acme/hooks/hook", "", "").by(Who::Member),
        post(Who::Member, "/v1/orgs/acme/tokens", &json!({"name": "a", "role": "viewer"})),
    ];
    cases.map(|case| Case { part: "may not".to_owned(), ..case.status(403) }).to_vec()
}
