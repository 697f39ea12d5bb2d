use crate::support::{Desk, UPDATE};

#[tokio::test]
async fn events_are_sent_listed_and_shown() {
    let desk = Desk::open().await;
    desk.webhook("ci").await;
    std::fs::write(desk.folder().join("payload.json"), UPDATE).expect("written");
    let sent = desk.run("event send acme --kind stack_update payload.json").await;
    let sent: Vec<&str> = sent.text(0).split_whitespace().collect();
    assert_eq!(sent[1..], ["stack_update", "1", "delivery"]);
    let id = sent[0];

    let lines = format!("{{\"kind\":\"stack_update\",\"payload\":{UPDATE}}}\nnonsense\n");
    std::fs::write(desk.folder().join("events.ndjson"), lines).expect("written");
    let sent = desk.run("event send acme events.ndjson").await;
    assert!(sent.text(1).starts_with("1 accepted, 0 there already, 1 refused\nline 2: "), "{}", sent.out);
    assert_eq!(sent.error, "", "there is no bar without a terminal");

    let listed = desk.run("event list acme --limit 1").await;
    assert_eq!(listed.text(0).lines().count(), 2);
    assert_eq!(listed.error, "the first 1; there are more: --limit or --all\n");
    let all = desk.run("event list acme --all --output json").await.json(0);
    assert_eq!(all.as_array().map(Vec::len), Some(2));

    let shown = desk.run(&format!("event show acme {id}")).await;
    for part in [
        "subject     website/prod\n",
        "filters     update_failed\n",
        "deliveries  1\n",
        "  \"kind\": \"update\"",
    ] {
        assert!(shown.text(0).contains(part), "{part} is not in\n{}", shown.out);
    }
    desk.run("event show acme 00000000-0000-4000-8000-000000000000").await.said(5, "(404 Not Found)");
}
