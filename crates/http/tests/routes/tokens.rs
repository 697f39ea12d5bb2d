//! Tokens, and the rights of one token over others.

use serde_json::{Value, json};
use stackbell_app::tokens::TOKENS_OF_OWNER_MAX;
use stackbell_model::Clock as _;

use crate::support::{ADMIN, ORGANIZATION, World, without};

const OWN: &str = "/v1/user/tokens";
const SOON: &str = "2998-01-01T00:00:00.000Z";
const LATER: &str = "2999-01-01T00:00:00.000Z";

fn service() -> String {
    format!("/v1/orgs/{ORGANIZATION}/tokens")
}

/// A new token and its id.
async fn issue(world: &World, maker: &str, path: &str, body: Value) -> (String, String) {
    let issued = world.ask(maker, "POST", path, body).await.expect(201);
    let text = |name: &str| issued[name].as_str().expect("a text").to_owned();
    (text("token"), text("id"))
}

/// The names of the tokens that a caller sees.
async fn names(world: &World, token: &str, path: &str) -> Vec<String> {
    let listed = world.ask(token, "GET", path, Value::Null).await.expect(200);
    let name = |one: &Value| one["name"].as_str().expect("a name").to_owned();
    listed.as_array().expect("an array").iter().map(name).collect()
}

#[tokio::test]
async fn tokens_are_shown_once_and_end_at_once() {
    let world = World::start().await;
    let body = json!({"name": "laptop", "role": "member", "expiresAt": "2999-01-01T00:00:00Z"});
    let issued = world.admin("POST", "/v1/user/tokens", body).await.expect(201);
    let (token, id) = (issued["token"].as_str().expect("a token"), issued["id"].as_str().expect("an id"));
    let expected = json!({
        "name": "laptop", "role": "member", "operator": false, "expiresAt": "2999-01-01T00:00:00.000Z",
        "lastUsedAt": null,
    });
    assert_eq!(without(issued.clone(), &["id", "createdAt", "token"]), expected);
    let listed = world.ask(token, "GET", "/v1/user/tokens", Value::Null).await;
    assert!(!listed.text().contains(token));
    assert_eq!(listed.expect(200).as_array().map(Vec::len), Some(1));
    // A token cannot create a token with more rights.
    let mightier = json!({"name": "x", "role": "admin"});
    world.ask(token, "POST", "/v1/user/tokens", mightier).await.refusal(400);
    world.admin("DELETE", &format!("/v1/user/tokens/{id}"), Value::Null).await.expect_empty(204);
    world.ask(token, "GET", "/v1/user/tokens", Value::Null).await.expect(401);
    world.admin("DELETE", &format!("/v1/user/tokens/{id}"), Value::Null).await.refusal(404);
    let past = json!({"name": "x", "role": "viewer", "expiresAt": "2000-01-01T00:00:00Z"});
    assert_eq!(world.admin("POST", "/v1/user/tokens", past).await.details(), ["Token expiresAt invalid"]);
}

#[tokio::test]
async fn service_tokens() {
    let world = World::start().await;
    let tokens = format!("/v1/orgs/{ORGANIZATION}/tokens");
    let issued = world.admin("POST", &tokens, json!({"name": "ci", "role": "viewer"})).await.expect(201);
    let (token, id) = (issued["token"].as_str().expect("a token"), issued["id"].as_str().expect("an id"));
    world.ask(token, "GET", &format!("/api/orgs/{ORGANIZATION}/hooks"), Value::Null).await.expect(200);
    let refusal = world.ask(token, "GET", "/v1/user/tokens", Value::Null).await.refusal(403);
    assert_eq!(refusal, "a service token has no tokens of its own");
    assert_eq!(world.ask(ADMIN, "GET", &tokens, Value::Null).await.expect(200)[0]["id"], id);
    world.admin("DELETE", &format!("{tokens}/{id}"), Value::Null).await.expect_empty(204);
    world.ask(token, "GET", &format!("/api/orgs/{ORGANIZATION}/hooks"), Value::Null).await.expect(401);
}

#[tokio::test]
async fn a_token_manages_those_that_may_no_more_than_itself() {
    let world = World::start().await;
    let role = |role: &str| json!({"name": role, "role": role});
    let (_, admin) = issue(&world, ADMIN, OWN, role("admin")).await;
    let operating = json!({"name": "operating", "role": "viewer", "operator": true});
    let (_, operating) = issue(&world, ADMIN, OWN, operating).await;
    let (member, member_id) = issue(&world, ADMIN, OWN, role("member")).await;
    let (_, viewer) = issue(&world, ADMIN, OWN, role("viewer")).await;
    assert_eq!(names(&world, &member, OWN).await, ["member", "viewer"]);
    let one = |id: &str| format!("{OWN}/{id}");
    for above in [&admin, &operating] {
        let refusal = world.ask(&member, "DELETE", &one(above), Value::Null).await.refusal(404);
        assert_eq!(refusal, format!("Token '{above}' not found"));
    }
    let operating = json!({"name": "x", "role": "viewer", "operator": true});
    let answer = world.ask(&member, "POST", OWN, operating).await;
    assert_eq!(answer.refusal(400), "operator can be set by an operator alone");
    world.ask(&member, "DELETE", &one(&viewer), Value::Null).await.expect_empty(204);
    world.ask(&member, "DELETE", &one(&member_id), Value::Null).await.expect_empty(204);
    world.ask(&member, "GET", OWN, Value::Null).await.expect(401);
    assert_eq!(names(&world, ADMIN, OWN).await, ["bootstrap", "admin", "operating"]);
}

#[tokio::test]
async fn a_token_does_not_outlive_its_maker() {
    let world = World::start().await;
    let expiring = json!({"name": "a", "role": "admin", "operator": true, "expiresAt": SOON});
    let (maker, _) = issue(&world, ADMIN, OWN, expiring).await;
    for path in [OWN.to_owned(), service(), "/v1/users/morty/tokens".to_owned()] {
        let mut body = json!({"name": "b", "role": "viewer"});
        let made = world.ask(&maker, "POST", &path, body.clone()).await.expect(201);
        assert_eq!(made["expiresAt"], SOON, "{path}");
        body["expiresAt"] = json!(SOON);
        world.ask(&maker, "POST", &path, body.clone()).await.expect(201);
        body["expiresAt"] = json!(LATER);
        let answer = world.ask(&maker, "POST", &path, body.clone()).await;
        assert_eq!(answer.refusal(400), "expiresAt may not be later than that of the token that makes it");
        assert_eq!(answer.details(), ["Token expiresAt invalid"]);
        world.ask(ADMIN, "POST", &path, body).await.expect(201);
    }
    let user = world.ask(&maker, "POST", "/v1/users", json!({"login": "rick"})).await.expect(201);
    // SOON is later than the default expiry of first tokens.
    let limit = user["tokenExpiresAt"].as_str().expect("a moment");
    assert!(limit < SOON, "{limit}");
    let body = json!({"login": "summer", "expiresAt": SOON});
    let user = world.ask(&maker, "POST", "/v1/users", body).await.expect(201);
    assert_eq!(user["tokenExpiresAt"], SOON);
    let body = json!({"login": "beth", "expiresAt": LATER});
    let answer = world.ask(&maker, "POST", "/v1/users", body).await;
    assert_eq!(answer.details(), ["User expiresAt invalid"]);
}

/// Milliseconds from now until a moment, rounded to days.
fn days_until(moment: &Value) -> i64 {
    let moment = stackbell_wire::rest::read_rfc3339(moment.as_str().expect("a moment")).expect("a moment");
    let now = stackbell_system::SystemClock.now();
    let day = 24 * 3600 * 1000;
    (moment.as_millis() - now.as_millis() + day / 2) / day
}

#[tokio::test]
async fn a_first_token_has_the_least_role_or_the_one_that_was_asked_for_and_expires() {
    let world = World::start().await;
    let add = async |maker: &str, body: Value| world.ask(maker, "POST", "/v1/users", body).await;
    let user = add(ADMIN, json!({"login": "a"})).await.expect(201);
    assert_eq!((&user["tokenRole"], days_until(&user["tokenExpiresAt"])), (&json!("viewer"), 90));
    let tokens = world.admin("GET", "/v1/users/a/tokens", Value::Null).await.expect(200);
    assert_eq!((&tokens[0]["role"], &tokens[0]["expiresAt"]), (&json!("viewer"), &user["tokenExpiresAt"]));
    let user = add(ADMIN, json!({"login": "b", "role": "member", "expiresAt": SOON})).await.expect(201);
    assert_eq!((&user["tokenRole"], &user["tokenExpiresAt"]), (&json!("member"), &json!(SOON)));
    let king = add(ADMIN, json!({"login": "c", "role": "king"})).await;
    assert_eq!(king.details(), ["User role invalid"]);
    let past = add(ADMIN, json!({"login": "c", "expiresAt": "2000-01-01T00:00:00Z"})).await;
    assert_eq!(past.refusal(400), "expiresAt must be in the future");
    for (role, refused, least) in [
        ("viewer", &["admin", "member", "publisher"][..], "viewer"),
        ("publisher", &["admin", "member", "viewer"], "publisher"),
        ("member", &["admin"], "viewer"),
    ] {
        let body = json!({"name": "least", "role": role, "operator": true});
        let (maker, _) = issue(&world, ADMIN, OWN, body).await;
        for asked in refused {
            let answer = add(&maker, json!({"login": "c", "role": asked})).await;
            assert_eq!(answer.refusal(400), format!("role '{asked}' has more rights than this token"));
        }
        let user = add(&maker, json!({"login": role})).await.expect(201);
        assert_eq!(user["tokenRole"], least, "by a {role}");
    }
    // A token that an operator creates for another user has the expiry of a first token.
    let body = json!({"name": "x", "role": "viewer"});
    let theirs = world.admin("POST", "/v1/users/a/tokens", body.clone()).await.expect(201);
    assert_eq!(days_until(&theirs["expiresAt"]), 90);
    let own = world.admin("POST", "/v1/users/morty/tokens", body).await.expect(201);
    assert_eq!(own["expiresAt"], Value::Null);
}

#[tokio::test]
async fn an_operators_token_for_a_user_gives_no_rights_in_an_organization() {
    let world = World::start().await;
    world.user("rick", Some("member")).await;
    let ops =
        world.admin("POST", "/v1/users", json!({"login": "ops", "operator": true, "role": "admin"})).await;
    let ops = ops.expect(201)["token"].as_str().expect("a token").to_owned();
    let path = "/v1/users/rick/tokens";
    for role in ["admin", "member", "publisher", "viewer"] {
        let refusal = world.ask(&ops, "POST", path, json!({"name": "x", "role": role})).await.refusal(400);
        let rule = "has more rights than this token in an organization that the user belongs to";
        assert_eq!(refusal, format!("role '{role}' {rule}"));
    }
    // The operator can give the token the rights of the operator's own membership, but no more.
    let member = format!("/v1/orgs/{ORGANIZATION}/members/ops");
    world.admin("PUT", &member, json!({"role": "viewer"})).await.expect(200);
    world.ask(&ops, "POST", path, json!({"name": "x", "role": "viewer"})).await.expect(201);
    world.ask(&ops, "POST", path, json!({"name": "x", "role": "publisher"})).await.refusal(400);
    // A user without a membership can get a new token from any operator. Then an admin adds the membership again.
    world
        .admin("DELETE", &format!("/v1/orgs/{ORGANIZATION}/members/rick"), Value::Null)
        .await
        .expect_empty(204);
    world.ask(&ops, "POST", path, json!({"name": "x", "role": "member"})).await.expect(201);
}

#[tokio::test]
async fn operators_issue_and_revoke_the_tokens_of_users() {
    let world = World::start().await;
    let first = world.user("rick", Some("viewer")).await;
    let path = "/v1/users/rick/tokens";
    let (token, id) = issue(&world, ADMIN, path, json!({"name": "new", "role": "viewer"})).await;
    assert_eq!(names(&world, ADMIN, path).await, ["first token", "new"]);
    let hooks = format!("/api/orgs/{ORGANIZATION}/hooks");
    world.ask(&token, "GET", &hooks, Value::Null).await.expect(200);
    let operating = json!({"name": "x", "role": "viewer", "operator": true});
    let answer = world.admin("POST", path, operating).await;
    assert_eq!(answer.refusal(400), "operator can be set for an operator alone");
    let one = format!("{path}/{id}");
    for (method, path) in [("GET", path), ("POST", path), ("DELETE", one.as_str())] {
        let body = if method == "POST" { json!({"name": "x", "role": "viewer"}) } else { Value::Null };
        world.ask(&first, method, path, body).await.refusal(403);
    }
    world.admin("DELETE", &format!("/v1/users/morty/tokens/{id}"), Value::Null).await.refusal(404);
    world.admin("DELETE", &one, Value::Null).await.expect_empty(204);
    world.ask(&token, "GET", &hooks, Value::Null).await.expect(401);
    assert_eq!(
        world.admin("GET", "/v1/users/no/tokens", Value::Null).await.refusal(404),
        "User 'no' not found"
    );
    // The operator right is enough, whatever the role of the token, because a stolen token must be revoked.
    let least = json!({"name": "least", "role": "viewer", "operator": true});
    let (least, _) = issue(&world, ADMIN, OWN, least).await;
    let listed = world.ask(&least, "GET", path, Value::Null).await.expect(200);
    let id = listed[0]["id"].as_str().expect("an id");
    assert_eq!(listed[0]["role"], "admin");
    let mightier = json!({"name": "x", "role": "admin"});
    world.ask(&least, "POST", path, mightier).await.refusal(400);
    world.ask(&least, "DELETE", &format!("{path}/{id}"), Value::Null).await.expect_empty(204);
    world.ask(&first, "GET", &hooks, Value::Null).await.expect(401);
}

#[tokio::test]
async fn the_number_of_an_owners_tokens_is_limited() {
    let world = World::start().await;
    let body = json!({"name": "ci", "role": "publisher"});
    for _ in 0..TOKENS_OF_OWNER_MAX {
        world.admin("POST", &service(), body.clone()).await.expect(201);
    }
    let refusal = world.admin("POST", &service(), body.clone()).await.refusal(409);
    assert!(refusal.starts_with("this owner has 100 tokens, which is the limit"), "{refusal}");
    world.admin("POST", OWN, body).await.expect(201);
}
