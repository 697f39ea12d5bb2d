//! Checks that a file and a database belong to one copy: both store its random id.
//!
//! The file is marked with the id before its first row is read. No server accepts a marked file, and `take-back` removes the
//! mark. As long as the ids are equal, the file has not changed since the copy began. The path of the file does not matter.

use anyhow::{bail, ensure};
use stackbell_client::seconds;
use stackbell_model::{Clock as _, Entropy as _};
use stackbell_store::transfer::{CopyBegun, CopyId, CopyState, Import as _};
use stackbell_store_postgres::PostgresStore;
use stackbell_store_sqlite::{Move, SqliteStore};
use stackbell_system::{SystemClock, SystemEntropy};
use stackbell_wire::rest::rfc3339;

/// The two sides, and their names for people.
pub(super) struct Sides<'sides> {
    pub(super) source: &'sides SqliteStore,
    pub(super) from: &'sides str,
    pub(super) target: &'sides PostgresStore,
    pub(super) into: &'sides str,
}

impl Sides<'_> {
    /// The copy to continue, or a new one.
    ///
    /// # Errors
    /// If one side belongs to another copy, or the database is not empty.
    pub(super) async fn agree(&self) -> anyhow::Result<CopyState> {
        match (self.target.copy_state().await?, self.source.find_move().await?) {
            (Some(state), Some(mark)) if state.id == mark.id => Ok(state),
            // The last run ended before it marked the file: it has read nothing from it.
            (Some(state), None) if state.progress.rows == 0 && state.source == self.from => {
                self.mark(state.id).await?;
                Ok(state)
            }
            (Some(state), _) => bail!(self.other_copy(&state)),
            (None, None) => self.begin(SystemEntropy::seeded()?.uuid_v4()).await,
            (None, Some(mark)) => {
                ensure!(mark.ended_at.is_none() && mark.target == self.into, self.elsewhere(&mark));
                // The database was created again.
                self.begin(mark.id).await
            }
        }
    }

    async fn begin(&self, id: CopyId) -> anyhow::Result<CopyState> {
        match self.target.begin_copy(id, self.from, SystemClock.now()).await? {
            CopyBegun::Done => {}
            CopyBegun::NotEmpty { what } => bail!(
                "{} holds {what}: a store is copied into an empty database that no node has served; make one, and run \
                 `stackbell migrate` on it",
                self.into
            ),
        }
        self.mark(id).await?;
        let Some(state) = self.target.copy_state().await? else {
            bail!("{} has forgotten the copy that was begun", self.into);
        };
        Ok(state)
    }

    async fn mark(&self, id: CopyId) -> anyhow::Result<()> {
        let mark = self.source.begin_move(id, self.into, SystemClock.now()).await?;
        ensure!(mark.id == id, self.elsewhere(&mark));
        Ok(())
    }

    fn other_copy(&self, state: &CopyState) -> String {
        let what = if state.finished_at.is_some() { "a copy" } else { "a part of a copy" };
        format!(
            "{} holds {what} of {}, begun at {}, and not of this file as it is now: it is another one, or was taken back \
             since; to copy it, drop the database and make it anew",
            self.into,
            state.source,
            seconds(&rfc3339(state.begun_at))
        )
    }

    fn elsewhere(&self, mark: &Move) -> String {
        let was = if mark.ended_at.is_some() { "was copied" } else { "is being copied" };
        format!(
            "{} {was} to {}, since {}: go on there, or take it back first with `stackbell store take-back {}`",
            self.from,
            mark.target,
            seconds(&rfc3339(mark.begun_at)),
            self.from
        )
    }
}
