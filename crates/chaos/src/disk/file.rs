//! The bytes of a file: those that programs see, and those that would remain after a loss of power.

use std::collections::{BTreeMap, BTreeSet};

/// The unit in which the disk writes. A page is kept or lost as a whole.
pub(super) const PAGE: usize = 4096;

/// The number of one sync of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SyncNumber(pub(super) u64);

/// A file's bytes.
#[derive(Debug, Default)]
pub(super) struct File {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    /// Pages that may differ between the two, and that are not part of a running sync.
    dirty: BTreeSet<usize>,
    under_way: BTreeMap<SyncNumber, Taken>,
}

/// The content at the time when a sync began. Later writes are not part of it.
#[derive(Debug)]
struct Taken {
    pages: Vec<(usize, Box<[u8]>)>,
    len: usize,
}

impl File {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn read(&self, offset: usize, size: usize) -> &[u8] {
        let end = offset.saturating_add(size).min(self.bytes.len());
        self.bytes.get(offset..end).unwrap_or_default()
    }

    pub(super) fn write(&mut self, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if end > self.bytes.len() {
            self.resize(end);
        }
        self.bytes[offset..end].copy_from_slice(data);
        self.touch(offset, end);
    }

    pub(super) fn resize(&mut self, len: usize) {
        let before = self.bytes.len();
        self.bytes.resize(len, 0);
        self.touch(before.min(len), before.max(len));
    }

    fn touch(&mut self, from: usize, to: usize) {
        self.dirty.extend(from / PAGE..to.div_ceil(PAGE));
    }

    /// Whether a sync would have nothing to do.
    pub(super) fn is_synced(&self) -> bool {
        self.dirty.is_empty() && self.under_way.is_empty() && self.bytes.len() == self.synced.len()
    }

    /// Takes the pages to sync.
    pub(super) fn begin_sync(&mut self, number: SyncNumber) {
        let dirty = std::mem::take(&mut self.dirty);
        let there = dirty.into_iter().filter(|page| page * PAGE < self.bytes.len());
        let pages = there.map(|page| (page, self.read(page * PAGE, PAGE).into())).collect();
        self.under_way.insert(number, Taken { pages, len: self.bytes.len() });
    }

    /// Ends a sync: writes its pages to the disk. Syncs end in the order in which they began. A sync that a loss of power
    /// interrupted writes nothing.
    pub(super) fn end_sync(&mut self, number: SyncNumber) {
        let Some(taken) = self.under_way.remove(&number) else { return };
        self.synced.resize(taken.len, 0);
        for (page, bytes) in taken.pages {
            self.synced[page * PAGE..][..bytes.len()].copy_from_slice(&bytes);
        }
    }

    /// Keeps the synced bytes, and the unsynced pages that `is_kept` selects at random, as if they had reached the disk.
    pub(super) fn lose_power(&mut self, mut is_kept: impl FnMut() -> bool) {
        let taken = std::mem::take(&mut self.under_way).into_values();
        let mut unsynced = std::mem::take(&mut self.dirty);
        unsynced.extend(taken.flat_map(|taken| taken.pages).map(|(page, _)| page));
        for page in unsynced {
            let bytes = self.bytes.get(page * PAGE..).unwrap_or_default();
            let bytes = &bytes[..bytes.len().min(PAGE)];
            if !bytes.is_empty() && is_kept() {
                let end = page * PAGE + bytes.len();
                self.synced.resize(self.synced.len().max(end), 0);
                self.synced[page * PAGE..end].copy_from_slice(bytes);
            }
        }
        self.bytes.clone_from(&self.synced);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NUMBER: SyncNumber = SyncNumber(0);

    fn synced(data: &[u8]) -> File {
        let mut file = File::default();
        file.write(0, data);
        file.begin_sync(NUMBER);
        file.end_sync(NUMBER);
        file
    }

    #[track_caller]
    fn check_after_loss(mut file: File, is_kept: bool, expected: &[u8]) {
        file.lose_power(|| is_kept);
        assert_eq!(file.bytes, expected);
        assert_eq!((&file.bytes, file.dirty.len(), file.under_way.len()), (&file.synced, 0, 0));
    }

    #[test]
    fn forgets_what_was_not_synced() {
        let mut file = synced(b"old");
        file.write(1, b"new");
        assert_eq!(file.read(0, 9), b"onew");
        check_after_loss(file, false, b"old");
        let mut file = synced(b"old");
        file.write(2 * PAGE, b"far");
        check_after_loss(file, false, b"old");
    }

    #[test]
    fn keeps_by_chance_what_was_not_synced() {
        let mut file = synced(b"old");
        file.write(1, b"new");
        check_after_loss(file, true, b"onew");
    }

    #[test]
    fn a_sync_keeps_what_was_written_before_it_began_and_that_alone() {
        let mut file = synced(b"old");
        file.write(0, b"new");
        file.begin_sync(NUMBER);
        file.write(0, b"late");
        file.end_sync(NUMBER);
        check_after_loss(file, false, b"new");
    }

    #[test]
    fn a_sync_that_did_not_end_keeps_nothing() {
        let mut file = synced(b"old");
        file.write(0, b"new");
        file.begin_sync(NUMBER);
        file.lose_power(|| false);
        file.end_sync(NUMBER);
        check_after_loss(file, false, b"old");
    }

    #[test]
    fn a_file_that_was_cut_and_grew_is_zeros_once_synced() {
        let mut file = synced(&[7; PAGE + 1]);
        file.resize(0);
        file.resize(PAGE + 1);
        file.begin_sync(NUMBER);
        file.end_sync(NUMBER);
        check_after_loss(file, false, &[0; PAGE + 1]);
    }

    #[test]
    fn a_cut_that_was_not_synced_did_not_happen() {
        let mut file = synced(b"old");
        file.resize(1);
        check_after_loss(file, false, b"old");
    }
}
