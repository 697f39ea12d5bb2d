//! Copying, a page at a time.

use futures_util::future::try_join;

use super::digest::{Adder, NounDigest};
use super::{CopyId, Export, Import, Noun, Page, PageLimits, Place, Progress};
use crate::StoreError;

/// A copy under way. While a page goes into the one store, the next is read from the other: two are held at once.
///
/// Dropped between two steps, or in the middle of one, it leaves a copy that goes on from where [`Import::copy_state`] says.
pub struct Copying<'stores> {
    from: &'stores dyn Export,
    into: &'stores dyn Import,
    id: CopyId,
    limits: PageLimits,
    progress: Progress,
    /// What is to go in next, and of which noun; `None` before the first step, and after the last.
    next: Option<(Noun, Page)>,
    is_over: bool,
}

/// A page that went in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What of.
    pub noun: Noun,
    /// How many rows are in since the copy was begun, of all nouns.
    pub rows: u64,
}

impl<'stores> Copying<'stores> {
    /// Goes on with a copy that was begun.
    pub fn new(
        from: &'stores dyn Export,
        into: &'stores dyn Import,
        id: CopyId,
        progress: Progress,
        limits: PageLimits,
    ) -> Self {
        Self { from, into, id, limits, progress, next: None, is_over: false }
    }

    /// Copies a page; `None` when there are no more.
    ///
    /// # Errors
    /// [`StoreError`], of either store. The copy goes on when it is taken up anew, and not by another call.
    pub async fn step(&mut self) -> Result<Option<Step>, StoreError> {
        if self.next.is_none() && !self.is_over {
            self.next = self.read(self.progress.noun, self.progress.after).await?;
        }
        let Some((noun, page)) = self.next.take() else {
            self.is_over = true;
            return Ok(None);
        };
        let rows = self.progress.rows + page.rows.len() as u64;
        let after = Progress { noun, after: page.end, rows };
        let taken_in = self.into.import_rows(self.id, &page.rows, self.progress, after);
        let ((), next) = try_join(taken_in, self.read(noun, page.end)).await?;
        self.is_over = next.is_none();
        (self.progress, self.next) = (after, next);
        Ok(Some(Step { noun, rows }))
    }

    /// The next page of a noun, or the first of one that comes after it.
    async fn read(&self, mut noun: Noun, mut after: Place) -> Result<Option<(Noun, Page)>, StoreError> {
        loop {
            let page = self.from.export_page(noun, after, self.limits).await?;
            if !page.rows.is_empty() {
                return Ok(Some((noun, page)));
            }
            let Some(next) = noun.next() else { return Ok(None) };
            (noun, after) = (next, Place::BEGINNING);
        }
    }
}

/// Adding up all rows of a noun, a page at a time.
pub struct Adding<'store> {
    store: &'store dyn Export,
    noun: Noun,
    limits: PageLimits,
    after: Place,
    adder: Adder,
    is_over: bool,
}

impl<'store> Adding<'store> {
    /// Begins at the first row.
    pub fn new(store: &'store dyn Export, noun: Noun, limits: PageLimits) -> Self {
        Self { store, noun, limits, after: Place::BEGINNING, adder: Adder::default(), is_over: false }
    }

    /// Adds a page; `false` when there are no more.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn step(&mut self) -> Result<bool, StoreError> {
        if self.is_over {
            return Ok(false);
        }
        let page = self.store.export_page(self.noun, self.after, self.limits).await?;
        self.is_over = page.rows.is_empty();
        self.adder.add(&page.rows);
        self.after = page.end;
        Ok(!self.is_over)
    }

    /// What was added so far.
    pub fn digest(&self) -> NounDigest {
        self.adder.digest()
    }
}
