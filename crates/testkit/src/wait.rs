//! Waiting for a state.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

/// How long anything is waited for before the test fails. Long, as a busy machine is no defect.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// How often a state is looked at that nobody tells us of.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Looks at a state until `look` gives something; for states that nobody tells us of, such as those of a store.
///
/// # Panics
/// After [`DEADLINE`], saying what was waited for.
#[track_caller]
pub fn until<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> impl Future<Output = T> {
    let caller = std::panic::Location::caller();
    async move {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(found) = look().await {
                return found;
            }
            assert!(Instant::now() < deadline, "{what} did not come within {DEADLINE:?} ({caller})");
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Waits until `look` gives something, looking each time that `changed` is told of.
///
/// # Errors
/// After [`DEADLINE`].
pub(crate) async fn told<T>(changed: &Notify, mut look: impl FnMut() -> Option<T>) -> Result<T, ()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        // Registered before looking, so that no change is missed between the two.
        let mut next = std::pin::pin!(changed.notified());
        next.as_mut().enable();
        if let Some(found) = look() {
            return Ok(found);
        }
        timeout_at(deadline, next).await.map_err(drop)?;
    }
}
