//! Lists, complete and in pages.

use serde_json::{Value, json};

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use tower::ServiceExt;

use crate::support::{ADMIN, ORGANIZATION, Receiver, World, event, request, webhook};

const HOOKS: &str = "/api/orgs/crazy-adventures/hooks";
const EVENTS: &str = "/v1/orgs/crazy-adventures/events";

fn column(list: &Value, name: &str) -> Vec<String> {
    let items = list.as_array().expect("an array");
    items.iter().map(|item| item[name].as_str().expect("a text").to_owned()).collect()
}

async fn make_webhooks(world: &World, count: usize) -> Vec<String> {
    let names: Vec<_> = (0..count).map(|index| format!("w{}", count - index)).collect();
    for name in &names {
        world.admin("POST", HOOKS, webhook(name, "https://a.example/")).await.expect(201);
    }
    names
}

/// Reads a list by its `Link` headers, and returns one column of each page.
async fn walk(world: &World, first: &str, name: &str) -> Vec<Vec<String>> {
    let mut pages = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(path) = next {
        let answer = world.admin("GET", &path, Value::Null).await;
        pages.push(column(&answer.expect(200), name));
        next = answer.header("link").map(|link| {
            let path = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
            path.expect("a link").to_owned()
        });
        if let Some(path) = &next {
            let token = answer.header("pulumi-continuation-token").expect("a token");
            assert!(path.ends_with(&format!("continuationToken={token}")), "{path}");
        }
    }
    pages
}

#[tokio::test]
async fn webhooks_oldest_first_whole_or_in_pages() {
    let world = World::start().await;
    assert_eq!(world.admin("GET", HOOKS, Value::Null).await.expect(200), json!([]));
    let names = make_webhooks(&world, 5).await;
    assert_eq!(walk(&world, HOOKS, "name").await, std::slice::from_ref(&names));
    let pages = walk(&world, &format!("{HOOKS}?pageSize=2"), "name").await;
    assert_eq!(pages, [names[..2].to_vec(), names[2..4].to_vec(), names[4..].to_vec()]);
    assert_eq!(walk(&world, &format!("{HOOKS}?pageSize=1000"), "name").await, std::slice::from_ref(&names));
    // A continuation token works without a page size, and other parameters do not matter here.
    let first = world.admin("GET", &format!("{HOOKS}?pageSize=2&x=1"), Value::Null).await;
    let token = first.header("pulumi-continuation-token").expect("a token");
    let rest = world.admin("GET", &format!("{HOOKS}?continuationToken={token}"), Value::Null).await;
    assert_eq!(column(&rest.expect(200), "name"), names[2..]);
    assert_eq!(rest.header("link"), None);
}

async fn check_refusal(world: &World, path: &str, expected: &str) {
    let answer = world.admin("GET", path, Value::Null).await;
    assert_eq!(answer.refusal(400), expected, "{path}");
    let parameter = expected.split(' ').next().expect("a word");
    let details = match parameter {
        "pageSize" | "continuationToken" => vec![format!("Page {parameter} invalid")],
        _ => Vec::new(),
    };
    assert_eq!(answer.details(), details, "{path}");
}

#[tokio::test]
async fn parameters_that_are_wrong() {
    let world = World::start().await;
    let size = "pageSize must be a number from 1 to 1000";
    for wrong in ["0", "1001", "-1", "x", "1.5"] {
        check_refusal(&world, &format!("{HOOKS}?pageSize={wrong}"), size).await;
    }
    let token = "continuationToken must be a token from an earlier answer, unchanged";
    check_refusal(&world, &format!("{HOOKS}?continuationToken=x"), token).await;
    check_refusal(&world, &format!("{EVENTS}?continuationToken=x"), token).await;
    check_refusal(&world, &format!("{EVENTS}?pageSize=101"), "pageSize must be a number from 1 to 100").await;
    let unknown = "this route has no query parameter 'limit', 'x'; it has 'pageSize', 'continuationToken'";
    check_refusal(&world, &format!("{EVENTS}?limit=1&x=2&pageSize=3"), unknown).await;
    let many: Vec<_> = (0..50).map(|index| format!("x{index}=1")).collect();
    let answer = world.admin("GET", &format!("{EVENTS}?{}", many.join("&")), Value::Null).await;
    assert!(answer.refusal(400).contains("'x9' and 40 more; it has"), "{}", answer.text());
    // A continuation token of a list by name is not valid for a list by id.
    check_refusal(&world, &format!("{EVENTS}?continuationToken=MTpuOmE"), token).await;
}

#[tokio::test]
async fn events_newest_first_in_pages() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        let accepted = world.admin("POST", EVENTS, event(None)).await.expect(202);
        ids.insert(0, accepted["id"].as_str().expect("an id").to_owned());
    }
    let pages = walk(&world, &format!("{EVENTS}?pageSize=2"), "id").await;
    assert_eq!(pages, [ids[..2].to_vec(), ids[2..4].to_vec(), ids[4..].to_vec()]);
    let one = world.admin("GET", &format!("{EVENTS}/{}", ids[0]), Value::Null).await.expect(200);
    assert_eq!(one["organization"], ORGANIZATION);
    assert_eq!(one["stackName"], "website-prod");
    assert_eq!(one["deliveries"], 0);
    assert_eq!(one["payload"]["user"]["githubLogin"], "morty");
    let none = format!("{EVENTS}/c64dd9a8-be18-4e6a-8208-2bb2efbbd13a");
    let refusal = world.admin("GET", &none, Value::Null).await.refusal(404);
    assert_eq!(refusal, "Event 'c64dd9a8-be18-4e6a-8208-2bb2efbbd13a' not found");
}

/// An event with nearly the largest payload.
fn large_event() -> Value {
    let mut large = event(None);
    large["payload"]["updateUrl"] = json!(format!("https://a.example/{}", "x".repeat(250_000)));
    large
}

#[tokio::test]
async fn events_are_cut_by_bytes_and_lead_on() {
    let world = World::start().await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        let accepted = world.admin("POST", EVENTS, large_event()).await.expect(202);
        ids.insert(0, accepted["id"].as_str().expect("an id").to_owned());
    }
    let pages = walk(&world, &format!("{EVENTS}?pageSize=100"), "id").await;
    let lengths: Vec<_> = pages.iter().map(Vec::len).collect();
    // 17 times 250,000 bytes are more than 4 MiB.
    assert_eq!(lengths, [17, 3]);
    assert_eq!(pages.concat(), ids);
}

#[tokio::test]
async fn deliveries_are_cut_by_bytes() {
    let world = World::start().await;
    let mut receiver = Receiver::answering(StatusCode::OK).await;
    world.admin("POST", HOOKS, webhook("a", &receiver.url())).await.expect(201);
    let mut last = String::new();
    for _ in 0..20 {
        let accepted = world.admin("POST", EVENTS, large_event()).await.expect(202);
        last = accepted["id"].as_str().expect("an id").to_owned();
        receiver.next().await;
    }
    // The ping is recorded after all attempts before it.
    let again = format!("{HOOKS}/a/deliveries/{last}/redeliver");
    world.admin("POST", &again, Value::Null).await.expect(200);
    let listed = world.admin("GET", &format!("{HOOKS}/a/deliveries"), Value::Null).await;
    assert_eq!(listed.expect(200).as_array().map(Vec::len), Some(17));
    assert_eq!(listed.header("content-length"), Some(listed.body.len().to_string().as_str()));
}

#[tokio::test]
async fn few_long_lists_are_answered_at_once() {
    let world = World::start().await;
    world.admin("POST", EVENTS, event(None)).await.expect(202);
    let ask = || {
        let request = request(ADMIN, "GET", EVENTS).body(Body::empty()).expect("a request");
        world.router.clone().oneshot(request)
    };
    let mut unread = Vec::new();
    let refused = loop {
        let response = ask().await.expect("it cannot fail");
        if response.status() != StatusCode::OK {
            break response;
        }
        unread.push(response);
        assert!(unread.len() < 100, "there is no limit");
    };
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    drop(unread);
    let answered = tokio::time::timeout(Duration::from_secs(60), ask()).await.expect("there is room again");
    assert_eq!(answered.expect("it cannot fail").status(), StatusCode::OK);
}
