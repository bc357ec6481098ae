//! How long it takes to fit BG/NBD and to predict with it, at sizes ten times apart.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark, not an interface")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kiki_models::ltv::{BgNbd, GammaGamma, History, Terms, discounted_value, simulate};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const SUMMARY: &str = include_str!("../../../examples/cdnow/cdnow_customers_summary.csv");
const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];

fn cdnow() -> Vec<History> {
    let number = |text: &str| text.trim().parse::<f64>().unwrap();
    let fields = |line: &str| line.split(',').skip(1).map(number).collect::<Vec<f64>>();
    let rows = SUMMARY.lines().skip(1).map(fields);
    rows.map(|row| History::new(row[0], row[1], row[2]).unwrap()).collect()
}

fn model() -> BgNbd {
    BgNbd::new(0.243, 4.414, 0.793, 2.426).unwrap()
}

fn spend() -> GammaGamma {
    GammaGamma::new(6.25, 3.74, 15.44).unwrap()
}

/// Customers with CDNOW's parameters who came over a year and were observed, by the day, for up to two.
fn simulated(customers: usize) -> Vec<History> {
    let mut random = StdRng::seed_from_u64(20_260_101);
    let mut draw = || {
        let age_days = random.random_range(365..730);
        simulate(&model(), &spend(), age_days, &mut || random.random()).history
    };
    (0..customers).map(|_| draw()).collect()
}

fn fit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bgnbd/fit");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    let sample = cdnow();
    group.bench_function("cdnow", |bencher| bencher.iter(|| BgNbd::fit(black_box(&sample)).unwrap()));
    for size in SIZES {
        let histories = simulated(size);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("simulated", size), |bencher| {
            bencher.iter_batched(|| (), |()| BgNbd::fit(black_box(&histories)).unwrap(), BatchSize::PerIteration);
        });
    }
    group.finish();
}

fn predict(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("bgnbd/predict");
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for size in SIZES {
        let histories = simulated(size);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("purchases", size), |bencher| {
            let predict = |history| model().expected_purchases(history, 52.0);
            bencher.iter(|| histories.iter().map(predict).sum::<f64>());
        });
    }
    let histories = simulated(SIZES[1]);
    let terms = Terms::new(52.0, 0.01).unwrap();
    group.bench_function(BenchmarkId::new("value", SIZES[1]), |bencher| {
        let value = |history| discounted_value(&model(), &spend(), history, 30.0, &terms);
        bencher.iter(|| histories.iter().map(value).sum::<f64>());
    });
    group.finish();
}

criterion_group!(benches, fit, predict);
criterion_main!(benches);
