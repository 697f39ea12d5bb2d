use std::collections::BTreeMap;
use std::io::Write as _;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use stackbell_store_postgres::Pooling;
use stackbell_system::SecretText;

use super::*;

mod credentials;

/// A file with this text; it is deleted on drop.
fn file_with(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    file
}

fn flags(config: Option<&Path>, given: &[(&'static str, &str)]) -> SettingFlags {
    let given: BTreeMap<_, _> = given.iter().map(|(key, text)| (*key, vec![(*text).to_owned()])).collect();
    SettingFlags { config: config.map(Path::to_owned), given }
}

fn chain(error: &ConfigError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

fn found(file: &str, variables: &[(&str, &str)], given: &[(&'static str, &str)]) -> Result<Found, String> {
    let file = file_with(file);
    let environment = variables.iter().copied().collect();
    Found::collect(&flags(Some(file.path()), given), &environment, &[])
        .map_err(|error| chain(&error).replace(&file.path().display().to_string(), "FILE"))
}

fn settings(
    file: &str,
    variables: &[(&str, &str)],
    given: &[(&'static str, &str)],
) -> Result<Settings, String> {
    found(file, variables, given)?.settings().map_err(|error| chain(&error))
}

fn refused(file: &str, variables: &[(&str, &str)], given: &[(&'static str, &str)]) -> String {
    settings(file, variables, given).expect_err("refused")
}

#[test]
fn flags_over_environment_over_file_over_defaults() {
    let listen = |file: &str, variables: &[(&str, &str)], given: &[(&'static str, &str)]| {
        settings(file, variables, given).expect("valid").server.listen.to_string()
    };
    let file = "listen = '127.0.0.1:1'";
    let variable = [("STACKBELL_LISTEN", "127.0.0.1:2")];
    let flag = [("listen", "127.0.0.1:3")];
    assert_eq!(listen("", &[], &[]), LISTEN_DEFAULT);
    assert_eq!(listen(file, &[], &[]), "127.0.0.1:1");
    assert_eq!(listen(file, &variable, &[]), "127.0.0.1:2");
    assert_eq!(listen(file, &variable, &flag), "127.0.0.1:3");
}

#[test]
fn each_setting_says_where_it_comes_from() {
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let variables = [("STACKBELL_LOG", "debug"), ("STACKBELL_MASTER_KEY", key)];
    let found = found("retention_days = 7", &variables, &[("data", "d")]).expect("valid");
    let report = found.report();
    let check = |name: &str, value: Option<&str>, source: &str| {
        let line = report.0.iter().find(|line| line.name == name).expect("a line a setting");
        assert_eq!(line.value.as_deref(), value, "{name}");
        assert!(line.source.contains(source), "{name}: {}", line.source);
        assert_eq!(line.source.is_empty(), source.is_empty(), "{name}");
    };
    check("log_level", Some("debug"), "STACKBELL_LOG");
    check("master_key", Some("***"), "STACKBELL_MASTER_KEY");
    check("retention_days", Some("7"), "/");
    check("data", Some("d"), "--data");
    check("listen", Some(LISTEN_DEFAULT), "default");
    check("public_url", None, "");
    assert!(!report.to_string().contains(key));
}

#[test]
fn names_that_there_are_not() {
    let check = |file: &str, variables: &[(&str, &str)], expected: &str| {
        assert_eq!(found(file, variables, &[]).expect_err("refused"), expected);
    };
    check("lisen = 'x'", &[], "FILE: there is no setting lisen; the nearest is listen");
    check("[server]\nlisten = 'x'", &[], "FILE: there is no setting server; the nearest is store");
    check(
        "",
        &[("STACKBELL_PUBLIC_ULR", "x")],
        "environment: there is no variable STACKBELL_PUBLIC_ULR; the nearest is STACKBELL_PUBLIC_URL",
    );
    check(
        "",
        &[("STACKBELL_LOG_LEVEL", "x")],
        "environment: there is no variable STACKBELL_LOG_LEVEL; the nearest is STACKBELL_LOG",
    );
    let others = [("STACKBELL_TOKEN", "t"), ("STACKBELL_PORT", "tcp://10.0.0.1:8722"), ("PULUMI_HOME", "x")];
    assert!(found("", &others, &[]).is_ok());
}

#[test]
fn forms_that_values_have_not() {
    let check =
        |file: &str, expected: &str| assert_eq!(found(file, &[], &[]).expect_err("refused"), expected);
    check("listen = 8722", "listen (FILE) is not valid: must be a text");
    check("expect_existing = 'yes'", "expect_existing (FILE) is not valid: must be true or false");
    check(
        "retention_days = -1",
        "retention_days (FILE) is not valid: must be a whole number from 0 to 4294967295",
    );
    check("slack_hosts = 'a'", "slack_hosts (FILE) is not valid: must be an array of texts");
}

#[test]
fn a_syntax_error_does_not_show_the_line() {
    let error = found("# first\nmaster_key = hidden", &[], &[]).expect_err("refused");
    assert!(error.starts_with("FILE, line 2: "), "{error}");
    assert!(!error.contains("hidden"), "{error}");
}

#[test]
fn values_that_settings_cannot_have() {
    let check = |given: (&'static str, &str), expected: &str| {
        let error = refused("", &[], &[given]);
        assert!(error.contains(expected), "{given:?}: {error}");
        assert!(error.starts_with(given.0) && error.contains("--"), "{error}");
    };
    check(("listen", "localhost"), "must be an IP address and a port");
    check(("store", "sqlite::memory:"), "sqlite:PATH, or postgres://");
    check(("store", "mysql:x"), "sqlite:PATH, or postgres://");
    check(("store", "postgres://db:hidden/x"), "the database URL is invalid");
    check(("store", "postgres://db/x?sslmode=prefer"), "sslmode=verify-full");
    check(("public_url", "example.com"), "must be an http or https URL");
    check(("public_url", "https://u@example.com"), "must be an http or https URL");
    check(("stop_timeout", "20"), "not a duration");
    check(("outbound_allow", "10.0.0.1/8"), "not the first of its network");
    check(("slack_hosts", "https://a.example/"), "not a host name");
    check(("slack_hosts", "a.example:443"), "not a host name");
    check(("slack_hosts", "u@a.example:8443"), "not a host name");
    check(("log_format", "xml"), "must be auto, text or json");
    check(("log_level", "stackbell=loud"), "expected one of");
    check(("retention_days", "0"), "at least 1");
    check(("bootstrap_org", "a b"), "' ' is not allowed");
    check(("ops_listen", "9090"), "must be an IP address and a port");
    check(("trusted_proxy", "proxy.example"), "is not a network");
    check(("trusted_proxy", "10.0.0.1/8"), "write 10.0.0.0/8");
    check(("exchange_timeout", "26s"), "must be from 1s to 25s");
    check(("exchange_timeout", "15"), "not a duration");
    check(("retry_schedule", "5s,soon"), "'soon' is not a duration");
    check(("retry_schedule", "3d,3d12h"), "'3d12h' is not a duration");
    check(
        ("retry_schedule", "3d,84h"),
        "the waits add up to 156h (jitter adds up to 10 %), but deliveries expire after 7d: remove or shorten some waits",
    );
    check(("in_flight_max", "7"), "must be from 8 to 60000");
    check(("payload_bytes_max", "256kb"), "is not a number of bytes");
    check(("payload_bytes_max", "9MiB"), "must be from 1KiB to 8MiB");
    check(("request_bytes_max", "1GiB"), "must be from 1KiB to 64MiB");
    check(("events_in_request_max", "0"), "must be from 1 to 10000");
    check(("webhooks_in_scope_max", "10001"), "must be from 1 to 10000");
    check(("pending_deliveries_max", "0"), "must be from 1 to 4294967295");
    check(("stored_bytes_max", "1"), "must be from 1MiB");
    check(("requests_per_second", "1000001"), "must be from 0 to 1000000");
    check(("master_key_command", "'"), "every quote is closed");
    assert!(!refused("", &[("STACKBELL_MASTER_KEY", "hidden!")], &[]).contains("hidden"));
}

#[test]
fn lists_in_each_layer() {
    let count = |file: &str, variables: &[(&str, &str)]| {
        settings(file, variables, &[]).expect("valid").outbound.allowances.len()
    };
    assert_eq!(count("", &[]), 0);
    assert_eq!(count("outbound_allow = ['10.0.0.0/8', '::1']", &[]), 2);
    assert_eq!(count("", &[("STACKBELL_OUTBOUND_ALLOW", "10.0.0.0/8, 192.168.0.0/16:443@acme,::1")]), 3);
    let flag = settings("", &[], &[("outbound_allow", "10.0.0.0/8,::1")]).expect("valid");
    assert_eq!(flag.outbound.allowances.len(), 2);
}

#[test]
fn limits() {
    let limits = settings("", &[], &[]).expect("valid").limits;
    assert_eq!((limits.payload_bytes_max, limits.request_bytes_max), (256 << 10, 4 << 20));
    assert_eq!((limits.quota.pending_max, limits.quota.stored_bytes_max), (1_000_000, 20 << 30));
    assert_eq!(limits.requests_per_second.map(NonZeroU32::get), Some(1000));
    let file = "payload_bytes_max = 1024\nrequest_bytes_max = '2KiB'\nrequests_per_second = 0";
    let limits = settings(file, &[("STACKBELL_STORED_BYTES_MAX", "2GiB")], &[]).expect("valid").limits;
    assert_eq!((limits.payload_bytes_max, limits.request_bytes_max), (1024, 2048));
    assert_eq!((limits.quota.stored_bytes_max, limits.requests_per_second), (2 << 30, None));
    let error = refused("request_bytes_max = '128KiB'", &[], &[]);
    assert!(error.contains("request_bytes_max (128KiB) is less than payload_bytes_max (256KiB)"), "{error}");
    let error = refused("payload_bytes_max = true", &[], &[]);
    assert!(error.contains("must be a whole number, or a text such as"), "{error}");
}

#[test]
fn the_retry_schedule() {
    let waits = |file: &str| settings(file, &[], &[]).expect("valid").delivery.retry_waits;
    assert_eq!(waits(""), stackbell_model::retry::RetryPolicy::default().waits);
    assert_eq!(waits("retry_schedule = ['1s', '2m']"), [Duration::from_secs(1), Duration::from_secs(120)]);
    assert!(waits("retry_schedule = []").is_empty());
    let many = vec!["1s"; 201].join(",");
    assert!(refused("", &[("STACKBELL_RETRY_SCHEDULE", &many)], &[]).contains("at most 200 waits"));
}

#[test]
fn where_the_master_key_comes_from() {
    const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let master =
        |file: &str, variables: &[(&str, &str)]| settings(file, variables, &[]).expect("valid").keys.master;
    assert!(matches!(master("", &[]), MasterKeySetting::DataFolder));
    let by_value = master("", &[("STACKBELL_MASTER_KEY", KEY)]);
    assert!(matches!(by_value, MasterKeySetting::Given(given) if given.origin == "STACKBELL_MASTER_KEY"));
    let key = file_with(KEY);
    let path = key.path().display().to_string();
    let in_file = format!("master_key_file = '{path}'");
    match master(&in_file, &[]) {
        MasterKeySetting::File { key: given, path: found } => {
            assert_eq!(found, key.path());
            assert!(
                given.origin.contains("master_key_file") && given.origin.contains(&path),
                "{}",
                given.origin
            );
        }
        other => panic!("{other:?}"),
    }
    // The origin is not the file if a source with a higher priority has a value.
    let above = master(&in_file, &[("STACKBELL_MASTER_KEY", KEY)]);
    assert!(matches!(above, MasterKeySetting::Given(_)), "{above:?}");
    let command = master("master_key_command = 'pass show stackbell'", &[]);
    assert!(matches!(&command, MasterKeySetting::Command(command) if command.program() == "pass"));
    let both = [("STACKBELL_MASTER_KEY", KEY), ("STACKBELL_MASTER_KEY_COMMAND", "pass")];
    assert!(refused("", &both, &[]).contains("both master_key and master_key_command"));
    let previous = settings("", &[("STACKBELL_PREVIOUS_MASTER_KEY", KEY)], &[]).expect("valid").keys.previous;
    assert_eq!(previous.map(|given| given.origin).as_deref(), Some("STACKBELL_PREVIOUS_MASTER_KEY"));
}

#[test]
fn secrets_from_files() {
    let token = file_with("a token without a space?\n");
    let path = token.path().display().to_string();
    let error = refused("", &[("STACKBELL_BOOTSTRAP_TOKEN_FILE", &path)], &[]);
    let expected = format!(
        "bootstrap_token (STACKBELL_BOOTSTRAP_TOKEN_FILE ({path})) is not valid: must consist of visible ASCII \
         characters, because it is sent in a header"
    );
    assert_eq!(error, expected);
    let token = file_with(" 0123456789abcdef0123456789abcdef \n");
    let path = token.path().display().to_string();
    let check = |file: &str, variables: &[(&str, &str)], given: &[(&'static str, &str)]| {
        let bootstrap = settings(file, variables, given).expect("valid").bootstrap;
        assert_eq!(
            bootstrap.token.as_ref().map(SecretText::expose),
            Some("0123456789abcdef0123456789abcdef")
        );
        assert!(!format!("{bootstrap:?}").contains("0123456789abcdef0123456789abcdef"));
    };
    check("", &[("STACKBELL_BOOTSTRAP_TOKEN_FILE", &path)], &[]);
    check(&format!("bootstrap_token_file = '{path}'"), &[], &[]);
    check("", &[], &[("bootstrap_token", &path)]);
    check("bootstrap_token = '0123456789abcdef0123456789abcdef'", &[], &[]);

    let both = [("STACKBELL_BOOTSTRAP_TOKEN", "x"), ("STACKBELL_BOOTSTRAP_TOKEN_FILE", path.as_str())];
    let error = refused("", &both, &[]);
    assert!(error.contains("both STACKBELL_BOOTSTRAP_TOKEN and STACKBELL_BOOTSTRAP_TOKEN_FILE"), "{error}");
    let error = refused(&format!("bootstrap_token = 'x'\nbootstrap_token_file = '{path}'"), &[], &[]);
    assert!(error.contains("both bootstrap_token and bootstrap_token_file"), "{error}");
    let error = refused("", &[("STACKBELL_MASTER_KEY_FILE", "/nowhere/at/all")], &[]);
    assert!(error.starts_with("STACKBELL_MASTER_KEY_FILE: cannot read /nowhere/at/all"), "{error}");
}

#[test]
fn a_bootstrap_token_has_32_characters_wherever_it_comes_from_and_whoever_reaches_the_server() {
    let short = "0123456789abcdef0123456789abcde";
    let token = file_with(&format!("{short}\n"));
    let path = token.path().display().to_string();
    let check = |file: &str, variables: &[(&str, &str)], given: &[(&'static str, &str)]| {
        let error = refused(file, variables, given);
        assert!(error.contains("bootstrap_token") && error.contains("at least 32 characters"), "{error}");
        assert!(!error.contains(short), "{error}");
    };
    check("", &[("STACKBELL_BOOTSTRAP_TOKEN", short)], &[("listen", "127.0.0.1:1")]);
    check("", &[("STACKBELL_BOOTSTRAP_TOKEN", "x")], &[("listen", "[::1]:1")]);
    check("", &[("STACKBELL_BOOTSTRAP_TOKEN_FILE", &path)], &[]);
    check(&format!("bootstrap_token = '{short}'"), &[], &[]);
    check(&format!("bootstrap_token_file = '{path}'"), &[], &[]);
    check("", &[], &[("bootstrap_token", &path)]);
}

#[test]
fn addresses_that_others_reach_need_tls() {
    let everywhere = ("listen", "0.0.0.0:8722");
    assert!(refused("", &[], &[everywhere]).contains("allow_plain_http"));
    assert!(refused("", &[], &[everywhere, ("public_url", "http://a.example")]).contains("in the clear"));
    assert!(settings("", &[], &[everywhere, ("public_url", "https://a.example")]).is_ok());
    assert!(settings("", &[], &[everywhere, ("allow_plain_http", "true")]).is_ok());
    assert!(settings("", &[], &[("listen", "[::1]:8722")]).is_ok());
    let tls = [everywhere, ("tls_cert", "c.pem"), ("tls_key", "k.pem")];
    let found = settings("", &[], &tls).expect("valid").server.tls;
    let expected = TlsFiles { certificate: "c.pem".into(), key: "k.pem".into() };
    assert_eq!(found, Some(expected));
    assert!(refused("", &[], &tls[..2]).contains("tls_cert is set and tls_key is not"));
    assert!(refused("", &[], &[everywhere, tls[2]]).contains("tls_key is set and tls_cert is not"));
    let plain = ("public_url", "http://a.example");
    assert!(refused("", &[], &[tls[1], tls[2], plain]).contains("write it with https"));
    assert!(settings("", &[], &[tls[1], tls[2], plain, ("allow_plain_http", "true")]).is_ok());
}

#[test]
fn operations_have_an_address_of_their_own_or_none() {
    let ops = |listen: &str, ops: &str| settings("", &[], &[("listen", listen), ("ops_listen", ops)]);
    let address = |text: &str| text.parse().ok();
    assert_eq!(settings("", &[], &[]).expect("valid").server.ops_listen, None);
    let found = ops("127.0.0.1:8722", "127.0.0.1:9722").expect("valid").server.ops_listen;
    assert_eq!(found, address("127.0.0.1:9722"));
    assert!(ops("127.0.0.1:0", "127.0.0.1:0").is_ok());
    let error = ops("127.0.0.1:8722", "127.0.0.1:8722").expect_err("refused");
    assert!(error.contains("choose another port for ops_listen"), "{error}");
    // The operations address gets no tokens, so it needs no protection.
    assert!(ops("127.0.0.1:8722", "0.0.0.0:9722").is_ok());
}

#[test]
fn the_store_is_in_the_data_folder_unless_it_is_elsewhere() {
    let check = |given: &[(&'static str, &str)], path: &str, folder: &str| {
        let store = settings("", &[], given).expect("valid").storage.store;
        let StoreSettings::Embedded(embedded) = store else { panic!("{store:?}") };
        assert_eq!((&*embedded.file, embedded.folder()), (Path::new(path), Path::new(folder)));
    };
    check(&[], "stackbell-data/stackbell.db", "stackbell-data");
    check(&[("data", "/d")], "/d/stackbell.db", "/d");
    check(&[("store", "sqlite:/s.db")], "/s.db", "/");
    check(&[("store", "sqlite:s.db")], "s.db", ".");
}

/// A database URL with two passwords, in the user part and in the query.
const DATABASE: &str = "postgres://bell:hidden@db.example/bell?password=hidden";

#[test]
fn a_store_on_postgresql() {
    let database = |file: &str, variables: &[(&str, &str)]| {
        let store = settings(file, variables, &[]).expect("valid").storage.store;
        assert_eq!(store.to_string(), "postgres://db.example:5432/bell");
        assert!(!format!("{store:?}").contains("hidden"), "{store:?}");
        let StoreSettings::Postgres(database) = store else { panic!("{store:?}") };
        (database.connections_max, database.pooling, database.ca_file)
    };
    let in_variable = [("STACKBELL_STORE", DATABASE)];
    assert_eq!(database("", &in_variable), (16, Pooling::Session, None));
    let file = "database_connections = 4\ndatabase_pooling = 'transaction'\ndatabase_ca_file = 'ca.pem'";
    assert_eq!(database(file, &in_variable), (4, Pooling::Transaction, Some("ca.pem".into())));
    let secret = file_with(&format!("{DATABASE}\n"));
    let path = secret.path().display().to_string();
    database("", &[("STACKBELL_STORE_FILE", &path)]);
    database(&format!("store_file = '{path}'"), &[]);
    database(&format!("store = '{DATABASE}'"), &[]);
    let both = [("STACKBELL_STORE", DATABASE), ("STACKBELL_STORE_FILE", &path)];
    assert!(refused("", &both, &[]).contains("both STACKBELL_STORE and STACKBELL_STORE_FILE"));
    let check = |file: &str, expected: &str| {
        let error = refused(file, &in_variable, &[]);
        assert!(error.contains(expected), "{error}");
    };
    check("database_connections = 3", "must be from 4 to 1000");
    check("database_pooling = 'statement'", "must be session or transaction");
}

#[test]
fn settings_of_databases_are_of_no_use_without_one() {
    for (key, value) in
        [("database_connections", "16"), ("database_pooling", "session"), ("database_ca_file", "f")]
    {
        let error = refused("", &[], &[(key, value)]);
        assert!(
            error.starts_with(&format!("{key} (--{}) is for a store on", key.replace('_', "-"))),
            "{error}"
        );
        settings("", &[("STACKBELL_STORE", DATABASE)], &[(key, value)]).expect("valid");
    }
}

#[test]
fn nodes_are_given_their_master_key() {
    let serving = |variables: &[(&str, &str)]| {
        found("", variables, &[])?.serving().map(drop).map_err(|error| chain(&error))
    };
    assert_eq!(serving(&[]), Ok(()));
    let error = serving(&[("STACKBELL_STORE", DATABASE)]).expect_err("refused");
    for expected in ["STACKBELL_MASTER_KEY", "master_key_file", "--master-key-command"] {
        assert!(error.contains(expected), "{error}");
    }
    assert_eq!(serving(&[("STACKBELL_STORE", DATABASE), ("STACKBELL_MASTER_KEY_COMMAND", "pass")]), Ok(()));
}

#[test]
fn no_password_of_a_database_is_shown() {
    let check = |store: &str, shown: &str| {
        for report in [
            found("", &[("STACKBELL_STORE", store)], &[]),
            found("", &[], &[("store", store)]),
            found(&format!("store = '{store}'"), &[], &[]),
        ] {
            let report = report.expect("a form that it may have").report();
            let line = report.0.iter().find(|line| line.name == "store").expect("a line a setting");
            assert_eq!(line.value.as_deref(), Some(shown));
            assert!(!report.to_string().contains("hidden"), "{report}");
        }
        let refusal = settings("", &[], &[("store", store)]).err().unwrap_or_default();
        assert!(!refusal.contains("hidden"), "{refusal}");
    };
    check(DATABASE, "postgres://db.example:5432/bell");
    check("postgres://bell:hid@den:hidden@db.example:x/bell", "***");
    check("postgresql:bell:hidden", "***");
    check("mysql://bell:hidden@db.example/bell", "***");
    check("hidden", "***");
}

/// The shipped sample has every setting, commented out, with a valid value.
#[test]
fn the_shipped_sample_is_valid_and_whole() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/stackbell.sample.toml");
    let sample = std::fs::read_to_string(path).expect("the sample");
    assert!(settings(&sample, &[], &[]).is_ok());
    let is_setting = |line: &&str| line.starts_with("# ") && line.contains(" = ");
    let set: Vec<&str> = sample.lines().filter(is_setting).map(|line| &line[2..]).collect();
    let names: Vec<&str> = set.iter().filter_map(|line| line.split(" = ").next()).collect();
    let expected: Vec<String> = definitions::SETTINGS.iter().map(in_sample).collect();
    assert_eq!(names, expected);
    // The key files of the sample do not exist, and a server has one store.
    let values: Vec<&str> =
        set.into_iter().filter(|line| !line.contains("_key_file") && !line.contains("token_file")).collect();
    let (of_databases, others): (Vec<&str>, Vec<&str>) =
        values.iter().partition(|line| line.starts_with("database_"));
    settings(&others.join("\n"), &[], &[]).expect("each value is valid");
    settings(&of_databases.join("\n"), &[("STACKBELL_STORE", DATABASE)], &[]).expect("each value is valid");
}

/// The key of a setting in the sample. A secret appears as the setting of its file.
fn in_sample(setting: &Setting) -> String {
    let file_name = setting.file_name().filter(|_| setting.kind == definitions::Kind::Secret);
    file_name.unwrap_or_else(|| setting.name.to_owned())
}
