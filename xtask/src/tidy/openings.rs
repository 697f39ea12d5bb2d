//! Sentences begin with the thing that they are about. A sentence that begins with "what" or "of" has to be read twice.
//!
//! Sentences are those of comments and of Markdown. A few per part are allowed, because sometimes nothing else reads well.

use std::collections::BTreeMap;

use super::{Finding, SourceFile, markdown};

/// Words at the start of a sentence that put something before the subject.
const OPENINGS: &[&str] = &["Who", "What", "That", "Of", "As", "The same", "Whoever"];

/// The maximum number of such sentences in one part of the repository.
const COUNT_MAX: usize = 4;

const REMEDY: &str = "begin the sentence with its subject";

/// Finds the sentences of each part that has too many of them.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut parts: BTreeMap<&str, Vec<Finding>> = BTreeMap::new();
    for file in files {
        parts.entry(part(&file.path)).or_default().extend(check_file(file));
    }
    parts.into_iter().filter(|(_, found)| found.len() > COUNT_MAX).flat_map(|(_, found)| found).collect()
}

/// The part of a path: a crate, a folder of the root, or `.` for the files of the root.
fn part(path: &str) -> &str {
    let depth = if path.starts_with("crates/") { 2 } else { 1 };
    let folders = path.match_indices('/').map(|(at, _)| at);
    folders.take(depth).last().map_or(".", |end| &path[..end])
}

fn check_file(file: &SourceFile) -> Vec<Finding> {
    let lines: Vec<(usize, &str)> = match file.extension() {
        "md" => markdown::prose(file).collect(),
        "rs" | "ts" => comments(file, &["///", "//!", "//"]),
        "sh" | "py" | "toml" | "yml" => comments(file, &["#"]),
        "sql" => comments(file, &["--"]),
        _ => return Vec::new(),
    };
    let mut findings = Vec::new();
    // A sentence may begin at the start of a line, unless the line continues one from the previous line.
    let (mut is_open, mut is_code, mut last) = (true, false, 0);
    for (number, line) in lines {
        let text = line.trim();
        is_open |= number != last + 1;
        last = number;
        if text.starts_with("```") {
            is_code = !is_code;
        }
        if is_code || text.starts_with(['|', '`']) || text.starts_with("# ") || text.starts_with("##") {
            is_open = true;
            continue;
        }
        let item = text.trim_start_matches(|mark: char| "-*>".contains(mark) || mark.is_ascii_digit());
        is_open |= item.len() < text.len();
        for sentence in sentences(item.trim_start_matches(['.', ' ']), is_open) {
            if let Some(opening) = OPENINGS.iter().find(|opening| begins(sentence, opening)) {
                findings.push(file.finding(number, format!("a sentence begins with \"{opening}\""), REMEDY));
            }
        }
        is_open = text.is_empty() || text.ends_with(['.', '?', '!', ':']);
    }
    findings
}

/// The text of comments that stand on lines of their own.
fn comments<'a>(file: &'a SourceFile, marks: &[&str]) -> Vec<(usize, &'a str)> {
    let text = |line: &'a str| marks.iter().find_map(|mark| line.trim_start().strip_prefix(mark));
    file.numbered_lines().filter_map(|(number, line)| Some((number, text(line)?))).collect()
}

/// The text from the start of each sentence in a line. `is_open` says whether a sentence begins with the line.
fn sentences(line: &str, is_open: bool) -> impl Iterator<Item = &str> {
    let ends = [". ", "? ", "! "].into_iter().flat_map(|end| line.match_indices(end));
    is_open.then_some(line).into_iter().chain(ends.map(|(at, end)| &line[at + end.len()..]))
}

fn begins(sentence: &str, opening: &str) -> bool {
    sentence.strip_prefix(opening).is_some_and(|rest| rest.starts_with(' '))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{brief, file};
    use super::*;

    fn check_text(path: &str, text: &str, expected: &[&str]) {
        assert_eq!(brief(&check_file(&file(path, text))), expected, "{text}");
    }

    #[test]
    fn finds_sentences_of_comments() {
        let found = "a.rs:1: a sentence begins with \"What\"";
        check_text("a.rs", "/// What is due is leased.\n", &[found]);
        check_text("a.rs", "/// Due deliveries are leased. What is not, waits.\n", &[found]);
        check_text("a.rs", "// Whatever\n// Office\nlet s = \"What is this?\";\n", &[]);
        check_text("a.sql", "-- What is due.\n", &["a.sql:1: a sentence begins with \"What\""]);
    }

    #[test]
    fn a_line_may_go_on_with_a_sentence() {
        check_text("a.rs", "/// Says to everybody\n/// Who is here.\n", &[]);
        let found = "a.rs:3: a sentence begins with \"The same\"";
        check_text("a.rs", "/// Says hello.\nfn hello() {}\n/// The same again.\n", &[found]);
    }

    #[test]
    fn leaves_code_headings_and_tables() {
        check_text("a.md", "# What it is\n```\nWhat now\n```\n| What | x |\n", &[]);
        check_text("a.rs", "/// # Errors\n/// ```\n/// As is\n/// ```\n", &[]);
        check_text("a.md", "- Of two, one.\n", &["a.md:1: a sentence begins with \"Of\""]);
    }

    #[test]
    fn a_part_may_have_a_few() {
        let text = |count| "// As it is.\n".repeat(count);
        assert_eq!(check(&[file("crates/a/src/a.rs", &text(2)), file("crates/a/src/b.rs", &text(2))]), []);
        assert_eq!(check(&[file("crates/a/a.rs", &text(3)), file("crates/a/b.rs", &text(2))]).len(), 5);
        assert_eq!(check(&[file("crates/a/a.rs", &text(3)), file("crates/b/b.rs", &text(2))]), []);
    }

    #[test]
    fn parts_are_crates_and_folders() {
        for (path, expected) in
            [("crates/a/src/b/c.rs", "crates/a"), ("docs/adr/1.md", "docs"), ("README.md", ".")]
        {
            assert_eq!(part(path), expected);
        }
    }
}
