//! Decisions in memory: authorize and capture in one step, spread over 1,000, 10,000 and 100,000 budgets, with two
//! window limits on each path; looked at in batches, as the owner does with what waits.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kiki_spend::{AHEAD, Authorize, Bounds, Command, Digest, LimitKind, State};

const START: i64 = 1_700_000_000_000;

fn state(budgets: u32) -> State {
    let bounds = Bounds { accounts_per_tenant: u32::MAX, limits_per_tenant: u32::MAX, ..Bounds::default() };
    let mut state = State::new(bounds);
    let mut define = |id: &str, path: &str| {
        let kind = LimitKind::Window { amount: i64::MAX, seconds: 60 };
        state.apply(&Command::Limit { id: id.into(), path: path.into(), kind, shadow: false }, START);
    };
    define("tenant", "t");
    for n in 0..budgets {
        define(&format!("b{n}"), &format!("t/{n}"));
    }
    state
}

fn requests(budgets: u32) -> Vec<Command> {
    let request = |n: u32| {
        let path = format!("t/{}", n.wrapping_mul(2_654_435_761) % budgets);
        Authorize { capture: true, ..Authorize::of(Digest::of(&n.to_string()), &path, 1_010_000, 30_000) }
    };
    (0..16_384).map(|n| Command::Authorize(request(n))).collect()
}

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("governor in memory");
    group.throughput(Throughput::Elements(1));
    for budgets in [1_000, 10_000, 100_000] {
        let (mut state, requests) = (state(budgets), requests(budgets));
        let mut asked = 0_usize;
        group.bench_function(BenchmarkId::from_parameter(budgets), |bencher| {
            bencher.iter_custom(|decisions| {
                let begun = Instant::now();
                let mut left = usize::try_from(decisions).unwrap();
                while left > 0 {
                    let first = asked % requests.len();
                    let batch = &requests[first..first + AHEAD.min(left)];
                    asked += AHEAD;
                    left -= batch.len();
                    let at = START + i64::try_from(asked / 10_000).unwrap();
                    state.look_ahead(batch.iter());
                    for request in batch {
                        black_box(state.apply(request, at));
                    }
                }
                begun.elapsed()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
