//! The latency of single events.

use std::collections::HashMap;
use std::net::SocketAddr;

use anyhow::{Context, ensure};

use crate::client::Request;
use crate::load::{LoadProcess, Order, Pattern};
use crate::receiver::Receiver;
use crate::report::percentile;

/// Connections of a paced load. Normally there are fewer requests in flight.
const CONNECTIONS: usize = 8;

/// The latencies of all events in milliseconds, unordered.
pub(crate) struct Latencies {
    /// From the sending of the POST to the arrival at the receiver.
    pub(crate) sent_to_received: Vec<f64>,
    /// From the 202 to the arrival at the receiver; negative if the delivery arrived first.
    pub(crate) accepted_to_received: Vec<f64>,
    /// From the sending of the POST to its response.
    pub(crate) sent_to_answered: Vec<f64>,
}

/// Sends paced requests, and waits until each has arrived once at the receiver's path that stores arrival times.
///
/// # Errors
/// If not all arrive, or one arrives twice.
pub(crate) async fn paced(
    to: SocketAddr,
    request: Request,
    pattern: Pattern,
    receiver: &mut Receiver,
) -> anyhow::Result<Latencies> {
    let order = Order { to: vec![to], request, connections: CONNECTIONS, pattern };
    let load = LoadProcess::connect(&order).await?;
    receiver.arrivals().await?;
    let received_before = receiver.count().await?;
    let sent = load.run().await?;
    receiver.wait_for(received_before + sent.answered).await?;
    let arrivals = receiver.arrivals().await?;
    ensure!(arrivals.len() as u64 == sent.answered, "{} of {} came", arrivals.len(), sent.answered);
    let arrivals: HashMap<u64, _> = arrivals.into_iter().collect();
    let mut latencies = Latencies {
        sent_to_received: Vec::new(),
        accepted_to_received: Vec::new(),
        sent_to_answered: Vec::new(),
    };
    for stamp in sent.stamps {
        let received =
            arrivals.get(&stamp.number).with_context(|| format!("number {} did not come", stamp.number))?;
        latencies.sent_to_received.push(received.milliseconds_since(stamp.sent));
        latencies.accepted_to_received.push(received.milliseconds_since(stamp.answered));
        latencies.sent_to_answered.push(stamp.answered.milliseconds_since(stamp.sent));
    }
    Ok(latencies)
}

/// The median and the 99th percentile.
pub(crate) fn p50_p99(milliseconds: &[f64]) -> anyhow::Result<(f64, f64)> {
    Ok((percentile(milliseconds, 50.0)?, percentile(milliseconds, 99.0)?))
}
