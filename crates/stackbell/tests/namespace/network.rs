//! A network and a mount namespace for one test; they end with its process.

use std::path::Path;
use std::process::Command;

/// The variable for the process inside: the file that it writes when the test has passed.
const INSIDE: &str = "STACKBELL_TEST_NAMESPACE";

/// The second interface, besides loopback. Packets to other addresses of its networks are lost.
pub(crate) const INTERFACE: &str = "lost0";

const SCRIPT: &str = "set -e
ip link set lo up
ip link add lost0 type veth peer name lost1
ip link set lost0 arp off
ip address add 198.51.100.1/24 dev lost0
ip address add 2001:db8::1/64 dev lost0 nodad
ip address add fe80::53/64 dev lost0 nodad
ip link set lost0 up
ip link set lost1 up
for file in resolv.conf hosts nsswitch.conf; do
    mount --bind \"$0/$file\" \"/etc/$file\"
done
exec \"$@\"";

/// Runs the calling test in its own network. A second process of the test binary runs inside; it is killed with this one.
/// The test's name is the name of the function that contains `test`.
pub(crate) fn inside<T: Future<Output = ()>>(test: T) {
    #[expect(clippy::disallowed_methods, reason = "a test tells its second process where it is")]
    let marker = std::env::var_os(INSIDE);
    if let Some(marker) = marker {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(test);
        return std::fs::write(marker, "").expect("written");
    }
    let path = std::any::type_name::<T>().trim_end_matches("::{{closure}}");
    let (_, name) = path.split_once("::").expect("a path within this crate");
    let folder = tempfile::tempdir().expect("a folder");
    for (file, text) in [("resolv.conf", ""), ("hosts", ""), ("nsswitch.conf", "hosts: files dns\n")] {
        std::fs::write(folder.path().join(file), text).expect("written");
    }
    let marker = folder.path().join("passed");
    let status = Command::new("unshare")
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", SCRIPT])
        .arg(folder.path())
        .arg(std::env::current_exe().expect("the test binary"))
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(INSIDE, &marker)
        .status()
        .expect("unshare runs");
    assert!(status.success(), "{name} failed inside its namespace");
    // A test filter without a match counts as a success, so the marker proves that the test ran.
    assert!(marker.exists(), "{name} did not run inside its namespace");
}

/// Writes the namespace's `/etc/resolv.conf`.
pub(crate) fn write_resolv_conf(text: &str) {
    write(Path::new("/etc/resolv.conf"), text);
}

/// Writes the namespace's `/etc/hosts`.
pub(crate) fn write_hosts(text: &str) {
    write(Path::new("/etc/hosts"), text);
}

/// The system's own files are never written: the namespace has its own files mounted over them.
fn write(path: &Path, text: &str) {
    let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
    let is_mounted = mounts.lines().any(|line| line.split(' ').nth(1) == path.to_str());
    assert!(is_mounted, "{} is the system's own", path.display());
    std::fs::write(path, text).expect("written");
}
