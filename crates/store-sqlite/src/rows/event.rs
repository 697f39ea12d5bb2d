//! Events.

use rusqlite::{Statement, params};
use stackbell_model::event::{Event, Source};
use stackbell_model::filter::{EventKind, Filter};
use stackbell_model::names::{EnvironmentName, ProjectName, StackName};
use stackbell_model::scope::Subject;
use stackbell_store::history::StoredEvent;

use crate::error::Fault;
use crate::rows::packed::{pack, size};
use crate::rows::{Cursor, Id, join};

/// Of `events e` and its `organizations o`.
macro_rules! event_columns {
    () => {
        "e.key, e.id, o.id, e.kind, e.filters, e.subject_kind, e.subject_project, e.subject_name, e.digest, \
         e.accepted_at, e.source, e.token, e.deliveries, e.payload"
    };
}
pub(crate) use event_columns;

pub(crate) fn read_event(cursor: &mut Cursor<'_>) -> Result<StoredEvent, Fault> {
    cursor.enter("events");
    let key = cursor.id("key")?;
    let id = cursor.id("id")?;
    let organization = cursor.id("organization_number")?;
    let kind = cursor.word("kind", EventKind::parse)?;
    let filters = cursor.words("filters", Filter::parse)?;
    let subject = read_subject(cursor)?;
    let digest = cursor.get("digest")?;
    let accepted_at = cursor.time("accepted_at")?;
    let source = cursor.word("source", Source::parse)?;
    let token = cursor.id_or_null("token")?;
    let deliveries = cursor.get("deliveries")?;
    let payload = cursor.unpacked_or_null("payload")?.unwrap_or_default();
    let event =
        Event { key, id, organization, kind, filters, subject, payload, digest, accepted_at, source, token };
    Ok(StoredEvent { event, deliveries })
}

/// The columns `subject_kind` to `subject_name`.
pub(crate) fn read_subject(cursor: &mut Cursor<'_>) -> Result<Subject, Fault> {
    let kind = cursor.text("subject_kind")?;
    match kind {
        "stack" => Ok(Subject::Stack {
            project: cursor.parsed("subject_project", ProjectName::parse)?,
            stack: cursor.parsed("subject_name", StackName::parse)?,
        }),
        "environment" => Ok(Subject::Environment {
            project: cursor.parsed("subject_project", ProjectName::parse)?,
            environment: cursor.parsed("subject_name", EnvironmentName::parse)?,
        }),
        _ => Err(cursor.fault("subject_kind", &"is no kind of subject")),
    }
}

/// Inserts nothing when the organization has an event of this id.
pub(crate) const INSERT_EVENT: &str = "/* insert_event */ INSERT INTO events \
    (organization_number, key, id, kind, filters, subject_kind, subject_project, subject_name, digest, \
     accepted_at, source, token, deliveries, deliveries_left, payload) \
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?13, ?14) \
    ON CONFLICT (organization_number, id) DO NOTHING";

/// A subject's columns: kind, project, name.
pub(crate) fn subject_columns(subject: &Subject) -> [&str; 3] {
    match subject {
        Subject::Stack { project, stack } => ["stack", project.as_str(), stack.as_str()],
        Subject::Environment { project, environment } => {
            ["environment", project.as_str(), environment.as_str()]
        }
    }
}

/// Inserts an event through [`INSERT_EVENT`]; the bytes that it stored if it did.
pub(crate) fn insert_event(
    statement: &mut Statement<'_>,
    organization_number: i64,
    event: &Event,
    deliveries: u32,
) -> Result<Option<i64>, rusqlite::Error> {
    let [subject_kind, subject_project, subject_name] = subject_columns(&event.subject);
    let payload = pack(&event.payload);
    let changed = statement.execute(params![
        organization_number,
        event.key.bytes(),
        event.id.bytes(),
        event.kind.as_str(),
        join(event.filters.iter().map(Filter::as_str)),
        subject_kind,
        subject_project,
        subject_name,
        event.digest,
        event.accepted_at.as_millis(),
        event.source.as_str(),
        event.token.as_ref().map(Id::bytes),
        deliveries,
        payload,
    ])?;
    Ok((changed == 1).then_some(size(&payload)))
}
