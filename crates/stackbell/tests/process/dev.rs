//! `stackbell dev`. The tests run the commands that it prints.

use std::process::Stdio;

use stackbell_testkit::wait::{DEADLINE, until};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

struct Dev {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Dev {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_stackbell"))
            .args(["dev", "--listen", "127.0.0.1:0"])
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("it is piped");
        Self { child, lines: BufReader::new(stdout).lines() }
    }

    /// Reads lines until one matches, and returns all of them.
    async fn read_until(&mut self, what: &str, is_last: impl Fn(&str) -> bool) -> Vec<String> {
        let mut read = Vec::new();
        let reading = async {
            while let Some(line) = self.lines.next_line().await.expect("text") {
                let is_done = is_last(&line);
                read.push(line.trim().to_owned());
                if is_done {
                    return;
                }
            }
            panic!("it ended before {what}");
        };
        timeout(DEADLINE, reading).await.unwrap_or_else(|_| panic!("{what} was not printed"));
        read
    }
}

/// Runs a printed command unchanged, and returns status and body.
async fn run(line: &str) -> (String, String) {
    let line = format!("{line} -w '\\n%{{http_code}}'");
    let output = Command::new("sh").args(["-c", &line]).output().await.expect("sh and curl are there");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    let (body, status) = text.rsplit_once('\n').expect("a status");
    (status.to_owned(), body.to_owned())
}

/// A missing endpoint of the developer's own is reported, with its webhook and the reason.
#[tokio::test]
async fn a_failing_endpoint_is_printed() {
    let mut dev = Dev::start();
    let printed = dev.read_until("the next steps", |line| line.contains("My endpoint")).await;
    let temporary = "data          in a temporary folder, gone when this ends; --data DIR keeps it";
    assert!(printed.iter().any(|line| line == temporary), "{printed:#?}");
    let line = |part: &str| {
        printed.iter().find(|line| line.starts_with("curl ") && line.contains(part)).expect(part)
    };
    let port = stackbell_testkit::free_port();
    let register = line("My endpoint").replace("127.0.0.1:3000", &format!("127.0.0.1:{port}"));
    let (status, body) = run(&register).await;
    assert_eq!(status, "201", "{body}");
    let name = serde_json::from_str::<serde_json::Value>(&body).expect("JSON")["name"].clone();
    let (status, body) = run(line("/events")).await;
    assert_eq!(status, "202", "{body}");
    let failed =
        dev.read_until("the failure", |line| line.starts_with("failed ")).await.pop().expect("a line");
    let start = "failed    stack_update  ";
    assert!(
        failed.starts_with(start)
            && failed.contains(&format!("webhook {}: ", name.as_str().expect("a name"))),
        "{failed}"
    );
    assert!(failed.contains(&format!("127.0.0.1:{port}")) || failed.contains("refused"), "{failed}");
    assert!(failed.contains("; tried again at "), "{failed}");
    stackbell_testkit::terminate(&dev.child);
    let status = timeout(DEADLINE, dev.child.wait()).await.expect("it ends").expect("it is ours");
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn its_help_names_its_data_folder() {
    let help = Command::new(env!("CARGO_BIN_EXE_stackbell"))
        .args(["dev", "--help"])
        .output()
        .await
        .expect("it runs");
    let help = String::from_utf8(help.stdout).expect("text").split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("[default: a temporary one, gone when this ends]"), "{help}");
    assert!(!help.contains("[default: stackbell-data]"), "{help}");
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("sqlite:{}", folder.path().join("s.db").display());
    let lost = Command::new(env!("CARGO_BIN_EXE_stackbell"))
        .args(["dev", "--listen", "127.0.0.1:0", "--store", &store])
        .env_clear()
        .output()
        .await
        .expect("it runs");
    let said = String::from_utf8(lost.stderr).expect("text");
    assert_eq!(lost.status.code(), Some(2), "{said}");
    assert!(said.contains("--data DIR"), "{said}");
}

#[tokio::test]
async fn printed_commands_can_be_pasted() {
    let mut dev = Dev::start();
    let printed = dev.read_until("the next steps", |line| line.contains("My endpoint")).await;
    let received = printed.iter().filter(|line| line.starts_with("received  stack_update")).count();
    assert_eq!(received, 1, "the first event was delivered: {printed:#?}");
    let find = |part: &str| {
        let is_it = |line: &&String| line.starts_with("curl ") && line.contains(part);
        printed.iter().find(is_it).unwrap_or_else(|| panic!("{part}: {printed:#?}")).clone()
    };

    let (status, body) = run(&find("/events")).await;
    assert_eq!(status, "202", "{body}");
    let id = serde_json::from_str::<serde_json::Value>(&body).expect("JSON")["id"].clone();
    let id = id.as_str().expect("an id");
    let line = dev.read_until("its receipt", |line| line.contains(id)).await.pop().expect("a line");
    assert!(line.starts_with("received  stack_update") && line.contains("signature verified"), "{line}");

    // The receiver gets a request before its outcome is recorded.
    let listing = find("/deliveries");
    until("its record", || async {
        let (status, body) = run(&listing).await;
        assert_eq!(status, "200", "{body}");
        body.contains(id).then_some(())
    })
    .await;
    let (status, body) = run(&find("My endpoint")).await;
    assert_eq!(status, "201", "{body}");

    stackbell_testkit::terminate(&dev.child);
    let status = timeout(DEADLINE, dev.child.wait()).await.expect("it ends").expect("it is ours");
    assert!(status.success(), "{status}");
}
