//! A command that prints the master key.
//!
//! The command runs without a shell: its text is split into words like in a shell, but nothing in it is expanded. It cannot see
//! our own secrets, its input is empty, and its time is limited. Its output is never logged.

use std::fmt;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use stackbell_keys::{MasterKey, MasterKeyError};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

/// The longest time for a command. Commands that ask a key service take a second or two.
const TIME_MAX: Duration = Duration::from_secs(30);

/// The most bytes of output that are read. A key has 44.
const OUTPUT_BYTES_MAX: usize = 4096;

/// The most characters of standard error that an error repeats.
const COMPLAINT_CHARACTERS_MAX: usize = 1000;

/// The command.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyCommand {
    program: String,
    arguments: Vec<String>,
    /// Variables that are removed from its environment.
    hidden_variables: Vec<String>,
}

/// A command that gives no master key. The error repeats nothing of standard output.
#[derive(Debug, thiserror::Error)]
pub enum KeyCommandError {
    /// A quote is not closed.
    #[error("must be a command with arguments, in which every quote is closed")]
    Quotes(#[source] shell_words::ParseError),
    /// There is no program.
    #[error("must name a program")]
    Empty,
    /// The program cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The command did not end in time.
    #[error("{program} did not end within {} s", TIME_MAX.as_secs())]
    TooSlow {
        /// The program.
        program: String,
    },
    /// The command failed.
    #[error("{program} failed ({status}){}{complaint}", if complaint.is_empty() { "" } else { ": " })]
    Failed {
        /// The program.
        program: String,
        /// The exit status.
        status: ExitStatus,
        /// The text on standard error, in one line.
        complaint: String,
    },
    /// The command printed far more than a key.
    #[error("{program} printed more than {OUTPUT_BYTES_MAX} bytes: it must print the key and nothing else")]
    TooMuch {
        /// The program.
        program: String,
    },
    /// The command printed something else.
    #[error("{program} did not print a master key")]
    NoKey {
        /// The program.
        program: String,
        /// The reason.
        #[source]
        source: MasterKeyError,
    },
}

impl KeyCommand {
    /// Parses a command. Its environment will lack `hidden_variables`.
    ///
    /// # Errors
    /// [`KeyCommandError::Quotes`] and [`KeyCommandError::Empty`].
    pub fn parse(text: &str, hidden_variables: Vec<String>) -> Result<Self, KeyCommandError> {
        let mut words = shell_words::split(text).map_err(KeyCommandError::Quotes)?.into_iter();
        let program = words.next().filter(|program| !program.is_empty()).ok_or(KeyCommandError::Empty)?;
        Ok(Self { program, arguments: words.collect(), hidden_variables })
    }

    /// The program, without arguments.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Runs the command and parses the key that it prints: base64, with or without white space around it.
    ///
    /// # Errors
    /// [`KeyCommandError`]. A command that takes too long is killed.
    pub async fn run(&self) -> Result<MasterKey, KeyCommandError> {
        let program = || self.program.clone();
        let failed = |source| KeyCommandError::Run { program: program(), source };
        let child = self.start().map_err(failed)?;
        let ended = tokio::time::timeout(TIME_MAX, listen(child)).await;
        // The child is killed when the future of the time limit is dropped.
        let ended = ended.map_err(|_| KeyCommandError::TooSlow { program: program() })?.map_err(failed)?;
        if !ended.status.success() {
            let complaint = one_line(&ended.errors);
            return Err(KeyCommandError::Failed { program: program(), status: ended.status, complaint });
        }
        if ended.output.len() > OUTPUT_BYTES_MAX {
            return Err(KeyCommandError::TooMuch { program: program() });
        }
        // Bytes that are not UTF-8 are not base64 either.
        let text = std::str::from_utf8(&ended.output).unwrap_or("?");
        MasterKey::from_base64(text).map_err(|source| KeyCommandError::NoKey { program: program(), source })
    }

    fn start(&self) -> io::Result<Child> {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments);
        for variable in &self.hidden_variables {
            command.env_remove(variable);
            command.env_remove(format!("{variable}_FILE"));
        }
        // The service manager would mistake the command's messages for ours.
        command.env_remove("NOTIFY_SOCKET");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command.spawn()
    }
}

impl fmt::Debug for KeyCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The arguments are not shown, because one may be a secret of that program.
        write!(f, "KeyCommand({})", self.program)
    }
}

struct Ended {
    status: ExitStatus,
    output: Zeroizing<Vec<u8>>,
    errors: Vec<u8>,
}

/// Reads both outputs of a child, each up to a limit, until the child ends.
async fn listen(mut child: Child) -> io::Result<Ended> {
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    // The full capacity is allocated at once, because a growing vector leaves copies in memory.
    let mut kept = Zeroizing::new(Vec::with_capacity(OUTPUT_BYTES_MAX + 1));
    let mut complaint = Vec::new();
    let (status, (), ()) =
        tokio::try_join!(child.wait(), read(output, &mut kept), read(errors, &mut complaint))?;
    Ok(Ended { status, output: kept, errors: complaint })
}

/// Reads one byte more than the limit. The pipe is closed then, and the writer gets an error.
async fn read(from: Option<impl AsyncRead + Unpin>, into: &mut Vec<u8>) -> io::Result<()> {
    if let Some(from) = from {
        let most = u64::try_from(OUTPUT_BYTES_MAX + 1).expect("a small number");
        from.take(most).read_to_end(into).await?;
    }
    Ok(())
}

fn one_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().filter(|c| !c.is_control()).take(COMPLAINT_CHARACTERS_MAX).collect()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    const KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    async fn run(text: &str) -> Result<String, String> {
        let command = KeyCommand::parse(text, vec!["HOME".to_owned()]).expect("a command");
        let key = command.run().await;
        key.map(|key| key.to_base64().to_string()).map_err(|error| format!("{:#}", anyhow::Error::new(error)))
    }

    async fn check_refused(text: &str, expected: &str) {
        let error = run(text).await.expect_err("refused");
        assert!(error.contains(expected), "{text}: {error}");
        assert!(!error.contains("AAECAwQF"), "{error}");
    }

    #[tokio::test]
    async fn the_key_that_is_printed() {
        for text in [
            format!("/bin/echo {KEY}"),
            format!("/bin/echo '  {KEY}'"),
            format!("/bin/sh -c \"/bin/echo warn >&2; /bin/echo {KEY}\""),
        ] {
            assert_eq!(run(&text).await.as_deref(), Ok(KEY), "{text}");
        }
    }

    #[tokio::test]
    async fn no_shell_and_no_secrets_of_ours() {
        check_refused("/bin/echo $HOME", "did not print a master key").await;
        check_refused("/bin/sh -c 'test -z \"$HOME\" || exit 3; exit 4'", "exit status: 4").await;
    }

    #[tokio::test]
    async fn errors_do_not_contain_the_output() {
        check_refused("/nowhere/at/all", "cannot run /nowhere/at/all: No such file").await;
        check_refused(
            &format!("/bin/sh -c 'echo {KEY}; echo no such >&2; echo key >&2; exit 7'"),
            "/bin/sh failed (exit status: 7): no such key",
        )
        .await;
        check_refused("/bin/echo AAECAwQF", "must be 32 bytes in base64, is 6").await;
        check_refused("/bin/sh -c 'yes AAECAwQF'", "/bin/sh").await;
        check_refused("/bin/sh -c 'printf %5000d 1'", "printed more than 4096 bytes").await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_of_a_command_is_limited() {
        check_refused("/bin/sleep 1000000", "did not end within 30 s").await;
    }

    #[test]
    fn invalid_commands() {
        let check = |text: &str| KeyCommand::parse(text, Vec::new()).expect_err(text).to_string();
        assert!(check("").contains("must name a program"));
        assert!(check("''").contains("must name a program"));
        assert!(check("pass 'show").contains("every quote is closed"));
        let command = KeyCommand::parse("vault read -token=hidden", Vec::new()).expect("a command");
        assert!(!format!("{command:?}").contains("hidden"));
    }
}
