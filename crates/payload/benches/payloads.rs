//! Measures the time to check a producer's payload and to render it in each format.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stackbell_model::Timestamp;
use stackbell_model::event::{Event, PAYLOAD_BYTES_MAX, Source};
use stackbell_model::ids::{EventId, EventKey, OrganizationId};
use stackbell_model::webhook::Format;
use stackbell_payload::raw::{Classified, Filling, Party, read_event};
use stackbell_payload::render;
use uuid::Uuid;

const KIND: &str = "stack_update";

const FILLING: Filling<'static> = Filling {
    organization: Party { name: "Acme", login: "acme", avatar_url: "" },
    user: Some(Party { name: "Morty Smith", login: "morty", avatar_url: "https://a.example/m.png" }),
};

/// A payload of about this many bytes.
fn payload(bytes: usize) -> String {
    let note = "0123456789".repeat(bytes.saturating_sub(280) / 10);
    format!(
        r#"{{"projectName":"website","stackName":"website-prod","updateUrl":"https://app.example.com/acme/website/website-prod/updates/42","kind":"update","result":"succeeded","resourceChanges":{{"create":3,"same":28}},"isPreview":false,"note":"{note}"}}"#
    )
}

fn classified(payload: &str) -> Classified {
    read_event(KIND, payload, &FILLING, PAYLOAD_BYTES_MAX).expect("a valid payload")
}

fn event(classified: Classified) -> Event {
    Event {
        key: EventKey::from_uuid(Uuid::from_u128(1)),
        id: EventId::from_uuid(Uuid::from_u128(2)),
        organization: OrganizationId::from_uuid(Uuid::from_u128(3)),
        kind: classified.kind,
        filters: classified.filters,
        subject: classified.subject,
        payload: classified.payload,
        digest: None,
        accepted_at: Timestamp::from_millis(1_778_653_205_123),
        source: Source::Api,
        token: None,
    }
}

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for bytes in [1024, 64 * 1024] {
        let payload = payload(bytes);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(BenchmarkId::new("payload", bytes), &payload, |bencher, payload| {
            bencher.iter(|| classified(black_box(payload)));
        });
        let read = classified(&payload);
        group.bench_function(BenchmarkId::new("digest", bytes), |bencher| {
            bencher.iter(|| black_box(&read).digest());
        });
    }
    group.finish();
}

fn render_each(criterion: &mut Criterion) {
    let event = event(classified(&payload(1024)));
    let mut group = criterion.benchmark_group("render");
    for format in [Format::Raw, Format::Slack, Format::MsTeams, Format::PulumiDeployments] {
        group.bench_function(format.as_str(), |bencher| {
            bencher.iter(|| render(format, black_box(&event), None));
        });
    }
    group.finish();
}

criterion_group!(benches, read, render_each);
criterion_main!(benches);
