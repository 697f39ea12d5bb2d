//! `stackbell backup`: a copy of the server's store, verified by the digest that the server sends.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use sha2::{Digest as _, Sha256};
use stackbell_client::{ClientArgs, Output, Progress, Verb};
use stackbell_model::Clock as _;
use stackbell_store::backup::{CopyReport, TableReport};
use stackbell_system::{Environment, SystemClock};
use stackbell_wire::rest::rfc3339;
use tempfile::NamedTempFile;
use ureq::http::{HeaderMap, Method};

/// The header with the digest. Source: RFC 9530.
const DIGEST: &str = "Content-Digest";

/// The size of the read buffer.
pub(super) const BUFFER_BYTES: usize = 64 * 1024;

#[derive(Debug, Args)]
#[command(after_help = "Example:
  stackbell backup --to /backups/stackbell.db

Beside FILE comes FILE.sha256, for `sha256sum --check` and for `stackbell restore`.
The copy holds no key that opens what is sealed in it: keep a copy of the master key elsewhere.")]
pub(crate) struct BackupArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// The file to write, which must not exist; the default name has the time
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
}

pub(crate) fn run(
    args: &BackupArgs,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let verb = Verb::new(&args.client, environment, out)?;
    let path = args.to.clone().unwrap_or_else(name_of_now);
    let digest_path = with_digest(&path);
    for path in [&path, &digest_path] {
        // A dangling symbolic link counts as an existing file.
        ensure!(path.symlink_metadata().is_err(), "{} is there already", path.display());
    }
    let response = verb.client.download(Method::POST, &["v1", "instance", "backup"])?;
    let (parts, mut body) = response.into_parts();
    let mut reader = body.with_config().limit(u64::MAX).reader();
    let copy = receive(&mut reader, &parts.headers, &path)?;
    let report = stackbell_store_sqlite::inspect_copy(copy.file.path())
        .context("the file from the server is not a valid store")?;
    let keep = |error: tempfile::PersistError| error.error;
    copy.file.persist_noclobber(&path).map_err(keep).with_context(|| cannot_write(&path))?;
    write_digest(&copy.sha256, &path, &digest_path).with_context(|| cannot_write(&digest_path))?;
    let document = serde_json::json!({
        "file": path.display().to_string(),
        "bytes": copy.bytes,
        "sha256": copy.sha256,
        "schema": report.schema,
        "tables": report.tables.iter().map(as_json).collect::<Vec<_>>(),
    });
    let sentence = format!(
        "Wrote {} ({} bytes) and {}.\n\n{}",
        path.display(),
        copy.bytes,
        digest_path.display(),
        tables(&report)
    );
    match verb.output {
        Output::Json => verb.output.one(verb.out, &document, "")?,
        Output::Table => write!(verb.out, "{sentence}")?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A complete copy.
struct Copy {
    file: NamedTempFile,
    bytes: u64,
    sha256: String,
}

/// Reads the copy into a file next to `path`, readable only by its owner, and checks its length and digest.
fn receive(from: &mut dyn Read, headers: &HeaderMap, path: &Path) -> anyhow::Result<Copy> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let length = header("Content-Length").and_then(|text| text.parse().ok());
    let promised = header(DIGEST).and_then(read_digest);
    let Some(promised) = promised else { bail!("the server sent no digest that could be checked") };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // The file has the mode 0600, and is removed unless everything succeeds.
    let mut file = NamedTempFile::new_in(folder).with_context(|| cannot_write(path))?;
    let progress = Progress::bytes("received", length);
    let mut sha256 = Sha256::new();
    let mut bytes = 0;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut reader = progress.wrap(from);
    loop {
        let read = reader.read(&mut buffer).context("the copy broke off")?;
        if read == 0 {
            break;
        }
        sha256.update(&buffer[..read]);
        file.write_all(&buffer[..read]).with_context(|| cannot_write(path))?;
        bytes += read as u64;
    }
    progress.finish();
    ensure!(length.is_none_or(|length| length == bytes), "the copy ended early, after {bytes} bytes");
    let digest = sha256.finalize();
    ensure!(digest[..] == promised[..], "the copy was damaged in transfer: its digest differs");
    file.as_file().sync_all().with_context(|| cannot_write(path))?;
    Ok(Copy { file, bytes, sha256: hex(&digest) })
}

/// The SHA-256 in a field such as `sha-256=:…:`. The field may contain other digests too.
fn read_digest(field: &str) -> Option<Vec<u8>> {
    let mut items = field.split(',').map(str::trim);
    let item = items.find_map(|item| item.strip_prefix("sha-256="))?;
    STANDARD.decode(item.strip_prefix(':')?.strip_suffix(':')?).ok()
}

/// Writes the digest in the format of `sha256sum`. The file name has no folder, so that both files can be moved together.
fn write_digest(sha256: &str, path: &Path, digest_path: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let mut file = File::create_new(digest_path)?;
    let written = writeln!(file, "{sha256}  {name}").and_then(|()| file.sync_all());
    if written.is_err() {
        // An incomplete digest is useless.
        let _ = std::fs::remove_file(digest_path);
    }
    written
}

/// The path of a copy's digest.
pub(super) fn with_digest(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".sha256");
    name.into()
}

/// Bytes as hex digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The tables of a copy, one line each. `backup` and `restore` print the same lines, so that people can compare them.
pub(super) fn tables(report: &CopyReport) -> String {
    let width = |of: fn(&TableReport) -> usize| report.tables.iter().map(of).max().unwrap_or_default();
    let (names, counts) = (width(|table| table.table.len()), width(|table| table.rows.to_string().len()));
    let head = format!("Schema {}; tables, their rows, and the rows' SHA-256:\n", report.schema);
    report.tables.iter().fold(head, |mut text, table| {
        let TableReport { table, rows, sha256 } = table;
        text.push_str(&format!("  {table:<names$}  {rows:>counts$}  {}\n", hex(sha256)));
        text
    })
}

fn as_json(table: &TableReport) -> serde_json::Value {
    serde_json::json!({ "name": table.table, "rows": table.rows, "sha256": hex(&table.sha256) })
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

fn name_of_now() -> PathBuf {
    let now = rfc3339(SystemClock.now());
    let digits: String = now.chars().take("2026-05-13T06:19:04".len()).filter(|c| *c != ':').collect();
    format!("stackbell-{digits}Z.db").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(length: &str, digest: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert("content-length", length.parse().expect("a value"));
        headers.insert("content-digest", digest.parse().expect("a value"));
        headers
    }

    fn digest(bytes: &[u8]) -> String {
        format!("sha-512=:AA==:, sha-256=:{}:", STANDARD.encode(Sha256::digest(bytes)))
    }

    #[test]
    fn only_what_came_whole_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("copy.db");
        let receive = |length: &str, digest: &str| {
            receive(&mut &b"bytes"[..], &headers(length, digest), &path).map(|copy| (copy.bytes, copy.sha256))
        };
        let expected = hex(&Sha256::digest(b"bytes"));
        assert_eq!(receive("5", &digest(b"bytes")).expect("whole"), (5, expected));
        let refused = |length: &str, digest: &str, said: &str| {
            let error = receive(length, digest).expect_err("refused");
            assert!(error.to_string().contains(said), "{error}");
        };
        refused("6", &digest(b"bytes"), "ended early");
        refused("5", &digest(b"other"), "damaged in transfer");
        refused("5", "md5=:AA==:", "no digest");
        assert_eq!(std::fs::read_dir(folder.path()).expect("read").count(), 0, "nothing is left");
    }

    #[test]
    fn digests_are_as_sha256sum_reads_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("copy.db");
        let digest_path = with_digest(&path);
        write_digest("00ff", &path, &digest_path).expect("written");
        assert_eq!(std::fs::read_to_string(&digest_path).expect("read"), "00ff  copy.db\n");
        write_digest("00ff", &path, &digest_path).expect_err("there is one");
    }

    #[test]
    fn tables_are_listed() {
        let table =
            |table: &str, rows, byte| TableReport { table: table.to_owned(), rows, sha256: [byte; 32] };
        let report =
            CopyReport { schema: 2, tables: vec![table("events", 7, 1), table("webhooks", 10, 0xab)] };
        let (ones, others) = ("01".repeat(32), "ab".repeat(32));
        let expected = format!(
            "Schema 2; tables, their rows, and the rows' SHA-256:\n  events     7  {ones}\n  webhooks  10  {others}\n"
        );
        assert_eq!(tables(&report), expected);
    }
}
