//! Every sample of README.md and docs/api.md, run as it stands there, from top to bottom, through a real shell.

use std::path::{Path, PathBuf};
use std::process::Command;

use stackbell_testkit::{Server, ServerSetup};

/// The shell blocks of a document, in their order.
fn blocks(document: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut block: Option<String> = None;
    for line in document.lines() {
        match (&mut block, line) {
            (None, "```sh") => block = Some(String::new()),
            (Some(_), "```") => blocks.extend(block.take()),
            (Some(text), line) => text.extend([line, "\n"]),
            (None, _) => {}
        }
    }
    assert!(block.is_none(), "a block is not closed");
    blocks
}

/// Makes a line's answer its success: any status but a 2xx fails it.
fn strict(block: &str) -> String {
    block.replace("curl -sS", "curl -sS --fail-with-body").replace("…", "")
}

async fn run(server: &Server, block: &str, event: &str) {
    // The variables are the test's: a sample cannot know the token.
    let script: String = strict(block).lines().filter(|line| !line.starts_with("export ")).fold(
        "set -e\n".to_owned(),
        |mut script, line| {
            script.extend([line, "\n"]);
            script
        },
    );
    let path = std::env::join_paths([Path::new(env!("CARGO_BIN_EXE_stackbell")).parent().expect("a folder")])
        .expect("a path without colons");
    let mut command = Command::new("bash");
    command
        .args(["-c", &format!("PATH=\"{}:$PATH\"\n{script}", path.to_string_lossy())])
        .env("STACKBELL_URL", server.url())
        .env("STACKBELL_TOKEN", server.token())
        .env("EVENT_ID", event);
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let output = output.expect("bash and curl are there");
    assert!(
        output.status.success(),
        "{block}\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The id of the newest attempt of the webhook that the samples make; empty before there is one.
async fn newest_event(server: &Server) -> String {
    let deliveries = server.client().get("/api/orgs/acme/hooks/mine/deliveries").await.expect(200).json();
    deliveries[0]["id"].as_str().unwrap_or_default().to_owned()
}

fn read(path: &str) -> String {
    let root: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", path].iter().collect();
    std::fs::read_to_string(root).expect("the document is there")
}

async fn check(document: &str, is_run: impl Fn(&str) -> bool, at_least: usize) {
    let server = ServerSetup::new(env!("CARGO_BIN_EXE_stackbell")).organization("acme").start().await;
    let blocks: Vec<String> = blocks(&read(document)).into_iter().filter(|block| is_run(block)).collect();
    assert!(blocks.len() >= at_least, "{document} has lost its samples");
    for block in &blocks {
        let event = newest_event(&server).await;
        run(&server, block, &event).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_the_api_run() {
    check("docs/api.md", |_| true, 6).await;
}

/// The two commands at the top and the start of `serve` are run by tests of their own; this runs the rest.
#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_the_readme_run() {
    check("README.md", |block| block.contains("curl"), 1).await;
}
