//! `pulumi env webhook`, which is the same command as `esc env webhook`.

use serde_json::{Value, json};

use super::support::{Caller, DEAD, ENVIRONMENT, GoField, Headers, World, error, go_struct, text, with};

const HEADERS: Headers = &[
    ("Accept", "application/vnd.pulumi+8"),
    ("Accept-Encoding", "gzip"),
    ("User-Agent", "esc-cli/1 (v0.20.0; linux)"),
];

const CREATE: &[GoField] = &[
    ("active", Some("false")),
    ("displayName", Some("\"\"")),
    ("name", Some("\"\"")),
    ("organizationName", Some("\"\"")),
    ("projectName", Some("\"\"")),
    ("envName", Some("\"\"")),
    ("payloadUrl", Some("\"\"")),
    ("filters", None),
    ("groups", None),
    ("format", Some("\"raw\"")),
    ("secret", None),
];

/// The body has neither organization nor name, because the path has both.
const EDIT: &[GoField] = &[
    ("active", Some("false")),
    ("displayName", Some("\"\"")),
    ("payloadUrl", Some("\"\"")),
    ("filters", None),
    ("groups", None),
    ("format", None),
    ("secret", None),
];

fn cli(world: &World) -> Caller {
    world.caller(HEADERS, true)
}

fn new(url: &str, further: &Value) -> String {
    let plain = json!({"organizationName": "acme", "projectName": "web", "envName": "dev",
        "displayName": "label", "payloadUrl": url, "active": true});
    go_struct(CREATE, &with(&plain, further))
}

async fn edit(cli: &Caller, change: &Value) -> (Value, Value) {
    let before = cli.fetch(ENVIRONMENT, "mine").await;
    let after = cli.edit(ENVIRONMENT, "mine", &go_struct(EDIT, &with(&before, change))).await;
    (before, after)
}

pub(crate) async fn e01_new() {
    let world = World::start().await;
    let cli = cli(&world);
    let created = cli.create(ENVIRONMENT, &new(DEAD, &json!({}))).await;
    assert_eq!((text(&created, "projectName"), text(&created, "envName")), ("web", "dev"));
    assert_eq!((created.get("stackName"), text(&created, "name").len()), (None, 8));
    let lists =
        json!({"filters": ["environment_revision_created"], "groups": ["change_requests"], "secret": "K"});
    let created = cli.create(ENVIRONMENT, &new(DEAD, &lists)).await;
    assert_eq!((&created["filters"], &created["groups"]), (&lists["filters"], &lists["groups"]));
    assert_eq!(created["hasSecret"], true);
}

pub(crate) async fn e02_list_and_get() {
    let world = World::start().await;
    let cli = cli(&world);
    assert_eq!(cli.get(ENVIRONMENT).await.expect(200).text(), "[]");
    let created = cli.create(ENVIRONMENT, &new(DEAD, &json!({"name": "mine"}))).await;
    assert_eq!(cli.get(ENVIRONMENT).await.expect(200).json(), json!([created]));
    assert_eq!(cli.fetch(ENVIRONMENT, "mine").await, created);
    assert_eq!((text(&created, "format"), &created["hasSecret"]), ("raw", &json!(false)));
}

pub(crate) async fn e03_edit_without_organization() {
    let world = World::start().await;
    let cli = cli(&world);
    let further = json!({"name": "mine", "secret": "K", "format": "ms_teams", "groups": ["environments"]});
    let before = cli.create(ENVIRONMENT, &new(DEAD, &further)).await;
    let body = format!(r#"{{"active":false,"displayName":"other","payloadUrl":"{DEAD}"}}"#);
    let after = cli.edit(ENVIRONMENT, "mine", &body).await;
    let change = json!({"active": false, "displayName": "other", "groups": []});
    assert_eq!(after, with(&before, &change), "format and secret are as they were, the lists are empty");
}

pub(crate) async fn e04_edit_replaces_the_lists() {
    let world = World::start().await;
    let cli = cli(&world);
    cli.create(ENVIRONMENT, &new(DEAD, &json!({"name": "mine", "groups": ["environments"]}))).await;
    for lists in [
        json!({"filters": ["environment_tag_deleted", "environment_revision_created"]}),
        json!({"filters": ["environment_revision_created"], "groups": ["change_requests", "environments"]}),
        json!({"filters": [], "groups": ["environments"]}),
    ] {
        let (before, after) = edit(&cli, &lists).await;
        assert_eq!(after, with(&before, &lists));
    }
}

pub(crate) async fn e05_edit_removes_the_secret() {
    let world = World::start().await;
    let cli = cli(&world);
    cli.create(ENVIRONMENT, &new(DEAD, &json!({"name": "mine", "secret": "K"}))).await;
    let (before, after) = edit(&cli, &json!({"secret": "__remove-secret"})).await;
    assert_eq!(after, with(&before, &json!({"hasSecret": false, "secretCiphertext": ""})));
}

pub(crate) async fn e06_remove_ping_delivery_list() {
    let world = World::start().await;
    let cli = cli(&world);
    assert_eq!(cli.deliveries(ENVIRONMENT, "absent").await, Vec::<Value>::new());
    error(&cli.post(&format!("{ENVIRONMENT}/absent/ping"), "").await, 404);
    cli.create(ENVIRONMENT, &new(&world.receiver.url("/"), &json!({"name": "mine"}))).await;
    let pinged = cli.ping(ENVIRONMENT, "mine").await;
    assert_eq!(cli.deliveries(ENVIRONMENT, "mine").await, [pinged]);
    cli.remove(ENVIRONMENT, "mine").await;
}
