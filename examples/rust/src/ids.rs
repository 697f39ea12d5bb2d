use std::collections::{HashSet, VecDeque};

/// More ids than can arrive within the tolerance for times, so a replay has either a known id or an old time.
const IDS_MAX: usize = 10_000;

/// The newest ids. They are lost when the process ends; a receiver that must not act twice stores them with
/// its results.
#[derive(Default)]
pub(crate) struct Ids {
    known: HashSet<String>,
    oldest_first: VecDeque<String>,
}

impl Ids {
    /// Whether the id is new.
    pub(crate) fn add(&mut self, id: String) -> bool {
        if !self.known.insert(id.clone()) {
            return false;
        }
        self.oldest_first.push_back(id);
        if self.oldest_first.len() > IDS_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}
