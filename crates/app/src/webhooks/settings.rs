//! What people set of a webhook: reading it, and saying all that is wrong with it.

use stackbell_model::filter::{Filter, Group, Subscription, SubscriptionError};
use stackbell_model::names::DisplayName;
use stackbell_model::scope::{Scope, ScopeKind};
use stackbell_model::webhook::{Format, PayloadUrl, Webhook};

use super::WebhookFields;
use crate::App;
use crate::auth::Access;
use crate::fields::Fields;

/// The most filters that may be sent: each once.
const FILTERS_SENT_MAX: usize = Filter::ALL.len();

/// The most groups that may be sent: each once, and some doubles.
const GROUPS_SENT_MAX: usize = 2 * Group::ALL.len();

/// What can be set of a webhook, read and found good.
pub(super) struct Settings {
    pub(super) display_name: DisplayName,
    pub(super) payload_url: PayloadUrl,
    pub(super) active: bool,
    pub(super) format: Format,
    pub(super) subscription: Subscription,
}

impl App {
    /// Reads what people set. `before` fills in what the body leaves out; without it all that is required must be there.
    pub(super) fn read_settings(
        &self,
        fields: &mut Fields,
        access: &Access<'_>,
        scope: &Scope,
        body: &WebhookFields,
        before: Option<&Webhook>,
    ) -> Option<Settings> {
        let is_whole = body.active.is_some() && body.display_name.is_some() && body.payload_url.is_some();
        let display_name = match (&body.display_name, before) {
            (Some(text), _) => fields.read("displayName", DisplayName::parse(text)),
            (None, Some(before)) => Some(before.display_name.clone()),
            (None, None) => missing(fields, "displayName"),
        };
        let format = match (body.format.as_deref().filter(|text| !text.is_empty()), before) {
            (Some(text), _) => read_format(fields, scope, text),
            (None, Some(before)) => Some(before.format),
            (None, None) => Some(Format::Raw),
        };
        let url = body.payload_url.as_deref().or(before.map(|before| before.payload_url.expose()));
        let payload_url = match (url, format) {
            // What it was saved with may be forbidden by now. It must be possible to switch it off all the same.
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
        Some(Settings {
            display_name: display_name?,
            payload_url: payload_url?,
            active: active?,
            format: format?,
            subscription: subscription?,
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

fn read_format(fields: &mut Fields, scope: &Scope, text: &str) -> Option<Format> {
    let known = || words(Format::ALL.iter().map(|format| format.as_str()));
    let format = fields.read_list("format", &[text.to_owned()], Format::parse, known).pop()?;
    if format.allowed_in(scope.kind()) {
        return Some(format);
    }
    fields.invalid(
        "format",
        format!("'{}' cannot be used on {} webhooks", format.as_str(), scope.kind().as_str()),
    );
    None
}

fn words<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(", ")
}

fn read_subscription(
    fields: &mut Fields,
    scope: &Scope,
    body: &WebhookFields,
    before: Option<&Webhook>,
) -> Option<Subscription> {
    let filters = match (&body.filters, before) {
        (Some(texts), _) => read_filters(fields, scope.kind(), texts),
        (None, Some(before)) => before.subscription.filters().to_vec(),
        (None, None) => Vec::new(),
    };
    let groups = match (&body.groups, before) {
        (Some(texts), _) => read_groups(fields, scope.kind(), texts),
        (None, Some(before)) => before.subscription.groups().collect(),
        (None, None) => Vec::new(),
    };
    match Subscription::new(scope.kind(), filters, groups) {
        Ok(subscription) => Some(subscription),
        Err(error) => {
            let field = match error {
                SubscriptionError::Filter { .. } => "filters",
                SubscriptionError::Group { .. } => "groups",
            };
            fields.invalid(field, format!("may not hold this: {error}"));
            None
        }
    }
}

fn read_filters(fields: &mut Fields, scope: ScopeKind, texts: &[String]) -> Vec<Filter> {
    if is_too_long(fields, "filters", texts, FILTERS_SENT_MAX) {
        return Vec::new();
    }
    fields.read_explained("filters", texts, Filter::parse, |unknown| {
        let told = unknown.tell(|text| match nearest_filter(scope, text) {
            Some(filter) => format!(" (the nearest is '{filter}')"),
            None => String::new(),
        });
        format!("must be of those that docs/api.md lists for {} webhooks; there is no {told}", scope.as_str())
    })
}

fn read_groups(fields: &mut Fields, scope: ScopeKind, texts: &[String]) -> Vec<Group> {
    if is_too_long(fields, "groups", texts, GROUPS_SENT_MAX) {
        return Vec::new();
    }
    let known = || {
        let valid = Group::ALL.iter().filter(|group| group.allowed_in(scope));
        words(valid.map(|group| group.as_str()))
    };
    fields.read_list("groups", texts, Group::parse, known)
}

fn is_too_long(fields: &mut Fields, field: &'static str, texts: &[String], max: usize) -> bool {
    if texts.len() > max {
        fields.invalid(field, format!("must have at most {max} entries, has {}", texts.len()));
    }
    texts.len() > max
}

/// The filter of a scope that `text` may have meant: a letter in three may differ.
fn nearest_filter(scope: ScopeKind, text: &str) -> Option<Filter> {
    /// The longest filter has 32.
    const CHARACTERS_MAX: usize = 48;
    let text: Vec<char> = text.chars().take(CHARACTERS_MAX + 1).flat_map(char::to_lowercase).collect();
    if text.len() > CHARACTERS_MAX {
        return None;
    }
    let valid = Filter::ALL.iter().copied().filter(|filter| filter.allowed_in(scope));
    let (distance, nearest) = valid.map(|filter| (distance(&text, filter.as_str()), filter)).min()?;
    (distance * 3 <= text.len()).then_some(nearest)
}

/// How many letters must be put in, taken out or exchanged to come from one text to the other.
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
        assert_eq!(nearest_filter(scope, text), expected, "{text}");
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

    fn message(read: impl Fn(&mut Fields, &[String]), texts: &[String]) -> String {
        let mut fields = Fields::default();
        read(&mut fields, texts);
        fields.finish(Some(())).map_or_else(|error| error.message, |()| "fine".to_owned())
    }

    fn check_filters(texts: &[&str], expected: &str) {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        let read = |fields: &mut Fields, texts: &[String]| {
            read_filters(fields, ScopeKind::Stack, texts);
        };
        assert_eq!(message(read, &texts), expected);
    }

    #[test]
    fn what_is_said_of_filters_is_short() {
        check_filters(&["update_failed"], "fine");
        let head = "filters must be of those that docs/api.md lists for stack webhooks; there is no";
        check_filters(&["update_fail"], &format!("{head} 'update_fail' (the nearest is 'update_failed')"));
        check_filters(&["x", "update_failed", "y"], &format!("{head} 'x', 'y'"));
        let ten = ["'x'"; 10].join(", ");
        check_filters(&["x"; 12], &format!("{head} {ten} and 2 more"));
        check_filters(&["update_failed"; 44], "fine");
        check_filters(&["x"; 45], "filters must have at most 44 entries, has 45");
    }

    #[test]
    fn what_is_said_of_groups_is_short() {
        let read = |fields: &mut Fields, texts: &[String]| {
            read_groups(fields, ScopeKind::Stack, texts);
        };
        let texts = |count| vec!["x".to_owned(); count];
        let expected = "groups must be of deployments, policies, stacks; there is no 'x'";
        assert_eq!(message(read, &texts(1)), expected);
        assert_eq!(message(read, &texts(11)), "groups must have at most 10 entries, has 11");
        assert_eq!(message(read, &vec!["stacks".to_owned(); 10]), "fine");
    }

    #[test]
    fn the_documentation_lists_every_filter() {
        let document = include_str!("../../../../docs/api.md");
        for filter in Filter::ALL {
            let scopes = words(filter.scopes().iter().map(|scope| scope.as_str()));
            let row = format!("| `{filter}` | `{}` | {scopes} |", filter.group());
            assert!(document.contains(&row), "{row}");
        }
    }
}
