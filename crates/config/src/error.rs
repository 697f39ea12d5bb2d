//! Errors about settings. No message repeats a secret.

use std::error::Error;
use std::io;
use std::path::PathBuf;

use stackbell_system::redacted;

/// Settings are invalid.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
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
        /// The problem.
        problem: String,
    },
    /// An unknown key of the file, or an unknown variable.
    #[error("{origin}: there is no {name}; the nearest is {nearest}")]
    Unknown {
        /// The source: the file or `environment`.
        origin: String,
        /// Its name.
        name: String,
        /// The known name that is most similar.
        nearest: String,
    },
    /// A secret and a file with that secret are both set.
    #[error("{origin}: both {name} and {file_name} are set; set one")]
    Both {
        /// The source: the file or `environment`.
        origin: String,
        /// The setting.
        name: String,
        /// The setting that names the file.
        file_name: String,
    },
    /// A file with a secret cannot be read.
    #[error("{origin}: cannot read {}", redacted(&path.to_string_lossy()))]
    SecretFile {
        /// The setting that names the file.
        origin: String,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A value is invalid for its setting.
    #[error("{key} ({origin}) is not valid")]
    Invalid {
        /// The setting.
        key: &'static str,
        /// The origin of the value.
        origin: String,
        /// The reason. It repeats no secret.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// A file that a setting names cannot be used.
    #[error("{what} cannot be used")]
    Unusable {
        /// The settings.
        what: &'static str,
        /// The reason, with the name of the file.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Two settings contradict each other, or a setting lacks another that it needs.
    #[error("{0}")]
    Conflict(String),
}
