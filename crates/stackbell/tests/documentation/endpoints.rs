//! Endpoints that replace those of the samples.

use std::io::Write as _;

use stackbell_testkit::{Receiver, Reply, Server, ServerSetup};
use tempfile::NamedTempFile;

/// The endpoints in the samples: foreign hosts, and a common port of this machine.
const PLAIN: [&str; 3] =
    ["https://example.com/hook", "http://127.0.0.1:3000/", "https://prod-00.westeurope.logic.azure.com/"];
const SLACK: &str = "https://hooks.slack.com/";

/// The text before an endpoint's URL in a sample.
const BEFORE_URL: [&str; 2] = ["--url ", r#""payloadUrl":"#];

/// An endpoint without TLS, and one with TLS that the server accepts as Slack.
pub(super) struct Endpoints {
    plain: Receiver,
    slack: Receiver,
    authorities: NamedTempFile,
}

impl Endpoints {
    /// The plain endpoint sends these responses; Slack's sends 200 with `ok` until a test changes it.
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

    /// A server that trusts both endpoints.
    pub(super) async fn server(&self) -> Server {
        let authorities = self.authorities.path().to_str().expect("UTF-8");
        ServerSetup::new(env!("CARGO_BIN_EXE_stackbell"))
            .organization("acme")
            .flag("--slack-hosts", &self.slack.address().to_string())
            .flag("--outbound-ca-file", authorities)
            .start()
            .await
    }

    /// The sample with its endpoints replaced by these.
    ///
    /// # Panics
    /// If a foreign endpoint is left, because the server would send to it.
    pub(super) fn replace(&self, sample: &str) -> String {
        let mut replaced = sample.replace(SLACK, &self.slack.url("/"));
        for url in PLAIN {
            replaced = replaced.replace(url, &self.plain.url("/"));
        }
        for before in BEFORE_URL {
            for after in replaced.split(before).skip(1) {
                let url = after.trim_start_matches(['"', '\'']);
                let is_ours = [&self.plain, &self.slack].iter().any(|ours| url.starts_with(&ours.url("/")));
                // Webhooks of the format pulumi_deployments have a stack here instead of a URL.
                let is_url = url.split(char::is_whitespace).next().is_some_and(|url| url.contains("://"));
                assert!(is_ours || !is_url, "not an endpoint of this test: {after}\n{sample}");
            }
        }
        replaced
    }
}
