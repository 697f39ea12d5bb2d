//! The documented fields of each kind. Source: wire-facts.md#raw-payloads.

use stackbell_model::filter::EventKind;

use crate::json::{CanonicalObject, Value};
use stackbell_model::field::{FieldError, list, quote};

/// The documented form of a kind's payloads.
#[derive(Debug)]
pub(super) struct Schema {
    /// The subject of such an event.
    pub(super) about: About,
    /// The fields besides `user`, `organization` and the names of the subject.
    fields: &'static [Field],
}

/// The subject of a kind of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// A stack: `projectName`, `stackName`.
    Stack,
    /// An environment: `projectName`, `environmentName`.
    Environment,
}

#[derive(Debug)]
struct Field {
    name: &'static str,
    is_needed: bool,
    form: Form,
}

/// The type of a field's value.
#[derive(Debug)]
enum Form {
    /// Any string.
    Text,
    /// One of these strings. None has a character that JSON escapes.
    OneOf(&'static [&'static str]),
    /// A boolean.
    Truth,
    /// This boolean, which follows from the kind.
    Always(bool),
    /// A whole number from 0, without fraction or exponent: receivers read it into an integer.
    Whole,
    /// An array of such numbers.
    Wholes,
    /// An object of such numbers under any keys. Receivers iterate over all keys, so values of any other type are refused.
    Counts,
    /// An object with these fields.
    Object(&'static [Field]),
    /// An array of such objects.
    Objects(&'static [Field]),
}

const fn needed(name: &'static str, form: Form) -> Field {
    Field { name, is_needed: true, form }
}

const fn optional(name: &'static str, form: Form) -> Field {
    Field { name, is_needed: false, form }
}

const PARTY: &[Field] =
    &[optional("name", Form::Text), optional("githubLogin", Form::Text), optional("avatarUrl", Form::Text)];
const COMMON: &[Field] =
    &[optional("user", Form::Object(PARTY)), optional("organization", Form::Object(PARTY))];
const OF_STACK: &[Field] = &[needed("projectName", Form::Text), needed("stackName", Form::Text)];
const OF_ENVIRONMENT: &[Field] = &[needed("projectName", Form::Text), needed("environmentName", Form::Text)];

const ENDED: Form = Form::OneOf(&["succeeded", "failed"]);

const STACK: Schema = stack(&[needed("action", Form::OneOf(&["created", "deleted"]))]);

const STACK_PREVIEW: Schema = stack(&[
    optional("updateUrl", Form::Text),
    optional("kind", Form::Text),
    needed("result", ENDED),
    optional("resourceChanges", Form::Counts),
    needed("isPreview", Form::Always(true)),
]);

const STACK_UPDATE: Schema = stack(&[
    optional("updateUrl", Form::Text),
    needed("kind", Form::OneOf(&["update", "destroy", "refresh", "import", "resource-import"])),
    needed("result", ENDED),
    optional("resourceChanges", Form::Counts),
    optional("isPreview", Form::Always(false)),
]);

const DEPLOYMENT_STATUS: Form =
    Form::OneOf(&["not-started", "accepted", "queued", "running", "failed", "succeeded", "skipped"]);

const DEPLOYMENT: Schema = stack(&[
    optional("deploymentUrl", Form::Text),
    optional("version", Form::Whole),
    optional("operation", Form::Text),
    needed("status", DEPLOYMENT_STATUS),
]);

const DRIFT_DETECTION: Schema = stack(&[
    needed("driftDetected", Form::Truth),
    optional("driftRunId", Form::Text),
    needed("status", ENDED),
    optional("resourceChanges", Form::Counts),
    optional("referenceUrl", Form::Text),
]);

const DRIFT_REMEDIATION: Schema = stack(&[
    needed("status", ENDED),
    optional("resourceChanges", Form::Counts),
    optional("referenceUrl", Form::Text),
]);

const DEPLOYMENT_FILE_INGESTION: Schema = stack(&[
    optional("deploymentUrl", Form::Text),
    optional("version", Form::Whole),
    optional("operation", Form::Text),
    optional("status", Form::Text),
    optional("message", Form::Text),
]);

const POLICY_VIOLATION: Schema = stack(&[
    optional("updateUrl", Form::Text),
    optional("isPreview", Form::Truth),
    needed("level", Form::OneOf(&["mandatory", "advisory"])),
    optional("policyPack", Form::Text),
    optional("policyPackTag", Form::Text),
    optional("policyName", Form::Text),
    optional("message", Form::Text),
    optional("resourceURN", Form::Text),
    optional("resourceType", Form::Text),
    optional("resourceName", Form::Text),
]);

const ENVIRONMENT: Schema = environment(&[needed("action", Form::OneOf(&["created", "deleted"]))]);

const ENVIRONMENT_REVISION: Schema = environment(&[
    needed("action", Form::OneOf(&["created", "retracted"])),
    optional("revision", Form::Whole),
]);

const TAG_ACTION: Form = Form::OneOf(&["created", "updated", "deleted"]);

const ENVIRONMENT_REVISION_TAG: Schema = environment(&[
    optional("tagName", Form::Text),
    needed("action", TAG_ACTION),
    optional("revision", Form::Whole),
]);

const ENVIRONMENT_TAG: Schema = environment(&[optional("tagName", Form::Text), needed("action", TAG_ACTION)]);

const IMPORTED_ENVIRONMENT: &[Field] = &[
    optional("projectName", Form::Text),
    optional("environmentName", Form::Text),
    optional("revision", Form::Whole),
];

const IMPORTED_ENVIRONMENT_CHANGED: Schema = environment(&[
    optional("affectedRevisions", Form::Wholes),
    optional("importedEnvironmentReference", Form::Object(IMPORTED_ENVIRONMENT)),
]);

const ROTATION: &[Field] = &[
    optional("id", Form::Text),
    optional("environmentPath", Form::Text),
    optional("status", Form::Text),
    optional("errorMessage", Form::Text),
];

const ENVIRONMENT_ROTATION: Schema = environment(&[
    needed("status", ENDED),
    optional("rotationEventId", Form::Text),
    optional("preRotationRevision", Form::Whole),
    optional("postRotationRevision", Form::Whole),
    optional("errorMessage", Form::Text),
    optional("rotations", Form::Objects(ROTATION)),
]);

const CHANGE_REQUEST_ACTION: Form =
    Form::OneOf(&["created", "updated", "submitted", "approved", "unapproved", "applied", "closed"]);

const CHANGE_REQUEST: Schema = environment(&[
    needed("action", CHANGE_REQUEST_ACTION),
    optional("changeRequestId", Form::Text),
    optional("changeRequestUrl", Form::Text),
    optional("status", Form::Text),
    optional("description", Form::Text),
    optional("revision", Form::Whole),
]);

const fn stack(fields: &'static [Field]) -> Schema {
    Schema { about: About::Stack, fields }
}

const fn environment(fields: &'static [Field]) -> Schema {
    Schema { about: About::Environment, fields }
}

/// The documented form of payloads of `kind`.
pub(super) const fn of(kind: EventKind) -> &'static Schema {
    match kind {
        EventKind::Stack => &STACK,
        EventKind::StackPreview => &STACK_PREVIEW,
        EventKind::StackUpdate => &STACK_UPDATE,
        EventKind::Deployment => &DEPLOYMENT,
        EventKind::DriftDetection => &DRIFT_DETECTION,
        EventKind::DriftRemediation => &DRIFT_REMEDIATION,
        EventKind::DeploymentFileIngestion => &DEPLOYMENT_FILE_INGESTION,
        EventKind::PolicyViolation => &POLICY_VIOLATION,
        EventKind::Environment => &ENVIRONMENT,
        EventKind::EnvironmentRevision => &ENVIRONMENT_REVISION,
        EventKind::EnvironmentRevisionTag => &ENVIRONMENT_REVISION_TAG,
        EventKind::EnvironmentTag => &ENVIRONMENT_TAG,
        EventKind::ImportedEnvironmentChanged => &IMPORTED_ENVIRONMENT_CHANGED,
        EventKind::EnvironmentRotation => &ENVIRONMENT_ROTATION,
        EventKind::ChangeRequest => &CHANGE_REQUEST,
    }
}

impl Schema {
    /// True if `name` is a documented field of such payloads.
    pub(super) fn knows(&self, name: &str) -> bool {
        self.groups().into_iter().flatten().any(|field| field.name == name)
    }

    fn groups(&self) -> [&'static [Field]; 3] {
        let names = match self.about {
            About::Stack => OF_STACK,
            About::Environment => OF_ENVIRONMENT,
        };
        [COMMON, names, self.fields]
    }
}

/// Checks that every required field is present and every documented field has its type.
///
/// # Errors
/// The first field that is wrong, else the first that is missing.
pub(super) fn check(object: &CanonicalObject, schema: &Schema) -> Result<(), FieldError> {
    for fields in schema.groups() {
        for (name, value) in object.members() {
            check_member(name, value, fields)?;
        }
    }
    for field in schema.groups().into_iter().flatten() {
        if field.is_needed && object.get(field.name).is_none() {
            return Err(FieldError::missing(field.name));
        }
    }
    Ok(())
}

fn check_member(name: &str, value: Value<'_>, fields: &[Field]) -> Result<(), FieldError> {
    match fields.iter().find(|field| field.name == name) {
        Some(field) if !value.is_null() => check_form(value, &field.form).map_err(|error| error.inside(name)),
        Some(_) | None => Ok(()),
    }
}

/// Errors have the empty path: the caller knows where `value` is.
fn check_form(value: Value<'_>, form: &Form) -> Result<(), FieldError> {
    match form {
        Form::Text => expect(value, value.escaped_text().is_some(), "a string"),
        Form::Truth => expect(value, value.truth().is_some(), "true or false"),
        Form::Whole => expect(value, value.is_whole(), "a whole number from 0"),
        Form::OneOf(words) => check_word(value, words),
        Form::Always(truth) => {
            let is = value.truth() == Some(*truth);
            expect(value, is, if *truth { "true for this kind" } else { "false for this kind" })
        }
        Form::Wholes => {
            let items = value.items().ok_or_else(|| wrong(value, "an array of whole numbers"))?;
            check_items(items, |item| check_form(item, &Form::Whole))
        }
        Form::Objects(fields) => {
            let items = value.items().ok_or_else(|| wrong(value, "an array of objects"))?;
            check_items(items, |item| check_object(item, fields))
        }
        Form::Counts => {
            let mut members = value.members().ok_or_else(|| wrong(value, "an object of whole numbers"))?;
            members.try_for_each(|(name, count)| {
                check_form(count, &Form::Whole).map_err(|error| error.inside(name))
            })
        }
        Form::Object(fields) => check_object(value, fields),
    }
}

fn check_object(value: Value<'_>, fields: &[Field]) -> Result<(), FieldError> {
    let mut members = value.members().ok_or_else(|| wrong(value, "an object"))?;
    members.try_for_each(|(name, value)| check_member(name, value, fields))
}

fn check_items<'a>(
    items: impl Iterator<Item = Value<'a>>,
    check: impl Fn(Value<'a>) -> Result<(), FieldError>,
) -> Result<(), FieldError> {
    items.enumerate().try_for_each(|(index, item)| check(item).map_err(|error| error.inside_item(index)))
}

fn check_word(value: Value<'_>, words: &'static [&'static str]) -> Result<(), FieldError> {
    let allowed = || list(words.iter().copied());
    match value.escaped_text() {
        Some(word) if words.contains(&word) => Ok(()),
        Some(word) => {
            Err(FieldError::invalid("", format_args!("must be one of {}, not '{}'", allowed(), quote(word))))
        }
        None => Err(wrong(value, &format!("one of {}", allowed()))),
    }
}

fn expect(value: Value<'_>, is_right: bool, expected: &str) -> Result<(), FieldError> {
    if is_right { Ok(()) } else { Err(wrong(value, expected)) }
}

fn wrong(value: Value<'_>, expected: &str) -> FieldError {
    let found = match value.shape() {
        shape @ (crate::json::Shape::Truth | crate::json::Shape::Number) => {
            format!("{} ({})", shape.as_str(), quote(value.raw()))
        }
        shape => shape.as_str().to_owned(),
    };
    FieldError::invalid("", format_args!("must be {expected}, is {found}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(form: &Form) -> Vec<&'static str> {
        match form {
            Form::OneOf(words) => words.to_vec(),
            Form::Always(true) => vec!["true"],
            Form::Always(false) => vec!["false"],
            Form::Truth => vec!["true", "false"],
            Form::Text | Form::Whole | Form::Wholes | Form::Counts | Form::Object(_) | Form::Objects(_) => {
                Vec::new()
            }
        }
    }

    fn quoted(words: &[&str]) -> String {
        words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
    }

    fn row(kind: EventKind) -> String {
        let schema = of(kind);
        let about = match schema.about {
            About::Stack => "stack",
            About::Environment => "environment",
        };
        let (needed, optional): (Vec<_>, Vec<_>) = schema.fields.iter().partition(|field| field.is_needed);
        let needed: Vec<_> = needed
            .iter()
            .map(|field| match values(&field.form) {
                values if values.is_empty() => quoted(&[field.name]),
                values => format!("{} ({})", quoted(&[field.name]), quoted(&values)),
            })
            .collect();
        let optional: Vec<_> = optional.iter().map(|field| field.name).collect();
        format!("| `{kind}` | {about} | {} | {} |", needed.join(", "), quoted(&optional))
    }

    #[test]
    fn the_documentation_lists_the_fields_of_every_kind() {
        let document = include_str!("../../../../docs/api.md");
        for kind in EventKind::ALL {
            let row = row(*kind);
            assert!(document.contains(&row), "{row}");
        }
    }
}
