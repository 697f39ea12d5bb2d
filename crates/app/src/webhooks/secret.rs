//! Changes of a webhook's secret.

use std::time::Duration;

use stackbell_keys::Keyring;
use stackbell_model::ids::WebhookId;
use stackbell_model::secret::{SecretChange, SentSecret, WebhookSecret};
use stackbell_model::webhook::StoredSecret;

use crate::App;
use crate::fields::Fields;

/// The time for which the previous secret signs beside the new one (Standard Webhooks).
const PREVIOUS_SECRET_SIGNS: Duration = Duration::from_secs(24 * 3600);

/// A secret that a webhook may have.
#[derive(Debug, PartialEq, Eq)]
enum Accepted {
    /// The webhook has this secret already.
    AsStored(StoredSecret),
    /// The webhook does not have this secret yet.
    New(WebhookSecret),
}

impl App {
    /// The secret of webhook `id` after `change`; `stored` is the one before it.
    /// A refused secret is recorded in `fields`.
    pub(super) fn change_secret(
        &self,
        fields: &mut Fields,
        id: WebhookId,
        stored: Option<&StoredSecret>,
        change: &SecretChange,
    ) -> Option<StoredSecret> {
        let sent = match change {
            SecretChange::Keep => return stored.cloned(),
            SecretChange::Remove => return None,
            SecretChange::Set(sent) => sent,
        };
        match accept(fields, &self.keyring, id, stored, sent)? {
            Accepted::AsStored(stored) => Some(stored),
            Accepted::New(secret) => {
                let until = self.now().after(PREVIOUS_SECRET_SIGNS);
                Some(StoredSecret {
                    sealed: self.chance(|entropy| self.keyring.seal_secret(id, &secret, entropy)),
                    fingerprint: self.keyring.fingerprint(id, &secret),
                    previous: stored.map(|old| (old.sealed.clone(), until)),
                })
            }
        }
    }
}

/// Pulumi's provider sends the secret with every update. A secret that an earlier version accepted must not prevent a change.
fn accept(
    fields: &mut Fields,
    keyring: &Keyring,
    id: WebhookId,
    stored: Option<&StoredSecret>,
    sent: &SentSecret,
) -> Option<Accepted> {
    let fingerprint = keyring.fingerprint(id, sent.unchecked());
    match stored.filter(|stored| stored.fingerprint == fingerprint) {
        Some(stored) => Some(Accepted::AsStored(stored.clone())),
        None => fields.read("secret", sent.check()).map(Accepted::New),
    }
}

#[cfg(test)]
mod tests {
    use stackbell_keys::MasterKey;
    use stackbell_model::{Entropy, Timestamp};

    use super::*;

    struct Counting(u8);

    impl Entropy for Counting {
        fn fill(&mut self, bytes: &mut [u8]) {
            for byte in bytes {
                self.0 = self.0.wrapping_add(1);
                *byte = self.0;
            }
        }
    }

    struct Bench {
        keyring: Keyring,
        id: WebhookId,
    }

    impl Bench {
        fn new() -> Self {
            let (mut entropy, now) = (Counting(0), Timestamp::from_millis(1_790_000_000_000));
            let master = MasterKey::generate(&mut entropy);
            let (keyring, _) = Keyring::generate(&master, &mut entropy, now);
            Self { keyring, id: WebhookId::generate(now, &mut entropy) }
        }

        fn stored(&self, text: &str) -> StoredSecret {
            let secret = WebhookSecret::from_stored(text);
            StoredSecret {
                sealed: self.keyring.seal_secret(self.id, &secret, &mut Counting(9)),
                fingerprint: self.keyring.fingerprint(self.id, &secret),
                previous: None,
            }
        }

        #[track_caller]
        fn check(&self, stored: Option<&StoredSecret>, sent: &str, expected: Result<&Accepted, &str>) {
            let mut fields = Fields::default();
            let accepted = accept(&mut fields, &self.keyring, self.id, stored, &SentSecret::new(sent));
            let actual = fields.finish(accepted).map_err(|error| error.message);
            match expected {
                Ok(expected) => assert_eq!(actual.as_ref(), Ok(expected), "{sent}"),
                Err(words) => {
                    let message = actual.expect_err(sent);
                    assert!(message.starts_with("secret must be") && message.contains(words), "{message}");
                }
            }
        }
    }

    #[test]
    fn a_stored_secret_of_an_odd_form_may_be_sent_again() {
        let bench = Bench::new();
        for odd in ["whsec_dGVzdA", "whsec_not base64!", "whsec_", " whsec_dGVzdA==", &"x".repeat(1025)] {
            let words = if odd.len() > 1024 { "at most 1024 bytes long, is 1025" } else { "with padding" };
            let stored = bench.stored(odd);
            bench.check(Some(&stored), odd, Ok(&Accepted::AsStored(stored.clone())));
            bench.check(None, odd, Err(words));
            bench.check(Some(&bench.stored("other")), odd, Err(words));
            let good = WebhookSecret::new("whsec_dGVzdA==").expect("the standard form");
            bench.check(Some(&stored), "whsec_dGVzdA==", Ok(&Accepted::New(good)));
        }
    }
}
