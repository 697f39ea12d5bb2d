//! Reading everything, in the order in which it came in: along the file, and without sorting.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use stackbell_store::StoreError;
use stackbell_store::history::StoredEvent;
use stackbell_store::rows::Columns as _;
use stackbell_store::rows::audit::read_audit;
use stackbell_store::rows::event::read_event;
use stackbell_store::rows::identity::read_user;
use stackbell_store::rows::key::read_data_key;
use stackbell_store::rows::transfer::{
    read_copied_attempt, read_copied_cursor, read_copied_delivery, read_copied_organization,
    read_copied_recovery, read_copied_tally, read_copied_token, read_copied_webhook, read_credential,
    read_membership,
};
use stackbell_store::transfer::rows::{CopiedAttempt, CopiedDelivery};
use stackbell_store::transfer::{Export, Noun, Page, PageLimits, Place, Rows};
use stackbell_store::{
    attempt_columns, audit_columns, event_columns, organization_columns, recovery_columns, token_columns,
    user_columns, webhook_columns,
};
use uuid::Uuid;

use crate::SqliteStore;
use crate::error::Fault;
use crate::rows::{Cursor, first, list_while};

// Each begins with the columns of a `Place`, and takes those of the one before it as ?1 to ?4, and as ?5 how many rows.
// CROSS JOIN keeps the order of the tables, so that none is walked through but the first.

pub(crate) const ORGANIZATIONS: &str = concat!(
    "/* export.organizations */ SELECT o.number, 0, 0, NULL, ",
    organization_columns!(),
    ", o.version FROM organizations o WHERE o.number > ?1 ORDER BY o.number LIMIT ?5"
);

pub(crate) const USERS: &str = concat!(
    "/* export.users */ SELECT u.number, 0, 0, NULL, ",
    user_columns!(),
    " FROM users u WHERE u.number > ?1 ORDER BY u.number LIMIT ?5"
);

pub(crate) const MEMBERSHIPS: &str = "/* export.memberships */ SELECT m.organization_number, m.user_number, 0, NULL, \
    o.id, u.id, m.role FROM memberships m CROSS JOIN organizations o ON o.number = m.organization_number \
    CROSS JOIN users u ON u.number = m.user_number \
    WHERE (m.organization_number, m.user_number) > (?1, ?2) \
    ORDER BY m.organization_number, m.user_number LIMIT ?5";

pub(crate) const TOKENS: &str = concat!(
    "/* export.tokens */ SELECT t.number, 0, 0, NULL, ",
    token_columns!(),
    ", t.hash FROM tokens t LEFT JOIN users u ON u.number = t.user_number \
     LEFT JOIN organizations o ON o.number = t.organization_number \
     WHERE t.number > ?1 ORDER BY t.number LIMIT ?5"
);

pub(crate) const DATA_KEYS: &str = "/* export.data_keys */ SELECT 0, 0, 0, id, id, purpose, bytes, created_at \
    FROM data_keys WHERE id > ?4 ORDER BY id LIMIT ?5";

pub(crate) const CREDENTIALS: &str = "/* export.deployments_credentials */ SELECT c.organization_number, 0, 0, NULL, \
    o.id, c.api_url, c.token_key, c.token, c.stacks, c.set_at FROM deployments_credentials c \
    CROSS JOIN organizations o ON o.number = c.organization_number \
    WHERE c.organization_number > ?1 ORDER BY c.organization_number LIMIT ?5";

pub(crate) const SOURCE_CURSORS: &str = "/* export.source_cursors */ SELECT c.organization_number, 0, 0, c.source, \
    o.id, c.source, c.cursor FROM source_cursors c CROSS JOIN organizations o ON o.number = c.organization_number \
    WHERE (c.organization_number, c.source) > (?1, ?4) ORDER BY c.organization_number, c.source LIMIT ?5";

pub(crate) const WEBHOOKS: &str = concat!(
    "/* export.webhooks */ SELECT w.number, 0, 0, NULL, ",
    webhook_columns!(),
    ", w.deleted_at, w.deleted_by FROM webhooks w CROSS JOIN organizations o ON o.number = w.organization_number \
     WHERE w.number > ?1 ORDER BY w.number LIMIT ?5"
);

pub(crate) const EVENTS: &str = concat!(
    "/* export.events */ SELECT e.number, 0, 0, NULL, ",
    event_columns!(),
    " FROM events e CROSS JOIN organizations o ON o.number = e.organization_number \
     WHERE e.number > ?1 ORDER BY e.number LIMIT ?5"
);

pub(crate) const DELIVERIES: &str = "/* export.deliveries */ SELECT d.number, 0, 0, NULL, \
    d.id, w.id, e.key, d.ping_id, d.format, d.created_at, d.rearmed_at, d.attempts_spent, \
    d.state, d.due_at, d.finished_at, d.fail_reason, d.cancel_reason, d.cancelled_by, d.body \
    FROM deliveries d CROSS JOIN webhooks w ON w.number = d.webhook_number \
    LEFT JOIN events e ON e.number = d.event_number \
    WHERE d.number > ?1 ORDER BY d.number LIMIT ?5";

pub(crate) const ATTEMPTS: &str = concat!(
    "/* export.attempts */ SELECT a.number, 0, 0, NULL, a.number, d.id, w.id, ",
    attempt_columns!(),
    " FROM attempts a CROSS JOIN deliveries d ON d.number = a.delivery_number \
     CROSS JOIN webhooks w ON w.number = a.webhook_number \
     WHERE a.number > ?1 ORDER BY a.number LIMIT ?5"
);

pub(crate) const RECOVERIES: &str = concat!(
    "/* export.recoveries */ SELECT 0, 0, 0, r.id, ",
    recovery_columns!(),
    ", r.after_created_at, nullif(r.after_id, x'') FROM recoveries r \
     CROSS JOIN organizations o ON o.number = r.organization_number WHERE r.id > ?4 ORDER BY r.id LIMIT ?5"
);

pub(crate) const TALLIES: &str = "/* export.tallies */ SELECT t.hour, t.organization_number, t.webhook_number, NULL, \
    t.hour, o.id, w.id, t.events, t.made, t.succeeded, t.failed, t.cancelled, t.attempts, t.attempts_failed, \
    t.attempts_took FROM tallies t CROSS JOIN organizations o ON o.number = t.organization_number \
    LEFT JOIN webhooks w ON w.number = t.webhook_number \
    WHERE (t.hour, t.organization_number, t.webhook_number) > (?1, ?2, ?3) \
    AND (t.webhook_number = 0 OR w.number IS NOT NULL) \
    ORDER BY t.hour, t.organization_number, t.webhook_number LIMIT ?5";

pub(crate) const AUDIT: &str = concat!(
    "/* export.audit */ SELECT 0, 0, 0, id, ",
    audit_columns!(),
    " FROM audit WHERE id > ?4 ORDER BY id LIMIT ?5"
);

const fn count_sql(noun: Noun) -> &'static str {
    match noun {
        Noun::Organizations => "/* count.organizations */ SELECT COUNT(*) FROM organizations",
        Noun::Users => "/* count.users */ SELECT COUNT(*) FROM users",
        Noun::Memberships => "/* count.memberships */ SELECT COUNT(*) FROM memberships",
        Noun::Tokens => "/* count.tokens */ SELECT COUNT(*) FROM tokens",
        Noun::DataKeys => "/* count.data_keys */ SELECT COUNT(*) FROM data_keys",
        Noun::DeploymentsCredentials => {
            "/* count.deployments_credentials */ SELECT COUNT(*) FROM deployments_credentials"
        }
        Noun::SourceCursors => "/* count.source_cursors */ SELECT COUNT(*) FROM source_cursors",
        Noun::Webhooks => "/* count.webhooks */ SELECT COUNT(*) FROM webhooks",
        Noun::Events => "/* count.events */ SELECT COUNT(*) FROM events",
        Noun::Deliveries => "/* count.deliveries */ SELECT COUNT(*) FROM deliveries",
        Noun::Attempts => "/* count.attempts */ SELECT COUNT(*) FROM attempts",
        Noun::Recoveries => "/* count.recoveries */ SELECT COUNT(*) FROM recoveries",
        Noun::Tallies => {
            "/* count.tallies */ SELECT COUNT(*) FROM tallies t WHERE webhook_number = 0 \
             OR EXISTS (SELECT 1 FROM webhooks w WHERE w.number = t.webhook_number)"
        }
        Noun::Audit => "/* count.audit */ SELECT COUNT(*) FROM audit",
    }
}

#[async_trait]
impl Export for SqliteStore {
    async fn count_rows(&self, noun: Noun) -> Result<u64, StoreError> {
        self.read("count_rows", move |connection| {
            let counted =
                first(connection, count_sql(noun), [], noun.as_str(), |cursor| cursor.count("number"))?;
            Ok(counted.unwrap_or_default())
        })
        .await
    }

    async fn export_page(&self, noun: Noun, after: Place, limits: PageLimits) -> Result<Page, StoreError> {
        self.read("export_page", move |connection| Reader { connection, noun, after, limits }.page()).await
    }
}

struct Reader<'page> {
    connection: &'page Connection,
    noun: Noun,
    after: Place,
    limits: PageLimits,
}

impl Reader<'_> {
    fn page(self) -> Result<Page, Fault> {
        match self.noun {
            Noun::Organizations => {
                self.rows(ORGANIZATIONS, Rows::Organizations, |_| 0, |row| read_copied_organization(row))
            }
            Noun::Users => self.rows(USERS, Rows::Users, |_| 0, |row| read_user(row)),
            Noun::Memberships => self.rows(MEMBERSHIPS, Rows::Memberships, |_| 0, |row| read_membership(row)),
            Noun::Tokens => self.rows(TOKENS, Rows::Tokens, |_| 0, |row| read_copied_token(row)),
            Noun::DataKeys => self.rows(DATA_KEYS, Rows::DataKeys, |_| 0, |row| read_data_key(row)),
            Noun::DeploymentsCredentials => {
                self.rows(CREDENTIALS, Rows::DeploymentsCredentials, |_| 0, |row| read_credential(row))
            }
            Noun::SourceCursors => {
                self.rows(SOURCE_CURSORS, Rows::SourceCursors, |_| 0, |row| read_copied_cursor(row))
            }
            Noun::Webhooks => self.rows(WEBHOOKS, Rows::Webhooks, |_| 0, |row| read_copied_webhook(row)),
            Noun::Events => self.rows(EVENTS, Rows::Events, StoredEvent::size, |row| read_event(row)),
            Noun::Deliveries => {
                self.rows(DELIVERIES, Rows::Deliveries, CopiedDelivery::size, |row| read_copied_delivery(row))
            }
            Noun::Attempts => {
                self.rows(ATTEMPTS, Rows::Attempts, CopiedAttempt::size, |row| read_copied_attempt(row))
            }
            Noun::Recoveries => {
                self.rows(RECOVERIES, Rows::Recoveries, |_| 0, |row| read_copied_recovery(row))
            }
            Noun::Tallies => self.rows(TALLIES, Rows::Tallies, |_| 0, |row| read_copied_tally(row)),
            Noun::Audit => self.rows(AUDIT, Rows::Audit, |_| 0, |row| read_audit(row)),
        }
    }

    /// The rows of a statement, up to the one with which they are as large as they may be.
    fn rows<T>(
        &self,
        sql: &str,
        wrap: fn(Vec<T>) -> Rows,
        size: impl Fn(&T) -> u64,
        read: impl Fn(&mut Cursor<'_>) -> Result<T, Fault>,
    ) -> Result<Page, Fault> {
        let [first, second, third] = self.after.numbers;
        let parameters = params![first, second, third, self.after.id.as_bytes(), self.limits.rows_max];
        let (mut bytes, mut end) = (0, self.after);
        let table = self.noun.as_str();
        let read = |cursor: &mut Cursor<'_>| {
            let numbers = [cursor.integer("number")?, cursor.integer("number")?, cursor.integer("number")?];
            let id = cursor.uuid_or_null("id")?.unwrap_or(Uuid::nil());
            cursor.enter(table);
            Ok((Place { numbers, id }, read(cursor)?))
        };
        let rows = list_while(self.connection, sql, parameters, table, read, |(place, row)| {
            (bytes, end) = (bytes + size(row), *place);
            bytes < self.limits.bytes_max
        })?;
        Ok(Page { rows: wrap(rows.into_iter().map(|(_, row)| row).collect()), end })
    }
}
