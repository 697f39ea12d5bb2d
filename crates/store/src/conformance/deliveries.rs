//! Lists of deliveries, and single deliveries.

use std::time::Duration;

use bytes::Bytes;
use stackbell_model::Timestamp;
use stackbell_model::delivery::{AttemptTrigger, Delivery, Outcome, Response, Silence, StateKind, Trigger};
use stackbell_model::event::Event;
use stackbell_model::filter::EventKind;
use stackbell_model::ids::{DeliveryId, OrganizationId, WebhookId};
use stackbell_model::names::{EnvironmentName, ProjectName, StackName};
use stackbell_model::scope::Subject;
use stackbell_model::webhook::{Format, Webhook};

use super::Harness;
use super::fixtures::{World, answered, attempt, redelivered, stack_scope};
use crate::commit::{NewDelivery, NewEvent};
use crate::history::{DeliveryFilter, DeliveryOverview, KindFilter, LastAttempt, attempt_size};

/// More than any case has.
const ALL: u32 = 1000;

fn stack(name: &str) -> Subject {
    let (project, stack) = (ProjectName::parse("web"), StackName::parse(name));
    Subject::Stack { project: project.expect("a project"), stack: stack.expect("a stack") }
}

fn environment(name: &str) -> Subject {
    let (project, environment) = (ProjectName::parse("web"), EnvironmentName::parse(name));
    Subject::Environment {
        project: project.expect("a project"),
        environment: environment.expect("an environment"),
    }
}

/// Returns all deliveries that match a filter, page by page. Fails if a page goes back or the pages do not
/// end.
async fn walk(
    world: &World,
    filter: &DeliveryFilter,
    limit: u32,
    looked_at_max: u32,
) -> (Vec<DeliveryOverview>, u32) {
    let (mut found, mut before, mut pages): (Vec<DeliveryOverview>, Option<DeliveryId>, u32) =
        (Vec::new(), None, 0);
    loop {
        let page = world.store.list_deliveries(world.organization, filter, before, limit, looked_at_max);
        let page = page.await.expect("list_deliveries");
        pages += 1;
        assert!(page.deliveries.len() <= limit as usize);
        found.extend(page.deliveries);
        let Some(next) = page.next else { return (found, pages) };
        assert!(before.is_none_or(|before| next < before), "pages go on");
        before = Some(next);
    }
}

async fn all(world: &World) -> Vec<DeliveryOverview> {
    walk(world, &DeliveryFilter::default(), ALL, ALL).await.0
}

async fn delivery(
    world: &World,
    organization: OrganizationId,
    id: DeliveryId,
) -> Option<(DeliveryOverview, Bytes)> {
    world.store.delivery(organization, id).await.expect("delivery")
}

/// Returns a delivery's overview, after checking that the list and the single lookup agree.
async fn overview(world: &World, of: &Delivery) -> DeliveryOverview {
    let (overview, _) = delivery(world, world.organization, of.id).await.expect("the delivery is there");
    let listed = all(world).await.into_iter().find(|listed| listed.id == of.id);
    assert_eq!(listed.as_ref(), Some(&overview));
    overview
}

/// Creates deliveries of two webhooks, of several kinds and subjects, in every state, and a ping for each.
async fn all_sorts(world: &World) -> [Webhook; 2] {
    let webhooks = [world.webhook("one").await, world.webhook("two").await];
    for webhook in &webhooks {
        world.failed(webhook).await;
        world.succeeded(webhook).await;
        world.cancelled(webhook).await;
        world.pinged(webhook).await;
        let subjects = [stack("prod"), stack("Prod"), environment("prod"), environment("test")];
        for (subject, kind) in subjects.into_iter().zip(
            [EventKind::StackUpdate, EventKind::StackUpdate, EventKind::ChangeRequest].into_iter().cycle(),
        ) {
            let event = Event { subject, kind, ..world.new_event() };
            world.accept(&event, &[webhook]).await;
        }
    }
    webhooks
}

fn passes(overview: &DeliveryOverview, filter: &DeliveryFilter) -> bool {
    let kind = match overview.trigger {
        Trigger::Event { kind, .. } => KindFilter::Event(kind),
        Trigger::Ping => KindFilter::Ping,
    };
    filter.webhook.is_none_or(|webhook| webhook == overview.webhook)
        && (filter.subject.is_none() || filter.subject == overview.subject)
        && filter.kind.is_none_or(|wanted| wanted == kind)
        && filter.state.is_none_or(|state| state == overview.state.kind())
        && filter.from.is_none_or(|from| overview.created_at >= from)
        && filter.to.is_none_or(|to| overview.created_at < to)
}

/// Returns every combination of conditions.
fn filters(webhooks: &[Webhook], times: [Timestamp; 2]) -> Vec<DeliveryFilter> {
    let webhooks: Vec<Option<WebhookId>> =
        webhooks.iter().map(|webhook| Some(webhook.id)).chain([None]).collect();
    let kinds = [EventKind::StackUpdate, EventKind::ChangeRequest].map(KindFilter::Event);
    let kinds: Vec<_> = kinds.into_iter().chain([KindFilter::Ping]).map(Some).chain([None]).collect();
    let states: Vec<_> = StateKind::ALL.iter().copied().map(Some).chain([None]).collect();
    let [from, to] = times.map(Some);
    let mut filters = Vec::new();
    for webhook in webhooks {
        for subject in [None, Some(stack("prod")), Some(environment("prod")), Some(stack("none"))] {
            for &kind in &kinds {
                for &state in &states {
                    for (from, to) in [(None, None), (from, None), (None, to), (from, to), (to, from)] {
                        let subject = subject.clone();
                        filters.push(DeliveryFilter { webhook, subject, kind, state, from, to });
                    }
                }
            }
        }
    }
    filters
}

/// Deliveries of all webhooks are listed newest first by id; pages have no gap and no overlap.
pub async fn deliveries_are_listed_newest_first(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhooks = [world.webhook("one").await, world.webhook("two").await];
    let mut expected = Vec::new();
    for index in [0, 1, 1, 0, 1, 0, 0] {
        // Later ids get earlier times.
        let at = Timestamp::from_millis(2_000_000_000_000).before(Duration::from_secs(expected.len() as u64));
        expected.insert(0, world.pending_at(&webhooks[index], at).await.id);
    }
    for limit in [1, 2, 7, ALL] {
        let (found, _) = walk(&world, &DeliveryFilter::default(), limit, ALL).await;
        let ids: Vec<_> = found.iter().map(|overview| overview.id).collect();
        assert_eq!(ids, expected, "{limit} a page");
    }
}

/// Each filter selects exactly the deliveries that satisfy all its conditions.
pub async fn filters_combine(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhooks = all_sorts(&world).await;
    let all = all(&world).await;
    assert_eq!(all.len(), 16);
    let times = [all[12].created_at, all[3].created_at];
    assert!(times[0] < times[1]);
    for filter in filters(&webhooks, times) {
        let expected: Vec<_> = all.iter().filter(|overview| passes(overview, &filter)).cloned().collect();
        let (found, _) = walk(&world, &filter, ALL, ALL).await;
        assert_eq!(found, expected, "{filter:?}");
    }
}

/// With a low row limit, pages are short, continue to the end, and contain every delivery once.
pub async fn limited_pages_continue_to_the_end(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhooks = all_sorts(&world).await;
    let all = all(&world).await;
    let (subject, kind) = (Some(environment("test")), Some(KindFilter::Event(EventKind::StackUpdate)));
    let (webhook, state) = (Some(webhooks[0].id), Some(StateKind::Failed));
    for filter in [
        DeliveryFilter::default(),
        DeliveryFilter { subject, ..DeliveryFilter::default() },
        DeliveryFilter { state, ..DeliveryFilter::default() },
        DeliveryFilter { webhook, kind, ..DeliveryFilter::default() },
    ] {
        let expected: Vec<_> = all.iter().filter(|overview| passes(overview, &filter)).cloned().collect();
        assert!(!expected.is_empty(), "{filter:?}");
        for (limit, looked_at_max) in [(1, 1), (2, 1), (1, 3), (3, 2), (ALL, 5)] {
            let (found, _) = walk(&world, &filter, limit, looked_at_max).await;
            assert_eq!(found, expected, "{limit} of {looked_at_max}: {filter:?}");
        }
    }
}

/// A filter without matches ends, although no call reads all rows.
pub async fn a_list_without_matches_ends(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    for _ in 0..40 {
        world.pending(&webhook).await;
    }
    let filter = DeliveryFilter { subject: Some(stack("none")), ..DeliveryFilter::default() };
    let (found, pages) = walk(&world, &filter, 10, 4).await;
    assert_eq!(found, []);
    assert!((5..=41).contains(&pages), "{pages} pages of about 4 rows");
}

/// Deliveries of organizations do not mix, and an unknown webhook has none.
pub async fn organizations_deliveries_do_not_mix(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let ours = world.failed(&webhook).await;
    let other = world.other_organization("other").await.id;
    for webhook in [None, Some(webhook.id)] {
        let filter = DeliveryFilter { webhook, ..DeliveryFilter::default() };
        let page = world.store.list_deliveries(other, &filter, None, 10, ALL).await;
        let page = page.expect("list_deliveries");
        assert_eq!((page.deliveries, page.next), (Vec::new(), None));
    }
    assert_eq!(delivery(&world, other, ours.id).await, None);
    let attempts = world.store.delivery_attempts(other, ours.id, 10, u64::MAX).await;
    assert_eq!(attempts.expect("delivery_attempts"), []);
    let unknown =
        DeliveryFilter { webhook: Some(world.new_webhook("never").id), ..DeliveryFilter::default() };
    assert_eq!(walk(&world, &unknown, 10, ALL).await.0, []);
}

/// A deleted webhook's deliveries are listed with its name, its scope, and a mark that it is deleted.
pub async fn a_deleted_webhooks_deliveries_are_listed(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = Webhook { scope: stack_scope("prod"), ..world.new_webhook("hook") };
    world.create(&webhook).await;
    let left = world.failed(&webhook).await;
    let before = overview(&world, &left).await;
    assert!(!before.is_webhook_deleted);
    world.delete(&webhook).await;
    let again = Webhook { scope: stack_scope("prod"), ..world.new_webhook("hook") };
    world.create(&again).await;

    let after = overview(&world, &left).await;

    assert_eq!(after, DeliveryOverview { is_webhook_deleted: true, ..before });
    assert_eq!((after.webhook_scope, after.webhook_name), (webhook.scope, webhook.name));
    let filter = DeliveryFilter { webhook: Some(webhook.id), ..DeliveryFilter::default() };
    assert_eq!(walk(&world, &filter, 10, ALL).await.0.len(), 1);
}

/// An overview shows the current state of its delivery.
pub async fn an_overview_has_the_current_state(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let event = Event { subject: environment("Staging"), ..world.new_event() };
    world.accept(&event, &[&webhook]).await;
    let found = world.store.find_delivery(webhook.id, event.id).await.expect("find_delivery");
    let born = found.expect("it is there").delivery;
    let expected = DeliveryOverview {
        id: born.id,
        webhook: webhook.id,
        webhook_scope: webhook.scope.clone(),
        webhook_name: webhook.name.clone(),
        is_webhook_deleted: false,
        trigger: Trigger::Event { key: event.key, kind: event.kind },
        event_id: event.id,
        subject: Some(event.subject),
        format: Format::Raw,
        created_at: born.created_at,
        rearmed_at: None,
        attempts_spent: 0,
        state: born.state.clone(),
        attempts: 0,
        last_attempt: None,
    };
    assert_eq!(overview(&world, &born).await, expected);

    world.cancel(&born, world.audit("delivery.cancel")).await;
    world.retry(&born, world.audit("delivery.retry")).await;
    let now = world.find(&born).await.expect("it is there");
    assert!(now.rearmed_at.is_some());
    let expected = DeliveryOverview { rearmed_at: now.rearmed_at, state: now.state, ..expected };
    assert_eq!(overview(&world, &born).await, expected);

    let ping = world.pinged(&webhook).await;
    let shown = overview(&world, &ping).await;
    assert_eq!((shown.trigger, shown.event_id, shown.subject), (Trigger::Ping, ping.event_id, None));
    assert_eq!((shown.attempts, shown.state), (1, ping.state));
}

/// An error of Teams in the body of a 200.
fn hidden_error(status: u16) -> Outcome {
    let body = format!("Microsoft Teams endpoint returned HTTP error {status}").into();
    Outcome::HiddenError(Response { status: 200, headers: "".into(), body, retry_after: None })
}

/// An overview has the last attempt, by its start and then by the order of recording, and the reason why
/// there was no response.
pub async fn an_overview_has_the_last_attempt(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let delivery = world.pending(&webhook).await;
    let other = world.pending(&webhook).await;
    world.recorded(redelivered(&other, world.now().after(Duration::from_secs(60)), answered(204))).await;
    let start = world.now();
    let lost = "Microsoft Teams did not take the message: behind this answer is HTTP error 413; it is lost, as no retry helps";
    let silent = Outcome::Unanswered { silence: Silence::TimedOut, text: "no answer".into() };
    let duration = Duration::from_millis(40);
    // The third attempt starts before the second, so it is not the last.
    for (count, seconds, outcome, last) in [
        (1, 1, answered(500), (1, 500, None)),
        (2, 2, silent, (2, 0, Some("no answer".into()))),
        (3, 0, answered(200), (2, 0, Some("no answer".into()))),
        (4, 2, answered(501), (2, 501, None)),
        (5, 3, hidden_error(413), (3, 200, Some(lost.into()))),
    ] {
        world.recorded(redelivered(&delivery, start.after(Duration::from_secs(seconds)), outcome)).await;
        let (seconds, status, reason) = last;
        let started_at = start.after(Duration::from_secs(seconds));
        let shown = overview(&world, &delivery).await;
        assert_eq!(shown.attempts, count);
        assert_eq!(shown.last_attempt, Some(LastAttempt { started_at, duration, status, reason }));
    }
}

/// A delivery is read with its payload: its own bytes, or its event's.
pub async fn a_delivery_is_read_with_its_payload(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let event = world.new_event();
    world.accept(&event, &[&webhook]).await;
    let raw = all(&world).await.remove(0);
    let body = Bytes::from(r#"{"text":"done"}"#);
    let rendered =
        NewDelivery { format: Format::Slack, body: Some(body.clone()), ..world.new_delivery(&webhook) };
    let id = rendered.id;
    let item = world.intake(vec![NewEvent { event: world.new_event(), deliveries: vec![rendered] }]).await;
    world.commit(vec![item], Vec::new()).await;
    let ping = world.pinged(&webhook).await;

    let bytes = async |id| delivery(&world, world.organization, id).await.map(|(_, bytes)| bytes);
    assert_eq!(bytes(raw.id).await, Some(event.payload));
    assert_eq!(bytes(id).await, Some(body));
    assert_eq!(bytes(ping.id).await, ping.body);
    assert_eq!(bytes(world.ordered(DeliveryId::generate)).await, None);
}

/// A delivery's attempts are listed in full up to the limits, newest first by their start and then by the
/// order of recording.
pub async fn a_deliverys_attempts_are_listed(harness: &dyn Harness) {
    let world = World::open(harness).await;
    let webhook = world.webhook("hook").await;
    let (delivery, other) = (world.pending(&webhook).await, world.pending(&webhook).await);
    let start = world.now();
    world.recorded(redelivered(&other, start, answered(200))).await;
    let mut recorded = Vec::new();
    for (seconds, status) in [(2, 500), (1, 501), (2, 502), (0, 503)] {
        let at = start.after(Duration::from_secs(seconds));
        let attempt = attempt(AttemptTrigger::Redeliver, at, answered(status));
        world.recorded(redelivered(&delivery, at, answered(status))).await;
        recorded.push(attempt);
    }
    let expected = [2, 0, 1, 3].map(|index: usize| recorded[index].clone());
    let listed = async |limit, bytes_max| {
        let listed = world.store.delivery_attempts(world.organization, delivery.id, limit, bytes_max).await;
        listed.expect("delivery_attempts")
    };
    assert_eq!(listed(10, u64::MAX).await, expected);
    assert_eq!(listed(3, u64::MAX).await, expected[..3]);
    let size = attempt_size(&expected[0]);
    for (bytes_max, count) in [(0, 1), (size, 1), (size + 1, 2), (2 * size, 2), (2 * size + 1, 3)] {
        assert_eq!(listed(10, bytes_max).await.len(), count, "{bytes_max} bytes");
    }
    let unknown = world.ordered(DeliveryId::generate);
    let none = world.store.delivery_attempts(world.organization, unknown, 10, u64::MAX).await;
    assert_eq!(none.expect("delivery_attempts"), []);
}
