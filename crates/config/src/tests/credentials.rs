//! Secrets in settings: errors do not repeat them, and white space around them is dropped.

use super::*;

#[test]
fn errors_repeat_no_credential() {
    for given in [
        ("slack_hosts", "https://hooks.slack.com/services/T/B/hunter2"),
        ("slack_hosts", "hooks.slack.com/services/T/B/hunter2"),
        ("trusted_proxy", "https://u:hunter2@proxy.example"),
        ("outbound_allow", "https://u:hunter2@proxy.example"),
        ("stop_timeout", "https://u:hunter2@proxy.example"),
        ("payload_bytes_max", "postgres://u:hunter2@h/d"),
        ("retry_schedule", "5s,sbl_hunter2"),
        ("store", "postgres://u:hunter2@h:port/d"),
        ("store", "postgres:/u:hunter2@h/d"),
        ("store", "mysql://u:hunter2@h/d"),
        ("public_url", "https://u:hunter2@s.example"),
        ("listen", "https://u:hunter2@s.example"),
        ("ops_listen", "https://u:hunter2@s.example"),
        ("log_format", "https://u:hunter2@s.example"),
        ("database_pooling", "https://u:hunter2@s.example"),
        ("bootstrap_org", "https://u:hunter2@s.example"),
        ("master_key", "sbl_hunter2"),
        ("master_key", "postgres://u:hunter2@h/d"),
    ] {
        let error = refused("", &[], &[given]);
        assert!(!error.contains("hunter2"), "{error}");
    }
    let key = "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=";
    let error = refused("", &[("STACKBELL_MASTER_KEY_FILE", key)], &[]);
    assert!(!error.contains(key) && error.contains("STACKBELL_MASTER_KEY_FILE"), "{error}");
    let error = refused("", &[("STACKBELL_STORE_FILE", "postgres://u:hunter2@h/d")], &[]);
    assert!(!error.contains("hunter2") && error.contains("STACKBELL_STORE_FILE"), "{error}");
}

#[test]
fn a_byte_order_mark_and_line_ends_are_no_part_of_settings() {
    let file = "\u{feff}# first\nlisten = '127.0.0.1:1'";
    assert_eq!(settings(file, &[], &[]).expect("valid").server.listen.port(), 1);
    let token = "t".repeat(32);
    for end in ["\n", "\r\n", "\n\n", " "] {
        let with_end = format!("{token}{end}");
        let file = file_with(&format!("\u{feff}{with_end}"));
        let path = file.path().to_str().expect("text");
        for variable in
            [("STACKBELL_BOOTSTRAP_TOKEN", with_end.as_str()), ("STACKBELL_BOOTSTRAP_TOKEN_FILE", path)]
        {
            let found = settings("", &[variable], &[]).expect("valid").bootstrap.token.expect("a token");
            assert_eq!(found.expose(), token, "{variable:?}");
        }
    }
    let key = format!("{}\n", "A".repeat(43));
    settings("", &[("STACKBELL_MASTER_KEY", &key)], &[]).expect("a key");
    let store =
        settings("", &[("STACKBELL_STORE", "sqlite:folder/s.db\n")], &[]).expect("valid").storage.store;
    assert_eq!(store.to_string(), "folder/s.db");
    let listen = settings("", &[("STACKBELL_LISTEN", "127.0.0.1:2\n")], &[]).expect("valid").server.listen;
    assert_eq!(listen.port(), 2);
}
