//! An access token in plaintext: generated here, shown once, never stored.

use std::fmt;

use stackbell_model::Entropy;
use zeroize::Zeroizing;

/// The prefix of each token that we generate, so that scanners for leaked secrets can find it.
pub const TOKEN_PREFIX: &str = "sbl_";

const RANDOM_BYTES: usize = 20;
const RANDOM_DIGITS: usize = 2 * RANDOM_BYTES;

/// A generated token: [`TOKEN_PREFIX`] and 40 lowercase hex digits, which are 160 random bits.
/// Has no `Display`, hides in `Debug`, and is wiped from memory when dropped.
///
/// Not every valid credential has this form, because users choose bootstrap tokens themselves.
/// [`Keyring::token_hash`](crate::Keyring::token_hash) therefore hashes any text that a client presents.
#[derive(Clone)]
pub struct AccessToken(Zeroizing<String>);

/// The text does not have the form of a generated token. The error never contains any of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not an access token made here: {TOKEN_PREFIX} and {RANDOM_DIGITS} lowercase hex digits")]
pub struct NotAnAccessToken;

impl AccessToken {
    /// Generates a new token.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0; RANDOM_BYTES]);
        entropy.fill(&mut bytes[..]);
        // The full capacity is allocated at once: a reallocation would leave a copy of the start behind,
        // unwiped.
        let mut text = Zeroizing::new(String::with_capacity(TOKEN_PREFIX.len() + RANDOM_DIGITS));
        text.push_str(TOKEN_PREFIX);
        for byte in bytes.iter() {
            for nibble in [byte >> 4, byte & 0xf] {
                text.push(char::from_digit(nibble.into(), 16).expect("a nibble is a hex digit"));
            }
        }
        Self(text)
    }

    /// Parses a generated token, to distinguish it from other text.
    ///
    /// # Errors
    /// [`NotAnAccessToken`].
    pub fn parse(text: &str) -> Result<Self, NotAnAccessToken> {
        let digits = text.strip_prefix(TOKEN_PREFIX).ok_or(NotAnAccessToken)?;
        let is_hex = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if digits.len() != RANDOM_DIGITS || !is_hex {
            return Err(NotAnAccessToken);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The token itself, to show it once and to hash it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Seeded;

    fn check(text: &str, is_token: bool) {
        assert_eq!(AccessToken::parse(text).is_ok(), is_token, "{text:?}");
    }

    #[test]
    fn parses_its_own_form_alone() {
        let digits = "0123456789abcdef0123456789abcdef01234567";
        check(&format!("sbl_{digits}"), true);
        check(&format!("sbl_{}", digits.to_uppercase()), false);
        check(&format!("sbl_{digits}0"), false);
        check(&format!("sbl_{}", &digits[1..]), false);
        check(&format!(" sbl_{digits}"), false);
        check(&format!("pul-{digits}"), false);
        check(digits, false);
        check("sbl_", false);
        check("", false);
    }

    #[test]
    fn makes_different_tokens_that_parse() {
        let mut entropy = Seeded(3);
        let (first, second) = (AccessToken::generate(&mut entropy), AccessToken::generate(&mut entropy));
        assert_ne!(first.expose(), second.expose());
        check(first.expose(), true);
        check(second.expose(), true);
    }

    #[test]
    fn hides_in_debug() {
        let token = AccessToken::generate(&mut Seeded(3));
        assert_eq!(format!("{token:?}"), "AccessToken(…)");
    }
}
