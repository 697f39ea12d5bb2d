-- Rows refer to each other by `number`, a rowid: a small integer that is valid in this file only. The program identifies a row
-- by its `id`, the 16 bytes of a UUID. References of one to four bytes instead of sixteen save two thirds of the bytes that a
-- delivered event needs in addition to its payload. Times are milliseconds since 1970 UTC; durations are milliseconds.
-- Payloads, bodies and headers are compressed: see src/rows/compression.rs.
-- Checks of words use OR, because SQLite fills a temporary tree at each insert for IN with more than two words.

-- `oldest_reader` is the oldest schema version whose programs can still use this file.
CREATE TABLE meta (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    oldest_reader INTEGER NOT NULL CHECK (oldest_reader >= 1),
    checks INTEGER NOT NULL DEFAULT 0,
    sending_held_since INTEGER,
    sending_hold_reason TEXT,
    CHECK ((sending_held_since IS NULL) = (sending_hold_reason IS NULL))
) STRICT;
INSERT INTO meta (one, oldest_reader) VALUES (1, 1);

-- `pending` is the number of an organization's pending deliveries. `stored_bytes` is the number of compressed bytes of its
-- events, deliveries and attempts. Both change in the transaction that changes the rows.
CREATE TABLE organizations (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    name TEXT NOT NULL UNIQUE,
    display_name TEXT NOT NULL,
    avatar_url TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    pending INTEGER NOT NULL DEFAULT 0 CHECK (pending >= 0),
    stored_bytes INTEGER NOT NULL DEFAULT 0 CHECK (stored_bytes >= 0)
) STRICT;

CREATE TABLE users (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    login TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    email TEXT NOT NULL,
    avatar_url TEXT NOT NULL,
    is_operator INTEGER NOT NULL CHECK (is_operator IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT;

CREATE TABLE memberships (
    organization_number INTEGER NOT NULL REFERENCES organizations (number),
    user_number INTEGER NOT NULL REFERENCES users (number),
    role TEXT NOT NULL CHECK (role = 'admin' OR role = 'member' OR role = 'publisher' OR role = 'viewer'),
    PRIMARY KEY (organization_number, user_number)
) STRICT, WITHOUT ROWID;
CREATE INDEX memberships_by_user ON memberships (user_number);

CREATE TABLE tokens (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    hash BLOB NOT NULL UNIQUE CHECK (length(hash) = 32),
    user_number INTEGER REFERENCES users (number),
    organization_number INTEGER REFERENCES organizations (number),
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role = 'admin' OR role = 'member' OR role = 'publisher' OR role = 'viewer'),
    is_operator INTEGER NOT NULL CHECK (is_operator IN (0, 1)),
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    CHECK ((user_number IS NULL) <> (organization_number IS NULL))
) STRICT;
CREATE INDEX tokens_by_user ON tokens (user_number, id) WHERE user_number IS NOT NULL;
CREATE INDEX tokens_by_organization ON tokens (organization_number, id) WHERE organization_number IS NOT NULL;

CREATE TABLE data_keys (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    purpose TEXT NOT NULL,
    bytes BLOB NOT NULL,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- `stacks` is a list of words of the form project/stack.
CREATE TABLE deployments_credentials (
    organization_number INTEGER PRIMARY KEY REFERENCES organizations (number),
    api_url TEXT NOT NULL,
    token_key BLOB NOT NULL CHECK (length(token_key) = 16),
    token BLOB NOT NULL,
    stacks TEXT NOT NULL,
    set_at INTEGER NOT NULL
) STRICT;

-- A deleted webhook stays, invisible to users, while it has deliveries: they show its name and the actor that deleted it.
-- `scope_project` and `scope_name` are empty for a webhook of an organization.
-- A number is never used again, because tallies outlive their webhook.
CREATE TABLE webhooks (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id BLOB NOT NULL UNIQUE CHECK (length(id) = 16),
    organization_number INTEGER NOT NULL REFERENCES organizations (number),
    scope_kind TEXT NOT NULL CHECK (
        scope_kind = 'organization' OR scope_kind = 'stack' OR scope_kind = 'environment'
    ),
    scope_project TEXT NOT NULL,
    scope_name TEXT NOT NULL,
    name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    payload_url TEXT NOT NULL,
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    format TEXT NOT NULL,
    filters TEXT NOT NULL,
    groups TEXT NOT NULL,
    secret_key BLOB CHECK (length(secret_key) = 16),
    secret BLOB,
    secret_fingerprint BLOB CHECK (length(secret_fingerprint) = 32),
    previous_secret_key BLOB CHECK (length(previous_secret_key) = 16),
    previous_secret BLOB,
    previous_secret_until INTEGER,
    standard_headers INTEGER NOT NULL CHECK (standard_headers IN (0, 1)),
    pace INTEGER CHECK (pace > 0),
    pause_reason TEXT,
    created_at INTEGER NOT NULL,
    revision INTEGER NOT NULL CHECK (revision >= 1),
    failures INTEGER NOT NULL CHECK (failures >= 0),
    failing_since INTEGER,
    suspended_since INTEGER,
    suspension_reason TEXT CHECK (suspension_reason IN ('gone', 'failing')),
    probe_at INTEGER,
    hold_ended_at INTEGER,
    deleted_at INTEGER,
    deleted_by TEXT,
    CHECK ((scope_kind = 'organization') = (scope_project = '')),
    CHECK ((scope_kind = 'organization') = (scope_name = '')),
    CHECK ((secret_key IS NULL) = (secret IS NULL)),
    CHECK ((secret_key IS NULL) = (secret_fingerprint IS NULL)),
    CHECK ((previous_secret_key IS NULL) = (previous_secret IS NULL)),
    CHECK ((previous_secret_key IS NULL) = (previous_secret_until IS NULL)),
    CHECK (secret_key IS NOT NULL OR previous_secret_key IS NULL),
    CHECK (active = 0 OR pause_reason IS NULL),
    CHECK ((suspended_since IS NULL) = (suspension_reason IS NULL)),
    CHECK ((suspended_since IS NULL) = (probe_at IS NULL)),
    CHECK ((deleted_at IS NULL) = (deleted_by IS NULL))
) STRICT;
CREATE UNIQUE INDEX webhooks_by_name
    ON webhooks (organization_number, scope_kind, scope_project, scope_name, name) WHERE deleted_at IS NULL;
-- Includes deleted webhooks.
CREATE INDEX webhooks_by_organization ON webhooks (organization_number);
CREATE INDEX webhooks_deleted ON webhooks (deleted_at) WHERE deleted_at IS NOT NULL;

-- `token` is no reference, because a token may be revoked while its events are kept.
-- `deliveries` is the original number of deliveries, and `deliveries_left` the current one. An event is removed with its last
-- delivery.
CREATE TABLE events (
    number INTEGER PRIMARY KEY,
    organization_number INTEGER NOT NULL REFERENCES organizations (number),
    key BLOB NOT NULL CHECK (length(key) = 16),
    id BLOB NOT NULL CHECK (length(id) = 16),
    kind TEXT NOT NULL,
    filters TEXT NOT NULL,
    subject_kind TEXT NOT NULL CHECK (subject_kind IN ('stack', 'environment')),
    subject_project TEXT NOT NULL,
    subject_name TEXT NOT NULL,
    digest BLOB CHECK (length(digest) = 32),
    accepted_at INTEGER NOT NULL,
    source TEXT NOT NULL,
    token BLOB CHECK (length(token) = 16),
    deliveries INTEGER NOT NULL CHECK (deliveries >= 0),
    deliveries_left INTEGER NOT NULL CHECK (deliveries_left BETWEEN 0 AND deliveries),
    payload BLOB NOT NULL,
    UNIQUE (organization_number, id),
    UNIQUE (organization_number, key)
) STRICT;
CREATE INDEX events_done ON events (accepted_at) WHERE deliveries_left = 0;

-- `event_number` is no foreign key. The removal of an event would look up its deliveries, which would need one more index on the
-- busiest table. `deliveries_left` keeps an event while it has deliveries.
-- A ping has its own id and bytes instead of an event.
CREATE TABLE deliveries (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL CHECK (length(id) = 16),
    webhook_number INTEGER NOT NULL REFERENCES webhooks (number),
    event_number INTEGER,
    ping_id BLOB CHECK (length(ping_id) = 16),
    format TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    rearmed_at INTEGER,
    attempts_spent INTEGER NOT NULL CHECK (attempts_spent >= 0),
    state TEXT NOT NULL CHECK (state = 'pending' OR state = 'succeeded' OR state = 'failed' OR state = 'cancelled'),
    due_at INTEGER,
    finished_at INTEGER,
    fail_reason TEXT CHECK (
        fail_reason = 'attempts_exhausted' OR fail_reason = 'expired' OR fail_reason = 'undeliverable'
        OR fail_reason = 'not_repeatable'
    ),
    cancel_reason TEXT CHECK (cancel_reason = 'webhook_deleted' OR cancel_reason = 'asked'),
    cancelled_by TEXT,
    body BLOB,
    CHECK ((event_number IS NULL) <> (ping_id IS NULL)),
    CHECK (event_number IS NOT NULL OR body IS NOT NULL),
    CHECK ((state = 'pending') = (due_at IS NOT NULL)),
    CHECK ((state = 'pending') = (finished_at IS NULL)),
    CHECK ((state = 'failed') = (fail_reason IS NOT NULL)),
    CHECK ((state = 'cancelled') = (cancel_reason IS NOT NULL)),
    CHECK ((state = 'cancelled') = (cancelled_by IS NOT NULL))
) STRICT;
-- For lists of a webhook's deliveries, newest first. No request names a delivery by its id only, so no other index has ids.
CREATE UNIQUE INDEX deliveries_by_id ON deliveries (webhook_number, id);
-- One delivery for each event and webhook. The event comes first, so that its deliveries are neighbours in the index.
CREATE UNIQUE INDEX deliveries_by_event ON deliveries (event_number, webhook_number);
CREATE UNIQUE INDEX deliveries_by_ping ON deliveries (webhook_number, ping_id) WHERE ping_id IS NOT NULL;
-- The queue.
CREATE INDEX deliveries_pending ON deliveries (webhook_number, due_at, id) WHERE state = 'pending';
-- For the expiry of old deliveries. A retried delivery is due long after its creation, so the queue's index does not show its
-- age.
CREATE INDEX deliveries_pending_by_age ON deliveries (webhook_number, ifnull(rearmed_at, created_at))
    WHERE state = 'pending';
-- Failed and cancelled deliveries: newest first for lists, and oldest first for recoveries.
CREATE INDEX deliveries_lost ON deliveries (webhook_number, id) WHERE state = 'failed' OR state = 'cancelled';
CREATE INDEX deliveries_lost_by_age ON deliveries (webhook_number, created_at, id)
    WHERE state = 'failed' OR state = 'cancelled';
CREATE INDEX deliveries_finished ON deliveries (finished_at) WHERE finished_at IS NOT NULL;

-- `webhook_number` equals that of the delivery, so it is no foreign key.
CREATE TABLE attempts (
    number INTEGER PRIMARY KEY,
    delivery_number INTEGER NOT NULL REFERENCES deliveries (number) ON DELETE CASCADE,
    webhook_number INTEGER NOT NULL,
    trigger TEXT NOT NULL CHECK (
        trigger = 'schedule' OR trigger = 'probe' OR trigger = 'redeliver' OR trigger = 'ping'
    ),
    started_at INTEGER NOT NULL,
    duration INTEGER NOT NULL CHECK (duration >= 0),
    request_url TEXT NOT NULL,
    request_headers BLOB NOT NULL,
    outcome TEXT NOT NULL CHECK (
        outcome = 'answered' OR outcome = 'throttled' OR outcome = 'unanswered' OR outcome = 'our_fault'
        OR outcome = 'undeliverable'
    ),
    status INTEGER,
    retry_after INTEGER,
    response_headers BLOB,
    response_body BLOB,
    silence TEXT CHECK (
        silence = 'forbidden' OR silence = 'unresolved' OR silence = 'unreachable' OR silence = 'timed_out'
        OR silence = 'broken'
    ),
    text TEXT,
    CHECK ((outcome = 'answered' OR outcome = 'throttled') = (status IS NOT NULL)),
    CHECK ((outcome = 'answered' OR outcome = 'throttled') = (response_headers IS NOT NULL)),
    CHECK ((outcome = 'answered' OR outcome = 'throttled') = (response_body IS NOT NULL)),
    CHECK ((outcome = 'answered' OR outcome = 'throttled') = (text IS NULL)),
    CHECK (outcome = 'answered' OR outcome = 'throttled' OR retry_after IS NULL),
    CHECK ((outcome = 'unanswered') = (silence IS NOT NULL))
) STRICT;
-- For lists, newest first: by start, then by the order of recording, because an index ends with the rowid.
CREATE INDEX attempts_by_webhook ON attempts (webhook_number, started_at);
CREATE INDEX attempts_by_delivery ON attempts (delivery_number);

-- `after_created_at` and `after_id` belong to the last delivery that was read; before the first step they are `since` and empty.
-- A recovery outlives its webhook, so it names the webhook by id.
CREATE TABLE recoveries (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    organization_number INTEGER NOT NULL REFERENCES organizations (number),
    webhook BLOB NOT NULL CHECK (length(webhook) = 16),
    since INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    total INTEGER NOT NULL CHECK (total >= 0),
    rearmed INTEGER NOT NULL CHECK (rearmed >= 0),
    after_created_at INTEGER NOT NULL,
    after_id BLOB NOT NULL,
    state TEXT NOT NULL CHECK (state = 'running' OR state = 'done' OR state = 'abandoned'),
    ended_at INTEGER,
    CHECK ((state = 'running') = (ended_at IS NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX recoveries_running ON recoveries (webhook) WHERE state = 'running';
CREATE INDEX recoveries_by_organization ON recoveries (organization_number, id);
CREATE INDEX recoveries_ended ON recoveries (ended_at) WHERE ended_at IS NOT NULL;

-- The counts of an hour. Webhook 0 is the organization as a whole.
-- The hour comes first, so that a commit changes neighbouring rows.
CREATE TABLE tallies (
    hour INTEGER NOT NULL,
    organization_number INTEGER NOT NULL,
    webhook_number INTEGER NOT NULL,
    events INTEGER NOT NULL,
    made INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    attempts_failed INTEGER NOT NULL,
    attempts_took INTEGER NOT NULL,
    PRIMARY KEY (hour, organization_number, webhook_number)
) STRICT, WITHOUT ROWID;

-- Entries outlive their targets, so they have no references.
CREATE TABLE audit (
    id BLOB PRIMARY KEY CHECK (length(id) = 16),
    at INTEGER NOT NULL,
    organization BLOB CHECK (length(organization) = 16),
    actor TEXT NOT NULL,
    token BLOB CHECK (length(token) = 16),
    remote TEXT,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    fields TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX audit_by_organization ON audit (organization, id);
CREATE INDEX audit_by_age ON audit (at);
