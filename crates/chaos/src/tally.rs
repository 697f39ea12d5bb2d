//! What came of it, in figures.

use std::time::Duration;

use comfy_table::{Cell, CellAlignment, Table, presets};

use crate::endpoint::Counts;

/// What came of a round, or of several.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) kills: usize,
    /// Events that were answered 202.
    pub(crate) accepted: usize,
    /// Accepted events and their deliveries that are not there, or were not delivered.
    pub(crate) lost: usize,
    /// Deliveries that nothing sends.
    pub(crate) stuck: usize,
    /// Successes that the API told of before the last kill.
    pub(crate) told: usize,
    /// Writes for which there was no room.
    pub(crate) refused: usize,
    pub(crate) endpoint: Counts,
    /// From the start of what was killed until it was ready.
    pub(crate) recovery_max: Duration,
}

impl Tally {
    /// Whether nothing happened that must not.
    pub(crate) fn is_clean(&self) -> bool {
        self.lost == 0 && self.stuck == 0 && self.endpoint.wrong == 0
    }

    /// Notes something that must not happen.
    pub(crate) fn wrong(&mut self, problem: String) {
        self.endpoint.note(problem);
    }

    /// Adds what came of another round.
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

/// A line for each way of trying, and one for all.
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
