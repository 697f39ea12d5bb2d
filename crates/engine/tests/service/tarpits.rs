//! Endpoints that cost time: a hundred of them beside a healthy one, which still receives all its events (invariant 5).
//!
//! An exchange may take far longer than a test. No attempt at a tarpit ends by itself, so all deliveries to the healthy
//! endpoint happen while the others hang.

use std::time::Duration;

use stackbell_engine::core::CoreConfig;
use stackbell_engine::outbound::OutboundSettings;
use stackbell_model::names::WebhookName;
use stackbell_model::webhook::{Format, PayloadUrl, Webhook};
use stackbell_testkit::{OpenTarpit, Tarpit, wait};

use crate::world::{BEGIN, World};

/// The number of webhooks at tarpits.
const TARPITS: usize = 100;

/// The number of events for each webhook.
const EVENTS: usize = 20;

/// The most attempts in flight.
const IN_FLIGHT_MAX: u32 = 16;

/// The most attempts in flight to unproven endpoints.
const UNPROVEN_MAX: usize = 8;

const FOR_EVER: Duration = Duration::from_secs(3600);

async fn world() -> World {
    let config = CoreConfig {
        in_flight_max: IN_FLIGHT_MAX,
        organization_in_flight_max: IN_FLIGHT_MAX,
        // The manual clock would otherwise let no further attempts start.
        unproven_burst: 10_000,
        ..CoreConfig::default()
    };
    let outbound = OutboundSettings { exchange_time: FOR_EVER, ..OutboundSettings::default() };
    World::start_calling(BEGIN, config, outbound, |store| store).await
}

async fn tarpits(world: &mut World, tarpit: &OpenTarpit) -> Vec<Webhook> {
    let mut webhooks = Vec::with_capacity(TARPITS);
    for number in 0..TARPITS {
        let name = format!("tarpit-{number}");
        let url = PayloadUrl::parse(&tarpit.url("/hook"), Format::Raw, &[]).expect("a URL");
        let change = |webhook: &mut Webhook| {
            webhook.name = WebhookName::parse(&name).expect("a name");
            webhook.payload_url = url;
        };
        webhooks.push(world.webhook(&name, change).await);
    }
    webhooks
}

/// The attempts in flight, from the metrics.
fn in_flight(world: &World) -> usize {
    let metrics = world.metrics.encode().expect("text");
    let line = metrics.lines().find_map(|line| line.strip_prefix("stackbell_attempts_in_flight "));
    line.expect("the gauge").parse().expect("a number")
}

/// The number of finished attempts of each webhook.
async fn ended(world: &World, webhooks: &[Webhook]) -> Vec<usize> {
    let mut ended = Vec::with_capacity(webhooks.len());
    for webhook in webhooks {
        ended.push(world.attempts(webhook).await.len());
    }
    ended
}

async fn check(sort: Tarpit) {
    let mut world = world().await;
    let tarpit = sort.open().await;
    let healthy = world.webhook("healthy", |_| ()).await;
    // The endpoint has responded once, and counts as quick.
    let (first, _) = world.publish().await;
    world.succeeded(&healthy, first).await;
    let webhooks = tarpits(&mut world, &tarpit).await;
    let mut events = Vec::with_capacity(EVENTS);
    for _ in 0..EVENTS {
        let (event, deliveries) = world.publish().await;
        assert_eq!(deliveries as usize, TARPITS + 1);
        events.push(event);
    }
    for event in events {
        world.succeeded(&healthy, event).await;
    }
    assert_eq!(world.receiver.count(), 1 + EVENTS, "{sort:?}: each arrived, and once");
    if sort.holds() {
        check_held(&world, sort, &tarpit, &webhooks).await;
    } else {
        check_given_up(&world, sort, &webhooks).await;
    }
    assert!(tarpit.connections_max() <= UNPROVEN_MAX, "{sort:?}: {}", tarpit.connections_max());
    // A ping gets through, too.
    let made = world.handle().ping(std::sync::Arc::new(healthy)).await.expect("made");
    assert_eq!(made.attempt.outcome.status(), 200, "{sort:?}");
}

/// Checks that the tarpits hold exactly their share: one connection for each attempt.
async fn check_held(world: &World, sort: Tarpit, tarpit: &OpenTarpit, webhooks: &[Webhook]) {
    wait::until("as many attempts as there may be", || async {
        let is_open = sort == Tarpit::NeverAccepts || tarpit.connections() == UNPROVEN_MAX;
        (in_flight(world) == UNPROVEN_MAX && is_open).then_some(())
    })
    .await;
    assert_eq!(ended(world, webhooks).await, [0; TARPITS], "{sort:?}: they hung all the while");
    assert_eq!(in_flight(world), UNPROVEN_MAX, "{sort:?}");
}

/// Checks that each tarpit is left alone after a few failures, with its deliveries still pending.
async fn check_given_up(world: &World, sort: Tarpit, webhooks: &[Webhook]) {
    let config = CoreConfig::default();
    // Attempts that were in flight at the last failure still end.
    let most = (config.breaker_failures + config.lane_limit_start) as usize;
    let look = || async {
        let ended = ended(world, webhooks).await;
        let is_over =
            ended.iter().all(|count| *count >= config.breaker_failures as usize) && in_flight(world) == 0;
        is_over.then_some(ended)
    };
    let ended = wait::until("failures of each", look).await;
    assert!(ended.iter().all(|count| *count <= most), "{sort:?}: {ended:?}");
}

macro_rules! each {
    ($($name:ident: $sort:ident,)+) => {
        $(#[tokio::test]
        async fn $name() {
            check(Tarpit::$sort).await;
        })+

        #[test]
        fn every_sort_is_here() {
            assert_eq!(Tarpit::ALL, [$(Tarpit::$sort),+]);
        }
    };
}

each! {
    never_accepts: NeverAccepts,
    says_nothing: SaysNothing,
    a_byte_a_second: ByteASecond,
    endless_headers: EndlessHeaders,
    endless_body: EndlessBody,
    resets: Resets,
    unfinished_tls: UnfinishedTls,
    late: Late,
}
