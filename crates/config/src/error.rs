//! What can be wrong with settings. No text here repeats a secret.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use stackbell_system::redacted;

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not TOML. Its text is not repeated: it may hold a secret.
    #[error("{path}, line {line}: {problem}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        problem: String,
    },
    /// A key of the file, or a variable, that there is not.
    #[error("{origin}: there is no {name}; the nearest is {nearest}")]
    Unknown {
        /// Where it was found.
        origin: String,
        /// Its name there.
        name: String,
        /// The name that there is and that is most like it.
        nearest: String,
    },
    /// A secret and a file with that secret, at once.
    #[error("{origin}: both {name} and {file_name} are set; set one")]
    Both {
        /// Where.
        origin: String,
        /// The setting.
        name: String,
        /// The setting that names the file.
        file_name: String,
    },
    /// A file with a secret cannot be read.
    #[error("{origin}: cannot read {}", redacted(&path.to_string_lossy()))]
    SecretFile {
        /// What names the file.
        origin: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A value that its setting cannot have.
    #[error("{key} ({origin}) is not valid")]
    Invalid {
        /// The setting.
        key: &'static str,
        /// Where its value comes from.
        origin: String,
        /// Why. Never repeats a secret.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A file that a setting is about cannot be used.
    #[error("{what} cannot be used")]
    Unusable {
        /// The settings.
        what: &'static str,
        /// Why. Names the file.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Two settings that do not go together, or one that another one needs.
    #[error("{0}")]
    Conflict(String),
}
