//! The facts that a message shows.

use serde_json::{Value, json};
use stackbell_model::Timestamp;
use stackbell_model::filter::{EventKind, Filter, FilterSet};
use stackbell_model::webhook::Format;

use crate::support::{CHAT_FORMATS, event, golden_folder, render};

fn message(format: Format, kind: &str, payload: &Value) -> Value {
    parse(&render(format, &event(kind, &payload.to_string())))
}

fn parse(body: &[u8]) -> Value {
    serde_json::from_slice(body).expect("JSON")
}

fn sample(filter: Filter) -> String {
    let path = golden_folder().join(format!("payloads/{}.json", filter.as_str()));
    std::fs::read_to_string(path).expect("a sample of each filter")
}

fn card(message: &Value) -> &Value {
    &message["attachments"][0]["content"]
}

/// The first line that a reader sees.
fn title(format: Format, message: &Value) -> String {
    let title = match format {
        Format::Slack => &message["blocks"][0]["text"]["text"],
        _ => &card(message)["body"][0]["text"],
    };
    title.as_str().expect("a title").to_owned()
}

/// The last line that a reader sees.
fn footer(format: Format, message: &Value) -> String {
    let last = |list: &Value| list.as_array().expect("a list").last().expect("a footer").clone();
    let footer = match format {
        Format::Slack => last(&message["blocks"])["elements"][0]["text"].clone(),
        _ => last(&card(message)["body"])["text"].clone(),
    };
    footer.as_str().expect("a footer").to_owned()
}

/// The names of the rows.
fn rows(format: Format, message: &Value) -> Vec<String> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    match format {
        Format::Slack => {
            let blocks = message["blocks"].as_array().expect("blocks").iter();
            let fields = blocks.filter_map(|block| block["fields"].as_array()).flatten();
            let names = fields.filter_map(|field| {
                Some(text(&field["text"]).split_once('\n')?.0.trim_matches('*').to_owned())
            });
            names.collect()
        }
        _ => {
            let body = card(message)["body"].as_array().expect("a body").iter();
            let facts = body.filter_map(|element| element["facts"].as_array()).flatten();
            facts.map(|fact| text(&fact["title"])).collect()
        }
    }
}

#[test]
fn a_stack_and_an_environment_with_equal_names_differ() {
    let stack = json!({"projectName": "web", "stackName": "prod", "action": "created"});
    let environment = json!({"projectName": "web", "environmentName": "prod", "action": "created"});
    let titles = |format| {
        (
            title(format, &message(format, "stack", &stack)),
            title(format, &message(format, "environment", &environment)),
        )
    };
    let subject = "crazy-adventures/web/prod";
    assert_eq!(
        titles(Format::Slack),
        (format!("Stack *{subject}* created"), format!("Environment *{subject}* created"))
    );
    assert_eq!(
        titles(Format::MsTeams),
        (format!("Created: stack {subject}"), format!("Created: environment {subject}"))
    );
    let notification = message(Format::Slack, "environment", &environment)["text"].clone();
    assert_eq!(notification, format!("Environment {subject}: created"));
}

#[test]
fn every_message_says_whether_it_is_about_a_stack_or_an_environment() {
    for filter in Filter::ALL {
        let payload = sample(*filter);
        let noun = if payload.contains("\"stackName\"") { "Stack" } else { "Environment" };
        for format in CHAT_FORMATS {
            let message = parse(&render(format, &event(filter.kind().as_str(), &payload)));
            let title = title(format, &message);
            let expected = match format {
                Format::Slack => format!("{noun} *"),
                _ => format!(": {} ", noun.to_lowercase()),
            };
            assert!(title.contains(&expected), "{title}");
        }
    }
}

/// A message may be sent hours after its event, and its bytes are fixed when the event is accepted.
#[test]
fn a_message_says_when_its_event_was() {
    let mut event = event("stack", r#"{"action":"created","projectName":"web","stackName":"prod"}"#);
    let mut check = |milliseconds, slack: &str, teams: &str| {
        event.accepted_at = Timestamp::from_millis(milliseconds);
        for (format, expected) in [(Format::Slack, slack), (Format::MsTeams, teams)] {
            let footer = footer(format, &parse(&render(format, &event)));
            assert_eq!(footer, format!("Event: stack created · {expected}"));
        }
    };
    check(
        1_778_653_144_999,
        "<!date^1778653144^{date_short_pretty} at {time}|2026-05-13 06:19 UTC>",
        "{{DATE(2026-05-13T06:19:04Z, SHORT)}} {{TIME(2026-05-13T06:19:04Z)}}",
    );
    check(
        0,
        "<!date^0^{date_short_pretty} at {time}|1970-01-01 00:00 UTC>",
        "{{DATE(1970-01-01T00:00:00Z, SHORT)}} {{TIME(1970-01-01T00:00:00Z)}}",
    );
}

#[test]
fn the_footer_is_in_plain_words() {
    let words = |format, event: &stackbell_model::event::Event| {
        let footer = footer(format, &parse(&render(format, event)));
        footer.split(" · ").next().expect("words").to_owned()
    };
    for filter in Filter::ALL {
        for format in CHAT_FORMATS {
            let words = words(format, &event(filter.kind().as_str(), &sample(*filter)));
            let plain = |c: char| c.is_ascii_alphabetic() || matches!(c, ' ' | ',' | ':');
            assert!(words.starts_with("Event: ") && words.chars().all(plain), "{filter}: {words}");
        }
    }
    let drift = event("drift_detection", &sample(Filter::DriftDetected));
    assert_eq!(words(Format::Slack, &drift), "Event: drift detected, drift detection succeeded");
    let policy = event("policy_violation", &sample(Filter::PolicyViolationMandatory));
    assert_eq!(words(Format::MsTeams, &policy), "Event: mandatory policy violation");
    let mut unfiltered = drift;
    unfiltered.filters = FilterSet::EMPTY;
    assert_eq!(words(Format::Slack, &unfiltered), "Event: drift detection");
}

#[test]
fn a_policy_violation_says_whether_it_was_in_a_preview_or_an_update() {
    let check = |fields: Value, expected: &str| {
        for level in ["mandatory", "advisory"] {
            let mut payload = json!({
                "projectName": "web", "stackName": "prod", "level": level, "updateUrl": "https://ci.example/runs/4",
            });
            payload.as_object_mut().expect("an object").extend(fields.as_object().expect("fields").clone());
            for format in CHAT_FORMATS {
                let message = message(format, "policy_violation", &payload);
                let title = title(format, &message).to_lowercase();
                assert!(title.contains(&format!("{level} policy violated")), "{title}");
                assert_eq!(title.contains("in a preview"), expected == "preview", "{fields}: {title}");
                assert_eq!(title.contains("in an update"), expected == "update", "{fields}: {title}");
                let (label, _) = button(format, &message).expect("a button");
                assert_eq!(label, format!("View {expected}"), "{fields}");
            }
        }
    };
    check(json!({"isPreview": true}), "preview");
    check(json!({"isPreview": false}), "update");
    check(json!({"isPreview": false, "updateUrl": "https://app.example/o/web/prod/previews/1"}), "update");
    check(json!({"updateUrl": "https://app.example/o/web/prod/updates/4"}), "update");
    check(json!({"updateUrl": "https://app.example/o/updates/prod/previews/0a-1/?x=/updates/1"}), "preview");
    check(json!({}), "run");
}

#[test]
fn nobody_known_is_no_row() {
    let nobody = [
        None,
        Some(json!(null)),
        Some(json!({})),
        Some(json!({"name": "", "githubLogin": "", "avatarUrl": ""})),
        Some(json!({"name": " \n\t", "githubLogin": "\u{a0}"})),
        Some(json!({"name": "\u{200b}\u{2060}", "githubLogin": "\u{202e}\u{feff}"})),
        Some(json!({"name": null, "githubLogin": null})),
        Some(json!({"avatarUrl": "https://a.example/x.png"})),
    ];
    for user in nobody {
        for kind in EventKind::ALL {
            let filter =
                Filter::ALL.iter().find(|filter| filter.kind() == *kind).expect("each kind has a filter");
            let mut payload: Value = serde_json::from_str(&sample(*filter)).expect("JSON");
            let fields = payload.as_object_mut().expect("an object");
            fields.remove("user");
            fields.extend(user.clone().map(|user| ("user".to_owned(), user)));
            for format in CHAT_FORMATS {
                let rows = rows(format, &message(format, kind.as_str(), &payload));
                assert!(!rows.contains(&"User".to_owned()), "{user:?}: {rows:?}");
            }
        }
    }
    let known = message(
        Format::Slack,
        "stack_update",
        &serde_json::from_str(&sample(Filter::UpdateFailed)).expect("JSON"),
    );
    assert!(rows(Format::Slack, &known).contains(&"User".to_owned()));
}

/// Label and URL of the button.
fn button(format: Format, message: &Value) -> Option<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    match format {
        Format::Slack => {
            let blocks = message["blocks"].as_array().expect("blocks");
            let actions = blocks.iter().find(|block| block["type"] == "actions")?;
            let button = &actions["elements"][0];
            assert_eq!((&button["type"], &button["text"]["type"]), (&json!("button"), &json!("plain_text")));
            Some((text(&button["text"]["text"]), text(&button["url"])))
        }
        _ => {
            let action = card(message)["actions"].as_array()?.first()?;
            assert_eq!(action["type"], "Action.OpenUrl");
            Some((text(&action["title"]), text(&action["url"])))
        }
    }
}

#[test]
fn slack_has_the_button_that_teams_has() {
    let mut buttons = 0;
    for filter in Filter::ALL {
        let event = event(filter.kind().as_str(), &sample(*filter));
        let of = |format| button(format, &parse(&render(format, &event)));
        assert_eq!(of(Format::Slack), of(Format::MsTeams), "{filter}");
        buttons += usize::from(of(Format::Slack).is_some());
    }
    assert!(buttons > 20, "{buttons}");
    let url = "https://app.example/a?b=1&c=<2>";
    let payload =
        json!({"projectName": "web", "stackName": "prod", "status": "running", "deploymentUrl": url});
    let (label, url) =
        button(Format::Slack, &message(Format::Slack, "deployment", &payload)).expect("a button");
    assert_eq!((label.as_str(), url.as_str()), ("View deployment", "https://app.example/a?b=1&c=%3C2%3E"));
}

#[test]
fn nothing_invisible_of_a_payload_reaches_a_message() {
    let text = "ad\u{200b}m\u{200d}i\u{2060}n\u{ad} \u{202e}x\u{2066}y\u{feff}\u{1b}[31m\u{9b}\u{7f}\u{e0041}\u{3164}";
    let payload = json!({
        "projectName": "web", "stackName": "prod", "level": "mandatory",
        "user": {"name": text, "githubLogin": text}, "updateUrl": format!("https://a.example/{text}"),
        "message": text, "policyName": text, "policyPack": text, "policyPackTag": text, "resourceURN": text,
        "resourceType": text, "resourceName": text,
    });
    for format in CHAT_FORMATS {
        let body = render(format, &event("policy_violation", &payload.to_string()));
        let body = std::str::from_utf8(&body).expect("UTF-8");
        assert!(!body.contains(stackbell_model::hidden::is_invisible), "{body:?}");
        for escape in ["\\u00", "\\u20", "\\b", "\\f", "\\r", "\\t"] {
            assert!(!body.contains(escape), "{escape} in {body}");
        }
        assert!(body.contains("admin xy [31m") || body.contains("admin xy \\\\[31m"), "{body}");
    }
}

#[test]
fn ordinary_joiners_of_a_payload_stay_in_a_message() {
    let text = "می\u{200c}خواهم 👩\u{200d}💻 ❤\u{fe0f}\u{200d}🔥 क\u{94d}\u{200d}ष";
    let payload = json!({
        "projectName": "web", "stackName": "prod", "kind": "update", "result": "succeeded", "resourceChanges": {},
        "isPreview": false, "updateUrl": "https://a.example/", "user": {"name": text, "githubLogin": text},
    });
    for format in CHAT_FORMATS {
        let body = render(format, &event("stack_update", &payload.to_string()));
        let body = std::str::from_utf8(&body).expect("UTF-8");
        assert!(body.contains(text), "{body}");
    }
}
