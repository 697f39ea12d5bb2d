//! The conformance suite for stores.
//!
//! Every guarantee of the port is a case here, with a descriptive name. The tests of a store contain
//!
//! ```ignore
//! stackbell_store::conformance_tests!(crate::FileHarness::new());
//! ```
//!
//! and have one test for each case. To add a case, write it and add its name to
//! [`conformance_tests!`](crate::conformance_tests).
//! Cases use only the port; the harness defines what a restart is.

pub mod attempts;
pub mod audit;
pub mod changes;
pub mod cursors;
pub mod deliveries;
pub mod deployments;
pub mod fixtures;
pub mod health;
pub mod history;
pub mod identity;
pub mod instance;
pub mod intakes;
pub mod keys;
mod list;
pub mod maintenance;
pub mod queue;
pub mod quotas;
pub mod recoveries;
pub mod restart;
pub mod statistics;
pub mod webhooks;

use std::sync::Arc;

use async_trait::async_trait;

use crate::Store;

/// One database of a store under test, empty at first. Each case has its own.
#[async_trait]
pub trait Harness: Send + Sync {
    /// Opens the database. A case never has it open twice. Opening it after everything from the last call was
    /// dropped is a restart: all data is still there, and the leases of an embedded store are void.
    async fn open(&self) -> Arc<dyn Store>;

    /// Whether leases end with the process that opened the store. They do if no other process can hold a
    /// lease.
    fn is_embedded(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    /// The cases in a file.
    fn cases(source: &str) -> Vec<&str> {
        let names = source.lines().filter_map(|line| line.strip_prefix("pub async fn "));
        names.map(|rest| rest.split('(').next().unwrap_or(rest)).collect()
    }

    fn check_listed(group: &str, source: &str) {
        let list = include_str!("list.rs");
        let from = list.find(&format!("$harness, {group} [")).expect("the group is listed");
        let listed = list[from..].split(['[', ']']).nth(1).expect("the group has a list");
        assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), cases(source), "{group}");
    }

    #[test]
    fn every_case_is_listed() {
        check_listed("intakes", include_str!("intakes.rs"));
        check_listed("quotas", include_str!("quotas.rs"));
        check_listed("cursors", include_str!("cursors.rs"));
        check_listed("attempts", include_str!("attempts.rs"));
        check_listed("health", include_str!("health.rs"));
        check_listed("queue", include_str!("queue.rs"));
        check_listed("changes", include_str!("changes.rs"));
        check_listed("recoveries", include_str!("recoveries.rs"));
        check_listed("webhooks", include_str!("webhooks.rs"));
        check_listed("history", include_str!("history.rs"));
        check_listed("deliveries", include_str!("deliveries.rs"));
        check_listed("statistics", include_str!("statistics.rs"));
        check_listed("identity", include_str!("identity.rs"));
        check_listed("keys", include_str!("keys.rs"));
        check_listed("deployments", include_str!("deployments.rs"));
        check_listed("audit", include_str!("audit.rs"));
        check_listed("maintenance", include_str!("maintenance.rs"));
        check_listed("instance", include_str!("instance.rs"));
        check_listed("restart", include_str!("restart.rs"));
    }
}
