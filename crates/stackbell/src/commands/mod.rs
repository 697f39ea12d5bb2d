//! The command line: the choice of a command, and the exit codes.
//!
//! The commands here run a server or work on its store. The commands that use the public API are in `stackbell-client`.

mod backup;
mod completions;
mod config_check;
mod dev;
mod doctor;
mod key;
mod migrate;
mod openapi;
mod restore;
mod serve;
mod store;
mod usage;

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use stackbell_client::{ClientCommand, EXIT_CODES, USAGE};
use stackbell_config::{ConfigError, SettingFlags};
use stackbell_server::telemetry;
use stackbell_system::{Environment, Visible, printable_lines};

/// Self-hosted webhooks for Pulumi: it rings when your stacks change.
#[derive(Debug, Parser)]
#[command(name = "stackbell", version, max_term_width = 120, after_help = EXIT_CODES)]
pub(super) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server
    Serve(SettingFlags),
    /// Try it out: start a server with an organization, a token, a receiver and a first event
    Dev(dev::DevArgs),
    /// Migrate the store's schema
    Migrate(SettingFlags),
    /// Check a server's settings, data folder, store and environment, and report problems
    Doctor(SettingFlags),
    /// Settings
    #[command(subcommand)]
    Config(ConfigCommand),
    #[command(flatten)]
    Client(Box<ClientCommand>),
    /// The master key
    Key(key::KeyArgs),
    /// Copy the server's store to a file
    Backup(backup::BackupArgs),
    /// Restore a backup into an empty data folder, with all deliveries held
    Restore(Box<restore::RestoreArgs>),
    /// Move an embedded store into PostgreSQL
    Store(store::StoreArgs),
    /// Print a completion script for a shell
    Completions(completions::CompletionsArgs),
    /// Print the OpenAPI document of the server's APIs
    Openapi,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print each setting, its value and its source; fail if the settings cannot be used
    Check(SettingFlags),
}

/// Runs the command of the command line.
///
/// # Errors
/// If the command failed; [`fail`] prints the error and gives the exit code.
pub(crate) fn run() -> anyhow::Result<ExitCode> {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let code = u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
            let is_complaint = error.use_stderr();
            let printed = usage::print(error);
            // The user asked for help, so a failure to print it is an error. Other messages go to standard error, which may be
            // closed.
            if !is_complaint {
                printed?;
            }
            return Ok(code);
        }
    };
    let environment = Environment::of_process()?;
    // The output is not locked, because a server writes from several threads.
    let out = &mut Visible(io::stdout());
    match cli.command {
        Command::Serve(flags) => serve::run(&flags, &environment),
        Command::Dev(args) => dev::run(&args, &environment),
        Command::Migrate(flags) => migrate::run(&flags, &environment, out),
        Command::Doctor(flags) => doctor::run(&flags, &environment, out),
        Command::Config(ConfigCommand::Check(flags)) => config_check::run(&flags, &environment, out),
        Command::Client(command) => command.run(&environment, out),
        Command::Key(args) => key::run(&args, &environment, out),
        Command::Backup(args) => backup::run(&args, &environment, out),
        Command::Restore(args) => restore::run(&args, &environment, out),
        Command::Store(args) => store::run(&args, &environment, out),
        Command::Completions(args) => completions::run(&args, Cli::command(), out),
        Command::Openapi => openapi::run(out),
    }
}

/// Prints an error on standard error, and gives the exit code.
pub(crate) fn fail(error: &anyhow::Error) -> ExitCode {
    let is_broken_pipe = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    // The reader of the output, such as `head`, has closed it.
    if error.downcast_ref::<io::Error>().is_some_and(|error| is_broken_pipe(error)) {
        return ExitCode::SUCCESS;
    }
    telemetry::say_last(&printable_lines(&format!("error: {error:#}")));
    ExitCode::from(exit_code(error))
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<ConfigError>().is_some() { USAGE } else { stackbell_client::exit_code(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn clients_ask_the_default_address_of_a_server() {
        let expected = format!("http://{}", stackbell_config::LISTEN_DEFAULT);
        assert_eq!(stackbell_client::DEFAULT_SERVER, expected);
    }

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn settings_given_as_flags() {
        let check = |line: &str, expected: &[(&str, &[&str])]| {
            let Command::Serve(flags) = parse(line).expect(line).command else { panic!("{line}") };
            let given: Vec<_> = flags.given.iter().map(|(key, texts)| (*key, texts.clone())).collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|(key, texts)| (*key, texts.iter().map(ToString::to_string).collect()))
                .collect();
            assert_eq!(given, expected, "{line}");
        };
        check("stackbell serve", &[]);
        check(
            "stackbell serve --listen 127.0.0.1:1 --data d",
            &[("data", &["d"]), ("listen", &["127.0.0.1:1"])],
        );
        check("stackbell serve --allow-plain-http", &[("allow_plain_http", &["true"])]);
        check("stackbell serve --allow-plain-http=false", &[("allow_plain_http", &["false"])]);
        check(
            "stackbell serve --outbound-allow 10.0.0.0/8 --outbound-allow ::1@acme",
            &[("outbound_allow", &["10.0.0.0/8", "::1@acme"])],
        );
        check("stackbell serve --master-key-file k", &[("master_key", &["k"])]);
    }

    #[test]
    fn lines_that_are_understood() {
        for line in [
            "stackbell dev --org acme --listen 127.0.0.1:0",
            "stackbell config check --config c.toml",
            "stackbell org new acme --display-name Acme --admin analyst",
            "stackbell org member set acme analyst viewer --server https://s.example",
            "stackbell org member list acme --output json",
            "stackbell org member remove acme analyst",
            "stackbell user new analyst --name Analyst --email a@example.com --operator --role member --expires-in 7d",
            "stackbell token new --name ci --role publisher --expires-in 90d --org acme",
            "stackbell token list --org acme",
            "stackbell token revoke 00000000-0000-7000-8000-000000000000",
            "stackbell event send acme --kind stack_update payload.json",
            "stackbell event send acme --ndjson -",
            "stackbell openapi",
            "stackbell webhook list acme --stack p/s --state suspended --limit 5",
            "stackbell webhook get acme ci --env e",
            "stackbell webhook new acme --url https://a.example --filter update_failed --group policies --secret -",
            "stackbell webhook edit acme ci --pause moving --pace 60 --standard-headers off",
            "stackbell webhook remove acme ci --yes",
            "stackbell webhook ping acme ci --ca-file ca.pem",
            "stackbell delivery list acme --webhook ci --state failed --since 2h --all",
            "stackbell delivery show acme 00000000-0000-7000-8000-000000000000",
            "stackbell delivery redeliver acme 00000000-0000-7000-8000-000000000000",
            "stackbell delivery recover acme --webhook ci --since 2026-05-13T06:19:04Z --wait --timeout 1h",
            "stackbell event list acme --limit 10",
            "stackbell listen --register acme --port 0 --status 500 --delay 2s --once",
            "stackbell audit --instance",
            "stackbell sending hold --reason restored",
            "stackbell key new",
            "stackbell backup --to copy.db",
            "stackbell restore copy.db --data d",
            "stackbell store copy --from sqlite:d/stackbell.db --to postgres://u@h/d --hold --output json",
            "stackbell store copy --from sqlite:d/stackbell.db --store postgres://u@h/d --database-pooling session",
            "stackbell store take-back sqlite:d/stackbell.db",
            "stackbell completions zsh",
            "stackbell token list --user analyst",
        ] {
            if let Err(error) = parse(line) {
                panic!("{line}: {error}");
            }
        }
    }

    #[test]
    fn lines_that_are_not() {
        for line in [
            "stackbell",
            "stackbell serve --token t",
            "stackbell serve --master-key k",
            "stackbell org member set acme analyst owner",
            "stackbell token new --name ci --expires-in soon",
            "stackbell event send acme --id 00000000-0000-4000-8000-000000000000",
            "stackbell event send acme --kind stack --ndjson",
            "stackbell org list --server s.example",
            "stackbell webhook new acme",
            "stackbell webhook new acme --url https://a.example --secret hunter2",
            "stackbell webhook new acme --url https://a.example --generate-secret --secret-file f",
            "stackbell webhook list acme --stack p/s --env e",
            "stackbell webhook list acme --limit 5 --all",
            "stackbell webhook edit acme ci",
            "stackbell delivery list acme --state done",
            "stackbell delivery recover acme --webhook ci",
            "stackbell delivery recover acme --webhook ci --since 2h --timeout 1h",
            "stackbell listen --once --count 2",
            "stackbell listen --secret-file f --register acme",
            "stackbell audit",
            "stackbell audit acme --instance",
            "stackbell sending hold",
            "stackbell store copy --to postgres://u@h/d",
            "stackbell store copy --from d/stackbell.db --to postgres://u@h/d",
            "stackbell store copy --from sqlite:d/s.db --to postgres://u@h/d --store postgres://u@h/d",
            "stackbell store take-back d/stackbell.db",
            "stackbell token list --user analyst --org acme",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
