//! Properties that the parsers in this crate have for every input; see `stackbell_model::properties`.

use stackbell_model::ids::{DataKeyId, WebhookId};
use stackbell_model::secret::{Purpose, Sealed, SealedDataKey};
use stackbell_model::{Entropy, Timestamp};

use crate::{AccessToken, Keyring, MasterKey};

/// An entropy source that only counts: every run gets the same bytes.
struct Counting(u8);

impl Entropy for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            self.0 = self.0.wrapping_add(1);
            *byte = self.0;
        }
    }
}

/// A parsed token equals its input, a master key survives writing and parsing, and no error repeats its input.
pub fn credentials(text: &str) {
    match AccessToken::parse(text) {
        Ok(token) => assert_eq!((token.expose(), text.len()), (text, 44)),
        Err(error) => assert_eq!(error.to_string().len(), crate::NotAnAccessToken.to_string().len()),
    }
    match MasterKey::from_base64(text) {
        Ok(key) => {
            let written = key.to_base64();
            let again = MasterKey::from_base64(&written).expect("what we write we read");
            assert_eq!(*again.to_base64(), *written);
            assert_eq!(written.len(), 44);
        }
        Err(error) => assert!(error.to_string().len() < 100, "a refusal says lengths alone: {error}"),
    }
}

/// Sealed bytes open in their own context only; everything else is refused.
pub fn sealed(bytes: &[u8]) {
    let mut entropy = Counting(0);
    let master = MasterKey::generate(&mut entropy);
    let (keyring, stored) = Keyring::generate(&master, &mut entropy, Timestamp::from_millis(0));
    let seal = stored.iter().find(|key| key.purpose == Purpose::Seal).expect("one for each purpose");
    check_data_keys(&master, &stored, bytes);

    let good = keyring.seal(bytes, b"place", &mut entropy);
    assert_eq!(**keyring.open_sealed(&good, b"place").expect("what was sealed opens"), *bytes);
    assert!(keyring.open_sealed(&good, b"another").is_err());
    let webhook = WebhookId::from_uuid(uuid_of(bytes));
    let refused = |bytes: &[u8], key: DataKeyId| {
        let garbage = Sealed { key, bytes: bytes.into() };
        assert!(keyring.open_sealed(&garbage, b"place").is_err(), "nobody sealed this");
        assert!(keyring.open_secret(webhook, &garbage).is_err(), "nobody sealed this");
    };
    refused(bytes, seal.id);
    refused(bytes, DataKeyId::from_uuid(uuid_of(bytes)));
    if let Some(at) = bytes.first() {
        let mut damaged = good.bytes.to_vec();
        let at = usize::from(*at) % damaged.len();
        damaged[at] ^= 1;
        refused(&damaged, seal.id);
    }
}

/// A damaged row stops the startup.
fn check_data_keys(master: &MasterKey, stored: &[SealedDataKey], bytes: &[u8]) {
    let mut damaged = stored.to_vec();
    damaged[0].bytes = bytes.into();
    assert!(Keyring::open(master, &damaged).is_err(), "nobody sealed this");
    assert!(Keyring::open(master, stored).is_ok());
}

fn uuid_of(bytes: &[u8]) -> uuid::Uuid {
    let mut id = [0; 16];
    let length = bytes.len().min(id.len());
    id[..length].copy_from_slice(&bytes[..length]);
    uuid::Uuid::from_bytes(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stackbell_model::properties::{corpus, corpus_texts};

    use super::*;

    #[test]
    fn hold_for_the_corpus() {
        corpus_texts("credentials").iter().for_each(|text| credentials(text));
        corpus("sealed").iter().for_each(|bytes| sealed(bytes));
    }

    proptest! {
        #[test]
        fn hold_for_credentials(text in "sbl_[0-9a-fA-F]{38,42}|[A-Za-z0-9+/_-]{41,44}=?=?\n?|.{0,60}") {
            credentials(&text);
        }

        #[test]
        fn hold_for_sealed(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            sealed(&bytes);
        }
    }
}
