use std::path::Path;
use std::sync::Arc;

use stackbell_config::{KeyCommand, KeySettings, MasterKeySetting};
use stackbell_store_memory::MemoryStore;
use stackbell_system::SystemEntropy;

use super::rotation::RotateError;
use super::*;
use crate::data_folder::DataFolder;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A store and a data folder, for settings with any master key.
struct Bench {
    store: Arc<MemoryStore>,
    entropy: SystemEntropy,
    parent: tempfile::TempDir,
    folder: DataFolder,
}

impl Bench {
    fn new() -> Self {
        let parent = tempfile::tempdir().expect("a folder");
        let folder = DataFolder::open(&parent.path().join("data")).expect("opened");
        let entropy = SystemEntropy::seeded().expect("randomness");
        Self { store: Arc::default(), entropy, parent, folder }
    }

    fn source(&self, master: MasterKeySetting, previous: Option<GivenKey>) -> KeySource {
        KeySource::new(KeySettings { master, previous }, self.folder.path())
    }

    fn own(&self) -> KeySource {
        self.source(MasterKeySetting::DataFolder, None)
    }

    async fn open(&mut self, source: &KeySource) -> Result<Keyring, OpenKeyringError> {
        Opener { store: self.store.as_ref(), source, entropy: &mut self.entropy, now: NOW }.open().await
    }

    /// Opens the store with the data folder's own key. An empty store gets a new one.
    async fn open_own(&mut self) -> Result<Keyring, OpenKeyringError> {
        let source = self.own();
        self.open(&source).await
    }

    async fn refused(&mut self, source: &KeySource) -> String {
        self.open(source).await.expect_err("refused").to_string()
    }

    fn files(&self) -> KeyFiles {
        KeyFiles::at(self.folder.path())
    }

    fn key(&mut self) -> MasterKey {
        MasterKey::generate(&mut self.entropy)
    }

    /// The master key of a running server, from `source`, with the open keyring.
    fn running(&self, source: KeySource, keyring: Keyring) -> MasterKeys {
        let entropy = SystemEntropy::seeded().expect("randomness");
        MasterKeys::new(source, Arc::<MemoryStore>::clone(&self.store), Arc::new(keyring), entropy)
    }

    fn audit(&mut self) -> AuditEntry {
        let source = self.own();
        Opener { store: self.store.as_ref(), source: &source, entropy: &mut self.entropy, now: NOW }.audit()
    }

    fn current(&self) -> Option<String> {
        self.files().current().expect("read").map(|key| key.to_base64().to_string())
    }

    /// Checks that another start opens the same data keys, and that no file of an interrupted change remains.
    async fn check_starts(&mut self, hash: &stackbell_model::identity::TokenHash) {
        let keyring = self.open_own().await.expect("opened");
        assert_eq!(keyring.token_hash("t"), *hash);
        assert!(!self.files().next_path().exists());
        let again = self.open_own().await.expect("opened");
        assert_eq!(again.token_hash("t"), *hash);
    }
}

fn given(key: &MasterKey, origin: &str) -> GivenKey {
    GivenKey { key: key.clone(), origin: origin.to_owned() }
}

fn fixed(key: &MasterKey) -> MasterKeySetting {
    MasterKeySetting::Given(given(key, "STACKBELL_MASTER_KEY"))
}

fn write_key(path: &Path, key: &MasterKey) {
    std::fs::write(path, key.to_base64().as_bytes()).expect("written");
}

#[tokio::test]
async fn an_empty_store_gets_keys_that_open_again() {
    let mut bench = Bench::new();
    let first = bench.open_own().await.expect("made");
    let again = bench.open_own().await.expect("opened");
    assert_eq!(first.token_hash("t"), again.token_hash("t"));
}

#[tokio::test]
async fn a_given_key_makes_no_file() {
    let mut bench = Bench::new();
    let key = bench.key();
    let source = bench.source(fixed(&key), None);
    let first = bench.open(&source).await.expect("made");
    assert_eq!(bench.current(), None);
    let again = bench.open(&source).await.expect("opened");
    assert_eq!(first.token_hash("t"), again.token_hash("t"));
}

#[tokio::test]
async fn data_keys_without_their_master_key_are_refused() {
    let mut bench = Bench::new();
    bench.open_own().await.expect("made");
    let (other, third) = (bench.key(), bench.key());
    let source = bench.source(fixed(&other), None);
    let error = bench.refused(&source).await;
    assert!(error.contains("the master key from STACKBELL_MASTER_KEY does not open this store"), "{error}");
    assert!(error.contains("previous_master_key"), "{error}");
    let source = bench.source(fixed(&other), Some(given(&third, "the old one")));
    let error = bench.refused(&source).await;
    assert!(error.contains("STACKBELL_MASTER_KEY nor the previous one from the old one"), "{error}");
    let path = bench.files().current_path();
    std::fs::remove_file(&path).expect("removed");
    let source = bench.own();
    let error = bench.refused(&source).await;
    assert!(error.contains(&path.display().to_string()), "{error}");
    assert!(!path.exists(), "none is made in its place");
}

#[tokio::test]
async fn the_previous_key_is_left_for_the_one_that_is_set() {
    let mut bench = Bench::new();
    let (old, new) = (bench.key(), bench.key());
    let source = bench.source(fixed(&old), None);
    let hash = bench.open(&source).await.expect("made").token_hash("t");
    let source = bench.source(fixed(&new), Some(given(&old, "before")));
    for _ in 0..2 {
        assert_eq!(bench.open(&source).await.expect("opened").token_hash("t"), hash);
    }
    let source = bench.source(fixed(&new), None);
    assert_eq!(bench.open(&source).await.expect("opened").token_hash("t"), hash);
    let source = bench.source(fixed(&old), None);
    bench.refused(&source).await;
}

#[tokio::test]
async fn the_previous_key_is_left_for_one_that_the_data_folder_gets() {
    let mut bench = Bench::new();
    let old = bench.key();
    let source = bench.source(fixed(&old), None);
    let hash = bench.open(&source).await.expect("made").token_hash("t");
    let source = bench.source(MasterKeySetting::DataFolder, Some(given(&old, "before")));
    assert_eq!(bench.open(&source).await.expect("opened").token_hash("t"), hash);
    bench.check_starts(&hash).await;
}

#[tokio::test]
async fn the_data_folders_own_key_is_changed_while_serving() {
    let mut bench = Bench::new();
    let keyring = bench.open_own().await.expect("made");
    let (hash, before) = (keyring.token_hash("t"), bench.current());
    let running = bench.running(bench.own(), keyring);
    for _ in 0..2 {
        let count = running.rotate(bench.audit()).await.expect("changed");
        assert_eq!(count, bench.store.data_keys().await.expect("read").len());
    }
    assert_ne!(bench.current(), before);
    bench.check_starts(&hash).await;
}

use stackbell_store::keys::Keys as _;

/// The points at which a change of keys can be interrupted, with the state on disk.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// The next key's file is incomplete.
    InTheFile,
    /// The file is complete; the store is not sealed with the key.
    BeforeTheStore,
    /// The store is sealed with the key; the file has its old name.
    AfterTheStore,
    /// The state of `AfterTheStore`, but the old key's file is missing.
    WithoutTheOld,
}

async fn cut(cut: Cut) -> (Bench, Keyring) {
    let mut bench = Bench::new();
    let keyring = bench.open_own().await.expect("made");
    let again = bench.open_own().await.expect("opened");
    let running = bench.running(bench.own(), keyring);
    if matches!(cut, Cut::InTheFile) {
        std::fs::write(bench.files().next_path(), "c29tZSBvZiB0a").expect("written");
        return (bench, again);
    }
    let next = running.prepare().await.expect("written");
    if matches!(cut, Cut::AfterTheStore | Cut::WithoutTheOld) {
        running.reseal(&next, bench.audit()).await.expect("sealed");
    }
    if matches!(cut, Cut::WithoutTheOld) {
        std::fs::remove_file(bench.files().current_path()).expect("removed");
    }
    (bench, again)
}

const CUTS: [Cut; 4] = [Cut::InTheFile, Cut::BeforeTheStore, Cut::AfterTheStore, Cut::WithoutTheOld];

#[tokio::test]
async fn a_change_of_keys_that_is_cut_leaves_a_store_that_opens() {
    for point in CUTS {
        let (mut bench, keyring) = cut(point).await;
        bench.check_starts(&keyring.token_hash("t")).await;
    }
}

/// The next attempt completes the change, for example after a commit with an unknown outcome.
#[tokio::test]
async fn a_change_of_keys_that_is_cut_can_be_made_again_without_a_start() {
    for point in CUTS {
        let (mut bench, keyring) = cut(point).await;
        let (hash, before) = (keyring.token_hash("t"), bench.current());
        let running = bench.running(bench.own(), keyring);
        running.rotate(bench.audit()).await.unwrap_or_else(|error| panic!("{point:?}: {error}"));
        assert_ne!(bench.current(), before, "{point:?}");
        bench.check_starts(&hash).await;
    }
}

#[tokio::test]
async fn a_key_that_is_a_files_is_read_again() {
    let mut bench = Bench::new();
    let path = bench.parent.path().join("key");
    let (old, new) = (bench.key(), bench.key());
    write_key(&path, &old);
    let file =
        |key: &MasterKey| MasterKeySetting::File { key: given(key, "--master-key-file"), path: path.clone() };
    let source = bench.source(file(&old), None);
    let keyring = bench.open(&source).await.expect("made");
    let hash = keyring.token_hash("t");
    let running = bench.running(source, keyring);
    let error = running.rotate(bench.audit()).await.expect_err("refused").to_string();
    assert!(error.contains("--master-key-file still gives the key"), "{error}");
    std::fs::write(&path, "hidden").expect("written");
    let error = running.rotate(bench.audit()).await.expect_err("refused");
    assert!(matches!(error, RotateError::Source(KeySourceError::NoKey { .. })), "{error}");
    write_key(&path, &new);
    running.rotate(bench.audit()).await.expect("changed");
    let source = bench.source(file(&new), None);
    assert_eq!(bench.open(&source).await.expect("opened").token_hash("t"), hash);
    let source = bench.source(file(&old), None);
    bench.refused(&source).await;
}

#[cfg(unix)]
#[tokio::test]
async fn a_key_that_a_command_prints_is_asked_for_again() {
    let mut bench = Bench::new();
    let path = bench.parent.path().join("key");
    let (old, new) = (bench.key(), bench.key());
    write_key(&path, &old);
    let command =
        KeyCommand::parse(&format!("/bin/cat '{}'", path.display()), Vec::new()).expect("a command");
    let source = bench.source(MasterKeySetting::Command(command.clone()), None);
    let keyring = bench.open(&source).await.expect("made");
    let running = bench.running(source, keyring);
    let error = running.rotate(bench.audit()).await.expect_err("refused").to_string();
    assert!(error.contains("master_key_command (/bin/cat) still gives the key"), "{error}");
    write_key(&path, &new);
    running.rotate(bench.audit()).await.expect("changed");
    write_key(&path, &old);
    let source = bench.source(MasterKeySetting::Command(command), None);
    let error = bench.refused(&source).await;
    assert!(error.contains("the master key from master_key_command (/bin/cat) does not open"), "{error}");
}

#[tokio::test]
async fn a_key_that_is_a_variables_cannot_change() {
    let mut bench = Bench::new();
    let key = bench.key();
    let source = bench.source(fixed(&key), None);
    let keyring = bench.open(&source).await.expect("made");
    let running = bench.running(source, keyring);
    let error = running.rotate(bench.audit()).await.expect_err("refused").to_string();
    assert!(error.contains("STACKBELL_MASTER_KEY") && error.contains("previous_master_key"), "{error}");
    assert_eq!(bench.current(), None);
}

/// The other node stores its keys after this node has looked and before it stores its own.
#[tokio::test]
async fn the_second_node_of_a_new_store_takes_the_keys_of_the_first() {
    let mut bench = Bench::new();
    let key = bench.key();
    let (asked, answer) = (bench.parent.path().join("asked"), bench.parent.path().join("answer"));
    let script = format!(
        "touch {asked}; until [ -s {answer} ]; do sleep 0.01; done; cat {answer}",
        asked = asked.display(),
        answer = answer.display()
    );
    let command =
        KeyCommand::parse(&shell_words::join(["sh", "-c", &script]), Vec::new()).expect("a command");
    let slow = bench.source(MasterKeySetting::Command(command), None);
    let (store, mut entropy) = (Arc::clone(&bench.store), SystemEntropy::seeded().expect("randomness"));
    let second = Opener { store: store.as_ref(), source: &slow, entropy: &mut entropy, now: NOW }.open();
    let first = async {
        while !asked.exists() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        let source = bench.source(fixed(&key), None);
        let keyring = bench.open(&source).await.expect("made");
        write_key(&bench.parent.path().join("unfinished"), &key);
        std::fs::rename(bench.parent.path().join("unfinished"), &answer).expect("renamed");
        keyring
    };
    let (second, first) = tokio::join!(second, first);
    assert_eq!(second.expect("opened").token_hash("t"), first.token_hash("t"));
}
