//! Properties of the settings' parsers that hold for any input. `stackbell_model::properties` names their users.

use std::path::Path;

use stackbell_store_postgres::{DatabaseUrl, OpenError};
use stackbell_system::{duration_text, parse_duration};

use super::size::{bytes_text, parse_bytes};
use super::{Found, layer};

/// Checks the text of a configuration file. An accepted file can be reported, and neither a report nor an error shows a key, a
/// token or a password.
pub fn file(text: &str) {
    if names_a_file(text) {
        return;
    }
    let Ok(file) = layer::toml(Path::new("settings.toml"), text) else { return };
    let mut values = layer::defaults(&[]).expect("the defaults have the right form");
    values.extend(file);
    let found = Found { values };
    let report = found.report();
    assert_eq!(report.0.len(), super::SETTINGS.len(), "every setting is reported");
    let hidden = |name: &str| {
        let line = report.0.iter().find(|line| line.name == name).expect("every setting is reported");
        assert!(line.value.as_deref().is_none_or(|value| value == "***"), "{name} shows");
    };
    ["master_key", "previous_master_key", "bootstrap_token"].into_iter().for_each(hidden);
    if let Ok(settings) = found.settings() {
        assert!(settings.limits.request_bytes_max >= settings.limits.payload_bytes_max);
        assert!(settings.delivery.exchange_time.as_secs() <= 25);
        assert!(found.settings().is_ok(), "the same settings are read the same");
    }
}

/// Whether the text names files. A fuzzer must not open files of this machine.
fn names_a_file(text: &str) -> bool {
    let Ok(table) = toml::from_str::<toml::Table>(text) else { return false };
    table.keys().any(|name| name.ends_with("_file"))
}

/// Checks the text of a setting. A formatted duration or size parses as the same value, and the label of a database's URL
/// contains no password.
pub fn value(text: &str) {
    if let Ok(duration) = parse_duration(text) {
        assert_eq!(parse_duration(&duration_text(duration)), Ok(duration));
    }
    if let Ok(bytes) = parse_bytes(text) {
        assert_eq!(parse_bytes(&bytes_text(bytes)), Ok(bytes));
    }
    match text.parse::<DatabaseUrl>() {
        Ok(url) => {
            let label = url.label();
            if let Some(other) = with_another_password(text).and_then(|text| text.parse::<DatabaseUrl>().ok())
            {
                assert_eq!(other.label(), label, "the password shows");
            }
            assert_eq!(format!("{url:?}"), format!("DatabaseUrl({label})"));
        }
        Err(OpenError::Url(problem)) => {
            assert!(problem.len() < 100, "the same words for any text: {problem}");
        }
        Err(other) => panic!("a text is no more than a text: {other}"),
    }
}

fn with_another_password(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (credentials, place) = rest.split_once('@')?;
    let (user, _) = credentials.split_once(':')?;
    // No credential can follow a question mark, because a password must escape that character.
    if credentials.contains('?') {
        return None;
    }
    Some(format!("{scheme}://{user}:other@{place}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stackbell_model::properties::corpus_texts;

    use super::*;

    #[test]
    fn hold_for_the_corpus() {
        corpus_texts("config").iter().for_each(|text| file(text));
        corpus_texts("value").iter().for_each(|text| value(text));
    }

    proptest! {
        #[test]
        fn hold_for_files(
            key in 0..crate::SETTINGS.len(),
            text in "\"[ !#-\\[\\]-~]{0,20}\"|[0-9]{1,12}|true|false|\\[(\"[a-z0-9./:]{0,12}\",?){0,3}\\]|[ -~\n]{0,12}",
            more in "[a-z_]{1,12} = [0-9]{1,3}\n|",
        ) {
            file(&format!("{more}{} = {text}\n", crate::SETTINGS[key].name));
        }

        #[test]
        fn hold_for_values(
            text in "[0-9]{1,21}(ms|s|m|h|d|KiB|MiB|GiB|TiB)?|\
                postgres(ql)?://([a-z%0-9]{0,6}(:[a-z%0-9]{0,8})?@)?[a-z0-9.,:%\\[\\]]{0,16}(/[a-z?=&%]{0,12})?(\\?[a-z=&%_-]{0,20})?|.{0,40}",
        ) {
            value(&text);
        }
    }
}
