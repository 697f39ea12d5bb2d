//! A database with TLS and a self-signed certificate.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use stackbell_testkit::{Postgres, PostgresSettings};

use crate::support::{OTHER_KEY, command, ended, setup, stop};

/// The files of a certificate for loopback and its key, readable by the database's server.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        // The certificate is like one of `openssl req -x509`: self-signed, and marked as an authority.
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        let files = Self { folder: tempfile::tempdir().expect("a folder") };
        let allow = |path: &Path, mode: u32| {
            std::fs::set_permissions(path, Permissions::from_mode(mode)).expect("ours");
        };
        allow(files.folder.path(), 0o755);
        std::fs::write(files.certificate(), certificate.pem()).expect("written");
        std::fs::write(files.key(), key.serialize_pem()).expect("written");
        allow(&files.certificate(), 0o644);
        // PostgreSQL accepts a key that it owns, or one owned by root that its group may read.
        match group_of_server() {
            None => allow(&files.key(), 0o600),
            Some(group) => {
                chown(files.key(), None, Some(group)).expect("we are root");
                allow(&files.key(), 0o640);
            }
        }
        files
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.crt")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The group of the database's server; `None` if the server runs as the user of the tests.
fn group_of_server() -> Option<u32> {
    let id = |arguments: &[&str]| -> u32 {
        let output = Command::new("id").args(arguments).output().expect("it runs");
        String::from_utf8(output.stdout).expect("text").trim().parse().expect("a number")
    };
    (id(&["-u"]) == 0).then(|| id(&["-g", "postgres"]))
}

#[tokio::test]
async fn the_servers_certificate_is_checked() {
    let files = Files::new();
    let settings = PostgresSettings::default().with("ssl", "on");
    let settings = settings.with("ssl_cert_file", text(&files.certificate()));
    let server = Postgres::start(settings.with("ssl_key_file", text(&files.key()))).await;
    let url = format!("{}?sslmode=verify-full", server.url("postgres"));
    let strange = ended(command(&["migrate"], &url)).await;
    let said = strange.ended(1);
    assert!(
        said.contains("its certificate is not trusted") && said.contains("database_ca_file adds"),
        "{said}"
    );
    assert!(said.contains("cannot connect to"), "{said}");
    let nothing = ended(command(&["migrate", "--database-ca-file", "nowhere.pem"], &url)).await;
    assert!(nothing.ended(1).contains("database_ca_file cannot be used"), "{}", nothing.said);

    let node = setup().store(&url).flag("--database-ca-file", text(&files.certificate())).start().await;
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
        WHERE application_name = 'stackbell'";
    assert_eq!(server.psql("postgres", encrypted).await, "t");
    let mut doctor = command(&["doctor", "--listen", "127.0.0.1:0", "--database-ca-file"], &url);
    doctor.arg(files.certificate()).env("STACKBELL_MASTER_KEY", OTHER_KEY);
    doctor.current_dir(files.folder.path());
    let doctor = ended(doctor).await;
    assert!(doctor.said.contains("TLS, and the server's certificate is checked"), "{}", doctor.said);
    stop(node).await;
}
