//! The lines of the log on their way to standard error: a bounded queue, and a thread that writes.
//!
//! A push never waits for the reader of the log. A line is dropped and counted if the queue is full or the line cannot be
//! written. Once lines can be written again, the log reports the number of lost lines.
//!
//! A pushed line may be lost when the process ends. See [`Lines::flush`].

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use tracing_subscriber::fmt::MakeWriter;

/// The most bytes in the queue: some thousands of lines.
const BYTES_MAX: usize = 1024 * 1024;

/// The interval of log lines about lost lines, while lines are being lost.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// The pause between two tries while a non-blocking pipe or terminal is full.
const RETRY_AFTER: Duration = Duration::from_millis(20);

thread_local! {
    /// The number of lost lines in the report that this thread is logging; 0 while it logs any other line.
    static TELLING: Cell<u64> = const { Cell::new(0) };
}

/// The queue. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// A line was pushed.
    pushed: Condvar,
    /// A line was written or given up.
    done: Condvar,
    left_out: Counter,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Line>,
    bytes: usize,
    is_writing: bool,
    /// Lost lines that no log line has reported yet.
    untold: u64,
}

#[derive(Debug)]
struct Line {
    text: Vec<u8>,
    /// The number of lost lines that it reports.
    tells: u64,
}

impl Lines {
    /// Starts the thread that writes to `out`.
    ///
    /// # Errors
    /// If the system provides no thread.
    pub(crate) fn write_to(&self, out: impl Write + Send + 'static) -> io::Result<()> {
        let shared = Arc::clone(&self.0);
        Builder::new().name("log-writer".to_owned()).spawn(move || shared.write_all_to(out))?;
        Ok(())
    }

    /// The counter of lines that were dropped because the queue was full or they could not be written.
    pub(crate) fn left_out(&self) -> Counter {
        self.0.left_out.clone()
    }

    /// Waits until all lines are written or given up, or `limit` is over.
    pub(crate) fn flush(&self, limit: Duration) {
        let state = self.0.lock();
        let is_busy = |state: &mut State| state.is_writing || !state.waiting.is_empty();
        let waited = self.0.done.wait_timeout_while(state, limit, is_busy);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Appends a line to the queue. The line must end with a newline.
    pub(crate) fn push(&self, text: Vec<u8>) {
        let tells = TELLING.get();
        let mut state = self.0.lock();
        // A report of lost lines may exceed the limit.
        if tells == 0 && state.bytes.saturating_add(text.len()) > BYTES_MAX {
            state.untold += 1;
            self.0.left_out.inc();
            return;
        }
        state.bytes += text.len();
        state.waiting.push_back(Line { text, tells });
        drop(state);
        self.0.pushed.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_all_to(&self, mut out: impl Write) {
        let (mut is_torn, mut told_at) = (false, None);
        loop {
            let line = self.next();
            let written = write_line(&mut out, &line.text, &mut is_torn);
            if let Some(count) = self.end(&line, written.is_ok(), &mut told_at) {
                TELLING.set(count);
                tracing::warn!(
                    lines = count,
                    "lines are missing in the log: it could not be written fast enough, or not at all"
                );
                TELLING.set(0);
            }
            self.done.notify_all();
        }
    }

    /// Waits for the next line. It counts as being written from now on.
    fn next(&self) -> Line {
        let mut state = self.lock();
        loop {
            state.is_writing = false;
            if let Some(line) = state.waiting.pop_front() {
                state.is_writing = true;
                state.bytes -= line.text.len();
                return line;
            }
            self.done.notify_all();
            state = self.pushed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Counts a line that could not be written. Returns the number of lost lines if it is time to report them.
    fn end(&self, line: &Line, is_written: bool, told_at: &mut Option<Instant>) -> Option<u64> {
        let mut state = self.lock();
        if !is_written {
            state.untold += line.tells.max(1);
            if line.tells == 0 {
                self.left_out.inc();
            }
            return None;
        }
        let is_due = state.waiting.is_empty() || told_at.is_none_or(|at| at.elapsed() >= TELL_EVERY);
        if state.untold == 0 || line.tells > 0 || !is_due {
            return None;
        }
        *told_at = Some(Instant::now());
        Some(std::mem::take(&mut state.untold))
    }
}

/// Writes a whole line. `is_torn` says that the line before it was written only in part, so a line break comes first.
fn write_line(out: &mut impl Write, text: &[u8], is_torn: &mut bool) -> io::Result<()> {
    if *is_torn {
        write_all(out, b"\n").map_err(|(_, error)| error)?;
        *is_torn = false;
    }
    write_all(out, text).map_err(|(written, error)| {
        *is_torn = written > 0;
        error
    })
}

/// The error contains the number of bytes that were written before it.
fn write_all(out: &mut impl Write, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(RETRY_AFTER),
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

/// Each write is one line.
impl Write for &Lines {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.push(text.to_owned());
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    /// The result of each write, in order; later writes succeed.
    enum Step {
        Take(usize),
        Fail(io::ErrorKind),
        /// Waits until a message arrives or the sender is dropped.
        Wait(Receiver<()>),
    }

    struct Out {
        steps: VecDeque<Step>,
        taken: Sender<Vec<u8>>,
    }

    impl Write for Out {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = match self.steps.pop_front() {
                Some(Step::Fail(kind)) => return Err(kind.into()),
                Some(Step::Take(count)) => count.min(bytes.len()),
                Some(Step::Wait(gate)) => {
                    let _ = gate.recv();
                    bytes.len()
                }
                None => bytes.len(),
            };
            let _ = self.taken.send(bytes[..count].to_owned());
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A queue whose writes have these results, and which reports lost lines through its own subscriber.
    fn start(steps: impl IntoIterator<Item = Step>) -> (Lines, Receiver<Vec<u8>>) {
        let (taken, written) = channel();
        let out = Out { steps: steps.into_iter().collect(), taken };
        let lines = Lines::default();
        let shared = Arc::clone(&lines.0);
        let subscriber = tracing_subscriber::fmt().json().with_writer(lines.clone()).finish();
        std::thread::spawn(move || {
            tracing::subscriber::with_default(subscriber, || shared.write_all_to(out));
        });
        (lines, written)
    }

    fn text(written: &Receiver<Vec<u8>>) -> String {
        String::from_utf8(written.try_iter().flatten().collect()).expect("text")
    }

    /// The numbers of lost lines that a log reports.
    fn told(text: &str) -> Vec<u64> {
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.filter_map(|line| line["fields"]["lines"].as_u64()).collect()
    }

    #[test]
    fn lines_are_written_in_order() {
        let (lines, written) = start([Step::Take(2), Step::Fail(io::ErrorKind::Interrupted)]);
        lines.push(b"one\n".to_vec());
        lines.push(b"two\n".to_vec());
        lines.flush(LONG);
        assert_eq!(text(&written), "one\ntwo\n");
        assert_eq!(lines.left_out().get(), 0);
    }

    #[test]
    fn a_reader_that_is_busy_for_a_moment_loses_nothing() {
        let (lines, written) = start([Step::Take(1), Step::Fail(io::ErrorKind::WouldBlock)]);
        lines.push(b"one\n".to_vec());
        lines.flush(LONG);
        assert_eq!((text(&written).as_str(), lines.left_out().get()), ("one\n", 0));
    }

    #[test]
    fn a_log_that_nobody_reads_holds_up_nobody_and_is_counted() {
        let (go, gate) = channel();
        let (lines, written) = start([Step::Wait(gate)]);
        let line = vec![b'x'; 1023].into_iter().chain([b'\n']).collect::<Vec<u8>>();
        let count = 2 * (BYTES_MAX / line.len()) as u64;
        for _ in 0..count {
            lines.push(line.clone());
        }
        let left_out = lines.left_out().get();
        assert!(left_out >= count / 2 - 1, "{left_out} of {count}");
        assert!(lines.0.lock().bytes <= BYTES_MAX);
        lines.flush(Duration::ZERO);
        drop(go);
        lines.flush(LONG);
        let text = text(&written);
        assert_eq!(told(&text).iter().sum::<u64>(), left_out, "{:?}", told(&text));
        assert_eq!(text.lines().filter(|line| line.starts_with('x')).count() as u64, count - left_out);
        assert_eq!(lines.left_out().get(), left_out, "the telling line is none of those");
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted_and_reported_later() {
        let full = || Step::Fail(io::ErrorKind::StorageFull);
        // The second line is torn, the third fails completely, and the first report of them fails too.
        let (lines, written) =
            start([full(), Step::Take(1), full(), full(), Step::Take(1), Step::Take(100), full()]);
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            lines.push(line.into());
            lines.flush(LONG);
        }
        assert_eq!(lines.left_out().get(), 3);
        lines.push(b"five\n".to_vec());
        lines.flush(LONG);
        let text = text(&written);
        assert!(text.starts_with("t\nfour\nfive\n"), "{text}");
        assert_eq!(told(&text), [3], "{text}");
    }

    #[test]
    fn a_flush_has_limited_time() {
        let (_go, gate) = channel();
        let (lines, _written) = start([Step::Wait(gate)]);
        lines.push(b"one\n".to_vec());
        // The call returns although no reader takes the lines.
        lines.flush(Duration::from_millis(1));
    }
}
