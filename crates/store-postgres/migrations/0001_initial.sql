-- Rows refer to each other by `number`. The program identifies them by `id`. Times are milliseconds since 1970 UTC, and durations
-- are milliseconds, as in every store. Names sort by their bytes.
--
-- The history is partitioned by day, so that a day can be dropped as a whole. The day comes from the time in the id. Ids of days
-- without a partition, for example from a wrong clock, go to the default partition `…_rest`.

-- `oldest_reader` is the oldest schema version whose programs can still use this database.
CREATE TABLE meta (
    one integer PRIMARY KEY CHECK (one = 1),
    version bigint NOT NULL CHECK (version >= 1),
    oldest_reader bigint NOT NULL CHECK (oldest_reader >= 1),
    checks bigint NOT NULL DEFAULT 0,
    sending_held_since bigint,
    sending_hold_reason text,
    CHECK ((sending_held_since IS NULL) = (sending_hold_reason IS NULL))
);
INSERT INTO meta (one, version, oldest_reader) VALUES (1, 1, 1);

-- The clock of the leases. The clocks of the nodes may differ.
CREATE FUNCTION now_ms() RETURNS bigint LANGUAGE sql VOLATILE PARALLEL SAFE
    AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- The group commits of the last hour, by the id of their batch. A node that lost its connection during a commit finds out here
-- whether it happened. `given_up`: it had not happened, and can no longer happen.
CREATE TABLE commits (
    id uuid PRIMARY KEY,
    at bigint NOT NULL,
    given_up boolean NOT NULL DEFAULT false
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);
CREATE INDEX commits_by_age ON commits (at);

-- The running nodes, with the time of the last heartbeat.
CREATE TABLE nodes (
    id uuid PRIMARY KEY,
    seen_at bigint NOT NULL
);

CREATE TABLE organizations (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    name text COLLATE "C" NOT NULL UNIQUE,
    display_name text NOT NULL,
    avatar_url text NOT NULL,
    created_at bigint NOT NULL,
    version bigint NOT NULL CHECK (version >= 1)
);

-- The number of an organization's pending deliveries, and the bytes of its events, deliveries and attempts. They change in the
-- transaction that changes the rows. They are spread over slots, so that concurrent commits update different rows. Only the sum
-- of the slots is meaningful, and a single slot may be negative.
CREATE TABLE usage (
    organization_number bigint NOT NULL REFERENCES organizations (number),
    slot smallint NOT NULL,
    pending bigint NOT NULL,
    stored_bytes bigint NOT NULL,
    PRIMARY KEY (organization_number, slot)
) WITH (fillfactor = 50);

CREATE TABLE users (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    login text COLLATE "C" NOT NULL UNIQUE,
    name text NOT NULL,
    email text NOT NULL,
    avatar_url text NOT NULL,
    is_operator boolean NOT NULL,
    created_at bigint NOT NULL
);

CREATE TABLE memberships (
    organization_number bigint NOT NULL REFERENCES organizations (number),
    user_number bigint NOT NULL REFERENCES users (number),
    role text NOT NULL CHECK (role IN ('admin', 'member', 'publisher', 'viewer')),
    PRIMARY KEY (organization_number, user_number)
);
CREATE INDEX memberships_by_user ON memberships (user_number);

CREATE TABLE tokens (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    hash bytea NOT NULL UNIQUE CHECK (length(hash) = 32),
    user_number bigint REFERENCES users (number),
    organization_number bigint REFERENCES organizations (number),
    name text NOT NULL,
    role text NOT NULL CHECK (role IN ('admin', 'member', 'publisher', 'viewer')),
    is_operator boolean NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    last_used_at bigint,
    CHECK ((user_number IS NULL) <> (organization_number IS NULL))
);
CREATE INDEX tokens_by_user ON tokens (user_number, id) WHERE user_number IS NOT NULL;
CREATE INDEX tokens_by_organization ON tokens (organization_number, id) WHERE organization_number IS NOT NULL;

CREATE TABLE data_keys (
    id uuid PRIMARY KEY,
    purpose text NOT NULL,
    bytes bytea NOT NULL,
    created_at bigint NOT NULL
);

-- `stacks` is a list of words of the form project/stack.
CREATE TABLE deployments_credentials (
    organization_number bigint PRIMARY KEY REFERENCES organizations (number),
    api_url text NOT NULL,
    token_key uuid NOT NULL,
    token bytea NOT NULL,
    stacks text NOT NULL,
    set_at bigint NOT NULL
);

-- A deleted webhook stays, invisible to users, while it has deliveries: they show its name and the actor that deleted it.
-- `scope_project` and `scope_name` are empty for a webhook of an organization.
-- A number is never used again, because tallies outlive their webhook.
CREATE TABLE webhooks (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id uuid NOT NULL UNIQUE,
    organization_number bigint NOT NULL REFERENCES organizations (number),
    scope_kind text NOT NULL CHECK (scope_kind IN ('organization', 'stack', 'environment')),
    scope_project text NOT NULL,
    scope_name text NOT NULL,
    name text NOT NULL,
    display_name text NOT NULL,
    payload_url text NOT NULL,
    active boolean NOT NULL,
    format text NOT NULL,
    filters text NOT NULL,
    groups text NOT NULL,
    secret_key uuid,
    secret bytea,
    secret_fingerprint bytea CHECK (length(secret_fingerprint) = 32),
    previous_secret_key uuid,
    previous_secret bytea,
    previous_secret_until bigint,
    standard_headers boolean NOT NULL,
    pace bigint CHECK (pace > 0),
    pause_reason text,
    created_at bigint NOT NULL,
    revision bigint NOT NULL CHECK (revision >= 1),
    failures bigint NOT NULL CHECK (failures >= 0),
    failing_since bigint,
    suspended_since bigint,
    suspension_reason text CHECK (suspension_reason IN ('gone', 'failing')),
    probe_at bigint,
    hold_ended_at bigint,
    -- By `now_ms()`: until then one node may probe the suspended webhook, and no other one.
    probe_leased_until bigint,
    deleted_at bigint,
    deleted_by text,
    CHECK ((scope_kind = 'organization') = (scope_project = '')),
    CHECK ((scope_kind = 'organization') = (scope_name = '')),
    CHECK ((secret_key IS NULL) = (secret IS NULL)),
    CHECK ((secret_key IS NULL) = (secret_fingerprint IS NULL)),
    CHECK ((previous_secret_key IS NULL) = (previous_secret IS NULL)),
    CHECK ((previous_secret_key IS NULL) = (previous_secret_until IS NULL)),
    CHECK (secret_key IS NOT NULL OR previous_secret_key IS NULL),
    CHECK (NOT active OR pause_reason IS NULL),
    CHECK ((suspended_since IS NULL) = (suspension_reason IS NULL)),
    CHECK ((suspended_since IS NULL) = (probe_at IS NULL)),
    CHECK ((deleted_at IS NULL) = (deleted_by IS NULL))
) WITH (fillfactor = 80);
CREATE UNIQUE INDEX webhooks_by_name
    ON webhooks (organization_number, scope_kind, scope_project, scope_name, name) WHERE deleted_at IS NULL;
-- Includes deleted webhooks.
CREATE INDEX webhooks_by_organization ON webhooks (organization_number, id);
CREATE INDEX webhooks_deleted ON webhooks (deleted_at) WHERE deleted_at IS NOT NULL;

-- The ids of an organization's events. The table is not partitioned, so that an id is unique as long as its event is kept.
-- `key` finds the event's partition. The other columns are for producers that repeat an event.
-- The ids of a whole day are removed at once, which is a small share of all, so vacuum must start at a small share too.
CREATE TABLE event_ids (
    organization_number bigint NOT NULL,
    id uuid NOT NULL,
    key uuid NOT NULL,
    digest bytea CHECK (length(digest) = 32),
    deliveries bigint NOT NULL CHECK (deliveries >= 0),
    PRIMARY KEY (organization_number, id)
) WITH (autovacuum_vacuum_scale_factor = 0.02);

-- `token` is no reference, because a token may be revoked while its events are kept.
-- `deliveries` is the original number of deliveries.
CREATE TABLE events (
    key uuid NOT NULL,
    organization_number bigint NOT NULL,
    id uuid NOT NULL,
    kind text NOT NULL,
    filters text NOT NULL,
    subject_kind text NOT NULL CHECK (subject_kind IN ('stack', 'environment')),
    subject_project text NOT NULL,
    subject_name text NOT NULL,
    digest bytea,
    accepted_at bigint NOT NULL,
    source text NOT NULL,
    token uuid,
    deliveries bigint NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (key)
) PARTITION BY RANGE (key);
CREATE INDEX events_by_organization ON events (organization_number, key);
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE INDEX events_rest_accepted ON events_rest (accepted_at);

-- Pending deliveries, which are the queue, have their own small partition. Ended deliveries are partitioned by day.
-- A ping has its own id and bytes instead of an event. `lease_until` uses `now_ms()`.
CREATE TABLE deliveries (
    id uuid NOT NULL,
    organization_number bigint NOT NULL,
    webhook_number bigint NOT NULL,
    event_key uuid,
    ping_id uuid,
    format text NOT NULL,
    created_at bigint NOT NULL,
    rearmed_at bigint,
    attempts_spent bigint NOT NULL CHECK (attempts_spent >= 0),
    state text NOT NULL,
    due_at bigint,
    finished_at bigint,
    fail_reason text CHECK (fail_reason IN ('attempts_exhausted', 'expired', 'undeliverable', 'not_repeatable')),
    cancel_reason text CHECK (cancel_reason IN ('webhook_deleted', 'asked')),
    cancelled_by text,
    lease_token uuid,
    lease_until bigint,
    body bytea,
    CHECK ((event_key IS NULL) <> (ping_id IS NULL)),
    CHECK (event_key IS NOT NULL OR body IS NOT NULL),
    CHECK ((state = 'pending') = (due_at IS NOT NULL)),
    CHECK ((state = 'pending') = (finished_at IS NULL)),
    CHECK ((state = 'failed') = (fail_reason IS NOT NULL)),
    CHECK ((state = 'cancelled') = (cancel_reason IS NOT NULL)),
    CHECK ((state = 'cancelled') = (cancelled_by IS NOT NULL)),
    CHECK ((lease_token IS NULL) = (lease_until IS NULL)),
    CHECK (state = 'pending' OR lease_token IS NULL)
) PARTITION BY LIST (state);

-- Every row is inserted, updated and deleted. A lease changes no indexed column, so free space in each page keeps it out of the
-- indexes. Vacuum starts at a number of dead rows and not at a share, because the table is small and each lease reads its dead
-- rows.
CREATE TABLE deliveries_pending PARTITION OF deliveries FOR VALUES IN ('pending')
    WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE deliveries_pending ADD PRIMARY KEY (id);
CREATE INDEX deliveries_pending_due ON deliveries_pending (webhook_number, due_at, id);
CREATE INDEX deliveries_pending_by_age ON deliveries_pending (webhook_number, coalesce(rearmed_at, created_at));
CREATE INDEX deliveries_pending_by_event ON deliveries_pending (event_key, webhook_number);
-- For lists of users. Ids ascend, so that new entries of an organization are neighbours.
CREATE INDEX deliveries_pending_by_organization ON deliveries_pending (organization_number, id);

CREATE TABLE deliveries_ended PARTITION OF deliveries FOR VALUES IN ('succeeded', 'failed', 'cancelled')
    PARTITION BY RANGE (id);
ALTER TABLE deliveries_ended ADD PRIMARY KEY (id);
CREATE INDEX deliveries_ended_by_organization ON deliveries_ended (organization_number, id);
CREATE INDEX deliveries_ended_by_webhook ON deliveries_ended (webhook_number, id);
CREATE INDEX deliveries_ended_by_event ON deliveries_ended (event_key, webhook_number);
CREATE INDEX deliveries_ended_by_ping ON deliveries_ended (ping_id, webhook_number) WHERE ping_id IS NOT NULL;
-- Failed and cancelled deliveries: newest first for lists, and oldest first for recoveries.
CREATE INDEX deliveries_lost ON deliveries_ended (webhook_number, id) WHERE state IN ('failed', 'cancelled');
CREATE INDEX deliveries_lost_by_organization ON deliveries_ended (organization_number, id)
    WHERE state IN ('failed', 'cancelled');
CREATE INDEX deliveries_lost_by_age ON deliveries_ended (webhook_number, created_at, id)
    WHERE state IN ('failed', 'cancelled');
CREATE TABLE deliveries_rest PARTITION OF deliveries_ended DEFAULT;
CREATE INDEX deliveries_rest_finished ON deliveries_rest (finished_at);

-- Partitioned by the day of the delivery. `number` orders attempts of one millisecond by their recording.
CREATE SEQUENCE attempt_numbers CACHE 32;
CREATE TABLE attempts (
    number bigint NOT NULL DEFAULT nextval('attempt_numbers'),
    delivery_id uuid NOT NULL,
    webhook_number bigint NOT NULL,
    trigger text NOT NULL CHECK (trigger IN ('schedule', 'probe', 'redeliver', 'ping')),
    started_at bigint NOT NULL,
    duration bigint NOT NULL CHECK (duration >= 0),
    request_url text NOT NULL,
    request_headers bytea NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('answered', 'throttled', 'unanswered', 'our_fault', 'undeliverable')),
    status bigint,
    retry_after bigint,
    response_headers bytea,
    response_body bytea,
    silence text CHECK (silence IN ('forbidden', 'unresolved', 'unreachable', 'timed_out', 'broken')),
    text text,
    CHECK ((outcome IN ('answered', 'throttled')) = (status IS NOT NULL)),
    CHECK ((outcome IN ('answered', 'throttled')) = (response_headers IS NOT NULL)),
    CHECK ((outcome IN ('answered', 'throttled')) = (response_body IS NOT NULL)),
    CHECK ((outcome IN ('answered', 'throttled')) = (text IS NULL)),
    CHECK (outcome IN ('answered', 'throttled') OR retry_after IS NULL),
    CHECK ((outcome = 'unanswered') = (silence IS NOT NULL))
) PARTITION BY RANGE (delivery_id);
CREATE INDEX attempts_by_delivery ON attempts (delivery_id);
CREATE INDEX attempts_by_webhook ON attempts (webhook_number, started_at, number);
CREATE TABLE attempts_rest PARTITION OF attempts DEFAULT;

-- `after_created_at` and `after_id` belong to the last delivery that was read; before the first step they are `since` and the
-- least id. A recovery outlives its webhook, so it names the webhook by id.
CREATE TABLE recoveries (
    id uuid PRIMARY KEY,
    organization_number bigint NOT NULL REFERENCES organizations (number),
    webhook uuid NOT NULL,
    since bigint NOT NULL,
    created_at bigint NOT NULL,
    created_by text NOT NULL,
    total bigint NOT NULL CHECK (total >= 0),
    rearmed bigint NOT NULL CHECK (rearmed >= 0),
    after_created_at bigint NOT NULL,
    after_id uuid NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'done', 'abandoned')),
    ended_at bigint,
    CHECK ((state = 'running') = (ended_at IS NULL))
);
CREATE UNIQUE INDEX recoveries_running ON recoveries (webhook) WHERE state = 'running';
CREATE INDEX recoveries_by_organization ON recoveries (organization_number, id);
CREATE INDEX recoveries_ended ON recoveries (ended_at) WHERE ended_at IS NOT NULL;

-- The counts of an hour. Webhook 0 is the organization as a whole. The slots are those of `usage`.
CREATE TABLE tallies (
    hour bigint NOT NULL,
    organization_number bigint NOT NULL,
    webhook_number bigint NOT NULL,
    slot smallint NOT NULL,
    events bigint NOT NULL,
    made bigint NOT NULL,
    succeeded bigint NOT NULL,
    failed bigint NOT NULL,
    cancelled bigint NOT NULL,
    attempts bigint NOT NULL,
    attempts_failed bigint NOT NULL,
    attempts_took bigint NOT NULL,
    PRIMARY KEY (hour, organization_number, webhook_number, slot)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 10000);

-- Entries outlive their targets, so they have no references.
CREATE TABLE audit (
    id uuid PRIMARY KEY,
    at bigint NOT NULL,
    organization uuid,
    actor text NOT NULL,
    token uuid,
    remote text,
    action text NOT NULL,
    target text NOT NULL,
    fields text NOT NULL
);
CREATE INDEX audit_by_organization ON audit (organization, id);
CREATE INDEX audit_by_age ON audit (at);
