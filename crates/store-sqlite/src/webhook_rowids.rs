//! A cache of webhooks' rowids, so that an event for a thousand webhooks does not look up each of them.
//!
//! An organization's entries hold for one version of it. Every edit of its webhooks makes a new version, which has no entries.
//! A commit of events changes no webhook and no version, so that entries which it adds hold even if it is rolled back.

use std::collections::HashMap;

use stackbell_model::ids::{OrganizationId, WebhookId};

/// The maximum number of entries. They take 5 MB for large organizations, and several times as much for very many small ones.
/// A full cache is emptied.
const WEBHOOKS_MAX: usize = 100_000;

/// The rowids of an organization's webhooks, as of one version of it.
#[derive(Debug, Default)]
struct Snapshot {
    version: u64,
    rowids: HashMap<WebhookId, i64>,
}

#[derive(Debug, Default)]
pub(crate) struct WebhookRowids {
    organizations: HashMap<OrganizationId, Snapshot>,
    count: usize,
}

impl WebhookRowids {
    pub(crate) fn get(&self, organization: OrganizationId, version: u64, webhook: WebhookId) -> Option<i64> {
        let snapshot = self.organizations.get(&organization)?;
        if snapshot.version == version { snapshot.rowids.get(&webhook).copied() } else { None }
    }

    /// Adds a webhook that the organization has in this version.
    pub(crate) fn insert(
        &mut self,
        organization: OrganizationId,
        version: u64,
        webhook: WebhookId,
        rowid: i64,
    ) {
        if self.count >= WEBHOOKS_MAX {
            *self = Self::default();
        }
        let snapshot = self.organizations.entry(organization).or_default();
        if snapshot.version != version {
            self.count -= snapshot.rowids.len();
            *snapshot = Snapshot { version, rowids: HashMap::new() };
        }
        self.count += usize::from(snapshot.rowids.insert(webhook, rowid).is_none());
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
    fn a_new_version_has_no_entries() {
        let mut rowids = WebhookRowids::default();
        rowids.insert(organization(1), 1, webhook(1), 7);
        rowids.insert(organization(2), 1, webhook(2), 8);
        assert_eq!(rowids.get(organization(1), 1, webhook(1)), Some(7));
        assert_eq!(rowids.get(organization(1), 2, webhook(1)), None);
        assert_eq!(rowids.get(organization(2), 1, webhook(1)), None);
        rowids.insert(organization(1), 2, webhook(3), 9);
        assert_eq!(rowids.get(organization(1), 2, webhook(1)), None);
        assert_eq!(rowids.get(organization(1), 1, webhook(1)), None);
        assert_eq!(rowids.get(organization(2), 1, webhook(2)), Some(8));
        assert_eq!(rowids.count, 2);
    }

    #[test]
    fn a_full_cache_is_emptied() {
        let mut rowids = WebhookRowids::default();
        for n in 0..=WEBHOOKS_MAX {
            rowids.insert(organization(1), 1, webhook(n as u128), 1);
        }
        assert_eq!(rowids.count, 1);
    }
}
