//! The process that generates the load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::{NUMBER, Order, Pattern, Ready, Sent, Stamp};
use crate::child_process::Orders;
use crate::client::{Connection, Request};
use crate::monotonic_time::MonotonicTime;

/// Reads an order, connects, reports readiness, waits for the start command, sends the requests, and reports
/// the result.
pub(crate) async fn generate() -> anyhow::Result<()> {
    let mut orders = Orders::new();
    let order: Order = serde_json::from_str(&orders.next().await?.context("an order")?)?;
    let connections = connect(&order).await?;
    println!("{}", serde_json::to_string(&Ready)?);
    ensure!(orders.next().await?.is_some(), "called off");
    tokio::select! {
        sent = run(&order, connections) => println!("{}", serde_json::to_string(&sent?)?),
        // The input ends when the parent process does.
        _ = orders.next() => {}
    }
    Ok(())
}

async fn connect(order: &Order) -> anyhow::Result<Vec<Connection>> {
    let to: Vec<SocketAddr> = order.to.iter().copied().cycle().take(order.connections).collect();
    let mut connections = Vec::with_capacity(to.len());
    for to in to {
        connections.push(Connection::open(to).await?);
    }
    Ok(connections)
}

async fn run(order: &Order, connections: Vec<Connection>) -> anyhow::Result<Sent> {
    let began = Instant::now();
    let taken = Arc::new(AtomicU64::new(0));
    let count = connections.len();
    let mut tasks: JoinSet<anyhow::Result<Part>> = JoinSet::new();
    for (index, connection) in connections.into_iter().enumerate() {
        let request = order.request.clone();
        let taken = Arc::clone(&taken);
        match order.pattern {
            Pattern::For(time) => tasks.spawn(by_time(connection, request, began + time)),
            Pattern::Times(times) => tasks.spawn(by_count(connection, request, taken, times)),
            Pattern::Paced { per_second, time } => {
                let turns =
                    Turns { began, index, count, interval: Duration::from_secs(1) / per_second, time };
                tasks.spawn(paced(connection, request, turns))
            }
        };
    }
    let mut sent = Sent { answered: 0, took: Duration::ZERO, stamps: Vec::new() };
    while let Some(part) = tasks.join_next().await {
        let part = part.context("a connection's task failed")??;
        sent.answered += part.answered;
        sent.stamps.extend(part.stamps);
    }
    Ok(Sent { took: began.elapsed(), ..sent })
}

/// The results of one connection.
#[derive(Default)]
struct Part {
    answered: u64,
    stamps: Vec<Stamp>,
}

fn body(request: &Request) -> Bytes {
    Bytes::from(request.body.clone().unwrap_or_default())
}

async fn by_time(mut connection: Connection, request: Request, until: Instant) -> anyhow::Result<Part> {
    let body = body(&request);
    let mut part = Part::default();
    while part.answered == 0 || Instant::now() < until {
        connection.send(&request, body.clone()).await?;
        part.answered += 1;
    }
    Ok(part)
}

async fn by_count(
    mut connection: Connection,
    request: Request,
    taken: Arc<AtomicU64>,
    times: u64,
) -> anyhow::Result<Part> {
    let body = body(&request);
    let mut part = Part::default();
    while taken.fetch_add(1, Ordering::Relaxed) < times {
        connection.send(&request, body.clone()).await?;
        part.answered += 1;
    }
    Ok(part)
}

/// The requests of one of `count` connections, and their times.
struct Turns {
    began: Instant,
    index: usize,
    count: usize,
    interval: Duration,
    time: Duration,
}

impl Turns {
    fn all(&self) -> impl Iterator<Item = (u64, Instant)> {
        let own = (self.index..).step_by(self.count);
        own.map(|turn| (turn as u64 + 1, self.interval * u32::try_from(turn).unwrap_or(u32::MAX)))
            .take_while(|(_, after)| *after < self.time)
            .map(|(number, after)| (number, self.began + after))
    }
}

async fn paced(mut connection: Connection, request: Request, turns: Turns) -> anyhow::Result<Part> {
    let template = request.body.clone().unwrap_or_default();
    let mut part = Part::default();
    for (number, turn) in turns.all() {
        let body =
            Bytes::from(template.replacen(NUMBER, &format!("{number:0width$}", width = NUMBER.len()), 1));
        let late = Instant::now().saturating_duration_since(turn);
        sleep_until(turn).await;
        let sent = MonotonicTime::now().earlier_by(late);
        connection.send(&request, body).await?;
        part.answered += 1;
        part.stamps.push(Stamp { number, sent, answered: MonotonicTime::now() });
    }
    Ok(part)
}
