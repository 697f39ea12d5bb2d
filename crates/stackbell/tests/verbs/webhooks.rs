use serde_json::json;
use stackbell_testkit::{Reply, wait};

use crate::support::{Desk, ended};

#[tokio::test]
async fn a_webhook_from_first_to_last() {
    let desk = Desk::open().await;
    let url = desk.receiver.url("/hook");
    let made = desk
        .run(&format!("webhook new acme --name ci --url {url} --filter update_failed --generate-secret"))
        .await;
    let text = made.text(0);
    let (head, rest) =
        text.split_once("\n\nIts secret, shown this once; give it to the receiver:\n\n  whsec_").expect(text);
    assert_eq!(head, "Made the webhook ci of organization acme.\nIt hears of update_failed.");
    assert!(rest.ends_with("\n\nSend it a ping:\n\n  stackbell webhook ping acme ci\n"), "{text}");

    let listed = desk.run("webhook list acme").await;
    let rows: Vec<Vec<&str>> = listed.text(0).lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[1][..6], ["ci", "ci", "organization", "-", "raw", "active"]);

    let shown = desk.run("webhook get acme ci").await;
    for line in ["hears of          update_failed", "secret            set", "state             active"] {
        assert!(shown.text(0).lines().any(|shown| shown == line), "{line} is not in\n{}", shown.out);
    }
    assert_eq!(desk.run("webhook get acme ci --output json").await.json(0)["payloadUrl"], url);

    assert!(
        desk.run("webhook ping acme ci").await.text(0).starts_with("The ping got the response 200 after ")
    );
    desk.receiver.then([Reply::status(500)]);
    assert!(desk.run("webhook ping acme ci").await.text(1).starts_with("The ping was refused: 500 after "));

    desk.run("webhook remove acme ci").await.said(2, "pass --yes");
    assert_eq!(desk.run("webhook remove acme ci --yes").await.text(0), "Removed the webhook ci.\n");
    desk.run("webhook get acme ci").await.said(5, "(404 Not Found)");
    desk.run("webhook remove acme ci --yes").await.said(5, "(404 Not Found)");
    assert_eq!(desk.run("webhook list acme --output json").await.json(0), json!([]));
}

#[tokio::test]
async fn webhooks_of_stacks_and_environments() {
    let desk = Desk::open().await;
    let url = desk.receiver.url("/hook");
    for scope in ["--stack website/prod", "--env website/dev"] {
        let new = format!("webhook new acme {scope} --name ci --url {url} --inactive --output json");
        let made = desk.run(&new).await.json(0);
        assert_eq!((&made["projectName"], &made["active"]), (&json!("website"), &json!(false)));
        assert!(made.get("secret").is_none(), "{made}");
        desk.run(&format!("webhook edit acme ci {scope} --resume")).await.text(0);
        let got = desk.run(&format!("webhook get acme ci {scope}")).await;
        assert!(got.text(0).contains("state             active\n"), "{}", got.out);
        assert!(got.out.contains("acme/website/"), "{}", got.out);
    }
    let of_stack = desk.run("webhook list acme --stack website/prod --output json").await.json(0);
    assert_eq!(of_stack.as_array().map(Vec::len), Some(1));
    assert_eq!(of_stack[0]["stackName"], "prod");
    let cut = desk.run("webhook list acme --limit 1").await;
    assert_eq!(cut.text(0).lines().count(), 2);
    assert_eq!(cut.error, "the first 1; there are more: --limit or --all\n");
    desk.run("webhook get acme ci").await.said(5, "(404 Not Found)");
    desk.run("delivery list acme --webhook ci").await.said(1, "several webhooks of acme are called ci");
    desk.run("delivery list acme --webhook nobody").await.said(5, "there is no webhook nobody");
}

#[tokio::test]
async fn edits_change_what_they_name() {
    let desk = Desk::open().await;
    let url = desk.receiver.url("/hook");
    let new = format!("webhook new acme --name ci --url {url} --filter update_failed --group policies");
    desk.run(&new).await.text(0);
    let edit =
        async |flags: &str| desk.run(&format!("webhook edit acme ci --output json {flags}")).await.json(0);
    let edited =
        edit("--add-filter drift_detected --remove-group policies --display-name 'For the team'").await;
    assert_eq!(edited["filters"], json!(["update_failed", "drift_detected"]));
    assert_eq!((&edited["groups"], &edited["displayName"]), (&json!([]), &json!("For the team")));
    assert_eq!(edited["payloadUrl"], url);
    let edited = edit("--everything").await;
    assert_eq!(edited["filters"], json!([]));

    edit("--pause 'the endpoint moves' --pace 60 --standard-headers off").await;
    let listed = desk.run("webhook list acme --output json").await.json(0);
    assert_eq!(listed[0]["pauseReason"], "the endpoint moves");
    assert_eq!((&listed[0]["attemptsPerMinute"], &listed[0]["standardHeaders"]), (&json!(60), &json!(false)));
    let shown = desk.run("webhook get acme ci").await;
    assert!(shown.text(0).contains("state             inactive: the endpoint moves\n"), "{}", shown.out);
    assert!(shown.out.contains("pace              at most 60 attempts a minute\n"), "{}", shown.out);
    edit("--resume --pace default").await;
    let listed = desk.run("webhook list acme --state active --output json").await.json(0);
    assert_eq!((listed[0].get("attemptsPerMinute"), listed[0].get("pauseReason")), (None, None));
}

/// The circuit breaker opens after five failures in a row.
#[tokio::test]
async fn get_says_why_a_circuit_breaker_is_open() {
    let desk = Desk::open().await;
    desk.receiver.answer(Reply::status(500));
    desk.webhook("down").await;
    for _ in 0..5 {
        desk.publish().await;
    }
    let look = || async {
        let shown = desk.run("webhook get acme down").await.text(0).to_owned();
        shown.contains("open: backing off").then_some(shown)
    };
    let shown = wait::until("an open circuit breaker", look).await;
    assert!(shown.contains(", because the endpoint answered 500 ("), "{shown}");
    let shown = desk.run("webhook get acme down --output json").await.json(0);
    assert_eq!(shown["breaker"]["because"], "the endpoint answered 500");
}

/// `list`, `get`, `new` and `edit` print a webhook with the same fields: all fields of both APIs.
#[tokio::test]
async fn a_webhook_has_one_shape_in_json() {
    let desk = Desk::open().await;
    let url = desk.receiver.url("/hook");
    let new = format!(
        "webhook new acme --stack website/prod --name ci --url {url} --filter update_failed --output json"
    );
    let made = desk.run(&new).await.json(0);
    desk.webhook("other").await;
    let edited = desk.run("webhook edit acme ci --stack website/prod --pace 60 --output json").await.json(0);
    let got = desk.run("webhook get acme ci --stack website/prod --output json").await.json(0);
    let listed = desk.run("webhook list acme --stack website/prod --output json").await.json(0);
    assert_eq!((&listed[0], &edited), (&got, &got));
    for (name, expected) in [
        ("organizationName", json!("acme")),
        ("projectName", json!("website")),
        ("stackName", json!("prod")),
        ("scope", json!("stack")),
        ("payloadUrl", json!(url)),
        ("filters", json!(["update_failed"])),
        ("groups", json!([])),
        ("hasSecret", json!(false)),
        ("secretCiphertext", json!("")),
        ("active", json!(true)),
        ("state", json!("active")),
        ("standardHeaders", json!(true)),
        ("attemptsPerMinute", json!(60)),
    ] {
        assert_eq!(got[name], expected, "{name}");
    }
    assert!(got["id"].is_string() && made["id"] == got["id"], "{made} {got}");
}

#[tokio::test]
async fn edits_that_change_nothing_or_everything_are_refused() {
    let desk = Desk::open().await;
    let url = desk.receiver.url("/hook");
    desk.run(&format!("webhook new acme --name ci --url {url} --filter update_failed")).await.text(0);
    for (flags, code, said) in [
        ("--remove-filter nosuch", 5, "nosuch is not among its filters; it asks for update_failed"),
        ("--remove-group nosuch", 5, "nosuch is not among its groups"),
        ("--remove-filter update_failed", 1, "nothing would be left that the webhook asks for"),
        ("--add-filter nosuch", 1, "nosuch"),
        ("--pace 0", 2, "must be a number from 1 to 60000, or default"),
        ("--pace -1", 2, "must be a number from 1 to 60000, or default"),
        ("--pace 60001", 2, "must be a number from 1 to 60000, or default"),
    ] {
        desk.run(&format!("webhook edit acme ci {flags}")).await.said(code, said);
    }
    let refused = desk.run("webhook edit acme ci --pause ''").await;
    assert!(!refused.error.contains("was changed"), "{}", refused.error);
    for (line, said) in [
        ("webhook list acme --limit 0", "must be a whole number from 1"),
        ("webhook list acme --limit -1", "must be a whole number from 1"),
        ("event list acme --limit 99999999999999999999", "must be a whole number from 1"),
        ("listen --count 0", "must be a whole number from 1"),
        ("webhook list acme --token hunter2", "set STACKBELL_TOKEN, or STACKBELL_TOKEN_FILE"),
        ("serve --retention-days -1", "must be a whole number"),
        ("serve --retention-days 0", "at least 1"),
        (
            "serve --master-key hunter2",
            "set STACKBELL_MASTER_KEY, or name a file that holds it with --master-key-file",
        ),
    ] {
        let ran = desk.run(line).await;
        ran.said(2, said);
        assert!(!ran.error.contains("hunter2"), "{}", ran.error);
    }
    let got = desk.run("webhook get acme ci --output json").await.json(0);
    assert_eq!((&got["filters"], got.get("attemptsPerMinute")), (&json!(["update_failed"]), None));
}

#[tokio::test]
async fn secrets_come_from_files_input_and_environment_alone() {
    let desk = Desk::open().await;
    let url = desk.receiver.url("/hook");
    std::fs::write(desk.folder().join("secret.txt"), "from a file\n").expect("written");
    let new =
        |name: &str, flags: &str| format!("webhook new acme --name {name} --url {url} --output json {flags}");
    let from_file = desk.run(&new("a", "--secret-file secret.txt")).await.json(0);
    let same = desk.run_with(&new("b", "--secret -"), "from a file").await.json(0);
    let mut command = desk.command(&new("c", "--secret-env"));
    command.env("STACKBELL_WEBHOOK_SECRET", "from the environment");
    let from_environment = ended(command).await.json(0);
    for made in [&from_file, &same, &from_environment] {
        assert_eq!(made["hasSecret"], true);
        assert!(made.get("secret").is_none(), "{made}");
    }
    let generated = desk.run(&new("d", "--generate-secret")).await.json(0);
    assert!(generated["secret"].as_str().is_some_and(|secret| secret.starts_with("whsec_")));
    desk.run(&new("e", "--secret hunter2")).await.said(2, "arguments can be read by others");
    desk.run(&new("e", "--secret-file nowhere")).await.said(1, "cannot read the secret from nowhere");
    desk.run_with(&new("e", "--secret -"), "\n").await.said(1, "there is no secret in standard input");
    let removed = desk.run("webhook edit acme a --remove-secret --output json").await.json(0);
    assert_eq!(removed["hasSecret"], false);
}

#[tokio::test]
async fn errors_of_the_server_are_printed() {
    let desk = Desk::open().await;
    let url = desk.receiver.url("/hook");
    desk.run(&format!("webhook new acme --url {url} --filter never")).await.said(1, "never");
    desk.run(&format!("webhook new elsewhere --url {url}")).await.said(5, "(404 Not Found)");
    let mut command = desk.command("webhook list acme");
    command.env("STACKBELL_TOKEN", "wrong");
    ended(command).await.said(4, "(401 Unauthorized)");
}
