//! No proxy is taken from the environment (invariant 7).
//!
//! A process cannot safely change its own environment, so the test runs itself in a child process whose environment names a
//! proxy.

use std::process::Stdio;

use super::support::{OK, Server, Setup, answer, send};

const MARK: &str = "STACKBELL_TEST_PROXIED_URL";
const VARIABLES: [&str; 6] =
    ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

#[tokio::test]
async fn proxies_of_the_environment_are_not_used() {
    let (server, proxy) = (Server::answering(OK).await, Server::answering(OK).await);
    let mut child = tokio::process::Command::new(std::env::current_exe().expect("this test"));
    child.args(["--exact", "proxies::child", "--ignored"]).env(MARK, server.url()).stdout(Stdio::null());
    for variable in VARIABLES {
        child.env(variable, format!("http://{}", proxy.address));
    }
    let status = child.status().await.expect("the test can run");
    assert!(status.success());
    assert_eq!((server.accepted(), proxy.accepted()), (1, 0));
}

#[tokio::test]
#[ignore = "run by the test above, in an environment with a proxy"]
#[expect(clippy::disallowed_methods, reason = "the environment is what is tested")]
async fn child() {
    let url = std::env::var(MARK).expect("set by the test above");
    assert!(std::env::var(VARIABLES[0]).is_ok(), "there is a proxy");
    assert_eq!(answer(send(&Setup::default().client().await, &url).await).status, 200);
}
