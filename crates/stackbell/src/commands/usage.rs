//! Errors about the command line.
//!
//! The parser's errors repeat words of the command line. This module escapes hidden characters in them and removes credentials.
//! It cuts URLs to scheme and host, and removes the values of options for secrets.

use std::io;

use clap::error::{ContextKind, ContextValue};
use stackbell_system::{redacted, redacted_url};

/// Parts of an error that repeat words of the command line.
const REPEATED: [ContextKind; 4] = [
    ContextKind::InvalidSubcommand,
    ContextKind::InvalidArg,
    ContextKind::InvalidValue,
    ContextKind::TrailingArg,
];

/// The parser's names of options whose value would be a secret.
const SECRET_VALUES: [&str; 3] = ["--secret <-", "<TOKEN>", "<SECRET>"];

/// Prints help, a version, or an error about the command line.
///
/// # Errors
/// If it cannot be written.
pub(super) fn print(error: clap::Error) -> io::Result<()> {
    if error.use_stderr() { printable(error).print() } else { error.print() }
}

fn printable(mut error: clap::Error) -> clap::Error {
    let option = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) => option.clone(),
        _ => String::new(),
    };
    let is_secret = SECRET_VALUES.iter().any(|value| option.contains(value));
    let mut is_changed = false;
    for kind in REPEATED {
        let show = |text: &String| match kind {
            ContextKind::InvalidValue if is_secret => "…".to_owned(),
            ContextKind::InvalidValue if option.ends_with("<URL>") => redacted_url(text),
            // The parser's own name of an option, such as `--server <URL>`.
            ContextKind::InvalidArg if text.starts_with("--") && text.ends_with('>') => text.clone(),
            _ => redacted(text),
        };
        let replaced = match error.get(kind) {
            Some(ContextValue::String(text)) => ContextValue::String(show(text)),
            Some(ContextValue::Strings(texts)) => ContextValue::Strings(texts.iter().map(show).collect()),
            _ => continue,
        };
        if error.get(kind) != Some(&replaced) {
            is_changed = true;
            error.insert(kind, replaced);
        }
    }
    // Suggestions repeat the same words. Some suggest passing a flag as a value, which no command accepts.
    let is_misleading = match error.get(ContextKind::Suggested) {
        Some(ContextValue::StyledStrs(tips)) => tips.iter().any(|tip| tip.to_string().contains("as a value")),
        _ => false,
    };
    if is_changed || is_misleading {
        error.remove(ContextKind::Suggested);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    use crate::commands::Cli;

    fn said(line: &[&str]) -> String {
        let line = ["stackbell"].iter().chain(line);
        printable(Cli::try_parse_from(line).expect_err("not understood")).to_string()
    }

    #[test]
    fn typed_words_are_repeated_without_hidden_characters() {
        let check = |line: &[&str], expected: &str| {
            let said = said(line);
            assert!(said.contains(expected), "{said}");
            assert!(!said.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{said:?}");
        };
        check(&["we\u{9b}31m"], "unrecognized subcommand 'we\\u{9b}31m'");
        check(&["org", "list", "--li\u{1b}[2Jmit"], "'--li\\u{1b}[2Jmit'");
        check(&["org", "list", "\u{202e}x"], "'\\u{202e}x'");
        check(&["webhook", "list", "acme", "--scope", "\u{9b}a"], "'\\u{9b}a'");
        check(&["listen", "--delay", "\u{9b}a"], "'\\u{9b}a'");
    }

    #[test]
    fn refusals_say_where_secrets_belong_and_suggest_nothing_else() {
        let check = |line: &[&str], expected: &str| {
            let said = said(line);
            assert!(said.contains(expected) && !said.contains("tip:"), "{said}");
        };
        check(&["serve", "--token", "t"], "set STACKBELL_BOOTSTRAP_TOKEN");
        check(&["doctor", "--token", "t"], "set STACKBELL_BOOTSTRAP_TOKEN");
        check(&["org", "list", "--token", "t"], "set STACKBELL_TOKEN");
        check(&["serve", "--bootstrap-token", "t"], "--bootstrap-token-file");
        check(&["serve", "--previous-master-key", "t"], "--previous-master-key-file");
        check(&["webhook", "list", "acme", "--pag", "3"], "unexpected argument '--pag' found");
    }

    #[test]
    fn no_credential_that_was_typed_is_repeated() {
        for line in [
            &["org", "list", "--server", "ftp://user:hunter2@s.example/hunter2"][..],
            &["org", "list", "--server", "https://user:hunter2@s.example/"],
            &["org", "list", "--server", "s.example/hunter2"],
            &["org", "list", "--server", "user:hunter2@s.example"],
            &["org", "list", "--server=https://user:hunter2@s example"],
            &["org", "list", "https://user:hunter2@s.example/"],
            &["org", "list", "--sever=https://user:hunter2@s.example/"],
            &["https://hooks.slack.com/services/T/B/hunter2"],
            &["webhook", "new", "acme", "--url", "https://a.example", "--secret", "hunter2"],
            &["webhook", "new", "acme", "--url", "https://a.example", "--secret=hunter2"],
            &["webhook", "new", "acme", "--url", "https://a.example", "--generate-secret=whsec_hunter2"],
            &["webhook", "new", "acme", "https://hooks.slack.com/services/hunter2"],
            &["webhook", "edit", "acme", "n", "--secret", "hunter2"],
            &["org", "list", "--token", "hunter2"],
            &["org", "list", "--token=hunter2"],
            &["token", "list", "--org", "acme", "sbl_hunter2"],
            &["serve", "--token", "hunter2"],
            &["restore", "f", "--token=hunter2"],
            &["serve", "--master-key", "hunter2"],
            &["serve", "--bootstrap-token=hunter2"],
            &["serve", "--stor", "postgres://u:hunter2@h/d"],
            &["serve", "postgres://u:hunter2@h/d"],
            &["store", "copy", "--from", "postgres://u:hunter2@h/d", "--to", "postgres://u:hunter2@h/d"],
            &["store", "take-back", "postgres://u:hunter2@h/d"],
            &["listen", "--register", "acme", "--reached-at", "ftp://hooks.example/hunter2"],
            &["listen", "--reached-at", "https://u:hunter2@hooks.example/"],
            &["listen", "--delay", "https://u:hunter2@hooks.example/"],
            &["event", "list", "acme", "--limit", "https://u:hunter2@hooks.example/"],
            &["delivery", "list", "acme", "--since", "https://u:hunter2@hooks.example/"],
            &["token", "new", "--name", "n", "--expires-in", "https://u:hunter2@hooks.example/"],
        ] {
            let said = said(line);
            assert!(!said.contains("hunter2"), "{line:?}: {said}");
        }
    }
}
