//! Asking whether the store is well, seldom enough to cost nothing.

use stackbell_model::Chain;
use std::time::Duration;

use stackbell_app::{App, Code, Error};
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long an answer is good for.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// How the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It can be read and written.
    Well,
    /// It has no room to write.
    Full,
    /// It cannot be read or written.
    Unavailable,
}

/// The last answer. Those who ask while the store is being asked wait for that answer.
#[derive(Default)]
pub(crate) struct Probe {
    last: Mutex<Option<(Instant, Condition)>>,
}

impl Probe {
    /// How the store is, or was a moment ago. The log tells when that changes.
    pub(crate) async fn condition(&self, app: &App) -> Condition {
        let mut last = self.last.lock().await;
        if let Some((at, condition)) = *last
            && at.elapsed() < GOOD_FOR
        {
            return condition;
        }
        let checked = app.check().await.map_err(Error::from);
        let condition = condition(&checked);
        tell(last.map_or(Condition::Well, |(_, before)| before), &checked);
        *last = Some((Instant::now(), condition));
        condition
    }
}

fn condition(checked: &Result<(), Error>) -> Condition {
    match checked {
        Ok(()) => Condition::Well,
        Err(error) if error.code == Code::Full => Condition::Full,
        Err(_) => Condition::Unavailable,
    }
}

fn tell(before: Condition, checked: &Result<(), Error>) {
    if condition(checked) == before {
        return;
    }
    match checked {
        Ok(()) => tracing::info!("the store is well again"),
        Err(error) => {
            tracing::warn!(error = %Chain(error), "the store is not well; readiness ends");
        }
    }
}
