//! Measures the lookup of the webhooks that an event matches.
//!
//! The lookup works as in the engine: find the webhooks of the organization and of the subject, then test the
//! selection of each.

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use stackbell_model::filter::{Filter, FilterSet, Group, Selection, Subscription};
use stackbell_model::names::{ProjectName, StackName};
use stackbell_model::scope::{ScopeKind, Subject};

fn subject(number: usize) -> Subject {
    let project = ProjectName::parse("website").expect("a name");
    Subject::Stack { project, stack: StackName::parse(&format!("website-prod-{number}")).expect("a name") }
}

/// A third of the webhooks has no filters, a third has two groups, a third has one filter.
fn subscription(number: usize) -> Subscription {
    let (filters, groups): (&[Filter], &[Group]) = match number % 3 {
        0 => (&[], &[]),
        1 => (&[], &[Group::Stacks, Group::Deployments]),
        _ => (&[Filter::UpdateFailed], &[]),
    };
    let subscription = Subscription::new(ScopeKind::Stack, filters.iter().copied(), groups.iter().copied());
    subscription.expect("filters of stacks")
}

fn selections(webhooks: usize) -> Vec<Selection> {
    (0..webhooks).map(|number| subscription(number).selection()).collect()
}

fn matching(criterion: &mut Criterion) {
    let filters: FilterSet = [Filter::UpdateSucceeded].into_iter().collect();
    let of_stacks: HashMap<Subject, Vec<Selection>> =
        (0..1000).map(|number| (subject(number), selections(3))).collect();
    let subject = subject(500);
    let mut group = criterion.benchmark_group("match one event");
    for webhooks in [10, 1000] {
        let of_organization = selections(webhooks);
        group.throughput(Throughput::Elements(webhooks as u64));
        group.bench_function(BenchmarkId::new("webhooks of the organization", webhooks), |bencher| {
            bencher.iter(|| {
                let of_subject = of_stacks.get(black_box(&subject)).into_iter().flatten();
                let all = of_organization.iter().chain(of_subject);
                all.filter(|selection| selection.selects(black_box(filters))).count()
            });
        });
    }
    group.finish();
}

fn selection(criterion: &mut Criterion) {
    let subscription = subscription(1);
    criterion.bench_function("make a subscription ready", |bencher| {
        bencher.iter(|| black_box(&subscription).selection());
    });
}

criterion_group!(benches, matching, selection);
criterion_main!(benches);
