//! The flags of settings, made from the table.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::definitions::{Kind, SETTINGS, Setting};

const CONFIG: &str = "config";

const TOKEN_REFUSAL: &str = "arguments can be read by others on this machine, and a server needs no token; to begin an \
                             empty store with one, set STACKBELL_BOOTSTRAP_TOKEN, or name a file that holds it with \
                             --bootstrap-token-file";

/// The settings on the command line.
#[derive(Clone, Debug, Default)]
pub struct SettingFlags {
    /// The configuration file.
    pub config: Option<PathBuf>,
    /// The texts of each setting's flag. For a secret the text is the path of its file.
    pub given: BTreeMap<&'static str, Vec<String>>,
}

impl SettingFlags {
    /// The help of a setting's flag, for a command with another default, described by `words`.
    ///
    /// # Panics
    /// If there is no setting `name`.
    pub fn help_with_default(name: &str, words: &str) -> String {
        let setting = SETTINGS.iter().find(|setting| setting.name == name);
        setting.expect("a constant that names a setting").help_with_default(words)
    }
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
            .args(SETTINGS.iter().map(argument))
            .args(SETTINGS.iter().filter_map(misplaced_secret))
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
        for setting in SETTINGS {
            if matches.value_source(setting.name) == Some(ValueSource::CommandLine) {
                let texts = matches.get_many::<String>(setting.name).unwrap_or_default().cloned().collect();
                self.given.insert(setting.name, texts);
            }
        }
        Ok(())
    }
}

/// A flag whose value would be a secret. It is refused; the error names the right place for the secret.
fn misplaced_secret(setting: &Setting) -> Option<Arg> {
    if setting.kind != Kind::Secret {
        return None;
    }
    let (variable, flag) = (setting.variable(), setting.flag());
    let refuse = move |_: &str| -> Result<String, String> {
        Err(format!(
            "arguments can be read by others on this machine; set {variable}, or name a file that holds it with --{flag}"
        ))
    };
    Some(misplaced(setting.name, refuse))
}

/// A hidden flag that is refused with any value.
fn misplaced(
    name: &'static str,
    refuse: impl Fn(&str) -> Result<String, String> + Clone + Send + Sync + 'static,
) -> Arg {
    let id = format!("misplaced_{name}");
    Arg::new(id).long(name.replace('_', "-")).value_name("SECRET").value_parser(refuse).hide(true)
}

fn argument(setting: &Setting) -> Arg {
    let argument =
        Arg::new(setting.name).long(setting.flag()).help(setting.help()).value_name(match setting.kind {
            Kind::Secret => "FILE",
            _ => setting.value_name,
        });
    match setting.kind {
        Kind::List => argument.action(ArgAction::Append),
        // A switch without a value means true.
        Kind::Switch => argument.num_args(0..=1).require_equals(true).default_missing_value("true"),
        Kind::Number | Kind::Bytes => argument.action(ArgAction::Set).allow_negative_numbers(true),
        Kind::Text | Kind::Secret | Kind::Place => argument.action(ArgAction::Set),
    }
}
