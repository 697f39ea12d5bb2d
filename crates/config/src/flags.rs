//! The flags of settings, made from the table.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::keys::{KEYS, Key, Kind};

const CONFIG: &str = "config";

const TOKEN_REFUSAL: &str = "arguments can be read by others on this machine, and a server needs no token; to begin an \
                             empty store with one, set STACKBELL_BOOTSTRAP_TOKEN, or name a file that holds it with \
                             --bootstrap-token-file";

/// The settings that were given as flags.
#[derive(Clone, Debug, Default)]
pub struct SettingFlags {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// What was given, by setting; of a secret, the file that holds it.
    pub given: BTreeMap<&'static str, Vec<String>>,
}

impl Args for SettingFlags {
    fn augment_args(command: Command) -> Command {
        let config = Arg::new(CONFIG)
            .long(CONFIG)
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("The configuration file, in TOML [env: STACKBELL_CONFIG]");
        let token = misplaced("token", |_: &str| Err(TOKEN_REFUSAL.to_owned()));
        command
            .arg(config)
            .args(KEYS.iter().map(argument))
            .args(KEYS.iter().filter_map(misplaced_secret))
            .arg(token)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.config = matches.get_one::<PathBuf>(CONFIG).cloned();
        for key in KEYS {
            if matches.value_source(key.name) == Some(ValueSource::CommandLine) {
                let texts = matches.get_many::<String>(key.name).unwrap_or_default().cloned().collect();
                self.given.insert(key.name, texts);
            }
        }
        Ok(())
    }
}

/// A secret as a flag's value, which is refused with a word on where it belongs.
fn misplaced_secret(key: &'static Key) -> Option<Arg> {
    if key.kind != Kind::Secret {
        return None;
    }
    let (variable, flag) = (key.variable(), key.flag());
    let refuse = move |_: &str| -> Result<String, String> {
        Err(format!(
            "arguments can be read by others on this machine; set {variable}, or name a file that holds it with --{flag}"
        ))
    };
    Some(misplaced(key.name, refuse))
}

/// A hidden flag that is refused whatever its value is.
fn misplaced(
    name: &'static str,
    refuse: impl Fn(&str) -> Result<String, String> + Clone + Send + Sync + 'static,
) -> Arg {
    let id = format!("misplaced_{name}");
    Arg::new(id).long(name.replace('_', "-")).value_name("SECRET").value_parser(refuse).hide(true)
}

fn argument(key: &'static Key) -> Arg {
    let help = match key.kind {
        Kind::Secret => {
            format!("File with: {} [env: {} or {}_FILE]", key.help, key.variable(), key.variable())
        }
        Kind::Place => format!("{} [env: {} or {}_FILE]", key.help, key.variable(), key.variable()),
        Kind::Text | Kind::Switch | Kind::Number | Kind::Bytes | Kind::List => {
            format!("{} [env: {}]", key.help, key.variable())
        }
    };
    let argument = Arg::new(key.name).long(key.flag()).help(help).value_name(match key.kind {
        Kind::Secret => "FILE",
        _ => key.value_name,
    });
    match key.kind {
        Kind::List => argument.action(ArgAction::Append),
        // Alone it means true.
        Kind::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Number | Kind::Bytes => argument.action(ArgAction::Set).allow_negative_numbers(true),
        Kind::Text | Kind::Secret | Kind::Place => argument.action(ArgAction::Set),
    }
}
