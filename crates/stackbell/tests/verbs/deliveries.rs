use serde_json::Value;
use stackbell_testkit::{Reply, wait};

use crate::support::Desk;

/// Waits until the only delivery is in this state, and returns it.
async fn delivery(desk: &Desk, state: &str) -> Value {
    wait::until("the delivery", || async {
        let listed = desk.run(&format!("delivery list acme --state {state} --output json")).await.json(0);
        listed.as_array().and_then(|items| items.first().cloned())
    })
    .await
}

fn id(delivery: &Value) -> &str {
    delivery["id"].as_str().expect("an id")
}

#[tokio::test]
async fn a_delivery_is_listed_shown_and_sent_again() {
    let desk = Desk::open().await;
    desk.webhook("ci").await;
    let event = desk.publish().await;
    let delivered = delivery(&desk, "succeeded").await;
    let id = id(&delivered);

    let listed = desk.run("delivery list acme --webhook ci --stack website/prod --since 1h").await;
    let row: Vec<&str> = listed.text(0).lines().nth(1).expect("a row").split_whitespace().collect();
    assert_eq!(
        (row[0], &row[2..]),
        (id, &["stack_update", "website/prod", "ci", "succeeded", "1", "200"][..])
    );
    assert!(row[1].len() == "2026-05-13T06:19:04Z".len() && row[1].ends_with('Z'), "{row:?}");
    for none in ["--until 1h", "--kind ping", "--state failed", "--stack website/dev"] {
        assert_eq!(desk.run(&format!("delivery list acme {none} --output json")).await.out, "[]\n", "{none}");
    }

    let shown = desk.run(&format!("delivery show acme {id}")).await;
    for part in [
        format!("event       {event}\n"),
        "webhook     ci (organization)\n".to_owned(),
        "state       succeeded\n".to_owned(),
        format!("  > POST {}\n", desk.receiver.url("/hook")),
        "  \"projectName\": \"website\",\n".to_owned(),
    ] {
        assert!(shown.text(0).contains(&part), "{part} is not in\n{}", shown.out);
    }
    let as_json = desk.run(&format!("delivery show acme {id} --output json")).await.json(0);
    assert_eq!(as_json["history"].as_array().map(Vec::len), Some(1));

    let again = desk.run(&format!("delivery redeliver acme {id}")).await;
    assert!(again.text(0).starts_with("The delivery got the response 200 after "), "{}", again.out);
    desk.receiver.then([Reply::status(503)]);
    let refused = desk.run(&format!("delivery redeliver acme {id} --output json")).await.json(1);
    assert_eq!(refused["responseCode"], 503);
    assert_eq!(desk.receiver.count(), 3);

    desk.run(&format!("delivery cancel acme {id}")).await.said(1, "(409 Conflict)");
    let unknown = "00000000-0000-7000-8000-000000000000";
    desk.run(&format!("delivery show acme {unknown}")).await.said(5, "(404 Not Found)");
}

#[tokio::test]
async fn a_pending_delivery_is_cancelled_and_tried_again() {
    let desk = Desk::open().await;
    desk.webhook("ci").await;
    desk.receiver.then([Reply::status(500)]);
    desk.publish().await;
    let pending = delivery(&desk, "pending").await;
    let id = id(&pending);
    assert_eq!(
        desk.run(&format!("delivery cancel acme {id}")).await.text(0),
        format!("Cancelled the delivery {id}.\n")
    );
    let listed = desk.run("delivery list acme").await;
    assert!(listed.text(0).contains("cancelled: asked"), "{}", listed.out);
    assert_eq!(
        desk.run(&format!("delivery retry acme {id}")).await.text(0),
        format!("The delivery {id} is tried now.\n")
    );
    delivery(&desk, "succeeded").await;
}

#[tokio::test]
async fn failed_deliveries_are_recovered() {
    let desk = Desk::open().await;
    desk.webhook("ci").await;
    desk.receiver.answer(Reply::status(500));
    for _ in 0..3 {
        desk.publish().await;
    }
    let pending = wait::until("three pending deliveries", || async {
        let listed = desk.run("delivery list acme --state pending --output json").await.json(0);
        listed.as_array().filter(|items| items.len() == 3).cloned()
    });
    for delivery in pending.await {
        desk.run(&format!("delivery cancel acme {}", id(&delivery))).await.text(0);
    }
    desk.receiver.answer(Reply::status(200));
    let recovered = desk.run("delivery recover acme --webhook ci --since 1h --wait").await;
    assert_eq!(recovered.text(0), "3 deliveries are tried again.\n");
    assert!(recovered.error.contains("3 of 3 made pending\n"), "{}", recovered.error);
    assert!(
        recovered.error.contains("none is pending any more; 0 deliveries have failed"),
        "{}",
        recovered.error
    );
    let succeeded = desk.run("delivery list acme --state succeeded --output json").await.json(0);
    assert_eq!(succeeded.as_array().map(Vec::len), Some(3));

    let nothing = desk.run("delivery recover acme --webhook ci --since 1h --output json").await.json(0);
    assert_eq!((&nothing["state"], &nothing["rearmed"]), (&"done".into(), &0.into()));
}
