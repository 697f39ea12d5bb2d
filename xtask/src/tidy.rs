//! Checks of the project that compilers and linters do not make.
//!
//! Each check is a pure function from files to findings; only this module reads the disk.

mod documents;
mod edges;
mod links;
mod manifests;
mod markdown;
mod openings;
mod size;
mod words;

use std::fmt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use cargo_metadata::MetadataCommand;

/// A text file of the project.
pub(crate) struct SourceFile {
    /// Its path from the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A violation of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) path: String,
    /// The line number, from 1.
    pub(crate) line: usize,
    pub(crate) what: String,
    pub(crate) remedy: &'static str,
}

impl SourceFile {
    /// The part of the name after the last dot. A file without one is a script if its first line says so.
    pub(crate) fn extension(&self) -> &str {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        match name.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => extension,
            _ if self.text.starts_with("#!") => "sh",
            _ => "",
        }
    }

    /// The lines with their numbers, from 1.
    pub(crate) fn numbered_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    pub(crate) fn finding(&self, line: usize, what: String, remedy: &'static str) -> Finding {
        Finding { path: self.path.clone(), line, what, remedy }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}, {}", self.path, self.line, self.what, self.remedy)
    }
}

/// Runs every check over this repository; the findings are in the order of files and lines.
pub(crate) fn run() -> Result<Vec<Finding>> {
    let metadata = MetadataCommand::new().no_deps().exec().context("cannot read the workspace")?;
    let root = metadata.workspace_root.as_std_path();
    let paths = list_paths(root)?;
    let files = read_texts(root, &paths)?;
    let packages = edges::packages(&metadata)?;
    let mut findings = [
        edges::check(&packages, &files),
        words::check(&files),
        documents::check(&files),
        size::check(&files),
        manifests::check(&files)?,
        links::check(&files, &paths),
        openings::check(&files),
    ]
    .concat();
    findings.sort();
    Ok(findings)
}

/// Lists every file that is in the repository or would be added to it.
fn list_paths(root: &Path) -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("cannot run git")?;
    ensure!(output.status.success(), "git ls-files: {}", String::from_utf8_lossy(&output.stderr).trim());
    let listed = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let mut paths: Vec<String> = listed.split_terminator('\0').map(str::to_owned).collect();
    paths.sort();
    paths.dedup();
    // Files deleted in the work tree may still be in the index.
    paths.retain(|path| root.join(path).exists());
    Ok(paths)
}

fn read_texts(root: &Path, paths: &[String]) -> Result<Vec<SourceFile>> {
    let mut files = Vec::with_capacity(paths.len());
    for path in paths.iter().filter(|path| root.join(path).is_file()) {
        let bytes = std::fs::read(root.join(path)).with_context(|| format!("cannot read {path}"))?;
        // Files that are not UTF-8 are not text, and are not checked.
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile { path: path.clone(), text });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn file(path: &str, text: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), text: text.to_owned() }
    }

    /// Formats findings as `file:line: what`, for comparisons.
    pub(super) fn brief(findings: &[Finding]) -> Vec<String> {
        findings.iter().map(|found| format!("{}:{}: {}", found.path, found.line, found.what)).collect()
    }

    #[test]
    fn tells_a_file_by_its_name_and_a_script_by_its_first_line() {
        for (path, text, expected) in [
            ("a/b.rs", "", "rs"),
            ("a.b/c", "", ""),
            (".gitignore", "", ""),
            ("test", "#!/usr/bin/env bash\n", "sh"),
            ("archive.tar.gz", "", "gz"),
        ] {
            assert_eq!(file(path, text).extension(), expected, "{path}");
        }
    }

    #[test]
    fn a_finding_is_one_line() {
        let found = file("a.rs", "").finding(3, "too long".to_owned(), "split it");
        assert_eq!(found.to_string(), "a.rs:3: too long, split it");
    }
}
