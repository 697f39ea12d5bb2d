//! The effect of a PATCH. Source: wire-facts.md#update-rule.

use serde_json::{Value, json};
use stackbell_model::webhook::Format;

use crate::support::{ORGANIZATION, World};

const HOOKS: &str = "/api/orgs/crazy-adventures/hooks";
const HOOK: &str = "/api/orgs/crazy-adventures/hooks/a";

async fn start() -> (World, Value) {
    let world = World::start().await;
    let body = json!({
        "organizationName": ORGANIZATION, "name": "a", "displayName": "d", "payloadUrl": "https://a.example/",
        "active": true, "format": "ms_teams", "filters": ["update_failed"], "groups": ["stacks", "deployments"],
        "secret": "test",
    });
    let created = world.admin("POST", HOOKS, body).await.expect(201);
    (world, created)
}

/// A body with every required field, as real clients send it.
fn whole() -> Value {
    json!({"active": false, "displayName": "e", "payloadUrl": "https://b.example/"})
}

fn merged(value: &Value, more: &Value) -> Value {
    let mut merged = value.clone();
    for (name, value) in more.as_object().expect("an object") {
        merged[name] = value.clone();
    }
    merged
}

/// Sends `body`. Afterwards the webhook must differ by exactly `changes`.
async fn check(body: Value, changes: Value) {
    let (world, created) = start().await;
    let changed = world.admin("PATCH", HOOK, body.clone()).await.expect(200);
    assert_eq!(changed, merged(&created, &changes), "{body}");
    assert_eq!(world.admin("GET", HOOK, Value::Null).await.expect(200), changed, "{body}");
}

#[tokio::test]
async fn a_whole_body_replaces() {
    let lists = json!({"filters": [], "groups": []});
    check(whole(), merged(&whole(), &lists)).await;
    let nulls = json!({"filters": null, "groups": null, "format": null, "secret": null, "name": null});
    check(merged(&whole(), &nulls), merged(&whole(), &lists)).await;
    let some = json!({"filters": ["update_succeeded"], "groups": ["stacks"], "format": "raw"});
    check(merged(&whole(), &some), merged(&whole(), &some)).await;
    // Clients send fields of the response back.
    let echoed =
        json!({"name": "a", "organizationName": ORGANIZATION, "hasSecret": true, "secretCiphertext": "x"});
    check(merged(&whole(), &echoed), merged(&whole(), &lists)).await;
    check(merged(&whole(), &json!({"format": "", "secret": ""})), merged(&whole(), &lists)).await;
}

#[tokio::test]
async fn a_partial_body_merges() {
    check(json!({}), json!({})).await;
    check(json!({"active": false}), json!({"active": false})).await;
    check(json!({"filters": []}), json!({"filters": []})).await;
    check(json!({"groups": ["policies", "deployments"]}), json!({"groups": ["deployments", "policies"]}))
        .await;
    check(json!({"active": null, "displayName": "e"}), json!({"displayName": "e"})).await;
    check(json!({"secret": "__remove-secret"}), json!({"hasSecret": false, "secretCiphertext": ""})).await;
}

#[tokio::test]
async fn a_secrets_digest_changes_with_it_alone() {
    let (world, created) = start().await;
    let same = world.admin("PATCH", HOOK, json!({"secret": "test"})).await.expect(200);
    assert_eq!(same, created);
    let other = world.admin("PATCH", HOOK, json!({"secret": "other"})).await.expect(200);
    assert_ne!(other["secretCiphertext"], created["secretCiphertext"]);
    assert_eq!(other["hasSecret"], true);
    let back = world.admin("PATCH", HOOK, json!({"secret": "test"})).await.expect(200);
    assert_eq!(back, created);
}

/// Sends `body`. It must be refused because of these fields, and nothing may change.
async fn check_refused(body: Value, expected: &[&str]) {
    let (world, created) = start().await;
    let answer = world.admin("PATCH", HOOK, body.clone()).await;
    answer.refusal(400);
    assert_eq!(answer.details(), expected, "{body}");
    assert_eq!(world.admin("GET", HOOK, Value::Null).await.expect(200), created, "{body}");
}

#[tokio::test]
async fn invalid_fields_are_named() {
    check_refused(json!({"name": "b"}), &["Webhook name invalid"]).await;
    check_refused(json!({"organizationName": "other"}), &["Webhook organizationName invalid"]).await;
    check_refused(json!({"stackName": "prod"}), &["Webhook stackName invalid"]).await;
    check_refused(json!({"format": "slack"}), &["Webhook payloadUrl invalid"]).await;
    check_refused(json!({"format": "pulumi_deployments"}), &["Webhook format invalid"]).await;
    check_refused(json!({"filters": ["nothing"]}), &["Webhook filters invalid"]).await;
    check_refused(json!({"active": "yes"}), &["Webhook active invalid"]).await;
    let several = json!({"displayName": " ", "payloadUrl": "ftp://a.example/", "groups": ["x"]});
    let expected = ["Webhook displayName invalid", "Webhook payloadUrl invalid", "Webhook groups invalid"];
    check_refused(several, &expected).await;
}

#[tokio::test]
async fn creating_names_all_that_is_missing_and_what_is_taken() {
    let (world, _) = start().await;
    let answer = world.admin("POST", HOOKS, json!({})).await;
    let expected = ["organizationName", "displayName", "payloadUrl", "active"];
    assert_eq!(answer.details(), expected.map(|field| format!("Webhook {field} required")));
    let again = merged(&whole(), &json!({"organizationName": ORGANIZATION, "name": "a"}));
    let answer = world.admin("POST", HOOKS, again).await;
    assert_eq!(answer.refusal(409), "Webhook 'a' already exists");
    assert_eq!(answer.details(), ["Webhook name already_exists"]);
    let forbidden = json!({
        "organizationName": ORGANIZATION, "displayName": "d", "active": true,
        "payloadUrl": "http://169.254.169.254/latest",
    });
    let answer = world.admin("POST", HOOKS, forbidden).await;
    assert_eq!(answer.details(), ["Webhook payloadUrl invalid"]);
}

#[tokio::test]
async fn the_message_about_a_forbidden_address_is_a_sentence() {
    let (world, _) = start().await;
    let body = json!({"payloadUrl": "http://10.0.0.1/"});
    let refusal = world.admin("PATCH", HOOK, body).await.refusal(400);
    let expected = "payloadUrl must not name a private address: the outbound policy forbids it; allow it with --outbound-allow and its network";
    assert_eq!(refusal, expected);
}

#[tokio::test]
async fn a_webhook_from_before_a_removed_allowance_can_be_edited() {
    let world = World::start().await;
    let url = "http://10.0.0.1/hook";
    world.save_unchecked("old", url, Format::Raw).await;
    world.save_unchecked("chat", "https://chat.example/hook", Format::Slack).await;
    let path = |name: &str| format!("{HOOKS}/{name}");
    for (name, same) in [("old", url), ("chat", "https://chat.example/hook")] {
        let off = world.admin("PATCH", &path(name), json!({"active": false})).await.expect(200);
        assert_eq!(off["active"], false);
        let whole = json!({"active": true, "displayName": "e", "payloadUrl": same});
        assert_eq!(world.admin("PATCH", &path(name), whole).await.expect(200)["displayName"], "e");
    }
    for (name, body) in [
        ("old", json!({"payloadUrl": "http://10.0.0.1/other"})),
        ("old", json!({"format": "ms_teams"})),
        ("chat", json!({"payloadUrl": "https://chat.example/other"})),
    ] {
        let answer = world.admin("PATCH", &path(name), body).await;
        assert_eq!(answer.details(), ["Webhook payloadUrl invalid"]);
    }
}
