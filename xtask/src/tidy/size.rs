//! Limits the length of files.

use super::{Finding, SourceFile};

/// The maximum number of lines of a file.
const LINES_MAX: usize = 500;

const EXTENSIONS: &[&str] = &["rs", "sh", "py", "html", "css", "js", "ts"];

pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().filter(|file| is_ours(file)).filter_map(check_file).collect()
}

fn check_file(file: &SourceFile) -> Option<Finding> {
    let lines = file.text.lines().count();
    let what = || format!("{lines} lines are more than {LINES_MAX}");
    (lines > LINES_MAX).then(|| file.finding(LINES_MAX + 1, what(), "split it by what its parts are about"))
}

fn is_ours(file: &SourceFile) -> bool {
    EXTENSIONS.contains(&file.extension()) && !file.path.split('/').any(|folder| folder == "vendor")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{brief, file};
    use super::*;

    fn check_lines(path: &str, lines: usize, expected: &[&str]) {
        assert_eq!(brief(&check(&[file(path, &"line\n".repeat(lines))])), expected, "{path}, {lines} lines");
    }

    #[test]
    fn counts_lines_of_code_of_ours() {
        check_lines("a.rs", 500, &[]);
        check_lines("a.rs", 501, &["a.rs:501: 501 lines are more than 500"]);
        check_lines("a.ts", 501, &["a.ts:501: 501 lines are more than 500"]);
        check_lines("a.css", 600, &["a.css:501: 600 lines are more than 500"]);
        check_lines("a.json", 600, &[]);
        check_lines("console/vendor/a.js", 600, &[]);
    }
}
