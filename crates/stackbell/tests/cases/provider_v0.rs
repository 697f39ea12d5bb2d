//! The provider's `pulumiservice:index:Webhook`.

use serde_json::{Value, json};

use super::support::{
    Caller, DEAD, ENVIRONMENT, GoField, Headers, ORGANIZATION, STACK, World, error, go_struct, text, with,
};

const HEADERS: Headers = &[
    ("Accept", "application/vnd.pulumi+9"),
    ("Accept-Encoding", "gzip"),
    ("User-Agent", "Go-http-client/1.1"),
    ("X-Pulumi-Source", "provider"),
];

/// The fields of a create. An update appends `name`.
const CREATE: &[GoField] = &[
    ("organizationName", Some("\"\"")),
    ("projectName", None),
    ("stackName", None),
    ("envName", None),
    ("displayName", Some("\"\"")),
    ("payloadUrl", Some("\"\"")),
    ("secret", None),
    ("active", Some("false")),
    ("format", None),
    ("filters", None),
    ("groups", None),
];

fn provider(world: &World) -> Caller {
    world.caller(HEADERS, true)
}

/// The inputs of a resource in this scope, with the groups that the provider fills in.
fn inputs(prefix: &str, further: &Value) -> Value {
    let scope = match prefix {
        STACK => json!({"projectName": "web", "stackName": "prod", "groups": ["deployments", "stacks"]}),
        ENVIRONMENT => json!({"projectName": "web", "envName": "dev", "groups": ["environments"]}),
        _ => json!({"groups": ["deployments", "environments", "stacks"]}),
    };
    let all = json!({"organizationName": "acme", "displayName": "d", "payloadUrl": DEAD, "active": true,
        "format": "raw"});
    with(&with(&all, &scope), further)
}

fn create_body(inputs: &Value) -> String {
    go_struct(CREATE, inputs)
}

fn update_body(inputs: &Value, name: &str) -> String {
    let fields = [CREATE, &[("name", Some("\"\""))]].concat();
    go_struct(&fields, &with(inputs, &json!({"name": name})))
}

pub(crate) async fn v01_create() {
    let world = World::start().await;
    let provider = provider(&world);
    for prefix in [ORGANIZATION, STACK, ENVIRONMENT] {
        let inputs = inputs(prefix, &json!({}));
        let body = create_body(&inputs);
        assert!(!body.contains("\"name\""), "{body}");
        let created = provider.create(prefix, &body).await;
        assert!(!text(&created, "name").contains('/'), "it is a part of the resource's id");
        assert_eq!(created["groups"], inputs["groups"]);
    }
}

pub(crate) async fn v02_two_alike() {
    let world = World::start().await;
    let provider = provider(&world);
    let body = create_body(&inputs(ORGANIZATION, &json!({})));
    let (first, second) =
        (provider.create(ORGANIZATION, &body).await, provider.create(ORGANIZATION, &body).await);
    assert_ne!(first["name"], second["name"]);
}

pub(crate) async fn v03_slack_with_secret_groups_and_filters() {
    let world = World::start().await;
    let slack = json!({"format": "slack", "payloadUrl": "https://hooks.slack.com/services/T0/B0/x",
        "secret": "K", "groups": ["stacks"], "filters": ["deployment_started", "deployment_succeeded"]});
    let created = provider(&world).create(STACK, &create_body(&inputs(STACK, &slack))).await;
    assert_eq!((&created["filters"], &created["groups"]), (&slack["filters"], &slack["groups"]));
    assert_eq!((text(&created, "format"), &created["hasSecret"]), ("slack", &json!(true)));
}

pub(crate) async fn v04_environment_with_filters() {
    let world = World::start().await;
    let filters =
        json!({"groups": [], "filters": ["environment_revision_created", "imported_environment_changed"]});
    let created = provider(&world).create(ENVIRONMENT, &create_body(&inputs(ENVIRONMENT, &filters))).await;
    assert_eq!((&created["filters"], &created["groups"]), (&filters["filters"], &json!([])));
}

pub(crate) async fn v05_update() {
    let world = World::start().await;
    let provider = provider(&world);
    let lists = json!({"secret": "K", "filters": ["update_failed"]});
    let created = provider.create(STACK, &create_body(&inputs(STACK, &lists))).await;
    let name = text(&created, "name");
    let changed = inputs(STACK, &json!({"displayName": "other", "groups": []}));
    let body = update_body(&changed, name);
    assert!(!body.contains("secret") && !body.contains("groups") && !body.contains("filters"), "{body}");
    let updated = provider.edit(STACK, name, &body).await;
    let expected = with(&created, &json!({"displayName": "other", "groups": [], "filters": []}));
    assert_eq!(updated, expected, "lists that are missing are empty, a secret that is missing stays");
    let again = with(&changed, &json!({"secret": "K"}));
    assert_eq!(provider.edit(STACK, name, &update_body(&again, name)).await, expected);
}

pub(crate) async fn v06_refresh_and_import() {
    let world = World::start().await;
    let provider = provider(&world);
    let lists =
        json!({"filters": ["update_failed", "destroy_failed"], "groups": ["policies", "deployments"]});
    let created = provider.create(STACK, &create_body(&inputs(STACK, &lists))).await;
    let read = provider.fetch(STACK, text(&created, "name")).await;
    assert_eq!(read["groups"], json!(["deployments", "policies"]));
    assert_eq!((&read["filters"], text(&read, "format")), (&lists["filters"], "raw"));
    error(&provider.get(&format!("{STACK}/absent")).await, 404);
}

pub(crate) async fn v07_ciphertext_changes_with_the_secret_alone() {
    let world = World::start().await;
    let provider = provider(&world);
    let with_secret = |secret: &str| inputs(STACK, &json!({"secret": secret}));
    let created = provider.create(STACK, &create_body(&with_secret("K"))).await;
    let name = text(&created, "name");
    let same = provider.edit(STACK, name, &update_body(&with_secret("K"), name)).await;
    assert_eq!(same["secretCiphertext"], created["secretCiphertext"]);
    let rotated = provider.edit(STACK, name, &update_body(&with_secret("L"), name)).await;
    assert_ne!(rotated["secretCiphertext"], created["secretCiphertext"]);
    let back = provider.edit(STACK, name, &update_body(&with_secret("K"), name)).await;
    assert_eq!(back["secretCiphertext"], created["secretCiphertext"]);
}

/// A 404 is an error for this provider, so a second delete gets the same response as the first.
pub(crate) async fn v08_delete() {
    let world = World::start().await;
    let provider = provider(&world);
    let created = provider.create(STACK, &create_body(&inputs(STACK, &json!({})))).await;
    provider.remove(STACK, text(&created, "name")).await;
}

pub(crate) async fn v09_errors() {
    let world = World::start().await;
    let provider = provider(&world);
    for (further, part) in [
        (json!({"payloadUrl": "no url"}), "payloadUrl"),
        (json!({"filters": ["nonsense"]}), "nonsense"),
        (json!({"groups": ["environments"]}), "environments"),
        (json!({"format": "nonsense"}), "nonsense"),
    ] {
        let refused = provider.post(STACK, &create_body(&inputs(STACK, &further))).await;
        let message = error(&refused, 400);
        assert!(message.contains(part), "{message}");
    }
}
