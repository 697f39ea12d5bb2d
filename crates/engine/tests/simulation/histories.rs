//! Runs histories on all cores, each from its own seed, and shrinks the ones that fail.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Once, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::{BoxedStrategy, ProptestConfig, Strategy};
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use crate::invariants;
use crate::operations::Plan;
use crate::plans::plans;
use crate::tally::Tally;
use crate::world::World;

/// The most attempts at shrinking a history.
const SHRINKS_MAX: u32 = 4000;

/// The time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);

/// The result of a history that passed.
pub(crate) struct Done {
    pub tally: Tally,
    /// A hash of everything that the nodes did.
    pub trace: u64,
}

/// A history that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub seed: u64,
    pub message: String,
}

static QUIETED: Once = Once::new();

thread_local! {
    /// The last panic message of this thread, while panics are captured and not printed.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Built once, because it is large.
    static PLANS: BoxedStrategy<Plan> = plans();
    static IS_QUIET: RefCell<bool> = const { RefCell::new(false) };
}

/// The history of a seed.
pub(crate) fn plan(seed: u64) -> impl ValueTree<Value = Plan> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let settings = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(settings, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    PLANS.with(|plans| plans.new_tree(&mut runner)).expect("nothing is filtered")
}

/// Runs a history to its end.
///
/// # Errors
/// The message of the failed check.
pub(crate) fn run(plan: &Plan) -> Result<Done, String> {
    QUIETED.call_once(|| {
        let hook = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| keep_or_print(info, &hook)));
    });
    IS_QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(plan);
        plan.operations.iter().for_each(|operation| world.apply(*operation));
        world.settle();
        world.check_rest();
        invariants::check(&world);
        Done { tally: world.tally, trace: world.trace }
    }));
    IS_QUIET.set(false);
    outcome.map_err(|_| SAID.take().expect("a panic says something"))
}

/// The smallest failing history that shrinking finds, and its message.
pub(crate) fn shrink(seed: u64, message: String) -> (Plan, String) {
    let mut tree = plan(seed);
    let mut smallest = (tree.current(), message);
    for _ in 0..SHRINKS_MAX {
        let fails = run(&tree.current());
        let goes_on = match fails {
            Err(message) => {
                smallest = (tree.current(), message);
                tree.simplify()
            }
            Ok(_) => tree.complicate(),
        };
        if !goes_on {
            break;
        }
    }
    smallest
}

/// Runs the histories of `count` seeds, starting at `first`, on all cores, until one fails.
///
/// # Errors
/// The failure with the lowest seed among those that occurred.
pub(crate) fn run_all(first: u64, count: u64, shows_progress: bool) -> Result<Tally, Failure> {
    let (next, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
    let (sender, reports) = mpsc::channel();
    let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let (tally, failure) = thread::scope(|scope| {
        for _ in 0..cores {
            let sender = sender.clone();
            let (next, is_over) = (&next, &is_over);
            scope.spawn(move || work(first, count, next, is_over, &sender));
        }
        drop(sender);
        collect(&reports, count, shows_progress)
    });
    failure.map_or(Ok(tally), Err)
}

enum Report {
    Done { histories: u64, tally: Box<Tally> },
    Failed(Failure),
}

/// Takes seeds in blocks, so that progress reports cost nothing.
fn work(first: u64, count: u64, next: &AtomicU64, is_over: &AtomicBool, sender: &mpsc::Sender<Report>) {
    const BLOCK: u64 = 100;
    loop {
        let begin = next.fetch_add(BLOCK, Ordering::Relaxed);
        let end = (begin + BLOCK).min(count);
        if begin >= count || is_over.load(Ordering::Relaxed) {
            return;
        }
        let mut tally = Tally::default();
        for seed in (begin..end).map(|n| first.wrapping_add(n)) {
            match run(&plan(seed).current()) {
                Ok(done) => tally.add(&done.tally),
                Err(message) => {
                    is_over.store(true, Ordering::Relaxed);
                    let _ = sender.send(Report::Failed(Failure { seed, message }));
                    return;
                }
            }
        }
        let _ = sender.send(Report::Done { histories: end - begin, tally: Box::new(tally) });
    }
}

fn collect(reports: &mpsc::Receiver<Report>, count: u64, shows_progress: bool) -> (Tally, Option<Failure>) {
    #[expect(
        clippy::disallowed_methods,
        reason = "how fast it goes is for people to see; no history hears of it"
    )]
    let (begun, mut shown) = (Instant::now(), Instant::now());
    let (mut done, mut tally, mut failure) = (0, Tally::default(), None::<Failure>);
    for report in reports {
        match report {
            Report::Done { histories, tally: more } => {
                done += histories;
                tally.add(&more);
            }
            Report::Failed(other) if failure.as_ref().is_none_or(|failure| other.seed < failure.seed) => {
                failure = Some(other);
            }
            Report::Failed(_) => {}
        }
        if shows_progress && (shown.elapsed() >= PROGRESS || done == count) {
            let rate = done as f64 / begun.elapsed().as_secs_f64();
            println!("{done} of {count} histories, {rate:.0} a second");
            #[expect(clippy::disallowed_methods, reason = "the same")]
            let again = Instant::now();
            shown = again;
        }
    }
    (tally, failure)
}

/// Captures the panic of a failing history, and prints all other panics as usual.
fn keep_or_print(info: &PanicHookInfo<'_>, print: &(dyn Fn(&PanicHookInfo<'_>) + Sync)) {
    if !IS_QUIET.with_borrow(|is_quiet| *is_quiet) {
        return print(info);
    }
    let text = info.payload_as_str().unwrap_or("it panicked");
    let place = info.location().map(|at| format!(" ({}:{})", at.file(), at.line())).unwrap_or_default();
    SAID.set(Some(format!("{text}{place}")));
}
