//! The body of a ping.

use bytes::Bytes;
use stackbell_model::Timestamp;

/// The kind of a ping on the wire. It is no event's kind.
pub const KIND: &str = "ping";

/// The body of a ping that is sent at `at`; its `timestamp` is the one of the ping's record, in whole seconds.
/// Receivers read `message`, whose text has been the same for years. Source: wire-facts.md#ping.
pub fn body(at: Timestamp) -> Bytes {
    let seconds = at.as_secs();
    Bytes::from(format!(r#"{{"timestamp":{seconds},"message":"🍹 Just a friendly ping from Pulumi 🍹"}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(milliseconds: i64, expected: &str) {
        assert_eq!(body(Timestamp::from_millis(milliseconds)), expected.as_bytes());
    }

    #[test]
    fn bytes_are_those_observed() {
        let of_the_first = r#"{"timestamp":1778653144,"message":"🍹 Just a friendly ping from Pulumi 🍹"}"#;
        check(1_778_653_144_000, of_the_first);
        check(1_778_653_144_999, of_the_first);
        check(
            1_778_653_205_000,
            r#"{"timestamp":1778653205,"message":"🍹 Just a friendly ping from Pulumi 🍹"}"#,
        );
    }
}
