//! The results of every method of the port, before and after a copy.

use std::fmt::Debug;
use std::num::NonZeroU32;
use std::time::Duration;

use stackbell_model::Timestamp;
use stackbell_model::identity::{Organization, TokenHash, TokenOwner};
use stackbell_model::webhook::Webhook;
use stackbell_store::Store;
use stackbell_store::commit::{IntakeOutcome, Receipt};
use stackbell_store::conformance::fixtures::World;
use stackbell_store::history::DeliveryFilter;
use stackbell_store::queue::{LaneMode, LaneRequest};
use stackbell_store::transfer::TABLES;
use stackbell_testkit::PgBouncer;

use super::fill::{Filled, fill};
use super::{File, begin, check_same, copy, target};
use crate::support::Site;

/// The results of all read methods, a line each, without data that each store counts in its own way.
struct Said {
    lines: Vec<String>,
}

impl Said {
    fn say(&mut self, what: &str, value: &impl Debug) {
        self.lines.push(format!("{what}: {value:?}"));
    }

    async fn of(store: &dyn Store, webhooks: &[Webhook]) -> Vec<String> {
        let mut said = Self { lines: Vec::new() };
        said.instance(store).await;
        for organization in store.list_organizations(None, 100).await.expect("list_organizations") {
            said.organization(store, &organization).await;
        }
        for webhook in webhooks {
            let attempts = store.list_attempts(webhook.id, 1000, u64::MAX).await.expect("list_attempts");
            said.say("attempts", &attempts);
            let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));
            let tallies = store.tallies(webhook.organization, Some(webhook.id), from, to).await;
            said.say("tallies", &tallies.expect("tallies"));
        }
        said.lines
    }

    async fn instance(&mut self, store: &dyn Store) {
        self.say("hold", &store.sending_hold().await.expect("sending_hold"));
        self.say("keys", &store.data_keys().await.expect("data_keys"));
        self.say("lanes", &store.due_lanes(None, 100).await.expect("due_lanes"));
        self.say("running", &store.running_recoveries(100).await.expect("running_recoveries"));
        self.say("depth", &store.depth().await.expect("depth"));
        let at = Timestamp::from_millis(i64::MAX);
        self.say("lane depths", &store.lane_depths(at, None, 1000).await.expect("lane_depths"));
        let audit = store.list_audit(None, None, 1000).await.expect("list_audit");
        let audit: Vec<_> = audit.into_iter().filter(|entry| entry.action != "instance.copy").collect();
        self.say("audit", &audit);
        for user in store.list_users(None, 100).await.expect("list_users") {
            let tokens = store.list_tokens(TokenOwner::User(user.id), None, 100).await;
            self.say("user", &(user, tokens.expect("list_tokens")));
        }
        for hash in [[1; 32], [2; 32]] {
            let mut holder =
                store.find_token(TokenHash(hash)).await.expect("find_token").expect("it is there");
            holder.memberships.sort_by_key(|membership| membership.organization.id);
            self.say("holder", &holder);
        }
    }

    async fn organization(&mut self, store: &dyn Store, organization: &Organization) {
        let id = organization.id;
        self.say("organization", organization);
        let webhooks = store.organization_webhooks(id).await.expect("organization_webhooks");
        let webhooks = webhooks.expect("it is there");
        self.say("webhooks", &(webhooks.version, webhooks.webhooks));
        self.say("members", &store.list_members(id, None, 100).await.expect("list_members"));
        let tokens = store.list_tokens(TokenOwner::Organization(id), None, 100).await;
        self.say("tokens", &tokens.expect("list_tokens"));
        self.say("audit", &store.list_audit(Some(id), None, 1000).await.expect("list_audit"));
        self.say("credential", &store.deployments_credential(id).await.expect("deployments_credential"));
        self.say("recoveries", &store.list_recoveries(id, None, 100).await.expect("list_recoveries"));
        self.say("pending", &store.usage(id).await.expect("usage").pending);
        let (from, to) = (Timestamp::from_millis(0), Timestamp::from_millis(i64::MAX));
        self.say("tallies", &store.tallies(id, None, from, to).await.expect("tallies"));
        for event in store.list_events(id, None, 1000, u64::MAX).await.expect("list_events") {
            let found = store.find_event(id, event.event.id).await.expect("find_event");
            assert_eq!(found.as_ref(), Some(&event));
            self.say("event", &event);
        }
        let filter = DeliveryFilter::default();
        let page = store.list_deliveries(id, &filter, None, 1000, 10_000).await.expect("list_deliveries");
        for overview in page.deliveries {
            let whole = store.delivery(id, overview.id).await.expect("delivery");
            let found =
                store.find_delivery(overview.webhook, overview.event_id).await.expect("find_delivery");
            let attempts = store.delivery_attempts(id, overview.id, 100, u64::MAX).await;
            let attempts = attempts.expect("delivery_attempts");
            // The debug text hides these values.
            let hidden: Vec<_> = attempts
                .iter()
                .map(|attempt| (attempt.request_url.clone(), attempt.request_headers.clone()))
                .collect();
            self.say("delivery", &(overview, whole, found, attempts, hidden));
        }
    }
}

async fn known_webhooks(world: &World, filled: &Filled) -> Vec<Webhook> {
    let mut webhooks = world.snapshot().await.webhooks;
    webhooks.push(filled.deleted.clone());
    webhooks
}

/// A copy returns the results of its source.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_returns_the_results_of_its_source() {
    let file = File::new();
    let world = World::open(&file).await;
    let filled = fill(&world).await;
    let webhooks = known_webhooks(&world, &filled).await;
    // The leases of an embedded store end with its process.
    let world = world.restarted(&file).await;
    let before = Said::of(&*world.store, &webhooks).await;
    assert!(before.len() > 40, "{before:#?}");
    let (site, target) = target().await;
    let world = {
        let blank = File::new();
        let world = world.restarted(&blank).await;
        let source = file.to_move().await;
        begin(&target).await;
        let compared = copy(&source, &target).await.expect("copy");
        check_same(&source, &compared).await;
        let empty: Vec<_> = compared.iter().filter(|one| one.source.rows == 0).collect();
        assert!(empty.is_empty(), "nothing is known of {empty:?}");
        world
    };
    let world = world.restarted(&site).await;
    let after = Said::of(&*world.store, &webhooks).await;
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(after, before);
    }
    assert_eq!(after.len(), before.len());
    check_continues(&world, &filled).await;
    site.check_counts();
}

/// Checks that nodes can continue: duplicates are detected, due deliveries are leased in order, and recoveries resume.
async fn check_continues(world: &World, filled: &Filled) {
    let webhook = &filled.webhook;
    let receipt = Receipt { id: filled.known.id, deliveries: 2, duplicate: true };
    assert_eq!(world.accept(&filled.known, &[webhook]).await, IntakeOutcome::Accepted(vec![receipt]));
    let changed = stackbell_model::event::Event { digest: Some([6; 32]), ..filled.known.clone() };
    assert_eq!(world.accept(&changed, &[webhook]).await, IntakeOutcome::Conflict { index: 0 });
    let due: Vec<_> = filled.queued.iter().map(|delivery| delivery.id).collect();
    assert_eq!(world.lease_due(webhook, 10, world.now()).await, due);
    // No node has its lease any more.
    let request = LaneRequest { webhook: filled.leased.webhook, limit: NonZeroU32::MIN, mode: LaneMode::Due };
    let lease = world.new_lease(world.now());
    let leased =
        world.store.lease_deliveries(&[request], world.now(), lease).await.expect("lease_deliveries");
    assert_eq!(leased.lanes[0].deliveries[0].delivery.id, filled.leased.id);
    let running = world.store.running_recoveries(10).await.expect("running_recoveries");
    let half =
        running.iter().find(|recovery| recovery.webhook == filled.recovered.id).expect("it is running");
    let ended = world.advance(half, world.now(), 10).await;
    assert_eq!((ended.rearmed, ended.total), (4, 4));
    let fresh = world.pending(webhook).await;
    assert_eq!(world.find(&fresh).await, Some(fresh));
    let theirs = world.store.usage(filled.other).await.expect("usage");
    assert_eq!(theirs, stackbell_store::statistics::Usage::default());
    // New attempts come after the copied ones.
    let before = world.store.list_attempts(filled.recovered.id, 100, u64::MAX).await.expect("list_attempts");
    let at = before[0].attempt.started_at;
    world
        .recorded(stackbell_store::conformance::fixtures::redelivered(
            &before[0].delivery.delivery,
            at,
            stackbell_store::conformance::fixtures::answered(502),
        ))
        .await;
    let after = world.store.list_attempts(filled.recovered.id, 100, u64::MAX).await.expect("list_attempts");
    assert_eq!(after[0].attempt.outcome.status(), 502);
}

fn days(site: &Site) -> u32 {
    let days = "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relname ~ '^deliveries_ended_d[0-9]+$'";
    site.database.psql(days).parse().expect("a number")
}

/// Copied rows are stored in their days, and are removed with them.
#[tokio::test(flavor = "multi_thread")]
async fn copied_rows_are_stored_in_their_days() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let file = File::new();
    let world = World::open(&file).await;
    let webhook = world.webhook("hook").await;
    for _ in 0..3 {
        world.succeeded(&webhook).await;
        world.pass(DAY * 2);
    }
    world.pending(&webhook).await;
    let (site, target) = target().await;
    let world = world.restarted(&File::new()).await;
    let source = file.to_move().await;
    let days_before = days(&site);
    begin(&target).await;
    copy(&source, &target).await.expect("copy");
    assert_eq!(site.database.psql("SELECT count(*) FROM events_rest"), "0");
    assert_eq!(site.database.psql("SELECT count(*) FROM attempts_rest"), "0");
    assert_eq!(site.database.psql("SELECT count(*) FROM deliveries_rest"), "0");
    assert_eq!(days(&site), days_before + 4);
    let world = world.restarted(&site).await;
    let policy = stackbell_store::maintenance::SweepPolicy {
        retry: stackbell_model::retry::RetryPolicy {
            age_max: DAY * 3650,
            held_age_max: DAY * 3650,
            ..Default::default()
        },
        finished_before: world.now().before(DAY * 3),
        audit_before: Timestamp::from_millis(0),
        rows_max: 100,
    };
    let report = world.store.sweep(world.now(), &policy).await.expect("sweep");
    assert_eq!((report.deliveries_removed, report.events_removed), (2, 2));
    site.check_counts();
}

/// A changed, lost or duplicated row fails the comparison of its table. The database then keeps nothing, and accepts another
/// copy.
#[tokio::test(flavor = "multi_thread")]
async fn any_difference_is_found() {
    let file = File::new();
    let world = World::open(&file).await;
    fill(&world).await;
    let _elsewhere = world.restarted(&File::new()).await;
    let (site, target) = target().await;
    let source = file.to_move().await;
    begin(&target).await;
    for (table, meddle) in [
        ("organizations", "NEW.version := NEW.version + 1"),
        ("users", "NEW.email := NEW.email || 'x'"),
        ("memberships", "NEW.role := 'viewer'"),
        ("tokens", "NEW.last_used_at := 1"),
        ("data_keys", "NEW.bytes := NEW.bytes || '\\x00'"),
        ("deployments_credentials", "NEW.stacks := 'web/prod'"),
        ("source_cursors", "NEW.cursor := NEW.cursor || ' '"),
        ("webhooks", "IF NEW.deleted_by IS NOT NULL THEN NEW.deleted_by := 'somebody'; END IF"),
        ("events", "NEW.payload := NEW.payload || '\\x20'"),
        ("deliveries", "NEW.due_at := NEW.due_at + 1"),
        ("attempts", "NEW.number := NEW.number + 1"),
        ("recoveries", "NEW.after_id := NEW.id"),
        ("tallies", "NEW.made := NEW.made + 1"),
        ("audit", "NEW.fields := 'x'"),
        // A lost row.
        ("attempts", "IF NEW.outcome = 'throttled' THEN RETURN NULL; END IF"),
        ("recoveries", "IF NEW.state = 'running' THEN RETURN NULL; END IF"),
        ("source_cursors", "RETURN NULL"),
        ("tallies", "IF NEW.webhook_number = 0 THEN RETURN NULL; END IF"),
        // A duplicated row with another key.
        (
            "audit",
            "IF pg_trigger_depth() = 1 THEN INSERT INTO audit SELECT \
             (jsonb_populate_record(NEW, jsonb_build_object('id', gen_random_uuid()))).*; END IF",
        ),
    ] {
        site.database.psql(&format!(
            "CREATE OR REPLACE FUNCTION meddle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {meddle}; RETURN NEW; END $$; \
             CREATE TRIGGER meddle BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION meddle()"
        ));
        let compared = copy(&source, &target).await.expect("copy");
        let differing: Vec<_> =
            compared.iter().filter(|one| !one.is_same()).map(|one| one.table.name).collect();
        assert_eq!(differing, [table], "{meddle}");
        assert_eq!(site.database.psql("SELECT count(*) FROM organizations"), "0");
        site.database.psql(&format!("DROP TRIGGER meddle ON {table}"));
    }
    let compared = copy(&source, &target).await.expect("copy");
    check_same(&source, &compared).await;
    site.check_counts();
}

/// Every table and column of the schema is copied, or is listed here with a reason.
#[tokio::test(flavor = "multi_thread")]
async fn every_column_is_copied() {
    let (site, _) = target().await;
    // Tables about nodes or the database itself, and tables that are derived from others.
    let columns = "SELECT string_agg(table_name || '.' || column_name, ' ' ORDER BY table_name, column_name) \
        FROM information_schema.columns WHERE table_schema = 'public' \
        AND table_name NOT IN ('meta', 'nodes', 'commits', 'copies', 'usage', 'event_ids') \
        AND table_name !~ '_(rest|pending|ended|d[0-9]+)$' \
        AND column_name NOT IN ('lease_token', 'lease_until', 'probe_leased_until')";
    let columns = site.database.psql(columns);
    let mut stored: Vec<_> = columns.split(' ').map(str::to_owned).collect();
    let mut copied: Vec<_> = TABLES
        .iter()
        .flat_map(|table| table.columns().map(|(column, _)| format!("{}.{column}", table.name)))
        .collect();
    stored.sort();
    copied.sort();
    assert_eq!(copied, stored);
}

/// A copy works behind a pooler that gives each transaction another connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_copy_works_behind_a_pooler() {
    let file = File::new();
    let world = World::open(&file).await;
    fill(&world).await;
    let _elsewhere = world.restarted(&File::new()).await;
    let (site, _) = target().await;
    let pooled = site.store_behind(PgBouncer::shared().await).await;
    let source = file.to_move().await;
    begin(&pooled).await;
    let compared = copy(&source, &pooled).await.expect("copy");
    check_same(&source, &compared).await;
    site.check_counts();
}
