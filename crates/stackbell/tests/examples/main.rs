//! The receivers below `examples/`, started as docs/receivers.md says, against the running binary.
//!
//! All of them do the same, so all are asked the same. One test for each, as each has its own tools to be missing.

mod process;
mod pulumi;
mod requests;
mod standard;
mod start;

use process::Example;

async fn check(example: &Example) {
    start::refuses_what_it_cannot_use(example).await;
    standard::check(example).await;
    pulumi::check(example).await;
}

#[tokio::test]
async fn rust() {
    // Built apart from its start, which is waited for with a deadline.
    check(&Example::prepared("rust", "cargo build --quiet --locked -p webhook-receiver").await).await;
}

#[tokio::test]
async fn python() {
    check(&Example::copied("python").await).await;
}

#[tokio::test]
async fn typescript() {
    check(&Example::copied("typescript").await).await;
}
