//! The output of a delivery: a line, the whole delivery, or JSON.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style as Paint};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use stackbell_model::hidden;
use stackbell_system::printable;
use stackbell_wire::rest::rfc3339;

use super::receipt::{ID, KIND, Receipt, Verdict};
use crate::output::seconds;

/// The format of printed deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// One line for each delivery.
    Line,
    /// The whole delivery, for people.
    Whole {
        /// Whether in colours.
        is_coloured: bool,
    },
    /// One JSON object a line.
    Json,
}

/// The styles of emphasized text.
struct Palette {
    title: Paint,
    good: Paint,
    bad: Paint,
    faint: Paint,
}

impl Palette {
    const fn new(is_coloured: bool) -> Self {
        if !is_coloured {
            let plain = Paint::new();
            return Self { title: plain, good: plain, bad: plain, faint: plain };
        }
        Self {
            title: Paint::new().bold(),
            good: AnsiColor::Green.on_default(),
            bad: AnsiColor::Red.on_default().bold(),
            faint: Paint::new().dimmed(),
        }
    }
}

impl Style {
    /// The text of a receipt, with the end of its last line.
    pub(super) fn show(self, receipt: &Receipt) -> String {
        match self {
            Self::Line => line(receipt),
            Self::Whole { is_coloured } => whole(receipt, &Palette::new(is_coloured)),
            Self::Json => format!("{}\n", hidden::escape_json(&object(receipt).to_string())),
        }
    }
}

fn line(receipt: &Receipt) -> String {
    let signature = if receipt.signatures.are_wrong() { "SIGNATURE WRONG" } else { "signature verified" };
    let header = |name| printable(receipt.header(name).unwrap_or("-"));
    format!("received  {}  {}  {signature}  {} bytes\n", header(KIND), header(ID), receipt.body.len())
}

fn whole(receipt: &Receipt, palette: &Palette) -> String {
    let Palette { title, faint, .. } = palette;
    let kind = printable(receipt.header(KIND).unwrap_or("no kind"));
    let payload = serde_json::from_slice::<Value>(&receipt.body).unwrap_or_default();
    let mut text = format!("{title}#{}  {kind}{title:#}", receipt.number);
    for part in [subject(&payload), outcome(&payload)].into_iter().flatten() {
        text.push_str(&format!("  {}", printable(&part)));
    }
    text.push_str(&format!("  {faint}{}{faint:#}\n", seconds(&rfc3339(receipt.at))));
    let signatures = &receipt.signatures;
    for (name, verdict) in [("Pulumi", signatures.pulumi), ("Standard Webhooks", signatures.standard)] {
        let _ = writeln!(text, "  {}", sentence(name, verdict, palette));
    }
    let mark = if receipt.status.is_success() { palette.good } else { palette.bad };
    let _ = writeln!(text, "  answered {mark}{}{mark:#}{}", receipt.status.as_u16(), remark(receipt));
    let _ = writeln!(text, "\n  {faint}{} {}{faint:#}", receipt.method, printable(&receipt.path));
    for (name, value) in &receipt.headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        let _ = writeln!(text, "  {faint}{name}: {}{faint:#}", printable(&value));
    }
    text.push('\n');
    for line in pretty(&receipt.body).lines() {
        let _ = writeln!(text, "  {line}");
    }
    text.push('\n');
    text
}

fn sentence(name: &str, verdict: Verdict, palette: &Palette) -> String {
    let Palette { good, bad, faint, .. } = palette;
    match verdict {
        Verdict::Right => format!("{good}signature right{good:#} ({name})"),
        Verdict::Wrong(why) => format!("{bad}SIGNATURE WRONG{bad:#} ({name}): {why}"),
        Verdict::Missing => format!("{faint}no signature ({name}){faint:#}"),
        Verdict::Unchecked => format!("{faint}signature not checked ({name}): no secret given{faint:#}"),
    }
}

/// The reason for a refusal because of the signatures; empty for any other status.
fn remark(receipt: &Receipt) -> &'static str {
    let is_unsigned =
        receipt.signatures.pulumi == Verdict::Missing && receipt.signatures.standard == Verdict::Missing;
    match receipt.status {
        StatusCode::UNAUTHORIZED if is_unsigned => " (it is not signed, and there is a secret)",
        StatusCode::UNAUTHORIZED if receipt.signatures.are_wrong() => " (the sender has another secret)",
        _ => "",
    }
}

/// `organization/project/stack`, or the parts of it that the payload has. Source of the fields: wire-facts.md#raw-payloads.
fn subject(payload: &Value) -> Option<String> {
    let at = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str);
    let name = at("/stackName").or_else(|| at("/environmentName"));
    let parts = [at("/organization/githubLogin"), at("/projectName"), name];
    let parts: Vec<&str> = parts.into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// The event in the payload's own words, or the text of a chat message.
fn outcome(payload: &Value) -> Option<String> {
    let at = |name: &str| payload.get(name).and_then(Value::as_str);
    let words = [at("kind"), at("result").or_else(|| at("status")).or_else(|| at("action"))];
    let words: Vec<&str> = words.into_iter().flatten().collect();
    if words.is_empty() {
        return at("message").or_else(|| at("text")).map(str::to_owned);
    }
    Some(words.join(" "))
}

fn object(receipt: &Receipt) -> Value {
    let headers: Map<String, Value> = receipt
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into()))
        .collect();
    json!({
        "number": receipt.number,
        "receivedAt": rfc3339(receipt.at),
        "method": receipt.method.as_str(),
        "path": receipt.path,
        "id": receipt.header(ID),
        "kind": receipt.header(KIND),
        "pulumiSignature": word(receipt.signatures.pulumi),
        "standardSignature": word(receipt.signatures.standard),
        "answered": receipt.status.as_u16(),
        "headers": headers,
        "body": String::from_utf8_lossy(&receipt.body),
    })
}

const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Right => "right",
        Verdict::Wrong(_) => "wrong",
        Verdict::Missing => "missing",
        Verdict::Unchecked => "unchecked",
    }
}

/// Formats JSON with one line for each value, and leaves any other body unchanged. Texts and numbers keep their spelling, but
/// hidden characters are escaped.
pub(crate) fn pretty(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_err() {
        return text.lines().map(printable).collect::<Vec<_>>().join("\n");
    }
    let text = hidden::escape_json(&text);
    let mut pretty = Indented { text: String::new(), depth: 0 };
    let mut is_in_string = false;
    let mut is_escaped = false;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if is_in_string {
            pretty.text.push(c);
            is_in_string = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
            continue;
        }
        match c {
            '{' | '[' => {
                while characters.next_if(char::is_ascii_whitespace).is_some() {}
                match characters.next_if(|next| matches!(next, '}' | ']')) {
                    Some(close) => pretty.text.extend([c, close]),
                    None => pretty.open(c),
                }
            }
            '}' | ']' => pretty.close(c),
            ',' => pretty.separate(),
            ':' => pretty.text.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => {
                is_in_string = c == '"';
                pretty.text.push(c);
            }
        }
    }
    pretty.text
}

struct Indented {
    text: String,
    depth: usize,
}

impl Indented {
    fn open(&mut self, bracket: char) {
        self.text.push(bracket);
        self.depth += 1;
        self.end_line();
    }

    fn close(&mut self, bracket: char) {
        // Valid JSON closes no more brackets than it opens.
        self.depth = self.depth.saturating_sub(1);
        self.end_line();
        self.text.push(bracket);
    }

    fn separate(&mut self) {
        self.text.push(',');
        self.end_line();
    }

    fn end_line(&mut self) {
        self.text.push('\n');
        self.text.extend(std::iter::repeat_n("  ", self.depth));
    }
}

#[cfg(test)]
#[path = "show_tests.rs"]
mod tests;
