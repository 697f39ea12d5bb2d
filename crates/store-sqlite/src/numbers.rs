//! Webhooks' numbers, as they were looked up: an event for a thousand webhooks need not look for each of them again.
//!
//! They are known by their organization's version: whatever is done to its webhooks makes another one, which knows none.
//! A commit of events changes no webhook and no version, so that what it has read holds whether or not it comes through.

use std::collections::HashMap;

use stackbell_model::ids::{OrganizationId, WebhookId};

/// 5 MB for large organizations, several times that for very many small ones. Beyond it all are looked up anew.
const WEBHOOKS_MAX: usize = 100_000;

/// The numbers of an organization's webhooks, as of a version of it.
#[derive(Debug, Default)]
struct AsOf {
    version: u64,
    numbers: HashMap<WebhookId, i64>,
}

#[derive(Debug, Default)]
pub(crate) struct Numbers {
    organizations: HashMap<OrganizationId, AsOf>,
    count: usize,
}

impl Numbers {
    pub(crate) fn get(&self, organization: OrganizationId, version: u64, webhook: WebhookId) -> Option<i64> {
        let known = self.organizations.get(&organization).filter(|known| known.version == version)?;
        known.numbers.get(&webhook).copied()
    }

    /// The webhook is one of that version of its organization.
    pub(crate) fn learn(
        &mut self,
        organization: OrganizationId,
        version: u64,
        webhook: WebhookId,
        number: i64,
    ) {
        if self.count >= WEBHOOKS_MAX {
            *self = Self::default();
        }
        let known = self.organizations.entry(organization).or_default();
        if known.version != version {
            self.count -= known.numbers.len();
            *known = AsOf { version, numbers: HashMap::new() };
        }
        self.count += usize::from(known.numbers.insert(webhook, number).is_none());
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn organization(n: u128) -> OrganizationId {
        OrganizationId::from_uuid(Uuid::from_u128(n))
    }

    fn webhook(n: u128) -> WebhookId {
        WebhookId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn another_version_knows_none() {
        let mut numbers = Numbers::default();
        numbers.learn(organization(1), 1, webhook(1), 7);
        numbers.learn(organization(2), 1, webhook(2), 8);
        assert_eq!(numbers.get(organization(1), 1, webhook(1)), Some(7));
        assert_eq!(numbers.get(organization(1), 2, webhook(1)), None);
        assert_eq!(numbers.get(organization(2), 1, webhook(1)), None);
        numbers.learn(organization(1), 2, webhook(3), 9);
        assert_eq!(numbers.get(organization(1), 2, webhook(1)), None);
        assert_eq!(numbers.get(organization(1), 1, webhook(1)), None);
        assert_eq!(numbers.get(organization(2), 1, webhook(2)), Some(8));
        assert_eq!(numbers.count, 2);
    }

    #[test]
    fn they_do_not_grow_for_ever() {
        let mut numbers = Numbers::default();
        for n in 0..=WEBHOOKS_MAX {
            numbers.learn(organization(1), 1, webhook(n as u128), 1);
        }
        assert_eq!(numbers.count, 1);
    }
}
