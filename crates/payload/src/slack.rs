//! A message for a Slack incoming webhook: Block Kit, with a plain text for notifications.
//!
//! Every text is `mrkdwn` with `verbatim`, so that Slack does not link bare URLs, names and mentions. [`Prose`] removes the
//! markup from a payload's words. Slack has no escapes for its formatting characters, so characters that look alike replace
//! them.
//!
//! Source of frame, limits and escapes: wire-facts.md#slack.

use bytes::Bytes;
use serde::Serialize;
use stackbell_model::Timestamp;

use super::chat::{Fact, Limit, Link, Message, Status, Text, Written};
use crate::calendar::calendar;

/// The most fields of a section.
const FIELDS_MAX: usize = 10;
/// A section's text takes 3,000 characters. With subject and headline this leaves room in the first one.
const URL_MAX: usize = 2400;
/// Organization, project and stack have at most 100 characters each.
const SUBJECT: Limit = limit(400);
/// Characters of an explanation, out of the 3,000 of a section's text: its beginning names the problem.
const DETAIL: Limit = limit(2000);
/// Characters of a field, out of Slack's 2,000, because fields stand in two narrow columns.
const VALUE: Limit = limit(600);

/// Slack counts characters. We count UTF-16 units, because a text never has fewer of them.
const fn limit(cost_max: usize) -> Limit {
    Limit { cost_max, cost: |piece| piece.encode_utf16().count() }
}

/// The message.
pub(super) fn render(message: &Message) -> Bytes {
    let subject = prose(&message.subject, SUBJECT);
    let mut blocks = vec![Block::Section { text: markdown(title(message, &subject)) }];
    blocks.extend(message.detail.as_ref().map(|text| Block::Section { text: markdown(prose(text, DETAIL)) }));
    let fields: Vec<_> = message.facts.iter().take(FIELDS_MAX).map(|fact| markdown(field(fact))).collect();
    if !fields.is_empty() {
        blocks.push(Block::Fields { fields });
    }
    blocks.extend(message.link.as_ref().map(|link| Block::Actions { elements: [Button::new(link)] }));
    let footer = format!("Event: {} · {}", message.reason, moment(message.accepted_at));
    blocks.push(Block::Context { elements: [markdown(footer)] });
    encode(&Body { text: format!("{} {subject}: {}", message.noun, message.headline), blocks })
}

/// A message with one fixed sentence.
pub(super) fn plain(sentence: &str) -> Bytes {
    encode(&Body { text: sentence.to_owned(), blocks: Vec::new() })
}

fn encode(body: &Body) -> Bytes {
    Bytes::from(serde_json::to_vec(body).expect("strings and lists have a JSON form"))
}

#[derive(Serialize)]
struct Body {
    text: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    blocks: Vec<Block>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block {
    Section {
        text: Markdown,
    },
    #[serde(rename = "section")]
    Fields {
        fields: Vec<Markdown>,
    },
    Actions {
        elements: [Button; 1],
    },
    Context {
        elements: [Markdown; 1],
    },
}

/// A button that opens a URL.
#[derive(Serialize)]
struct Button {
    r#type: &'static str,
    text: Label,
    url: String,
}

#[derive(Serialize)]
struct Label {
    r#type: &'static str,
    text: &'static str,
}

impl Button {
    fn new(link: &Link) -> Self {
        let text = Label { r#type: "plain_text", text: link.label };
        Self { r#type: "button", text, url: link.url().to_owned() }
    }
}

#[derive(Serialize)]
struct Markdown {
    r#type: &'static str,
    text: String,
    verbatim: bool,
}

fn markdown(text: String) -> Markdown {
    Markdown { r#type: "mrkdwn", text, verbatim: true }
}

fn title(message: &Message, subject: &str) -> String {
    let headline = match message.link.as_ref().and_then(target) {
        Some(url) => format!("<{url}|{}>", message.headline),
        None => message.headline.to_owned(),
    };
    format!("{}{} *{subject}* {headline}", icon(message.status), message.noun)
}

/// A time, which Slack shows in each reader's time zone: `today at 14:02`, or a date.
fn moment(at: Timestamp) -> String {
    let in_utc = calendar(at).strftime("%Y-%m-%d %H:%M UTC");
    format!("<!date^{}^{{date_short_pretty}} at {{time}}|{in_utc}>", at.as_secs())
}

fn field(fact: &Fact) -> String {
    let value = match &fact.text {
        Text::Prose(text) => prose(text, VALUE),
        Text::Code(text) => code(text, VALUE),
    };
    format!("*{}*\n{value}", fact.name)
}

/// The icon, followed by a space; empty for a neutral status.
const fn icon(status: Status) -> &'static str {
    match status {
        Status::Succeeded => ":white_check_mark: ",
        Status::Failed => ":x: ",
        Status::Running => ":hourglass_flowing_sand: ",
        Status::Forbidden => ":no_entry: ",
        Status::Warning => ":warning: ",
        Status::Neutral => "",
    }
}

/// The link's URL as written in `<url|text>`; `None` if it is too long there.
fn target(link: &Link) -> Option<String> {
    let url = link.url().replace('&', "&amp;");
    (url.len() <= URL_MAX).then_some(url)
}

/// Escapes a text so that it is shown literally between any other texts.
fn prose(text: &str, limit: Limit) -> String {
    let mut written = Written::new(limit);
    let mut before = None;
    for (at, character) in text.char_indices() {
        let after = &text[at + character.len_utf8()..];
        let mut buffer = [0; 4];
        let piece = match character {
            // A `>` at the beginning of a line starts a quotation, even if it is escaped.
            '>' if at == 0 => "›",
            '*' => "∗",
            '~' => "∼",
            '`' => "ˋ",
            // Names often contain one inside a word, where it is never formatting.
            '_' if !is_within_word(before, after) => "ˍ",
            ':' if begins_emoji(after) => "∶",
            _ => escaped(character, &mut buffer),
        };
        if !written.push(piece) {
            break;
        }
        before = Some(character);
    }
    written.into_text()
}

/// A text in a monospaced font, in which only the closing mark has a meaning.
fn code(text: &str, limit: Limit) -> String {
    let mut written = Written::new(Limit { cost_max: limit.cost_max - 2, ..limit });
    for character in text.chars() {
        let mut buffer = [0; 4];
        let piece = if character == '`' { "ˋ" } else { escaped(character, &mut buffer) };
        if !written.push(piece) {
            break;
        }
    }
    format!("`{}`", written.into_text())
}

fn escaped(character: char, buffer: &mut [u8; 4]) -> &str {
    match character {
        '&' => "&amp;",
        '<' => "&lt;",
        '>' => "&gt;",
        _ => character.encode_utf8(buffer),
    }
}

fn is_within_word(before: Option<char>, after: &str) -> bool {
    before.is_some_and(char::is_alphanumeric) && after.chars().next().is_some_and(char::is_alphanumeric)
}

/// True if a colon begins a `:name:`.
fn begins_emoji(after: &str) -> bool {
    let end = after
        .find(|character: char| !character.is_alphanumeric() && !matches!(character, '_' | '-' | '+' | '\''));
    end.is_some_and(|end| end > 0 && after[end..].starts_with(':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(prose(text, DETAIL), expected);
    }

    #[test]
    fn words_stay_words() {
        check(
            "a & b <!channel> <@U1> <https://e.example|x>",
            "a &amp; b &lt;!channel&gt; &lt;@U1&gt; &lt;https://e.example|x&gt;",
        );
        check("> not a quotation > here", "› not a quotation &gt; here");
        check("*b* ~s~ `c` ```d```", "∗b∗ ∼s∼ ˋcˋ ˋˋˋdˋˋˋ");
        check("my_stack_name _i_ __init__", "my_stack_name ˍiˍ ˍˍinitˍˍ");
        check(":white_check_mark: all :+1::x: fine", "∶white_check_mark: all ∶+1:∶x: fine");
        check("urn:pulumi:prod::web", "urn∶pulumi∶prod::web");
        check("at 3: no, a:b", "at 3: no, a:b");
    }

    #[test]
    fn code_keeps_what_is_copied() {
        let urn = "urn:pulumi:prod::web::aws:s3/bucket:Bucket::_a*b_";
        assert_eq!(code(urn, VALUE), format!("`{urn}`"));
        assert_eq!(code("a`b` <!here>", VALUE), "`aˋbˋ &lt;!here&gt;`");
        assert_eq!(code(&"x".repeat(700), VALUE), format!("`{}…`", "x".repeat(597)));
    }

    #[test]
    fn cuts_are_between_entities() {
        let text = prose(&"&".repeat(1000), limit(12));
        assert_eq!(text, "&amp;&amp;…");
    }
}
