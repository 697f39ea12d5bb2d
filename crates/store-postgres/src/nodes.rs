//! Which nodes are at work, and waking each other up.
//!
//! A wake-up is a `NOTIFY` without content on a connection of its own: a commit that notified would wait for every other
//! that does. It is sent seldom, may be lost, and is absent behind a pooler that shares connections out by transactions.

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

/// The least time between two wake-ups that a node sends: each makes every other look through all lanes.
const WAKE_INTERVAL: Duration = Duration::from_millis(100);

/// How long after a lost connection the next is tried.
const RECONNECT_WAIT: Duration = Duration::from_secs(2);

/// Waking others up, and being woken up.
#[derive(Default)]
pub(crate) struct WakeUps {
    /// Somebody of this process has put something in that others may take.
    wanted: Notify,
    /// The connection of who waits; one at a time.
    listening: Mutex<Option<Listening>>,
}

impl WakeUps {
    /// Others are to look, soon.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
    }
}

type Messages = Pin<Box<dyn Stream<Item = Result<AsyncMessage, tokio_postgres::Error>> + Send>>;

/// A connection that listens. It goes on only while its messages are waited for.
struct Listening {
    client: Client,
    messages: Messages,
    process_id: i32,
    /// Not before this are others woken up again.
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
        let asked = async {
            listening.client.batch_execute("LISTEN stackbell_due").await?;
            listening.client.query_typed_one("SELECT pg_backend_pid()", &[]).await?.try_get(0)
        };
        listening.process_id = beside(&mut listening.messages, asked, |_| {}).await?;
        Ok(listening)
    }

    /// Waits until another node wakes us up, and wakes others up meanwhile.
    async fn wait(&mut self, wanted: &Notify) -> Result<(), tokio_postgres::Error> {
        loop {
            let Self { client, messages, process_id, not_before } = self;
            let wanted = async {
                tokio::time::sleep_until(*not_before).await;
                wanted.notified().await;
            };
            tokio::select! {
                message = messages.next() => match message {
                    Some(Ok(message)) if is_from_another(&message, *process_id) => return Ok(()),
                    Some(Ok(_)) => {}
                    Some(Err(error)) => return Err(error),
                    // It ended as if it had been asked to: the next use of it says why.
                    None => client.check_connection().await?,
                },
                () = wanted => {
                    let mut is_woken = false;
                    let sent = client.batch_execute("NOTIFY stackbell_due");
                    beside(messages, sent, |message| is_woken |= is_from_another(&message, *process_id)).await?;
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

/// Does something on a connection, which goes on meanwhile; what comes beside it is told.
async fn beside<T>(
    messages: &mut Messages,
    work: impl Future<Output = Result<T, tokio_postgres::Error>>,
    mut tell: impl FnMut(AsyncMessage),
) -> Result<T, tokio_postgres::Error> {
    let mut work = pin!(work);
    let mut has_ended = false;
    loop {
        tokio::select! {
            done = &mut work => return done,
            message = messages.next(), if !has_ended => match message {
                Some(Ok(message)) => tell(message),
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
        let nodes = self.engine.run(Access::Write, "report_node", |tx| async move {
            tx.change(&REPORT, &[&id]).await?;
            tx.change(&FORGET_LOST, &[&within]).await?;
            tx.list(&LIST, &[], "nodes", |cursor| cursor.id("id")).await
        });
        nodes.await
    }

    async fn forget_node(&self, node: NodeId) -> Result<(), StoreError> {
        let id = node.uuid();
        let forgotten = self.engine.run(Access::Write, "forget_node", |tx| async move {
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
                match connection.wait(&self.wake_ups.wanted).await {
                    Ok(()) => return,
                    Err(error) => {
                        tracing::info!(error = %Chain(&error), "wake-ups do not come; nodes look by themselves meanwhile");
                    }
                }
                *listening = None;
                tokio::time::sleep(RECONNECT_WAIT).await;
            }
            match Listening::begin(&self.options).await {
                // What came while nobody listened is not known.
                Ok(connection) => {
                    *listening = Some(connection);
                    return;
                }
                Err(error) => {
                    tracing::debug!(error = %Chain(&error), "wake-ups cannot be listened for; tried again");
                    tokio::time::sleep(RECONNECT_WAIT).await;
                }
            }
        }
    }
}
