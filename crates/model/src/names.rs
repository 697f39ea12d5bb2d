//! Names chosen by users and programs. Each is parsed once, where it enters.

use std::fmt;

use crate::hidden;

/// The reason why a text is not a valid name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or only white space.
    #[error("must not be empty")]
    Empty,
    /// Longer than allowed.
    #[error("must be at most {max} characters long, is {actual}")]
    TooLong {
        /// The maximum number of characters.
        max: usize,
        /// The actual number of characters.
        actual: usize,
    },
    /// A character that such a name may not contain.
    #[error("must consist of {allowed}; '{}' is not allowed", hidden::escape(found.encode_utf8(&mut [0; 4]), &[]))]
    Character {
        /// The allowed characters, in words.
        allowed: &'static str,
        /// The first character that is not allowed.
        found: char,
    },
    /// `.` or `..`. Clients remove these from paths, so a resource with this name could not be reached.
    /// Source: wire-facts.md#webhook-name.
    #[error("must not be '.' or '..'")]
    Dots,
}

const IDENTIFIER: &str = "letters, digits, '.', '_' and '-'";
const VISIBLE: &str = "visible characters";

fn check(text: &str, max: usize, allowed: &'static str, ok: impl Fn(char) -> bool) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    let actual = text.chars().count();
    if actual > max {
        return Err(NameError::TooLong { max, actual });
    }
    match text.chars().find(|c| !ok(*c)) {
        Some(found) => Err(NameError::Character { allowed, found }),
        None => Ok(()),
    }
}

/// Checks a name that is used in paths: 1 to `max` letters, digits, `.`, `_`, `-`, and neither `.` nor `..`.
fn check_identifier(text: &str, max: usize) -> Result<(), NameError> {
    check(text, max, IDENTIFIER, is_identifier)?;
    if matches!(text, "." | "..") { Err(NameError::Dots) } else { Ok(()) }
}

fn is_identifier(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, |$text:ident| $parse:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Box<str>);

        impl $name {
            /// Parses a name.
            ///
            /// # Errors
            /// [`NameError`], when the text breaks the rule above.
            pub fn parse($text: &str) -> Result<Self, NameError> {
                let $text = $parse?;
                Ok(Self($text.into()))
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:?})"), self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// An organization's name in URLs (`githubLogin` on the wire): 1 to 100 letters, digits, `.`, `_`, `-`; not `.` or `..`.
    OrganizationName,
    |text| check_identifier(text, 100).map(|()| text)
);
name!(
    /// A user's login (`githubLogin` on the wire): 1 to 100 letters, digits, `.`, `_`, `-`; not `.` or `..`.
    Login,
    |text| check_identifier(text, 100).map(|()| text)
);
name!(
    /// A project's name: 1 to 100 letters, digits, `.`, `_`, `-`; not `.` or `..`.
    ProjectName,
    |text| check_identifier(text, 100).map(|()| text)
);
name!(
    /// A stack's name without its project: 1 to 100 letters, digits, `.`, `_`, `-`; not `.` or `..`.
    StackName,
    |text| check_identifier(text, 100).map(|()| text)
);
name!(
    /// An environment's name without its project: 1 to 100 letters, digits, `.`, `_`, `-`; not `.` or `..`.
    EnvironmentName,
    |text| check_identifier(text, 100).map(|()| text)
);
name!(
    /// A webhook's identifier, unique in its scope: 1 to 32 letters, digits, `.`, `_`, `-`; not `.` or `..`.
    /// Source: wire-facts.md#webhook-name.
    WebhookName,
    |text| check_identifier(text, 32).map(|()| text)
);
name!(
    /// A label for users, not unique: 1 to 256 characters, not only blanks, none of them [`hidden`].
    /// Surrounding blanks are kept, because clients compare the label with the one that they sent.
    DisplayName,
    |text| {
        let visible = if text.trim().is_empty() { "" } else { text };
        check(visible, 256, VISIBLE, |_| true).and_then(|()| match hidden::find(text) {
            Some(found) => Err(NameError::Character { allowed: VISIBLE, found }),
            None => Ok(text),
        })
    }
);

impl DisplayName {
    /// Wraps a stored text without validation: the rules may have become stricter since it was stored.
    pub fn from_stored(text: &str) -> Self {
        Self(text.into())
    }
}

impl ProjectName {
    /// The project of an environment whose path has no project. Source: wire-facts.md#preview-environments.
    pub fn default_project() -> Self {
        Self("default".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_webhook_name(text: &str, expected: Result<(), &str>) {
        let actual = WebhookName::parse(text).map(|_| ()).map_err(|e| e.to_string());
        assert_eq!(actual, expected.map_err(str::to_owned), "{text:?}");
    }

    #[test]
    fn webhook_names() {
        check_webhook_name("bd7e0a35", Ok(()));
        check_webhook_name("A.b_c-9", Ok(()));
        check_webhook_name(&"x".repeat(32), Ok(()));
        check_webhook_name(&"x".repeat(33), Err("must be at most 32 characters long, is 33"));
        check_webhook_name("", Err("must not be empty"));
        check_webhook_name(
            "a/b",
            Err("must consist of letters, digits, '.', '_' and '-'; '/' is not allowed"),
        );
    }

    #[test]
    fn no_name_in_a_path_is_a_dot_segment() {
        fn check<T: fmt::Debug + PartialEq>(parse: impl Fn(&str) -> Result<T, NameError>) {
            for text in [".", ".."] {
                assert_eq!(parse(text), Err(NameError::Dots), "{text}");
            }
            for text in ["...", ".a", "a.", "-.", "_"] {
                assert!(parse(text).is_ok(), "{text}");
            }
        }
        check(OrganizationName::parse);
        check(Login::parse);
        check(ProjectName::parse);
        check(StackName::parse);
        check(EnvironmentName::parse);
        check(WebhookName::parse);
        assert_eq!(NameError::Dots.to_string(), "must not be '.' or '..'");
    }

    #[test]
    fn display_names_are_kept_as_they_are() {
        for text in ["  #ops 🍹 ", "\u{a0}a\u{3000}", "cafe\u{301}", "caf\u{e9}", "a  b"] {
            assert_eq!(DisplayName::parse(text).map(|name| name.to_string()), Ok(text.to_owned()));
        }
        for blank in ["", "   ", "\u{a0}\u{3000}", "\t\n"] {
            assert_eq!(DisplayName::parse(blank), Err(NameError::Empty));
        }
        let long = format!(" {}", "é".repeat(255));
        assert!(DisplayName::parse(&long).is_ok());
        let refused = DisplayName::parse(&format!(" {long}")).map_err(|error| error.to_string());
        assert_eq!(refused, Err("must be at most 256 characters long, is 257".to_owned()));
    }

    #[test]
    fn display_names_have_no_hidden_characters() {
        for (text, found) in [
            ("a\u{7}b", "\\u{7}"),
            ("a\nb", "\\u{a}"),
            ("abc\u{202e}gnp", "\\u{202e}"),
            ("ad\u{200b}min", "\\u{200b}"),
            ("\u{feff}", "\\u{feff}"),
            ("\u{3164}", "\\u{3164}"),
        ] {
            let refusal = DisplayName::parse(text).map_err(|error| error.to_string());
            assert_eq!(refusal, Err(format!("must consist of visible characters; '{found}' is not allowed")));
        }
        for text in ["👩\u{200d}💻 team", "می\u{200c}خواهم", "Grüße"] {
            assert_eq!(DisplayName::parse(text).map(|name| name.to_string()), Ok(text.to_owned()));
        }
        // A store may hold names that an earlier version allowed.
        assert_eq!(DisplayName::from_stored("ad\u{200b}min").as_str(), "ad\u{200b}min");
    }
}
