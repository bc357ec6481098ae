//! Decisions in memory: authorize and capture in one step, spread over 1,000, 10,000 and 100,000 budgets, with two
//! window limits on each path; looked at in batches, as the owner does with what waits.
//!
//! Then such decisions about customers, spread over 1,000, 10,000 and 100,000 people who agreed, one in sixteen of whom is
//! barred: what looking consent up adds, by how many there are.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark")]

use std::hint::black_box;
use std::time::Instant;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kiki_spend::{AHEAD, Authorize, Bounds, Command, Digest, LimitKind, Outcome, State};
use kiki_types::{Bar, Channel, Purpose};

const START: i64 = 1_700_000_000_000;
const SIZES: [u32; 3] = [1_000, 10_000, 100_000];
/// Budgets where people are what grows.
const BUDGETS: u32 = 1_000;
/// One of so many people is barred.
const BARRED: u32 = 16;

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

fn person(n: u32) -> Digest {
    Digest::of(&format!("person {n}"))
}

/// As [`state`], with `people` who agreed to marketing by all channels.
fn state_with_people(people: u32) -> State {
    let mut state = state(BUDGETS);
    for n in 0..people {
        let (subject, purpose) = (person(n), Purpose::Marketing);
        let agrees = Command::Consent { subject, purpose, granted: true, channel: None, until: None, asked: None };
        assert_eq!(state.apply(&agrees, START).outcome, Outcome::Granted);
        if n % BARRED == 0 {
            state.apply(&Command::Bar { subject, bar: Bar::DoNotSell, set: true }, START);
        }
    }
    state
}

/// As [`requests`], each about one of `people`, who agreed to it.
fn requests_about(people: u32) -> Vec<Command> {
    let about = |(n, command): (u32, Command)| match command {
        Command::Authorize(request) => {
            let subject = person(n.wrapping_mul(2_654_435_761) % people);
            let (consent, channel) = (Some((subject, Purpose::Marketing)), Some(Channel::Email));
            Command::Authorize(Authorize { consent, channel, ..request })
        }
        other => other,
    };
    (0..).zip(requests(BUDGETS)).map(about).collect()
}

/// Measures decisions of `requests`, over and over.
fn measure(group: &mut BenchmarkGroup<'_, WallTime>, size: u32, mut state: State, requests: &[Command]) {
    let mut asked = 0_usize;
    group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
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

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("governor in memory");
    group.throughput(Throughput::Elements(1));
    for budgets in SIZES {
        measure(&mut group, budgets, state(budgets), &requests(budgets));
    }
    group.finish();
}

fn decide_about_people(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("governor in memory, with the consent of people");
    group.throughput(Throughput::Elements(1));
    for people in SIZES {
        let (mut state, requests) = (state_with_people(people), requests_about(people));
        assert_eq!(state.apply(&requests[0], START).outcome, Outcome::Captured, "who agreed");
        measure(&mut group, people, state, &requests);
    }
    group.finish();
}

criterion_group!(benches, decide, decide_about_people);
criterion_main!(benches);
