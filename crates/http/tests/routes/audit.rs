//! The audit log: what it says, and in which order.

use serde_json::{Value, json};

use crate::support::{ORGANIZATION, World, without};

fn log() -> String {
    format!("/v1/orgs/{ORGANIZATION}/audit")
}

/// Actions and targets, ids hidden, oldest first.
fn told(listed: &Value) -> Vec<String> {
    let text = |entry: &Value, name: &str| entry[name].as_str().expect("a text").to_owned();
    let hide = |word: &str| if word.len() == 36 { "ID".to_owned() } else { word.to_owned() };
    let show = |entry: &Value| {
        let target = text(entry, "target").split(' ').map(hide).collect::<Vec<_>>().join(" ");
        format!("{} {target}", text(entry, "action"))
    };
    listed.as_array().expect("an array").iter().rev().map(show).collect()
}

#[tokio::test]
async fn targets_say_what_an_investigation_asks() {
    let world = World::start().await;
    world.user("rick", Some("viewer")).await;
    let tokens = format!("/v1/orgs/{ORGANIZATION}/tokens");
    let ci = json!({"name": "ci", "role": "publisher", "expiresAt": "2999-01-01T00:00:00Z"});
    let id = world.admin("POST", &tokens, ci).await.expect(201)["id"].clone();
    let one = format!("{tokens}/{}", id.as_str().expect("an id"));
    world.admin("DELETE", &one, Value::Null).await.expect_empty(204);
    world
        .admin("DELETE", &format!("/v1/orgs/{ORGANIZATION}/members/rick"), Value::Null)
        .await
        .expect_empty(204);
    let listed = world.admin("GET", &log(), Value::Null).await.expect(200);
    let token =
        "token ID 'ci' of organization crazy-adventures, role publisher, expires 2999-01-01T00:00:00.000Z";
    let expected = [
        "instance.begin organization crazy-adventures, user morty".to_owned(),
        "member.set member rick as viewer".to_owned(),
        format!("token.create {token}"),
        format!("token.revoke {token}"),
        "member.remove member rick".to_owned(),
    ];
    assert_eq!(told(&listed), expected);
    let newest = without(listed[0].clone(), &["id", "at", "tokenId"]);
    let expected = json!({
        "actor": "morty", "remote": null, "action": "member.remove", "target": "member rick", "fields": [],
    });
    assert_eq!(newest, expected);
    world.admin("POST", "/v1/orgs", json!({"name": "citadel"})).await.expect(201);
    let citadels = world.admin("GET", "/v1/orgs/citadel/audit", Value::Null).await.expect(200);
    assert_eq!(told(&citadels), ["organization.create organization citadel, admin morty"]);
}

#[tokio::test]
async fn newest_first_in_pages() {
    let world = World::start().await;
    for login in ["a", "b", "c"] {
        world.user(login, Some("viewer")).await;
    }
    let whole = world.admin("GET", &log(), Value::Null).await.expect(200);
    assert_eq!(told(&whole).len(), 4);
    let first = world.admin("GET", &format!("{}?pageSize=3", log()), Value::Null).await;
    let next = first.header("pulumi-continuation-token").expect("a token");
    let rest =
        world.admin("GET", &format!("{}?pageSize=3&continuationToken={next}", log()), Value::Null).await;
    assert_eq!(rest.header("link"), None);
    let (first, rest) = (first.expect(200), rest.expect(200));
    assert_eq!(json!([first[0], first[1], first[2], rest[0]]), whole);
    let refusal = world.admin("GET", &format!("{}?pageSize=101", log()), Value::Null).await.refusal(400);
    assert_eq!(refusal, "pageSize must be a number from 1 to 100");
}
