//! JSON bodies of both APIs.
//!
//! - Pulumi's: [`webhook`], [`webhook_delivery`], [`error`], in exactly the form that its clients know
//! - our own: [`delivery`], [`event`], [`identity`], [`operation`], [`page`], [`webhook_overview`]
//! - [`body`]: reading request bodies, with errors that name the field

pub mod body;
pub mod delivery;
pub mod error;
pub mod event;
pub mod identity;
pub mod operation;
pub mod page;
pub mod webhook;
pub mod webhook_delivery;
pub mod webhook_overview;

use stackbell_model::Timestamp;
use stackbell_payload::calendar::calendar;

/// Formats a time as RFC 3339 in UTC with milliseconds, as in `2026-05-13T06:19:04.000Z`. A time outside the
/// years of RFC 3339 becomes the nearest one inside.
pub fn rfc3339(at: Timestamp) -> String {
    format!("{:.3}", calendar(at))
}

/// Parses RFC 3339, as in `2026-05-13T06:19:04Z` or with another offset, and truncates it to milliseconds.
/// `None` when the text has another form.
pub fn read_rfc3339(text: &str) -> Option<Timestamp> {
    let moment: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp::from_millis(moment.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_read(text: &str, expected: Option<i64>) {
        assert_eq!(read_rfc3339(text).map(Timestamp::as_millis), expected, "{text}");
    }

    #[test]
    fn moments_are_read() {
        check_read("2026-05-13T06:19:04Z", Some(1_778_653_144_000));
        check_read("2026-05-13T08:19:04.0709+02:00", Some(1_778_653_144_070));
        check_read("2026-05-13", None);
        check_read("tomorrow", None);
        check_read("", None);
    }

    fn check(milliseconds: i64, expected: &str) {
        assert_eq!(rfc3339(Timestamp::from_millis(milliseconds)), expected);
    }

    #[test]
    fn moments() {
        check(1_778_653_144_000, "2026-05-13T06:19:04.000Z");
        check(1_778_653_144_070, "2026-05-13T06:19:04.070Z");
        check(-1, "1969-12-31T23:59:59.999Z");
        assert!(rfc3339(Timestamp::from_millis(i64::MAX)).starts_with("9999-12-30T"));
        // The last second of the calendar has milliseconds like any other second.
        let last = "9999-12-30T22:00:00.999Z";
        assert_eq!(read_rfc3339(last).map(rfc3339).as_deref(), Some(last));
        assert!(rfc3339(Timestamp::from_millis(i64::MIN)).starts_with("-009999-01-0"));
    }
}
