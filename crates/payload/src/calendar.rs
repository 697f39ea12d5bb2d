//! Converts times of our clock into dates.

use stackbell_model::Timestamp;

/// Converts a time for formatting. A time outside the calendar's years becomes the nearest one inside.
pub fn calendar(at: Timestamp) -> jiff::Timestamp {
    let (earliest, latest) = (jiff::Timestamp::MIN.as_millisecond(), jiff::Timestamp::MAX.as_millisecond());
    let milliseconds = at.as_millis().clamp(earliest, latest);
    let (seconds, rest) = (milliseconds.div_euclid(1000), milliseconds.rem_euclid(1000));
    let nanoseconds = i32::try_from(rest * 1_000_000).expect("less than a second");
    // `from_millisecond` refuses the milliseconds of the calendar's last second.
    jiff::Timestamp::new(seconds, nanoseconds).expect("clamped into range")
}
