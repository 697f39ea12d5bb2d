//! The parts of an event that a message shows, by kind. Source of the fields: wire-facts.md#raw-payloads.
//!
//! Infallible: absent fields are left out. A payload that breaks our rules, for example in a store that another program wrote,
//! still gives a message with the facts of the event itself.

mod facts;

use stackbell_model::event::Event;
use stackbell_model::filter::{EventKind, Filter};
use stackbell_model::scope::Subject;
use url::Url;

use self::facts::{Facts, Payload};
use super::{Fact, Link, Message, Status, one_line};

/// The message about `event`. [`Link::new`] decides about its link.
pub(crate) fn message(event: &Event, public_url: Option<&Url>) -> Message {
    let payload = Payload::read(&event.payload);
    let told = tell(event.kind, &payload);
    let link = told.link.and_then(|(field, label)| Link::new(&payload.text(field)?, label, public_url));
    let detail = told.detail.and_then(|field| payload.line(field));
    Message {
        status: told.status,
        noun: match event.subject {
            Subject::Stack { .. } => "Stack",
            Subject::Environment { .. } => "Environment",
        },
        subject: subject(&event.subject, &payload),
        headline: told.headline,
        link,
        detail,
        facts: told.facts,
        reason: reason(event),
        accepted_at: event.accepted_at,
    }
}

/// The parts of a message that depend on the kind.
struct Told {
    status: Status,
    headline: &'static str,
    /// The field with a URL, and the label of its button.
    link: Option<(&'static str, &'static str)>,
    /// The field with the explanation.
    detail: Option<&'static str>,
    facts: Vec<Fact>,
}

impl Told {
    fn new(status: Status, headline: &'static str, facts: Facts<'_>) -> Self {
        Self { status, headline, link: None, detail: None, facts: facts.end() }
    }

    fn link(self, field: &'static str, label: &'static str) -> Self {
        Self { link: Some((field, label)), ..self }
    }

    fn detail(self, field: &'static str) -> Self {
        Self { detail: Some(field), ..self }
    }
}

fn tell(kind: EventKind, payload: &Payload) -> Told {
    match kind {
        EventKind::Stack => {
            let headline = match payload.word("action") {
                "created" => "created",
                "deleted" => "deleted",
                _ => "changed",
            };
            Told::new(Status::Neutral, headline, payload.facts().user())
        }
        EventKind::StackPreview => preview(payload),
        EventKind::StackUpdate => update(payload),
        EventKind::Deployment => deployment(payload),
        EventKind::DriftDetection => drift_detection(payload),
        EventKind::DriftRemediation => drift_remediation(payload),
        EventKind::DeploymentFileIngestion => file_ingestion(payload),
        EventKind::PolicyViolation => policy_violation(payload),
        EventKind::Environment => {
            let headline = match payload.word("action") {
                "created" => "created",
                "deleted" => "deleted",
                _ => "changed",
            };
            Told::new(Status::Neutral, headline, payload.facts().user())
        }
        EventKind::EnvironmentRevision => environment_revision(payload),
        EventKind::EnvironmentRevisionTag => environment_revision_tag(payload),
        EventKind::EnvironmentTag => environment_tag(payload),
        EventKind::ImportedEnvironmentChanged => imported_environment(payload),
        EventKind::EnvironmentRotation => rotation(payload),
        EventKind::ChangeRequest => change_request(payload),
    }
}

fn preview(payload: &Payload) -> Told {
    let status = ended(payload.word("result"));
    let headline = by_status(status, ["preview succeeded", "preview failed", "preview ended"]);
    Told::new(status, headline, payload.facts().operation("kind").user().resources())
        .link("updateUrl", "View preview")
}

fn update(payload: &Payload) -> Told {
    let status = ended(payload.word("result"));
    let headlines = match payload.word("kind") {
        "destroy" => ["destroy succeeded", "destroy failed", "destroy ended"],
        "refresh" => ["refresh succeeded", "refresh failed", "refresh ended"],
        "import" | "resource-import" => ["import succeeded", "import failed", "import ended"],
        _ => ["update succeeded", "update failed", "update ended"],
    };
    let facts = payload.facts().operation("kind").user().resources();
    Told::new(status, by_status(status, headlines), facts).link("updateUrl", "View update")
}

fn deployment(payload: &Payload) -> Told {
    let (status, headline) = match payload.word("status") {
        "not-started" | "accepted" | "queued" => (Status::Running, "deployment queued"),
        "running" => (Status::Running, "deployment started"),
        "succeeded" => (Status::Succeeded, "deployment succeeded"),
        "failed" => (Status::Failed, "deployment failed"),
        "skipped" => (Status::Neutral, "deployment skipped"),
        _ => (Status::Neutral, "deployment changed"),
    };
    let facts = payload.facts().operation("operation").number("Version", "version").user();
    Told::new(status, headline, facts).link("deploymentUrl", "View deployment")
}

/// A detection that succeeded is good news only if it found no drift.
fn drift_detection(payload: &Payload) -> Told {
    let ended = ended(payload.word("status"));
    let found = payload.truth("driftDetected");
    let (status, headline) = match (ended, found) {
        (Status::Failed, Some(true)) => (Status::Failed, "drift detected, then the detection failed"),
        (_, Some(true)) => (Status::Warning, "drift detected"),
        (Status::Failed, _) => (Status::Failed, "drift detection failed"),
        (_, _) => (ended, "drift detection succeeded"),
    };
    // A detection that failed does not prove that there is no drift.
    let drift = match found {
        Some(true) => Some("detected"),
        Some(false) if ended == Status::Succeeded => Some("none"),
        Some(false) | None => None,
    };
    Told::new(status, headline, payload.facts().ours("Drift", drift).user().resources())
        .link("referenceUrl", "View run")
}

fn drift_remediation(payload: &Payload) -> Told {
    let status = ended(payload.word("status"));
    let headlines = ["drift remediation succeeded", "drift remediation failed", "drift remediation ended"];
    Told::new(status, by_status(status, headlines), payload.facts().user().resources())
        .link("referenceUrl", "View run")
}

fn file_ingestion(payload: &Payload) -> Told {
    let facts = payload.facts().operation("operation").number("Version", "version").user();
    Told::new(Status::Failed, "deployment file ingestion failed", facts)
        .link("deploymentUrl", "View deployment")
        .detail("message")
}

fn policy_violation(payload: &Payload) -> Told {
    let is_mandatory = payload.word("level") == "mandatory";
    let status = if is_mandatory { Status::Forbidden } else { Status::Warning };
    let (headline, label) = match (is_mandatory, is_preview(payload)) {
        (true, Some(false)) => ("mandatory policy violated in an update", "View update"),
        (true, Some(true)) => ("mandatory policy violated in a preview", "View preview"),
        (true, None) => ("mandatory policy violated", "View run"),
        (false, Some(false)) => ("advisory policy violated in an update", "View update"),
        (false, Some(true)) => ("advisory policy violated in a preview", "View preview"),
        (false, None) => ("advisory policy violated", "View run"),
    };
    let facts = payload
        .facts()
        .prose("Policy", "policyName")
        .joined("Policy pack", ["policyPack", "policyPackTag"], " ")
        .prose("Resource", "resourceName")
        .code("Resource type", "resourceType")
        .code("Resource URN", "resourceURN")
        .user();
    Told::new(status, headline, facts).link("updateUrl", label).detail("message")
}

/// True for a preview; `None` if unknown. Producers may leave `isPreview` out, but the URLs of previews and updates differ. Source: wire-facts.md#raw-payloads.
fn is_preview(payload: &Payload) -> Option<bool> {
    let by_url = || {
        let url = payload.text("updateUrl")?;
        let path = url.split(['?', '#']).next().unwrap_or_default();
        match path.trim_end_matches('/').rsplit('/').nth(1) {
            Some("previews") => Some(true),
            Some("updates") => Some(false),
            Some(_) | None => None,
        }
    };
    payload.truth("isPreview").or_else(by_url)
}

fn environment_revision(payload: &Payload) -> Told {
    let headline = match payload.word("action") {
        "created" => "revision created",
        "retracted" => "revision retracted",
        _ => "revision changed",
    };
    Told::new(Status::Neutral, headline, payload.facts().number("Revision", "revision").user())
}

fn environment_revision_tag(payload: &Payload) -> Told {
    let headline = match payload.word("action") {
        "created" => "revision tag created",
        "deleted" => "revision tag deleted",
        _ => "revision tag updated",
    };
    let facts = payload.facts().prose("Tag", "tagName").number("Revision", "revision").user();
    Told::new(Status::Neutral, headline, facts)
}

fn environment_tag(payload: &Payload) -> Told {
    let headline = match payload.word("action") {
        "created" => "tag created",
        "deleted" => "tag deleted",
        _ => "tag updated",
    };
    Told::new(Status::Neutral, headline, payload.facts().prose("Tag", "tagName").user())
}

fn imported_environment(payload: &Payload) -> Told {
    Told::new(Status::Neutral, "imported environment changed", payload.facts().imported().user())
}

fn rotation(payload: &Payload) -> Told {
    let status = ended(payload.word("status"));
    let headlines = ["secret rotation succeeded", "secret rotation failed", "secret rotation ended"];
    let facts = payload
        .facts()
        .number("Revision before", "preRotationRevision")
        .number("Revision after", "postRotationRevision")
        .failed_rotations()
        .user();
    Told::new(status, by_status(status, headlines), facts).detail("errorMessage")
}

fn change_request(payload: &Payload) -> Told {
    let headline = match payload.word("action") {
        "created" => "change request created",
        "submitted" => "change request submitted",
        "approved" => "change request approved",
        "unapproved" => "change request no longer approved",
        "applied" => "change request applied",
        "closed" => "change request closed",
        _ => "change request updated",
    };
    let facts = payload.facts().prose("Status", "status").number("Revision", "revision").user();
    Told::new(Status::Neutral, headline, facts)
        .link("changeRequestUrl", "View change request")
        .detail("description")
}

fn ended(word: &str) -> Status {
    match word {
        "succeeded" => Status::Succeeded,
        "failed" => Status::Failed,
        _ => Status::Neutral,
    }
}

/// Picks the headline for `status` out of three: succeeded, failed, other.
fn by_status(status: Status, [succeeded, failed, neither]: [&'static str; 3]) -> &'static str {
    match status {
        Status::Succeeded => succeeded,
        Status::Failed => failed,
        Status::Running | Status::Forbidden | Status::Warning | Status::Neutral => neither,
    }
}

/// The names in the order of Pulumi's page URLs: organization, project, then stack or environment.
fn subject(subject: &Subject, payload: &Payload) -> String {
    let (project, name) = match subject {
        Subject::Stack { project, stack } => (project.as_str(), stack.as_str()),
        Subject::Environment { project, environment } => (project.as_str(), environment.as_str()),
    };
    let organization = payload.inner("organization", "githubLogin").map(|login| one_line(&login));
    match organization.filter(|login| !login.is_empty()) {
        Some(login) => format!("{login}/{project}/{name}"),
        None => format!("{project}/{name}"),
    }
}

fn reason(event: &Event) -> String {
    let filters: Vec<_> = event.filters.iter().map(in_words).collect();
    if filters.is_empty() {
        return event.kind.as_str().replace('_', " ");
    }
    filters.join(", ")
}

fn in_words(filter: Filter) -> String {
    match filter {
        Filter::PolicyViolationMandatory => "mandatory policy violation".to_owned(),
        Filter::PolicyViolationAdvisory => "advisory policy violation".to_owned(),
        other => other.as_str().replace('_', " "),
    }
}
