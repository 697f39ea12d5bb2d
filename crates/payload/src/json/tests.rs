use proptest::prelude::*;
use serde_json::Value as Tree;

use super::*;

const BYTES_MAX: usize = 4096;

fn canonical(text: &str) -> Result<String, String> {
    CanonicalObject::read(text, BYTES_MAX).map(CanonicalObject::into_text).map_err(|error| error.to_string())
}

fn check(text: &str, expected: &str) {
    assert_eq!(canonical(text).as_deref(), Ok(expected), "{text}");
}

/// Checks a text as the value of the key `a`.
fn check_value(text: &str, expected: &str) {
    check(&format!("{{\"a\":{text}}}"), &format!("{{\"a\":{expected}}}"));
}

fn check_error(text: &str, expected: &str) {
    assert_eq!(canonical(text), Err(expected.to_owned()), "{text}");
}

#[test]
fn white_space_goes_and_order_stays() {
    check(" { } ", "{}");
    check(
        "\t{ \"b\" : [ 1 , true,null ,false ] ,\r\n\"a\":{ \"d\":[ ],\"c\":\" x \"}}\n",
        r#"{"b":[1,true,null,false],"a":{"d":[],"c":" x "}}"#,
    );
}

#[test]
fn numbers() {
    for same in [
        "0",
        "-0",
        "1",
        "-1.50",
        "1.0",
        "0.1",
        "1.5e0",
        "1e-2",
        "12E-400",
        "1.25e1",
        "12345678901234567890123",
    ] {
        check_value(same, same);
    }
    check_value("1e3", "1000");
    check_value("1E+3", "1000");
    check_value("-1.0e1", "-10");
    check_value("1.5e3", "1500");
    check_value("10e-1", "1");
    check_value("1.000e00", "1");
    check_value("0.05e2", "5");
    check_value("0.00e99999999999999999999", "0");
    check_value("-0e5", "-0");
    check_value("1e-99999999999999999999", "1e-99999999999999999999");
    check_value("1e39", &format!("1{}", "0".repeat(39)));
    let long = "a: a whole number of more than 40 digits must be written without an exponent (at byte 5)";
    check_error(r#"{"a":1e40}"#, long);
    check_error(r#"{"a":1e99999999999999999999}"#, long);
}

#[test]
fn invalid_numbers() {
    check_error(r#"{"a":01}"#, "found '1' where ',' or '}' should be (at byte 6)");
    check_error(r#"{"a":-}"#, "a: not a number of JSON (at byte 6)");
    check_error(r#"{"a":1.}"#, "a: not a number of JSON (at byte 7)");
    check_error(r#"{"a":1e+}"#, "a: not a number of JSON (at byte 8)");
    check_error(r#"{"a":+1}"#, "a: found '+' where a value should be (at byte 5)");
    check_error(r#"{"a":NaN}"#, "a: found 'N' where a value should be (at byte 5)");
}

#[test]
fn strings() {
    check_value(r#""<é>&\u00e9\u003c\/ 🍹\ud83c\uDF79""#, "\"<é>&é</ 🍹🍹\"");
    check_value(
        r#""\"\\\b\f\n\r\t\u0022\u005c\u0008\u000A\u0000\u001f\u007f""#,
        "\"\\\"\\\\\\b\\f\\n\\r\\t\\\"\\\\\\b\\n\\u0000\\u001f\u{7f}\"",
    );
    check_value("\"\u{2028}\u{7f}\"", "\"\u{2028}\u{7f}\"");
    check_error(r#"{"a":"\ud800"}"#, "a: half of a surrogate pair (at byte 6)");
    check_error(r#"{"a":"x\ud800\u0041"}"#, "a: half of a surrogate pair (at byte 7)");
    check_error(r#"{"a":"\udc00\ud800"}"#, "a: half of a surrogate pair (at byte 6)");
    check_error(r#"{"a":"\u12g4"}"#, "a: no such escape in JSON (at byte 6)");
    check_error(r#"{"a":"\u+123"}"#, "a: no such escape in JSON (at byte 6)");
    check_error(r#"{"a":"\x"}"#, "a: no such escape in JSON (at byte 6)");
    check_error("{\"a\":\"\n\"}", "a: '\\n' in a string must be escaped (at byte 6)");
    check_error("{\"a\":\"", "a: the text ends where '\"' should be (at byte 6)");
    check_error("{\"a\":\"\\", "a: no such escape in JSON (at byte 6)");
}

#[test]
fn keys_come_once() {
    check(r#"{"a":{"a":1},"b":{"a":1}}"#, r#"{"a":{"a":1},"b":{"a":1}}"#);
    check_error(r#"{"o":{"k":1,"\u006b":2}}"#, "o.k: the same key twice (at byte 12)");
    check_error(r#"{"o":[1,{"k":1,"k":2}]}"#, "o[1].k: the same key twice (at byte 15)");
    let many = |last: &str| {
        let keys: String = (0..PAIRWISE_KEYS_MAX + 1).map(|n| format!("\"k{n}\":0,")).collect();
        format!("{{{keys}\"{last}\":0}}")
    };
    check(&many("x"), &many("x"));
    let double = CanonicalObject::read(&many("k3"), BYTES_MAX)
        .map_err(|error| (error.fault(), error.path().to_owned()));
    assert_eq!(double, Err((JsonFault::DuplicateKey, "k3".to_owned())));
}

#[test]
fn grammar() {
    check_error("", "the text ends where an object should be (at byte 0)");
    check_error(" [1]", "must be a JSON object (at byte 1)");
    check_error("{} {}", "found '{' where nothing after the object should be (at byte 3)");
    check_error("{\"a\"}", "found '}' where ':' should be (at byte 4)");
    check_error("{\"a\":1,}", "found '}' where a key in quotes should be (at byte 7)");
    check_error("{a:1}", "found 'a' where a key in quotes should be (at byte 1)");
    check_error("{\"a\":[1 2]}", "a: found '2' where ',' or ']' should be (at byte 8)");
    check_error("{\"a\":[1,]}", "a[1]: found ']' where a value should be (at byte 8)");
    check_error("{\"a\":tru}", "a: found 't' where a value should be (at byte 5)");
    check_error("{\"a\":1", "the text ends where ',' or '}' should be (at byte 6)");
    check_error("{\"a\":é}", "a: found 'é' where a value should be (at byte 5)");
}

#[test]
fn depth_and_size_are_bounded() {
    let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    check(&nested(DEPTH_MAX), &nested(DEPTH_MAX));
    let fault =
        |text: &str| CanonicalObject::read(text, BYTES_MAX).map_err(|error| error.fault()).map(|_| ());
    assert_eq!(fault(&nested(DEPTH_MAX + 1)), Err(JsonFault::TooDeep));
    assert_eq!(fault(&nested(1000)), Err(JsonFault::TooDeep));
    let sized = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8));
    assert_eq!(fault(&sized(BYTES_MAX)), Ok(()));
    assert_eq!(fault(&format!("  {}  ", sized(BYTES_MAX))), Ok(()));
    assert_eq!(fault(&sized(BYTES_MAX + 1)), Err(JsonFault::TooLarge { bytes_max: BYTES_MAX }));
}

#[test]
fn members_are_found() {
    let text = r#" {"a": "x\n", "b": {"c": [1, [2], {"d": "]\"}"}], "e": null}, "f": true} "#;
    let object = CanonicalObject::read(text, BYTES_MAX).expect("valid");
    let keys: Vec<_> = object.members().map(|(key, value)| (key, value.shape())).collect();
    assert_eq!(keys, [("a", Shape::Text), ("b", Shape::Object), ("f", Shape::Truth)]);
    assert_eq!(object.get("a").and_then(Value::text).as_deref(), Some("x\n"));
    assert_eq!(object.get("f").and_then(Value::truth), Some(true));
    let b = object.get("b").expect("there");
    assert_eq!(b.get("e"), None);
    let items: Vec<_> = b.get("c").and_then(Value::items).expect("array").map(Value::raw).collect();
    assert_eq!(items, ["1", "[2]", r#"{"d":"]\"}"}"#]);
    assert_eq!(format!("{object:?}"), "CanonicalObject(60 bytes)");
}

/// True if both trees are equal except for how numbers are written, and for the last bits that serde_json loses.
/// A test below checks that our numbers keep their exact value.
fn same(left: &Tree, right: &Tree) -> bool {
    match (left, right) {
        (Tree::Number(l), Tree::Number(r)) => {
            l.as_f64().zip(r.as_f64()).is_some_and(|(l, r)| (l - r).abs() <= l.abs() * 1e-14)
        }
        (Tree::Array(l), Tree::Array(r)) => l.len() == r.len() && l.iter().zip(r).all(|(l, r)| same(l, r)),
        (Tree::Object(l), Tree::Object(r)) => {
            l.len() == r.len()
                && l.iter().all(|(key, value)| r.get(key).is_some_and(|other| same(value, other)))
        }
        (l, r) => l == r,
    }
}

/// Writes a tree in an unusual way: white space everywhere, strings all in escapes.
fn write_oddly(tree: &Tree, out: &mut String) {
    let write_text = |text: &str, out: &mut String| {
        let escapes: String = text.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        out.push_str(&format!("\"{escapes}\" "));
    };
    match tree {
        Tree::String(text) => write_text(text, out),
        Tree::Array(items) => {
            out.push_str("[ ");
            for (index, item) in items.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { "\n,\t" });
                write_oddly(item, out);
            }
            out.push(']');
        }
        Tree::Object(members) => {
            out.push_str("{\r\n");
            for (index, (key, value)) in members.iter().enumerate() {
                out.push_str(if index == 0 { "" } else { " , " });
                write_text(key, out);
                out.push_str(": ");
                write_oddly(value, out);
            }
            out.push('}');
        }
        Tree::Null | Tree::Bool(_) | Tree::Number(_) => out.push_str(&tree.to_string()),
    }
}

fn tree() -> impl Strategy<Value = Tree> {
    let number = (any::<i32>(), -20..20_i32).prop_map(|(mantissa, exponent)| {
        serde_json::from_str(&format!("{mantissa}e{exponent}")).expect("a number")
    });
    let leaf = prop_oneof![
        Just(Tree::Null),
        any::<bool>().prop_map(Tree::from),
        any::<i64>().prop_map(Tree::from),
        number,
        ".{0,8}".prop_map(Tree::from),
    ];
    leaf.prop_recursive(4, 64, 20, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Tree::from),
            prop::collection::hash_map(".{0,6}", inner, 0..20).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn meaning_stays_and_twice_is_once(inner in tree()) {
        let original = serde_json::json!({ "top": inner });
        let mut odd = String::new();
        write_oddly(&original, &mut odd);
        let once = CanonicalObject::read(&odd, usize::MAX).expect("valid JSON").into_text();
        let read: Tree = serde_json::from_str(&once).expect("still JSON");
        prop_assert!(same(&read, &original), "{odd} became {once}");
        let twice = CanonicalObject::read(&once, usize::MAX).expect("canonical JSON");
        prop_assert_eq!(twice.text(), &once);
    }

    #[test]
    fn exponents_keep_the_value(text in "-?(0|[1-9][0-9]{0,6})(\\.[0-9]{1,6})?[eE][+-]?[0-9]{1,2}") {
        if let Ok(written) = canonical(&format!("{{\"a\":{text}}}")) {
            let number = &written[5..written.len() - 1];
            prop_assert_eq!(number.parse::<f64>(), text.parse::<f64>());
        }
    }

    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = canonical(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn nothing_like_json_panics(tail in "[\\{\\}\\[\\]\",:\\\\ueE0-9.+ tfn\u{1}é-]{0,60}") {
        let text = format!("{{\"a\":{tail}");
        let ours = canonical(&text);
        if let Ok(written) = ours {
            prop_assert!(serde_json::from_str::<Tree>(&written).is_ok() || text.contains(['e', 'E']), "{}", written);
        }
    }

    #[test]
    fn strings_written_are_canonical(text in any::<String>()) {
        let mut written = String::from("{\"a\":");
        write_string(&text, &mut written);
        written.push('}');
        let object = CanonicalObject::read(&written, usize::MAX).expect("valid");
        prop_assert_eq!(object.text(), &written);
        let read = object.get("a").and_then(Value::text);
        prop_assert_eq!(read.as_deref(), Some(text.as_str()));
    }
}
