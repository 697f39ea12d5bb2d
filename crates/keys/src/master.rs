//! The master key: the only secret that is not in the store.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_PAD_INDIFFERENT, URL_SAFE_PAD_INDIFFERENT};
use stackbell_model::Entropy;
use zeroize::Zeroizing;

use crate::cipher::{KEY_BYTES, KeyBytes};

/// The length of a master key.
pub const MASTER_KEY_BYTES: usize = KEY_BYTES;

/// The key that seals the data keys. Has no `Display`, hides in `Debug`, and is wiped from memory when dropped.
#[derive(Clone)]
pub struct MasterKey(KeyBytes);

/// The text is not a master key. The error never contains any of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MasterKeyError {
    /// The text is empty, or only white space.
    #[error("the master key is empty: it must be {MASTER_KEY_BYTES} random bytes in base64")]
    Empty,
    /// It is not base64.
    #[error("the master key is not base64: it must be {MASTER_KEY_BYTES} random bytes in base64")]
    NotBase64,
    /// It is base64 of the wrong number of bytes.
    #[error("the master key must be {MASTER_KEY_BYTES} bytes in base64, is {actual}")]
    WrongLength {
        /// The actual number of bytes.
        actual: usize,
    },
}

impl MasterKey {
    /// Generates a new key.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        Self(KeyBytes::generate(entropy))
    }

    /// Parses [`MASTER_KEY_BYTES`] bytes of base64: the standard or the URL-safe alphabet, with or without
    /// padding. Surrounding white space is ignored, because files and commands often add it.
    ///
    /// # Errors
    /// [`MasterKeyError`].
    pub fn from_base64(text: &str) -> Result<Self, MasterKeyError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(MasterKeyError::Empty);
        }
        let engine =
            if text.contains(['-', '_']) { &URL_SAFE_PAD_INDIFFERENT } else { &STANDARD_PAD_INDIFFERENT };
        let mut bytes = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
        let length = engine.decode_slice(text, &mut bytes).map_err(|_| MasterKeyError::NotBase64)?;
        KeyBytes::from_slice(&bytes[..length]).map(Self).ok_or(MasterKeyError::WrongLength { actual: length })
    }

    /// The key as text for a key file: standard base64, padded, without a line end.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(self.0.expose()))
    }

    pub(crate) fn bytes(&self) -> &KeyBytes {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Seeded;

    fn check(text: &str, expected: Result<[u8; 32], MasterKeyError>) {
        assert_eq!(MasterKey::from_base64(text).map(|key| *key.bytes().expose()), expected, "{text:?}");
    }

    #[test]
    fn reads_every_spelling_of_base64() {
        let bytes = [0xfb; 32];
        for text in [
            "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=",
            "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s",
            "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s=",
            "-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s",
            "  -_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_v7-_s=\r\n",
        ] {
            check(text, Ok(bytes));
        }
    }

    #[test]
    fn says_what_is_wrong_with_other_text() {
        check("", Err(MasterKeyError::Empty));
        check(" \n", Err(MasterKeyError::Empty));
        check("correct horse battery staple", Err(MasterKeyError::NotBase64));
        check("-_v7+/v7", Err(MasterKeyError::NotBase64));
        check("AAAA", Err(MasterKeyError::WrongLength { actual: 3 }));
        check(&"AAAA".repeat(11), Err(MasterKeyError::WrongLength { actual: 33 }));
        check(&"AAAA".repeat(10_000), Err(MasterKeyError::WrongLength { actual: 30_000 }));
    }

    #[test]
    fn is_read_back_from_its_own_text() {
        let key = MasterKey::generate(&mut Seeded(1));
        check(&key.to_base64(), Ok(*key.bytes().expose()));
        assert_eq!(key.to_base64().len(), 44);
    }

    #[test]
    fn hides_in_debug() {
        assert_eq!(format!("{:?}", MasterKey::generate(&mut Seeded(1))), "MasterKey(…)");
    }
}
