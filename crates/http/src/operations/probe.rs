//! Asking whether the store is well, seldom enough to cost nothing.

use std::time::Duration;

use stackbell_app::App;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// How long an answer is good for.
const GOOD_FOR: Duration = Duration::from_secs(1);

/// The last answer. Those who ask while the store is being asked wait for that answer.
#[derive(Default)]
pub(crate) struct Probe {
    last: Mutex<Option<(Instant, bool)>>,
}

impl Probe {
    pub(crate) async fn is_well(&self, app: &App) -> bool {
        let mut last = self.last.lock().await;
        if let Some((at, is_well)) = *last
            && at.elapsed() < GOOD_FOR
        {
            return is_well;
        }
        let checked = app.check().await;
        if let Err(error) = &checked {
            tracing::warn!(error = error as &dyn std::error::Error, "the store is not well");
        }
        let is_well = checked.is_ok();
        *last = Some((Instant::now(), is_well));
        is_well
    }
}
