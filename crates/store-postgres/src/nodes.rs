//! Heartbeats of the nodes, and notifications between them.
//!
//! A notification is a `NOTIFY` without content on its own connection, because commits that notify would wait for each other.
//! Notifications are rare and may be lost. There are none behind a pooler that assigns connections by transaction.

use std::pin::{Pin, pin};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{Stream, StreamExt as _, stream};
use stackbell_model::Chain;
use stackbell_model::ids::NodeId;
use stackbell_store::StoreError;
use stackbell_store::nodes::Nodes;
use stackbell_store::rows::{Columns as _, Id as _, milliseconds};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::session::{Access, Pooling};
use crate::statement::statement;
use crate::{PostgresOptions, PostgresStore};

statement!(REPORT = "/* report_node */ INSERT INTO nodes (id, seen_at) VALUES ($1, now_ms()) \
    ON CONFLICT (id) DO UPDATE SET seen_at = now_ms()"; UUID);

statement!(FORGET_LOST = "/* report_node.lost */ DELETE FROM nodes WHERE seen_at < now_ms() - $1"; INT8);

statement!(LIST = "/* report_node.list */ SELECT id FROM nodes ORDER BY id";);

statement!(FORGET = "/* forget_node */ DELETE FROM nodes WHERE id = $1"; UUID);

/// The minimum time between two notifications of a node, because each one makes every other node read all lanes.
const WAKE_INTERVAL: Duration = Duration::from_millis(100);

/// The wait before a lost connection is opened again.
const RECONNECT_WAIT: Duration = Duration::from_secs(2);

/// Notifications to and from other nodes.
#[derive(Default)]
pub(crate) struct WakeUps {
    /// This process has stored deliveries that other nodes may send.
    requested: Notify,
    /// The connection that listens. One task at a time uses it.
    listening: Mutex<Option<Listening>>,
}

impl WakeUps {
    /// Requests a notification of the other nodes.
    pub(crate) fn request(&self) {
        self.requested.notify_one();
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<AsyncMessage, tokio_postgres::Error>> + Send>>;

/// A connection that listens. It makes progress only while a task awaits its messages.
struct Listening {
    client: Client,
    messages: Messages,
    process_id: i32,
    /// The earliest time of the next notification.
    not_before: Instant,
}

impl Listening {
    async fn begin(options: &PostgresOptions) -> Result<Self, tokio_postgres::Error> {
        let config = options.url.config();
        let (client, messages) = if options.url.has_tls() {
            let (client, connection) = config.connect(MakeRustlsConnect::new((*options.tls).clone())).await?;
            (client, messages(connection))
        } else {
            let (client, connection) = config.connect(NoTls).await?;
            (client, messages(connection))
        };
        let mut listening = Self { client, messages, process_id: 0, not_before: Instant::now() };
        let started = async {
            listening.client.batch_execute("LISTEN stackbell_due").await?;
            listening.client.query_typed_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)
        };
        listening.process_id = drive(&mut listening.messages, started, |_| {}).await?;
        Ok(listening)
    }

    /// Waits for a notification from another node, and notifies the others meanwhile.
    async fn wait(&mut self, requested: &Notify) -> Result<(), tokio_postgres::Error> {
        loop {
            let Self { client, messages, process_id, not_before } = self;
            let due = async {
                tokio::time::sleep_until(*not_before).await;
                requested.notified().await;
            };
            tokio::select! {
                message = messages.next() => match message {
                    Some(Ok(message)) if is_from_another(&message, *process_id) => return Ok(()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    // The connection has ended without an error. Its next use reports the reason.
                    None => client.check_connection().await?,
                },
                () = due => {
                    let mut is_woken = false;
                    let sent = client.batch_execute("NOTIFY stackbell_due");
                    drive(messages, sent, |message| is_woken |= is_from_another(&message, *process_id)).await?;
                    *not_before = Instant::now() + WAKE_INTERVAL;
                    if is_woken {
                        return Ok(());
                    }
                }
            }
        }
    }
}

fn messages<S, T>(mut connection: Connection<S, T>) -> Messages
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Box::pin(stream::poll_fn(move |context| connection.poll_message(context)))
}

/// Runs `work` on a connection, and drives the connection meanwhile. Messages that arrive are passed to `on_message`.
async fn drive<T>(
    messages: &mut Messages,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    mut on_message: impl FnMut(AsyncMessage),
) -> Result<T, tokio_postgres::Error> {
    let mut work = pin!(work);
    let mut has_ended = false;
    loop {
        tokio::select! {
            done = &mut work => return done,
            message = messages.next(), if !has_ended => match message {
                Some(Ok(message)) => on_message(message),
                Some(Err(error)) => return Err(error),
                None => has_ended = true,
            }
        }
    }
}

fn is_from_another(message: &AsyncMessage, own: i32) -> bool {
    matches!(message, AsyncMessage::Notification(notification) if notification.process_id() != own)
}

#[async_trait]
impl Nodes for PostgresStore {
    fn is_shared(&self) -> bool {
        true
    }

    async fn report_node(&self, node: NodeId, within: Duration) -> Result<Vec<NodeId>, StoreError> {
        let (id, within) = (node.uuid(), milliseconds(within));
        let nodes = self.engine_pool.run(Access::Write, "report_node", |tx| async move {
            tx.change(&REPORT, &[&id]).await?;
            tx.change(&FORGET_LOST, &[&within]).await?;
            tx.list(&LIST, &[], "nodes", |cursor| cursor.id("id")).await
        });
        nodes.await
    }

    async fn forget_node(&self, node: NodeId) -> Result<(), StoreError> {
        let id = node.uuid();
        let forgotten = self.engine_pool.run(Access::Write, "forget_node", |tx| async move {
            tx.change(&FORGET, &[&id]).await.map(|_| ())
        });
        forgotten.await
    }

    async fn woken_up(&self) {
        if self.options.pooling == Pooling::Transaction {
            return std::future::pending().await;
        }
        let mut listening = self.wake_ups.listening.lock().await;
        loop {
            if let Some(connection) = listening.as_mut() {
                match connection.wait(&self.wake_ups.requested).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::info!(error = %Chain(&error), "notifications from other nodes are interrupted; nodes poll meanwhile");
                    }
                }
                *listening = None;
                tokio::time::sleep(RECONNECT_WAIT).await;
            }
            match Listening::begin(&self.options).await {
                // Notifications may have been lost before.
                Ok(connection) => {
                    *listening = Some(connection);
                    return;
                }
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "cannot listen for notifications from other nodes; retrying");
                    tokio::time::sleep(RECONNECT_WAIT).await;
                }
            }
        }
    }
}
