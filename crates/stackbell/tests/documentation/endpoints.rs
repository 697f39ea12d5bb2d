//! The endpoints that stand in for those of the samples.

use std::io::Write as _;

use stackbell_testkit::{Receiver, Reply, Server, ServerSetup};
use tempfile::NamedTempFile;

/// Where samples send to: hosts of others, and a port of this machine that anybody may have.
const PLAIN: [&str; 3] =
    ["https://example.com/hook", "http://127.0.0.1:3000/", "https://prod-00.westeurope.logic.azure.com/"];
const SLACK: &str = "https://hooks.slack.com/";

/// What stands before the URL of an endpoint in a sample.
const BEFORE_URL: [&str; 2] = ["--url ", r#""payloadUrl":"#];

/// A plain endpoint, and one behind TLS that the server takes for Slack.
pub(super) struct Endpoints {
    plain: Receiver,
    slack: Receiver,
    authorities: NamedTempFile,
}

impl Endpoints {
    /// The plain one answers like this; Slack's answers 200 with `ok`, until it is told otherwise.
    pub(super) async fn start(plain_answers: Reply) -> Self {
        let (plain, slack) = tokio::join!(Receiver::start(), Receiver::start_tls());
        plain.answer(plain_answers);
        let mut authorities = NamedTempFile::new().expect("a file");
        authorities.write_all(slack.certificate().as_bytes()).expect("written");
        Self { plain, slack, authorities }
    }

    pub(super) fn slack(&self) -> &Receiver {
        &self.slack
    }

    /// A server that trusts them.
    pub(super) async fn server(&self) -> Server {
        let authorities = self.authorities.path().to_str().expect("UTF-8");
        ServerSetup::new(env!("CARGO_BIN_EXE_stackbell"))
            .organization("acme")
            .flag("--slack-hosts", &self.slack.address().to_string())
            .flag("--outbound-ca-file", authorities)
            .start()
            .await
    }

    /// The sample with these endpoints in it.
    ///
    /// # Panics
    /// When an endpoint that is not ours is left, to which the server would send.
    pub(super) fn replace(&self, sample: &str) -> String {
        let mut replaced = sample.replace(SLACK, &self.slack.url("/"));
        for url in PLAIN {
            replaced = replaced.replace(url, &self.plain.url("/"));
        }
        for before in BEFORE_URL {
            for after in replaced.split(before).skip(1) {
                let url = after.trim_start_matches(['"', '\'']);
                let is_ours = [&self.plain, &self.slack].iter().any(|ours| url.starts_with(&ours.url("/")));
                // The format pulumi_deployments has a stack here.
                let is_url = url.split(char::is_whitespace).next().is_some_and(|url| url.contains("://"));
                assert!(is_ours || !is_url, "not an endpoint of this test: {after}\n{sample}");
            }
        }
        replaced
    }
}
