//! How long it takes to fit each model and to predict with it, at sizes ten times apart.
#![allow(missing_docs, clippy::unwrap_used, reason = "a benchmark, not an interface")]

mod data;

use std::hint::black_box;
use std::time::Duration;

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use data::{bgnbd, cdnow, histories, simulated, spend};
use kiki_models::ltv::{
    BgBb, BgNbd, GammaGamma, Lives, MbgNbd, Opportunities, ParetoNbd, PurchaseModel, Scale, Spend, Terms,
    discounted_values,
};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const SIZES: [usize; 3] = [10_000, 100_000, 1_000_000];

fn mbgnbd() -> MbgNbd {
    MbgNbd::new(0.525, 6.18, 0.891, 1.614).unwrap()
}

fn pareto() -> ParetoNbd {
    ParetoNbd::new(0.553, 10.578, 0.606, 11.669).unwrap()
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    group
}

fn purchases<M: PurchaseModel + Lives>(criterion: &mut Criterion, name: &str, model: &M) {
    let mut fits = group(criterion, &format!("{name}/fit"));
    let sample = cdnow();
    fits.bench_function("cdnow", |bencher| {
        bencher.iter(|| M::fit(black_box(&sample)).map(|fit| fit.iterations).unwrap());
    });
    for size in SIZES {
        let histories = histories(model, size);
        fits.throughput(Throughput::Elements(size as u64));
        fits.bench_function(BenchmarkId::new("simulated", size), |bencher| {
            bencher.iter(|| M::fit(black_box(&histories)).map(|fit| fit.iterations).unwrap());
        });
    }
    fits.finish();
    let mut predictions = group(criterion, &format!("{name}/predict"));
    for size in SIZES {
        let histories = histories(model, size);
        predictions.throughput(Throughput::Elements(size as u64));
        predictions.bench_function(BenchmarkId::new("purchases", size), |bencher| {
            bencher.iter(|| model.predict_all(black_box(&histories), 52.0).len());
        });
    }
    predictions.finish();
}

fn models(criterion: &mut Criterion) {
    purchases(criterion, "bgnbd", &bgnbd());
    purchases(criterion, "mbgnbd", &mbgnbd());
    purchases(criterion, "pareto_nbd", &pareto());
}

fn values(criterion: &mut Criterion) {
    let mut group = group(criterion, "bgnbd/value");
    let terms = Terms::new(52.0, 0.01).unwrap();
    for size in SIZES {
        let customers: Vec<_> = simulated(&bgnbd(), size).iter().map(|one| (one.history, one.monetary)).collect();
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("discounted", size), |bencher| {
            bencher.iter(|| discounted_values(&bgnbd(), &spend(), black_box(&customers), &terms).len());
        });
    }
    let sample = cdnow();
    let fit = BgNbd::fit(&sample).unwrap();
    let cohort = |model: &BgNbd| model.predict_all(&sample, 52.0).iter().map(|one| one.purchases).sum::<f64>();
    group.bench_function("interval of cdnow", |bencher| bencher.iter(|| fit.estimate(Scale::Positive, cohort)));
    group.finish();
}

fn spends(criterion: &mut Criterion) {
    let mut group = group(criterion, "gamma_gamma/fit");
    for size in SIZES {
        let customers = simulated(&bgnbd(), size);
        let spends: Vec<Spend> = customers.iter().filter_map(|one| Spend::new(&one.history, one.monetary)).collect();
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("simulated", size), |bencher| {
            bencher.iter(|| GammaGamma::fit(black_box(&spends)).map(|fit| fit.iterations).unwrap());
        });
    }
    group.finish();
}

fn donations(criterion: &mut Criterion) {
    let mut group = group(criterion, "bgbb/fit");
    let model = BgBb::new(1.204, 0.750, 0.657, 2.783).unwrap();
    for size in SIZES {
        let mut random = StdRng::seed_from_u64(20_260_101);
        let donors: Vec<Opportunities> = (0..size).map(|_| model.simulate(12, &mut || random.random())).collect();
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::new("simulated", size), |bencher| {
            bencher.iter(|| BgBb::fit(black_box(&donors)).map(|fit| fit.iterations).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, models, values, spends, donations);
criterion_main!(benches);
