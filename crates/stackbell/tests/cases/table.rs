//! Checks the numbers of all cases and the tests of each, here and in other targets, against the table in the documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The letter of each client, and the number of its cases.
const CLIENTS: [(char, u8); 8] =
    [('S', 15), ('O', 5), ('E', 6), ('V', 9), ('A', 9), ('P', 7), ('D', 8), ('R', 6)];

/// Files with tests of cases in other targets, and the text before a test's name there.
const ELSEWHERE: [(&str, &str); 4] = [
    ("tests/python/test_webhooks.py", "def "),
    // P7 repeats the tests of P1 to P6 in another scope.
    ("tests/python/conftest.py", "\""),
    ("crates/stackbell/tests/curl_lines.rs", "async fn "),
    ("crates/stackbell/tests/process/receivers.rs", "async fn "),
];

/// The document with the table of cases.
const DOCUMENT: &str = "docs/compatibility.md";

/// The names of the tests of each case.
type Table = BTreeMap<(char, u8), BTreeSet<String>>;

fn read(path: &str) -> String {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "..", path].iter().collect();
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cases of a test, by its name: `d7_pings_and_d8_lists_it` covers two.
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
            table.entry(number).or_default().insert(name.clone());
        }
    }
    table
}

/// The rows of the document that begin with the number of a case: number, description, tests.
fn documented() -> Table {
    let text = read(DOCUMENT);
    let mut table = Table::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let Some(case) = cells.get(1).and_then(|word| number(word)) else { continue };
        let &["", _, what, tests, ""] = &*cells else { panic!("not a row of three cells: {line}") };
        assert!(!what.is_empty(), "{line}");
        let names = tests.split(", ").map(|quoted| {
            let name = quoted.strip_prefix('`').and_then(|quoted| quoted.strip_suffix('`'));
            name.unwrap_or_else(|| panic!("{quoted} is no name of a test: {line}")).to_owned()
        });
        assert!(table.insert(case, names.collect()).is_none(), "twice: {line}");
    }
    table
}

/// Checks that the document lists exactly the existing cases and their tests.
#[test]
fn the_document_has_every_case_and_its_tests() {
    let (documented, tests) = (documented(), tests());
    let cases: BTreeSet<_> = documented.keys().chain(tests.keys()).collect();
    let wrong: Vec<_> = cases
        .into_iter()
        .filter(|case| documented.get(case) != tests.get(case))
        .map(|case| (case, documented.get(case), tests.get(case)))
        .collect();
    assert!(wrong.is_empty(), "{DOCUMENT} differs from the tests: case, there, here: {wrong:#?}");
}

#[test]
fn every_case_has_a_test() {
    let all = CLIENTS.iter().flat_map(|&(letter, count)| (1..=count).map(move |number| (letter, number)));
    let tests = tests();
    let missing: Vec<_> = all.clone().filter(|number| !tests.contains_key(number)).collect();
    assert!(missing.is_empty(), "no test: {missing:?}");
    assert_eq!(tests.len(), all.count(), "a test is for a case that is none");
}
