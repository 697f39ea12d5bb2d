//! The audit log: its entries and their order.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::calls::{Call, Names, calls};
use crate::support::{ADMIN, ORGANIZATION, Receiver, TestResponse, World, request, without};

fn log() -> String {
    format!("/v1/orgs/{ORGANIZATION}/audit")
}

/// Actions and targets with hidden ids, oldest first.
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

/// Routes that change something without an entry, each with the reason.
const EXEMPT: [(&str, &str); 2] = [
    ("/v1/orgs/{orgName}/events", "there are many events, and each records its token"),
    (
        "/v1/instance/master-key/rotate",
        "the key here cannot change; the entry is written with the keys, as the stores' suite shows",
    ),
];

/// All entries of all logs.
async fn entries(world: &World) -> Vec<Value> {
    let organizations = world.admin("GET", "/v1/orgs", Value::Null).await.expect(200);
    let of = |one: &Value| format!("/v1/orgs/{}/audit", one["name"].as_str().expect("a name"));
    let mut logs: Vec<_> = organizations.as_array().expect("an array").iter().map(of).collect();
    logs.push("/v1/instance/audit".to_owned());
    let mut entries = Vec::new();
    for log in logs {
        let listed = world.admin("GET", &format!("{log}?pageSize=100"), Value::Null).await.expect(200);
        entries.extend(listed.as_array().expect("an array").iter().cloned());
    }
    entries
}

/// Makes a call from an address.
async fn ask_from(world: &World, call: &Call, address: [u8; 4]) -> TestResponse {
    let body = if call.body.is_null() { Body::empty() } else { Body::from(call.body.to_string()) };
    let mut request = request(ADMIN, &call.method, &call.path).body(body).expect("a request");
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from((address, 4000))));
    world.send(request).await
}

#[tokio::test]
async fn every_route_that_is_no_plain_read_leaves_one_entry() {
    let routes = calls(&Names::unknown(ORGANIZATION));
    let changing = routes.iter().enumerate().filter(|(_, call)| call.method != "GET");
    for (index, Call { method, route, .. }) in changing {
        let world = World::start().await;
        let receiver = Receiver::answering(StatusCode::OK).await;
        let names = world.furnish(&receiver.url()).await;
        if route.ends_with("/sending/hold") {
            world.admin("POST", "/v1/instance/sending/resume", Value::Null).await.expect(200);
        }
        let before = entries(&world).await;
        let call = calls(&names).swap_remove(index);
        let answer = ask_from(&world, &call, [192, 0, 2, 7]).await;
        let after = entries(&world).await;
        let new: Vec<_> = after.iter().filter(|entry| !before.contains(entry)).collect();
        if EXEMPT.iter().any(|(exempt, _)| exempt == route) {
            assert!(new.is_empty(), "{method} {route} is no exemption: {new:?}");
            continue;
        }
        assert!(answer.status.is_success(), "{method} {route}: {}", answer.text());
        let [entry] = new[..] else { panic!("{method} {route}: {new:?}") };
        assert_eq!((&entry["actor"], &entry["remote"]), (&json!("morty"), &json!("192.0.2.7")), "{route}");
        assert!(entry["tokenId"].is_string() && entry["at"].is_string(), "{route}: {entry}");
        assert!(entry["action"].as_str().is_some_and(|action| action.contains('.')), "{route}: {entry}");
        assert!(entry["target"].as_str().is_some_and(|target| !target.is_empty()), "{route}: {entry}");
    }
}

#[tokio::test]
async fn acts_without_a_change_of_the_store_have_entries() {
    let world = World::start().await;
    let receiver = Receiver::answering(StatusCode::OK).await;
    let names = world.furnish(&receiver.url()).await;
    let hooks = format!("/api/stacks/{ORGANIZATION}/website/prod/hooks/kept");
    let redelivered = format!("{hooks}/deliveries/{}/redeliver", names.stack_event);
    let again = format!("/v1/orgs/{ORGANIZATION}/deliveries/{}/redeliver", names.delivery);
    for path in [&format!("{hooks}/ping"), &redelivered, &again, &"/v1/instance/sending/resume".to_owned()] {
        world.admin("POST", path, Value::Null).await.expect(200);
    }
    let backup = request(ADMIN, "POST", "/v1/instance/backup").body(Body::empty()).expect("a request");
    assert_eq!(world.send(backup).await.status, StatusCode::OK);
    let newest = async |log: String| {
        let path = format!("{log}?pageSize=3");
        told(&world.admin("GET", &path, Value::Null).await.expect(200))
    };
    let expected = [
        "webhook.ping webhook kept of stack website/prod",
        "delivery.redeliver delivery ID of webhook kept of stack website/prod",
        "delivery.redeliver delivery ID of webhook kept",
    ];
    assert_eq!(newest(log()).await, expected);
    let expected = [
        "sending.hold all sending, because: a test",
        "sending.resume all sending",
        "instance.backup a copy of the whole store",
    ];
    let instance = newest("/v1/instance/audit".to_owned()).await;
    assert_eq!(instance[instance.len() - 2..], expected[1..]);
    let all = world.admin("GET", "/v1/instance/audit?pageSize=100", Value::Null).await.expect(200);
    assert!(told(&all).contains(&expected[0].to_owned()), "{all}");
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
