//! How long it takes to read the body of a request that publishes one event, without its payload.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stackbell_wire::rest::event::read_one;

fn read(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("read");
    for bytes in [1024, 64 * 1024] {
        let note = "0123456789".repeat(bytes / 10);
        let text = format!(r#"{{"kind":"stack_update","payload":{{"note":"{note}"}}}}"#);
        group.throughput(Throughput::Bytes(bytes as u64));
        group.bench_with_input(BenchmarkId::new("envelope", bytes), &text, |bencher, text| {
            bencher.iter(|| read_one(black_box(text)).expect("a valid event").payload.get().len());
        });
    }
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
