//! Numbers of bytes in a form that people write.

use stackbell_system::redacted;

/// The text is not a number of bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{}' is not a number of bytes: write a whole number, alone or with KiB, MiB, GiB or TiB, such as 256KiB",
    redacted(.0)
)]
pub(crate) struct NotASize(String);

/// Parses a whole number of bytes, alone or with a unit: `KiB`, `MiB`, `GiB` or `TiB`.
///
/// # Errors
/// [`NotASize`].
pub(crate) fn parse_bytes(text: &str) -> Result<u64, NotASize> {
    let refused = || NotASize(text.to_owned());
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(refused()),
    };
    let number: u64 = number.parse().map_err(|_| refused())?;
    number.checked_mul(1 << shift).ok_or_else(refused)
}

/// The shortest text that [`parse_bytes`] parses as `bytes`.
pub(crate) fn bytes_text(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let whole = units.into_iter().find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift);
    whole.map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<u64>) {
        assert_eq!(parse_bytes(text).ok(), expected, "{text:?}");
    }

    #[test]
    fn sizes() {
        check("0", Some(0));
        check("262144", Some(262_144));
        check("256KiB", Some(262_144));
        check("4MiB", Some(4 << 20));
        check("20GiB", Some(20 << 30));
        check("1TiB", Some(1 << 40));
        for text in ["", "KiB", "1 KiB", "1kb", "1KB", "1.5MiB", "-1", "0x10", "18446744073709551615TiB"] {
            check(text, None);
        }
    }

    #[test]
    fn shown_values_can_be_parsed() {
        for (bytes, text) in [(0, "0"), (1, "1"), (1000, "1000"), (1 << 18, "256KiB"), (20 << 30, "20GiB")] {
            assert_eq!(bytes_text(bytes), text);
            check(text, Some(bytes));
        }
    }
}
