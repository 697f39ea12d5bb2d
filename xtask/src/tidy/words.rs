//! Words that no file may contain. They are concatenated from pieces here, so this file passes its own check.

use super::{Finding, SourceFile};

struct Forbidden {
    word: &'static str,
    what: &'static str,
    remedy: &'static str,
    is_at: fn(before: &str) -> bool,
    is_in: fn(&SourceFile) -> bool,
}

const MACHINE_PATH: &str = "write a relative path, or one that every reader has";
const UNFINISHED: &str = "finish it, or return an error that says what is missing";
const REGISTRY: &str = "leave it to the package client's own default";

const FORBIDDEN: &[Forbidden] = &[
    machine_path(concat!("/wo", "rk/")),
    machine_path(concat!("/ro", "ot/")),
    machine_path(concat!("/ho", "me/")),
    machine_path(concat!("/Us", "ers/")),
    unfinished(concat!("to", "do!("), "unfinished code"),
    unfinished(concat!("unimple", "mented!("), "unfinished code"),
    unfinished(concat!("db", "g!("), "code for debugging"),
    registry(concat!("crates", ".io")),
    registry(concat!("py", "pi.org")),
    registry(concat!("python", "hosted.org")),
    registry(concat!("np", "mjs.org")),
    registry(concat!("np", "mjs.com")),
    registry(concat!("proxy.go", "lang.org")),
    registry(concat!("ruby", "gems.org")),
];

const fn machine_path(word: &'static str) -> Forbidden {
    Forbidden { word, what: "a path of one machine", remedy: MACHINE_PATH, is_at: starts_path, is_in: is_any }
}

const fn unfinished(word: &'static str, what: &'static str) -> Forbidden {
    Forbidden { word, what, remedy: UNFINISHED, is_at: starts_word, is_in: is_rust }
}

const fn registry(word: &'static str) -> Forbidden {
    Forbidden {
        word,
        what: "a package registry's host",
        remedy: REGISTRY,
        is_at: starts_name,
        is_in: is_not_lock,
    }
}

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().flat_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let here: Vec<&Forbidden> = FORBIDDEN.iter().filter(|forbidden| (forbidden.is_in)(file)).collect();
    let mut findings = Vec::new();
    for (number, line) in file.numbered_lines() {
        for forbidden in here.iter().filter(|forbidden| has(line, forbidden)) {
            findings.push(file.finding(
                number,
                format!("{} ({})", forbidden.what, forbidden.word),
                forbidden.remedy,
            ));
        }
    }
    findings
}

fn has(line: &str, forbidden: &Forbidden) -> bool {
    line.match_indices(forbidden.word).any(|(at, _)| (forbidden.is_at)(&line[..at]))
}

/// Whether an absolute path can begin here. In a relative path or a URL, a character stands before the slash.
fn starts_path(before: &str) -> bool {
    !before.ends_with(|last: char| last.is_alphanumeric() || "._-/}~".contains(last))
}

fn starts_word(before: &str) -> bool {
    !before.ends_with(|last: char| last.is_alphanumeric() || last == '_')
}

/// Whether a host name can begin here; its subdomains count as the host.
fn starts_name(before: &str) -> bool {
    !before.ends_with(|last: char| last.is_alphanumeric() || "_-".contains(last))
}

fn is_any(_: &SourceFile) -> bool {
    true
}

fn is_rust(file: &SourceFile) -> bool {
    file.extension() == "rs"
}

/// Lock files are written by their tools, with the hosts in them.
fn is_not_lock(file: &SourceFile) -> bool {
    file.extension() != "lock"
}

#[cfg(test)]
mod tests {
    use super::super::tests::{brief, file};
    use super::*;

    fn check_text(path: &str, text: &str, expected: &[&str]) {
        let text = text.replace('|', "");
        assert_eq!(
            brief(&check(&[file(path, &text)])),
            expected.iter().map(|line| line.replace('|', "")).collect::<Vec<_>>()
        );
    }

    #[test]
    fn finds_paths_of_a_machine() {
        check_text("a.md", "ok\ncd /wo|rk/main\n", &["a.md:2: a path of one machine (/wo|rk/)"]);
        check_text("a.rs", "\"/ro|ot/x\"", &["a.rs:1: a path of one machine (/ro|ot/)"]);
        check_text("a.toml", "x = /ho|me/you/x", &["a.toml:1: a path of one machine (/ho|me/)"]);
    }

    #[test]
    fn leaves_relative_paths_and_urls() {
        check_text("a.md", "src/wo|rk/x ./ho|me/x https://example.com/ro|ot/x ${DIR}/wo|rk/x /wo|rk", &[]);
    }

    #[test]
    fn finds_unfinished_code_in_rust_alone() {
        check_text("a.rs", "fn a() { to|do!() }", &["a.rs:1: unfinished code (to|do!()"]);
        check_text("a.rs", "unimple|mented!(\"x\")", &["a.rs:1: unfinished code (unimple|mented!()"]);
        check_text("a.rs", "std::db|g!(x)", &["a.rs:1: code for debugging (db|g!()"]);
        check_text("a.rs", "not_to|do!()", &[]);
        check_text("a.md", "we write no to|do!()", &[]);
    }

    #[test]
    fn finds_registries_outside_lock_files() {
        check_text(
            "a.toml",
            "https://index.crates|.io/",
            &["a.toml:1: a package registry's host (crates|.io)"],
        );
        check_text("Cargo.lock", "https://index.crates|.io/", &[]);
        check_text("a.md", "my-crates|.io", &[]);
    }
}
