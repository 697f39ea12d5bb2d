//! Every crate has a description and inherits the lints of the workspace. An example must not depend on the
//! workspace, so that it can be copied.

use anyhow::{Context as _, Result};
use toml::{Table, Value};

use super::{Finding, SourceFile};

/// The folder of examples that users copy.
const EXAMPLES: &str = "examples/";

pub(super) fn check(files: &[SourceFile]) -> Result<Vec<Finding>> {
    let manifests = files.iter().filter(|file| file.path.rsplit('/').next() == Some("Cargo.toml"));
    let findings: Result<Vec<_>> = manifests.map(check_manifest).collect();
    Ok(findings?.concat())
}

fn check_manifest(file: &SourceFile) -> Result<Vec<Finding>> {
    let manifest: Table = file.text.parse().with_context(|| format!("cannot read {}", file.path))?;
    let Some(package) = manifest.get("package") else {
        return Ok(Vec::new());
    };
    let is_described =
        package.get("description").and_then(Value::as_str).is_some_and(|text| !text.is_empty());
    let undescribed =
        || file.finding(1, "no description".to_owned(), "say under [package] what the crate is for");
    if file.path.starts_with(EXAMPLES) {
        let undescribed = (!is_described).then(undescribed);
        return Ok(undescribed.into_iter().chain(inherited(file)).collect());
    }
    let is_linted =
        manifest.get("lints").and_then(|lints| lints.get("workspace")) == Some(&Value::Boolean(true));
    let unlinted =
        || file.finding(1, "no lints of the workspace".to_owned(), "add [lints] with workspace = true");
    Ok([(is_described, undescribed()), (is_linted, unlinted())]
        .into_iter()
        .filter_map(|(is_fine, finding)| (!is_fine).then_some(finding))
        .collect())
}

/// Returns the lines that are invalid outside the workspace.
fn inherited(file: &SourceFile) -> Vec<Finding> {
    let lines = file.numbered_lines().filter(|(_, line)| !line.trim_start().starts_with('#'));
    lines
        .filter(|(_, line)| line.replace(' ', "").contains("workspace=true"))
        .map(|(number, _)| {
            file.finding(number, "an example inherits".to_owned(), "write it out, so that it can be copied")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{brief, file};
    use super::*;

    fn check_text(text: &str, expected: &[&str]) {
        check_at("a/Cargo.toml", text, expected);
    }

    fn check_at(path: &str, text: &str, expected: &[&str]) {
        let findings = check(&[file(path, text)]).expect("valid TOML");
        assert_eq!(brief(&findings), expected, "{text}");
    }

    #[test]
    fn wants_a_description_and_the_lints() {
        let package = "[package]\nname = \"a\"\n";
        let description = "description = \"What it is\"\n";
        let lints = "[lints]\nworkspace = true\n";
        check_text(&format!("{package}{description}{lints}"), &[]);
        check_text(&format!("{package}{lints}"), &["a/Cargo.toml:1: no description"]);
        check_text(&format!("{package}{description}"), &["a/Cargo.toml:1: no lints of the workspace"]);
        check_text("[workspace]\nmembers = []\n", &[]);
    }

    #[test]
    fn wants_examples_that_inherit_nothing() {
        let path = "examples/rust/Cargo.toml";
        let package = "[package]\nname = \"a\"\n";
        let description = "description = \"What it is\"\n";
        check_at(path, &format!("{package}{description}"), &[]);
        check_at(path, package, &["examples/rust/Cargo.toml:1: no description"]);
        for line in ["version.workspace = true", "[dependencies]\nhex = { workspace = true }"] {
            let text = format!("{package}{description}{line}\n");
            let expected = format!("examples/rust/Cargo.toml:{}: an example inherits", text.lines().count());
            check_at(path, &text, &[&*expected]);
        }
    }

    #[test]
    fn names_the_manifest_that_cannot_be_read() {
        let error = check(&[file("a/Cargo.toml", "[package")]).expect_err("not TOML");
        assert_eq!(error.to_string(), "cannot read a/Cargo.toml");
    }
}
