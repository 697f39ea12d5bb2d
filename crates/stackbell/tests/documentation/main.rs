//! Every sample of README.md, docs/{api,cli,operating,receivers,slack}.md, run unchanged from top to bottom through a real
//! shell. The test replaces the samples' endpoints by its own, so no sample contacts another host.

mod endpoints;
mod settings;
mod slack;

use std::path::{Path, PathBuf};
use std::process::Command;

use stackbell_testkit::{Reply, Server, ServerSetup};

use endpoints::Endpoints;

/// A block of a document: the word after its fence, and its lines.
struct Block {
    language: String,
    text: String,
}

/// The blocks of a document, in their order.
fn blocks(document: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut block: Option<Block> = None;
    for line in document.lines() {
        // A block in a list is indented. The indentation of our blocks has no meaning.
        match (&mut block, line.trim_start()) {
            (Some(_), "```") => blocks.extend(block.take()),
            (Some(block), line) => block.text.extend([line, "\n"]),
            (None, line) => {
                let language = line.strip_prefix("```").map(str::to_owned);
                block = language.map(|language| Block { language, text: String::new() });
            }
        }
    }
    assert!(block.is_none(), "a block is not closed");
    blocks
}

/// Makes curl fail for any status but a 2xx.
fn strict(block: &str) -> String {
    block.replace("curl -sS", "curl -sS --fail-with-body").replace("…", "")
}

/// Runs a block. Returns its standard output followed by its standard error, and whether it succeeded.
async fn run(server: &Server, folder: &Path, block: &str, event: &str) -> (String, bool) {
    run_with(server, folder, block, &[("EVENT_ID", event)]).await
}

/// Runs a block with these variables.
async fn run_with(server: &Server, folder: &Path, block: &str, variables: &[(&str, &str)]) -> (String, bool) {
    // The test sets the variables, because a sample cannot know the token.
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
        .current_dir(folder)
        .args(["-c", &format!("PATH=\"{}:$PATH\"\n{script}", path.to_string_lossy())])
        .env("STACKBELL_URL", server.url())
        .env("STACKBELL_TOKEN", server.token())
        .env("DATA", server.data())
        // The usual port may belong to another process on this machine.
        .env("STACKBELL_LISTEN", "127.0.0.1:0")
        .envs(variables.iter().copied());
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
    let output = output.expect("bash and curl are there");
    let texts = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    (texts.concat(), output.status.success())
}

/// The id of the newest attempt of the samples' webhook; empty if there is none.
async fn newest_event(server: &Server) -> String {
    let deliveries = server.client().get("/api/orgs/acme/hooks/mine/deliveries").await.expect(200).json();
    deliveries[0]["id"].as_str().unwrap_or_default().to_owned()
}

fn read(path: &str) -> String {
    let root: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", path].iter().collect();
    std::fs::read_to_string(root).expect("the document is there")
}

/// Runs all shell blocks of a document, with endpoints that send these responses.
async fn check(document: &str, is_run: impl Fn(&str) -> bool, at_least: usize, endpoints_answer: Reply) {
    let endpoints = Endpoints::start(endpoints_answer).await;
    let server = endpoints.server().await;
    let blocks: Vec<Block> = blocks(&read(document))
        .into_iter()
        .filter(|block| block.language == "sh" && is_run(&block.text))
        .collect();
    assert!(blocks.len() >= at_least, "{document} has lost its samples");
    // The samples share a folder, because later ones read files of earlier ones.
    let folder = tempfile::tempdir().expect("a folder");
    for block in &blocks {
        let event = newest_event(&server).await;
        let (printed, is_done) = run(&server, folder.path(), &endpoints.replace(&block.text), &event).await;
        assert!(is_done, "{}\n{printed}", block.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_the_api_run() {
    check("docs/api.md", |_| true, 6, Reply::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_the_command_line_run() {
    // Failing deliveries stay pending, for the samples that cancel and retry them.
    check("docs/cli.md", |_| true, 17, Reply::status(503)).await;
}

/// The command on the API's page finds the id of the organization's webhook `mine`, among other webhooks.
#[tokio::test(flavor = "multi_thread")]
async fn the_webhook_that_the_api_page_changes_is_the_one_it_means() {
    let endpoints = Endpoints::start(Reply::default()).await;
    let server = endpoints.server().await;
    let folder = tempfile::tempdir().expect("a folder");
    let client = server.client();
    let register = async |path: &str, body: serde_json::Value| {
        client.post(path, &body).await.expect(201);
    };
    let webhook = |name: &str, display_name: &str| {
        serde_json::json!({
            "organizationName": "acme", "name": name, "displayName": display_name,
            "payloadUrl": "https://example.com/", "active": true, "filters": ["update_failed"],
        })
    };
    register("/api/orgs/acme/hooks", webhook("aamine", "\"name\":\"mine\"")).await;
    register("/api/orgs/acme/hooks", webhook("mine", "mine")).await;
    register("/api/orgs/acme/hooks", webhook("mine2", "mine")).await;
    register("/api/stacks/acme/website/prod/hooks", webhook("mine", "mine")).await;
    let blocks = blocks(&read("docs/api.md"));
    let block = blocks.iter().find(|block| block.text.contains("WEBHOOK_ID=$(")).expect("the sample");
    let (printed, is_done) = run(&server, folder.path(), &block.text, "").await;
    assert!(is_done, "{printed}");
    let webhooks = client.get("/v1/orgs/acme/webhooks").await.expect(200).json();
    let without =
        webhooks.as_array().expect("an array").iter().filter(|webhook| webhook["standardHeaders"] == false);
    let without: Vec<_> = without.map(|webhook| (&webhook["scope"], &webhook["name"])).collect();
    assert_eq!(without, [(&"organization".into(), &"mine".into())]);
}

/// The commands, pasted as one block, show the delivery, which is recorded some time after the response to the event.
#[tokio::test(flavor = "multi_thread")]
async fn the_last_lines_of_the_readme_show_what_was_delivered() {
    let endpoints = Endpoints::start(Reply::default()).await;
    let server = endpoints.server().await;
    let folder = tempfile::tempdir().expect("a folder");
    let blocks = blocks(&read("README.md"));
    let block =
        blocks.iter().find(|block| block.text.contains("/hooks/mine/deliveries")).expect("the sample");
    let (printed, is_done) = run(&server, folder.path(), &endpoints.replace(&block.text), "").await;
    assert!(is_done, "{printed}");
    let last = printed.trim_end().lines().last().expect("lines");
    assert!(last.contains("\"kind\":\"stack_update\"") && last.contains("\"responseCode\":200"), "{printed}");
}

/// Backup and restore must work repeatedly, with the master key in the data folder or in a file.
#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_backup_and_restore_run_more_than_once() {
    let key = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(key.path(), "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n").expect("written");
    let path = key.path().to_str().expect("UTF-8");
    let setup = || ServerSetup::new(env!("CARGO_BIN_EXE_stackbell")).embedded().organization("acme");
    let in_folder = (setup(), None);
    let in_file = (setup().flag("--master-key-file", path), Some(("STACKBELL_MASTER_KEY_FILE", path)));
    for (setup, variable) in [in_folder, in_file] {
        let server = setup.start().await;
        for document in ["docs/operating.md", "docs/cli.md"] {
            let is_sample = |block: &&Block| {
                let samples = ["stackbell backup", "stackbell restore", "drill/master.key", "--data drill"];
                block.language == "sh" && samples.iter().any(|sample| block.text.contains(sample))
            };
            let blocks = blocks(&read(document));
            let folder = tempfile::tempdir().expect("a folder");
            for _ in 0..2 {
                for block in blocks.iter().filter(is_sample) {
                    // The rotation of the key is tested with another page.
                    let text = block.text.replace("stackbell key rotate\n", "");
                    let variables: Vec<_> = variable.into_iter().collect();
                    let (printed, is_done) = run_with(&server, folder.path(), &text, &variables).await;
                    assert!(is_done, "{variable:?}: {text}\n{printed}");
                }
            }
        }
    }
}

/// Other tests run the two commands at the top and the start of `serve`; this test runs the rest.
#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_the_readme_run() {
    check("README.md", |block| block.contains("curl") || block.contains("webhook new"), 2, Reply::default())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_operating_run() {
    check("docs/operating.md", |_| true, 10, Reply::default()).await;
}

/// `tests/examples` runs the commands that start the examples; this test runs the rest.
#[tokio::test(flavor = "multi_thread")]
async fn the_samples_of_receivers_run() {
    check("docs/receivers.md", |block| !block.contains("WEBHOOK_SECRET="), 1, Reply::default()).await;
}

/// Appends the texts of all Rust files in a folder.
fn sources(folder: &Path, found: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push_str(&std::fs::read_to_string(&path).expect("read"));
        }
    }
}

/// Every log line on the page has exactly the text of the log.
#[test]
fn the_lines_of_the_log_in_operating_are_the_logs() {
    let document = read("docs/operating.md");
    let (_, section) = document.split_once("## What the log says").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    let lines: Vec<&str> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(lines.len() >= 10, "{lines:?}");
    let mut source = String::new();
    for krate in
        ["app", "engine", "http", "http-kit", "server", "stackbell", "store-postgres", "store-sqlite"]
    {
        sources(&[env!("CARGO_MANIFEST_DIR"), "..", krate, "src"].iter().collect::<PathBuf>(), &mut source);
    }
    let unknown: Vec<&&str> = lines.iter().filter(|line| !source.contains(**line)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}
