//! A message for Microsoft Teams, by a Workflows URL or an incoming webhook: an Adaptive Card.
//!
//! Cards interpret some Markdown in texts and facts. Each character of markup in a payload's words is escaped with a backslash.
//! Bare URLs are broken up, because some clients make links of them.
//!
//! Source of frame, limits and Markdown: wire-facts.md#microsoft-teams.

use bytes::Bytes;
use serde::Serialize;
use stackbell_model::Timestamp;

use super::chat::{Limit, Message, Status, Text, Written};
use crate::calendar::calendar;

/// Teams documents 28 KB and accepts less in practice. With the limits below a message has at most 16 KB.
#[cfg(test)]
const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// The most rows.
const FACTS_MAX: usize = 10;
/// Organization, project and stack have at most 100 characters each.
const SUBJECT: Limit = limit(500);
/// Bytes of an explanation: its beginning names the problem.
const DETAIL: Limit = limit(3000);
/// Bytes of one row.
const VALUE: Limit = limit(700);

/// In bytes of the JSON text.
const fn limit(cost_max: usize) -> Limit {
    Limit {
        cost_max,
        cost: |piece| piece.len() + piece.bytes().filter(|byte| matches!(byte, b'"' | b'\\')).count(),
    }
}

/// The message.
pub(super) fn render(message: &Message) -> Bytes {
    let subject = prose(&message.subject, SUBJECT);
    let noun = message.noun.to_ascii_lowercase();
    let title = format!("{}: {noun} {subject}", capitalized(message.headline));
    let mut body = vec![Element::title(title, color(message.status))];
    body.extend(message.detail.as_ref().map(|text| Element::text(prose(text, DETAIL))));
    let facts: Vec<_> = message.facts.iter().take(FACTS_MAX).map(fact).collect();
    if !facts.is_empty() {
        body.push(Element::FactSet { facts });
    }
    let footer = format!("Event: {} · {}", message.reason, moment(message.accepted_at));
    body.push(Element::footer(footer));
    let actions = message.link.iter();
    let actions = actions.map(|link| Action { r#type: "Action.OpenUrl", title: link.label, url: link.url() });
    encode(body, actions.collect())
}

/// A message with one fixed sentence.
pub(super) fn plain(sentence: &str) -> Bytes {
    encode(vec![Element::text(sentence.to_owned())], Vec::new())
}

fn encode(body: Vec<Element>, actions: Vec<Action<'_>>) -> Bytes {
    let content = Card {
        schema: "http://adaptivecards.io/schemas/adaptive-card.json",
        r#type: "AdaptiveCard",
        version: "1.4",
        body,
        actions,
    };
    let attachment =
        Attachment { content_type: "application/vnd.microsoft.card.adaptive", content_url: (), content };
    let envelope = Envelope { r#type: "message", attachments: [attachment] };
    Bytes::from(serde_json::to_vec(&envelope).expect("strings and lists have a JSON form"))
}

#[derive(Serialize)]
struct Envelope<'a> {
    r#type: &'static str,
    attachments: [Attachment<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attachment<'a> {
    content_type: &'static str,
    /// Null, as in Microsoft's own examples: the card is in the message.
    content_url: (),
    content: Card<'a>,
}

#[derive(Serialize)]
struct Card<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    r#type: &'static str,
    version: &'static str,
    body: Vec<Element>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    actions: Vec<Action<'a>>,
}

#[derive(Serialize)]
#[serde(tag = "type")]
enum Element {
    TextBlock {
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<&'static str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        weight: Option<&'static str>,
        wrap: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        color: Option<&'static str>,
        #[serde(rename = "isSubtle", skip_serializing_if = "std::ops::Not::not")]
        is_subtle: bool,
        text: String,
    },
    FactSet {
        facts: Vec<CardFact>,
    },
}

impl Element {
    fn title(text: String, color: &'static str) -> Self {
        let (size, weight, color) = (Some("Medium"), Some("Bolder"), Some(color));
        Self::TextBlock { size, weight, wrap: true, color, is_subtle: false, text }
    }

    fn text(text: String) -> Self {
        Self::TextBlock { size: None, weight: None, wrap: true, color: None, is_subtle: false, text }
    }

    fn footer(text: String) -> Self {
        Self::TextBlock { size: Some("Small"), weight: None, wrap: true, color: None, is_subtle: true, text }
    }
}

#[derive(Serialize)]
struct CardFact {
    title: &'static str,
    value: String,
}

#[derive(Serialize)]
struct Action<'a> {
    r#type: &'static str,
    title: &'static str,
    url: &'a str,
}

fn fact(fact: &super::chat::Fact) -> CardFact {
    let (Text::Prose(text) | Text::Code(text)) = &fact.text;
    CardFact { title: fact.name, value: prose(text, VALUE) }
}

const fn color(status: Status) -> &'static str {
    match status {
        Status::Succeeded => "Good",
        Status::Failed | Status::Forbidden => "Attention",
        Status::Warning => "Warning",
        Status::Running | Status::Neutral => "Default",
    }
}

/// Capitalises a headline, which begins with a lowercase letter of ASCII.
fn capitalized(headline: &str) -> String {
    let (first, rest) = headline.split_at(1);
    first.to_ascii_uppercase() + rest
}

/// A time, which Teams shows in each reader's time zone.
fn moment(at: Timestamp) -> String {
    let in_utc = calendar(at).strftime("%Y-%m-%dT%H:%M:%SZ");
    format!("{{{{DATE({in_utc}, SHORT)}}}} {{{{TIME({in_utc})}}}}")
}

/// Escapes a text so that it is shown literally.
fn prose(text: &str, limit: Limit) -> String {
    let mut written = Written::new(limit);
    let number = text.bytes().take_while(u8::is_ascii_digit).count();
    let mut before = None;
    for (at, character) in text.char_indices() {
        let after = &text[at + character.len_utf8()..];
        let mut buffer = [0; 5];
        let piece = match character {
            // The ratio sign looks like a colon, but no client interprets it as the colon of a URL.
            ':' if after.starts_with("//") => "∶",
            _ if is_markup(character, before, after) || begins_list(character, at, number) => {
                backslashed(character, &mut buffer)
            }
            _ => character.encode_utf8(&mut buffer),
        };
        if !written.push(piece) {
            break;
        }
        before = Some(character);
    }
    written.into_text()
}

/// Writes a character of ASCII with a backslash before it.
fn backslashed(character: char, buffer: &mut [u8; 5]) -> &str {
    buffer[0] = b'\\';
    let length = character.encode_utf8(&mut buffer[1..]).len();
    std::str::from_utf8(&buffer[..=length]).expect("a backslash and a character")
}

fn is_markup(character: char, before: Option<char>, after: &str) -> bool {
    match character {
        '\\' | '`' | '*' | '~' | '[' | ']' | '<' | '>' | '#' | '|' | '{' | '}' | '&' => true,
        // Names often contain one inside a word, where it is never formatting.
        '_' => {
            let is_word = |neighbour: Option<char>| neighbour.is_some_and(char::is_alphanumeric);
            !is_word(before) || !is_word(after.chars().next())
        }
        _ => false,
    }
}

/// True if a character makes a list: a list mark at the beginning, or the mark after the `number` of digits there.
fn begins_list(character: char, at: usize, number: usize) -> bool {
    (at == 0 && matches!(character, '-' | '+' | '='))
        || (at > 0 && at == number && matches!(character, '.' | ')'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::Fact;

    fn check(text: &str, expected: &str) {
        assert_eq!(prose(text, DETAIL), expected);
    }

    #[test]
    fn words_stay_words() {
        check("[x](https://e.example) <at>a</at>", "\\[x\\](https∶//e.example) \\<at\\>a\\</at\\>");
        check("**b** ~s~ `c` # h &amp; {{DATE(x)}}", r"\*\*b\*\* \~s\~ \`c\` \# h \&amp; \{\{DATE(x)\}\}");
        check(r"my_stack_name _i_ a\*b", r"my_stack_name \_i\_ a\\\*b");
        check("- no list - here", r"\- no list - here");
        check("12. no list 3. here", r"12\. no list 3. here");
        check("1.4.0", r"1\.4.0");
        check("2", "2");
    }

    #[test]
    fn cuts_are_between_escapes() {
        assert_eq!(prose(&"*".repeat(100), limit(12)), r"\*\*\*…");
        assert_eq!(prose(&"é".repeat(100), limit(12)), "éééé…");
    }

    #[test]
    fn the_largest_message_is_below_what_teams_takes() {
        let text = "\\\"".repeat(10_000);
        let message = Message {
            status: Status::Failed,
            noun: "Environment",
            subject: text.clone(),
            headline: "update failed",
            link: None,
            detail: Some(text.clone()),
            facts: vec![Fact { name: "Revision before", text: Text::Prose(text.clone()) }; 20],
            reason: "deployment file ingestion failed".repeat(4),
            accepted_at: Timestamp::from_millis(i64::MAX),
        };
        let link_bytes_max = crate::chat::URL_BYTES_MAX + 100;
        assert!(render(&message).len() + link_bytes_max <= MESSAGE_BYTES_MAX);
    }
}
