//! Reads the settings of a webhook, and reports every wrong field.

use stackbell_model::filter::{Filter, Group, Subscription};
use stackbell_model::ids::WebhookId;
use stackbell_model::names::DisplayName;
use stackbell_model::scope::{Scope, ScopeKind};
use stackbell_model::webhook::{Format, PayloadUrl, StoredSecret, Webhook};
use stackbell_wire::rest::webhook::WebhookRequest;

use crate::App;
use crate::auth::Access;
use crate::fields::Fields;

/// A word of a closed list. Some words are allowed only in certain scopes.
trait Word: Copy + 'static {
    const ALL: &'static [Self];

    fn as_str(self) -> &'static str;

    fn allowed_in(self, scope: ScopeKind) -> bool;
}

macro_rules! words {
    ($($word:ident)+) => {$(
        impl Word for $word {
            const ALL: &'static [Self] = $word::ALL;

            fn as_str(self) -> &'static str {
                self.as_str()
            }

            fn allowed_in(self, scope: ScopeKind) -> bool {
                self.allowed_in(scope)
            }
        }
    )+};
}

words!(Filter Format Group);

/// The settings of a webhook that a body can change, after validation.
pub(super) struct Settings {
    pub(super) display_name: DisplayName,
    pub(super) payload_url: PayloadUrl,
    pub(super) active: bool,
    pub(super) format: Format,
    pub(super) subscription: Subscription,
    pub(super) secret: Option<StoredSecret>,
}

impl App {
    /// Reads the settings of a body for the webhook `id`. `before` supplies absent fields; without it every required field must
    /// be present.
    pub(super) fn read_settings(
        &self,
        fields: &mut Fields,
        access: &Access<'_>,
        id: WebhookId,
        scope: &Scope,
        body: &WebhookRequest,
        before: Option<&Webhook>,
    ) -> Option<Settings> {
        let is_whole = body.active.is_some() && body.display_name.is_some() && body.payload_url.is_some();
        let display_name = match (&body.display_name, before) {
            // Clients send the stored name back. A name that an earlier version allowed must not prevent a change.
            (Some(text), Some(before)) if text == before.display_name.as_str() => {
                Some(before.display_name.clone())
            }
            (Some(text), _) => fields.read("displayName", DisplayName::parse(text)),
            (None, Some(before)) => Some(before.display_name.clone()),
            (None, None) => missing(fields, "displayName"),
        };
        let format = match (body.format.as_ref().filter(|text| !text.is_empty()), before) {
            (Some(text), _) => read_words(fields, "format", scope.kind(), std::slice::from_ref(text)).pop(),
            (None, Some(before)) => Some(before.format),
            (None, None) => Some(Format::Raw),
        };
        let url = body.payload_url.as_deref().or(before.map(|before| before.payload_url.expose()));
        let payload_url = match (url, format) {
            // The policy may forbid the stored URL by now. The webhook must stay editable, so that it can be set inactive.
            (Some(text), Some(format)) if before.is_some_and(|before| is_as_before(before, text, format)) => {
                Some(PayloadUrl::from_stored(text))
            }
            (Some(text), Some(format)) => self.read_payload_url(fields, access, text, format),
            (Some(_), None) => None,
            (None, _) => missing(fields, "payloadUrl"),
        };
        let active = match (body.active, before) {
            (Some(active), _) => Some(active),
            (None, Some(before)) => Some(before.active),
            (None, None) => missing(fields, "active"),
        };
        let subscription = read_subscription(fields, scope, body, before.filter(|_| !is_whole));
        let stored = before.and_then(|before| before.secret.as_ref());
        let secret = self.change_secret(fields, id, stored, &body.secret);
        Some(Settings {
            display_name: display_name?,
            payload_url: payload_url?,
            active: active?,
            format: format?,
            subscription: subscription?,
            secret,
        })
    }

    fn read_payload_url(
        &self,
        fields: &mut Fields,
        access: &Access<'_>,
        text: &str,
        format: Format,
    ) -> Option<PayloadUrl> {
        let url = fields.read("payloadUrl", PayloadUrl::parse(text, format, &self.slack_hosts))?;
        let Some(parsed) = url.to_url() else { return Some(url) };
        match self.outbound.judge_literal(&parsed, &access.organization.name) {
            Ok(()) => Some(url),
            Err(refusal) => {
                let (kind, remedy) = (refusal.kind(), refusal.remedy());
                let message =
                    format!("must not name {kind}: the outbound policy forbids it; allow it with {remedy}");
                fields.invalid("payloadUrl", message);
                None
            }
        }
    }
}

fn is_as_before(before: &Webhook, url: &str, format: Format) -> bool {
    before.payload_url.expose() == url && before.format == format
}

fn missing<T>(fields: &mut Fields, field: &'static str) -> Option<T> {
    fields.required(field);
    None
}

fn read_subscription(
    fields: &mut Fields,
    scope: &Scope,
    body: &WebhookRequest,
    before: Option<&Webhook>,
) -> Option<Subscription> {
    let filters = match (&body.filters, before) {
        (Some(texts), _) => read_words(fields, "filters", scope.kind(), texts),
        (None, Some(before)) => before.subscription.filters().to_vec(),
        (None, None) => Vec::new(),
    };
    let groups = match (&body.groups, before) {
        (Some(texts), _) => read_words(fields, "groups", scope.kind(), texts),
        (None, Some(before)) => before.subscription.groups().collect(),
        (None, None) => Vec::new(),
    };
    let subscription = Subscription::new(scope.kind(), filters, groups);
    Some(subscription.expect("both lists were read for this scope"))
}

/// Reads words that a webhook of this scope may have. A word may occur twice.
fn read_words<T: Word>(
    fields: &mut Fields,
    field: &'static str,
    scope: ScopeKind,
    texts: &[String],
) -> Vec<T> {
    let sent_max = 2 * T::ALL.len();
    if texts.len() > sent_max {
        fields.invalid(field, format!("must have at most {sent_max} entries, has {}", texts.len()));
        return Vec::new();
    }
    let known = |text: &str| T::ALL.iter().copied().find(|word| word.as_str() == text);
    let allowed = |text: &str| known(text).filter(|word| word.allowed_in(scope));
    fields.read_explained(field, texts, allowed, |refused| {
        let list = words_of(scope).map(T::as_str).collect::<Vec<_>>().join(", ");
        let (of_others, unknown) = refused.partition(|text| known(text).is_some());
        let mut message = format!("must be one of {list}");
        if !of_others.is_empty() {
            let named = of_others.name(|_| String::new());
            message += &format!("; {named} cannot be used on {} webhooks", scope.as_str());
        }
        if !unknown.is_empty() {
            let named = unknown.name(|text| match nearest::<T>(scope, text) {
                Some(word) => format!(" (the nearest is '{}')", word.as_str()),
                None => String::new(),
            });
            message += &format!("; unknown: {named}");
        }
        message
    })
}

/// The words that a webhook of a scope may have.
fn words_of<T: Word>(scope: ScopeKind) -> impl Iterator<Item = T> {
    T::ALL.iter().copied().filter(move |word| word.allowed_in(scope))
}

/// The word of a scope that is nearest to `text`; one letter in three may differ.
fn nearest<T: Word>(scope: ScopeKind, text: &str) -> Option<T> {
    /// The longest filter has 32.
    const CHARACTERS_MAX: usize = 48;
    let text: Vec<char> = text.chars().take(CHARACTERS_MAX + 1).flat_map(char::to_lowercase).collect();
    if text.len() > CHARACTERS_MAX {
        return None;
    }
    let near = words_of::<T>(scope).map(|word| (distance(&text, word.as_str()), word));
    let (distance, nearest) = near.min_by_key(|(distance, _)| *distance)?;
    (distance * 3 <= text.len()).then_some(nearest)
}

/// The Levenshtein distance: the fewest letters to insert, delete or replace that turn one text into the other.
fn distance(from: &[char], to: &str) -> usize {
    let mut row: Vec<usize> = (0..=from.len()).collect();
    for (index, letter) in to.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], index + 1);
        for (place, other) in from.iter().enumerate() {
            let exchanged = diagonal + usize::from(*other != letter);
            diagonal = row[place + 1];
            row[place + 1] = exchanged.min(diagonal + 1).min(row[place] + 1);
        }
    }
    row[from.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_nearest(scope: ScopeKind, text: &str, expected: Option<Filter>) {
        assert_eq!(nearest(scope, text), expected, "{text}");
    }

    #[test]
    fn the_nearest_filter_is_one_of_the_scope() {
        check_nearest(ScopeKind::Stack, "update_success", Some(Filter::UpdateSucceeded));
        check_nearest(ScopeKind::Stack, "UPDATE_FAILED", Some(Filter::UpdateFailed));
        check_nearest(ScopeKind::Stack, "stack_create", None);
        check_nearest(ScopeKind::Organization, "stack_create", Some(Filter::StackCreated));
        check_nearest(ScopeKind::Environment, "environment_create", Some(Filter::EnvironmentCreated));
        check_nearest(ScopeKind::Organization, "nonsense", None);
        check_nearest(ScopeKind::Organization, "", None);
        check_nearest(ScopeKind::Organization, &"x".repeat(100_000), None);
    }

    fn message<T: Word>(field: &'static str, scope: ScopeKind, texts: &[&str]) -> String {
        let mut fields = Fields::default();
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        let words: Vec<T> = read_words(&mut fields, field, scope, &texts);
        fields.finish(Some(())).map_or_else(
            |error| error.message,
            |()| words.into_iter().map(T::as_str).collect::<Vec<_>>().join(" "),
        )
    }

    const STACK_FILTERS: &str = "preview_succeeded, preview_failed, update_succeeded, update_failed, destroy_succeeded, \
         destroy_failed, refresh_succeeded, refresh_failed, import_succeeded, import_failed, deployment_queued, \
         deployment_started, deployment_succeeded, deployment_failed, drift_detected, drift_detection_succeeded, \
         drift_detection_failed, drift_remediation_succeeded, drift_remediation_failed, deployment_file_ingestion_failed, \
         policy_violation_mandatory, policy_violation_advisory";

    #[test]
    fn an_unknown_filter_gets_the_list_and_the_nearest_one() {
        let check = |texts: &[&str], expected: &str| {
            assert_eq!(message::<Filter>("filters", ScopeKind::Stack, texts), expected);
        };
        check(&["update_failed"], "update_failed");
        let head = format!("filters must be one of {STACK_FILTERS};");
        check(&["update_fail"], &format!("{head} unknown: 'update_fail' (the nearest is 'update_failed')"));
        check(&["x", "update_failed", "y"], &format!("{head} unknown: 'x', 'y'"));
        let ten = ["'x'"; 10].join(", ");
        check(&["x"; 12], &format!("{head} unknown: {ten} and 2 more"));
        check(&["stack_created"], &format!("{head} 'stack_created' cannot be used on stack webhooks"));
        let both = format!(
            "{head} 'stack_deleted', 'environment_created' cannot be used on stack webhooks; unknown: 'x'"
        );
        check(&["stack_deleted", "x", "environment_created"], &both);
        check(&["update_failed"; 88], &["update_failed"; 88].join(" "));
        check(&["x"; 89], "filters must have at most 88 entries, has 89");
    }

    #[test]
    fn an_unknown_group_gets_the_list_and_the_nearest_one() {
        let check = |scope: ScopeKind, texts: &[&str], expected: &str| {
            assert_eq!(message::<Group>("groups", scope, texts), expected);
        };
        let head = "groups must be one of deployments, policies, stacks;";
        check(ScopeKind::Stack, &["x"], &format!("{head} unknown: 'x'"));
        check(ScopeKind::Stack, &["Stack"], &format!("{head} unknown: 'Stack' (the nearest is 'stacks')"));
        check(
            ScopeKind::Stack,
            &["environments"],
            &format!("{head} 'environments' cannot be used on stack webhooks"),
        );
        check(
            ScopeKind::Environment,
            &["stacks", "policies"],
            "groups must be one of change_requests, environments; 'stacks', 'policies' cannot be used on environment webhooks",
        );
        check(ScopeKind::Stack, &["x"; 11], "groups must have at most 10 entries, has 11");
        check(ScopeKind::Stack, &["stacks"; 10], &["stacks"; 10].join(" "));
    }

    #[test]
    fn an_unknown_format_gets_the_list_of_its_scope() {
        let check = |scope: ScopeKind, text: &str, expected: &str| {
            assert_eq!(message::<Format>("format", scope, &[text]), expected);
        };
        let (some, all) = ("raw, slack, ms_teams", "raw, slack, ms_teams, pulumi_deployments");
        let organization = ScopeKind::Organization;
        check(organization, "teams", &format!("format must be one of {some}; unknown: 'teams'"));
        check(
            organization,
            "Slack",
            &format!("format must be one of {some}; unknown: 'Slack' (the nearest is 'slack')"),
        );
        check(
            organization,
            "pulumi_deployments",
            &format!(
                "format must be one of {some}; 'pulumi_deployments' cannot be used on organization webhooks"
            ),
        );
        check(
            organization,
            "pulumi_deployment",
            &format!("format must be one of {some}; unknown: 'pulumi_deployment'"),
        );
        for scope in [ScopeKind::Stack, ScopeKind::Environment] {
            check(scope, "xml", &format!("format must be one of {all}; unknown: 'xml'"));
            check(scope, "pulumi_deployments", "pulumi_deployments");
        }
    }

    #[test]
    fn the_documentation_lists_every_filter() {
        let document = include_str!("../../../../docs/api.md");
        for filter in Filter::ALL {
            let scopes = filter.scopes().iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ");
            let row = format!("| `{filter}` | `{}` | {scopes} |", filter.group());
            assert!(document.contains(&row), "{row}");
        }
    }
}
