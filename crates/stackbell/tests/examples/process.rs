//! An example as a process, started by its command in docs/receivers.md.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use stackbell_testkit::Client;
use stackbell_testkit::wait::DEADLINE;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// The secret and the port in the commands of the page.
const SECRET: &str = "'a secret'";
const PORT: &str = " 3000";

/// A built example.
pub(crate) struct Example {
    /// The command that starts the example, from `WEBHOOK_SECRET=` on.
    line: String,
    root: PathBuf,
    _copy: Option<TempDir>,
}

/// A running example. Dropping it ends the example and its child processes.
pub(crate) struct Running {
    pub(crate) url: String,
    pub(crate) client: Client,
    events: Lines<BufReader<ChildStdout>>,
    _complaints: JoinSet<()>,
    _group: Group,
}

/// A process and its children: npm and cargo start the example as a child.
struct Group {
    child: Child,
    id: Pid,
}

impl Drop for Group {
    fn drop(&mut self) {
        // The whole group may have ended already.
        let _ = kill_process_group(self.id, Signal::KILL);
    }
}

fn repository() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", ".."].iter().collect()
}

/// The page's command for an example: the preparation, if any, and the start.
fn line(name: &str) -> (String, String) {
    let page = std::fs::read_to_string(repository().join("docs/receivers.md")).expect("the page");
    let block = page
        .split("```sh\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .find(|block| block.contains("WEBHOOK_SECRET=") && block.contains(mark(name)));
    let line = block.unwrap_or_else(|| panic!("no line for {name}")).trim();
    assert!(!line.contains('\n') && line.contains(SECRET) && line.ends_with(PORT), "{line}");
    let (prepare, start) = line.split_at(line.find("WEBHOOK_SECRET=").expect("found above"));
    (prepare.trim_end_matches([' ', '&']).to_owned(), start.to_owned())
}

/// A text that occurs only in the command of this example.
fn mark(name: &str) -> &str {
    if name == "rust" { "cargo run" } else { name }
}

fn bash(line: &str, folder: &Path) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", line]).current_dir(folder).stdin(Stdio::null()).kill_on_drop(true).process_group(0);
    // Packages come from the cache if possible, and npm sends no reports to its registry.
    for setting in ["audit", "fund", "update_notifier"] {
        command.env(format!("npm_config_{setting}"), "false");
    }
    command.env("npm_config_prefer_offline", "true").env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

async fn prepare(line: &str, folder: &Path) {
    let output = bash(line, folder).output().await.expect("bash is there");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&said));
}

/// Copies our own files; build output is left out.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the example") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            std::fs::copy(&path, to.join(path.file_name().expect("a name"))).expect("copied");
        }
    }
}

impl Example {
    /// An example in its own folder, prepared by `line`.
    pub(crate) async fn prepared(name: &str, line: &str) -> Self {
        let root = repository();
        prepare(line, &root).await;
        let (_, line) = self::line(name);
        Self { line, root, _copy: None }
    }

    /// An example that is copied, as users do, and prepared as the page says.
    pub(crate) async fn copied(name: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let below = Path::new("examples").join(name);
        copy(&repository().join(&below), &folder.path().join(&below));
        let (preparation, line) = line(name);
        prepare(&preparation, folder.path()).await;
        Self { line, root: folder.path().to_owned(), _copy: Some(folder) }
    }

    fn command(&self, secret: &str, arguments: &str) -> Command {
        let line = self.line.strip_suffix(PORT).expect("looked at when it was read");
        let secret = shell_words::quote(secret);
        bash(&format!("{} {arguments}", line.replace(SECRET, &secret)), &self.root)
    }

    /// Starts the example with these arguments, which it must refuse. Returns its status and output.
    pub(crate) async fn refusal(&self, secret: &str, arguments: &str) -> (ExitStatus, String) {
        let mut command = self.command(secret, arguments);
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("bash is there");
        let mut group = Group::new(child);
        let mut said = String::new();
        let mut stderr = group.child.stderr.take().expect("piped");
        let ending = async {
            stderr.read_to_string(&mut said).await.expect("text");
            group.child.wait().await.expect("it is ours")
        };
        let status = timeout(DEADLINE, ending).await.unwrap_or_else(|_| panic!("{arguments} is not refused"));
        (status, said)
    }

    /// Starts it on a free port.
    pub(crate) async fn start(&self, secret: &str, scheme: &str) -> Running {
        let mut command = self.command(secret, &format!("0 {scheme}"));
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("bash is there");
        let mut group = Group::new(child);
        let mut errors = BufReader::new(group.child.stderr.take().expect("piped"));
        let mut first = String::new();
        let reading = timeout(DEADLINE, errors.read_line(&mut first)).await;
        reading.expect("it says where it listens").expect("text");
        let url = first.trim().strip_prefix("listening on ");
        let url = url.unwrap_or_else(|| panic!("it does not listen: {first}")).to_owned();
        let client = Client::new(&url, "");
        let events = BufReader::new(group.child.stdout.take().expect("piped")).lines();
        let mut complaints = JoinSet::new();
        complaints.spawn(show(errors.lines()));
        Running { url, client, events, _complaints: complaints, _group: group }
    }
}

/// Prints the example's error output if the test fails.
async fn show(mut complaints: Lines<BufReader<ChildStderr>>) {
    while let Ok(Some(line)) = complaints.next_line().await {
        eprintln!("{line}");
    }
}

impl Group {
    fn new(child: Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { child, id: id.expect("it was just started") }
    }
}

impl Running {
    /// The next event in its output.
    pub(crate) async fn event(&mut self) -> Value {
        let line = timeout(DEADLINE, self.events.next_line()).await.expect("an event").expect("text");
        let line = line.expect("it goes on");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))
    }
}
