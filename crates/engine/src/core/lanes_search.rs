//! The search for lanes with due deliveries that this node does not know of: after a start, and those that other nodes left.

use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::ids::WebhookId;
use stackbell_store::queue::LaneDue;

use super::config::CoreConfig;
use super::messages::Command;

/// Lanes in one page of a search.
const LANES_IN_PAGE: u32 = 1000;

/// The time between a search that failed and the next.
const FAILED_SEARCH_WAIT: Duration = Duration::from_secs(1);

/// Reads all lanes that have something pending, page by page, again and again.
#[derive(Debug)]
pub(super) struct LanesSearch {
    step: Step,
    /// The next search begins by then, because something happened that this one may have missed.
    again: Option<Timestamp>,
    /// When the last search began.
    began_at: Option<Timestamp>,
    /// The time between the end of a search and the next.
    interval: Duration,
    /// The least time between the begin of a search and one that a wake-up asked for.
    woken_interval: Duration,
}

#[derive(Debug)]
enum Step {
    /// The search begins at this time.
    Due { at: Timestamp },
    /// The next page begins after this lane.
    Next { after: WebhookId },
    /// A page is being read.
    UnderWay,
}

impl LanesSearch {
    /// A search that begins now.
    pub(super) fn new(config: &CoreConfig, now: Timestamp) -> Self {
        Self {
            step: Step::Due { at: now },
            again: None,
            began_at: None,
            interval: config.lanes_search_interval,
            woken_interval: config.woken_search_interval,
        }
    }

    pub(super) fn wake_at(&self, now: Timestamp) -> Option<Timestamp> {
        match self.step {
            Step::Due { at } => Some(at),
            Step::Next { .. } => Some(now),
            Step::UnderWay => None,
        }
    }

    /// A search from the first lane begins by then: the store may have deliveries that this node was not told of.
    pub(super) fn want(&mut self, by: Timestamp) {
        match &mut self.step {
            Step::Due { at } => *at = by.min(*at),
            Step::Next { .. } | Step::UnderWay => {
                self.again = Some(self.again.map_or(by, |again| again.min(by)));
            }
        }
    }

    /// Another node may have left something that is due. Wake-ups may come all the time.
    pub(super) fn woken_up(&mut self, now: Timestamp) {
        let began_at = self.began_at.filter(|began_at| *began_at <= now);
        let not_before = began_at.map_or(now, |began_at| began_at.after(self.woken_interval));
        self.want(not_before.max(now));
    }

    /// Begins to read the next page, if one is due.
    pub(super) fn start(&mut self, now: Timestamp) -> Option<Command> {
        let after = match self.step {
            Step::Due { at } if at <= now => {
                self.began_at = Some(now);
                None
            }
            Step::Next { after } => Some(after),
            Step::Due { .. } | Step::UnderWay => return None,
        };
        self.step = Step::UnderWay;
        Some(Command::FindLanes { after, limit: LANES_IN_PAGE })
    }

    /// A page was read.
    pub(super) fn found(&mut self, lanes: &[LaneDue], now: Timestamp) {
        match lanes.last() {
            Some(last) if lanes.len() >= LANES_IN_PAGE as usize => {
                self.step = Step::Next { after: last.webhook };
            }
            Some(_) | None => self.end(now.after(self.interval)),
        }
    }

    /// A page could not be read.
    pub(super) fn not_found(&mut self, now: Timestamp) {
        self.again = None;
        self.end(now.after(FAILED_SEARCH_WAIT));
    }

    fn end(&mut self, next_at: Timestamp) {
        let at = self.again.take().map_or(next_at, |again| again.min(next_at));
        self.step = Step::Due { at };
    }
}
