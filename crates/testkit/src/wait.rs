//! Waiting for a state.

use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

/// The deadline of every wait in a test. It is long, because a busy machine is no defect.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The polling interval for states without notifications.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Polls a state until `look` returns a value, for states without notifications, such as those of a store.
///
/// # Panics
/// After [`DEADLINE`], with the text of `what`.
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

/// Waits until `look` returns a value. It looks each time that `changed` is notified.
///
/// # Errors
/// After [`DEADLINE`].
pub(crate) async fn told<T>(changed: &Notify, mut look: impl FnMut() -> Option<T>) -> Result<T, ()> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        // Register before looking, so that no change between the two is missed.
        let mut next = std::pin::pin!(changed.notified());
        next.as_mut().enable();
        if let Some(found) = look() {
            return Ok(found);
        }
        timeout_at(deadline, next).await.map_err(drop)?;
    }
}
