//! Events.

use crate::history::StoredEvent;
use stackbell_model::event::{Event, Source};
use stackbell_model::filter::{EventKind, Filter};
use stackbell_model::names::{EnvironmentName, ProjectName, StackName};
use stackbell_model::scope::Subject;

use super::Columns;

/// The columns of `events e` and its `organizations o`.
#[macro_export]
macro_rules! event_columns {
    () => {
        "e.key, e.id, o.id, e.kind, e.filters, e.subject_kind, e.subject_project, e.subject_name, e.digest, \
         e.accepted_at, e.source, e.token, e.deliveries, e.payload"
    };
}

/// Reads an event: `key`, `id`, its organization's id, then `kind` to `payload`.
///
/// # Errors
/// If the row is not valid.
pub fn read_event<'row, C: Columns<'row>>(cursor: &mut C) -> Result<StoredEvent, C::Fault> {
    cursor.enter("events");
    let key = cursor.id("key")?;
    let id = cursor.id("id")?;
    let organization = cursor.id("organization_number")?;
    let kind = cursor.word("kind", EventKind::parse)?;
    let filters = cursor.words("filters", Filter::parse)?;
    let subject = read_subject(cursor)?;
    let digest = cursor.digest_or_null("digest")?;
    let accepted_at = cursor.time("accepted_at")?;
    let source = cursor.word("source", Source::parse)?;
    let token = cursor.id_or_null("token")?;
    let deliveries = cursor.number("deliveries")?;
    let payload = cursor.decompressed_or_null("payload")?.unwrap_or_default();
    let event =
        Event { key, id, organization, kind, filters, subject, payload, digest, accepted_at, source, token };
    Ok(StoredEvent { event, deliveries })
}

/// Reads the columns `subject_kind` to `subject_name`.
pub fn read_subject<'row, C: Columns<'row>>(cursor: &mut C) -> Result<Subject, C::Fault> {
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

/// Splits a subject into its columns: kind, project, name.
pub fn subject_columns(subject: &Subject) -> [&str; 3] {
    match subject {
        Subject::Stack { project, stack } => ["stack", project.as_str(), stack.as_str()],
        Subject::Environment { project, environment } => {
            ["environment", project.as_str(), environment.as_str()]
        }
    }
}
