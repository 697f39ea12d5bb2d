//! Malformed requests. Each gets a 4xx with a JSON message that names the problem; the log has no error and no panic, and
//! the server keeps serving.
//!
//! Each subject has a file with tables. [`cases::Case`] is a row: name, request, expected status, expected part of the
//! message.

mod access;
mod bodies;
mod cases;
mod events;
mod identity;
mod lines;
mod paths;
mod sockets;
mod webhooks;

use bytes::Bytes;
use serde_json::json;
use stackbell_testkit::{Client, Server, ServerSetup};

use cases::{Case, Who};

/// A server with data for the requests: a webhook, an event with a known id, another organization, tokens of each role.
struct World {
    server: Server,
    admin: Client,
    viewer: Client,
    publisher: Client,
    member: Client,
}

impl World {
    async fn start() -> Self {
        let server = ServerSetup::new(env!("CARGO_BIN_EXE_stackbell")).start().await;
        let admin = server.client();
        let webhook = json!({"organizationName": "acme", "name": "hook", "displayName": "hook",
            "payloadUrl": "http://127.0.0.1:1/", "active": false});
        admin.post("/api/orgs/acme/hooks", &webhook).await.expect(201);
        let event = json!({"id": cases::KNOWN_EVENT, "kind": "stack", "payload": {
            "projectName": "web", "stackName": "prod", "action": "created"}});
        admin.post("/v1/orgs/acme/events", &event).await.expect(202);
        admin.post("/v1/users", &json!({"login": "rick"})).await.expect(201);
        admin.post("/v1/orgs", &json!({"name": "rival", "admin": "rick"})).await.expect(201);
        let mut clients = Vec::new();
        for role in ["viewer", "publisher", "member"] {
            let made = admin.post("/v1/user/tokens", &json!({"name": role, "role": role})).await.expect(201);
            clients.push(admin.with_token(made.json()["token"].as_str().expect("a token")));
        }
        let [viewer, publisher, member] = clients.try_into().expect("three");
        Self { server, admin, viewer, publisher, member }
    }

    fn client(&self, who: Who) -> &Client {
        match who {
            Who::Admin | Who::Given => &self.admin,
            Who::Viewer => &self.viewer,
            Who::Publisher => &self.publisher,
            Who::Member => &self.member,
        }
    }

    /// Checks the response to a case; an error says what is wrong with it.
    async fn check(&self, case: &Case) -> Result<(), String> {
        let headers: Vec<(&str, &str)> =
            case.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let body = Bytes::from(case.body.clone());
        let answer = self.client(case.who).send(case.method.clone(), &case.path, &headers, body).await;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let said = |problem: &str| format!("{}: {problem}; {} {text}", case.name, answer.status);
        if answer.status != case.status {
            return Err(said(&format!("not {}", case.status)));
        }
        if answer.headers.get("content-type").is_none_or(|value| value != "application/json") {
            return Err(said("not JSON by its header"));
        }
        let json: serde_json::Value =
            serde_json::from_str(&text).map_err(|error| said(&error.to_string()))?;
        if json["code"] != case.status {
            return Err(said("another code"));
        }
        match json["message"].as_str() {
            Some(message) if message.contains(&case.part) => Ok(()),
            Some(_) | None => Err(said(&format!("no '{}'", case.part))),
        }
    }
}

#[tokio::test]
async fn each_is_refused_with_a_message_that_names_what_is_wrong() {
    let tables = [
        ("webhooks", webhooks::cases()),
        ("bodies", bodies::cases()),
        ("events", events::cases()),
        ("paths", paths::cases()),
        ("access", access::cases()),
        ("identity", identity::cases()),
    ];
    let world = World::start().await;
    let mut problems = Vec::new();
    let mut count = 0;
    for (table, cases) in &tables {
        println!("{table}: {} requests", cases.len());
        for case in cases {
            count += 1;
            problems.extend(world.check(case).await.err());
        }
    }
    assert!(problems.is_empty(), "{} of {count}:\n{}", problems.len(), problems.join("\n"));
    assert!(count >= 200, "{count}");
    world.admin.get("/api/orgs/acme/hooks").await.expect(200);
    world.server.assert_quiet();
}

#[tokio::test]
async fn each_bad_line_is_refused_by_itself() {
    let world = World::start().await;
    lines::check(&world.admin).await;
    world.server.assert_quiet();
}

#[tokio::test]
async fn garbage_on_a_socket_ends_the_connection_and_nothing_else() {
    let world = World::start().await;
    sockets::check(world.server.address(), world.server.token()).await;
    world.admin.get("/api/orgs/acme/hooks").await.expect(200);
    world.server.assert_quiet();
}
