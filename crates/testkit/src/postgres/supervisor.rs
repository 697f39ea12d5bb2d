//! The process that runs a server, and cleans up however the test process ends.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::disk::{Ballast, Namespace};

const SCRIPT: &str = include_str!("supervisor.sh");

/// The folder of Debian's PostgreSQL packages, with a folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// A folder in memory, where syncs are fast. Syncs stay on, because nobody should run a server without them.
const IN_MEMORY: &str = "/dev/shm";

/// The free space that a server needs there.
const IN_MEMORY_BYTES_MIN: u64 = 1 << 30;

/// The range of ports. It is below the system's ephemeral ports, so that a stopped server finds its port free
/// again.
const PORTS: std::ops::Range<u32> = 10_000..32_000;

/// A folder with a server or a pooler in it. Both are removed when this is dropped or the process ends.
pub(super) struct Supervisor {
    child: Child,
    /// Present until this is dropped.
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    folder: PathBuf,
    /// Whether the server's data is on a disk that only its processes see.
    has_disk: bool,
}

/// The mount point of such a disk: an existing folder that tests do not use otherwise. Logs are in another folder, so that they
/// are complete even if the disk is full.
const DISK_AT: &str = "/mnt";

impl Supervisor {
    pub(super) fn start(programs: &Path) -> Self {
        Self::start_by(&as_ordinary_user(), programs, None)
    }

    /// Starts a supervisor with the server's data on a disk of this size in MiB.
    pub(super) fn start_on_disk(programs: &Path, size: u32) -> Self {
        let (namespace, disk) = (Namespace::find(), Path::new(DISK_AT));
        // Everybody may write to the disk; the server's folder on it is private.
        let mut words = namespace.disk(disk, &format!("size={size}m,mode=1777"));
        words.extend(match namespace {
            Namespace::Mapped => as_mapped_user(),
            Namespace::Plain => as_ordinary_user(),
        });
        Self::start_by(&words, programs, Some(disk))
    }

    /// Starts the script behind this command prefix.
    fn start_by(words: &[OsString], programs: &Path, disk: Option<&Path>) -> Self {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).args(["sh", "-c", SCRIPT, "supervisor"]).arg(base_folder()).arg(programs);
        command.args(disk);
        command.env_clear().current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped());
        // The process has its own group, so that Ctrl-C reaches only the tests.
        let mut child = command.process_group(0).spawn().expect("a supervisor");
        let orders = child.stdin.take().expect("it is piped");
        let mut answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let folder = PathBuf::from(answer(&mut answers));
        assert!(
            folder.is_absolute(),
            "the supervisor of a PostgreSQL server did not start: see its words above"
        );
        Self { child, orders: Some(orders), answers, folder, has_disk: disk.is_some() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Runs an order.
    ///
    /// # Errors
    /// The logs, if the order failed.
    pub(super) fn try_order(&mut self, order: &str) -> Result<(), String> {
        let orders = self.orders.as_mut().expect("it is there until this is dropped");
        writeln!(orders, "{order}").expect("the supervisor reads");
        match answer(&mut self.answers).as_str() {
            "done" => Ok(()),
            _ => Err(format!("{order} failed\n{}\n{}", self.log("orders.log"), self.log("server.log"))),
        }
    }

    /// Runs an order.
    ///
    /// # Panics
    /// If the order failed.
    #[track_caller]
    pub(super) fn order(&mut self, order: &str) {
        self.try_order(order).unwrap_or_else(|problem| panic!("{problem}"));
    }

    pub(super) fn log(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }

    /// Fills its disk.
    ///
    /// # Panics
    /// If it has no disk of its own, because other processes would lose their space.
    pub(super) fn fill_disk(&self) -> Ballast {
        assert!(self.has_disk, "the disk is not its own");
        Ballast::fill(self.child.id(), Path::new(DISK_AT))
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.orders.take());
        self.child.wait().expect("it was ours");
    }
}

fn answer(answers: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    answers.read_line(&mut line).expect("the supervisor answers");
    line.trim_end().to_owned()
}

/// Returns a command prefix that runs a program as an ordinary user.
pub fn ordinary_user() -> Command {
    let words = as_ordinary_user();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// PostgreSQL and PgBouncer refuse to run as root. Debian's packages create the user `postgres`.
fn as_ordinary_user() -> Vec<OsString> {
    let words: &[&str] = if rustix::process::geteuid().is_root() {
        &["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"]
    } else {
        &["env"]
    };
    words.iter().map(OsString::from).collect()
}

/// Like [`as_ordinary_user`], but for a user namespace in which we are mapped to root. Maps us back to a user name that `initdb`
/// can look up.
fn as_mapped_user() -> Vec<OsString> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    let (user, group) = if user.is_root() {
        ("postgres".to_owned(), "postgres".to_owned())
    } else {
        (user.as_raw().to_string(), group.as_raw().to_string())
    };
    let words = ["unshare".to_owned(), format!("--map-user={user}"), format!("--map-group={group}")];
    words.into_iter().map(OsString::from).collect()
}

fn base_folder() -> PathBuf {
    let free = rustix::fs::statvfs(IN_MEMORY).map_or(0, |found| found.f_bavail * found.f_frsize);
    if free >= IN_MEMORY_BYTES_MIN { PathBuf::from(IN_MEMORY) } else { std::env::temp_dir() }
}

/// Returns the folder of PostgreSQL's programs: the newest version from Debian's packages, else the one in
/// the PATH.
///
/// # Panics
/// If there is none.
pub fn postgres_programs() -> PathBuf {
    let folders = fs::read_dir(VERSIONS).into_iter().flatten().filter_map(Result::ok);
    let versions = folders.filter_map(|folder| {
        let version: u32 = folder.file_name().to_str()?.parse().ok()?;
        let programs = folder.path().join("bin");
        programs.join("postgres").exists().then_some((version, programs))
    });
    versions.max().map(|(_, programs)| programs).or_else(on_path).expect(
        "there is no PostgreSQL to test with: install Debian's package postgresql (no cluster of it needs to run)",
    )
}

fn on_path() -> Option<PathBuf> {
    let found = Command::new("sh").args(["-c", "command -v postgres"]).output().expect("a shell");
    let program = PathBuf::from(String::from_utf8(found.stdout).ok()?.trim_end());
    // The program may be a symlink; the other programs are beside its target.
    program.canonicalize().ok()?.parent().map(Path::to_owned)
}

/// Returns a free port that this process has not returned before.
pub fn free_port() -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Each process starts at another port, because two processes may search at the same time.
    let begin = std::process::id().wrapping_mul(61);
    let ports = PORTS.end - PORTS.start;
    let mut tried = 0..ports;
    let found = tried.find_map(|_| {
        let index = begin.wrapping_add(GIVEN.fetch_add(1, Ordering::Relaxed)) % ports;
        let port = u16::try_from(PORTS.start + index).expect("ports are this small");
        TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok().then_some(port)
    });
    found.expect("a free port")
}
