//! Properties for any payload: a message is JSON within the services' limits, and the payload's words have no markup.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};
use stackbell_model::filter::EventKind;
use stackbell_model::hidden;
use stackbell_model::webhook::Format;

use crate::support::{CHAT_FORMATS, event, render};

/// Markup of Slack, of Markdown and of cards.
const TOKENS: &[&str] = &[
    "<!channel>",
    "<@U012>",
    "<https://evil.example|ok>",
    "[ok](https://evil.example)",
    "@here",
    "*",
    "_",
    "~",
    "`",
    "```",
    ":x:",
    ":",
    "> ",
    "- ",
    "1. ",
    "# ",
    "&",
    "&lt;",
    "\\",
    "\"",
    "{{DATE(2020-01-01T00:00:00Z)}}",
    "<at>a</at>",
    "👩\u{200d}💻",
    "🏴\u{e0067}\u{e0062}\u{e0073}\u{e0063}\u{e0074}\u{e007f}",
    "\u{200d}",
    "\u{fe0f}",
    "<b>",
    "\n",
    "\r\n",
    "\u{202e}",
    "\u{200b}",
    "\u{200d}",
    "\u{feff}",
    "\u{ad}",
    "\u{9b}",
    "\u{0}",
    "https://evil.example/",
    "word",
    " ",
    "é",
    "🍹",
];

/// Longer than every limit of the services on one text; a payload with such a text in every field must still be accepted.
const LONG_TEXT_BYTES: usize = 8_000;

/// Texts with markup and with any other characters.
fn hostile() -> impl Strategy<Value = String> {
    let piece =
        prop_oneof![3 => proptest::sample::select(TOKENS).prop_map(str::to_owned), 1 => any::<String>()];
    prop_oneof![
        9 => proptest::collection::vec(piece.clone(), 0..12).prop_map(|pieces| pieces.concat()),
        1 => piece.prop_map(|piece| piece.repeat(LONG_TEXT_BYTES / json_bytes(&piece))),
    ]
}

/// The bytes of a text in a payload: a control character takes six.
fn json_bytes(text: &str) -> usize {
    json!(text).to_string().len()
}

/// Payloads of all kinds that have one hostile text in every text field; some optional fields are left out.
fn payload(kind: EventKind, text: &str, url: &str, left_out: u32) -> Value {
    let texts = [
        "operation",
        "message",
        "policyPack",
        "policyPackTag",
        "policyName",
        "resourceURN",
        "resourceType",
        "resourceName",
        "tagName",
        "errorMessage",
        "description",
        "driftRunId",
        "rotationEventId",
    ];
    let urls = ["updateUrl", "deploymentUrl", "referenceUrl", "changeRequestUrl"];
    let mut payload = json!({
        "user": {"name": text, "githubLogin": text},
        "projectName": "_web_", "stackName": "__prod", "environmentName": "prod_",
        "resourceChanges": {text: 3, "same": 2, "delete": u64::MAX},
        "affectedRevisions": (0..100).collect::<Vec<_>>(),
        "importedEnvironmentReference": {"projectName": text, "environmentName": text, "revision": 3},
        "rotations": [{"environmentPath": text, "status": "failed", "errorMessage": text}],
        "version": 3, "revision": 4, "preRotationRevision": 5, "postRotationRevision": 6,
    });
    let fields = payload.as_object_mut().expect("an object");
    fields.extend(texts.map(|name| (name.to_owned(), text.into())));
    fields.extend(urls.map(|name| (name.to_owned(), url.into())));
    let names = ["projectName", "stackName", "environmentName"];
    let optional: Vec<_> = fields.keys().filter(|name| !names.contains(&name.as_str())).cloned().collect();
    for (bit, name) in optional.iter().enumerate() {
        if left_out >> (bit % 32) & 1 == 1 {
            fields.remove(name);
        }
    }
    let needed = match kind {
        EventKind::StackPreview => json!({"result": "failed", "isPreview": true, "kind": text}),
        EventKind::StackUpdate => json!({"result": "failed", "kind": "update"}),
        EventKind::Deployment | EventKind::DriftRemediation | EventKind::EnvironmentRotation => {
            json!({"status": "failed"})
        }
        EventKind::DriftDetection => json!({"status": "succeeded", "driftDetected": true}),
        EventKind::PolicyViolation => json!({"level": "mandatory"}),
        EventKind::DeploymentFileIngestion | EventKind::ImportedEnvironmentChanged => json!({}),
        EventKind::ChangeRequest => json!({"action": "created", "status": text}),
        EventKind::Stack
        | EventKind::Environment
        | EventKind::EnvironmentRevision
        | EventKind::EnvironmentRevisionTag
        | EventKind::EnvironmentTag => json!({"action": "created"}),
    };
    fields.extend(needed.as_object().expect("an object").clone());
    payload
}

/// All strings of a message, with the keys on the way to each.
fn strings(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => found.push((path.to_owned(), text.clone())),
        Value::Array(items) => items.iter().for_each(|item| strings(item, path, found)),
        Value::Object(members) => {
            members.iter().for_each(|(key, value)| strings(value, &format!("{path}/{key}"), found));
        }
        Value::Null => assert_eq!(path, "/attachments/contentUrl", "only the frame has a null"),
        Value::Bool(_) | Value::Number(_) => {}
    }
}

fn check_slack(body: &Value) {
    let blocks = body["blocks"].as_array().expect("blocks");
    assert!((2..=50).contains(&blocks.len()));
    let footer = blocks.last().expect("a footer");
    for block in blocks {
        if block["type"] == "actions" {
            check_button(block);
            continue;
        }
        let texts: Vec<&Value> = match (&block["text"], &block["fields"], &block["elements"]) {
            (Value::Object(_), _, _) => vec![&block["text"]],
            (_, Value::Array(list), _) | (_, _, Value::Array(list)) => list.iter().collect(),
            _ => panic!("a block without text: {block}"),
        };
        let (count_max, length_max) = if block["fields"].is_array() { (10, 2000) } else { (1, 3000) };
        assert!((1..=count_max).contains(&texts.len()));
        for text in texts {
            assert_eq!((&text["type"], &text["verbatim"]), (&json!("mrkdwn"), &json!(true)));
            let text = text["text"].as_str().expect("a text");
            assert!((1..=length_max).contains(&text.encode_utf16().count()), "{text}");
            check_markup(if block == footer { before_moment(text, "<!date^0^") } else { text });
        }
    }
    check_entities(body["text"].as_str().expect("a text"), false);
}

/// One button, to a URL of the payload.
fn check_button(block: &Value) {
    let elements = block["elements"].as_array().expect("elements");
    let [button] = elements.as_slice() else { panic!("one button: {block}") };
    let url = button["url"].as_str().expect("a URL");
    assert!(url.starts_with("https://good.example/") && url.len() <= 3000, "{url}");
    assert!(!url.contains(['<', '>', '|', ' ']), "{url}");
}

/// The footer without the time at its end, whose markup is ours.
fn before_moment<'a>(text: &'a str, moment: &str) -> &'a str {
    let (words, moment) = text.split_at(text.find(moment).expect("a moment"));
    assert_eq!(moment.matches(['<', '>']).count() % 2, 0, "{text}");
    words
}

/// Checks that the only markup in a text is ours: one link to a URL of the payload, the bold name, and a whole value as code.
fn check_markup(text: &str) {
    check_entities(text, true);
    let value = text.split_once('\n').map_or(text, |(name, value)| {
        assert!(name.starts_with('*') && name.ends_with('*'), "{name}");
        value
    });
    assert!(!value.contains('\n'), "{text}");
    if let Some(code) = value.strip_prefix('`') {
        assert!(!code.strip_suffix('`').expect("closed").contains('`'), "{text}");
        return;
    }
    assert!(!value.contains(['`', '~']), "{text}");
    assert!(matches!(value.matches('*').count(), 0 | 2), "{text}");
    assert!(!value.starts_with("&gt;"), "{text}");
}

/// Checks that each `<` and `>` belongs to our own link, and each `&` to a complete entity.
fn check_entities(text: &str, may_link: bool) {
    let bare = text.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
    assert!(!bare.contains('&'), "{text}");
    match bare.split_once('<') {
        Some((_, link)) => {
            let (link, rest) = link.split_once('>').expect("closed");
            assert!(may_link && link.starts_with("https://good.example/"), "{text}");
            assert_eq!(link.matches('|').count(), 1, "{text}");
            assert!(!rest.contains(['<', '>']), "{text}");
        }
        None => assert!(!bare.contains('>'), "{text}"),
    }
}

fn check_teams(body: &Value, length: usize) {
    assert!(length < 20_000, "{length}");
    let card = &body["attachments"][0]["content"];
    let facts =
        card["body"].as_array().expect("a body").iter().filter_map(|element| element["facts"].as_array());
    assert!(facts.clone().count() <= 1 && facts.flatten().count() <= 10);
    if let Some(actions) = card["actions"].as_array() {
        assert_eq!(actions.len(), 1);
        assert!(actions[0]["url"].as_str().expect("a URL").starts_with("https://good.example/"));
    }
    let elements = card["body"].as_array().expect("a body");
    let footer = elements.last().and_then(|footer| footer["text"].as_str()).expect("a footer");
    let mut found = Vec::new();
    strings(body, "", &mut found);
    for (path, text) in found {
        assert!(!text.is_empty(), "{path}");
        if text == footer {
            check_markdown(before_moment(&text, "{{DATE("));
        } else if path.ends_with("/body/text") || path.ends_with("/facts/value") {
            check_markdown(&text);
        }
    }
}

/// Checks that markup has a backslash before it, and that no URL is complete.
fn check_markdown(text: &str) {
    assert!(!text.contains("://") && !text.contains(char::is_control), "{text}");
    let mut is_escaped = false;
    for character in text.chars() {
        let is_markup =
            matches!(character, '[' | ']' | '*' | '`' | '~' | '<' | '>' | '#' | '|' | '{' | '}' | '&');
        assert!(is_escaped || !is_markup, "{text}");
        is_escaped = character == '\\' && !is_escaped;
    }
    assert!(!is_escaped, "a backslash at the end escapes nothing: {text}");
}

fn check(format: Format, body: &Bytes) {
    let value: Value = serde_json::from_slice(body).expect("JSON");
    let mut found = Vec::new();
    strings(&value, "", &mut found);
    for (path, text) in &found {
        assert_eq!(text.split('\n').find_map(hidden::find), None, "{path}: {text:?}");
    }
    match format {
        Format::Slack => check_slack(&value),
        Format::MsTeams => check_teams(&value, body.len()),
        Format::Raw | Format::PulumiDeployments => unreachable!("no chat format"),
    }
}

proptest! {
    #[test]
    fn words_stay_words_within_limits(
        kind in proptest::sample::select(EventKind::ALL),
        text in hostile(),
        tail in hostile(),
        left_out in any::<u32>(),
    ) {
        let payload = payload(kind, &text, &format!("https://good.example/{tail}"), left_out);
        let event = event(kind.as_str(), &payload.to_string());
        for format in CHAT_FORMATS {
            let body = render(format, &event);
            prop_assert_eq!(&body, &render(format, &event));
            check(format, &body);
        }
    }

    #[test]
    fn only_https_urls_become_links(url in hostile(), kind in proptest::sample::select(EventKind::ALL)) {
        prop_assume!(!url.trim().to_lowercase().starts_with("https:"));
        let event = event(kind.as_str(), &payload(kind, "x", &url, 0).to_string());
        let slack = render(Format::Slack, &event);
        let slack = std::str::from_utf8(&slack).expect("UTF-8");
        prop_assert_eq!(slack.replace("<!date^", "").matches('<').count(), 0, "{}", slack);
        prop_assert!(!slack.contains("\"actions\""));
        let teams: Value = serde_json::from_slice(&render(Format::MsTeams, &event)).expect("JSON");
        prop_assert_eq!(&teams["attachments"][0]["content"]["actions"], &Value::Null);
    }

    /// A store that another program wrote may hold anything.
    #[test]
    fn any_bytes_make_a_message(bytes in any::<Vec<u8>>(), kind in proptest::sample::select(EventKind::ALL)) {
        let mut event = event(kind.as_str(), &payload(kind, "x", "x", 0).to_string());
        event.payload = bytes.into();
        for format in CHAT_FORMATS {
            check(format, &render(format, &event));
        }
    }
}
