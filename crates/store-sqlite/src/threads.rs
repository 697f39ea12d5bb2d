//! Thread pools that run SQL. Each thread owns a worker, which it lends to one job at a time.
//!
//! If a job panics, its caller gets a [`StoreError::Unavailable`], [`Worker::recover`] is called, and the thread continues. The
//! process's panic hook reports the panic.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use stackbell_store::StoreError;
use tokio::sync::{Semaphore, oneshot};

/// The maximum number of jobs in a pool's queue. Further callers wait for a permit, which takes less memory than a job with its
/// data.
const JOBS_MAX: usize = 1024;

/// The time without a job after which a thread calls [`Worker::idle`]. It is longer than the gaps in steady traffic.
const IDLE_AFTER: Duration = Duration::from_secs(2);

/// The state that a thread owns and lends to its jobs.
pub(crate) trait Worker: Send + 'static {
    /// Undoes the incomplete work of a job that panicked.
    fn recover(&mut self);

    /// Called when there was no job for [`IDLE_AFTER`].
    fn idle(&mut self);
}

type Job<W> = Box<dyn FnOnce(&mut W) + Send>;

/// Threads with one worker each, which take their jobs from one queue.
#[derive(Debug)]
pub(crate) struct Pool<W> {
    jobs: Option<Sender<Job<W>>>,
    permits: Arc<Semaphore>,
    threads: Vec<JoinHandle<()>>,
}

/// A job had no result.
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
        Ok(Self { jobs: Some(jobs), permits: Arc::new(Semaphore::new(JOBS_MAX)), threads })
    }

    /// Runs a job on one of the threads and waits for its result.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        context: &'static str,
        job: impl FnOnce(&mut W) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let dropped = || StoreError::Unavailable { context, source: Box::new(Dropped) };
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| dropped())?;
        let (sender, result) = oneshot::channel();
        let job: Job<W> = Box::new(move |worker| {
            let result = job(worker);
            drop(permit);
            // The caller may have stopped waiting. The job is done nevertheless.
            let _ = sender.send(result);
        });
        let jobs = self.jobs.as_ref().expect("taken when the pool is dropped, and not before");
        jobs.send(job).map_err(|_| dropped())?;
        result.await.map_err(|_| dropped())?
    }
}

impl<W> Drop for Pool<W> {
    fn drop(&mut self) {
        drop(self.jobs.take());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

fn work<W: Worker>(mut worker: W, queue: &Mutex<Receiver<Job<W>>>) {
    loop {
        // One thread holds the lock and waits for the next job; the others wait for the lock. No job runs while it is held.
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(IDLE_AFTER);
        match next {
            Ok(job) => {
                if catch_unwind(AssertUnwindSafe(|| job(&mut worker))).is_err() {
                    tracing::error!("a job of the store panicked and was rolled back");
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
    async fn a_panic_fails_its_own_job_only() {
        let pool = Pool::start("test", vec![Count::default()]).expect("a thread");
        let panicked: Result<(), _> = pool.run("boom", |_| panic!("on purpose")).await;
        assert!(matches!(panicked, Err(StoreError::Unavailable { context: "boom", .. })), "{panicked:?}");
        let after = pool.run("after", |count| Ok(count.recovered)).await;
        assert!(matches!(after, Ok(1)), "{after:?}");
    }

    #[tokio::test]
    async fn a_pool_finishes_its_jobs_before_it_ends() {
        let pool = Pool::start("test", vec![Count::default()]).expect("a thread");
        let (done, is_done) = oneshot::channel();
        let (go, may_go) = std::sync::mpsc::channel::<()>();
        let waiting = pool.run("wait", move |_| {
            may_go.recv().expect("a signal");
            done.send(()).expect("waited for");
            Ok(())
        });
        // The caller stops waiting.
        assert!(tokio::time::timeout(Duration::ZERO, waiting).await.is_err());
        go.send(()).expect("the job is waiting");
        drop(pool);
        is_done.await.expect("done");
    }
}
