//! Responses to published events, and events as they are read.

use serde::Serialize;
use serde_json::value::RawValue;
use stackbell_model::event::Event;
use stackbell_model::filter::{EventKind, Filter, FilterSet};
use stackbell_model::ids::EventId;
use stackbell_model::names::OrganizationName;
use stackbell_model::scope::ScopeNames;
use utoipa::ToSchema;

use crate::rest::rfc3339;

/// The maximum number of rejected lines that a summary lists.
pub const REFUSALS_MAX: usize = 100;

/// An event that was accepted, now or before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct EventAccepted {
    /// Its id: chosen by the producer or generated.
    pub id: String,
    /// Its kind.
    pub kind: &'static str,
    /// Every filter that selects it.
    pub filters: Vec<&'static str>,
    /// The number of webhooks that it is sent to.
    pub deliveries: u64,
}

impl EventAccepted {
    /// Makes a response for an event with this number of deliveries.
    pub fn new(id: EventId, kind: EventKind, filters: FilterSet, deliveries: u64) -> Self {
        Self { id: id.to_string(), kind: kind.as_str(), filters: words(filters), deliveries }
    }
}

fn words(filters: FilterSet) -> Vec<&'static str> {
    filters.iter().map(Filter::as_str).collect()
}

/// A stored event.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventResponse {
    /// Its id, which receivers see as `Pulumi-Webhook-Id`.
    pub id: String,
    /// Its kind.
    pub kind: &'static str,
    /// Every filter that selects it.
    pub filters: Vec<&'static str>,
    /// Its organization.
    pub organization: String,
    /// The project of its stack or environment.
    pub project_name: String,
    /// Its stack; absent for events about an environment.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub stack_name: Option<String>,
    /// Its environment; absent for events about a stack.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, required = false)]
    pub environment_name: Option<String>,
    /// When it was accepted: RFC 3339, UTC, milliseconds.
    #[schema(format = DateTime)]
    pub accepted_at: String,
    /// Its origin.
    pub source: &'static str,
    /// The number of webhooks that it was sent to.
    pub deliveries: u64,
    /// The payload that receivers of format `raw` get.
    #[schema(value_type = Object)]
    pub payload: Box<RawValue>,
}

/// A stored payload is not JSON: the store is corrupt.
#[derive(Debug, thiserror::Error)]
#[error("the payload of event {id} is not JSON")]
pub struct PayloadNotJson {
    /// The event.
    pub id: EventId,
}

impl EventResponse {
    /// Converts `event`, of the organization with this name, with this number of deliveries.
    ///
    /// # Errors
    /// [`PayloadNotJson`].
    pub fn new(
        event: &Event,
        organization: &OrganizationName,
        deliveries: u64,
    ) -> Result<Self, PayloadNotJson> {
        let ScopeNames { project: _, stack, environment } = event.subject.names();
        Ok(Self {
            id: event.id.to_string(),
            kind: event.kind.as_str(),
            filters: words(event.filters),
            organization: organization.to_string(),
            project_name: event.subject.project().to_string(),
            stack_name: stack.map(str::to_owned),
            environment_name: environment.map(str::to_owned),
            accepted_at: rfc3339(event.accepted_at),
            source: event.source.as_str(),
            deliveries,
            payload: serde_json::from_slice(&event.payload).map_err(|_| PayloadNotJson { id: event.id })?,
        })
    }
}

/// The result of one line of NDJSON. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum LineResult {
    /// The event was accepted.
    Accepted {
        /// The line.
        line: u64,
        /// The event.
        #[serde(flatten)]
        event: EventAccepted,
    },
    /// The event had been accepted before; nothing is delivered again.
    Duplicate {
        /// The line.
        line: u64,
        /// The event.
        #[serde(flatten)]
        event: EventAccepted,
    },
    /// The line was rejected.
    Refused(Refusal),
}

/// A line that was rejected.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Refusal {
    /// The line, from 1.
    pub line: u64,
    /// The HTTP status that the line would have had as a single request.
    pub code: u16,
    /// The reason.
    pub message: String,
}

/// The result of all lines of NDJSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct EventsSummary {
    /// The number of accepted events.
    pub accepted: u64,
    /// The number of duplicates.
    pub duplicates: u64,
    /// The number of rejected lines.
    pub refused: u64,
    /// The first rejected lines, at most 100.
    pub refusals: Vec<Refusal>,
}

impl EventsSummary {
    /// Counts one line.
    pub fn add(&mut self, result: LineResult) {
        match result {
            LineResult::Accepted { .. } => self.accepted += 1,
            LineResult::Duplicate { .. } => self.duplicates += 1,
            LineResult::Refused(refusal) => {
                self.refused += 1;
                if self.refusals.len() < REFUSALS_MAX {
                    self.refusals.push(refusal);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use stackbell_model::Timestamp;
    use stackbell_model::event::Source;
    use stackbell_model::ids::{EventKey, OrganizationId};
    use stackbell_model::names::{EnvironmentName, ProjectName, StackName};
    use stackbell_model::scope::Subject;
    use uuid::Uuid;

    use super::*;

    const ID: Uuid = uuid::uuid!("c64dd9a8-be18-4e6a-8208-2bb2efbbd13a");

    fn check(value: &impl Serialize, expected: &str) {
        assert_eq!(serde_json::to_string(value).expect("plain data"), expected);
    }

    fn accepted() -> EventAccepted {
        let filters = FilterSet::EMPTY.with(Filter::DriftDetected).with(Filter::DriftDetectionSucceeded);
        EventAccepted::new(EventId::from_uuid(ID), EventKind::DriftDetection, filters, 2)
    }

    const ACCEPTED: &str = r#""id":"c64dd9a8-be18-4e6a-8208-2bb2efbbd13a","kind":"drift_detection","filters":["drift_detected","drift_detection_succeeded"],"deliveries":2}"#;

    #[test]
    fn results_of_events() {
        check(&accepted(), &format!("{{{ACCEPTED}"));
        let line = LineResult::Accepted { line: 1, event: accepted() };
        check(&line, &format!(r#"{{"result":"accepted","line":1,{ACCEPTED}"#));
        let line = LineResult::Duplicate { line: 2, event: accepted() };
        check(&line, &format!(r#"{{"result":"duplicate","line":2,{ACCEPTED}"#));
        let refusal = Refusal { line: 3, code: 400, message: "no".to_owned() };
        let line = LineResult::Refused(refusal);
        check(&line, r#"{"result":"refused","line":3,"code":400,"message":"no"}"#);
    }

    #[test]
    fn summaries_keep_the_first_refusals() {
        let mut summary = EventsSummary::default();
        summary.add(LineResult::Accepted { line: 1, event: accepted() });
        summary.add(LineResult::Duplicate { line: 2, event: accepted() });
        let one = Refusal { line: 3, code: 400, message: "no".to_owned() };
        summary.add(LineResult::Refused(one.clone()));
        let expected =
            r#"{"accepted":1,"duplicates":1,"refused":1,"refusals":[{"line":3,"code":400,"message":"no"}]}"#;
        check(&summary, expected);
        (4..200).for_each(|line| summary.add(LineResult::Refused(Refusal { line, ..one.clone() })));
        assert_eq!((summary.refused, summary.refusals.len()), (197, REFUSALS_MAX));
    }

    fn event(subject: Subject, payload: &'static str) -> Event {
        Event {
            key: EventKey::from_uuid(Uuid::nil()),
            id: EventId::from_uuid(ID),
            organization: OrganizationId::from_uuid(Uuid::nil()),
            kind: EventKind::Deployment,
            filters: FilterSet::EMPTY,
            subject,
            payload: Bytes::from_static(payload.as_bytes()),
            digest: None,
            accepted_at: Timestamp::from_millis(1_778_653_144_070),
            source: Source::Api,
            token: None,
        }
    }

    #[test]
    fn events_as_they_are_read() {
        let organization = OrganizationName::parse("o").expect("valid");
        let project = ProjectName::parse("p").expect("valid");
        let of_stack =
            Subject::Stack { project: project.clone(), stack: StackName::parse("s").expect("valid") };
        let environment = EnvironmentName::parse("e").expect("valid");
        let of_environment = Subject::Environment { project, environment };
        let shown = |subject: &Subject| {
            EventResponse::new(&event(subject.clone(), r#"{"n":1.50}"#), &organization, 3)
        };
        let head = r#"{"id":"c64dd9a8-be18-4e6a-8208-2bb2efbbd13a","kind":"deployment","filters":[],"organization":"o","projectName":"p","#;
        let tail =
            r#""acceptedAt":"2026-05-13T06:19:04.070Z","source":"api","deliveries":3,"payload":{"n":1.50}}"#;
        check(&shown(&of_stack).expect("JSON"), &format!(r#"{head}"stackName":"s",{tail}"#));
        check(&shown(&of_environment).expect("JSON"), &format!(r#"{head}"environmentName":"e",{tail}"#));
        assert!(EventResponse::new(&event(of_stack, "{"), &organization, 0).is_err());
    }
}
