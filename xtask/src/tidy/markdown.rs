//! The part of Markdown that the checks need: links, headings, and code, which contains neither.

use std::collections::BTreeMap;

use super::SourceFile;

/// Returns the targets of inline links `[text](target)` and of definitions `[name]: target`, with their
/// lines.
pub(super) fn links(file: &SourceFile) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in prose(file) {
        let line = without_code(line);
        found.extend(inline_targets(&line).map(|target| (number, target.to_owned())));
        found.extend(definition_target(&line).map(|target| (number, target.to_owned())));
    }
    found
}

/// Returns the anchors of the headings, as GitHub makes them: the second of a name gets `-1`.
pub(super) fn anchors(file: &SourceFile) -> Vec<String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = Vec::new();
    for (_, line) in prose(file) {
        let title = line.trim_start_matches('#');
        let depth = line.len() - title.len();
        if !(1..=6).contains(&depth) || !title.starts_with(' ') {
            continue;
        }
        let anchor = anchor(title.trim());
        let count = seen.entry(anchor.clone()).or_default();
        anchors.push(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
        *count += 1;
    }
    anchors
}

/// The lines outside fenced code.
pub(super) fn prose(file: &SourceFile) -> impl Iterator<Item = (usize, &str)> {
    let mut fence: Option<&str> = None;
    file.numbered_lines().filter(move |(_, line)| {
        let marker = ["```", "~~~"].into_iter().find(|marker| line.trim_start().starts_with(marker));
        match (fence, marker) {
            (None, Some(_)) => fence = marker,
            (Some(open), Some(close)) if open == close => fence = None,
            (None, None) => return true,
            (Some(_), _) => {}
        }
        false
    })
}

/// Blanks each `code` between backticks.
fn without_code(line: &str) -> String {
    line.split('`').enumerate().map(|(index, piece)| if index % 2 == 0 { piece } else { "" }).collect()
}

fn inline_targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| first_word(rest.split(')').next()?))
}

fn definition_target(line: &str) -> Option<&str> {
    let (name, target) = line.strip_prefix('[')?.split_once("]:")?;
    if name.starts_with('^') { None } else { first_word(target) }
}

/// Returns a target without a title after it and without brackets around it.
fn first_word(text: &str) -> Option<&str> {
    text.split_whitespace().next().map(|word| word.trim_start_matches('<').trim_end_matches('>'))
}

fn anchor(title: &str) -> String {
    title
        .chars()
        .filter(|character| character.is_alphanumeric() || " -_".contains(*character))
        .flat_map(char::to_lowercase)
        .map(|character| if character == ' ' { '-' } else { character })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::file;
    use super::*;

    fn check_links(text: &str, expected: &[(usize, &str)]) {
        let found = links(&file("a.md", text));
        let found: Vec<_> = found.iter().map(|(line, target)| (*line, target.as_str())).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn finds_links_and_definitions() {
        check_links("see [a](b.md) and\n![c](d.png \"title\")", &[(1, "b.md"), (2, "d.png")]);
        check_links("[a]: b.md\n[^1]: a note", &[(1, "b.md")]);
        check_links("[a](<b c.md>)", &[(1, "b")]);
    }

    #[test]
    fn leaves_code() {
        check_links("`[a](b.md)` [c](d.md)", &[(1, "d.md")]);
        check_links("```md\n[a](b.md)\n```\n[c](d.md)", &[(4, "d.md")]);
        check_links("~~~\n```\n[a](b.md)\n~~~\n[c](d.md)", &[(5, "d.md")]);
    }

    #[test]
    fn makes_the_anchors_of_headings() {
        let text = "# Payload URL\n## What is *not* there?\n## `code` & more\n```\n# no heading\n```\n## Payload URL\n#tag";
        let expected = ["payload-url", "what-is-not-there", "code--more", "payload-url-1"];
        assert_eq!(anchors(&file("a.md", text)), expected);
    }
}
