//! A data key in plaintext, and its sealing by the master key.

use stackbell_model::ids::DataKeyId;
use stackbell_model::secret::{Purpose, SealedDataKey};
use stackbell_model::{Entropy, Timestamp};

use crate::cipher::{KeyBytes, Refused};
use crate::master::MasterKey;

/// The domain separator of data keys. Other values sealed by the same key cannot be taken for a data key.
const DOMAIN: &[u8] = b"stackbell data key\0";

/// A data key in the clear.
#[derive(Debug)]
pub(crate) struct DataKey {
    pub(crate) id: DataKeyId,
    pub(crate) purpose: Purpose,
    pub(crate) created_at: Timestamp,
    pub(crate) bytes: KeyBytes,
}

impl DataKey {
    pub(crate) fn generate(purpose: Purpose, now: Timestamp, entropy: &mut dyn Entropy) -> Self {
        let id = DataKeyId::generate(entropy);
        Self { id, purpose, created_at: now, bytes: KeyBytes::generate(entropy) }
    }

    pub(crate) fn seal(&self, master: &MasterKey, entropy: &mut dyn Entropy) -> SealedDataKey {
        let bytes = master.bytes().seal(self.bytes.expose(), &associated(self.id, self.purpose), entropy);
        SealedDataKey { id: self.id, purpose: self.purpose, bytes, created_at: self.created_at }
    }

    pub(crate) fn open(sealed: &SealedDataKey, master: &MasterKey) -> Result<Self, Refused> {
        let SealedDataKey { id, purpose, bytes, created_at } = sealed;
        let plain = master.bytes().open(bytes, &associated(*id, *purpose))?;
        let bytes = KeyBytes::from_slice(&plain).ok_or(Refused)?;
        Ok(Self { id: *id, purpose: *purpose, created_at: *created_at, bytes })
    }
}

fn associated(id: DataKeyId, purpose: Purpose) -> Vec<u8> {
    [DOMAIN, id.as_uuid().as_bytes(), purpose.as_str().as_bytes()].concat()
}
