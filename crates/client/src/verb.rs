//! The parts that all commands of the public API share.

use std::io::{self, BufRead, IsTerminal as _, Write};
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::bail;
use serde_json::{Map, Value};
use stackbell_system::{Environment, note, printable_lines};
use url::Url;

use crate::Misuse;
use crate::api::{Client, ClientSettings, Listed, SettingsError, parse_server};
use crate::output::{Column, Output};

/// The heading of the common flags in the help.
const HEADING: &str = "Server and output";

/// The default number of items of a history: a screen or two, and one page of the server.
const SHOWN_DEFAULT: usize = 100;

/// The flags for server and output.
#[derive(Debug, clap::Args)]
pub struct ClientArgs {
    /// The server's URL [env: STACKBELL_URL, then PULUMI_BACKEND_URL] [default: http://127.0.0.1:8722]
    #[arg(long, value_name = "URL", value_parser = parse_server, global = true, help_heading = HEADING)]
    server: Option<Url>,
    /// Refused; the error says where to put tokens
    #[arg(long, value_name = "TOKEN", value_parser = no_token, global = true, hide = true)]
    token: Option<()>,
    /// Authorities to trust in addition to the usual ones, in PEM [env: STACKBELL_CA_FILE]
    #[arg(long, value_name = "FILE", global = true, help_heading = HEADING)]
    ca_file: Option<PathBuf>,
    /// The format of the output
    #[arg(long, value_enum, default_value_t, global = true, help_heading = HEADING)]
    output: Output,
}

/// The flags for the length of a history.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct LimitArgs {
    /// At most this many, from the first
    #[arg(long, value_name = "N", default_value_t = SHOWN_DEFAULT, value_parser = positive::<usize>, allow_negative_numbers = true)]
    limit: usize,
    /// Show all
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// Reads a whole number of at least 1.
///
/// # Errors
/// A text in words.
pub(crate) fn positive<N: FromStr + From<u8> + PartialOrd>(text: &str) -> Result<N, &'static str> {
    text.parse().ok().filter(|number: &N| *number >= N::from(1)).ok_or("must be a whole number from 1")
}

/// Refuses a token on the command line, because other users of the machine can read arguments.
fn no_token(_: &str) -> Result<(), &'static str> {
    Err(
        "arguments can be read by others on this machine; set STACKBELL_TOKEN, or STACKBELL_TOKEN_FILE to a file that holds it",
    )
}

/// A running command.
pub struct Verb<'a> {
    /// The client.
    pub client: Client,
    /// The format of the output.
    pub output: Output,
    /// The destination of the output.
    pub out: &'a mut dyn Write,
}

impl<'a> Verb<'a> {
    /// Makes the client for these arguments.
    ///
    /// # Errors
    /// If server, token or authorities cannot be used.
    pub fn new(args: &ClientArgs, environment: &Environment, out: &'a mut dyn Write) -> anyhow::Result<Self> {
        Ok(Self { client: Client::new(args.find(environment)?)?, output: args.output, out })
    }

    /// Prints a history. A note on standard error says if there is more of it.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub(crate) fn history(
        &mut self,
        path: &[&str],
        query: &[(&str, &str)],
        limit: LimitArgs,
        columns: &[Column],
    ) -> anyhow::Result<()> {
        let limit = (!limit.all).then_some(limit.limit);
        let Listed { items, is_cut } = self.client.list_some(path, query, limit)?;
        self.output.list(self.out, &items, columns)?;
        if is_cut {
            note(&format!("the first {}; there are more: --limit or --all", items.len()));
        }
        Ok(())
    }
}

impl ClientArgs {
    /// Finds server, token and authorities.
    ///
    /// # Errors
    /// [`SettingsError`], if one of the settings cannot be used.
    pub(crate) fn find(&self, environment: &Environment) -> Result<ClientSettings, SettingsError> {
        ClientSettings::find(self.server.as_ref(), self.ca_file.as_deref(), environment)
    }

    /// The format of the output.
    pub const fn output(&self) -> Output {
        self.output
    }
}

/// A JSON object of the fields that have a value.
pub(crate) fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let present = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(present.collect::<Map<_, _>>())
}

/// The text at a JSON pointer; empty if there is none.
pub fn text_at<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at a JSON pointer; 0 if there is none.
pub fn number_at(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_default()
}

/// A count with its noun: `1 delivery`, `2 deliveries`.
pub fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Asks the user to confirm an action that cannot be undone.
///
/// # Errors
/// If the user declines, or if there is no terminal.
pub(crate) fn confirm(question: &str, is_agreed: bool) -> anyhow::Result<()> {
    if is_agreed {
        return Ok(());
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Err(Misuse("there is no terminal to ask at: pass --yes").into());
    }
    ask(question, &mut io::stdin().lock(), &mut io::stderr())
}

fn ask(question: &str, from: &mut dyn BufRead, to: &mut dyn Write) -> anyhow::Result<()> {
    write!(to, "{} [y/N] ", printable_lines(question))?;
    to.flush()?;
    let mut line = String::new();
    from.read_line(&mut line)?;
    if !matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        bail!("nothing was changed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        let check = |line: &str, expected: bool| {
            let mut asked = Vec::new();
            assert_eq!(ask("Sure?", &mut line.as_bytes(), &mut asked).is_ok(), expected, "{line:?}");
            assert_eq!(asked, b"Sure? [y/N] ");
        };
        for line in ["y\n", "YES\n", " yes "] {
            check(line, true);
        }
        for line in ["", "\n", "n\n", "yep\n", "no\n"] {
            check(line, false);
        }
    }

    #[test]
    fn counts_have_their_nouns() {
        assert_eq!(counted(1, "delivery", "deliveries"), "1 delivery");
        assert_eq!(counted(0, "delivery", "deliveries"), "0 deliveries");
    }
}
