//! Secrets as text, and reading them from files.

use std::fmt;
use std::io;
use std::path::Path;

use zeroize::Zeroizing;

/// A secret text. `Debug` hides it, and its memory is wiped when it is dropped.
#[derive(Clone)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes a secret.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

/// Reads the text of a file, without the byte order mark and the white space around it: editors and secret stores add both.
///
/// # Errors
/// If the file cannot be read, or is not UTF-8.
pub fn read_secret(path: &Path) -> io::Result<String> {
    Ok(without_mark(&std::fs::read_to_string(path)?).trim().to_owned())
}

/// A text without the byte order mark that some editors prepend.
pub fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// A text without the line end that editors and secret stores append.
pub fn without_line_end(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}
