//! The values of `--since` and `--until`: a time in RFC 3339, or how long ago.

use anyhow::Context as _;
use stackbell_model::{Clock as _, Timestamp};
use stackbell_system::{SystemClock, parse_duration};
use stackbell_wire::rest::{read_rfc3339, rfc3339};

/// A time, or how long ago it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    At(Timestamp),
    Ago(std::time::Duration),
}

/// Reads `2h` as two hours ago, or a time in RFC 3339.
///
/// # Errors
/// A text in words.
pub(crate) fn parse_since(text: &str) -> Result<Since, &'static str> {
    if let Some(at) = read_rfc3339(text) {
        return Ok(Since::At(at));
    }
    let refusal = "must be how long ago, such as 2h or 3d, or a moment such as 2026-05-13T06:19:04Z";
    parse_duration(text).map(Since::Ago).map_err(|_| refusal)
}

impl Since {
    /// The time in the form of the API.
    ///
    /// # Errors
    /// If it is before the first day of the calendar.
    pub(crate) fn rfc3339(self) -> anyhow::Result<String> {
        self.at(SystemClock.now()).map(rfc3339)
    }

    fn at(self, now: Timestamp) -> anyhow::Result<Timestamp> {
        match self {
            Self::At(at) => Ok(at),
            Self::Ago(ago) => {
                let ago = i64::try_from(ago.as_millis()).ok();
                let at = ago.and_then(|ago| now.as_millis().checked_sub(ago));
                at.map(Timestamp::from_millis).context("the time is out of range")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read() {
        let now = Timestamp::from_millis(10_000_000);
        let check = |text: &str, expected: i64| {
            let at = parse_since(text).expect(text).at(now).expect("in the calendar");
            assert_eq!(at.as_millis(), expected, "{text}");
        };
        check("2h", 10_000_000 - 7_200_000);
        check("1970-01-01T00:00:01Z", 1000);
        for bad in ["", "yesterday", "2", "2026-05-13"] {
            assert!(parse_since(bad).is_err(), "{bad}");
        }
    }
}
