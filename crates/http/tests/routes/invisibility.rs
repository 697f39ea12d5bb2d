//! A caller without access to an organization cannot find out what exists in it (invariant 9).

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::support::calls::{Call, Names, calls};
use crate::support::{ORGANIZATION, Receiver, TestResponse, World};

const UNKNOWN: &str = "no-such-organization";

/// The requests of a caller without a membership: the valid call, and malformed ones.
fn requests(call: &Call) -> [(String, Value); 4] {
    [
        (call.path.clone(), call.body.clone()),
        (format!("{}?pageSize=x&nonsense=1", call.path), call.body.clone()),
        (call.path.clone(), json!(1)),
        (call.path.replace("website", "a%20b"), Value::Null),
    ]
}

fn header_names(answer: &TestResponse) -> Vec<String> {
    answer.headers.keys().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_foreign_organization_looks_like_none_on_every_route() {
    let world = World::start().await;
    let receiver = Receiver::answering(StatusCode::OK).await;
    let there = world.furnish(&receiver.url()).await;
    let stranger = world.user("stranger", None).await;
    let elsewhere = Names { organization: UNKNOWN.to_owned(), ..there.clone() };
    let pairs = calls(&there).into_iter().zip(calls(&elsewhere));
    let mut routes = 0;
    for (foreign, none) in pairs.filter(|(call, _)| call.is_in_organization()) {
        routes += 1;
        let Call { method, route, .. } = &foreign;
        for ((path, body), (none_path, _)) in requests(&foreign).into_iter().zip(requests(&none)) {
            let foreign = world.ask(&stranger, method, &path, body.clone()).await;
            let none = world.ask(&stranger, method, &none_path, body).await;
            let expected = format!("Organization '{ORGANIZATION}' not found");
            assert_eq!(foreign.refusal(404), expected, "{method} {route}");
            let foreign_text = foreign.text().replace(ORGANIZATION, UNKNOWN);
            assert_eq!(
                (none.status, foreign_text.as_str()),
                (foreign.status, none.text()),
                "{method} {route}"
            );
            assert_eq!(header_names(&foreign), header_names(&none), "{method} {route}");
        }
    }
    // All operations of Pulumi's API, and most of ours, are in an organization.
    assert!(routes > 32 + 20, "{routes}");
}
