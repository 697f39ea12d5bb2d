//! The subject of a payload, and the filters that select it. Source: wire-facts.md#kinds-filters-groups.

use stackbell_model::filter::{EventKind, Filter, FilterSet};
use stackbell_model::names::{EnvironmentName, NameError, ProjectName, StackName};
use stackbell_model::scope::Subject;

use super::schema::About;
use crate::json::CanonicalObject;
use stackbell_model::field::FieldError;

/// Reads the subject. Presence and type of the names were checked before.
pub(super) fn subject(object: &CanonicalObject, about: About) -> Result<Subject, FieldError> {
    let project = name(object, "projectName", ProjectName::parse)?;
    Ok(match about {
        About::Stack => Subject::Stack { project, stack: name(object, "stackName", StackName::parse)? },
        About::Environment => Subject::Environment {
            project,
            environment: name(object, "environmentName", EnvironmentName::parse)?,
        },
    })
}

fn name<N>(
    object: &CanonicalObject,
    field: &str,
    parse: fn(&str) -> Result<N, NameError>,
) -> Result<N, FieldError> {
    let value = object.get(field).ok_or_else(|| FieldError::missing(field))?;
    let text = value.text().ok_or_else(|| FieldError::invalid(field, "must be a string"))?;
    parse(&text).map_err(|error| FieldError::invalid(field, error))
}

/// Every filter that selects the payload. A skipped deployment has none: only webhooks without filters get it.
pub(super) fn filters(object: &CanonicalObject, kind: EventKind) -> FilterSet {
    let of_kind = Filter::ALL.iter().copied().filter(|filter| filter.kind() == kind);
    of_kind.filter(|filter| conditions(*filter).iter().all(|condition| condition.holds(object))).collect()
}

/// A field and its accepted values. Booleans are given as words.
struct Condition(&'static str, &'static [&'static str]);

impl Condition {
    fn holds(&self, object: &CanonicalObject) -> bool {
        object.get(self.0).is_some_and(|value| self.1.contains(&value.escaped_text().unwrap_or(value.raw())))
    }
}

const SUCCEEDED: Condition = Condition("result", &["succeeded"]);
const FAILED: Condition = Condition("result", &["failed"]);
const STATUS_SUCCEEDED: Condition = Condition("status", &["succeeded"]);
const STATUS_FAILED: Condition = Condition("status", &["failed"]);
const UPDATE: Condition = Condition("kind", &["update"]);
const DESTROY: Condition = Condition("kind", &["destroy"]);
const REFRESH: Condition = Condition("kind", &["refresh"]);
const IMPORT: Condition = Condition("kind", &["import", "resource-import"]);
const CREATED: Condition = Condition("action", &["created"]);
const UPDATED: Condition = Condition("action", &["updated"]);
const DELETED: Condition = Condition("action", &["deleted"]);

/// The filter's conditions for a payload of its kind.
const fn conditions(filter: Filter) -> &'static [Condition] {
    match filter {
        Filter::PreviewSucceeded => &[SUCCEEDED],
        Filter::PreviewFailed => &[FAILED],
        Filter::UpdateSucceeded => &[UPDATE, SUCCEEDED],
        Filter::UpdateFailed => &[UPDATE, FAILED],
        Filter::DestroySucceeded => &[DESTROY, SUCCEEDED],
        Filter::DestroyFailed => &[DESTROY, FAILED],
        Filter::RefreshSucceeded => &[REFRESH, SUCCEEDED],
        Filter::RefreshFailed => &[REFRESH, FAILED],
        Filter::ImportSucceeded => &[IMPORT, SUCCEEDED],
        Filter::ImportFailed => &[IMPORT, FAILED],
        Filter::DeploymentQueued => &[Condition("status", &["not-started", "accepted", "queued"])],
        Filter::DeploymentStarted => &[Condition("status", &["running"])],
        // Independent of the detection's own result: a detection that found drift and then failed has both filters.
        Filter::DriftDetected => &[Condition("driftDetected", &["true"])],
        Filter::DeploymentSucceeded
        | Filter::DriftDetectionSucceeded
        | Filter::DriftRemediationSucceeded
        | Filter::EnvironmentRotationSucceeded => &[STATUS_SUCCEEDED],
        Filter::DeploymentFailed
        | Filter::DriftDetectionFailed
        | Filter::DriftRemediationFailed
        | Filter::EnvironmentRotationFailed => &[STATUS_FAILED],
        Filter::PolicyViolationMandatory => &[Condition("level", &["mandatory"])],
        Filter::PolicyViolationAdvisory => &[Condition("level", &["advisory"])],
        Filter::StackCreated
        | Filter::EnvironmentCreated
        | Filter::EnvironmentRevisionCreated
        | Filter::EnvironmentRevisionTagCreated
        | Filter::EnvironmentTagCreated
        | Filter::ChangeRequestCreated => &[CREATED],
        Filter::EnvironmentRevisionTagUpdated
        | Filter::EnvironmentTagUpdated
        | Filter::ChangeRequestUpdated => &[UPDATED],
        Filter::StackDeleted
        | Filter::EnvironmentDeleted
        | Filter::EnvironmentRevisionTagDeleted
        | Filter::EnvironmentTagDeleted => &[DELETED],
        Filter::EnvironmentRevisionRetracted => &[Condition("action", &["retracted"])],
        Filter::ChangeRequestSubmitted => &[Condition("action", &["submitted"])],
        Filter::ChangeRequestApproved => &[Condition("action", &["approved"])],
        Filter::ChangeRequestUnapproved => &[Condition("action", &["unapproved"])],
        Filter::ChangeRequestApplied => &[Condition("action", &["applied"])],
        Filter::ChangeRequestClosed => &[Condition("action", &["closed"])],
        Filter::DeploymentFileIngestionFailed | Filter::ImportedEnvironmentChanged => &[],
    }
}
