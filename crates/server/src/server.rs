//! The start of a server (store, keyring, engine, control plane, routes, listeners) and its stop.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;
use stackbell_app::{App, AppParts};
use stackbell_config::{KeySettings, ServerSettings, Settings, StoreSettings};
use stackbell_engine::outbound::OutboundPolicy;
use stackbell_engine::shell::{Engine, Metrics, Parts, Stopped};
use stackbell_http::{HttpSettings, Surface, TrustedProxies};
use stackbell_keys::Keyring;
use stackbell_model::{Chain, Clock as _, Timestamp};
use stackbell_store::Store;
use stackbell_store::backup::Backup;
use stackbell_system::{SystemClock, SystemEntropy, local_url};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::connection_slots::{CONNECTIONS_MAX, ConnectionSlots, OPERATIONS_CONNECTIONS_MAX};
use crate::data_folder::DataFolder;
use crate::disk;
use crate::keyring::{KeySource, MasterKeys, Opener};
use crate::listener::{Listener, Protection};
use crate::process_metrics::ProcessMetrics;
use crate::server_metrics::{CutConnections, ServerMetrics};
use crate::storage::Opened;
use crate::tls::Certificates;
use crate::{telemetry, wiring};

/// The bound addresses of a server, and its certificate.
pub struct Sockets {
    main: TcpListener,
    /// The socket for operations, if they have their own address.
    operations: Option<TcpListener>,
    certificates: Option<Arc<Certificates>>,
}

/// The open store and keys of a server, before it serves.
pub struct Base {
    // Fields are dropped in this order.
    /// The store.
    pub store: Arc<dyn Store>,
    /// The store's backups, if it can make them.
    backup: Option<Arc<dyn Backup>>,
    /// The keys of the store.
    pub keyring: Arc<Keyring>,
    /// The source of the master key.
    source: KeySource,
    /// Random numbers.
    pub entropy: SystemEntropy,
    /// The folder for backups in progress.
    scratch: PathBuf,
    folder: DataFolder,
}

/// A running server.
pub struct Server {
    // Fields are dropped in this order.
    is_ready: Arc<AtomicBool>,
    listener: Listener,
    operations: Option<Listener>,
    certificates: Option<Arc<Certificates>>,
    changes: TaskTracker,
    background: CancellationToken,
    app: Arc<App>,
    engine: Engine,
    store: Arc<dyn Store>,
    url: Url,
    _folder: DataFolder,
}

impl Sockets {
    /// Binds the addresses and reads the certificate. A start does this before all else.
    ///
    /// # Errors
    /// If an address is in use or not on this machine, or if the certificate and its key cannot be used.
    pub async fn take(settings: &ServerSettings) -> anyhow::Result<Self> {
        let certificates = match settings.tls.clone() {
            Some(files) => {
                let loaded = tokio::task::spawn_blocking(move || Certificates::load(files)).await;
                Some(Arc::new(loaded.context("reading the certificate was interrupted")??))
            }
            None => None,
        };
        let main = bind(settings.listen, "listen")?;
        let operations = match settings.ops_listen {
            Some(address) => Some(bind(address, "ops-listen")?),
            None => None,
        };
        Ok(Self { main, operations, certificates })
    }
}

/// The length of the kernel's queue of new connections, as far as the system allows. In a burst, a client that finds the
/// queue full would wait a second for its retransmission.
const BACKLOG: u32 = 4096;

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // Closing connections of a stopped server would otherwise block its address.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Binds the address that the flag `flag` sets.
///
/// # Errors
/// If it is in use, or not on this machine.
pub fn bind(address: SocketAddr, flag: &str) -> anyhow::Result<TcpListener> {
    listen(address).map_err(|error| {
        let remedy = match error.kind() {
            io::ErrorKind::AddrInUse => {
                format!(": another process has it; choose another with --{flag} ADDRESS:PORT")
            }
            io::ErrorKind::AddrNotAvailable => {
                format!(": this machine has no such address; choose another with --{flag}")
            }
            io::ErrorKind::PermissionDenied => format!(": choose a port above 1023 with --{flag}"),
            _ => String::new(),
        };
        anyhow::Error::new(error).context(format!("cannot listen on {address}{remedy}"))
    })
}

impl Base {
    /// Opens the keyring of a store, and empties the folder for backups.
    ///
    /// # Errors
    /// If the master key is missing, or belongs to another store.
    pub async fn new(opened: Opened, keys: &KeySettings) -> anyhow::Result<Self> {
        let Opened { store, backup, folder } = opened;
        let mut entropy = SystemEntropy::seeded()?;
        let source = KeySource::new(keys.clone(), folder.path());
        let opener =
            Opener { store: store.as_ref(), source: &source, entropy: &mut entropy, now: SystemClock.now() };
        let keyring = Arc::new(opener.open().await?);
        let scratch = folder.empty_scratch()?;
        Ok(Self { store, backup, keyring, source, entropy, scratch, folder })
    }

    /// The present time.
    pub fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

impl Server {
    /// Starts a server on `sockets`.
    ///
    /// # Errors
    /// If the trusted authorities cannot be read, or there is no randomness.
    pub async fn start(settings: &Settings, sockets: Sockets, base: Base) -> anyhow::Result<Self> {
        let Base { store, backup, keyring, source, entropy, scratch, folder } = base;
        let url = match &settings.server.public_url {
            Some(url) => url.clone(),
            None => local_url(sockets.main.local_addr()?, sockets.certificates.is_some()),
        };
        let policy = Arc::new(OutboundPolicy::new(settings.outbound.allowances.iter().cloned()));
        let metrics = Arc::new(Metrics::default());
        let process = ProcessMetrics::new(SystemClock.now());
        let engine = Engine::start(Parts {
            store: Arc::<dyn Store>::clone(&store),
            keyring: Arc::clone(&keyring),
            outbound: wiring::outbound_client(settings, &policy).await?,
            clock: Arc::new(SystemClock),
            entropy: Box::new(entropy),
            config: wiring::core_config(settings),
            retention: wiring::retention(settings),
            public_url: settings.server.public_url.clone(),
            metrics: Arc::clone(&metrics),
        });
        let master_keys =
            MasterKeys::new(source, Arc::clone(&store), Arc::clone(&keyring), SystemEntropy::seeded()?);
        let app = Arc::new(App::new(AppParts {
            store: Arc::clone(&store),
            engine: engine.handle(),
            keyring,
            clock: Arc::new(SystemClock),
            entropy: Box::new(SystemEntropy::seeded()?),
            outbound: policy,
            slack_hosts: settings.outbound.slack_hosts.clone(),
            limits: wiring::app_limits(&settings.limits),
            master_keys: Arc::new(master_keys),
            backup,
            scratch,
        }));
        let is_ready = Arc::new(AtomicBool::new(true));
        let changes = TaskTracker::new();
        let background = CancellationToken::new();
        changes.spawn(write_token_uses(Arc::clone(&app), background.clone()));
        // A database's disk is not watched, because it is usually on another machine.
        if let StoreSettings::Embedded(embedded) = &settings.storage.store {
            changes.spawn(disk::watch(embedded.folder().to_owned(), background.clone()));
        }
        let Sockets { main, operations, certificates } = sockets;
        let protection = match &certificates {
            Some(certificates) => {
                let watching = Arc::clone(certificates).watch(Arc::new(SystemClock), background.clone());
                changes.spawn(watching);
                Protection::Tls(Arc::clone(certificates))
            }
            None => Protection::Plain,
        };
        let surface = if operations.is_some() { Surface::Apis } else { Surface::Whole };
        // A node on a database stays ready without its data folder.
        let data_folder: Arc<dyn Fn() -> bool + Send + Sync> = match &settings.storage.store {
            StoreSettings::Embedded(_) => Arc::new(folder.presence()),
            StoreSettings::Postgres(_) => Arc::new(|| true),
        };
        let cut = CutConnections::default();
        let of_server = ServerMetrics::new(&cut, telemetry::lines_left_out());
        let metrics = (metrics, process, of_server);
        let http = http_settings(settings, Arc::clone(&is_ready), data_folder, metrics, changes.clone())?;
        let router =
            |surface| stackbell_http::router(Arc::clone(&app), HttpSettings { surface, ..http.clone() });
        let slots =
            ConnectionSlots::new(CONNECTIONS_MAX, settings.server.trusted_proxies.clone(), cut.clone());
        let listener = Listener::start(main, protection, router(surface), slots)?;
        let operations = operations
            .map(|socket| {
                let slots = ConnectionSlots::new(OPERATIONS_CONNECTIONS_MAX, Vec::new(), cut);
                Listener::start(socket, Protection::Plain, router(Surface::Operations), slots)
            })
            .transpose()?;
        Ok(Self {
            is_ready,
            listener,
            operations,
            certificates,
            changes,
            background,
            app,
            engine,
            store,
            url,
            _folder: folder,
        })
    }

    /// The main address.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// The address for operations, if it is separate.
    pub fn operations_address(&self) -> Option<SocketAddr> {
        self.operations.as_ref().map(Listener::address)
    }

    /// The URL for clients.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Returns once the engine or a listener has ended. Without a stop only a defect ends them.
    pub async fn ended(&self) {
        tokio::select! {
            () = self.engine.ended() => {}
            () = self.listener.ended() => {}
            () = ended(self.operations.as_ref()) => {}
        }
    }

    /// Reloads the certificate and its key.
    pub async fn reload(&self) {
        match &self.certificates {
            Some(certificates) => Arc::clone(certificates).reload().await,
            None => tracing::info!("there is nothing to reload: tls_cert is not set"),
        }
    }

    /// Stops in order: readiness ends, then connections, then attempts; then the store is closed. Takes about `limit`.
    pub async fn stop(self, limit: Duration) {
        let Self { is_ready, listener, operations, changes, background, app, engine, store, .. } = self;
        is_ready.store(false, Ordering::Relaxed);
        let since = Instant::now();
        // Producers get half of the time, so that slow ones leave some for the attempts in flight.
        listener.stop(limit / 2).await;
        // Changes in progress continue after their connections are closed.
        changes.close();
        background.cancel();
        if tokio::time::timeout(limit.saturating_sub(since.elapsed()) / 2, changes.wait()).await.is_err() {
            tracing::warn!("some changes were in progress; check before you make them again");
        }
        drop(app);
        if engine.stop(limit.saturating_sub(since.elapsed())).await == Stopped::Cut {
            tracing::warn!("some outcomes could not be recorded; those deliveries will be sent again");
        }
        // Probes get responses until here, so that they see the stop.
        if let Some(operations) = operations {
            operations.stop(OPERATIONS_STOP_TIME).await;
        }
        // Closing writes to disk.
        let closed = tokio::task::spawn_blocking(move || drop(store));
        if closed.await.is_err() {
            tracing::error!("the store did not close");
        }
    }
}

/// The time that requests to the operations address have at a stop. They are short.
const OPERATIONS_STOP_TIME: Duration = Duration::from_secs(1);

/// The interval at which the last use of tokens is stored.
const TOKEN_USES_INTERVAL: Duration = Duration::from_secs(60);

/// Stores the last use of tokens at intervals, and once more at the end.
async fn write_token_uses(app: Arc<App>, end: CancellationToken) {
    let mut was_told = false;
    loop {
        let is_over = end.run_until_cancelled(tokio::time::sleep(TOKEN_USES_INTERVAL)).await.is_none();
        let written = app.write_token_uses().await;
        if let Err(error) = &written
            && !was_told
        {
            tracing::warn!(error = %Chain(error), "the last uses of tokens could not be stored; the server tries again");
        }
        was_told = written.is_err();
        if is_over {
            return;
        }
    }
}

/// Returns once the listener has ended; never if there is none.
async fn ended(listener: Option<&Listener>) {
    match listener {
        Some(listener) => listener.ended().await,
        None => std::future::pending().await,
    }
}

fn http_settings(
    settings: &Settings,
    is_ready: Arc<AtomicBool>,
    data_folder: Arc<dyn Fn() -> bool + Send + Sync>,
    (metrics, process, of_server): (Arc<Metrics>, ProcessMetrics, ServerMetrics),
    changes: TaskTracker,
) -> anyhow::Result<HttpSettings> {
    Ok(HttpSettings {
        changes,
        surface: Surface::Whole,
        limits: wiring::http_limits(&settings.limits),
        trusted_proxies: TrustedProxies::new(settings.server.trusted_proxies.iter().copied()),
        requests_per_second: settings.limits.requests_per_second,
        readiness: Arc::new(move || is_ready.load(Ordering::Relaxed)),
        data_folder,
        metrics: Arc::new(move || {
            let mut text = metrics.encode()?;
            process.encode(&mut text)?;
            of_server.encode(&mut text)?;
            Ok(text)
        }),
        requests: Arc::new(stackbell_http::request_metrics()),
        entropy: Arc::new(Mutex::new(SystemEntropy::seeded()?)),
    })
}
