use crate::support::{Desk, ended};

#[tokio::test]
async fn tokens_of_others_are_an_operators_to_make() {
    let desk = Desk::open().await;
    desk.run("user new auditor --name Auditor").await.text(0);
    desk.run("org member set acme auditor viewer").await.text(0);
    let made = desk.run("token new --user auditor --name laptop --role viewer --output json").await.json(0);
    let (id, token) = (made["id"].as_str().expect("an id"), made["token"].as_str().expect("a token"));
    let listed = desk.run("token list --user auditor").await;
    assert!(listed.text(0).lines().any(|line| line.starts_with(id)), "{}", listed.out);
    let as_auditor = async |line: &str| {
        let mut command = desk.command(line);
        command.env("STACKBELL_TOKEN", token);
        ended(command).await
    };
    as_auditor("webhook list acme").await.text(0);
    as_auditor("webhook new acme --url https://a.example").await.said(4, "(403 Forbidden)");
    as_auditor("audit --instance").await.said(4, "(403 Forbidden)");
    desk.run(&format!("token revoke {id} --user auditor")).await.text(0);
    as_auditor("webhook list acme").await.said(4, "(401 Unauthorized)");
}

#[tokio::test]
async fn a_first_token_has_the_role_and_the_life_that_were_asked_for() {
    let desk = Desk::open().await;
    let plain = desk.run("user new reader").await;
    assert!(plain.text(0).contains("has the role viewer and expires at 20"), "{}", plain.out);
    let asked = desk.run("user new builder --role member --expires-in 1d --output json").await.json(0);
    assert_eq!(asked["tokenRole"], "member");
    let plain = desk.run("user new third --output json").await.json(0);
    let end = |made: &serde_json::Value| made["tokenExpiresAt"].as_str().expect("a moment").to_owned();
    assert!(end(&asked) < end(&plain), "a day ends before 90 days: {asked} {plain}");
    desk.run("user new fourth --role king").await.said(2, "must be admin, member, publisher, viewer");
}

#[tokio::test]
async fn the_audit_log_is_printed() {
    let desk = Desk::open().await;
    desk.webhook("ci").await;
    let audit = desk.run("audit acme --limit 1").await;
    let row: Vec<&str> = audit.text(0).lines().nth(1).expect("a row").split_whitespace().collect();
    assert_eq!(row[1..3], ["admin", "webhook.create"], "{row:?}");
    desk.run("sending hold --reason 'a test'").await.text(0);
    let entries = desk.run("audit --instance --output json --all").await.json(0);
    assert!(entries.as_array().is_some_and(|entries| !entries.is_empty()));
}
