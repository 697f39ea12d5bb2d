//! Paths, methods and queries.

use http::Method;
use serde_json::json;

use crate::cases::Case;

pub(crate) fn cases() -> Vec<Case> {
    [unknown(), names(), methods(), queries()].concat()
}

fn unknown() -> Vec<Case> {
    let hook = "/api/orgs/acme/hooks/missing";
    let no_event = "22222222-2222-4222-8222-222222222222";
    let redeliver = |event: &str| format!("/api/orgs/acme/hooks/hook/deliveries/{event}/redeliver");
    let post = |path: &str, part: &str| Case::new(Method::POST, path, "", part);
    let cases = [
        Case::get("/", "no such route"),
        Case::get("/api", "no such route"),
        Case::get("/api/orgs", "no such route"),
        Case::get("/api/orgs/acme", "no such route"),
        Case::get("/api/orgs/acme/hooks/", ""),
        Case::get("/api/orgs//hooks", ""),
        Case::get("/v1/", "no such route"),
        Case::get("/v2/orgs/acme/events", "no such route"),
        Case::get("/API/orgs/acme/hooks", "no such route"),
        Case::get("/../etc/passwd", "no such route"),
        Case::get(hook, "Webhook 'missing' not found"),
        Case::get("/api/stacks/acme/web/prod/hooks/hook", "Webhook 'hook' not found"),
        Case::get("/api/esc/environments/acme/web/dev/hooks/hook", "Webhook 'hook' not found"),
        Case::get("/api/preview/environments/acme/dev/hooks/hook", "Webhook 'hook' not found"),
        Case::patch(hook, &json!({"active": true}), "Webhook 'missing' not found"),
        post(&format!("{hook}/ping"), "Webhook 'missing' not found"),
        post(&redeliver(no_event), "not found"),
        post(&redeliver("x"), "not found"),
        post(&redeliver("%00"), "not found"),
        Case::get(&format!("/v1/orgs/acme/events/{no_event}"), "not found"),
        Case::get("/v1/orgs/acme/events/x", "Event 'x' not found"),
        Case::get(&format!("/api/orgs/acme/hooks/{}", "n".repeat(33)), "not found"),
        Case::get("/api/orgs/acme/hooks/a%2fb", "not found"),
        Case::get("/api/orgs/acme/hooks/%F0%9F%8D%B9", "not found"),
        Case::get("/api/orgs/missing/hooks", "Organization 'missing' not found"),
        Case::get("/api/orgs/rival/hooks", "Organization 'rival' not found"),
        Case::get("/api/orgs/ACME/hooks", "Organization 'ACME' not found"),
        Case::get("/api/orgs/a%20b/hooks", "not found"),
        Case::get("/v1/orgs/rival/events", "Organization 'rival' not found"),
    ];
    cases.map(|case| case.status(404)).to_vec()
}

fn names() -> Vec<Case> {
    vec![
        Case::get("/api/orgs/%ff/hooks", "not UTF-8"),
        Case::get("/api/orgs/acme/hooks/%c0%af", "not UTF-8"),
        Case::get("/api/stacks/acme/a%20b/prod/hooks", "projectName in the path"),
        Case::get("/api/stacks/acme/web/a%2Fb/hooks", "stackName in the path"),
        Case::get(&format!("/api/stacks/acme/web/{}/hooks", "s".repeat(101)), "stackName in the path"),
        Case::get("/api/esc/environments/acme/web/%00/hooks", "envName in the path"),
        Case::get("/api/preview/environments/acme/a%20b/hooks", "envName in the path"),
    ]
}

fn methods() -> Vec<Case> {
    let rows = [
        (Method::PUT, "/api/orgs/acme/hooks"),
        (Method::PATCH, "/api/orgs/acme/hooks"),
        (Method::DELETE, "/api/orgs/acme/hooks"),
        (Method::POST, "/api/orgs/acme/hooks/hook"),
        (Method::PUT, "/api/orgs/acme/hooks/hook"),
        (Method::GET, "/api/orgs/acme/hooks/hook/ping"),
        (Method::POST, "/api/orgs/acme/hooks/hook/deliveries"),
        (Method::GET, "/api/orgs/acme/hooks/hook/deliveries/x/redeliver"),
        (Method::PUT, "/v1/orgs/acme/events"),
        (Method::DELETE, "/v1/orgs/acme/events"),
        (Method::POST, "/healthz"),
        (Method::OPTIONS, "/api/orgs/acme/hooks"),
        (Method::TRACE, "/api/orgs/acme/hooks"),
    ];
    rows.map(|(method, path)| Case::new(method, path, "", "Allow").status(405)).to_vec()
}

fn queries() -> Vec<Case> {
    let hooks = ["0", "-1", "1001", "x", "1.5", "%201", "99999999999999999999"]
        .map(|size| Case::get(&format!("/api/orgs/acme/hooks?pageSize={size}"), "pageSize must be a number"));
    let tokens = ["x", "%00", "AAAA", "11111111-1111-4111-8111-111111111111"].map(|token| {
        Case::get(&format!("/api/orgs/acme/hooks?continuationToken={token}"), "continuationToken")
    });
    let events = vec![
        Case::get("/v1/orgs/acme/events?pageSize=101", "pageSize must be a number from 1 to 100"),
        Case::get("/v1/orgs/acme/events?pagesize=10", "no query parameter 'pagesize'"),
        Case::get("/v1/orgs/acme/events?continuationToken=x", "continuationToken"),
        Case::get("/v1/orgs/acme/events/x?verbose=1", "no query parameter 'verbose'"),
        Case::post(
            "/v1/orgs/acme/events?results=lines",
            &json!({}),
            "results is for application/x-ndjson alone",
        ),
        Case::post("/v1/orgs/acme/events?results=all", &json!({}), "results"),
        Case::post("/v1/orgs/acme/events?dryRun=true", &json!({}), "no query parameter 'dryRun'"),
        Case::post("/v1/user/tokens?a=b", &json!({"name": "a"}), "no query parameter 'a'"),
    ];
    [hooks.to_vec(), tokens.to_vec(), events].concat()
}
