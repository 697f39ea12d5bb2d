//! `stackbell completions`: completion scripts for shells.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::{Shell, generate};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  source <(stackbell completions bash)
  stackbell completions zsh > \"${fpath[1]}/_stackbell\"
  stackbell completions fish > ~/.config/fish/completions/stackbell.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(
    args: &CompletionsArgs,
    mut command: Command,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    // The script is written in one piece, because the generator panics if a write fails, for example into a pipe to `head`.
    let mut script = Vec::new();
    generate(args.shell, &mut command, "stackbell", &mut script);
    out.write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}
