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
    // With only the operator right a token cannot read the content of an organization.
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

/// The names that users choose, each with method, path, body and field.
fn names(text: &str) -> Vec<(&'static str, String, Value, &'static str)> {
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    let mut hook = webhook("named", "https://a.example/");
    hook["displayName"] = json!(text);
    vec![
        ("POST", hooks.clone(), hook, "displayName"),
        ("PATCH", format!("{hooks}/plain"), json!({"displayName": text}), "displayName"),
        ("POST", "/v1/orgs".to_owned(), json!({"name": "citadel", "displayName": text}), "displayName"),
        ("POST", "/v1/orgs".to_owned(), json!({"name": "citadel", "avatarUrl": text}), "avatarUrl"),
        ("POST", "/v1/users".to_owned(), json!({"login": "summer", "name": text}), "name"),
        ("POST", "/v1/users".to_owned(), json!({"login": "summer", "email": text}), "email"),
        ("POST", "/v1/user/tokens".to_owned(), json!({"name": text, "role": "viewer"}), "name"),
        ("POST", format!("/v1/orgs/{ORGANIZATION}/tokens"), json!({"name": text, "role": "viewer"}), "name"),
        ("POST", "/v1/instance/sending/hold".to_owned(), json!({"reason": text}), "reason"),
    ]
}

#[tokio::test]
async fn names_with_hidden_characters_are_refused() {
    let world = World::start().await;
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    world.admin("POST", &hooks, webhook("plain", "https://a.example/")).await.expect(201);
    for hidden in [
        "\u{202e}", "\u{200b}", "\u{7f}", "\u{9b}", "\u{2066}", "\u{2028}", "\u{feff}", "\u{200d}",
        "\u{3164}",
    ] {
        for (method, path, body, field) in names(&format!("ad{hidden}min")) {
            let answer = world.admin(method, &path, body).await;
            let refusal = answer.refusal(400);
            assert!(refusal.contains(field) && !refusal.contains(hidden), "{method} {path}: {refusal:?}");
            assert!(
                answer.details()[0].ends_with(&format!(" {field} invalid")),
                "{path}: {:?}",
                answer.details()
            );
        }
    }
    let listed =
        world.admin("GET", &format!("/v1/orgs/{ORGANIZATION}/webhooks"), Value::Null).await.expect(200);
    let id = listed[0]["id"].as_str().expect("an id");
    let options = json!({"active": false, "pauseReason": "ad\u{202e}min"});
    let answer = world.admin("PATCH", &format!("/v1/orgs/{ORGANIZATION}/webhooks/{id}"), options).await;
    assert!(answer.refusal(400).contains("pauseReason"), "{}", answer.text());
    for (method, path, body, _) in names("👩\u{200d}💻 Grüße می\u{200c}خواهم") {
        if body.get("avatarUrl").or_else(|| body.get("email")).is_none() {
            let answer = world.admin(method, &path, body).await;
            assert!(answer.status.is_success(), "{method} {path}: {}", answer.text());
        }
    }
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
async fn names_that_no_path_could_reach_are_refused() {
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
