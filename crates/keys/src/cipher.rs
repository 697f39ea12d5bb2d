//! The only cipher: XChaCha20-Poly1305 with a random nonce.
//! A nonce has 24 bytes, so random nonces will not collide for any number of values that we seal.
//!
//! Layout: nonce (24 bytes), ciphertext (as long as the plaintext), tag (16 bytes).

use std::fmt;

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use stackbell_model::Entropy;
use zeroize::Zeroizing;

pub(crate) const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// 32 key bytes. They are on the heap, so that a move leaves no copy behind. They are wiped when dropped.
#[derive(Clone)]
pub(crate) struct KeyBytes(Box<Zeroizing<[u8; KEY_BYTES]>>);

/// The bytes were not sealed with this key and this associated data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refused;

impl KeyBytes {
    pub(crate) fn generate(entropy: &mut dyn Entropy) -> Self {
        let mut key = Self::zero();
        entropy.fill(&mut key.0[..]);
        key
    }

    /// Copies the bytes; `None` if there are not exactly [`KEY_BYTES`].
    pub(crate) fn from_slice(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != KEY_BYTES {
            return None;
        }
        let mut key = Self::zero();
        key.0.copy_from_slice(bytes);
        Some(key)
    }

    pub(crate) fn expose(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Seals `plain`. Opening it requires the same `associated` bytes, which are not stored.
    pub(crate) fn seal(&self, plain: &[u8], associated: &[u8], entropy: &mut dyn Entropy) -> Box<[u8]> {
        let mut nonce = [0; NONCE_BYTES];
        entropy.fill(&mut nonce);
        let ciphertext = self
            .cipher()
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: associated })
            .expect("nothing that we seal nears the cipher's limit of 256 GiB");
        [&nonce[..], &ciphertext].concat().into()
    }

    /// Opens bytes that [`Self::seal`] made.
    pub(crate) fn open(&self, sealed: &[u8], associated: &[u8]) -> Result<Zeroizing<Vec<u8>>, Refused> {
        let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_BYTES>().ok_or(Refused)?;
        self.cipher()
            .decrypt(&XNonce::from(*nonce), Payload { msg: ciphertext, aad: associated })
            .map(Zeroizing::new)
            .map_err(|_| Refused)
    }

    fn zero() -> Self {
        Self(Box::new(Zeroizing::new([0; KEY_BYTES])))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.expose().into())
    }
}

impl fmt::Debug for KeyBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyBytes(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test vector of draft-irtf-cfrg-xchacha-03, appendix A.3.1.
    #[test]
    fn is_the_published_cipher() {
        let key: Vec<u8> = (0x80..=0x9f).collect();
        let key = KeyBytes::from_slice(&key).expect("32 bytes");
        let associated = hex::decode("50515253c0c1c2c3c4c5c6c7").expect("hex");
        let plain = b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, sunscreen would be it.";
        let sealed = hex::decode(concat!(
            "404142434445464748494a4b4c4d4e4f5051525354555657",
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39",
            "ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9",
            "21f9664c97637da9768812f615c68b13b52e",
            "c0875924c1c7987947deafd8780acf49",
        ))
        .expect("hex");
        assert_eq!(key.open(&sealed, &associated).expect("opens").as_slice(), plain);
    }

    #[test]
    fn refuses_what_is_too_short_to_hold_a_nonce_and_a_tag() {
        let key = KeyBytes::from_slice(&[7; KEY_BYTES]).expect("32 bytes");
        for length in [0, 1, NONCE_BYTES - 1, NONCE_BYTES, NONCE_BYTES + 15] {
            assert_eq!(key.open(&vec![0; length], b"").map(|_| ()), Err(Refused), "{length} bytes");
        }
    }
}
