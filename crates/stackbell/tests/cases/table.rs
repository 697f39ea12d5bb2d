//! The numbers of all cases, and the tests of each, here and in other targets.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The letter of a client, and how many cases it has.
const CLIENTS: [(char, u8); 8] =
    [('S', 15), ('O', 5), ('E', 6), ('V', 9), ('A', 9), ('P', 7), ('D', 8), ('R', 6)];

/// Where the cases are that are tests of other targets, and what a test begins with there.
const ELSEWHERE: [(&str, &str); 4] = [
    ("tests/python/test_webhooks.py", "def test_"),
    // P7 is the scope that the tests of P1 to P6 are run on once more.
    ("tests/python/conftest.py", "\""),
    ("crates/stackbell/tests/curl_lines.rs", "async fn "),
    ("crates/stackbell/tests/process/receivers.rs", "async fn "),
];

type Table = BTreeMap<(char, u8), Vec<String>>;

fn read(path: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", path].iter().collect();
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cases that a test is for, by its name: `d7_pings_and_d8_lists_it` is for two.
fn numbers(name: &str) -> Vec<(char, u8)> {
    let words = name.split('_').map(str::to_ascii_uppercase);
    words.filter_map(|word| number(&word)).collect()
}

fn number(word: &str) -> Option<(char, u8)> {
    let letter = word.chars().next().filter(|letter| CLIENTS.iter().any(|(known, _)| known == letter))?;
    Some((letter, word[1..].parse().ok()?))
}

fn tests() -> Table {
    let mut names: Vec<String> = super::NAMES.iter().map(|&name| name.to_owned()).collect();
    for (path, start) in ELSEWHERE {
        let text = read(path);
        let found =
            text.lines().filter_map(|line| line.trim_start().strip_prefix(start)?.split(['(', '"']).next());
        names.extend(found.map(str::to_owned));
    }
    let mut table = Table::new();
    for name in names {
        for number in numbers(&name) {
            table.entry(number).or_default().push(name.clone());
        }
    }
    table
}

#[test]
fn every_case_has_a_test() {
    let all = CLIENTS.iter().flat_map(|&(letter, count)| (1..=count).map(move |number| (letter, number)));
    let tests = tests();
    let missing: Vec<_> = all.clone().filter(|number| !tests.contains_key(number)).collect();
    assert!(missing.is_empty(), "no test: {missing:?}");
    assert_eq!(tests.len(), all.count(), "a test is for a case that is none");
}
