//! The receivers in `examples/`, started as docs/receivers.md says, against the running binary.
//!
//! All examples behave alike, so all get the same checks. Each has its own test, because each needs different tools.

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
    // The build is separate from the start, which has a deadline.
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
