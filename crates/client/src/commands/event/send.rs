//! Publishes events.

use std::fs::File;
use std::io::{self, Cursor, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use stackbell_system::without_mark;
use ureq::http::Method;

use crate::api::Payload;
use crate::output::Output;
use crate::progress::Progress;
use crate::verb::{Verb, counted, number_at, text_at};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// The most bytes of a payload that is wrapped here: far more than a server accepts.
const PAYLOAD_BYTES_MAX: u64 = 4 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct SendArgs {
    /// The organization
    org: String,
    /// The event's kind; FILE then holds its payload alone
    #[arg(long)]
    kind: Option<String>,
    /// The event's id, any UUID: sending the event again with the same id delivers nothing twice
    #[arg(long, value_name = "UUID", requires = "kind")]
    id: Option<String>,
    /// FILE holds one {kind, payload, id} a line; the default for names that end with .ndjson
    #[arg(long, conflicts_with = "kind")]
    ndjson: bool,
    /// A payload with --kind, else {kind, payload, id}, an array of them, or NDJSON; - for standard input
    #[arg(default_value = "-")]
    file: PathBuf,
}

/// An event that keeps the original text of its payload.
#[derive(Serialize)]
struct Envelope<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    payload: &'a RawValue,
}

pub(super) fn run(args: &SendArgs, verb: &mut Verb<'_>) -> anyhow::Result<ExitCode> {
    let (body, length) = open(&args.file)?;
    let progress = Progress::bytes("sent", length);
    let mut body = progress.wrap(body);
    let path = ["v1", "orgs", &args.org, "events"];
    let answer = match &args.kind {
        Some(kind) => {
            let mut envelope = Cursor::new(wrap(kind, args.id.as_deref(), body)?);
            verb.client.call(Method::POST, &path, Payload::Stream(JSON, &mut envelope))?
        }
        None => {
            let is_ndjson =
                args.ndjson || args.file.extension().is_some_and(|extension| extension == "ndjson");
            let media_type = if is_ndjson { NDJSON } else { JSON };
            verb.client.call(Method::POST, &path, Payload::Stream(media_type, &mut body))?
        }
    };
    progress.finish();
    print(verb, &answer)?;
    // The exit code tells a script whether the server refused some of the lines.
    let has_refusals = answer.pointer("/refused").and_then(Value::as_u64).is_some_and(|count| count > 0);
    Ok(if has_refusals { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Opens the input. Returns its length too, if it is known.
fn open(path: &Path) -> anyhow::Result<(Box<dyn Read>, Option<u64>)> {
    if path == Path::new("-") {
        return Ok((Box::new(io::stdin()), None));
    }
    let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, file) = opened.with_context(|| format!("cannot read {}", path.display()))?;
    Ok((Box::new(file), metadata.is_file().then_some(metadata.len())))
}

fn wrap(kind: &str, id: Option<&str>, body: impl Read) -> anyhow::Result<Vec<u8>> {
    let mut text = String::new();
    body.take(PAYLOAD_BYTES_MAX + 1).read_to_string(&mut text).context("cannot read the payload")?;
    ensure!(text.len() as u64 <= PAYLOAD_BYTES_MAX, "the payload is longer than {PAYLOAD_BYTES_MAX} bytes");
    let payload = serde_json::from_str(without_mark(&text)).context("the payload is not JSON")?;
    Ok(serde_json::to_vec(&Envelope { kind, id, payload })?)
}

fn print(verb: &mut Verb<'_>, answer: &Value) -> io::Result<()> {
    if verb.output == Output::Json {
        return verb.output.one(verb.out, answer, "");
    }
    match answer {
        Value::Array(events) => events.iter().try_for_each(|event| writeln!(verb.out, "{}", accepted(event))),
        Value::Object(summary) if summary.contains_key("refused") => print_summary(verb.out, answer),
        _ => writeln!(verb.out, "{}", accepted(answer)),
    }
}

fn accepted(event: &Value) -> String {
    let deliveries = counted(number_at(event, "/deliveries"), "delivery", "deliveries");
    format!("{}  {}  {deliveries}", text_at(event, "/id"), text_at(event, "/kind"))
}

fn print_summary(out: &mut dyn Write, summary: &Value) -> io::Result<()> {
    let count = |name: &str| summary.get(name).and_then(Value::as_u64).unwrap_or_default();
    writeln!(
        out,
        "{} accepted, {} there already, {} refused",
        count("accepted"),
        count("duplicates"),
        count("refused")
    )?;
    let refusals = summary.get("refusals").and_then(Value::as_array);
    for refusal in refusals.into_iter().flatten() {
        let line = refusal.get("line").and_then(Value::as_u64).unwrap_or_default();
        writeln!(out, "line {line}: {}", text_at(refusal, "/message"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_keep_their_text() {
        let wrapped = wrap("stack", Some("an-id"), Cursor::new(" {\"n\": 1.0}\n")).expect("wrapped");
        assert_eq!(wrapped, br#"{"kind":"stack","id":"an-id","payload":{"n": 1.0}}"#);
        let marked = wrap("stack", None, Cursor::new("\u{feff}{}")).expect("wrapped");
        assert_eq!(marked, br#"{"kind":"stack","payload":{}}"#);
        assert!(wrap("stack", None, Cursor::new("{")).is_err());
    }
}
