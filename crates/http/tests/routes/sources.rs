//! Events of sources other than HTTP clients: they are published through the same function, together with the source's cursor.

use serde_json::Value;
use stackbell_app::Code;
use stackbell_app::intake::{AcceptedChange, Intake, NewEvent, SentEvent};
use stackbell_model::event::Source;
use stackbell_model::ids::SourceId;
use stackbell_model::source::{Change, SourceCursor};
use uuid::Uuid;

use crate::support::{ADMIN, ORGANIZATION, World};

fn advance(from: Option<&str>, to: &str) -> Change {
    let cursor = |text| SourceCursor::parse(text).expect("a cursor");
    Change::AdvanceCursor { source: SourceId::from_uuid(Uuid::nil()), from: from.map(cursor), to: cursor(to) }
}

fn event(intake: &Intake<'_>) -> NewEvent {
    let payload = r#"{"action":"created","projectName":"website","stackName":"prod"}"#;
    intake.read(SentEvent { id: None, kind: "stack", payload }).expect("a valid event")
}

async fn count_events(world: &World) -> usize {
    let path = format!("/v1/orgs/{ORGANIZATION}/events");
    world.admin("GET", &path, Value::Null).await.expect(200).as_array().expect("a list").len()
}

/// The events follow the same rules as published ones. A change from another cursor is refused with its events.
#[tokio::test]
async fn events_of_a_source_come_in_with_its_cursor() {
    let world = World::start().await;
    let caller = world.app.authenticate(ADMIN, None).await.expect("a caller");
    let publisher = world.app.admit_publisher(caller, ORGANIZATION).await.expect("the right to publish");
    let intake = world.app.intake(&publisher, Source::Api);

    let accepted = intake.accept_change(advance(None, "a"), vec![event(&intake), event(&intake)]).await;
    assert!(matches!(accepted, Ok(AcceptedChange::WithEvents(events)) if events.len() == 2));
    let accepted = intake.accept_change(advance(Some("a"), "b"), Vec::new()).await;
    assert!(matches!(accepted, Ok(AcceptedChange::WithEvents(events)) if events.is_empty()));
    assert_eq!(count_events(&world).await, 2);

    let refused = intake.accept_change(advance(Some("a"), "c"), vec![event(&intake)]).await;
    assert_eq!(refused.expect_err("refused").code, Code::Conflict);
    assert_eq!(count_events(&world).await, 2);
}
