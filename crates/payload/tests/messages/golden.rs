//! Golden files are indented; sent messages have no white space.
//! To accept an intended change: `cargo test -p stackbell-payload --test messages -- --ignored`, then look at the difference.

use std::fs;

use stackbell_model::Timestamp;
use stackbell_model::filter::Filter;
use stackbell_model::webhook::Format;
use stackbell_payload::json::{CanonicalObject, Shape, Value};
use stackbell_payload::ping;

use crate::support::{CHAT_FORMATS, event, golden_folder, render};

/// Format, name and body of every message with a golden file.
fn messages() -> Vec<(Format, &'static str, String)> {
    let mut messages = Vec::new();
    for format in CHAT_FORMATS {
        for filter in Filter::ALL {
            let path = golden_folder().join(format!("payloads/{}.json", filter.as_str()));
            let payload = fs::read_to_string(path).expect("a sample of each filter");
            let body = render(format, &event(filter.kind().as_str(), &payload));
            messages.push((format, filter.as_str(), body));
        }
        messages.push((format, ping::KIND, ping::render(format, Timestamp::from_millis(0))));
    }
    let text = |body: bytes::Bytes| String::from_utf8(body.into()).expect("UTF-8");
    messages.into_iter().map(|(format, name, body)| (format, name, text(body))).collect()
}

/// The JSON of a canonical body, indented by two.
fn indented(body: &str) -> String {
    let object = CanonicalObject::read(body, usize::MAX).expect("a JSON object");
    assert_eq!(object.text(), body, "bodies survive being parsed and written again");
    let mut out = String::new();
    block('{', '}', object.members(), 1, &mut out, member);
    out + "\n"
}

fn member((key, value): (&str, Value<'_>), depth: usize, out: &mut String) {
    out.push_str(&format!("\"{key}\": "));
    item(value, depth, out);
}

fn item(value: Value<'_>, depth: usize, out: &mut String) {
    match value.shape() {
        Shape::Object => block('{', '}', value.members().expect("an object"), depth + 1, out, member),
        Shape::List => block('[', ']', value.items().expect("an array"), depth + 1, out, item),
        Shape::Null | Shape::Truth | Shape::Number | Shape::Text => out.push_str(value.raw()),
    }
}

fn block<T>(
    open: char,
    close: char,
    parts: impl Iterator<Item = T>,
    depth: usize,
    out: &mut String,
    write: fn(T, usize, &mut String),
) {
    out.push(open);
    for (index, part) in parts.enumerate() {
        out.push_str(if index == 0 { "\n" } else { ",\n" });
        out.push_str(&"  ".repeat(depth));
        write(part, depth, out);
    }
    out.push('\n');
    out.push_str(&"  ".repeat(depth - 1));
    out.push(close);
}

fn path(format: Format, name: &str) -> std::path::PathBuf {
    golden_folder().join(format!("messages/{}/{name}.json", format.as_str()))
}

#[test]
fn every_message_is_its_golden_file() {
    let messages = messages();
    assert_eq!(messages.len(), 2 * (44 + 1));
    for (format, name, body) in messages {
        let golden = fs::read_to_string(path(format, name)).expect("a golden file");
        assert_eq!(indented(&body), golden, "{} {name}", format.as_str());
    }
}

#[test]
fn there_is_no_golden_file_of_anything_else() {
    for format in CHAT_FORMATS {
        let folder = golden_folder().join("messages").join(format.as_str());
        assert_eq!(fs::read_dir(folder).expect("a folder").count(), 44 + 1);
    }
}

#[test]
fn other_formats() {
    let event = event("stack", r#"{"action":"created","projectName":"web","stackName":"prod"}"#);
    assert_eq!(stackbell_payload::render(Format::Raw, &event, None), None);
    let run = stackbell_payload::render(Format::PulumiDeployments, &event, None).expect("a body");
    assert_eq!(run, r#"{"operation":"update"}"#);
    assert!(ping::render(Format::PulumiDeployments, Timestamp::from_millis(0)).is_empty());
}

#[test]
#[ignore = "writes the golden files"]
fn rewrite() {
    for (format, name, body) in messages() {
        let path = path(format, name);
        fs::create_dir_all(path.parent().expect("in a folder")).expect("a folder");
        fs::write(path, indented(&body)).expect("written");
    }
}
