//! Measures the signing of a delivery, and the encoding of its headers for the wire and for the record.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stackbell_model::Timestamp;
use stackbell_model::ids::EventId;
use stackbell_model::secret::WebhookSecret;
use stackbell_wire::headers::{Outgoing, RequestHeaders};
use stackbell_wire::signature::{SigningKey, SigningKeys};
use uuid::Uuid;

const AT: Timestamp = Timestamp::from_millis(1_778_653_205_123);

fn id() -> EventId {
    EventId::from_uuid(Uuid::from_u128(2))
}

fn key(secret: &str) -> SigningKey {
    SigningKey::new(&WebhookSecret::new(secret).expect("short enough"))
}

fn sign(criterion: &mut Criterion) {
    let key = key("a secret");
    let mut group = criterion.benchmark_group("sign");
    for bytes in [1024, 64 * 1024] {
        let body = vec![b'x'; bytes];
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(BenchmarkId::new("pulumi", bytes), &body, |bencher, body| {
            bencher.iter(|| key.sign_pulumi(black_box(body)));
        });
        group.bench_with_input(BenchmarkId::new("standard", bytes), &body, |bencher, body| {
            bencher.iter(|| key.sign_standard(id(), AT, black_box(body)));
        });
    }
    group.finish();
    criterion.bench_function("make a secret ready", |bencher| {
        let secret = WebhookSecret::new("a secret").expect("short enough");
        bencher.iter(|| SigningKey::new(black_box(&secret)));
    });
}

fn encode(criterion: &mut Criterion) {
    let keys = SigningKeys { current: key("a secret"), previous: None };
    let body = vec![b'x'; 1024];
    let outgoing = Outgoing {
        id: id(),
        kind: "stack_update",
        body: &body,
        keys: Some(&keys),
        standard_headers: true,
        at: AT,
    };
    let headers = RequestHeaders::new(&outgoing);
    let mut group = criterion.benchmark_group("encode");
    group.bench_function("headers, signed", |bencher| {
        bencher.iter(|| RequestHeaders::new(black_box(&outgoing)));
    });
    group.bench_function("headers, recorded", |bencher| {
        bencher.iter(|| black_box(&headers).record_lines());
    });
    group.finish();
}

criterion_group!(benches, sign, encode);
criterion_main!(benches);
