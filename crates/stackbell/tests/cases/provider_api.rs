//! The provider's generic resources, driven by the OpenAPI document: `api:OrganizationWebhook`, `api/stacks:Webhook`,
//! `api/esc:Webhook`. A body has exactly the fields with a value.

use serde_json::{Value, json};

use super::support::{
    Caller, DEAD, ENVIRONMENT, Headers, ORGANIZATION, STACK, World, error, text, webhook, with,
};

const HEADERS: Headers = &[
    ("Accept", "application/json"),
    ("Accept-Encoding", "gzip"),
    ("User-Agent", "Go-http-client/1.1"),
    ("X-Pulumi-Source", "provider"),
];

const SCOPES: [&str; 3] = [ORGANIZATION, STACK, ENVIRONMENT];

/// This client sends a content type only with a body.
fn provider(world: &World) -> Caller {
    world.caller(HEADERS, false)
}

fn inputs(prefix: &str, further: &Value) -> Value {
    let scope = match prefix {
        STACK => json!({"projectName": "web", "stackName": "prod"}),
        ENVIRONMENT => json!({"projectName": "web", "envName": "dev"}),
        _ => json!({}),
    };
    let all = json!({"active": true, "displayName": "d", "organizationName": "acme", "payloadUrl": DEAD});
    with(&with(&all, &scope), further)
}

/// Creates a resource: a POST, then a GET with the name from its response.
async fn create(provider: &Caller, prefix: &str, inputs: &Value) -> Value {
    let created = provider.create(prefix, &inputs.to_string()).await;
    let read = provider.fetch(prefix, text(&created, "name")).await;
    assert_eq!(read, created);
    read
}

/// Checks that the response has each of the user's inputs unchanged. Groups are compared sorted, filters in their order.
#[track_caller]
fn assert_no_diff(inputs: &Value, read: &Value) {
    for (field, written) in inputs.as_object().expect("an object") {
        let mut written = written.clone();
        if let ("groups", Some(groups)) = (field.as_str(), written.as_array_mut()) {
            groups.sort_by_key(|group| group.as_str().map(str::to_owned));
        }
        if field != "secret" {
            assert_eq!(read[field], written, "{field}");
        }
    }
}

pub(crate) async fn a01_create_with_a_name() {
    let world = World::start().await;
    let provider = provider(&world);
    for prefix in SCOPES {
        let created = create(&provider, prefix, &inputs(prefix, &json!({"name": "mine"}))).await;
        assert_eq!(created["name"], "mine");
    }
}

pub(crate) async fn a02_create_without_a_name() {
    let world = World::start().await;
    let provider = provider(&world);
    for prefix in SCOPES {
        let created = create(&provider, prefix, &inputs(prefix, &json!({}))).await;
        assert_eq!(text(&created, "name").len(), 8);
    }
}

/// Fields of the response replace the user's inputs.
pub(crate) async fn a03_answers_hold_no_secret_and_no_null() {
    let world = World::start().await;
    let provider = provider(&world);
    let secret = inputs(STACK, &json!({"name": "mine", "secret": "the secret"}));
    for answer in [
        provider.post(STACK, &secret.to_string()).await.expect(201),
        provider.get(&format!("{STACK}/mine")).await.expect(200),
        provider.patch(&format!("{STACK}/mine"), &secret.to_string()).await.expect(200),
        provider.get(STACK).await.expect(200),
    ] {
        assert!(!answer.text().contains("\"secret\"") && !answer.text().contains("the secret"));
        assert!(!answer.text().contains("null"), "{}", answer.text());
    }
}

pub(crate) async fn a04_update() {
    let world = World::start().await;
    let provider = provider(&world);
    for prefix in SCOPES {
        let written = inputs(prefix, &json!({"name": "mine", "secret": "K"}));
        let created = create(&provider, prefix, &written).await;
        let last_read = json!({"format": "raw", "filters": [], "groups": []});
        let change = json!({"secret": "L", "payloadUrl": world.receiver.url("/moved")});
        let changed = with(&with(&written, &last_read), &change);
        let updated = provider.edit(prefix, "mine", &changed.to_string()).await;
        assert_eq!(updated["hasSecret"], true);
        assert_ne!(updated["secretCiphertext"], created["secretCiphertext"]);
        assert_no_diff(&changed, &updated);
        provider.ping(prefix, "mine").await;
        world.assert_signed_with(Some("L"));
    }
}

pub(crate) async fn a05_refresh_shows_no_difference() {
    let world = World::start().await;
    let provider = provider(&world);
    let lists = json!({"format": "ms_teams", "active": false, "groups": ["stacks", "deployments"],
        "filters": ["policy_violation_mandatory", "drift_detected", "deployment_failed"]});
    let written = inputs(STACK, &lists);
    let created = create(&provider, STACK, &written).await;
    assert_no_diff(&written, &created);
}

pub(crate) async fn a06_replaced_under_the_same_name() {
    let world = World::start().await;
    let provider = provider(&world);
    for prefix in SCOPES {
        let written = inputs(prefix, &json!({"name": "mine", "secret": "K"}));
        create(&provider, prefix, &written).await;
        provider.delete(&format!("{prefix}/mine")).await.expect(204);
        let again = create(&provider, prefix, &inputs(prefix, &json!({"name": "mine"}))).await;
        assert_eq!(again["hasSecret"], false, "nothing of the former is left");
    }
}

pub(crate) async fn a07_delete() {
    let world = World::start().await;
    let provider = provider(&world);
    for prefix in SCOPES {
        create(&provider, prefix, &inputs(prefix, &json!({"name": "mine"}))).await;
        provider.remove(prefix, "mine").await;
    }
}

pub(crate) async fn a08_list_and_sweep() {
    let world = World::start().await;
    let provider = provider(&world);
    for _ in 0..3 {
        create(&provider, ORGANIZATION, &inputs(ORGANIZATION, &json!({}))).await;
    }
    let listed = provider.get(ORGANIZATION).await.expect(200).json();
    let listed = listed.as_array().expect("a bare array");
    assert_eq!(listed.len(), 3);
    for one in listed {
        provider.delete(&format!("{ORGANIZATION}/{}", text(&webhook(one.clone()), "name"))).await.expect(204);
    }
    assert_eq!(provider.get(ORGANIZATION).await.expect(200).text(), "[]");
}

/// A resource's id is built from the response, and the webhook can be found by it.
pub(crate) async fn a09_ids() {
    let world = World::start().await;
    let provider = provider(&world);
    for (prefix, fields, expected) in [
        (ORGANIZATION, &["organizationName", "name"][..], "acme/mine"),
        (STACK, &["organizationName", "projectName", "stackName", "name"], "acme/web/prod/mine"),
        (ENVIRONMENT, &["organizationName", "projectName", "envName", "name"], "acme/web/dev/mine"),
    ] {
        let created = create(&provider, prefix, &inputs(prefix, &json!({"name": "mine"}))).await;
        let id: Vec<&str> = fields.iter().map(|field| text(&created, field)).collect();
        assert_eq!(id.join("/"), expected);
        error(&provider.get(&format!("{prefix}/other")).await, 404);
    }
}
