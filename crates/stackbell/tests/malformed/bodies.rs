//! Bodies that are not a JSON object in UTF-8, or are too large.

use http::Method;
use serde_json::json;

use crate::cases::Case;

const HOOKS: &str = "/api/orgs/acme/hooks";
const EVENTS: &str = "/v1/orgs/acme/events";

pub(crate) fn cases() -> Vec<Case> {
    [syntax(), bytes(), sizes(), encodings()].concat()
}

fn post(path: &str, body: impl Into<Vec<u8>>, part: &str) -> Case {
    Case::new(Method::POST, path, body, part)
}

fn syntax() -> Vec<Case> {
    let rows = [
        ("", "no body"),
        (" ", "ends"),
        ("null", "must be a JSON object"),
        ("[]", "must be a JSON object"),
        ("1", "must be a JSON object"),
        (r#""a""#, "must be a JSON object"),
        ("{", "ends"),
        (r#"{"active""#, "ends"),
        (r#"{"active":"#, "ends"),
        (r#"{"active":true"#, "ends"),
        (r#"{"active":true,}"#, "'}'"),
        (r#"{"active":true}}"#, "'}'"),
        (r#"{"active":true} x"#, "'x'"),
        (r#"{active:true}"#, "'a'"),
        (r#"{'active':true}"#, "found"),
        (r#"{"active":True}"#, "'T'"),
        (r#"{"active":NaN}"#, "'N'"),
        (r#"{"active":01}"#, "'1'"),
        (r#"{"active":1.}"#, "number"),
        (r#"{"active":+1}"#, "'+'"),
        (r#"{"active":-}"#, "number"),
        (r#"{"active":true/* why */}"#, "'/'"),
        (r#"{"name":"\x41"}"#, "escape"),
        (r#"{"name":"\u00g1"}"#, "escape"),
        (r#"{"name":"\ud800"}"#, "surrogate"),
        (r#"{"name":"\udc00\ud800"}"#, "surrogate"),
        ("{\"name\":\"a\nb\"}", "must be escaped"),
        ("{\"name\":\"a\u{0}b\"}", "must be escaped"),
        (r#"{"name":"a","name":"b"}"#, "name: the same key twice"),
        (r#"{"a":{"b":1,"b":2}}"#, "a.b: the same key twice"),
        (r#"{"name":"a","na\u006de":"b"}"#, "the same key twice"),
        // One byte order mark is ignored; a second one is not.
        ("\u{feff}\u{feff}{}", "must be a JSON object"),
    ];
    rows.into_iter().map(|(body, part)| post(HOOKS, body, part)).collect()
}

fn bytes() -> Vec<Case> {
    let rows: [(&[u8], &str); 6] = [
        (b"\xff\xfe{\0}\0", "not UTF-8 from byte 0"),
        (b"{\"name\":\"\xff\"}", "not UTF-8 from byte 9"),
        (b"{\"name\":\"\xc0\xaf\"}", "not UTF-8"),
        (b"{\"name\":\"\xed\xa0\x80\"}", "not UTF-8"),
        (b"{\"name\":\"\xf4\x90\x80\x80\"}", "not UTF-8"),
        (b"{\"name\":\"\xe2\x82\"}", "not UTF-8"),
    ];
    rows.iter().flat_map(|(body, part)| [HOOKS, EVENTS].map(|path| post(path, *body, part))).collect()
}

fn sizes() -> Vec<Case> {
    let text = |length: usize| format!(r#"{{"x":"{}"}}"#, "x".repeat(length));
    let nested = |depth: usize| format!(r#"{{"x":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    let payload = |length: usize| format!(r#"{{"kind":"stack","payload":{}}}"#, text(length));
    let many = format!("[{}]", vec![r#"{"kind":"stack","payload":{}}"#; 1001].join(","));
    vec![
        post(HOOKS, text(300 * 1024), "longer than 262144 bytes"),
        post(HOOKS, nested(200), "nested deeper"),
        post(HOOKS, nested(100_000), "nested deeper"),
        post(HOOKS, "[".repeat(100_000), "must be a JSON object"),
        post(EVENTS, payload(300 * 1024), "payload"),
        post(EVENTS, format!(r#"{{"kind":"stack","payload":{}}}"#, nested(200)), "nested deeper"),
        post(EVENTS, "[".repeat(100_000), ""),
        post(EVENTS, many, "at most 1000 events"),
    ]
}

fn encodings() -> Vec<Case> {
    let body = json!({"kind": "stack"}).to_string();
    [("gzip", 400), ("br", 415), ("deflate", 415), ("identity, gzip", 415), ("nonsense", 415)]
        .into_iter()
        .flat_map(|encoding| [HOOKS, EVENTS].map(|path| (path, encoding)))
        .map(|(path, (encoding, status))| {
            post(path, body.clone(), "Content-Encoding").header("Content-Encoding", encoding).status(status)
        })
        .collect()
}
