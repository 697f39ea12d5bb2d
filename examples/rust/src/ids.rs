use std::collections::{HashSet, VecDeque};

/// More than come while a signature is young enough, so that a replay is either a known id or too old.
const IDS_MAX: usize = 10_000;

/// The newest ids. They are lost with the process: who must not act twice keeps them with what was done.
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
