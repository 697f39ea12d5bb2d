//! The binary's output and exit codes.

use std::path::Path;

use assert_cmd::Command;

/// The binary, without the settings in the caller's environment.
fn stackbell(folder: &Path) -> Command {
    let mut command = Command::cargo_bin("stackbell").expect("the binary of this package");
    command.env_clear().current_dir(folder);
    command
}

/// Runs the command; returns exit code, standard output and standard error.
fn run(command: &mut Command) -> (i32, String, String) {
    let output = command.output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("it exits"), text(output.stdout), text(output.stderr))
}

fn check(arguments: &[&str], variables: &[(&str, &str)], expected: i32, said: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = stackbell(folder.path());
    let (code, out, error) = run(command.args(arguments).envs(variables.iter().copied()));
    assert_eq!(code, expected, "{arguments:?}\n{out}\n{error}");
    assert!(format!("{out}{error}").contains(said), "{arguments:?}\n{out}\n{error}");
}

#[test]
fn help_and_version() {
    check(&["--help"], &[], 0, "Usage: stackbell");
    check(&["serve", "--help"], &[], 0, "[env: STACKBELL_PUBLIC_URL]");
    check(&["--version"], &[], 0, env!("CARGO_PKG_VERSION"));
    check(&[], &[], 2, "Usage: stackbell");
    check(&["serve", "--lisen", "x"], &[], 2, "--listen");
}

#[test]
fn config_check_shows_values_and_where_they_come_from() {
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("c.toml"), "retention_days = 7\n").expect("written");
    let mut command = stackbell(folder.path());
    command.args(["config", "check", "--config", "c.toml", "--data", "d"]).env("STACKBELL_MASTER_KEY", key);
    let (code, out, error) = run(&mut command);
    assert_eq!(code, 0, "{error}");
    let line = |name: &str| {
        let line = out.lines().find(|line| line.split_whitespace().next() == Some(name)).expect(name);
        line.split_whitespace().skip(1).collect::<Vec<_>>()
    };
    assert_eq!(line("retention_days"), ["7", "c.toml"]);
    assert_eq!(line("data"), ["d", "--data"]);
    assert_eq!(line("master_key"), ["***", "STACKBELL_MASTER_KEY"]);
    assert_eq!(line("listen"), ["127.0.0.1:8722", "default"]);
    assert_eq!(line("public_url"), ["-"]);
    assert!(!out.contains(key));
}

#[test]
fn settings_that_cannot_be_used() {
    check(&["config", "check"], &[("STACKBELL_LISTN", "x")], 2, "the nearest is STACKBELL_LISTEN");
    check(&["config", "check", "--listen", "x"], &[], 2, "listen (--listen) is not valid");
    check(
        &["config", "check", "--config", "none.toml"],
        &[],
        2,
        "cannot read the configuration file none.toml",
    );
    let plain = ["serve", "--listen", "0.0.0.0:0"];
    check(&plain, &[], 2, "allow_plain_http");
    check(&["doctor", "--listen", "x"], &[], 1, "fail  settings");
}

/// A start would fail in each of these cases, so `config check` fails too, and names the file.
#[test]
fn config_check_looks_into_the_files_of_keys() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("broken", "no key!");
    write("empty", "");
    std::fs::create_dir(folder.path().join("d")).expect("made");
    write("d/master.key", "no key!");
    let check = |flags: &[&str], variables: &[(&str, &str)], expected: &[&str]| {
        let mut command = stackbell(folder.path());
        command.args(["config", "check"]).args(flags).envs(variables.iter().copied());
        let (code, _, error) = run(&mut command);
        assert_eq!(code, 2, "{flags:?}: {error}");
        for part in expected {
            assert!(error.contains(part), "{flags:?}: {error}");
        }
    };
    check(&["--master-key-file", "broken"], &[], &["--master-key-file (broken)", "not base64"]);
    check(&["--master-key-file", "empty"], &[], &["--master-key-file (empty)", "is empty"]);
    check(&[], &[("STACKBELL_MASTER_KEY", "AAAA")], &["STACKBELL_MASTER_KEY", "must be 32 bytes"]);
    check(&["--data", "d"], &[], &["d/master.key", "not base64"]);
    check(&["--tls-cert", "broken", "--tls-key", "broken"], &[], &["broken"]);
    check(&["--tls-cert", "nowhere", "--tls-key", "nowhere"], &[], &["nowhere"]);
    check(&["--outbound-ca-file", "broken"], &[], &["outbound_ca_file", "broken"]);
    check(&["--outbound-ca-file", "nowhere"], &[], &["outbound_ca_file", "nowhere"]);
}

/// Errors print no characters that move a terminal's cursor, and repeat no credential.
#[test]
fn errors_are_fit_for_a_terminal_and_repeat_no_credential() {
    let folder = tempfile::tempdir().expect("a folder");
    for line in [
        &["org\u{1b}[2J"][..],
        &["org", "list", "--server", "https://user:hunter2@127.0.0.1:1/"],
        &["org", "list", "--server", "http://127.0.0.1:1/\u{9b}2J"],
        &["webhook", "get", "acme\u{202e}", "\u{1b}[31m"],
        &["event", "send", "acme", "\u{1b}[2Jnone.json"],
        &["restore", "\u{9b}none.db"],
        &["config", "check", "--config", "\u{9b}none.toml"],
        &["config", "check", "--slack-hosts", "https://hooks.slack.com/services/T/B/hunter2"],
        &["config", "check", "--store", "postgres://u:hunter2@h:p/d"],
        &["config", "check", "--master-key-file", "sbl_hunter2"],
        &["webhook", "new", "acme", "--url", "https://a.example", "--secret-file", "whsec_hunter2"],
    ] {
        for url in ["http://127.0.0.1:1", "https://user:hunter2@127.0.0.1:1/?token=hunter2"] {
            let mut command = stackbell(folder.path());
            command.args(line).env("STACKBELL_URL", url).env("STACKBELL_TOKEN", "sbl_hunter2");
            let (code, out, error) = run(&mut command);
            let said = format!("{out}{error}");
            assert_ne!(code, 0, "{line:?}: {said}");
            assert!(!said.contains("hunter2"), "{line:?}: {said}");
            assert!(!said.contains(['\u{1b}', '\u{9b}', '\u{202e}']), "{line:?}: {said:?}");
        }
    }
}

#[test]
fn an_empty_store_needs_bootstrap_settings() {
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    check(&serve, &[], 1, "STACKBELL_BOOTSTRAP_ORG");
    check(&[&serve[..], &["--expect-existing"]].concat(), &[], 1, "is the right volume mounted?");
    let variables = [("STACKBELL_BOOTSTRAP_ORG", "acme"), ("STACKBELL_BOOTSTRAP_TOKEN", "short")];
    let everywhere = ["serve", "--listen", "0.0.0.0:0", "--allow-plain-http"];
    check(&everywhere, &variables, 2, "at least 32 characters");
}

#[test]
fn migrate_says_from_where_to_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let migrate = || run(stackbell(folder.path()).args(["migrate", "--data", "d"]));
    let (code, out, _) = migrate();
    assert!(code == 0 && out.contains("stackbell.db: created at schema version "), "{out}");
    let (code, out, _) = migrate();
    assert!(code == 0 && out.trim_end().ends_with(" already"), "{out}");
}

#[test]
fn client_verbs_exit_by_what_went_wrong() {
    // Port 1 has no listener.
    let nobody = [("STACKBELL_URL", "http://127.0.0.1:1"), ("STACKBELL_TOKEN", "t")];
    check(&["org", "list"], &nobody, 3, "cannot reach http://127.0.0.1:1/");
    check(&["org", "list"], &[], 2, "there is no token");
    check(&["org", "list", "--token", "t"], &nobody, 2, "--token");
    check(&["event", "send", "acme", "none.json"], &nobody, 1, "cannot read none.json");
}

#[test]
fn the_openapi_document_is_json() {
    let folder = tempfile::tempdir().expect("a folder");
    let (code, out, _) = run(stackbell(folder.path()).arg("openapi"));
    assert_eq!(code, 0);
    let document: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert!(document["paths"].as_object().is_some_and(|paths| !paths.is_empty()));
}

/// The exit code of the binary with these standard output and standard error.
#[cfg(unix)]
fn code(
    arguments: &[&str],
    out: impl Into<std::process::Stdio>,
    error: impl Into<std::process::Stdio>,
) -> i32 {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_stackbell"));
    let ended = command.env_clear().args(arguments).stdout(out).stderr(error).status().expect("it runs");
    ended.code().expect("no signal ended it")
}

/// `stackbell openapi | head`, a full disk, and a standard error that is full or closed.
#[cfg(unix)]
#[test]
fn output_that_cannot_be_written_is_no_panic() {
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("a device that is full");
    let gone = || std::io::pipe().expect("a pipe").1;
    assert_eq!(code(&["openapi"], gone(), full()), 0);
    assert_eq!(code(&["openapi"], full(), full()), 1);
    assert_eq!(code(&["--help"], gone(), gone()), 0);
    assert_eq!(code(&["--help"], full(), gone()), 1);
    assert_eq!(code(&["serve", "--lisen", "x"], full(), full()), 2);
    assert_eq!(code(&["serve", "--lisen", "x"], gone(), gone()), 2);
}
