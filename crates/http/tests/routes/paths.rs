//! Paths: all prefixes, misprints, encoding, names that break the rules.

use serde_json::{Value, json};

use crate::support::{ORGANIZATION, World, webhook};

async fn check_prefix(world: &World, hooks: &str, project: Option<&str>, name: &str) {
    let created = world.admin("POST", hooks, webhook(name, "https://a.example/")).await.expect(201);
    assert_eq!(created["projectName"].as_str(), project, "{hooks}");
    let one = format!("{hooks}/{name}");
    assert_eq!(world.admin("GET", &one, Value::Null).await.expect(200), created, "{hooks}");
    let listed = world.admin("GET", hooks, Value::Null).await.expect(200);
    assert_eq!(listed, json!([created]), "{hooks}");
    world.admin("PATCH", &one, json!({"active": false})).await.expect(200);
    assert_eq!(world.admin("GET", &format!("{one}/deliveries"), Value::Null).await.expect(200), json!([]));
    let redeliver = format!("{one}/deliveries/c64dd9a8-be18-4e6a-8208-2bb2efbbd13a/redeliver");
    world.admin("POST", &redeliver, Value::Null).await.expect(404);
    world.admin("DELETE", &one, Value::Null).await.expect_empty(204);
    world.admin("POST", &format!("{one}/ping"), Value::Null).await.expect(404);
}

#[tokio::test]
async fn all_operations_below_all_prefixes() {
    let world = World::start().await;
    // Names that equal parts of other routes.
    for name in ["a", "hooks", "ping", "deliveries"] {
        check_prefix(&world, &format!("/api/orgs/{ORGANIZATION}/hooks"), None, name).await;
        let stack = format!("/api/stacks/{ORGANIZATION}/website/prod/hooks");
        check_prefix(&world, &stack, Some("website"), name).await;
        let hooks = format!("/api/stacks/{ORGANIZATION}/hooks/hooks/hooks");
        check_prefix(&world, &hooks, Some("hooks"), name).await;
        let environment = format!("/api/esc/environments/{ORGANIZATION}/infra/dev/hooks");
        check_prefix(&world, &environment, Some("infra"), name).await;
        let preview = format!("/api/preview/environments/{ORGANIZATION}/dev/hooks");
        check_prefix(&world, &preview, Some("default"), name).await;
    }
}

#[tokio::test]
async fn environments_without_a_project_are_those_of_the_default_project() {
    let world = World::start().await;
    let preview = format!("/api/preview/environments/{ORGANIZATION}/dev/hooks");
    let created = world.admin("POST", &preview, webhook("a", "https://a.example/")).await.expect(201);
    let path = format!("/api/esc/environments/{ORGANIZATION}/default/dev/hooks/a");
    assert_eq!(world.admin("GET", &path, Value::Null).await.expect(200), created);
}

#[tokio::test]
async fn misprinted_paths_are_served() {
    let world = World::start().await;
    let create = format!("/api/orgs/{ORGANIZATION}/website/prod/hooks");
    let created = world.admin("POST", &create, webhook("a", "https://a.example/")).await.expect(201);
    assert_eq!(created["stackName"], "prod");
    let right = format!("/api/stacks/{ORGANIZATION}/website/prod/hooks/a");
    assert_eq!(world.admin("GET", &right, Value::Null).await.expect(200), created);
    let delete = format!("/api/{ORGANIZATION}/website/prod/hooks/a");
    world.admin("DELETE", &delete, Value::Null).await.expect_empty(204);
    world.admin("GET", &right, Value::Null).await.expect(404);
    // The project's name equals a part of another route.
    let create = format!("/api/orgs/{ORGANIZATION}/hooks/prod/hooks");
    let created = world.admin("POST", &create, webhook("a", "https://a.example/")).await.expect(201);
    assert_eq!(created["projectName"], "hooks");
}

#[tokio::test]
async fn segments_are_decoded() {
    let world = World::start().await;
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    world.admin("POST", &hooks, webhook("a.b_c-d", "https://a.example/")).await.expect(201);
    let encoded = "/api/orgs/crazy%2Dadventures/hooks/a%2Eb%5Fc%2dd";
    assert_eq!(world.admin("GET", encoded, Value::Null).await.expect(200)["name"], "a.b_c-d");
    let refusal = world.admin("GET", "/api/orgs/%FF/hooks", Value::Null).await.refusal(400);
    assert_eq!(refusal, "the path is not UTF-8 once it is decoded");
}

async fn check_name(world: &World, path: &str, status: u16, expected: &str) {
    let answer = world.admin("GET", path, Value::Null).await;
    assert_eq!(answer.refusal(status), expected, "{path}");
}

#[tokio::test]
async fn names_that_break_the_rules() {
    let world = World::start().await;
    let rule = "must consist of letters, digits, '.', '_' and '-'; ' ' is not allowed";
    let stacks = format!("/api/stacks/{ORGANIZATION}");
    check_name(
        &world,
        &format!("{stacks}/a%20b/prod/hooks"),
        400,
        &format!("projectName in the path {rule}"),
    )
    .await;
    check_name(&world, &format!("{stacks}/web/a%20b/hooks"), 400, &format!("stackName in the path {rule}"))
        .await;
    let environment = format!("/api/esc/environments/{ORGANIZATION}/infra/a%20b/hooks");
    check_name(&world, &environment, 400, &format!("envName in the path {rule}")).await;
    check_name(&world, "/api/orgs/a%20b/hooks", 404, "Organization 'a b' not found").await;
    // A caller without access to the organization learns nothing about the rest of the path.
    check_name(&world, "/api/stacks/other/a%20b/prod/hooks", 404, "Organization 'other' not found").await;
    let hook = format!("/api/orgs/{ORGANIZATION}/hooks/a%20b");
    check_name(&world, &hook, 404, "Webhook 'a b' not found").await;
}
