//! Snapshots of organizations' webhooks, for matching.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use stackbell_model::ids::OrganizationId;
use stackbell_store::webhooks::OrganizationWebhooks;

use super::matching::Snapshot;
use super::messages::Command;

/// The snapshots that are loaded, and the loads that are under way.
#[derive(Debug)]
pub(super) struct Snapshots {
    loaded: HashMap<OrganizationId, Arc<Snapshot>>,
    loading: HashSet<OrganizationId>,
    /// Organizations in `loading` whose webhooks were edited since. They are loaded once more.
    outdated: HashSet<OrganizationId>,
    loaded_max: usize,
}

impl Snapshots {
    pub(super) fn new(loaded_max: usize) -> Self {
        Self { loaded: HashMap::new(), loading: HashSet::new(), outdated: HashSet::new(), loaded_max }
    }

    pub(super) fn get(&self, organization: OrganizationId) -> Option<Arc<Snapshot>> {
        self.loaded.get(&organization).cloned()
    }

    /// Forgets a snapshot that is outdated.
    pub(super) fn forget(&mut self, organization: OrganizationId) {
        self.loaded.remove(&organization);
    }

    /// Forgets a snapshot if it has this version. Another commit may have had it replaced already.
    pub(super) fn forget_version(&mut self, organization: OrganizationId, version: u64) {
        if self.loaded.get(&organization).is_some_and(|snapshot| snapshot.version() == version) {
            self.loaded.remove(&organization);
        }
    }

    /// Loads a snapshot, unless a load is under way.
    pub(super) fn load(&mut self, organization: OrganizationId) -> Option<Command> {
        self.loading.insert(organization).then_some(Command::LoadWebhooks { organization })
    }

    /// Loads a snapshot after an edit. A load that is under way may have missed the edit, and is done once more.
    pub(super) fn load_edited(&mut self, organization: OrganizationId) -> Option<Command> {
        let command = self.load(organization);
        if command.is_none() {
            self.outdated.insert(organization);
        }
        command
    }

    /// A load is done. Begins the next if there was an edit meanwhile.
    pub(super) fn load_done(&mut self, organization: OrganizationId) -> Option<Command> {
        if self.outdated.remove(&organization) {
            return Some(Command::LoadWebhooks { organization });
        }
        self.loading.remove(&organization);
        None
    }

    /// A load failed.
    pub(super) fn load_failed(&mut self, organization: OrganizationId) {
        self.loading.remove(&organization);
        self.outdated.remove(&organization);
    }

    pub(super) fn add(&mut self, organization: OrganizationId, webhooks: OrganizationWebhooks) {
        if self.loaded.len() >= self.loaded_max {
            // Rare and cheap: each organization is loaded again for its next event.
            self.loaded.clear();
        }
        self.loaded.insert(organization, Arc::new(Snapshot::new(webhooks)));
    }
}
