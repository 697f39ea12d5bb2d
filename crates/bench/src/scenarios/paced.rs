//! A hundred events per second, far from any limit: the latency from the publisher to the endpoint.
//!
//! The moment of acceptance cannot be seen from outside: it lies between the sending of the POST and the
//! reading of its 202. Both intervals are therefore measured. The one that begins with the POST is too long.
//! The one that begins with the 202 is too short, and is negative if the delivery arrived first.

use super::Bench;
use crate::client::Request;
use crate::latency::{p50_p99, paced};
use crate::load::Pattern;
use crate::receiver::{Receiver, STAMPED_PATH};
use crate::report::{Figure, Target};
use crate::server::{Endpoint, Publishing, event};

pub(super) const PER_SECOND: u32 = 100;

pub(super) async fn run(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut receiver = Receiver::start(1).await?;
    let address = receiver.addresses()[0];
    let server = bench.setup.start().await?;
    server.register(&[Endpoint::of_stack("bench", format!("http://{address}{STAMPED_PATH}"))]).await?;
    let pattern = |seconds| Pattern::Paced { per_second: PER_SECOND, time: bench.seconds(seconds) };
    let publish = || Publishing::Single.request();
    paced(server.address(), publish(), pattern(2), &mut receiver).await?;
    let mut columns: [Vec<f64>; 8] = Default::default();
    for pair in 1..=bench.pairs()? {
        let raw =
            paced(address, Request::post(STAMPED_PATH, event(), 200), pattern(5), &mut receiver).await?;
        let served = paced(server.address(), publish(), pattern(15), &mut receiver).await?;
        let all = [
            &raw.sent_to_received,
            &served.sent_to_answered,
            &served.accepted_to_received,
            &served.sent_to_received,
        ];
        let mut words = Vec::new();
        for (index, milliseconds) in all.into_iter().enumerate() {
            let (p50, p99) = p50_p99(milliseconds)?;
            words.push(format!("{p50:.2} / {p99:.2}"));
            columns[2 * index].push(p50);
            columns[2 * index + 1].push(p99);
        }
        println!(
            "  pair {pair}: p50 / p99 in ms: raw {}; POST to 202 {}, 202 to received {}, POST to received {}",
            words[0], words[1], words[2], words[3]
        );
    }
    server.stop().await?;
    let [raw50, raw99, answer50, answer99, after50, after99, whole50, whole99] = columns;
    let figure = |what: &str, values| Figure::new(what, "ms", values);
    Ok(vec![
        figure("raw: sent to received, p50", raw50),
        figure("raw: sent to received, p99", raw99),
        figure("POST to 202, p50", answer50),
        figure("POST to 202, p99", answer99),
        figure("202 to received, p50", after50),
        figure("202 to received, p99", after99),
        bench.aim(figure("POST to received, p50", whole50), Target::AtMost(1.0)),
        bench.aim(figure("POST to received, p99", whole99), Target::AtMost(4.0)),
    ])
}
