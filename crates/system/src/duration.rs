//! Durations as people write them.

use std::time::Duration;

use crate::redacted;

/// A text that is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{}' is not a duration: write a whole number and ms, s, m, h or d, such as 20s or 90d", redacted(.0))]
pub struct NotADuration(String);

/// Reads a whole number and its unit: `ms`, `s`, `m`, `h` or `d`.
///
/// # Errors
/// [`NotADuration`].
pub fn parse_duration(text: &str) -> Result<Duration, NotADuration> {
    let refused = || NotADuration(text.to_owned());
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
    let (number, unit) = text.split_at(digits);
    let milliseconds_each: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return Err(refused()),
    };
    let number: u64 = number.parse().map_err(|_| refused())?;
    number.checked_mul(milliseconds_each).map(Duration::from_millis).ok_or_else(refused)
}

/// The shortest text that [`parse_duration`] reads as `duration`, cut to milliseconds.
pub fn duration_text(duration: Duration) -> String {
    let units = [(24 * 60 * 60 * 1000, "d"), (60 * 60 * 1000, "h"), (60 * 1000, "m"), (1000, "s")];
    let milliseconds = duration.as_millis();
    let whole = units.into_iter().find(|(each, _)| milliseconds > 0 && milliseconds.is_multiple_of(*each));
    whole.map_or_else(|| format!("{milliseconds}ms"), |(each, unit)| format!("{}{unit}", milliseconds / each))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(
            parse_duration(text).ok().map(|duration| duration.as_millis()),
            expected.map(u128::from),
            "{text:?}"
        );
    }

    #[test]
    fn durations() {
        check("250ms", Some(250));
        check("20s", Some(20_000));
        check("5m", Some(300_000));
        check("1h", Some(3_600_000));
        check("90d", Some(90 * 86_400_000));
        for text in
            ["", "20", "s", "-1s", "1.5h", "1 h", "20S", "99999999999999999999s", "999999999999999999d"]
        {
            check(text, None);
        }
    }

    #[test]
    fn shown_values_can_be_parsed() {
        for (milliseconds, text) in [(0, "0ms"), (1500, "1500ms"), (120_000, "2m"), (43_200_000, "12h")] {
            assert_eq!(duration_text(Duration::from_millis(milliseconds)), text);
            check(text, Some(milliseconds));
        }
    }
}
