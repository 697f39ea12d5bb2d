//! Compares the contents of two stores.

use serde_json::{Value, json};
use stackbell_client::{Column, Progress};
use stackbell_store::StoreError;
use stackbell_store::transfer::digest::NounDigest;
use stackbell_store::transfer::{Adding, Export, Noun, PageLimits};
use tokio::try_join;

use super::super::backup::hex;

pub(super) const COLUMNS: &[Column] = &[
    Column::id("NOUN", "/noun"),
    Column::id("ROWS", "/rows"),
    Column::id("SHA-256", "/sha256"),
    Column::text("SAME", "/same"),
];

/// The contents of both sides for one noun.
pub(super) struct Compared {
    noun: Noun,
    /// The number of rows in the source, readable or not.
    counted: u64,
    source: NounDigest,
    target: NounDigest,
}

impl Compared {
    pub(super) fn is_same(&self) -> bool {
        self.source == self.target && self.source.rows == self.counted
    }

    pub(super) fn rows(&self) -> u64 {
        self.source.rows
    }

    /// The comparison for JSON and for a table.
    pub(super) fn value(&self) -> Value {
        let mut value = json!({
            "noun": self.noun.as_str(),
            "rows": self.source.rows,
            "sha256": hex(&self.source.sha256),
            "same": self.is_same(),
        });
        if !self.is_same() {
            value["target"] = json!({ "rows": self.target.rows, "sha256": hex(&self.target.sha256) });
        }
        value
    }
}

/// Reads both stores to the end. `total` is the approximate number of rows.
pub(super) async fn compare(
    source: &dyn Export,
    target: &dyn Export,
    total: u64,
) -> Result<Vec<Compared>, StoreError> {
    let progress = Progress::counted("rows compared", total);
    let (mut compared, mut done) = (Vec::new(), 0);
    for noun in Noun::ALL.iter().copied() {
        let limits = PageLimits::default();
        let (mut one, mut other) = (Adding::new(source, noun, limits), Adding::new(target, noun, limits));
        loop {
            let (one_goes_on, other_goes_on) = try_join!(one.step(), other.step())?;
            progress.at(done + one.digest().rows);
            if !one_goes_on && !other_goes_on {
                break;
            }
        }
        let counted = source.count_rows(noun).await?;
        compared.push(Compared { noun, counted, source: one.digest(), target: other.digest() });
        done += one.digest().rows;
    }
    progress.finish();
    Ok(compared)
}
