//! The data folder belongs to one process.

use crate::support::{publish, register, server, setup, update, webhook};

#[tokio::test]
async fn a_second_process_is_refused_and_the_first_works_on() {
    let server = server().await;
    let output = setup().command(server.data()).output().await.expect("it starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("another process") && text.contains("--data"), "{text}");
    let client = server.client();
    let receiver = stackbell_testkit::Receiver::start().await;
    register(&client, &webhook("hook", &receiver.url("/"))).await;
    publish(&client, &update()).await;
    receiver.wait_for(1).await;
    server.assert_quiet();
}
