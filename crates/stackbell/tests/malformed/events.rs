//! Events: their three fields, and payloads by kind.

use serde_json::{Value, json};

use crate::cases::{Case, KNOWN_EVENT, with, without};

const PATH: &str = "/v1/orgs/acme/events";

fn update() -> Value {
    json!({"projectName": "web", "stackName": "prod", "kind": "update", "result": "succeeded"})
}

fn event(kind: &str, payload: impl Into<Value>) -> Value {
    json!({"kind": kind, "payload": payload.into()})
}

pub(crate) fn cases() -> Vec<Case> {
    [envelopes(), ids(), updates(), kinds(), arrays(), texts()].concat()
}

fn envelopes() -> Vec<Case> {
    let good = event("stack_update", update());
    let rows = [
        (without(&good, "kind"), "kind is required"),
        (with(&good, "kind", Value::Null), "kind is required"),
        (with(&good, "kind", 1), "kind must be a string"),
        (with(&good, "kind", json!(["stack"])), "kind must be a string"),
        (with(&good, "kind", ""), "kind must be one of"),
        (with(&good, "kind", "update_succeeded"), "not 'update_succeeded'"),
        (with(&good, "kind", "ping"), "not 'ping'"),
        (with(&good, "kind", "Stack_Update"), "kind must be one of"),
        (with(&good, "kind", "k".repeat(10_000)), "kind must be one of"),
        (without(&good, "payload"), "payload is required"),
        (with(&good, "payload", Value::Null), "payload"),
        (with(&good, "payload", json!([])), "payload"),
        (with(&good, "payload", "{}"), "payload"),
        (with(&good, "payload", 7), "payload"),
        (with(&good, "source", "ci"), "unknown field `source`"),
        (with(&good, "Kind", "stack"), "unknown field `Kind`"),
        (json!(1), "an event must be an object"),
        (json!("stack_update"), "an event must be an object"),
        (json!(true), "an event must be an object"),
        (Value::Null, "an event must be an object"),
    ];
    rows.iter().map(|(body, part)| Case::post(PATH, body, part)).collect()
}

fn ids() -> Vec<Case> {
    let bad = [
        json!(1),
        json!(""),
        json!("x"),
        json!("11111111111141118111111111111111"),
        json!("{11111111-1111-4111-8111-111111111111}"),
        json!("urn:uuid:11111111-1111-4111-8111-111111111111"),
        json!("11111111-1111-4111-8111-11111111111g"),
        json!({"id": KNOWN_EVENT}),
    ];
    let good = event("stack_update", update());
    let taken = Case::post(PATH, &with(&good, "id", KNOWN_EVENT), "belongs to an event with other content");
    let bad = bad.into_iter().map(|id| Case::post(PATH, &with(&good, "id", id), "id must be"));
    bad.chain([taken.status(409)]).collect()
}

fn updates() -> Vec<Case> {
    let rows = [
        ("projectName", json!(1)),
        ("projectName", json!("")),
        ("projectName", json!("a/b")),
        ("projectName", json!("p".repeat(101))),
        ("stackName", json!(false)),
        ("stackName", json!("a b")),
        ("kind", json!("explode")),
        ("kind", json!(1)),
        ("result", json!("maybe")),
        ("result", json!("SUCCEEDED")),
        ("result", json!({})),
        ("isPreview", json!("no")),
        ("isPreview", json!(true)),
        ("updateUrl", json!(1)),
        ("resourceChanges", json!([])),
        ("resourceChanges", json!("3")),
        ("resourceChanges", json!({"same": "28"})),
        ("resourceChanges", json!({"same": -1})),
        ("resourceChanges", json!({"same": 1.5})),
        ("resourceChanges", json!({"same": null})),
        ("user", json!("morty")),
        ("user", json!({"name": 1})),
        ("organization", json!("acme")),
        ("organization", json!({"githubLogin": "rival"})),
        ("organization", json!({"githubLogin": "Acme"})),
        ("organization", json!({"githubLogin": 1})),
    ];
    let wrong = rows.into_iter().map(|(field, value)| {
        let part = format!("payload.{field}");
        Case::post(PATH, &event("stack_update", with(&update(), field, value)), &part)
    });
    let missing = ["projectName", "stackName", "kind", "result"].map(|field| {
        let part = format!("payload.{field} is required");
        Case::post(PATH, &event("stack_update", without(&update(), field)), &part)
    });
    wrong.chain(missing).collect()
}

/// The required fields of every other kind, and one field with a wrong type.
fn kinds() -> Vec<Case> {
    let of_stack = |further: Value| merged(json!({"projectName": "web", "stackName": "prod"}), further);
    let of_environment =
        |further: Value| merged(json!({"projectName": "web", "environmentName": "dev"}), further);
    let rows = [
        ("stack", of_stack(json!({})), "payload.action is required"),
        ("stack", of_stack(json!({"action": "renamed"})), "payload.action"),
        ("stack_preview", with(&update(), "isPreview", false), "payload.isPreview"),
        ("deployment", of_stack(json!({"status": "exploded"})), "payload.status"),
        ("deployment", of_stack(json!({"status": "running", "version": "7"})), "payload.version"),
        ("drift_detection", of_stack(json!({"status": "succeeded"})), "payload.driftDetected is required"),
        (
            "drift_detection",
            of_stack(json!({"driftDetected": 1, "status": "failed"})),
            "payload.driftDetected",
        ),
        ("drift_remediation", of_stack(json!({"status": "running"})), "payload.status"),
        ("deployment_file_ingestion", of_stack(json!({"version": -1})), "payload.version"),
        ("policy_violation", of_stack(json!({"level": "grave"})), "payload.level"),
        ("environment", of_environment(json!({"action": "moved"})), "payload.action"),
        (
            "environment",
            json!({"projectName": "web", "action": "created"}),
            "payload.environmentName is required",
        ),
        ("environment", of_stack(json!({"action": "created"})), "payload.environmentName is required"),
        (
            "environment_revision",
            of_environment(json!({"action": "created", "revision": 1.5})),
            "payload.revision",
        ),
        (
            "environment_revision_tag",
            of_environment(json!({"tagName": 1, "action": "created"})),
            "payload.tagName",
        ),
        ("environment_tag", of_environment(json!({})), "payload.action is required"),
        (
            "imported_environment_changed",
            of_environment(json!({"affectedRevisions": [1, "2"]})),
            "payload.affectedRevisions[1]",
        ),
        (
            "imported_environment_changed",
            of_environment(json!({"importedEnvironmentReference": {"revision": "3"}})),
            "payload.importedEnvironmentReference.revision",
        ),
        (
            "environment_rotation",
            of_environment(json!({"status": "failed", "rotations": [{"id": 1}]})),
            "payload.rotations[0].id",
        ),
        ("change_request", of_environment(json!({"action": "merged"})), "payload.action"),
    ];
    rows.into_iter().map(|(kind, payload, part)| Case::post(PATH, &event(kind, payload), part)).collect()
}

fn merged(mut base: Value, further: Value) -> Value {
    let (Value::Object(base_fields), Value::Object(further)) = (&mut base, further) else {
        panic!("objects")
    };
    base_fields.extend(further);
    base
}

fn arrays() -> Vec<Case> {
    let good = event("stack_update", update());
    let rows = [
        (json!([1]), "[0]: an event must be an object"),
        (json!([[good]]), "[0]: an event must be an object"),
        (json!([good, null]), "[1]: an event must be an object"),
        (json!([good, {"kind": "stack"}]), "[1].payload is required"),
        (json!([good, good, event("nonsense", json!({}))]), "[2].kind"),
        (json!([good, event("stack_update", with(&update(), "result", 1))]), "[1].payload.result"),
        (json!([good, with(&good, "id", "x")]), "[1].id"),
    ];
    let taken = json!([good, with(&good, "id", KNOWN_EVENT)]);
    let taken = Case::post(PATH, &taken, "the id of event 1 belongs to an event with other content");
    rows.iter().map(|(body, part)| Case::post(PATH, body, part)).chain([taken.status(409)]).collect()
}

/// Texts that no JSON library would write.
fn texts() -> Vec<Case> {
    let payload = |further: &str| {
        let payload = r#"{"projectName":"web","stackName":"prod","kind":"update","result":"succeeded""#;
        format!(r#"{{"kind":"stack_update","payload":{payload},{further}}}}}"#)
    };
    let rows = [
        (payload(r#""result":"failed""#), "result: the same key twice"),
        (payload(r#""a":{"b":1,"\u0062":2}"#), "the same key twice"),
        (payload(r#""a":"\ud83c""#), "surrogate"),
        (payload(r#""a":"\udf79\ud83c""#), "surrogate"),
        (payload(r#""a":1e999999999"#), "digits"),
        (payload(r#""a":1."#), ""),
        (payload(r#""a":00"#), ""),
        (payload(r#""a":tru"#), ""),
        (r#"{"kind":"stack","kind":"stack","payload":{}}"#.to_owned(), "duplicate field `kind`"),
        (r#"{"kind":"\ud800","payload":{}}"#.to_owned(), "kind must be Unicode"),
    ];
    rows.into_iter().map(|(body, part)| Case::new(http::Method::POST, PATH, body, part)).collect()
}
