use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use super::*;

/// A file with this text; gone when dropped.
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
    check("retention_days = -1", "retention_days (FILE) is not valid: must be a whole number");
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
    check(("store", "postgres://u:hidden@db/x"), "not supported by this version");
    check(("store", "sqlite::memory:"), "sqlite:PATH");
    check(("store", "mysql:x"), "sqlite:PATH");
    check(("public_url", "example.com"), "must be an http or https URL");
    check(("public_url", "https://u@example.com"), "must be an http or https URL");
    check(("stop_timeout", "20"), "not a duration");
    check(("outbound_allow", "10.0.0.1/8"), "not the first of its network");
    check(("slack_hosts", "https://a.example/"), "not a host name");
    check(("log_format", "xml"), "must be auto, text or json");
    check(("log_level", "stackbell=loud"), "expected one of");
    check(("retention_days", "0"), "at least 1");
    check(("bootstrap_org", "a b"), "' ' is not allowed");
    assert!(!refused("", &[("STACKBELL_MASTER_KEY", "hidden!")], &[]).contains("hidden"));
    assert!(!refused("", &[], &[("store", "postgres://u:hidden@db/x")]).contains("hidden"));
}

#[test]
fn lists_in_each_layer() {
    let count = |file: &str, variables: &[(&str, &str)]| {
        settings(file, variables, &[]).expect("valid").outbound.allowances.len()
    };
    assert_eq!(count("", &[]), 0);
    assert_eq!(count("outbound_allow = ['10.0.0.0/8', '::1']", &[]), 2);
    assert_eq!(count("", &[("STACKBELL_OUTBOUND_ALLOW", "10.0.0.0/8, 192.168.0.0/16:443@acme,::1")]), 3);
}

#[test]
fn secrets_from_files() {
    let token = file_with("a token without a space?\n");
    let path = token.path().display().to_string();
    let error = refused("", &[("STACKBELL_BOOTSTRAP_TOKEN_FILE", &path)], &[]);
    assert_eq!(
        error,
        "bootstrap_token (STACKBELL_BOOTSTRAP_TOKEN_FILE) is not valid: must consist of visible ASCII characters, for it goes into a header"
    );
    let token = file_with(" t0ken \n");
    let path = token.path().display().to_string();
    let check = |file: &str, variables: &[(&str, &str)], given: &[(&'static str, &str)]| {
        let bootstrap = settings(file, variables, given).expect("valid").bootstrap;
        assert_eq!(bootstrap.token.as_ref().map(SecretText::expose), Some("t0ken"));
        assert!(!format!("{bootstrap:?}").contains("t0ken"));
    };
    check("", &[("STACKBELL_BOOTSTRAP_TOKEN_FILE", &path)], &[]);
    check(&format!("bootstrap_token_file = '{path}'"), &[], &[]);
    check("", &[], &[("bootstrap_token", &path)]);
    check("bootstrap_token = 't0ken'", &[], &[]);

    let both = [("STACKBELL_BOOTSTRAP_TOKEN", "x"), ("STACKBELL_BOOTSTRAP_TOKEN_FILE", path.as_str())];
    let error = refused("", &both, &[]);
    assert!(error.contains("both STACKBELL_BOOTSTRAP_TOKEN and STACKBELL_BOOTSTRAP_TOKEN_FILE"), "{error}");
    let error = refused(&format!("bootstrap_token = 'x'\nbootstrap_token_file = '{path}'"), &[], &[]);
    assert!(error.contains("both bootstrap_token and bootstrap_token_file"), "{error}");
    let error = refused("", &[("STACKBELL_MASTER_KEY_FILE", "/nowhere/at/all")], &[]);
    assert!(error.starts_with("STACKBELL_MASTER_KEY_FILE: cannot read /nowhere/at/all"), "{error}");
}

#[test]
fn addresses_that_others_reach_need_tls() {
    let everywhere = ("listen", "0.0.0.0:8722");
    assert!(refused("", &[], &[everywhere]).contains("allow_plain_http"));
    assert!(refused("", &[], &[everywhere, ("public_url", "http://a.example")]).contains("in the clear"));
    assert!(settings("", &[], &[everywhere, ("public_url", "https://a.example")]).is_ok());
    assert!(settings("", &[], &[everywhere, ("allow_plain_http", "true")]).is_ok());
    assert!(settings("", &[], &[("listen", "[::1]:8722")]).is_ok());
}

#[test]
fn the_store_is_in_the_data_folder_unless_it_is_elsewhere() {
    let file = |given: &[(&'static str, &str)]| settings("", &[], given).expect("valid").storage.file;
    assert_eq!(file(&[]), Path::new("stackbell-data/stackbell.db"));
    assert_eq!(file(&[("data", "/d")]), Path::new("/d/stackbell.db"));
    assert_eq!(file(&[("store", "sqlite:/s.db")]), Path::new("/s.db"));
}

/// The sample that is shipped has every setting, commented out, with a value that is valid.
#[test]
fn the_shipped_sample_is_valid_and_whole() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/stackbell.sample.toml");
    let sample = std::fs::read_to_string(path).expect("the sample");
    assert!(settings(&sample, &[], &[]).is_ok());
    let is_setting = |line: &&str| line.starts_with("# ") && line.contains(" = ");
    let set: Vec<&str> = sample.lines().filter(is_setting).map(|line| &line[2..]).collect();
    let names: Vec<&str> = set.iter().filter_map(|line| line.split(" = ").next()).collect();
    let expected: Vec<String> =
        keys::KEYS.iter().map(|key| key.file_name().unwrap_or_else(|| key.name.to_owned())).collect();
    assert_eq!(names, expected);
    // The files that it names are not there.
    let values: Vec<&str> =
        set.into_iter().filter(|line| !line.contains("_key_file") && !line.contains("token_file")).collect();
    settings(&values.join("\n"), &[], &[]).expect("each value is valid");
}
