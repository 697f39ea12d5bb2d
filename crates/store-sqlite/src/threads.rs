//! Threads that own what SQL runs on, fed by a channel.
//!
//! A job that panics costs its caller a [`StoreError::Unavailable`] and its worker one [`Worker::recover`]; the thread goes on.
//! The panic itself is reported by the process's panic hook.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use stackbell_store::StoreError;
use tokio::sync::{Semaphore, oneshot};

/// The most jobs that wait for a pool's threads. Who comes after them waits for a place, which costs a waker
/// instead of a job with its data.
const JOBS_MAX: usize = 1024;

/// How long a thread has nothing to do before it looks after itself. Longer than the gaps of any steady traffic.
const IDLE_AFTER: Duration = Duration::from_secs(2);

/// What a thread owns and lends to its jobs.
pub(crate) trait Worker: Send + 'static {
    /// A job panicked: whatever it left half done must be undone.
    fn recover(&mut self);

    /// There was nothing to do for a while.
    fn idle(&mut self);
}

type Job<W> = Box<dyn FnOnce(&mut W) + Send>;

/// Threads with one worker each and one queue between them.
#[derive(Debug)]
pub(crate) struct Pool<W> {
    jobs: Option<Sender<Job<W>>>,
    places: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
}

/// The thread let a job fall.
#[derive(Debug, thiserror::Error)]
#[error("the job panicked, or its thread is gone")]
struct Dropped;

impl<W: Worker> Pool<W> {
    /// Starts a thread for each worker.
    pub(crate) fn start(name: &str, workers: Vec<W>) -> io::Result<Self> {
        let (jobs, queue) = channel();
        let queue = Arc::new(Mutex::new(queue));
        let threads = workers.into_iter().map(|worker| {
            let queue = Arc::clone(&queue);
            Builder::new().name(name.to_owned()).spawn(move || work(worker, &queue))
        });
        let threads = threads.collect::<io::Result<Vec<_>>>()?;
        Ok(Self { jobs: Some(jobs), places: Arc::new(Semaphore::new(JOBS_MAX)), threads })
    }

    /// Runs a job on one of the threads and waits for its answer.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        context: &'static str,
        job: impl FnOnce(&mut W) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let dropped = || StoreError::Unavailable { context, source: Box::new(Dropped) };
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| dropped())?;
        let (answer, answered) = oneshot::channel();
        let job: Job<W> = Box::new(move |worker| {
            let result = job(worker);
            drop(place);
            // Nobody may be waiting any more; what is done is done.
            let _ = answer.send(result);
        });
        let jobs = self.jobs.as_ref().expect("taken when the pool is dropped, and not before");
        jobs.send(job).map_err(|_| dropped())?;
        answered.await.map_err(|_| dropped())?
    }
}

impl<W> Drop for Pool<W> {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store ended in a panic");
            }
        }
    }
}

fn work<W: Worker>(mut worker: W, queue: &Mutex<Receiver<Job<W>>>) {
    loop {
        // Whoever holds the lock waits for the next job; the others wait for the lock. No job runs under it.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(IDLE_AFTER);
        match next {
            Ok(job) => {
                if catch_unwind(AssertUnwindSafe(|| job(&mut worker))).is_err() {
                    tracing::error!("a job of the store panicked; its work is undone");
                    worker.recover();
                }
            }
            Err(RecvTimeoutError::Timeout) => worker.idle(),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count {
        recovered: u32,
    }

    impl Worker for Count {
        fn recover(&mut self) {
            self.recovered += 1;
        }

        fn idle(&mut self) {}
    }

    #[tokio::test]
    async fn a_panic_costs_its_caller_and_nobody_else() {
        let pool = Pool::start("test", vec![Count::default()]).expect("a thread");
        let panicked: Result<(), _> = pool.run("boom", |_| panic!("on purpose")).await;
        assert!(matches!(panicked, Err(StoreError::Unavailable { context: "boom", .. })), "{panicked:?}");
        let after = pool.run("after", |count| Ok(count.recovered)).await;
        assert!(matches!(after, Ok(1)), "{after:?}");
    }

    #[tokio::test]
    async fn what_was_asked_for_is_done_before_the_end() {
        let pool = Pool::start("test", vec![Count::default()]).expect("a thread");
        let (done, is_done) = oneshot::channel();
        let (go, may_go) = std::sync::mpsc::channel::<()>();
        let waiting = pool.run("wait", move |_| {
            may_go.recv().expect("told to go on");
            done.send(()).expect("waited for");
            Ok(())
        });
        // Asked for, and then nobody waits any more.
        assert!(tokio::time::timeout(Duration::ZERO, waiting).await.is_err());
        go.send(()).expect("the job is waiting");
        drop(pool);
        is_done.await.expect("done");
    }
}
