//! The shipped systemd unit: systemd accepts it, its command line is valid, and the server reports its readiness correctly.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use stackbell_testkit::terminate;

use crate::support::setup;

/// The exposure that `systemd-analyze security` reports, times ten; 100 is a service without any protection.
const EXPOSURE_MAX: &str = "15";

fn packaged(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "..", "packaging", name].iter().collect()
}

fn unit() -> String {
    std::fs::read_to_string(packaged("stackbell.service")).expect("the unit")
}

/// The values of a key in the unit, in order.
fn values<'a>(unit: &'a str, key: &'a str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// Runs a program of systemd.
#[track_caller]
fn systemd(program: &str, arguments: &[&str], file: &Path) -> String {
    let output = match Command::new(program).args(arguments).arg(file).output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            panic!("this test asks {program} (Debian: systemd), which is not there")
        }
        Err(error) => panic!("{program}: {error}"),
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn systemd_accepts_the_unit_and_finds_it_well_protected() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("stackbell.service");
    // The program's path is replaced, because systemd checks that the program exists.
    let installed = unit().replace("/usr/bin/stackbell", env!("CARGO_BIN_EXE_stackbell"));
    std::fs::write(&file, installed).expect("written");
    let said = systemd("systemd-analyze", &["verify"], &file);
    assert!(said.is_empty(), "{said}");
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    systemd("systemd-analyze", &["security", "--offline=true", &threshold], &file);
}

#[test]
fn systemd_makes_the_units_user() {
    let unit = unit();
    let file = packaged("stackbell.sysusers.conf").canonicalize().expect("there");
    let said = systemd("systemd-sysusers", &["--dry-run"], &file);
    let user = values(&unit, "User")[0];
    assert!(said.contains(&format!("'{user}'")) || said.is_empty(), "{said}");
    let text = std::fs::read_to_string(&file).expect("read");
    assert!(text.lines().any(|line| line.starts_with(&format!("u {user} "))), "{text}");
}

/// The test uses the shipped settings and the credentials that the unit loads.
#[test]
fn the_units_command_line_and_settings_can_be_used() {
    let (unit, credentials) = (unit(), tempfile::tempdir().expect("a folder"));
    for credential in values(&unit, "LoadCredential") {
        let (name, _) = credential.split_once(':').expect("a name and a file");
        std::fs::write(credentials.path().join(name), "A".repeat(43)).expect("written");
    }
    let lines = values(&unit, "ExecStart");
    let mut words = lines[0].split(' ');
    assert_eq!((lines.len(), words.next(), words.next()), (1, Some("/usr/bin/stackbell"), Some("serve")));
    let settings = packaged("stackbell.toml");
    let mut command = Command::new(env!("CARGO_BIN_EXE_stackbell"));
    command.env_clear().args(["config", "check"]);
    command.args(
        words.map(|word| word.replace("/etc/stackbell/stackbell.toml", settings.to_str().expect("UTF-8"))),
    );
    for variable in values(&unit, "Environment") {
        let (name, value) = variable.split_once('=').expect("a variable");
        command.env(name, value.replace("%d", credentials.path().to_str().expect("UTF-8")));
    }
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for expected in
        ["STACKBELL_MASTER_KEY_FILE", "STACKBELL_BOOTSTRAP_TOKEN_FILE", "/var/lib/stackbell", "acme"]
    {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

#[tokio::test]
async fn the_service_manager_hears_when_we_are_ready_and_when_we_stop() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("bound");
    socket.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let next = || {
        let mut buffer = [0; 256];
        let length = socket.recv(&mut buffer).expect("told");
        String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned()
    };
    let mut child =
        setup().command(&folder.path().join("data")).env("NOTIFY_SOCKET", &path).spawn().expect("it starts");
    assert_eq!(next(), "READY=1");
    terminate(&child);
    assert_eq!(next(), "STOPPING=1");
    assert!(child.wait().await.expect("it ends").success());
}
