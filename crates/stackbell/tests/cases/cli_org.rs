//! `pulumi org webhook`.

use serde_json::{Value, json};

use super::cli_stack::{FIELDS, HEADERS};
use super::support::{Caller, DEAD, ORGANIZATION, World, error, go_struct, text, with};

fn cli(world: &World) -> Caller {
    world.caller(HEADERS, true)
}

fn new(url: &str, further: &Value) -> String {
    let plain = json!({"organizationName": "acme", "displayName": "n", "payloadUrl": url, "active": true,
        "format": "raw"});
    go_struct(FIELDS, &with(&plain, further))
}

pub(crate) async fn o01_new() {
    let world = World::start().await;
    let body = new("https://example.com/hook", &json!({}));
    assert!(!body.contains("projectName") && !body.contains("stackName"), "{body}");
    let created = cli(&world).create(ORGANIZATION, &body).await;
    assert_eq!(text(&created, "name").len(), 8);
    for other_scope in ["projectName", "stackName", "envName"] {
        assert_eq!(created.get(other_scope), None);
    }
}

pub(crate) async fn o02_new_with_the_groups_offered() {
    let world = World::start().await;
    let groups = json!({"groups": ["stacks", "deployments", "policies", "environments", "change_requests"]});
    let created = cli(&world).create(ORGANIZATION, &new(DEAD, &groups)).await;
    let sorted = json!(["change_requests", "deployments", "environments", "policies", "stacks"]);
    assert_eq!(created["groups"], sorted);
}

pub(crate) async fn o03_list() {
    let world = World::start().await;
    let cli = cli(&world);
    assert_eq!(cli.get(ORGANIZATION).await.expect(200).text(), "[]");
    let created = cli.create(ORGANIZATION, &new(DEAD, &json!({}))).await;
    assert_eq!(cli.get(ORGANIZATION).await.expect(200).json(), json!([created]));
}

pub(crate) async fn o04_edit() {
    let world = World::start().await;
    let cli = cli(&world);
    let further = json!({"name": "mine", "secret": "K", "filters": ["stack_created", "environment_deleted"]});
    let before = cli.create(ORGANIZATION, &new(DEAD, &further)).await;
    for change in [
        json!({"active": false}),
        json!({"filters": ["environment_deleted"]}),
        json!({"filters": [], "groups": ["policies"]}),
    ] {
        let before = cli.fetch(ORGANIZATION, "mine").await;
        let after = cli.edit(ORGANIZATION, "mine", &go_struct(FIELDS, &with(&before, &change))).await;
        assert_eq!(after, with(&before, &change));
    }
    let kept = cli.fetch(ORGANIZATION, "mine").await;
    assert_eq!(kept["secretCiphertext"], before["secretCiphertext"]);
    let removed = with(&kept, &json!({"secret": "__remove-secret"}));
    assert_eq!(cli.edit(ORGANIZATION, "mine", &go_struct(FIELDS, &removed)).await["hasSecret"], false);
}

pub(crate) async fn o05_remove_ping_delivery_list() {
    let world = World::start().await;
    let cli = cli(&world);
    cli.create(ORGANIZATION, &new(&world.receiver.url("/"), &json!({"name": "mine"}))).await;
    let pinged = cli.ping(ORGANIZATION, "mine").await;
    assert_eq!(pinged["responseCode"], 200);
    cli.fetch(ORGANIZATION, "mine").await;
    assert_eq!(cli.deliveries(ORGANIZATION, "mine").await, [pinged]);
    cli.remove(ORGANIZATION, "mine").await;
    error(&cli.post(&format!("{ORGANIZATION}/mine/ping"), "").await, 404);
}
