//! Random input for the tests of parsers here and in other crates.

use proptest::prelude::*;

/// Text like JSON. It is valid JSON more often than random text.
pub fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        "-?[0-9]{1,4}(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
        "\"([ -~é🍹]|\\\\[nrtbf/\"u0d8]){0,8}\"",
        "true|false|null|\\[\\]|\\{\\}",
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(|items| format!("[ {} ]", items.join(",\n"))),
            prop::collection::vec(("[a-zA-Z]{0,3}", inner), 0..6).prop_map(|members| {
                let members = members.iter().map(|(key, value)| format!(" \"{key}\" : {value}"));
                format!("{{{}}}", members.collect::<Vec<_>>().join(","))
            }),
        ]
    })
}
