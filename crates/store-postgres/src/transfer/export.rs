//! Reading everything, along the keys that rows lie by.

use async_trait::async_trait;
use stackbell_store::StoreError;
use stackbell_store::rows::audit::read_audit;
use stackbell_store::rows::event::read_event;
use stackbell_store::rows::identity::read_user;
use stackbell_store::rows::key::read_data_key;
use stackbell_store::rows::transfer::{
    read_copied_attempt, read_copied_cursor, read_copied_delivery, read_copied_organization,
    read_copied_recovery, read_copied_tally, read_copied_token, read_copied_webhook, read_credential,
    read_membership,
};
use stackbell_store::rows::{Columns as _, integer};
use stackbell_store::transfer::{Export, Noun, Page, PageLimits, Place, Rows};
use stackbell_store::{
    attempt_columns, audit_columns, event_columns, organization_columns, recovery_columns, token_columns,
    user_columns, webhook_columns,
};
use uuid::Uuid;

use crate::PostgresStore;
use crate::error::Fault;
use crate::rows::Cursor;
use crate::session::{Access, Transaction};
use crate::statement::{Statement, statement};

/// Each begins with the columns of a [`Place`], and takes those of the one before it as $1 to $4, how many rows as $5, and
/// how many bytes as $6.
macro_rules! export {
    ($name:ident = $sql:expr) => {
        statement!($name = $sql; INT8, INT8, INT8, UUID, INT8, INT8);
    };
}

export!(
    ORGANIZATIONS = concat!(
        "/* export.organizations */ SELECT o.number, 0::bigint, 0::bigint, NULL::uuid, ",
        organization_columns!(),
        ", o.version FROM organizations o WHERE o.number > $1 ORDER BY o.number LIMIT $5"
    )
);

export!(
    USERS = concat!(
        "/* export.users */ SELECT u.number, 0::bigint, 0::bigint, NULL::uuid, ",
        user_columns!(),
        " FROM users u WHERE u.number > $1 ORDER BY u.number LIMIT $5"
    )
);

export!(
    MEMBERSHIPS = "/* export.memberships */ SELECT m.organization_number, m.user_number, 0::bigint, NULL::uuid, \
    o.id, u.id, m.role FROM memberships m JOIN organizations o ON o.number = m.organization_number \
    JOIN users u ON u.number = m.user_number WHERE (m.organization_number, m.user_number) > ($1, $2) \
    ORDER BY m.organization_number, m.user_number LIMIT $5"
);

export!(
    TOKENS = concat!(
        "/* export.tokens */ SELECT t.number, 0::bigint, 0::bigint, NULL::uuid, ",
        token_columns!(),
        ", t.hash FROM tokens t LEFT JOIN users u ON u.number = t.user_number \
     LEFT JOIN organizations o ON o.number = t.organization_number \
     WHERE t.number > $1 ORDER BY t.number LIMIT $5"
    )
);

export!(
    DATA_KEYS = "/* export.data_keys */ SELECT 0::bigint, 0::bigint, 0::bigint, id, id, purpose, bytes, created_at \
    FROM data_keys WHERE id > $4 ORDER BY id LIMIT $5"
);

export!(
    CREDENTIALS = "/* export.deployments_credentials */ SELECT c.organization_number, 0::bigint, 0::bigint, \
    NULL::uuid, o.id, c.api_url, c.token_key, c.token, c.stacks, c.set_at FROM deployments_credentials c \
    JOIN organizations o ON o.number = c.organization_number \
    WHERE c.organization_number > $1 ORDER BY c.organization_number LIMIT $5"
);

export!(
    SOURCE_CURSORS = "/* export.source_cursors */ SELECT c.organization_number, 0::bigint, 0::bigint, c.source, \
    o.id, c.source, c.cursor FROM source_cursors c JOIN organizations o ON o.number = c.organization_number \
    WHERE (c.organization_number, c.source) > ($1, $4) ORDER BY c.organization_number, c.source LIMIT $5"
);

export!(
    WEBHOOKS = concat!(
        "/* export.webhooks */ SELECT w.number, 0::bigint, 0::bigint, NULL::uuid, ",
        webhook_columns!(),
        ", w.deleted_at, w.deleted_by FROM webhooks w JOIN organizations o ON o.number = w.organization_number \
     WHERE w.number > $1 ORDER BY w.number LIMIT $5"
    )
);

/// What the rows before have of bytes together, in a list that is ordered by the words given; null for the first. Lengths are
/// known without the bytes, which stay where they are until the rows are chosen.
macro_rules! bytes_before {
    ($size:expr, $order:expr) => {
        concat!(
            "sum(",
            $size,
            ") OVER (ORDER BY ",
            $order,
            " ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes_before"
        )
    };
}

export!(
    EVENTS = concat!(
        "/* export.events */ SELECT 0::bigint, 0::bigint, 0::bigint, e.key, ",
        event_columns!(),
        " FROM (SELECT e.*, ",
        bytes_before!("octet_length(e.payload)", "e.key"),
        " FROM (SELECT e.* FROM events e WHERE e.key > $4 ORDER BY e.key LIMIT $5) e) e \
     JOIN organizations o ON o.number = e.organization_number \
     WHERE coalesce(e.bytes_before < $6, true) ORDER BY e.key"
    )
);

export!(
    DELIVERIES = concat!(
        "/* export.deliveries */ SELECT 0::bigint, 0::bigint, 0::bigint, d.id, \
     d.id, w.id, d.event_key, d.ping_id, d.format, d.created_at, d.rearmed_at, d.attempts_spent, \
     d.state, d.due_at, d.finished_at, d.fail_reason, d.cancel_reason, d.cancelled_by, d.body FROM (SELECT d.*, ",
        bytes_before!("coalesce(octet_length(d.body), 0)", "d.id"),
        " FROM (SELECT d.* FROM deliveries d WHERE d.id > $4 ORDER BY d.id LIMIT $5) d) d \
     JOIN webhooks w ON w.number = d.webhook_number \
     WHERE coalesce(d.bytes_before < $6, true) ORDER BY d.id"
    )
);

export!(
    ATTEMPTS = concat!(
        "/* export.attempts */ SELECT a.number, 0::bigint, 0::bigint, a.delivery_id, a.number, a.delivery_id, w.id, ",
        attempt_columns!(),
        " FROM (SELECT a.*, ",
        bytes_before!(
            "octet_length(a.request_headers) + coalesce(octet_length(a.response_headers), 0) \
         + coalesce(octet_length(a.response_body), 0)",
            "a.delivery_id, a.number"
        ),
        " FROM (SELECT a.* FROM attempts a \
         WHERE a.delivery_id >= $4 AND (a.delivery_id > $4 OR a.number > $1) \
         ORDER BY a.delivery_id, a.number LIMIT $5) a) a \
     JOIN webhooks w ON w.number = a.webhook_number \
     WHERE coalesce(a.bytes_before < $6, true) ORDER BY a.delivery_id, a.number"
    )
);

export!(
    RECOVERIES = concat!(
        "/* export.recoveries */ SELECT 0::bigint, 0::bigint, 0::bigint, r.id, ",
        recovery_columns!(),
        ", r.after_created_at, nullif(r.after_id, '00000000-0000-0000-0000-000000000000'::uuid) FROM recoveries r \
     JOIN organizations o ON o.number = r.organization_number WHERE r.id > $4 ORDER BY r.id LIMIT $5"
    )
);

// A day at the most is added up for a page: to the end of all hours would be as much again for each page.
export!(
    TALLIES = "/* export.tallies */ SELECT t.hour, t.organization_number, t.webhook_number, NULL::uuid, \
        t.hour, o.id, w.id, t.events, t.made, t.succeeded, t.failed, t.cancelled, t.attempts, t.attempts_failed, \
        t.attempts_took \
    FROM (SELECT hour, organization_number, webhook_number, sum(events)::bigint AS events, sum(made)::bigint AS made, \
            sum(succeeded)::bigint AS succeeded, sum(failed)::bigint AS failed, sum(cancelled)::bigint AS cancelled, \
            sum(attempts)::bigint AS attempts, sum(attempts_failed)::bigint AS attempts_failed, \
            sum(attempts_took)::bigint AS attempts_took \
        FROM tallies WHERE hour = ANY (ARRAY(SELECT DISTINCT hour FROM tallies WHERE hour >= $1 ORDER BY hour LIMIT 24)) \
            AND (hour, organization_number, webhook_number) > ($1, $2, $3) \
        GROUP BY hour, organization_number, webhook_number \
        ORDER BY hour, organization_number, webhook_number LIMIT $5) t \
    JOIN organizations o ON o.number = t.organization_number LEFT JOIN webhooks w ON w.number = t.webhook_number \
    WHERE t.webhook_number = 0 OR w.number IS NOT NULL ORDER BY t.hour, t.organization_number, t.webhook_number"
);

export!(
    AUDIT = concat!(
        "/* export.audit */ SELECT 0::bigint, 0::bigint, 0::bigint, id, ",
        audit_columns!(),
        " FROM audit WHERE id > $4 ORDER BY id LIMIT $5"
    )
);

/// All of them.
#[cfg(test)]
pub(crate) const STATEMENTS: [&Statement; 14] = [
    &ORGANIZATIONS,
    &USERS,
    &MEMBERSHIPS,
    &TOKENS,
    &DATA_KEYS,
    &CREDENTIALS,
    &SOURCE_CURSORS,
    &WEBHOOKS,
    &EVENTS,
    &DELIVERIES,
    &ATTEMPTS,
    &RECOVERIES,
    &TALLIES,
    &AUDIT,
];

const fn count_sql(noun: Noun) -> &'static str {
    match noun {
        Noun::Organizations => "/* count.organizations */ SELECT count(*) FROM organizations",
        Noun::Users => "/* count.users */ SELECT count(*) FROM users",
        Noun::Memberships => "/* count.memberships */ SELECT count(*) FROM memberships",
        Noun::Tokens => "/* count.tokens */ SELECT count(*) FROM tokens",
        Noun::DataKeys => "/* count.data_keys */ SELECT count(*) FROM data_keys",
        Noun::DeploymentsCredentials => {
            "/* count.deployments_credentials */ SELECT count(*) FROM deployments_credentials"
        }
        Noun::SourceCursors => "/* count.source_cursors */ SELECT count(*) FROM source_cursors",
        Noun::Webhooks => "/* count.webhooks */ SELECT count(*) FROM webhooks",
        Noun::Events => "/* count.events */ SELECT count(*) FROM events",
        Noun::Deliveries => "/* count.deliveries */ SELECT count(*) FROM deliveries",
        Noun::Attempts => "/* count.attempts */ SELECT count(*) FROM attempts",
        Noun::Recoveries => "/* count.recoveries */ SELECT count(*) FROM recoveries",
        Noun::Tallies => {
            "/* count.tallies */ SELECT count(*) FROM (SELECT FROM tallies t WHERE webhook_number = 0 \
             OR EXISTS (SELECT FROM webhooks w WHERE w.number = t.webhook_number) \
             GROUP BY hour, organization_number, webhook_number) t"
        }
        Noun::Audit => "/* count.audit */ SELECT count(*) FROM audit",
    }
}

#[async_trait]
impl Export for PostgresStore {
    async fn count_rows(&self, noun: Noun) -> Result<u64, StoreError> {
        self.people
            .run(Access::Long, "count_rows", |tx| async move {
                let rows = tx.ask(count_sql(noun)).await?;
                let counted = rows.first().map(|row| Cursor::new(row, noun.as_str()).count("number"));
                counted.unwrap_or(Ok(0))
            })
            .await
    }

    async fn export_page(&self, noun: Noun, after: Place, limits: PageLimits) -> Result<Page, StoreError> {
        self.people
            .run(Access::Long, "export_page", |tx| async move {
                Reader { tx: &tx, noun, after, limits }.page().await
            })
            .await
    }
}

struct Reader<'page> {
    tx: &'page Transaction,
    noun: Noun,
    after: Place,
    limits: PageLimits,
}

impl Reader<'_> {
    async fn page(self) -> Result<Page, Fault> {
        match self.noun {
            Noun::Organizations => {
                self.rows(&ORGANIZATIONS, Rows::Organizations, |row| read_copied_organization(row)).await
            }
            Noun::Users => self.rows(&USERS, Rows::Users, |row| read_user(row)).await,
            Noun::Memberships => self.rows(&MEMBERSHIPS, Rows::Memberships, |row| read_membership(row)).await,
            Noun::Tokens => self.rows(&TOKENS, Rows::Tokens, |row| read_copied_token(row)).await,
            Noun::DataKeys => self.rows(&DATA_KEYS, Rows::DataKeys, |row| read_data_key(row)).await,
            Noun::DeploymentsCredentials => {
                self.rows(&CREDENTIALS, Rows::DeploymentsCredentials, |row| read_credential(row)).await
            }
            Noun::SourceCursors => {
                self.rows(&SOURCE_CURSORS, Rows::SourceCursors, |row| read_copied_cursor(row)).await
            }
            Noun::Webhooks => self.rows(&WEBHOOKS, Rows::Webhooks, |row| read_copied_webhook(row)).await,
            Noun::Events => self.rows(&EVENTS, Rows::Events, |row| read_event(row)).await,
            Noun::Deliveries => {
                self.rows(&DELIVERIES, Rows::Deliveries, |row| read_copied_delivery(row)).await
            }
            Noun::Attempts => self.rows(&ATTEMPTS, Rows::Attempts, |row| read_copied_attempt(row)).await,
            Noun::Recoveries => {
                self.rows(&RECOVERIES, Rows::Recoveries, |row| read_copied_recovery(row)).await
            }
            Noun::Tallies => self.rows(&TALLIES, Rows::Tallies, |row| read_copied_tally(row)).await,
            Noun::Audit => self.rows(&AUDIT, Rows::Audit, |row| read_audit(row)).await,
        }
    }

    async fn rows<T>(
        &self,
        statement: &Statement,
        wrap: fn(Vec<T>) -> Rows,
        read: impl Fn(&mut Cursor<'_>) -> Result<T, Fault>,
    ) -> Result<Page, Fault> {
        let Place { numbers: [first, second, third], id } = self.after;
        let (rows_max, bytes_max) = (i64::from(self.limits.rows_max), integer(self.limits.bytes_max));
        let table = self.noun.as_str();
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 6] =
            [&first, &second, &third, &id, &rows_max, &bytes_max];
        let rows = self.tx.list(statement, &parameters, table, |cursor| {
            let numbers = [cursor.integer("number")?, cursor.integer("number")?, cursor.integer("number")?];
            let id = cursor.uuid_or_null("id")?.unwrap_or(Uuid::nil());
            cursor.enter(table);
            Ok((Place { numbers, id }, read(cursor)?))
        });
        let rows = rows.await?;
        let end = rows.last().map_or(self.after, |(place, _)| *place);
        Ok(Page { rows: wrap(rows.into_iter().map(|(_, row)| row).collect()), end })
    }
}
