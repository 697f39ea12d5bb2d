//! The results in figures.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::endpoint::Counts;

/// The results of one or more rounds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kills: usize,
    /// Events that got a 202.
    pub(crate) accepted: usize,
    /// Accepted events and their deliveries that are missing or were not delivered.
    pub(crate) lost: usize,
    /// Deliveries that are never sent.
    pub(crate) stuck: usize,
    /// Successes that the API reported before the last kill.
    pub(crate) told: usize,
    /// Writes rejected for lack of space.
    pub(crate) refused: usize,
    pub(crate) endpoint: Counts,
    /// The longest time from the restart of killed processes until they were ready.
    pub(crate) recovery_max: Duration,
}

impl Tally {
    /// Whether there was no violation.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.stuck == 0 && self.endpoint.wrong == 0
    }

    /// Records a violation.
    pub(crate) fn wrong(&mut self, problem: String) {
        self.endpoint.note(problem);
    }

    /// Adds the results of another round.
    pub(crate) fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.accepted += other.accepted;
        self.lost += other.lost;
        self.stuck += other.stuck;
        self.told += other.told;
        self.refused += other.refused;
        self.endpoint.add(&other.endpoint);
        self.recovery_max = self.recovery_max.max(other.recovery_max);
    }

    fn figures(&self) -> [usize; 10] {
        let endpoint = &self.endpoint;
        [
            self.kills,
            self.accepted,
            endpoint.delivered,
            self.lost,
            self.stuck,
            endpoint.repeated_answered,
            endpoint.repeated_in_flight,
            self.told,
            self.refused,
            endpoint.wrong,
        ]
    }
}

/// A line for each mode, and one for the total.
pub(crate) fn table<'a>(lines: impl IntoIterator<Item = (&'a str, &'a Tally)>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::ASCII_MARKDOWN).set_header([
        "",
        "kills",
        "accepted",
        "delivered",
        "lost",
        "stuck",
        "sent again: answered",
        "in flight",
        "told as recorded",
        "no room",
        "wrong",
        "longest recovery",
    ]);
    for (name, tally) in lines {
        let figures = tally.figures().map(|figure| figure.to_string());
        let recovery = format!("{:.2} s", tally.recovery_max.as_secs_f64());
        let cells = figures.into_iter().chain([recovery]);
        let cells = cells.map(|cell| Cell::new(cell).set_alignment(CellAlignment::Right));
        table.add_row(std::iter::once(Cell::new(name)).chain(cells));
    }
    table
}
