//! The outcome for each sort of endpoint that costs time. `responses`, `connections` and `tls` test more of each.

use std::time::Duration;

use futures_util::future::join_all;
use stackbell_engine::outbound::BodyEnd;
use stackbell_model::delivery::{Outcome, Silence};
use stackbell_testkit::{Tarpit, wait};

use super::support::{Setup, answer, request, send};

/// Long enough for a busy machine to receive the head of a response, and short enough to wait for in a test.
const SHORT: Duration = Duration::from_secs(2);

/// Why there is no response; `None` if there is one.
const fn expected(sort: Tarpit) -> Option<Silence> {
    match sort {
        Tarpit::NeverAccepts | Tarpit::UnfinishedTls => Some(Silence::Unreachable),
        Tarpit::SaysNothing | Tarpit::ByteASecond | Tarpit::EndlessHeaders | Tarpit::Late => {
            Some(Silence::TimedOut)
        }
        Tarpit::Resets => Some(Silence::Broken),
        // The status line decides. Another attempt would deliver the event twice.
        Tarpit::EndlessBody => None,
    }
}

async fn check(sort: Tarpit) {
    let tarpit = sort.open().await;
    // No byte of a body is kept, so the first byte is too much.
    let exchange = Setup::within(SHORT).client().await.send(request("acme", &tarpit.url("/secret")), 0).await;
    match (exchange.outcome, expected(sort)) {
        (Outcome::Unanswered { silence, .. }, Some(expected)) => assert_eq!(silence, expected, "{sort:?}"),
        (Outcome::Answered(answer), None) => {
            assert_eq!((answer.status, exchange.body_end), (200, Some(BodyEnd::TooLong)), "{sort:?}");
        }
        (outcome, _) => panic!("{sort:?}: {outcome:?}"),
    }
    let accepted = usize::from(sort != Tarpit::NeverAccepts);
    assert_eq!(tarpit.connections(), accepted, "{sort:?}: nothing is tried twice");
}

#[tokio::test]
async fn every_sort_ends() {
    join_all(Tarpit::ALL.map(check)).await;
}

/// A response counts until the time limit.
#[tokio::test]
async fn a_late_answer_is_an_answer() {
    let tarpit = Tarpit::Late.open().await;
    let client = Setup::within(Duration::from_secs(3600)).client().await;
    let url = tarpit.url("/secret");
    let open = async {
        wait::until("the request", || async { (tarpit.connections() == 1).then_some(()) }).await;
        tarpit.gate().open();
    };
    let (exchange, ()) = tokio::join!(send(&client, &url), open);
    assert_eq!(answer(exchange).status, 200);
}
