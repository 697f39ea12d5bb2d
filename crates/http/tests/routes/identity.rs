//! Organizations, users, members.

use serde_json::{Value, json};

use crate::support::{ORGANIZATION, World, webhook, without};

#[tokio::test]
async fn organizations() {
    let world = World::start().await;
    world.user("rick", None).await;
    let body = json!({"name": "citadel", "displayName": "Citadel", "admin": "rick"});
    let created = world.admin("POST", "/v1/orgs", body.clone()).await.expect(201);
    let expected = json!({"name": "citadel", "displayName": "Citadel", "avatarUrl": ""});
    assert_eq!(without(created, &["createdAt"]), expected);
    let answer = world.admin("POST", "/v1/orgs", body).await;
    assert_eq!(answer.refusal(409), "Organization 'citadel' already exists");
    assert_eq!(answer.details(), ["Organization name already_exists"]);
    let listed = world.admin("GET", "/v1/orgs", Value::Null).await.expect(200);
    let names: Vec<_> = listed.as_array().expect("an array").iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["citadel", ORGANIZATION]);
    let unknown = world.admin("POST", "/v1/orgs", json!({"display_name": "x"})).await;
    assert!(unknown.refusal(400).starts_with("display_name is no field here"));
    assert_eq!(unknown.details(), ["Organization display_name invalid"]);
    // An operator runs the instance, and by that alone sees no organization's content.
    world.admin("GET", "/api/orgs/citadel/hooks", Value::Null).await.expect(404);
}

#[tokio::test]
async fn users_and_members() {
    let world = World::start().await;
    let body = json!({"login": "summer", "name": "Summer Smith", "email": "summer@a.example"});
    let created = world.admin("POST", "/v1/users", body.clone()).await.expect(201);
    let token = created["token"].as_str().expect("a token").to_owned();
    let expected = json!({
        "login": "summer", "name": "Summer Smith", "email": "summer@a.example", "avatarUrl": "", "operator": false,
        "tokenRole": "viewer",
    });
    assert_eq!(without(created, &["createdAt", "token", "tokenExpiresAt"]), expected);
    assert_eq!(world.admin("POST", "/v1/users", body).await.refusal(409), "User 'summer' already exists");
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    world.ask(&token, "GET", &hooks, Value::Null).await.expect(404);
    let member = format!("/v1/orgs/{ORGANIZATION}/members/summer");
    let set = world.admin("PUT", &member, json!({"role": "viewer"})).await.expect(200);
    assert_eq!(set["role"], "viewer");
    world.ask(&token, "GET", &hooks, Value::Null).await.expect(200);
    let answer = world.admin("PUT", &member, json!({"role": "king"})).await;
    assert_eq!(answer.details(), ["Member role invalid"]);
    assert_eq!(world.admin("PUT", &member, json!({})).await.details(), ["Member role required"]);
    let listed =
        world.admin("GET", &format!("/v1/orgs/{ORGANIZATION}/members"), Value::Null).await.expect(200);
    let logins: Vec<_> = listed.as_array().expect("an array").iter().map(|one| &one["login"]).collect();
    assert_eq!(logins, ["morty", "summer"]);
    world.admin("DELETE", &member, Value::Null).await.expect_empty(204);
    world.ask(&token, "GET", &hooks, Value::Null).await.expect(404);
    assert_eq!(world.admin("DELETE", &member, Value::Null).await.refusal(404), "Member 'summer' not found");
}

#[tokio::test]
async fn an_organization_always_has_an_admin() {
    let world = World::start().await;
    world.user("rick", None).await;
    world.admin("POST", "/v1/orgs", json!({"name": "citadel"})).await.expect(201);
    let members = "/v1/orgs/citadel/members";
    let listed = world.admin("GET", members, Value::Null).await.expect(200);
    let expected = json!([{"login": "morty", "name": "morty", "avatarUrl": "", "role": "admin"}]);
    assert_eq!(listed, expected);
    let morty = format!("{members}/morty");
    let refusal = "'morty' is the last admin of 'citadel', make somebody else admin first";
    assert_eq!(world.admin("DELETE", &morty, Value::Null).await.refusal(409), refusal);
    assert_eq!(world.admin("PUT", &morty, json!({"role": "member"})).await.refusal(409), refusal);
    world.admin("PUT", &morty, json!({"role": "admin"})).await.expect(200);
    world.admin("PUT", &format!("{members}/rick"), json!({"role": "admin"})).await.expect(200);
    world.admin("DELETE", &morty, Value::Null).await.expect_empty(204);
}

#[tokio::test]
async fn what_could_not_be_reached_is_not_named_so() {
    let world = World::start().await;
    for dots in [".", ".."] {
        for (path, field) in [("/v1/orgs", "name"), ("/v1/users", "login")] {
            let answer = world.admin("POST", path, json!({field: dots, "name": dots})).await;
            assert!(answer.refusal(400).contains(&format!("{field} must not be '.' or '..'")));
        }
        let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
        let answer = world.admin("POST", &hooks, webhook(dots, "https://a.example/")).await;
        assert_eq!(answer.refusal(400), "name must not be '.' or '..'");
    }
}
