//! The data keys in plaintext, and the operations with them.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use stackbell_model::identity::TokenHash;
use stackbell_model::ids::{DataKeyId, OrganizationId, WebhookId};
use stackbell_model::secret::{Purpose, Sealed, SealedDataKey, WebhookSecret};
use stackbell_model::{Entropy, Timestamp};
use zeroize::Zeroizing;

use crate::data_key::DataKey;
use crate::master::MasterKey;

/// The domain separator of webhook secrets. Other values stored for the same webhook cannot be taken for its
/// secret.
const WEBHOOK_SECRET: &[u8] = b"webhook secret\0";

/// The domain separator of an organization's token for starting deployments.
const DEPLOYMENTS_TOKEN: &[u8] = b"deployments token\0";

/// The opened data keys. It never prints a key, and wipes them when dropped.
///
/// There may be several keys for sealing, so that a new key can take over while values of the old one exist.
/// The newest key seals; each key opens its own values. The other purposes have one key each, because a hash
/// does not say which key made it.
pub struct Keyring {
    /// The newest is last; never empty.
    seal: Vec<DataKey>,
    token_hash: DataKey,
    fingerprint: DataKey,
}

/// The reason why stored data keys do not form a keyring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// None of the keys can be opened, because another master key sealed them.
    #[error("the master key is not the one that this store's data keys were sealed with")]
    WrongMasterKey,
    /// This row was changed or damaged. The master key is right, because it opens other keys.
    #[error("data key {0} is damaged: the master key opens others, but not this one")]
    Damaged(DataKeyId),
    /// There is no key for a purpose.
    #[error("the store holds no data key for the purpose {0}")]
    Missing(Purpose),
    /// There is more than one key for a purpose that can have only one.
    #[error("the store holds more than one data key for the purpose {0}")]
    Ambiguous(Purpose),
}

/// The reason why sealed bytes cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It was sealed by a data key that is not in the keyring.
    #[error("was sealed by data key {0}, which is not there")]
    UnknownKey(DataKeyId),
    /// The bytes were changed, or they were sealed for another context.
    #[error("is damaged, or was sealed for another place")]
    Refused,
    /// The opened bytes are not a webhook secret.
    #[error("does not hold a webhook's secret")]
    NotASecret,
    /// The opened bytes are not text.
    #[error("does not hold a token")]
    NotAToken,
}

impl Keyring {
    /// Generates data keys for an empty store, one for each purpose. Store them before the keyring is used.
    pub fn generate(
        master: &MasterKey,
        entropy: &mut dyn Entropy,
        now: Timestamp,
    ) -> (Self, Vec<SealedDataKey>) {
        let keyring = Self {
            seal: vec![DataKey::generate(Purpose::Seal, now, entropy)],
            token_hash: DataKey::generate(Purpose::TokenHash, now, entropy),
            fingerprint: DataKey::generate(Purpose::Fingerprint, now, entropy),
        };
        let sealed = keyring.rewrap(master, entropy);
        (keyring, sealed)
    }

    /// Opens the stored data keys, in any order.
    ///
    /// # Errors
    /// [`KeyringError`]. [`KeyringError::WrongMasterKey`] must stop the startup.
    pub fn open(master: &MasterKey, stored: &[SealedDataKey]) -> Result<Self, KeyringError> {
        let mut keys = open_all(master, stored)?;
        // The id only breaks a tie, so that every node picks the same key.
        keys.sort_by_key(|key| (key.created_at, key.id));
        let (seal, others): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.purpose == Purpose::Seal);
        let (token_hash, fingerprint): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|key| key.purpose == Purpose::TokenHash);
        if seal.is_empty() {
            return Err(KeyringError::Missing(Purpose::Seal));
        }
        Ok(Self {
            seal,
            token_hash: the_only(Purpose::TokenHash, token_hash)?,
            fingerprint: the_only(Purpose::Fingerprint, fingerprint)?,
        })
    }

    /// Seals the same data keys with another master key. Ids, purposes and creation times stay, so the rows
    /// can replace the stored ones. Values that the data keys sealed, hashed or fingerprinted stay valid.
    pub fn rewrap(&self, master: &MasterKey, entropy: &mut dyn Entropy) -> Vec<SealedDataKey> {
        let others = [&self.token_hash, &self.fingerprint];
        self.seal.iter().chain(others).map(|key| key.seal(master, entropy)).collect()
    }

    /// Seals `plain` for `context`, for example a kind of value and the id of its row. The context is not
    /// stored; the caller passes it again to open. Sealed bytes are therefore useless in another row.
    pub fn seal(&self, plain: &[u8], context: &[u8], entropy: &mut dyn Entropy) -> Sealed {
        let key = self.seal.last().expect("a keyring has a key that seals: open and generate see to it");
        Sealed { key: key.id, bytes: key.bytes.seal(plain, &associated(key.id, context), entropy) }
    }

    /// Opens bytes that [`Self::seal`] made with the same `context`.
    ///
    /// # Errors
    /// [`OpenError::UnknownKey`] and [`OpenError::Refused`].
    pub fn open_sealed(&self, sealed: &Sealed, context: &[u8]) -> Result<Zeroizing<Vec<u8>>, OpenError> {
        let key =
            self.seal.iter().find(|key| key.id == sealed.key).ok_or(OpenError::UnknownKey(sealed.key))?;
        key.bytes.open(&sealed.bytes, &associated(key.id, context)).map_err(|_| OpenError::Refused)
    }

    /// Seals a webhook's secret. It opens for that webhook only.
    pub fn seal_secret(
        &self,
        webhook: WebhookId,
        secret: &WebhookSecret,
        entropy: &mut dyn Entropy,
    ) -> Sealed {
        self.seal(secret.expose().as_bytes(), &secret_context(webhook), entropy)
    }

    /// Opens a webhook's secret.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::Refused`] also for the secret of another webhook.
    pub fn open_secret(&self, webhook: WebhookId, sealed: &Sealed) -> Result<WebhookSecret, OpenError> {
        let plain = self.open_sealed(sealed, &secret_context(webhook))?;
        let text = std::str::from_utf8(&plain).map_err(|_| OpenError::NotASecret)?;
        Ok(WebhookSecret::from_stored(text))
    }

    /// Seals an organization's token for starting deployments. It opens for that organization only.
    pub fn seal_deployments_token(
        &self,
        organization: OrganizationId,
        token: &str,
        entropy: &mut dyn Entropy,
    ) -> Sealed {
        self.seal(token.as_bytes(), &deployments_context(organization), entropy)
    }

    /// Opens an organization's token for starting deployments.
    ///
    /// # Errors
    /// [`OpenError`]; [`OpenError::Refused`] also for the token of another organization.
    pub fn open_deployments_token(
        &self,
        organization: OrganizationId,
        sealed: &Sealed,
    ) -> Result<Zeroizing<String>, OpenError> {
        let plain = self.open_sealed(sealed, &deployments_context(organization))?;
        let text = std::str::from_utf8(&plain).map_err(|_| OpenError::NotAToken)?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// Hashes an access token, for storage and for lookup. Accepts any text, because users choose bootstrap
    /// tokens themselves.
    pub fn token_hash(&self, token_text: &str) -> TokenHash {
        TokenHash(hmac(&self.token_hash, &[token_text.as_bytes()]))
    }

    /// Computes the fingerprint of a webhook's secret. It changes exactly when the secret does, and differs
    /// for equal secrets of two webhooks. Without the key it does not help to guess the secret.
    /// Source: wire-facts.md#secret.
    pub fn fingerprint(&self, webhook: WebhookId, secret: &WebhookSecret) -> [u8; 32] {
        // The id has a fixed length, so no other pair makes the same message.
        hmac(&self.fingerprint, &[webhook.as_uuid().as_bytes(), secret.expose().as_bytes()])
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(…)")
    }
}

/// Opens every key, or reports whether the master key is wrong or a row is damaged.
fn open_all(master: &MasterKey, stored: &[SealedDataKey]) -> Result<Vec<DataKey>, KeyringError> {
    let mut keys = Vec::with_capacity(stored.len());
    let mut damaged = None;
    for sealed in stored {
        match DataKey::open(sealed, master) {
            Ok(key) => keys.push(key),
            Err(_) => damaged = damaged.or(Some(sealed.id)),
        }
    }
    match damaged {
        None => Ok(keys),
        Some(_) if keys.is_empty() => Err(KeyringError::WrongMasterKey),
        Some(id) => Err(KeyringError::Damaged(id)),
    }
}

fn the_only(purpose: Purpose, mut keys: Vec<DataKey>) -> Result<DataKey, KeyringError> {
    let key = keys.pop().ok_or(KeyringError::Missing(purpose))?;
    if keys.is_empty() { Ok(key) } else { Err(KeyringError::Ambiguous(purpose)) }
}

fn hmac(key: &DataKey, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.bytes.expose()).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn associated(key: DataKeyId, context: &[u8]) -> Vec<u8> {
    [key.as_uuid().as_bytes(), context].concat()
}

fn deployments_context(organization: OrganizationId) -> Vec<u8> {
    [DEPLOYMENTS_TOKEN, organization.as_uuid().as_bytes()].concat()
}

fn secret_context(webhook: WebhookId) -> Vec<u8> {
    [WEBHOOK_SECRET, webhook.as_uuid().as_bytes()].concat()
}

#[cfg(test)]
mod tests;
