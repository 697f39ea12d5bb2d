//! Secrets: what is never shown, logged or stored as it is (invariant 8).

use std::fmt;

use zeroize::Zeroizing;

use crate::Timestamp;
use crate::ids::DataKeyId;

/// The most bytes that a webhook's secret may have. Source: wire-facts.md#secret.
pub const SECRET_BYTES_MAX: usize = 1024;

/// A webhook's secret in the clear: at most [`SECRET_BYTES_MAX`] bytes of UTF-8, whose bytes are the HMAC key.
/// Has no `Display`, hides in `Debug`, and is wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookSecret(Zeroizing<Box<str>>);

/// A secret longer than [`SECRET_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be at most {SECRET_BYTES_MAX} bytes long, is {actual}")]
pub struct SecretTooLong {
    /// The bytes that there are.
    pub actual: usize,
}

impl WebhookSecret {
    /// Takes a secret as it was sent.
    ///
    /// # Errors
    /// [`SecretTooLong`].
    pub fn new(text: &str) -> Result<Self, SecretTooLong> {
        if text.len() > SECRET_BYTES_MAX {
            return Err(SecretTooLong { actual: text.len() });
        }
        Ok(Self(Zeroizing::new(text.into())))
    }

    /// The secret itself, for signing and sealing alone.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WebhookSecret(…)")
    }
}

/// What somebody asks for concerning a webhook's secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SecretChange {
    /// Nothing. A new webhook has none, an old one keeps what it has.
    #[default]
    Keep,
    /// That there be none.
    Remove,
    /// This one.
    Set(WebhookSecret),
}

/// Something sealed by a data key: safe to store, of no use without the key.
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

/// What a data key is for. Each key has one use, so that no value made for one can pass for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Seals what we must be able to read again, such as webhook secrets.
    Seal,
    /// Hashes access tokens. Without it no stored token can be found again.
    TokenHash,
    /// Makes the fingerprint of a webhook's secret, which clients compare for equality: it must outlive rotations.
    Fingerprint,
}

impl Purpose {
    /// All of them. A store that is in use holds a key for each.
    pub const ALL: &'static [Self] = &[Self::Seal, Self::TokenHash, Self::Fingerprint];

    /// The spelling in stores.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seal => "seal",
            Self::TokenHash => "token_hash",
            Self::Fingerprint => "fingerprint",
        }
    }

    /// Reads the spelling of stores; `None` when there is no such one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|purpose| purpose.as_str() == text)
    }
}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A data key, sealed by the master key: safe to store, of no use without the master key.
/// Its id and purpose are bound to its bytes, so that neither can be exchanged for another's.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedDataKey {
    /// Its id, which a rotation of the master key keeps.
    pub id: DataKeyId,
    /// What it is for.
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
