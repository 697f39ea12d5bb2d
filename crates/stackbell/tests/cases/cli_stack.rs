//! `pulumi stack webhook`.

use serde_json::{Value, json};

use super::support::{Caller, DEAD, GoField, Headers, STACK, World, error, go_struct, text, with};

pub(crate) const HEADERS: Headers = &[
    ("Accept", "application/vnd.pulumi+9"),
    ("Accept-Encoding", "gzip"),
    ("User-Agent", "pulumi-cli/1 (v3.238.0; linux)"),
];

/// The CLI's struct of a webhook, for both creating and editing.
pub(crate) const FIELDS: &[GoField] = &[
    ("organizationName", Some("\"\"")),
    ("projectName", None),
    ("stackName", None),
    ("envName", None),
    ("name", Some("\"\"")),
    ("displayName", Some("\"\"")),
    ("payloadUrl", Some("\"\"")),
    ("active", Some("false")),
    ("format", None),
    ("filters", None),
    ("groups", None),
    ("secret", None),
    ("hasSecret", Some("false")),
    ("secretCiphertext", Some("\"\"")),
];

const SLACK: &str = "https://hooks.slack.com/services/T0/B0/x";

fn cli(world: &World) -> Caller {
    world.caller(HEADERS, true)
}

/// The body of `new`, with `further` fields.
fn new(url: &str, further: &Value) -> String {
    let plain = json!({"organizationName": "acme", "projectName": "web", "stackName": "prod",
        "displayName": "My Hook", "payloadUrl": url, "active": true, "format": "raw"});
    go_struct(FIELDS, &with(&plain, further))
}

/// The requests of `edit`: it reads the webhook and sends all of it back with the change.
async fn edit(cli: &Caller, name: &str, change: &Value) -> (Value, Value) {
    let before = cli.fetch(STACK, name).await;
    let after = cli.edit(STACK, name, &go_struct(FIELDS, &with(&before, change))).await;
    (before, after)
}

pub(crate) async fn s01_new() {
    let world = World::start().await;
    let body = new("https://example.com/hook", &json!({}));
    let expected = r#"{"organizationName":"acme","projectName":"web","stackName":"prod","name":"","displayName":"My Hook","payloadUrl":"https://example.com/hook","active":true,"format":"raw","hasSecret":false,"secretCiphertext":""}"#;
    assert_eq!(body, expected);
    let created = cli(&world).create(STACK, &body).await;
    assert_eq!(text(&created, "name").len(), 8);
    assert_eq!((text(&created, "projectName"), text(&created, "stackName")), ("web", "prod"));
    assert_eq!(created.get("envName"), None);
}

pub(crate) async fn s02_new_with_events_secret_and_format() {
    let world = World::start().await;
    let further = json!({"format": "slack", "active": false, "secret": "K",
        "filters": ["update_failed", "destroy_failed"], "groups": ["deployments"]});
    let created = cli(&world).create(STACK, &new(SLACK, &further)).await;
    assert_eq!((&created["filters"], &created["groups"]), (&further["filters"], &further["groups"]));
    assert_eq!((&created["format"], &created["active"]), (&json!("slack"), &json!(false)));
    assert_eq!(created["hasSecret"], true);
}

pub(crate) async fn s03_new_with_the_groups_offered() {
    let world = World::start().await;
    let groups = json!({"groups": ["stacks", "deployments", "policies"]});
    let created = cli(&world).create(STACK, &new(DEAD, &groups)).await;
    assert_eq!(created["groups"], json!(["deployments", "policies", "stacks"]));
}

pub(crate) async fn s04_duplicate_or_invalid() {
    let world = World::start().await;
    let cli = cli(&world);
    let named = new(DEAD, &json!({"name": "mine"}));
    cli.create(STACK, &named).await;
    assert!(error(&cli.post(STACK, &named).await, 409).contains("mine"));
    let invalid = new("ftp://example.com/", &json!({}));
    assert!(error(&cli.post(STACK, &invalid).await, 400).contains("payloadUrl"));
    assert_eq!(cli.get(STACK).await.json().as_array().map(Vec::len), Some(1));
}

pub(crate) async fn s05_list() {
    let world = World::start().await;
    let cli = cli(&world);
    assert_eq!(cli.get(STACK).await.expect(200).text(), "[]");
    let first = cli.create(STACK, &new(DEAD, &json!({}))).await;
    let second = cli.create(STACK, &new(DEAD, &json!({}))).await;
    assert_eq!(cli.get(STACK).await.expect(200).json(), json!([first, second]));
}

pub(crate) async fn s06_get() {
    let world = World::start().await;
    let cli = cli(&world);
    let created = cli.create(STACK, &new(DEAD, &json!({"secret": "K"}))).await;
    assert_eq!(cli.fetch(STACK, text(&created, "name")).await, created);
    error(&cli.get(&format!("{STACK}/absent")).await, 404);
}

pub(crate) async fn s07_edit_sends_the_whole_object_back() {
    let world = World::start().await;
    let cli = cli(&world);
    let further =
        json!({"name": "mine", "secret": "K", "filters": ["update_failed"], "groups": ["policies"]});
    cli.create(STACK, &new(DEAD, &further)).await;
    let (before, after) = edit(&cli, "mine", &json!({"active": false})).await;
    assert_eq!(after, with(&before, &json!({"active": false})));
}

pub(crate) async fn s08_edit_removes_the_last_event() {
    let world = World::start().await;
    let cli = cli(&world);
    cli.create(STACK, &new(DEAD, &json!({"name": "mine", "filters": ["update_failed"]}))).await;
    let (before, after) = edit(&cli, "mine", &json!({"filters": []})).await;
    assert_eq!((&before["filters"], &after["filters"]), (&json!(["update_failed"]), &json!([])));
}

pub(crate) async fn s09_edit_removes_the_secret() {
    let world = World::start().await;
    let cli = cli(&world);
    cli.create(STACK, &new(&world.receiver.url("/"), &json!({"name": "mine", "secret": "K"}))).await;
    let (_, after) = edit(&cli, "mine", &json!({"secret": "__remove-secret"})).await;
    assert_eq!((&after["hasSecret"], text(&after, "secretCiphertext")), (&json!(false), ""));
    cli.ping(STACK, "mine").await;
    world.assert_signed_with(None);
}

pub(crate) async fn s10_edit_keeps_the_secret() {
    let world = World::start().await;
    let cli = cli(&world);
    cli.create(STACK, &new(&world.receiver.url("/"), &json!({"name": "mine", "secret": "K"}))).await;
    let (before, after) = edit(&cli, "mine", &json!({"displayName": "Other"})).await;
    assert_eq!(after, with(&before, &json!({"displayName": "Other"})));
    cli.ping(STACK, "mine").await;
    world.assert_signed_with(Some("K"));
}

/// The CLI refuses to edit values that it does not know, so it must see exactly the values that another client stored.
pub(crate) async fn s11_lists_come_back_as_stored() {
    let world = World::start().await;
    let cli = cli(&world);
    let lists = json!({"name": "mine", "groups": ["stacks"],
        "filters": ["update_succeeded", "deployment_started", "drift_detected"]});
    cli.create(STACK, &new(DEAD, &lists)).await;
    let (before, after) = edit(&cli, "mine", &json!({"active": false})).await;
    for seen in [before, after] {
        assert_eq!((&seen["filters"], &seen["groups"]), (&lists["filters"], &lists["groups"]));
    }
}

pub(crate) async fn s12_remove() {
    let world = World::start().await;
    let cli = cli(&world);
    cli.create(STACK, &new(DEAD, &json!({"name": "mine"}))).await;
    cli.remove(STACK, "mine").await;
}

pub(crate) async fn s13_ping() {
    let world = World::start().await;
    let cli = cli(&world);
    for (name, url, code) in [("alive", world.receiver.url("/"), 200), ("dead", DEAD.to_owned(), 0)] {
        cli.create(STACK, &new(&url, &json!({"name": name}))).await;
        let pinged = cli.ping(STACK, name).await;
        assert_eq!((&pinged["responseCode"], text(&pinged, "requestUrl")), (&json!(code), &*url));
        assert_eq!(text(&pinged, "responseHeaders").is_empty(), code == 0);
        assert!(!text(&pinged, "responseBody").is_empty());
    }
    error(&cli.post(&format!("{STACK}/absent/ping"), "").await, 404);
}

pub(crate) async fn s14_delivery_list() {
    let world = World::start().await;
    let cli = cli(&world);
    error(&cli.get(&format!("{STACK}/mine")).await, 404);
    cli.create(STACK, &new(&world.receiver.url("/"), &json!({"name": "mine"}))).await;
    cli.fetch(STACK, "mine").await;
    assert_eq!(cli.deliveries(STACK, "mine").await, Vec::<Value>::new());
    let first = cli.ping(STACK, "mine").await;
    let second = cli.ping(STACK, "mine").await;
    assert_eq!(cli.deliveries(STACK, "mine").await, [second, first]);
}

pub(crate) async fn s15_delivery_redeliver() {
    let world = World::start().await;
    let cli = cli(&world);
    cli.create(STACK, &new(&world.receiver.url("/"), &json!({"name": "mine"}))).await;
    world.deliver_update().await;
    let requests = world.receiver.requests();
    let event = requests[0].id();
    let path = |name: &str, event: &str| format!("{STACK}/{name}/deliveries/{event}/redeliver");
    let again = super::support::delivery(cli.post(&path("mine", event), "").await.expect(200).json());
    assert_eq!((text(&again, "id"), text(&again, "kind")), (event, "stack_update"));
    assert_eq!((text(&again, "payload"), &again["responseCode"]), (requests[0].text(), &json!(200)));
    assert_eq!(world.receiver.ids(), [event, event].map(Box::from));
    error(&cli.post(&path("absent", event), "").await, 404);
    error(&cli.post(&path("mine", "0b3f8f0e-5d7e-4c8e-9a51-2f6c1f3f9a10"), "").await, 404);
}
