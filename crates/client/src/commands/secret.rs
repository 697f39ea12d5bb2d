//! The source of a webhook's secret. A secret is never an argument, because other users of the machine can read arguments.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use stackbell_model::Entropy as _;
use stackbell_system::{Environment, SecretText, SystemEntropy, redacted, without_line_end, without_mark};
use zeroize::Zeroizing;

/// The variable that may hold a webhook's secret.
pub(crate) const VARIABLE: &str = "STACKBELL_WEBHOOK_SECRET";

/// The random bytes of a secret: as many as a signature has.
const SECRET_BYTES: usize = 32;

/// The most bytes of a secret that are read: more than the server accepts.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// The flags for the source of a secret.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(id = "secret_source", multiple = false)]
pub(crate) struct SecretArgs {
    /// The file with the secret; - for standard input
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Only as `--secret -`: read the secret from standard input
    #[arg(long, value_name = "-", value_parser = standard_input, hide = true)]
    secret: Option<()>,
    /// Read the secret from the variable STACKBELL_WEBHOOK_SECRET
    #[arg(long)]
    secret_env: bool,
    /// Create a secret that works with receivers of both signatures, and print it once
    #[arg(long)]
    generate_secret: bool,
}

/// A secret to set.
pub(crate) struct Secret {
    /// The secret.
    pub(crate) text: SecretText,
    /// Whether it was created here and must be printed.
    pub(crate) is_new: bool,
}

fn standard_input(text: &str) -> Result<(), &'static str> {
    if text == "-" {
        return Ok(());
    }
    Err("arguments can be read by others on this machine; use --secret-file, --secret - for standard input, \
         --secret-env, or --generate-secret")
}

impl SecretArgs {
    /// Reads the secret, if a flag asks for one.
    ///
    /// # Errors
    /// If it cannot be read, or is empty.
    pub(crate) fn read(&self, environment: &Environment) -> anyhow::Result<Option<Secret>> {
        if self.generate_secret {
            return Ok(Some(Secret { text: generate()?, is_new: true }));
        }
        let text = if self.secret.is_some() {
            read_file(Path::new("-"))?
        } else if let Some(path) = &self.secret_file {
            read_file(path)?
        } else if self.secret_env {
            let text = environment.get(VARIABLE).with_context(|| format!("{VARIABLE} is not set"))?;
            SecretText::new(text.to_owned())
        } else {
            return Ok(None);
        };
        Ok(Some(Secret { text, is_new: false }))
    }
}

/// Reads a secret from a file, without the line end that editors add.
///
/// # Errors
/// If it cannot be read, or is empty.
pub(crate) fn read_file(path: &Path) -> anyhow::Result<SecretText> {
    let mut text = Zeroizing::new(String::new());
    let is_standard_input = path == Path::new("-");
    let name =
        if is_standard_input { "standard input".to_owned() } else { redacted(&path.to_string_lossy()) };
    let read = if is_standard_input {
        std::io::stdin().lock().take(SECRET_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(SECRET_BYTES_MAX).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read the secret from {name}"))?;
    let line = without_line_end(without_mark(&text));
    ensure!(!line.is_empty(), "there is no secret in {name}");
    Ok(SecretText::new(line.to_owned()))
}

/// Makes a secret in the form of Standard Webhooks. For Pulumi's signature the secret's text is the key.
///
/// # Errors
/// If the operating system gives no randomness.
pub(crate) fn generate() -> anyhow::Result<SecretText> {
    let mut key = Zeroizing::new([0; SECRET_BYTES]);
    SystemEntropy::seeded()?.fill(&mut key[..]);
    Ok(SecretText::new(format!("whsec_{}", STANDARD.encode(&key[..]))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_read_without_the_end_of_their_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("secret");
        let check = |text: &str, expected: Option<&str>| {
            std::fs::write(&path, text).expect("written");
            let read = read_file(&path).ok();
            assert_eq!(read.as_ref().map(SecretText::expose), expected, "{text:?}");
        };
        check("a secret\n", Some("a secret"));
        check("a secret\r\n", Some("a secret"));
        check(" a secret \n\n", Some(" a secret \n"));
        check("\u{feff}a secret\n", Some("a secret"));
        check("\n", None);
        check("", None);
    }

    #[test]
    fn the_environment_has_one_where_that_is_asked_for() {
        let environment = Environment::from_iter([(VARIABLE, "from there")]);
        let read = |secret_env: bool, environment: &Environment| {
            SecretArgs { secret_env, ..SecretArgs::default() }.read(environment)
        };
        let secret = read(true, &environment).expect("read").expect("a secret");
        assert_eq!((secret.text.expose(), secret.is_new), ("from there", false));
        assert!(read(false, &environment).expect("read").is_none());
        assert!(read(true, &Environment::default()).is_err());
    }

    #[test]
    fn the_end_of_a_line_is_no_part_of_a_secret_in_the_environment() {
        for (value, expected) in
            [("a secret\n", "a secret"), ("a secret\r\n", "a secret"), (" a secret ", " a secret ")]
        {
            let environment = Environment::from_iter([(VARIABLE, value)]);
            let read = SecretArgs { secret_env: true, ..SecretArgs::default() }.read(&environment);
            let secret = read.expect("read").expect("a secret");
            assert_eq!(secret.text.expose(), expected, "{value:?}");
        }
    }

    #[test]
    fn no_two_that_are_made_are_the_same() {
        let (one, other) = (generate().expect("made"), generate().expect("made"));
        assert_ne!(one.expose(), other.expose());
        assert_eq!(one.expose().len(), "whsec_".len() + 44);
    }
}
