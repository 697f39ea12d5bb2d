//! Checks the rules and a server's metrics with Prometheus' own tool. `./test` gets the tool and runs these tests.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use stackbell_testkit::ServerSetup;

/// The tool that `./test` extracted from Debian's package `prometheus`, or the one in the PATH.
fn promtool() -> Command {
    let taken_out = path(".test/bin/promtool");
    Command::new(if taken_out.exists() { taken_out } else { "promtool".into() })
}

fn path(of: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", of].iter().collect()
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{}: {out}{err}", output.status)
}

const MISSING: &str = "promtool runs: ./test gets it, and Debian has it in the package prometheus";

fn run(command: &mut Command) -> Output {
    command.output().expect(MISSING)
}

/// The output of `promtool check metrics` for a text.
fn check_metrics(metrics: &str) -> Output {
    let mut command = promtool();
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect(MISSING);
    // The tool stops reading at text that it cannot parse.
    let _ = child.stdin.take().expect("it is piped").write_all(metrics.as_bytes());
    child.wait_with_output().expect("it ends")
}

#[tokio::test]
#[ignore = "takes promtool: ./test gets and runs it"]
async fn promtool_is_content_with_the_metrics() {
    let server = ServerSetup::new(env!("CARGO_BIN_EXE_stackbell")).start().await;
    let metrics = server.client().get("/metrics").await.expect(200);
    let checked = check_metrics(metrics.text());
    assert!(checked.status.success() && text(&checked) == "exit status: 0: ", "{}", text(&checked));
    let doubled = format!("{0}{0}", metrics.text());
    assert!(!check_metrics(&doubled).status.success(), "the tool does not see a fault");
}

#[test]
#[ignore = "takes promtool: ./test gets and runs it"]
fn promtool_is_content_with_the_rules() {
    let checked =
        run(promtool().args(["check", "rules"]).arg(path("packaging/prometheus/stackbell.rules.yml")));
    assert!(checked.status.success(), "{}", text(&checked));
}

/// The cases are in `rules.test.yml`.
#[test]
#[ignore = "takes promtool: ./test gets and runs it"]
fn the_rules_do_over_time_what_they_are_for() {
    let tested =
        run(promtool().args(["test", "rules"]).arg(path("crates/stackbell/tests/watching/rules.test.yml")));
    assert!(tested.status.success(), "{}", text(&tested));
}
