//! The database's password appears nowhere.

use crate::support::{Cluster, OTHER_KEY, command, ended, stop};

/// The password; the temporary server accepts any.
const PASSWORD: &str = "correct-horse-battery-staple";

#[tokio::test]
async fn no_output_shows_the_password() {
    let cluster = Cluster::new().await;
    let url = cluster.database.url().replace("postgres@", &format!("postgres:{PASSWORD}@"));
    assert!(url.contains(PASSWORD));
    let wrong_port = format!("postgres://postgres:{PASSWORD}@127.0.0.1:1/nowhere");
    let not_understood = format!("postgres://postgres:{PASSWORD}@127.0.0.1:{PASSWORD}/nowhere");
    let folder = tempfile::tempdir().expect("a folder");
    for url in [&url, &wrong_port, &not_understood] {
        for words in [
            &["config", "check"][..],
            &["migrate"],
            &["doctor"],
            &["serve", "--listen", "127.0.0.1:0", "--log-level", "trace"],
            &["dev", "--listen", "127.0.0.1:0"],
            &["restore", "nothing.db"],
        ] {
            // A server stops if its folder is in use.
            let lock = std::fs::File::create(folder.path().join("stackbell.lock")).expect("made");
            lock.lock().expect("ours");
            let mut command = command(words, url);
            command.env("STACKBELL_MASTER_KEY", OTHER_KEY).arg("--data").arg(folder.path());
            let ran = ended(command).await;
            assert!(!ran.said.is_empty(), "{words:?}");
            assert!(!ran.said.contains(PASSWORD), "{words:?}: {}", ran.said);
        }
    }
    let node = cluster.setup().store(&url).flag("--log-level", "trace").start().await;
    let metrics = node.client().get("/metrics").await.expect(200).text().to_owned();
    assert!(!metrics.contains(PASSWORD), "{metrics}");
    assert!(!node.log().contains(PASSWORD), "{}", node.log());
    stop(node).await;
}

#[tokio::test]
async fn the_origin_of_each_secret_is_shown() {
    let url = format!("postgres://bell:{PASSWORD}@db.example:5433/bell");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("store");
    std::fs::write(&file, format!("{url}\n")).expect("written");
    let mut check = command(&["config", "check"], "");
    check.env("STACKBELL_STORE_FILE", &file).env("STACKBELL_MASTER_KEY", OTHER_KEY);
    let check = ended(check).await;
    let said = check.ended(0);
    let store = said.lines().find(|line| line.starts_with("store ")).expect("a line");
    let words: Vec<&str> = store.split_whitespace().collect();
    assert_eq!(words, ["store", "postgres://db.example:5433/bell", "STACKBELL_STORE_FILE"]);
    assert!(said.lines().any(|line| line.starts_with("database_connections ") && line.contains("16")));
}
