//! Invariant 8: secrets must never be readable again. The test searches everything that the server writes.

use std::fs;
use std::path::Path;

use serde_json::json;
use stackbell_testkit::{Receiver, Reply};

use crate::support::{publish, register, setup, signed_webhook, update};

const SECRET: &str = "correct-horse-battery-staple";
const SECOND_SECRET: &str = "tomorrow-never-comes-alone";
const PATH: &str = "/services/T000/B000/path-that-is-a-credential";

/// Every file in a folder, with its bytes.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(files(&path));
        } else if let Ok(bytes) = fs::read(&path) {
            found.push((path.display().to_string(), bytes));
        }
    }
    found
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

#[tokio::test]
async fn secrets_and_tokens_are_nowhere_and_metrics_name_nobody() {
    let receiver = Receiver::start().await;
    let setup = setup().organization("acme").flag("--log-level", "debug");
    let server = setup.start().await;
    let client = server.client();
    register(&client, &signed_webhook("very-particular-name", &receiver.url(PATH), SECRET)).await;
    let changed = json!({"secret": SECOND_SECRET});
    client.patch("/api/orgs/acme/hooks/very-particular-name", &changed).await.expect(200);
    let made =
        client.post("/v1/user/tokens", &json!({"name": "ci", "role": "member"})).await.expect(201).json();
    let token = made["token"].as_str().expect("a token").to_owned();
    let with_token = client.with_token(&token);
    receiver.then([Reply::status(500), Reply::close()]);
    publish(&with_token, &update()).await;
    receiver.wait_for(1).await;
    with_token.post_empty("/api/orgs/acme/hooks/very-particular-name/ping").await.expect(200);
    // This request is rejected, and contains all of the secrets.
    with_token.get(&format!("/api/orgs/{SECRET}/hooks")).await.expect(404);
    let mut wrong = signed_webhook("x", &receiver.url(PATH), SECRET);
    wrong["active"] = "yes".into();
    let refused = client.post("/api/orgs/acme/hooks", &wrong).await.expect(400);
    assert!(!refused.text().contains(SECRET) && !refused.text().contains(PATH), "{}", refused.text());
    for path in ["", "/very-particular-name", "/very-particular-name/deliveries"] {
        let answer = client.get(&format!("/api/orgs/acme/hooks{path}")).await.expect(200);
        for secret in [SECRET, SECOND_SECRET, &token, server.token()] {
            assert!(!answer.text().contains(secret), "{path}: {}", answer.text());
        }
    }

    let metrics = client.get("/metrics").await.expect(200);
    assert!(metrics.text().contains("stackbell_"), "{}", metrics.text());
    for name in ["acme", "very-particular-name", "127.0.0.1", PATH] {
        assert!(!metrics.text().contains(name), "{name} in\n{}", metrics.text());
    }
    let admin_token = server.token().to_owned();
    let while_running = files(server.data());
    let (status, log, folder) = server.terminate().await;
    assert!(status.success(), "{log}");
    let needles = [SECRET, SECOND_SECRET, &token, &admin_token];
    for (path, bytes) in while_running.into_iter().chain(files(folder.path())) {
        for needle in needles {
            assert!(!contains(&bytes, needle), "{needle} in {path}");
        }
    }
    // A log may contain the requested path, and a client may put anything into a path, as in the organization above.
    let needles = [SECOND_SECRET, &token, &admin_token, PATH];
    for line in log.lines() {
        for needle in needles {
            assert!(!line.contains(needle), "{needle} in {line}");
        }
    }
}
