//! A core at rest has lost no capacity.

use std::sync::Arc;
use std::time::Duration;

use stackbell_engine::core::OnDemand;
use stackbell_model::webhook::Format;

use crate::world::World;

impl World {
    /// Fairness: no permit was lost. A quick endpoint gets all permits of its organization. Checks one organization at one
    /// node, chosen by the seed.
    pub(crate) fn check_rest(&mut self) {
        let tally = self.tally.clone();
        let nth = |count: usize, rng_seed: u64| usize::try_from(rng_seed % count as u64).expect("few");
        let n = nth(self.nodes.len(), self.rng_seed);
        let organization = nth(self.organizations.len(), self.rng_seed >> 32);
        // By then the endpoints that failed last are tried again.
        self.move_time(self.time.after(self.set_back + Duration::from_secs(10)));
        while self.end_something() {}
        self.create(n, organization, None, Format::Raw, None);
        let which = self.webhooks.len() - 1;
        // After a fast response the endpoint counts as quick.
        self.ping(n, which);
        while self.end_something() {}
        let max = self.config.organization_in_flight_max as usize;
        (0..max).for_each(|_| self.ping(n, which));
        let count = self.nodes[n].network.len();
        assert_eq!(count, max, "Fairness: permits were lost");
        while self.end_something() {}
        // The pings do not belong to the history.
        self.tally = tally;
    }

    pub(super) fn ping(&mut self, n: usize, which: usize) {
        if let Some(webhook) = self.webhook(which) {
            self.ask(n, None, OnDemand::Ping { webhook: Arc::new(webhook) });
        }
    }
}
