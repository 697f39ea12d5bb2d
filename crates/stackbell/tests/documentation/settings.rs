//! The defaults of the settings in the documentation.

use std::collections::BTreeMap;
use std::process::Command;

use super::read;

/// The settings with a default, and their defaults, as the binary prints them.
fn defaults() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_stackbell"));
    command.args(["config", "check"]).env_clear().current_dir(folder.path());
    let output = command.output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let defaults: BTreeMap<_, _> = words
        .filter_map(|words| match *words {
            [name, value, "default"] => Some((name.to_owned(), value.to_owned())),
            _ => None,
        })
        .collect();
    assert!(defaults.len() >= 15, "{text}");
    defaults
}

/// The value in a line of the sample, in the form of `config check`.
fn value(line: &str) -> String {
    line.replace(['[', ']', '"', ' '], "")
}

#[test]
fn the_sample_shows_the_defaults() {
    let sample = read("docs/stackbell.sample.toml");
    let shown: BTreeMap<&str, String> = sample
        .lines()
        .filter_map(|line| line.strip_prefix("# ")?.split_once(" = "))
        .map(|(name, shown)| (name, value(shown)))
        .collect();
    for (name, default) in defaults() {
        // A setting without a default is shown with an example.
        if default != "-" {
            assert_eq!(shown.get(name.as_str()), Some(&default), "{name}");
        }
    }
}

#[test]
fn operating_tells_the_limits() {
    let document = read("docs/operating.md");
    let (_, section) = document.split_once("## Limits").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    let rows: Vec<_> =
        section.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | `")).collect();
    assert!(rows.len() >= 8, "{rows:?}");
    let defaults = defaults();
    for (name, rest) in rows {
        let told = rest.split('`').next();
        assert_eq!(told, defaults.get(name).map(String::as_str), "{name}");
    }
}
