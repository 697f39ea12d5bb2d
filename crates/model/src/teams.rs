//! Errors that Microsoft Teams reports in the body of a 2xx. Source: wire-facts.md#microsoft-teams.

use std::fmt;

/// The text before the status that Teams returned to its own connector.
const RETURNED: &str = "endpoint returned http error";

/// The text that begins every failure of a connector.
const FAILED: &str = "webhook message delivery failed with error";

/// A message that Teams rejected, according to the body of a connector's response.
///
/// `Display` gives the reason for users, and whether the message is retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TeamsError {
    /// The status that Teams returned; `None` where the body contains none.
    pub status: Option<u16>,
}

impl TeamsError {
    /// Searches a body for an error; `None` if Teams accepted the message.
    pub fn find(body: &str) -> Option<Self> {
        let body = body.to_ascii_lowercase();
        let returned = body.split(RETURNED).skip(1).map(leading_status);
        match returned.reduce(Option::or) {
            Some(status) => Some(Self { status }),
            None => body.contains(FAILED).then_some(Self { status: None }),
        }
    }

    /// Returns the reason in an error body, for users. An error of an unknown form is still an error.
    pub fn reason_in(body: &str) -> Box<str> {
        Self::find(body).unwrap_or(Self { status: None }).to_string().into()
    }

    /// Whether a retry would be rejected too: 4xx except 429.
    pub const fn is_for_good(self) -> bool {
        matches!(self.status, Some(400..=428 | 430..=499))
    }
}

impl fmt::Display for TeamsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Microsoft Teams did not take the message: behind this answer is ")?;
        match self.status {
            Some(status) => write!(f, "HTTP error {status}")?,
            None => f.write_str("an error")?,
        }
        if self.is_for_good() {
            f.write_str("; it is lost, as no retry helps")?;
        }
        Ok(())
    }
}

/// Parses the three digits at the start of `text`.
fn leading_status(text: &str) -> Option<u16> {
    let text = text.trim_start_matches([' ', ':', '(', '\t']);
    let digits = text.get(..3)?;
    let is_whole = !text[3..].starts_with(|c: char| c.is_ascii_digit());
    if is_whole && digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: Option<Option<u16>>) {
        assert_eq!(TeamsError::find(body).map(|error| error.status), expected, "{body}");
    }

    #[test]
    fn errors_are_found_in_the_words_of_teams() {
        let with = |status: &str| {
            format!(
                "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error {status} with \
                 ContextId tcid=622,server=DB5,cv=Asz.1.0.."
            )
        };
        for status in [400, 403, 404, 410, 413, 429, 500, 503] {
            check(&with(&status.to_string()), Some(Some(status)));
        }
        check("MICROSOFT TEAMS ENDPOINT RETURNED HTTP ERROR 502", Some(Some(502)));
        check("{\"error\":\"endpoint returned HTTP error: 413\"}", Some(Some(413)));
        check("endpoint returned HTTP error", Some(None));
        check("endpoint returned HTTP error 4130", Some(None));
        check("endpoint returned HTTP error 41é", Some(None));
        check("endpoint returned HTTP error x, endpoint returned HTTP error 500", Some(Some(500)));
        check(
            "Webhook message delivery failed with error: Error contacting Microsoft Teams endpoint",
            Some(None),
        );
        for taken in ["", "1", "ok", "HTTP error 413"] {
            check(taken, None);
        }
    }

    #[test]
    fn refusals_for_good_are_told_apart() {
        let check = |status: Option<u16>, is_for_good: bool, text: &str| {
            let error = TeamsError { status };
            assert_eq!(error.is_for_good(), is_for_good, "{status:?}");
            assert!(error.to_string().contains(text), "{error}");
            assert_eq!(error.to_string().contains("no retry helps"), is_for_good, "{error}");
        };
        check(Some(413), true, "HTTP error 413");
        check(Some(400), true, "HTTP error 400");
        check(Some(499), true, "HTTP error 499");
        check(Some(429), false, "HTTP error 429");
        check(Some(500), false, "HTTP error 500");
        check(Some(302), false, "HTTP error 302");
        check(None, false, "an error");
    }
}
