//! Health checks of the store, with a short cache so that frequent checks cost nothing.

use std::sync::Arc;
use std::time::Duration;

use stackbell_app::{App, Code, Error};
use stackbell_model::Chain;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The age up to which a result is reused.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// Returns whether the data folder exists.
type DataFolder = Arc<dyn Fn() -> bool + Send + Sync>;

/// The condition of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It can be read and written.
    Well,
    /// It has no room to write.
    Full,
    /// It cannot be read or written.
    Unavailable,
    /// The data folder is gone or was replaced.
    NoFolder,
}

/// The last result. Requests that come during a check wait for its result.
#[derive(Default)]
pub(crate) struct Probe {
    last: Mutex<Option<(Instant, Condition)>>,
}

impl Probe {
    /// The condition of the store, at most [`GOOD_FOR`] old. Every change of it is logged.
    pub(crate) async fn condition(&self, app: &App, data_folder: &DataFolder) -> Condition {
        let mut last = self.last.lock().await;
        if let Some((at, condition)) = *last
            && at.elapsed() < GOOD_FOR
        {
            return condition;
        }
        let before = last.map_or(Condition::Well, |(_, before)| before);
        let condition = if has_folder(data_folder).await {
            let checked = app.check().await.map_err(Error::from);
            log_change(before, &checked);
            condition(&checked)
        } else {
            if before != Condition::NoFolder {
                tracing::warn!("the data folder is gone or was replaced; readiness ends");
            }
            Condition::NoFolder
        };
        *last = Some((Instant::now(), condition));
        condition
    }
}

async fn has_folder(data_folder: &DataFolder) -> bool {
    let data_folder = Arc::clone(data_folder);
    tokio::task::spawn_blocking(move || data_folder()).await.unwrap_or(false)
}

fn condition(checked: &Result<(), Error>) -> Condition {
    match checked {
        Ok(()) => Condition::Well,
        Err(error) if error.code == Code::Full => Condition::Full,
        Err(_) => Condition::Unavailable,
    }
}

fn log_change(before: Condition, checked: &Result<(), Error>) {
    if condition(checked) == before {
        return;
    }
    match checked {
        Ok(()) => tracing::info!("the store works again; readiness returns"),
        Err(error) => {
            tracing::warn!(error = %Chain(error), "the store does not work; readiness ends");
        }
    }
}
