//! `stackbell doctor`: what is wrong, and what to do about it. Changes nothing.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use stackbell_engine::outbound::{OutboundPolicy, Resolve as _, SystemResolver};
use stackbell_keys::Keyring;
use stackbell_store::Store;
use stackbell_store_sqlite::SqliteStore;

use crate::client::{Client, ClientSettings};
use crate::config::{Environment, Found, SettingFlags, Settings};
use crate::data_folder::{DataFolder, Holder, is_open_to_others};
use crate::server;

/// How one thing is.
enum Finding {
    Ok(String),
    Warn(String),
    Fail(String),
}

use Finding::{Fail, Ok as Fine, Warn};

/// Prints findings, and remembers whether something failed.
struct Report<'a> {
    out: &'a mut dyn Write,
    failed: bool,
}

impl Report<'_> {
    fn add(&mut self, subject: &str, finding: Finding) -> io::Result<()> {
        let (word, text) = match finding {
            Finding::Ok(text) => ("ok", text),
            Finding::Warn(text) => ("warn", text),
            Finding::Fail(text) => {
                self.failed = true;
                ("fail", text)
            }
        };
        writeln!(self.out, "{word:<5} {subject:<12} {text}")
    }
}

pub(crate) fn run(
    flags: &SettingFlags,
    environment: &Environment,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let mut report = Report { out, failed: false };
    match Found::collect(flags, environment, &[]).and_then(|found| found.settings()) {
        Ok(settings) => {
            report.add("settings", Fine("can be used".to_owned()))?;
            super::block_on(examine(&settings, &mut report)).context("cannot start the runtime")??;
        }
        Err(error) => {
            let text = format!(
                "{:#}; `stackbell config check` shows where each comes from",
                anyhow::Error::new(error)
            );
            report.add("settings", Fail(text))?;
        }
    }
    Ok(if report.failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

async fn examine(settings: &Settings, report: &mut Report<'_>) -> io::Result<()> {
    let storage = &settings.storage;
    report.add("data folder", data_folder(&storage.data))?;
    let holder = DataFolder::holder(&storage.data);
    let is_running = matches!(holder, Ok(Holder::Process(_)));
    report.add(
        "lock",
        match holder {
            Ok(Holder::Nobody) => Fine("no process uses the data folder".to_owned()),
            Ok(Holder::Process(Some(id))) => Fine(format!("process {id} uses the data folder")),
            Ok(Holder::Process(None)) => Fine("a process uses the data folder".to_owned()),
            Err(error) => Fail(format!("{:#}", anyhow::Error::new(error))),
        },
    )?;
    if is_running {
        report.add("store", Fine("not looked at, as the running process has it".to_owned()))?;
    } else {
        store(settings, report).await?;
    }
    report.add("authorities", authorities(settings).await)?;
    report.add("names", names(settings).await)?;
    report.add("listen", listen(settings, is_running).await)
}

fn data_folder(path: &Path) -> Finding {
    let shown = path.display();
    match is_open_to_others(path) {
        Ok(false) => Fine(format!("{shown} is its owner's alone")),
        Ok(true) => Warn(format!("{shown} can be read by others, and holds secrets: `chmod 700 {shown}`")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Warn(format!("{shown} is not there: `stackbell serve` makes it"))
        }
        Err(error) => Fail(format!("{shown} cannot be looked at: {error}")),
    }
}

async fn store(settings: &Settings, report: &mut Report<'_>) -> io::Result<()> {
    let file = &settings.storage.file;
    let shown = file.display();
    let newest = SqliteStore::newest_version();
    match SqliteStore::version(file) {
        Ok(None) => {
            return report.add("store", Warn(format!("{shown} is not there: `stackbell serve` makes it")));
        }
        Ok(Some(version)) if version < newest => {
            let text = format!(
                "{shown} is at version {version} of {newest}: `stackbell migrate`, or the next start, brings it up to date"
            );
            return report.add("store", Warn(text));
        }
        Ok(Some(_)) => {}
        Err(error) => return report.add("store", Fail(format!("{:#}", anyhow::Error::new(error)))),
    }
    let path = file.clone();
    let opened = tokio::task::spawn_blocking(move || SqliteStore::open(&path).map(Arc::new)).await;
    let opened = opened.map_err(anyhow::Error::new).and_then(|opened| opened.map_err(anyhow::Error::new));
    let store: Arc<dyn Store> = match opened {
        Ok(store) => store,
        Err(error) => return report.add("store", Fail(format!("{error:#}"))),
    };
    report.add(
        "store",
        match store.check().await {
            Ok(()) => Fine(format!("{shown} can be read and written")),
            Err(error) => Fail(format!("{:#}", anyhow::Error::new(error))),
        },
    )?;
    report.add("master key", master_key(settings, store.as_ref()).await)
}

async fn master_key(settings: &Settings, store: &dyn Store) -> Finding {
    let stored = match store.data_keys().await {
        Ok(stored) => stored,
        Err(error) => return Fail(format!("{:#}", anyhow::Error::new(error))),
    };
    let data = &settings.storage.data;
    let master = match &settings.master_key {
        Some(master) => Some(master.clone()),
        None => match DataFolder::read_master_key(data) {
            Ok(master) => master,
            Err(error) => return Fail(format!("{:#}", anyhow::Error::new(error))),
        },
    };
    match (master, stored.is_empty()) {
        (_, true) => Fine("the store holds no data keys yet".to_owned()),
        (None, false) => Fail(format!(
            "there is none: set STACKBELL_MASTER_KEY, or put the key back at {}",
            DataFolder::master_key_path(data).display()
        )),
        (Some(master), false) => match Keyring::open(&master, &stored) {
            Ok(_) => Fine("opens the store's data keys".to_owned()),
            Err(error) => Fail(error.to_string()),
        },
    }
}

async fn authorities(settings: &Settings) -> Finding {
    match server::outbound_client(&settings.outbound, &OutboundPolicy::default()).await {
        Ok(_) => Fine("the certificates to trust can be read".to_owned()),
        Err(error) => Fail(format!("{error:#}")),
    }
}

async fn names(settings: &Settings) -> Finding {
    let Some(host) = settings.outbound.slack_hosts.first() else {
        return Fine("no host to try".to_owned());
    };
    match SystemResolver::default().resolve(host, 443).await {
        Ok(_) => Fine(format!("{host} can be resolved")),
        Err(error) => Warn(format!(
            "{host} cannot be resolved ({:#}): deliveries to names that are not local will wait",
            anyhow::Error::new(error)
        )),
    }
}

async fn listen(settings: &Settings, is_running: bool) -> Finding {
    let listen = settings.server.listen;
    let bound = server::bind(listen).await;
    match bound {
        Ok(_) if is_running => {
            Warn(format!("{listen} is free, although a process uses the data folder: it listens elsewhere"))
        }
        Ok(_) => Fine(format!("{listen} is free")),
        Err(error) => {
            let is_in_use = error
                .downcast_ref::<io::Error>()
                .is_some_and(|error| error.kind() == io::ErrorKind::AddrInUse);
            if is_in_use { ready(listen).await } else { Fail(format!("{error:#}")) }
        }
    }
}

/// Asks whoever listens there.
async fn ready(listen: std::net::SocketAddr) -> Finding {
    let client = Client::new(ClientSettings { url: server::local_url(listen), token: None });
    let answered = tokio::task::spawn_blocking(move || client.is_ready()).await;
    match answered {
        Ok(Ok(Ok(()))) => Fine(format!("a server at {listen} says that it is ready")),
        Ok(Ok(Err(status))) => Fail(format!("whoever has {listen} answers /readyz with {status}")),
        Ok(Err(error)) => {
            Fail(format!("whoever has {listen} does not answer: {:#}", anyhow::Error::new(error)))
        }
        Err(error) => Fail(error.to_string()),
    }
}
