//! Continuation tokens of lists. They are opaque to clients.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// The version of the token's content. A token of another version is rejected, and the client starts over.
const VERSION: &str = "1";

/// The last item of a page; the next page begins after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cursor {
    /// The position in a list ordered by id. For items made one after another, this is the order of time.
    Id(Uuid),
    /// The position in a list ordered by name.
    Name(String),
}

/// The text is not one of our continuation tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a token from an earlier answer, unchanged")]
pub struct BadToken;

impl Cursor {
    /// The token: letters, digits, `-` and `_`.
    pub fn to_token(&self) -> String {
        let text = match self {
            Self::Id(id) => format!("{VERSION}:i:{}", id.hyphenated()),
            Self::Name(name) => format!("{VERSION}:n:{name}"),
        };
        URL_SAFE_NO_PAD.encode(text)
    }

    /// Parses a token.
    ///
    /// # Errors
    /// [`BadToken`].
    pub fn from_token(token: &str) -> Result<Self, BadToken> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| BadToken)?;
        let text = String::from_utf8(bytes).map_err(|_| BadToken)?;
        let mut parts = text.splitn(3, ':');
        match (parts.next(), parts.next(), parts.next()) {
            (Some(VERSION), Some("i"), Some(id)) => Uuid::try_parse(id).map(Self::Id).map_err(|_| BadToken),
            (Some(VERSION), Some("n"), Some(name)) => Ok(Self::Name(name.to_owned())),
            _ => Err(BadToken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cursor: &Cursor) {
        let token = cursor.to_token();
        assert!(
            token.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')),
            "{token}"
        );
        assert_eq!(Cursor::from_token(&token).as_ref(), Ok(cursor));
    }

    #[test]
    fn tokens_read_back() {
        let id = uuid::uuid!("c64dd9a8-be18-4e6a-8208-2bb2efbbd13a");
        check(&Cursor::Id(id));
        check(&Cursor::Name("a:b ??>é".to_owned()));
        check(&Cursor::Name(String::new()));
    }

    #[test]
    fn anything_else_is_refused() {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let bad = ["", "?", "MTpuOmE=", &encode("2:n:a"), &encode("1:n"), &encode("1:i:x"), &encode("1:i:")];
        for token in bad {
            assert_eq!(Cursor::from_token(token), Err(BadToken), "{token}");
        }
    }
}
