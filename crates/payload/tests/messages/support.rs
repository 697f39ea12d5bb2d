use std::path::{Path, PathBuf};

use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::event::PAYLOAD_BYTES_MAX;
use stackbell_model::event::{Event, Source};
use stackbell_model::ids::{EventId, EventKey, OrganizationId};
use stackbell_model::webhook::Format;
use stackbell_payload::raw::{Filling, Party, read_event};
use uuid::Uuid;

pub(crate) const CHAT_FORMATS: [Format; 2] = [Format::Slack, Format::MsTeams];

pub(crate) fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// An accepted event of this payload.
pub(crate) fn event(kind: &str, payload: &str) -> Event {
    let organization = Party { name: "Crazy Adventures", login: "crazy-adventures", avatar_url: "" };
    let filling = Filling { organization, user: None };
    let classified = read_event(kind, payload, &filling, PAYLOAD_BYTES_MAX)
        .unwrap_or_else(|error| panic!("{error}: {payload}"));
    Event {
        key: EventKey::from_uuid(Uuid::nil()),
        id: EventId::from_uuid(Uuid::nil()),
        organization: OrganizationId::from_uuid(Uuid::nil()),
        kind: classified.kind,
        filters: classified.filters,
        subject: classified.subject,
        payload: classified.payload,
        digest: None,
        accepted_at: Timestamp::from_millis(0),
        source: Source::Api,
        token: None,
    }
}

/// The event's message in a chat format.
pub(crate) fn render(format: Format, event: &Event) -> Bytes {
    stackbell_payload::render(format, event, None).expect("chat formats have a body of their own")
}
