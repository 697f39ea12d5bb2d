//! Secrets, which are never shown, logged or stored in the clear (invariant 8).

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::Timestamp;
use crate::ids::DataKeyId;

/// The maximum size of a webhook's secret. Source: wire-facts.md#secret.
pub const SECRET_BYTES_MAX: usize = 1024;

/// A webhook's secret in the clear: at most [`SECRET_BYTES_MAX`] bytes of UTF-8, whose bytes are the HMAC key.
/// Has no `Display`, hides in `Debug`, and is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Zeroizing<Box<str>>);

/// The prefix of a Standard Webhooks secret; its key follows in base64. Source: wire-facts.md#standard-webhooks.
pub const STANDARD_PREFIX: &str = "whsec_";

/// The reason why a text is not a valid webhook secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// Longer than [`SECRET_BYTES_MAX`].
    #[error("must be at most {SECRET_BYTES_MAX} bytes long, is {actual}")]
    TooLong {
        /// The actual number of bytes.
        actual: usize,
    },
    /// Begins with [`STANDARD_PREFIX`], but is not a key that every receiver's library decodes alike.
    #[error(
        "must be '{STANDARD_PREFIX}' and a key in standard base64 with padding (letters, digits, '+' and '/', with '=' to a \
         multiple of four), without blanks, as receivers' libraries decode nothing else alike; a secret of another form may \
         not begin with '{STANDARD_PREFIX}'"
    )]
    Standard,
}

impl WebhookSecret {
    /// Parses a secret as a client sends it.
    ///
    /// A secret that begins with [`STANDARD_PREFIX`], ignoring blanks before it, has to be in the one form
    /// that every library of Standard Webhooks decodes to the same key. Some libraries skip characters
    /// outside the alphabet: they would accept another form and get another key.
    ///
    /// # Errors
    /// [`SecretError`], without any part of the text.
    pub fn new(text: &str) -> Result<Self, SecretError> {
        if text.len() > SECRET_BYTES_MAX {
            return Err(SecretError::TooLong { actual: text.len() });
        }
        if text.trim_start().starts_with(STANDARD_PREFIX) && !is_standard(text) {
            return Err(SecretError::Standard);
        }
        Ok(Self::from_stored(text))
    }

    /// Wraps a stored text without validation: the rules may have become stricter since it was stored.
    pub fn from_stored(text: &str) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself, only for signing and sealing.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Returns true if the text is the prefix and at least one byte in canonical base64.
fn is_standard(text: &str) -> bool {
    let key = text.strip_prefix(STANDARD_PREFIX).and_then(|key| STANDARD.decode(key).ok());
    key.map(Zeroizing::new).is_some_and(|key| !key.is_empty())
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// The change that a request makes to a webhook's secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SecretChange {
    /// No change: a new webhook has no secret, an existing one keeps its own.
    #[default]
    Keep,
    /// Removes the secret.
    Remove,
    /// Sets this secret.
    Set(SentSecret),
}

/// A webhook's secret as a client sent it, not validated yet. Hides in `Debug`, and is wiped from memory when
/// dropped.
///
/// Clients send the stored secret again with every update. A stored secret stays accepted when the rules become stricter,
/// so only a secret that is not stored yet has to pass [`SentSecret::check`].
#[derive(Clone, PartialEq, Eq)]
pub struct SentSecret(WebhookSecret);

impl SentSecret {
    /// Wraps any text.
    pub fn new(text: &str) -> Self {
        Self(WebhookSecret::from_stored(text))
    }

    /// The secret without validation, only for a comparison with the stored one.
    pub fn unchecked(&self) -> &WebhookSecret {
        &self.0
    }

    /// Validates the secret for use by a webhook.
    ///
    /// # Errors
    /// [`SecretError`], like [`WebhookSecret::new`].
    pub fn check(&self) -> Result<WebhookSecret, SecretError> {
        WebhookSecret::new(self.0.expose())
    }
}

impl fmt::Debug for SentSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SentSecret(…)")
    }
}

/// Bytes sealed by a data key: safe to store, useless without the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The data key that opens it.
    pub key: DataKeyId,
    /// Nonce and ciphertext, as the `keys` crate lays them out.
    pub bytes: Box<[u8]>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({}, {} bytes)", self.key, self.bytes.len())
    }
}

/// The use of a data key. Each key has one use, so a value made for one use cannot pass for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Seals values that must be readable later, such as webhook secrets.
    Seal,
    /// Hashes access tokens. Stored tokens cannot be looked up without it.
    TokenHash,
    /// Makes the fingerprint of a webhook's secret, which clients compare for equality: it must outlive rotations.
    Fingerprint,
}

impl Purpose {
    /// All purposes. A store that is in use holds a key for each.
    pub const ALL: &'static [Self] = &[Self::Seal, Self::TokenHash, Self::Fingerprint];

    /// The text form for stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::TokenHash => "token_hash",
            Self::Fingerprint => "fingerprint",
        }
    }

    /// Parses the text form; `None` when it is unknown.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|purpose| purpose.as_str() == text)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A data key, sealed by the master key: safe to store, useless without the master key.
/// Its id and purpose are bound to its bytes, so neither can be swapped for those of another key.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedDataKey {
    /// Its id, which a rotation of the master key keeps.
    pub id: DataKeyId,
    /// Its purpose.
    pub purpose: Purpose,
    /// Nonce and ciphertext, as the `keys` crate lays them out.
    pub bytes: Box<[u8]>,
    /// When the key was made; a rotation of the master key keeps it.
    pub created_at: Timestamp,
}

impl fmt::Debug for SealedDataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedDataKey({}, {}, {} bytes)", self.id, self.purpose, self.bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(), SecretError>) {
        let read = WebhookSecret::new(text);
        assert_eq!(
            read.as_ref().map(WebhookSecret::expose),
            expected.map(|()| text).as_ref().copied(),
            "{text:?}"
        );
    }

    #[test]
    fn a_secret_of_the_standard_form_is_canonical_base64() {
        for good in
            ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_dGVzdA==", "whsec_+/+/", "whsec_dGVzdDE="]
        {
            check(good, Ok(()));
        }
        let bad = [
            "whsec_",
            "whsec_=",
            "whsec_====",
            "whsec_dGVzdA",
            "whsec_dGVzdA=",
            "whsec_dGVzdA===",
            "whsec_dGVzdB==",
            "whsec_-_-_",
            "whsec_not base64!",
            "whsec_dGVz dA==",
            "whsec_dGVz\ndA==",
            "whsec_ dGVzdA==",
            "whsec_dGVzdA== ",
            "whsec_dGVzdA==\n",
            "\twhsec_dGVzdA==",
            "  whsec_not base64!",
            "whsec_whsec_dGVzdA==",
            "whsec_dGVzdA\u{200b}==",
            "whsec_ｄGVzdA==",
        ];
        for bad in bad {
            check(bad, Err(SecretError::Standard));
        }
    }

    #[test]
    fn any_other_text_is_a_secret_as_it_is() {
        for text in ["test", " test\n", "WHSEC_x", "xwhsec_x", "whsec", "🍹", &"x".repeat(SECRET_BYTES_MAX)]
        {
            check(text, Ok(()));
        }
        check(&"x".repeat(1025), Err(SecretError::TooLong { actual: 1025 }));
    }

    #[test]
    fn a_refusal_names_the_form_and_not_the_secret() {
        let refusal =
            WebhookSecret::new("whsec_hidden-word").expect_err("not the standard alphabet").to_string();
        assert!(refusal.contains("standard base64 with padding") && !refusal.contains("hidden"), "{refusal}");
    }
}
