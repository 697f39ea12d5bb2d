//! Edits a webhook: Pulumi's API for the fields that it has, and our own API for the rest.

use anyhow::bail;
use clap::{ArgGroup, Args};
use serde_json::{Map, Value, json};
use stackbell_model::webhook as model;
use stackbell_system::Environment;
use ureq::http::Method;

use super::show::words;
use super::{FORMATS, show};
use crate::Missing;
use crate::api::Payload;
use crate::commands::scope::ScopeArgs;
use crate::commands::secret::{Secret, SecretArgs};
use crate::verb::{Verb, text_at};

/// The value that makes the server remove a secret. Source: wire-facts.md#secret.
const REMOVE_SECRET: &str = "__remove-secret";

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("change").required(true).multiple(true).args([
    "url", "display_name", "format", "add_filters", "remove_filters", "add_groups", "remove_groups", "everything",
    "secret_file", "secret", "secret_env", "generate_secret", "remove_secret", "pause", "resume", "pace",
    "standard_headers",
]))]
pub(super) struct EditArgs {
    /// The organization
    org: String,
    /// The webhook's name
    name: String,
    #[command(flatten)]
    scope: ScopeArgs,
    /// The URL that gets deliveries
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The name for people
    #[arg(long)]
    display_name: Option<String>,
    /// The format of later deliveries
    #[arg(long, value_parser = FORMATS)]
    format: Option<String>,
    /// An event to add; repeatable
    #[arg(long = "add-filter", value_name = "FILTER")]
    add_filters: Vec<String>,
    /// An event to remove; repeatable
    #[arg(long = "remove-filter", value_name = "FILTER")]
    remove_filters: Vec<String>,
    /// A group to add; repeatable
    #[arg(long = "add-group", value_name = "GROUP")]
    add_groups: Vec<String>,
    /// A group to remove; repeatable
    #[arg(long = "remove-group", value_name = "GROUP")]
    remove_groups: Vec<String>,
    /// Deliver every event in its scope
    #[arg(long, conflicts_with_all = ["add_filters", "remove_filters", "add_groups", "remove_groups"])]
    everything: bool,
    #[command(flatten)]
    secret: SecretArgs,
    /// Stop signing
    #[arg(long, conflicts_with = "secret_source")]
    remove_secret: bool,
    /// Match no new events and hold pending deliveries, for this reason
    #[arg(long, value_name = "REASON", conflicts_with = "resume")]
    pause: Option<String>,
    /// End a pause or a suspension: held deliveries are sent, oldest first
    #[arg(long)]
    resume: bool,
    /// At most this many attempts a minute; `default` for the format's own limit
    #[arg(long, value_name = "N", value_parser = pace, allow_negative_numbers = true)]
    pace: Option<Pace>,
    /// Whether signed deliveries also have the headers of Standard Webhooks
    #[arg(long, value_name = "on|off", value_parser = ["on", "off"])]
    standard_headers: Option<String>,
}

/// A rate limit, or the format's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pace {
    OfFormat,
    PerMinute(u32),
}

fn pace(text: &str) -> Result<Pace, String> {
    match text {
        "default" => Ok(Pace::OfFormat),
        number => {
            let attempts = number.parse().ok().and_then(model::Pace::per_minute);
            let rule = || format!("must be a number from 1 to {}, or default", model::Pace::PER_MINUTE_MAX);
            attempts.map(|pace| Pace::PerMinute(pace.attempts_per_minute())).ok_or_else(rule)
        }
    }
}

pub(super) fn run(args: &EditArgs, environment: &Environment, verb: &mut Verb<'_>) -> anyhow::Result<()> {
    let secret = args.secret.read(environment)?;
    let path = args.scope.hook(&args.org, &args.name);
    let before = verb.client.call(Method::GET, &path, Payload::Empty)?;
    let change = change(args, secret.as_ref(), &before)?;
    let has_change = !change.is_empty();
    if has_change {
        verb.client.call(Method::PATCH, &path, Payload::Json(&Value::Object(change)))?;
    }
    edit_options(args, verb).map_err(|error| {
        let context = "the settings of Pulumi's API were changed, but not all other options";
        if has_change { error.context(context) } else { error }
    })?;
    let mut after = args.scope.find(verb, &args.org, &args.name)?;
    let mut sentence = format!("Changed the webhook {} of {}.", args.name, args.scope.place(&args.org));
    if let Some(secret) = &secret
        && secret.is_new
    {
        let text = secret.text.expose();
        sentence
            .push_str(&format!("\n\nIts new secret, shown this once; give it to the receiver:\n\n  {text}"));
        after["secret"] = text.into();
    }
    verb.output.one(verb.out, &after, &sentence)?;
    Ok(())
}

/// The request to Pulumi's API.
///
/// # Errors
/// If there is no such filter or group to remove, or the lists would become empty.
fn change(args: &EditArgs, secret: Option<&Secret>, before: &Value) -> anyhow::Result<Map<String, Value>> {
    let mut change = Map::new();
    let mut set = |name: &str, value: Option<Value>| {
        change.extend(value.map(|value| (name.to_owned(), value)));
    };
    set("payloadUrl", args.url.as_ref().map(|url| json!(url)));
    set("displayName", args.display_name.as_ref().map(|name| json!(name)));
    set("format", args.format.as_ref().map(|format| json!(format)));
    let removed = args.remove_secret.then(|| json!(REMOVE_SECRET));
    set("secret", secret.map(|secret| json!(secret.text.expose())).or(removed));
    if args.everything {
        set("filters", Some(json!([])));
        set("groups", Some(json!([])));
        return Ok(change);
    }
    let filters = edited(before, "filters", &args.add_filters, &args.remove_filters)?;
    let groups = edited(before, "groups", &args.add_groups, &args.remove_groups)?;
    let removes = !args.remove_filters.is_empty() || !args.remove_groups.is_empty();
    if removes && filters.is_empty() && groups.is_empty() {
        // Two empty lists mean every event.
        bail!(
            "nothing would be left that the webhook asks for, and it would hear of everything in its scope: \
             add something with --add-filter or --add-group, switch it off with --pause, or say --everything"
        );
    }
    if !args.add_filters.is_empty() || !args.remove_filters.is_empty() {
        set("filters", Some(json!(filters)));
    }
    if !args.add_groups.is_empty() || !args.remove_groups.is_empty() {
        set("groups", Some(json!(groups)));
    }
    Ok(change)
}

/// A list of the webhook after the change.
fn edited(before: &Value, list: &str, add: &[String], remove: &[String]) -> anyhow::Result<Vec<String>> {
    let mut items = words(before, list);
    if let Some(absent) = remove.iter().find(|removed| !items.contains(&removed.as_str())) {
        let asked = show::interests(before);
        return Err(Missing(format!("{absent} is not among its {list}; it asks for {asked}")).into());
    }
    items.retain(|item| !remove.iter().any(|removed| removed == item));
    for item in add {
        if !items.contains(&item.as_str()) {
            items.push(item);
        }
    }
    Ok(items.into_iter().map(str::to_owned).collect())
}

/// Edits the options of our own API: pause, pace, headers, suspension.
fn edit_options(args: &EditArgs, verb: &Verb<'_>) -> anyhow::Result<()> {
    let mut options = Map::new();
    if let Some(on_off) = &args.standard_headers {
        options.insert("standardHeaders".to_owned(), json!(on_off == "on"));
    }
    match args.pace {
        Some(Pace::PerMinute(attempts)) => {
            options.insert("attemptsPerMinute".to_owned(), json!(attempts));
        }
        Some(Pace::OfFormat) => {
            options.insert("attemptsPerMinute".to_owned(), Value::Null);
        }
        None => {}
    }
    if let Some(reason) = &args.pause {
        options.insert("active".to_owned(), json!(false));
        options.insert("pauseReason".to_owned(), json!(reason));
    }
    if options.is_empty() && !args.resume {
        return Ok(());
    }
    let found = args.scope.find(verb, &args.org, &args.name)?;
    let path = ["v1", "orgs", &args.org, "webhooks", text_at(&found, "/id")];
    if args.resume && found["active"] == false {
        options.insert("active".to_owned(), json!(true));
    }
    if !options.is_empty() {
        verb.client.call(Method::PATCH, &path, Payload::Json(&Value::Object(options)))?;
    }
    if args.resume {
        verb.client.call(Method::POST, &[&path[..], &["resume"]].concat(), Payload::Empty)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: EditArgs,
    }

    fn check(line: &str, expected: &str) {
        let before = json!({"filters": ["update_failed", "stack_created"], "groups": ["stacks"]});
        let args = Line::try_parse_from(line.split(' ')).expect(line).args;
        let change = change(&args, None, &before).map_err(|error| error.to_string());
        assert_eq!(change.map(|change| Value::Object(change).to_string()).as_deref(), Ok(expected), "{line}");
    }

    #[test]
    fn removing_what_is_not_there_is_refused() {
        let check = |before: &Value, line: &str, expected: &str| {
            let args = Line::try_parse_from(line.split(' ')).expect(line).args;
            let refused = change(&args, None, before).expect_err(line).to_string();
            assert!(refused.starts_with(expected), "{line}: {refused}");
        };
        let some = json!({"format": "raw", "filters": ["update_failed"], "groups": ["stacks"]});
        let asks = "it asks for update_failed; groups: stacks";
        check(
            &some,
            "edit acme n --remove-filter nosuch",
            &format!("nosuch is not among its filters; {asks}"),
        );
        check(&some, "edit acme n --remove-group nosuch", &format!("nosuch is not among its groups; {asks}"));
        check(
            &some,
            "edit acme n --remove-filter stacks",
            &format!("stacks is not among its filters; {asks}"),
        );
        let all = json!({"format": "raw", "filters": [], "groups": []});
        let everything = "update_failed is not among its filters; it asks for everything in its scope";
        check(&all, "edit acme n --remove-filter update_failed", everything);
        check(
            &some,
            "edit acme n --remove-filter update_failed --remove-group stacks",
            "nothing would be left that the webhook asks for",
        );
    }

    #[test]
    fn only_what_is_named_changes() {
        check("edit acme n --url https://b.example", r#"{"payloadUrl":"https://b.example"}"#);
        check("edit acme n --pause moving", "{}");
        check("edit acme n --everything", r#"{"filters":[],"groups":[]}"#);
        check("edit acme n --remove-secret", r#"{"secret":"__remove-secret"}"#);
        check(
            "edit acme n --add-filter update_failed --add-filter drift_detected --remove-filter stack_created",
            r#"{"filters":["update_failed","drift_detected"]}"#,
        );
        check("edit acme n --remove-group stacks --add-group policies", r#"{"groups":["policies"]}"#);
    }

    #[test]
    fn nothing_to_change_is_refused() {
        for line in [
            "edit acme n",
            "edit acme n --pause a --resume",
            "edit acme n --everything --add-filter a",
            "edit acme n --remove-secret --generate-secret",
            "edit acme n --secret hunter2",
            "edit acme n --pace often",
        ] {
            assert!(Line::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    #[test]
    fn paces() {
        assert_eq!(pace("60"), Ok(Pace::PerMinute(60)));
        assert_eq!(pace("default"), Ok(Pace::OfFormat));
        for text in ["0", "-1", "60001", "99999999999", "1.5", "often", ""] {
            let rule = "must be a number from 1 to 60000, or default";
            assert_eq!(pace(text), Err(rule.to_owned()), "{text}");
        }
    }
}
