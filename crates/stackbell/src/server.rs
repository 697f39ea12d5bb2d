//! How a server is put together: store, keyring, engine, control plane, routes, listener; and taken apart again.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use stackbell_app::{App, AppParts};
use stackbell_engine::core::CoreConfig;
use stackbell_engine::outbound::{OutboundClient, OutboundPolicy, OutboundSettings, SystemResolver};
use stackbell_engine::shell::{Engine, Metrics, Parts, Retention, Stopped, SystemClock};
use stackbell_http::{HttpSettings, Surface};
use stackbell_keys::{Keyring, MasterKey};
use stackbell_model::{Clock as _, Timestamp};
use stackbell_store::Store;
use stackbell_store_sqlite::SqliteStore;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::config::{OutboundSection, Settings, StorageSettings};
use crate::data_folder::DataFolder;
use crate::entropy::SystemEntropy;
use crate::keyring::open_keyring;
use crate::listener::Listener;

/// A store that this process has, in a folder that this process has.
pub(crate) struct Opened {
    // In the order in which they are to end.
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// The folder.
    pub(crate) folder: DataFolder,
}

/// What a server stands on.
pub(crate) struct Base {
    // In the order in which they are to end.
    /// The store.
    pub(crate) store: Arc<dyn Store>,
    /// Its keys.
    pub(crate) keyring: Arc<Keyring>,
    /// Chance.
    pub(crate) entropy: SystemEntropy,
    folder: DataFolder,
}

/// A server at work.
pub(crate) struct Server {
    // In the order in which they are to end.
    is_ready: Arc<AtomicBool>,
    listener: Listener,
    changes: TaskTracker,
    upkeep: CancellationToken,
    app: Arc<App>,
    engine: Engine,
    store: Arc<dyn Store>,
    url: Url,
    _folder: DataFolder,
}

/// Takes the address that is to be served.
///
/// # Errors
/// When it is in use, or not this machine's.
pub(crate) async fn bind(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(listen).await.map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => ": another process has it; choose another with --listen ADDRESS:PORT",
            io::ErrorKind::AddrNotAvailable => {
                ": this machine has no such address; choose another with --listen"
            }
            io::ErrorKind::PermissionDenied => ": choose a port above 1023 with --listen",
            _ => "",
        };
        anyhow::Error::new(error).context(format!("cannot listen on {listen}{remedy}"))
    })
}

/// Takes the data folder and opens the store in it, making both where there are none.
///
/// # Errors
/// When another process has one of them, or they cannot be used.
pub(crate) async fn open(storage: &StorageSettings) -> anyhow::Result<Opened> {
    let StorageSettings { data, file, .. } = storage.clone();
    let opened = tokio::task::spawn_blocking(move || {
        let folder = DataFolder::open(&data)?;
        let store =
            SqliteStore::open(&file).with_context(|| format!("cannot open the store {}", file.display()))?;
        anyhow::Ok(Opened { store: Arc::new(store), folder })
    });
    opened.await.context("opening the store was cut")?
}

impl Base {
    /// Opens the keyring of what was opened.
    ///
    /// # Errors
    /// When the master key is not there or is not the store's.
    pub(crate) async fn new(opened: Opened, master_key: Option<&MasterKey>) -> anyhow::Result<Self> {
        let Opened { store, folder } = opened;
        let mut entropy = SystemEntropy::seeded()?;
        let now = SystemClock.now();
        let keyring = open_keyring(store.as_ref(), &folder, master_key, &mut entropy, now).await?;
        Ok(Self { store, keyring: Arc::new(keyring), entropy, folder })
    }

    /// The present moment.
    pub(crate) fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

impl Server {
    /// Starts a server on `socket`.
    ///
    /// # Errors
    /// When the authorities to trust cannot be read, or there is no randomness.
    pub(crate) async fn start(settings: &Settings, socket: TcpListener, base: Base) -> anyhow::Result<Self> {
        let Base { store, keyring, entropy, folder } = base;
        let url = match &settings.server.public_url {
            Some(url) => url.clone(),
            None => local_url(socket.local_addr()?),
        };
        let policy = Arc::new(OutboundPolicy::new(settings.outbound.allowances.iter().cloned()));
        let metrics = Arc::new(Metrics::default());
        let engine = Engine::start(Parts {
            store: Arc::clone(&store),
            keyring: Arc::clone(&keyring),
            outbound: outbound_client(&settings.outbound, &policy).await?,
            clock: Arc::new(SystemClock),
            entropy: Box::new(entropy),
            config: CoreConfig::default(),
            retention: Retention { finished: settings.retention.finished, audit: settings.retention.audit },
            metrics: Arc::clone(&metrics),
        });
        let app = Arc::new(App::new(AppParts {
            store: Arc::clone(&store),
            engine: engine.handle(),
            keyring,
            clock: Arc::new(SystemClock),
            entropy: Box::new(SystemEntropy::seeded()?),
            outbound: policy,
            slack_hosts: settings.outbound.slack_hosts.clone(),
        }));
        let is_ready = Arc::new(AtomicBool::new(true));
        let changes = TaskTracker::new();
        let upkeep = CancellationToken::new();
        changes.spawn(write_token_uses(Arc::clone(&app), upkeep.clone()));
        let http = http_settings(Arc::clone(&is_ready), metrics, changes.clone())?;
        let listener = Listener::start(socket, stackbell_http::router(Arc::clone(&app), http))?;
        Ok(Self { is_ready, listener, changes, upkeep, app, engine, store, url, _folder: folder })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Where clients reach it.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }

    /// Ends once the engine or the listener has ended, which they do by themselves only through a defect.
    pub(crate) async fn ended(&self) {
        tokio::select! {
            () = self.engine.ended() => {}
            () = self.listener.ended() => {}
        }
    }

    /// Stops in order: no longer ready, no new connections, no new attempts, the store closed. Takes about `limit`.
    pub(crate) async fn stop(self, limit: Duration) {
        let Self { is_ready, listener, changes, upkeep, app, engine, store, .. } = self;
        is_ready.store(false, Ordering::Relaxed);
        let since = Instant::now();
        // Producers get half of the time, so that one who dawdles leaves some for the attempts in flight.
        listener.stop(limit / 2).await;
        // What may change something goes on when its connection is gone.
        changes.close();
        upkeep.cancel();
        if tokio::time::timeout(limit.saturating_sub(since.elapsed()) / 2, changes.wait()).await.is_err() {
            tracing::warn!("some changes were under way; look before you make them again");
        }
        drop(app);
        if engine.stop(limit.saturating_sub(since.elapsed())).await == Stopped::Cut {
            tracing::warn!("some outcomes could not be recorded; those deliveries will be sent again");
        }
        // Closing writes to disk.
        let closed = tokio::task::spawn_blocking(move || drop(store));
        if closed.await.is_err() {
            tracing::error!("the store did not close");
        }
    }
}

/// How often it is written down when tokens were last used.
const TOKEN_USES_INTERVAL: Duration = Duration::from_secs(60);

/// Writes down when tokens were last used, now and then and once more at the end.
async fn write_token_uses(app: Arc<App>, end: CancellationToken) {
    loop {
        let is_over = end.run_until_cancelled(tokio::time::sleep(TOKEN_USES_INTERVAL)).await.is_none();
        if let Err(error) = app.write_token_uses().await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "when tokens were last used was not written down; it is tried again");
        }
        if is_over {
            return;
        }
    }
}

fn http_settings(
    is_ready: Arc<AtomicBool>,
    metrics: Arc<Metrics>,
    changes: TaskTracker,
) -> anyhow::Result<HttpSettings> {
    Ok(HttpSettings {
        changes,
        surface: Surface::Whole,
        readiness: Arc::new(move || is_ready.load(Ordering::Relaxed)),
        metrics: Arc::new(move || metrics.encode()),
        entropy: Arc::new(Mutex::new(SystemEntropy::seeded()?)),
    })
}

/// The one client for endpoints.
///
/// # Errors
/// When the authorities to trust cannot be read.
pub(crate) async fn outbound_client(
    section: &OutboundSection,
    policy: &OutboundPolicy,
) -> anyhow::Result<OutboundClient> {
    let settings = OutboundSettings { ca_file: section.ca_file.clone(), ..OutboundSettings::default() };
    let resolver = Arc::new(SystemResolver::default());
    Ok(OutboundClient::new(&settings, policy, resolver, Arc::new(SystemClock)).await?)
}

/// Where this machine reaches a server that listens at `address`.
pub(crate) fn local_url(address: SocketAddr) -> Url {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let address = SocketAddr::new(ip, address.port());
    Url::parse(&format!("http://{address}")).expect("an address makes a URL")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_this_machine_reaches_a_server() {
        let check = |address: &str, expected: &str| {
            assert_eq!(local_url(address.parse().expect(address)).as_str(), expected);
        };
        check("0.0.0.0:1", "http://127.0.0.1:1/");
        check("[::]:1", "http://[::1]:1/");
        check("192.168.0.1:80", "http://192.168.0.1/");
    }
}
