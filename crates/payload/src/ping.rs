//! The body of a ping.

use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::webhook::Format;

use super::{ms_teams, slack};

/// The kind of a ping on the wire. No event has this kind.
pub const KIND: &str = "ping";

/// The message of a ping. Existing receivers parse this text. Source: wire-facts.md#ping.
const MESSAGE: &str = "🍹 Just a friendly ping from Pulumi 🍹";

/// The body of a ping that is sent at `at`. It is empty for `pulumi_deployments`, whose ping only reads the stack.
/// In format `raw` its `timestamp` is the time of the ping's record, in whole seconds.
pub fn render(format: Format, at: Timestamp) -> Bytes {
    match format {
        Format::Raw => {
            let seconds = at.as_secs();
            Bytes::from(format!(r#"{{"timestamp":{seconds},"message":"{MESSAGE}"}}"#))
        }
        Format::Slack => slack::plain(MESSAGE),
        Format::MsTeams => ms_teams::plain(MESSAGE),
        Format::PulumiDeployments => Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(milliseconds: i64, expected: &str) {
        assert_eq!(render(Format::Raw, Timestamp::from_millis(milliseconds)), expected.as_bytes());
    }

    #[test]
    fn raw_bytes_are_those_observed() {
        let of_the_first = r#"{"timestamp":1778653144,"message":"🍹 Just a friendly ping from Pulumi 🍹"}"#;
        check(1_778_653_144_000, of_the_first);
        check(1_778_653_144_999, of_the_first);
        check(
            1_778_653_205_000,
            r#"{"timestamp":1778653205,"message":"🍹 Just a friendly ping from Pulumi 🍹"}"#,
        );
    }
}
