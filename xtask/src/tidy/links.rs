//! Links between our own files, and citations of facts in code, must have an existing target.

use std::collections::{BTreeMap, BTreeSet};

use super::{Finding, SourceFile, markdown};

/// The file with facts about other programs. Code cites its headings.
const FACTS: &str = "docs/wire-facts.md";
/// The text of a citation before the anchor. It is concatenated from pieces, so that this file contains no
/// citation.
const CITATION: &str = concat!("wire-facts", ".md#");

const CITING: &[&str] = &["rs", "sql", "py"];

/// The possible targets of links.
struct Targets<'a> {
    /// Files and their folders.
    paths: BTreeSet<&'a str>,
    /// The anchors of each Markdown file.
    anchors: BTreeMap<&'a str, Vec<String>>,
}

pub(super) fn check(files: &[SourceFile], paths: &[String]) -> Vec<Finding> {
    let targets = Targets::new(files, paths);
    let links =
        files.iter().filter(|file| file.extension() == "md").flat_map(|file| check_links(file, &targets));
    let citing = files.iter().filter(|file| CITING.contains(&file.extension()));
    links.chain(citing.flat_map(|file| check_citations(file, &targets))).collect()
}

impl<'a> Targets<'a> {
    fn new(files: &'a [SourceFile], paths: &'a [String]) -> Self {
        let markdown_files = files.iter().filter(|file| file.extension() == "md");
        Self {
            paths: paths.iter().flat_map(|path| with_folders(path)).collect(),
            anchors: markdown_files.map(|file| (file.path.as_str(), markdown::anchors(file))).collect(),
        }
    }

    fn has_anchor(&self, path: &str, anchor: &str) -> bool {
        self.anchors.get(path).is_some_and(|anchors| anchors.iter().any(|known| known == anchor))
    }
}

fn with_folders(path: &str) -> impl Iterator<Item = &str> {
    std::iter::once(path).chain(path.match_indices('/').map(|(at, _)| &path[..at]))
}

fn check_links(file: &SourceFile, targets: &Targets<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, target) in markdown::links(file) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) =
            target.split_once('#').map_or((target.as_str(), None), |(path, anchor)| (path, Some(anchor)));
        let path = resolve(&file.path, path);
        if !path.as_deref().is_some_and(|path| path.is_empty() || targets.paths.contains(path)) {
            findings.push(file.finding(
                line,
                format!("link to {target}, which is not there"),
                "name a file of the repository",
            ));
        } else if let (Some(path), Some(anchor)) = (path, anchor)
            && path.ends_with(".md")
            && !targets.has_anchor(&path, anchor)
        {
            findings.push(file.finding(
                line,
                format!("link to {target}, but no such heading"),
                "name a heading of that file",
            ));
        }
    }
    findings
}

fn check_citations(file: &SourceFile, targets: &Targets<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in file.numbered_lines() {
        for rest in line.split(CITATION).skip(1) {
            let end = rest.find(|next: char| !next.is_ascii_alphanumeric() && next != '-' && next != '_');
            let anchor = &rest[..end.unwrap_or(rest.len())];
            if !targets.has_anchor(FACTS, anchor) {
                let what = format!("cites the fact {anchor}, which is not there");
                findings.push(file.finding(
                    number,
                    what,
                    "name a heading of docs/wire-facts.md, or add the fact there",
                ));
            }
        }
    }
    findings
}

/// Resolves `target` in the file `from` to a path from the root; `None` if it is outside the repository.
fn resolve(from: &str, target: &str) -> Option<String> {
    if target.is_empty() {
        return Some(from.to_owned());
    }
    let mut folders: Vec<&str> = from.split('/').collect();
    folders.pop();
    if target.starts_with('/') {
        return None;
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                folders.pop()?;
            }
            name => folders.push(name),
        }
    }
    Some(folders.join("/"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{brief, file};
    use super::*;

    fn check_text(path: &str, text: &str, expected: &[&str]) {
        let files = [
            file(path, &text.replace("FACT#", CITATION)),
            file("docs/wire-facts.md", "# Facts\n## Payload URL\n"),
            file("crates/a/src/lib.rs", ""),
        ];
        let paths: Vec<String> = files.iter().map(|file| file.path.clone()).collect();
        assert_eq!(brief(&check(&files, &paths)), expected, "{text}");
    }

    #[test]
    fn follows_links_that_lead_somewhere() {
        check_text(
            "README.md",
            "[a](docs/wire-facts.md#payload-url) [b](crates/a/) [c](./crates) [d](#top)\n# Top",
            &[],
        );
        check_text(
            "docs/b.md",
            "[a](wire-facts.md) [b](../crates/a/src/lib.rs#L3) [c](https://example.com/x.md)",
            &[],
        );
        check_text("docs/b.md", "[root](..)", &[]);
    }

    #[test]
    fn finds_links_that_lead_nowhere() {
        check_text("README.md", "\n[a](docs/b.md)", &["README.md:2: link to docs/b.md, which is not there"]);
        check_text(
            "docs/b.md",
            "[a](docs/wire-facts.md)",
            &["docs/b.md:1: link to docs/wire-facts.md, which is not there"],
        );
        check_text("README.md", "[a](../b.md)", &["README.md:1: link to ../b.md, which is not there"]);
        check_text(
            "README.md",
            "[a](/docs/wire-facts.md)",
            &["README.md:1: link to /docs/wire-facts.md, which is not there"],
        );
        check_text(
            "docs/b.md",
            "[a](../docs/b.md#gone)",
            &["docs/b.md:1: link to ../docs/b.md#gone, but no such heading"],
        );
        check_text("README.md", "[a](#gone)", &["README.md:1: link to #gone, but no such heading"]);
    }

    #[test]
    fn finds_citations_of_facts_that_are_not_there() {
        check_text("crates/b/src/lib.rs", "// Source: FACT#payload-url.\n/// `FACT#payload-url`", &[]);
        check_text("b.sql", "-- FACT#gone.", &["b.sql:1: cites the fact gone, which is not there"]);
        check_text("b.rs", "// FACT#payload-url FACT#x", &["b.rs:1: cites the fact x, which is not there"]);
        check_text("b.rs", "// FACT#", &["b.rs:1: cites the fact , which is not there"]);
    }
}
