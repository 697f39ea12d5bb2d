//! A round: an empty store, a series of kills under load, and a check of all data at the end.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use stackbell_model::Entropy as _;
use stackbell_testkit::{Client, SeededEntropy};
use tokio::time::{Instant, sleep, timeout};

use crate::api;
use crate::disk::{Loss, Promise};
use crate::endpoint::{Endpoint, deliveries};
use crate::load::Load;
use crate::plan::{Fault, Mode, Store};
use crate::tally::Tally;
use crate::testbed::{Testbed, Victim};

/// The minimum lifetime of a ready node, and the maximum that is added to it; short lives are more likely.
const LIFE_MIN: Duration = Duration::from_millis(5);
const LIFE_MORE: Duration = Duration::from_secs(1);

/// The probability that a node is killed before it is ready, and its maximum lifetime then.
const EARLY: f64 = 0.15;
const EARLY_MAX: Duration = Duration::from_millis(150);

/// The probability of a restart while the disk is still full, and its timeout.
const STILL_FULL: f64 = 0.5;
const STILL_FULL_MAX: Duration = Duration::from_secs(2);

/// The number of starts on a disk that was full. Several may be necessary, because a process that failed before space was freed
/// may end later.
const STARTS_MAX: usize = 4;

/// The maximum time without progress of deliveries after the last kill. It is longer than the leases that a killed node leaves in
/// a database.
const REST_MAX: Duration = Duration::from_secs(90);

/// The polling interval for the node's state.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The settings of a round.
pub(crate) struct Round<'a> {
    pub(crate) binary: &'a Path,
    pub(crate) mode: Mode,
    pub(crate) kills: usize,
    pub(crate) promise: Promise,
}

impl Round<'_> {
    /// Runs the round.
    ///
    /// # Errors
    /// If the round cannot run, or the node does not come back.
    pub(crate) async fn run(&self, seed: u64) -> anyhow::Result<Tally> {
        let mut rng = SeededEntropy::new(seed);
        let mut testbed = Testbed::make(self.binary, self.mode, self.promise, &mut rng).await?;
        let client = testbed.bring_up().await?;
        let once = self.mode.store == Store::Sqlite;
        let endpoint = Endpoint::start(SeededEntropy::new(rng.next_u64()), once).await?;
        api::register(&client, &endpoint).await?;
        let client = match self.promise {
            Promise::Kept => client,
            // Everything written until here is kept, so that the disk loses events, and not the store that should contain them.
            Promise::Broken => {
                testbed.kill(Victim::All, Loss::Nothing).await?;
                testbed.bring_up().await?
            }
        };
        let load = Load::begin(&mut rng);
        load.to(Some(client.clone()));
        let played = Played {
            mode: self.mode,
            rng,
            testbed,
            endpoint,
            load,
            present: BTreeSet::new(),
            tally: Tally::default(),
        };
        played.play(client, self.kills).await
    }
}

/// A running round.
struct Played {
    mode: Mode,
    rng: SeededEntropy,
    testbed: Testbed,
    endpoint: Endpoint,
    load: Load,
    /// Accepted events that a later life of the node has listed.
    present: BTreeSet<Box<str>>,
    tally: Tally,
}

impl Played {
    /// Runs the round, and then ends all processes, even after an error.
    async fn play(mut self, first: Client, kills: usize) -> anyhow::Result<Tally> {
        let played = self.kill_and_settle(first, kills).await;
        self.tally.refused = self.testbed.refused();
        let is_well = played.is_ok() && self.tally.lost == 0;
        if let Err(problem) = played {
            self.tally.wrong(format!("{problem:#}"));
        }
        let logs = if is_well { self.testbed.end().await? } else { self.testbed.abandon().await? };
        Ok(finish(self.tally, &self.endpoint, &self.load, &logs))
    }

    async fn kill_and_settle(&mut self, first: Client, kills: usize) -> anyhow::Result<()> {
        let mut client = Some(first);
        while self.tally.kills < kills && self.tally.lost == 0 {
            match &client {
                Some(client) => self.live(client).await,
                None => sleep(EARLY_MAX.mul_f64(self.rng.fraction())).await,
            }
            self.kill(client.is_some()).await?;
            client = self.start_again().await?;
        }
        if self.tally.lost > 0 {
            return Ok(());
        }
        let client = match client {
            Some(client) => client,
            None => self.ready().await?,
        };
        self.settle(&client).await
    }

    /// Lets the node run for a while, and checks it in the meantime.
    async fn live(&mut self, client: &Client) {
        let (first, second) = (self.rng.fraction(), self.rng.fraction());
        let life = LIFE_MIN + LIFE_MORE.mul_f64(first * first);
        let mut before_full = if self.mode.fault == Fault::FullDisk { life.mul_f64(second) } else { life };
        let mut events = self.load.accepted();
        events.retain(|event| !self.present.contains(event));
        let mut watched = Watched { events, missing: BTreeSet::new(), present: BTreeSet::new() };
        loop {
            // Runs until the kill; the last requests get no response.
            let _ = timeout(before_full, watched.watch(client, &self.endpoint)).await;
            if self.mode.fault != Fault::FullDisk || before_full == life {
                break;
            }
            self.testbed.fill(&mut self.rng);
            before_full = life;
        }
        self.present.append(&mut watched.present);
        self.lost(&watched.missing);
    }

    fn lost(&mut self, events: &BTreeSet<Box<str>>) {
        self.tally.lost += events.len();
        if let Some(event) = events.first() {
            self.tally.wrong(format!(
                "{} accepted events are not there after a kill, such as {event}",
                events.len()
            ));
        }
    }

    async fn kill(&mut self, is_ready: bool) -> anyhow::Result<()> {
        let (which, what) = (self.rng.fraction(), self.rng.fraction());
        let victim = match which {
            which if which < 0.2 && self.testbed.has_database() => Victim::Node,
            // A node that is starting exits if there is no database.
            which if which < 0.4 && self.testbed.has_database() && is_ready => Victim::Database,
            _ => Victim::All,
        };
        let loss = match (self.mode.fault, what) {
            (Fault::Kill, _) => Loss::Nothing,
            (Fault::FullDisk, what) if what < 0.4 => Loss::Nothing,
            (Fault::Power | Fault::FullDisk, what) if what < 0.8 => Loss::Unsynced,
            (Fault::Power | Fault::FullDisk, _) => Loss::Some,
        };
        self.testbed.kill(victim, loss).await?;
        self.tally.kills += 1;
        if victim != Victim::Database {
            self.load.to(None);
            self.endpoint.next_life().await?;
        }
        Ok(())
    }

    /// Starts the killed processes. Returns a client, unless the node will be killed before it is ready.
    async fn start_again(&mut self) -> anyhow::Result<Option<Client>> {
        if self.mode.fault == Fault::FullDisk {
            if self.rng.fraction() < STILL_FULL {
                // The node may exit, or may run and reject requests, but it must not lose data.
                let _ = timeout(STILL_FULL_MAX, self.testbed.bring_up()).await;
            }
            self.testbed.make_room();
        } else if self.rng.fraction() < EARLY {
            self.testbed.start_database().await?;
            self.testbed.start_node()?;
            return Ok(None);
        }
        self.ready().await.map(Some)
    }

    /// Waits until the node is ready, and directs the producers to it.
    async fn ready(&mut self) -> anyhow::Result<Client> {
        let began = Instant::now();
        let mut tried = 1;
        let client = loop {
            match self.testbed.bring_up().await {
                Ok(client) => break client,
                Err(_) if self.mode.fault == Fault::FullDisk && tried < STARTS_MAX => tried += 1,
                Err(problem) => return Err(problem.context("it did not come back after a kill")),
            }
        };
        self.tally.recovery_max = self.tally.recovery_max.max(began.elapsed());
        self.load.to(Some(client.clone()));
        Ok(client)
    }

    /// Waits until all deliveries have ended, and counts the missing ones.
    async fn settle(&mut self, client: &Client) -> anyhow::Result<()> {
        let ended = timeout(REST_MAX, self.load.end()).await.context("producers are not answered")??;
        ended.into_iter().for_each(|problem| self.tally.wrong(problem));
        self.rest(client).await?;
        let accepted = self.load.accepted();
        let missing = api::missing_events(client, &accepted).await?;
        self.lost(&missing);
        let states: std::collections::BTreeMap<_, _> = api::deliveries(client).await?.into_iter().collect();
        for key in
            accepted.iter().filter(|event| !missing.contains(*event)).flat_map(|event| deliveries(event))
        {
            let is_delivered = self.endpoint.is_delivered(&key);
            match states.get(&key).map(String::as_str) {
                Some("succeeded") if is_delivered => {}
                Some("pending") => {
                    self.tally.stuck += 1;
                    self.tally.wrong(format!("{key:?} is pending, and nothing sends it"));
                }
                state => {
                    self.tally.lost += 1;
                    self.tally
                        .wrong(format!("{key:?}: its state is {state:?}; it was delivered: {is_delivered}"));
                }
            }
        }
        Ok(())
    }

    /// Waits until nothing is pending, or there is no more progress.
    async fn rest(&self, client: &Client) -> anyhow::Result<()> {
        let (mut before, mut moved) = (u64::MAX, Instant::now());
        while moved.elapsed() < REST_MAX {
            let pending = api::pending(client).await?;
            if pending == 0 {
                break;
            }
            if pending < before {
                (before, moved) = (pending, Instant::now());
            }
            sleep(LOOK_EVERY).await;
        }
        Ok(())
    }
}

/// The data that is checked while a node runs.
struct Watched {
    /// Events accepted in an earlier life and not yet seen in a later one.
    events: BTreeSet<Box<str>>,
    missing: BTreeSet<Box<str>>,
    present: BTreeSet<Box<str>>,
}

impl Watched {
    /// Looks up the events and then the recorded successes, in a loop. Failed requests are retried later. The
    /// final state is checked when there are no more kills.
    async fn watch(&mut self, client: &Client, endpoint: &Endpoint) {
        loop {
            if let Ok(succeeded) = api::newest_succeeded(client).await {
                endpoint.recorded(succeeded);
            }
            if !self.events.is_empty()
                && let Ok(missing) = api::missing_events(client, &self.events).await
            {
                self.present = self.events.difference(&missing).cloned().collect();
                self.events.clear();
                self.missing = missing;
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

fn finish(mut tally: Tally, endpoint: &Endpoint, load: &Load, logs: &str) -> Tally {
    tally.accepted = load.accepted().len();
    tally.told = endpoint.recorded_count();
    tally.endpoint.add(&endpoint.counts());
    for line in logs
        .lines()
        .filter(|line| ["panicked", "malformed", "corrupt"].iter().any(|word| line.contains(word)))
    {
        tally.wrong(format!("the log: {line}"));
    }
    tally
}
