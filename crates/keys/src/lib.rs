//! Data keys under the master key: sealing secrets, hashing tokens (invariant 8).
//!
//! ```text
//! MasterKey ──seals──> data keys (stored) ──open──> Keyring ┬─ Seal         seals webhook secrets and the like
//!                                                           ├─ TokenHash    hashes access tokens
//!                                                           └─ Fingerprint  fingerprints of webhook secrets
//! ```
//!
//! The master key never touches data: it only seals the data keys. Rotating it therefore re-seals a few short
//! rows, and all values under the data keys stay valid.
//!
//! *Not* guaranteed: protection from an attacker who can read this process's memory, or who has both the
//! store and the master key. Keys are wiped when dropped; copies made by the processor or by swapping are
//! not.

mod cipher;
mod data_key;
mod keyring;
mod master;
#[cfg(any(test, feature = "properties"))]
pub mod properties;
mod token;

pub use keyring::{Keyring, KeyringError, OpenError};
pub use master::{MASTER_KEY_BYTES, MasterKey, MasterKeyError};
pub use token::{AccessToken, NotAnAccessToken, TOKEN_PREFIX};

#[cfg(test)]
mod testing {
    //! A seeded generator: every run gets the same bytes.

    use stackbell_model::Entropy;

    pub(crate) struct Seeded(pub(crate) u64);

    impl Entropy for Seeded {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0 =
                    self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = self.0.to_be_bytes()[0];
            }
        }
    }
}
