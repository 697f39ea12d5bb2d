//! Retries all failed and cancelled deliveries of a webhook, and follows the recovery.

use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use stackbell_system::{note, parse_duration};
use stackbell_wire::rest::{read_rfc3339, rfc3339};
use tokio::time::Instant;
use ureq::http::Method;

use crate::api::Payload;
use crate::commands::scope::webhook_id;
use crate::commands::since::{Since, parse_since};
use crate::progress::Progress;
use crate::verb::{Verb, counted, number_at, text_at};

/// The interval between two requests for the state of a running recovery.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The most deliveries that one request counts. The output says "more" if there are more.
const COUNTED_MAX: usize = 1000;

#[derive(Debug, Args)]
pub(super) struct RecoverArgs {
    /// The organization
    org: String,
    /// The webhook, by name or id
    #[arg(long)]
    webhook: String,
    /// Only deliveries created since: 2h, 3d or 2026-05-13T06:19:04Z
    #[arg(long, value_name = "WHEN", value_parser = parse_since)]
    since: Since,
    /// Wait until none of them is pending any more; fail if some failed again
    #[arg(long)]
    wait: bool,
    /// Stop waiting after this time, and fail
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "wait")]
    timeout: Option<Duration>,
}

/// The end of the wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    Settled,
    GaveUp,
}

pub(super) fn run(args: &RecoverArgs, verb: &mut Verb<'_>) -> anyhow::Result<ExitCode> {
    let webhook = webhook_id(verb, &args.org, &args.webhook)?;
    let since = args.since.rfc3339()?;
    let path = ["v1", "orgs", &args.org, "webhooks", &webhook, "recoveries"];
    let begun = verb.client.call(Method::POST, &path, Payload::Json(&json!({ "since": since })))?;
    let deadline = args.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let Some(recovery) = follow(&args.org, begun, deadline, verb)? else {
        return give_up("the recovery is still running and continues in the background");
    };
    let rearmed = number_at(&recovery, "/rearmed");
    let state = text_at(&recovery, "/state");
    let mut sentence = format!("{} tried again.", counted(rearmed, "delivery is", "deliveries are"));
    if state != "done" {
        sentence.push_str(&format!(" The recovery was {state}."));
    }
    verb.output.one(verb.out, &recovery, &sentence)?;
    if state != "done" {
        return Ok(ExitCode::FAILURE);
    }
    if !args.wait || rearmed == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    wait(args, &webhook, &recovery, deadline, verb)
}

/// Follows the recovery until it has ended; `None` if that takes too long.
fn follow(
    organization: &str,
    begun: Value,
    deadline: Option<Instant>,
    verb: &Verb<'_>,
) -> anyhow::Result<Option<Value>> {
    let id = text_at(&begun, "/id").to_owned();
    let path = ["v1", "orgs", organization, "recoveries", &id];
    let progress = Progress::counted("made pending", number_at(&begun, "/total"));
    let mut recovery = begun;
    loop {
        progress.at(number_at(&recovery, "/rearmed"));
        if text_at(&recovery, "/state") != "running" {
            progress.finish();
            return Ok(Some(recovery));
        }
        if is_over(deadline) {
            return Ok(None);
        }
        sleep(LOOK_EVERY);
        recovery = verb.client.call(Method::GET, &path, Payload::Empty)?;
    }
}

fn wait(
    args: &RecoverArgs,
    webhook: &str,
    recovery: &Value,
    deadline: Option<Instant>,
    verb: &mut Verb<'_>,
) -> anyhow::Result<ExitCode> {
    // Deliveries created after the start of the recovery are not part of it.
    let asked_at = text_at(recovery, "/createdAt");
    let until = read_rfc3339(asked_at)
        .map_or_else(|| asked_at.to_owned(), |at| rfc3339(at.after(Duration::from_millis(1))));
    let since = text_at(recovery, "/since");
    let path = ["v1", "orgs", &args.org, "deliveries"];
    let count = |state: &str| {
        let query = [("webhook", webhook), ("state", state), ("from", since), ("to", &until)];
        let listed = verb.client.list_some(&path, &query, Some(COUNTED_MAX));
        listed.map(|listed| listed.items.len() as u64)
    };
    if wait_until_settled(|| count("pending"), deadline)? == Waited::GaveUp {
        return give_up("some deliveries are still pending and continue in the background");
    }
    let failed = count("failed")?;
    note(&format!(
        "none is pending any more; {} in that time",
        counted(failed, "delivery has failed", "deliveries have failed")
    ));
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn wait_until_settled<E>(
    mut pending: impl FnMut() -> Result<u64, E>,
    deadline: Option<Instant>,
) -> Result<Waited, E> {
    let mut left = pending()?;
    let all = left;
    let progress = Progress::counted("no longer pending", all);
    while left > 0 {
        if is_over(deadline) {
            return Ok(Waited::GaveUp);
        }
        sleep(LOOK_EVERY);
        left = pending()?;
        progress.at(all.saturating_sub(left));
    }
    progress.finish();
    Ok(Waited::Settled)
}

fn is_over(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|deadline| Instant::now() >= deadline)
}

fn give_up(why: &str) -> anyhow::Result<ExitCode> {
    note(why);
    Ok(ExitCode::FAILURE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_ends_when_none_is_pending_or_time_is_up() {
        let mut counts = [0].into_iter();
        let settled = wait_until_settled(|| counts.next().ok_or(()), None);
        assert_eq!(settled, Ok(Waited::Settled));
        let over = Some(Instant::now());
        assert_eq!(wait_until_settled(|| Ok::<_, ()>(3), over), Ok(Waited::GaveUp));
        assert_eq!(wait_until_settled(|| Err::<u64, _>("gone"), over), Err("gone"));
    }
}
