//! Properties that the parsers in this crate have for every input.
//!
//! Each property is written once. The tests below check it on the corpus and on random input. The fuzzer in
//! `tests/parsers` checks it on inputs that it finds by code coverage. A property that does not hold panics.

use std::path::Path;
use std::time::Duration;

use url::Url;

use crate::Timestamp;
use crate::delivery::{Delivery, Outcome, Response, State, Trigger};
use crate::deployments::StackReference;
use crate::filter::{EventKind, Filter, Group};
use crate::hidden;
use crate::ids::{DeliveryId, EventId, OrganizationId, WebhookId};
use crate::names::{DisplayName, Login, NameError, OrganizationName, StackName, WebhookName};
use crate::retry::{Next, RetryPolicy, parse_retry_after};
use crate::webhook::{Format, PAYLOAD_URL_BYTES_MAX, PauseReason, PayloadUrl, WebhookState};

/// Returns the fuzzer's corpus for one of its targets: inputs that each run different code.
///
/// # Panics
/// If the corpus is empty or missing, because then nothing would be tested.
pub fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/parsers/corpus").join(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let read = |file: std::io::Result<std::fs::DirEntry>| std::fs::read(file?.path());
    let inputs: Vec<_> = files.map(read).collect::<Result<_, _>>().expect("a readable corpus");
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    inputs
}

/// Returns the inputs of [`corpus`] that are text.
pub fn corpus_texts(target: &str) -> Vec<String> {
    corpus(target).into_iter().filter_map(|input| String::from_utf8(input).ok()).collect()
}

/// A parsed name equals its input and is within its limits; parsing it again gives the same name.
pub fn names(text: &str) {
    let identifier = |parsed: Option<String>, max: usize| {
        let Some(name) = parsed else { return };
        assert_eq!(name, text, "an identifier is taken as it is");
        assert!((1..=max).contains(&name.len()) && name.is_ascii());
        // Clients put identifiers into paths, and may normalize the paths.
        let url = Url::parse(&format!("https://a.example/{name}/end")).expect("a URL");
        assert_eq!(url.path(), format!("/{name}/end"), "an identifier is one part of a path");
    };
    identifier(OrganizationName::parse(text).ok().map(|name| name.to_string()), 100);
    identifier(Login::parse(text).ok().map(|name| name.to_string()), 100);
    identifier(StackName::parse(text).ok().map(|name| name.to_string()), 100);
    identifier(WebhookName::parse(text).ok().map(|name| name.to_string()), 32);
    let label = |parse: fn(&str) -> Result<String, NameError>| {
        let Ok(label) = parse(text) else { return };
        assert!((1..=256).contains(&label.chars().count()) && hidden::find(&label).is_none());
        assert_eq!(label, text, "a label is taken as it is");
    };
    label(|text| DisplayName::parse(text).map(|label| label.to_string()));
    label(|text| PauseReason::parse(text).map(|label| label.as_str().to_owned()));
}

/// A word of a closed list, an id and a stack are displayed as they were parsed.
pub fn words(text: &str) {
    let same =
        |shown: Option<&str>| assert!(shown.is_none_or(|shown| shown == text), "{text:?} is {shown:?}");
    same(EventKind::parse(text).map(EventKind::as_str));
    same(Filter::parse(text).map(Filter::as_str));
    same(Group::parse(text).map(Group::as_str));
    same(Format::parse(text).map(Format::as_str));
    same(WebhookState::parse(text).map(WebhookState::as_str));
    same(StackReference::parse(text).map(|stack| stack.to_string()).as_deref());
    if let Some(id) = EventId::parse(text) {
        assert_eq!(id.to_string(), text.to_ascii_lowercase());
    }
}

/// A payload URL equals its input and can be called. `slack` goes to Slack only, and no credential is
/// displayed.
pub fn payload_url(text: &str) {
    const SLACK: &str = "hooks.slack.com";
    for format in Format::ALL {
        let Ok(parsed) = PayloadUrl::parse(text, *format, &[SLACK.to_owned()]) else { continue };
        assert_eq!(parsed.expose(), text);
        assert!(text.len() <= PAYLOAD_URL_BYTES_MAX);
        if *format == Format::PulumiDeployments {
            continue;
        }
        let url = parsed.to_url().expect("what was accepted can be called");
        if *format == Format::Slack {
            assert_eq!((url.scheme(), url.host_str(), url.port()), ("https", Some(SLACK), None));
            assert_eq!((url.username(), url.password()), ("", None));
        }
        let shown = Url::parse(&parsed.redacted()).expect("scheme and host are a URL");
        assert_eq!((shown.scheme(), shown.host()), (url.scheme(), url.host()));
        let bare = (shown.username(), shown.password(), shown.path(), shown.query(), shown.fragment());
        assert_eq!(bare, ("", None, "/", None, None), "only scheme and host are shown");
        assert_eq!(parsed.to_string(), parsed.redacted());
    }
}

/// `Retry-After` only lengthens a wait, by at most a day.
pub fn retry_after(text: &str) {
    // Sun, 06 Nov 1994 08:49:37 GMT
    let now = Timestamp::from_millis(784_111_777_000);
    let asked = parse_retry_after(text, now);
    if let Some(asked) = asked {
        assert_eq!(
            parse_retry_after(&asked.as_secs().to_string(), now).map(|read| read.as_secs()),
            Some(asked.as_secs())
        );
    }
    let policy = RetryPolicy::default();
    let without = wait(&policy, None, now);
    let with = wait(&policy, asked, now);
    assert!(with >= without && with <= without.max(policy.retry_after_max), "{with:?}");
}

/// Returns the time from a first attempt with a 503 to the second one.
fn wait(policy: &RetryPolicy, retry_after: Option<Duration>, now: Timestamp) -> Duration {
    let delivery = Delivery {
        id: DeliveryId::from_uuid(uuid::Uuid::nil()),
        organization: OrganizationId::from_uuid(uuid::Uuid::nil()),
        webhook: WebhookId::from_uuid(uuid::Uuid::nil()),
        trigger: Trigger::Ping,
        event_id: EventId::from_uuid(uuid::Uuid::nil()),
        format: Format::Raw,
        body: None,
        created_at: now,
        rearmed_at: None,
        attempts_spent: 0,
        state: State::Pending { due_at: now },
    };
    let outcome =
        Outcome::Answered(Response { status: 503, headers: "".into(), body: "".into(), retry_after });
    match policy.next(&delivery, &outcome, now, 0.5) {
        Next::Retry { at, .. } => at.since(now),
        other => panic!("a first failure is tried again: {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hold_for_the_corpus() {
        let check = |target: &str, property: fn(&str)| {
            corpus_texts(target).iter().for_each(|text| property(text));
        };
        check("names", names);
        check("words", words);
        check("payload-url", payload_url);
        check("retry-after", retry_after);
    }

    proptest! {
        #[test]
        fn hold_for_names(text in "[ -~]{0,40}|[a-z0-9._-]{1,110}|.{0,300}") {
            names(&text);
            words(&text);
        }

        #[test]
        fn hold_for_payload_urls(
            text in "(https?|ftp)://([a-z0-9:@]{0,8}@)?[\\PC]{0,20}(:[0-9]{0,6})?[/?#\\\\.][ -~]{0,20}|\
                https://hooks.slack.com[/\\\\@:.][ -~]{0,12}|[a-z/ .]{0,12}|.{0,40}",
        ) {
            payload_url(&text);
        }

        #[test]
        fn hold_for_retry_after(
            text in "[0-9]{0,25}|[A-Z][a-z]{2,8}, [0-9]{2}[ -][A-Z][a-z]{2}[ -][0-9]{2,4} [0-9:]{8} GMT|.{0,40}",
        ) {
            retry_after(&text);
        }
    }
}
