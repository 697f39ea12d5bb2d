use serde_json::Value;
use stackbell_testkit::wait::DEADLINE;
use stackbell_testkit::{Client, terminate, wait};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::support::Desk;

/// The command at the end of the introduction.
const PING: &str = "stackbell webhook ping acme ";

/// A running `listen`.
struct Listening {
    child: Child,
    error: BufReader<tokio::process::ChildStderr>,
    /// The URL of the receiver.
    url: String,
    /// The text before the first delivery.
    introduction: String,
}

impl Listening {
    /// Starts `listen`, and reads its output up to the paragraph with `last`.
    async fn start(mut command: Command, last: &str) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let mut error = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut introduction = String::new();
        let reading = async {
            while !introduction.ends_with("\n\n") || !introduction.contains(last) {
                let read = error.read_line(&mut introduction).await.expect("text");
                assert!(read > 0, "it ended: {introduction}");
            }
        };
        timeout(DEADLINE, reading).await.expect("it says what to do");
        let url = introduction.split_once("Listening at ").and_then(|(_, rest)| rest.split_once(';'));
        let url = url.expect("a URL").0.to_owned();
        Self { child, error, url, introduction }
    }

    /// Waits for the end of `listen`. Returns exit code, standard output and standard error.
    async fn ended(mut self) -> (i32, String, String) {
        let mut out = self.child.stdout.take().expect("it is piped");
        let (out, error) = tokio::join!(all(&mut out), all(&mut self.error));
        let status = timeout(DEADLINE, self.child.wait()).await.expect("it ends").expect("it is ours");
        (status.code().expect("it exits"), out, error)
    }
}

async fn all(from: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = String::new();
    timeout(DEADLINE, from.read_to_string(&mut text)).await.expect("the end").expect("text");
    text
}

#[tokio::test]
async fn it_registers_itself_prints_what_comes_and_leaves() {
    let desk = Desk::open().await;
    let listening = Listening::start(desk.command("listen --port 0 --register acme --once"), PING).await;
    let name =
        listening.introduction.split_once("as the webhook ").and_then(|(_, rest)| rest.split_once(' '));
    let name = name.expect("a name").0.to_owned();
    assert!(
        listening.introduction.contains(&format!("\n  stackbell webhook ping acme {name}\n")),
        "{}",
        listening.introduction
    );
    desk.publish().await;
    let (code, out, error) = listening.ended().await;
    assert_eq!(code, 0, "{error}");
    let head = out.lines().next().expect("a line");
    assert!(head.starts_with("#1  stack_update  acme/website/prod  update failed  20"), "{out}");
    for line in [
        "  signature right (Pulumi)",
        "  signature right (Standard Webhooks)",
        "  answered 204",
        "    \"stackName\": \"prod\",",
    ] {
        assert!(out.lines().any(|printed| printed == line), "{line} is not in\n{out}");
    }
    assert!(!out.contains('\u{1b}'), "no colours without a terminal: {out}");
    assert!(error.contains(&format!("Removed the webhook {name}.")), "{error}");
    assert_eq!(desk.run("webhook list acme --output json").await.out, "[]\n");
}

#[tokio::test]
async fn a_wrong_signature_is_loud_and_refused() {
    let desk = Desk::open().await;
    std::fs::write(desk.folder().join("secret.txt"), "one secret").expect("written");
    let line = "listen --port 0 --secret-file secret.txt --count 2";
    let listening = Listening::start(desk.command(line), PING).await;
    assert!(listening.introduction.contains("--secret-file secret.txt"), "{}", listening.introduction);
    let client = Client::new(listening.url.trim_end_matches('/'), "");
    let sent = client
        .send(
            http::Method::POST,
            "/x",
            &[("Pulumi-Webhook-Signature", "00")],
            bytes::Bytes::from_static(b"{}"),
        )
        .await;
    assert_eq!(sent.status, 401);
    let unsigned = client.send(http::Method::POST, "/x", &[], bytes::Bytes::from_static(b"{}")).await;
    assert_eq!(unsigned.status, 401);
    let (code, out, _) = listening.ended().await;
    assert_eq!(code, 0);
    assert!(
        out.contains("  SIGNATURE WRONG (Pulumi): made with another secret, or for another body\n"),
        "{out}"
    );
    assert!(out.contains("  answered 401 (the sender has another secret)\n"), "{out}");
    assert!(out.contains("  answered 401 (it is not signed, and there is a secret)\n"), "{out}");
}

#[tokio::test]
async fn it_plays_an_endpoint_that_fails_and_leaves_on_a_signal() {
    let desk = Desk::open().await;
    let line = "listen --port 0 --register acme --status 503 --delay 1ms --output json";
    let mut listening = Listening::start(desk.command(line), PING).await;
    let listed = desk.run("webhook list acme --output json").await.json(0);
    let name = listed[0]["name"].as_str().expect("a name");
    let ping = desk.run(&format!("webhook ping acme {name} --output json")).await.json(1);
    assert_eq!(ping["responseCode"], 503);
    let mut out = BufReader::new(listening.child.stdout.take().expect("it is piped"));
    let mut printed = String::new();
    timeout(DEADLINE, out.read_line(&mut printed)).await.expect("a line").expect("text");
    let printed: Value = serde_json::from_str(&printed).expect("JSON");
    assert_eq!((&printed["kind"], &printed["answered"]), (&"ping".into(), &503.into()));
    assert_eq!(
        (&printed["pulumiSignature"], &printed["standardSignature"]),
        (&"right".into(), &"right".into())
    );
    terminate(&listening.child);
    let status = timeout(DEADLINE, listening.child.wait()).await.expect("it ends").expect("it is ours");
    assert!(status.success(), "{status}");
    wait::until("its removal", || async {
        (desk.run("webhook list acme --output json").await.out == "[]\n").then_some(())
    })
    .await;
}

#[tokio::test]
async fn without_a_secret_it_says_so() {
    let desk = Desk::open().await;
    let listening =
        Listening::start(desk.command("listen --port 0 --once"), "signatures are not checked").await;
    assert!(
        listening.introduction.contains("stackbell webhook new acme --name listen --url http://127.0.0.1:")
    );
    let client = Client::new(listening.url.trim_end_matches('/'), "");
    let sent = client.send(http::Method::POST, "/", &[], bytes::Bytes::from_static(b"no JSON")).await;
    assert_eq!(sent.status, 204);
    let (code, out, _) = listening.ended().await;
    assert!(code == 0 && out.contains("  no JSON\n"), "{out}");
}
