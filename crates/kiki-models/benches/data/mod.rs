//! Whom the benchmarks fit and predict: CDNOW's customers, and such that a model made.

use kiki_models::ltv::{BgNbd, GammaGamma, History, Lives, Simulated, simulate};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

const SUMMARY: &str = include_str!("../../../../examples/cdnow/cdnow_customers_summary.csv");

pub(crate) fn cdnow() -> Vec<History> {
    let number = |text: &str| text.trim().parse::<f64>().unwrap();
    let fields = |line: &str| line.split(',').skip(1).map(number).collect::<Vec<f64>>();
    let rows = SUMMARY.lines().skip(1).map(fields);
    rows.map(|row| History::new(row[0], row[1], row[2]).unwrap()).collect()
}

pub(crate) fn bgnbd() -> BgNbd {
    BgNbd::new(0.243, 4.414, 0.793, 2.426).unwrap()
}

pub(crate) fn spend() -> GammaGamma {
    GammaGamma::new(6.25, 3.74, 15.44).unwrap()
}

/// Customers who came over a year and were observed, by the day, for up to two.
pub(crate) fn simulated(model: &impl Lives, customers: usize) -> Vec<Simulated> {
    let mut random = StdRng::seed_from_u64(20_260_101);
    let mut draw = || {
        let age_days = random.random_range(365..730);
        simulate(model, &spend(), age_days, &mut || random.random())
    };
    (0..customers).map(|_| draw()).collect()
}

pub(crate) fn histories(model: &impl Lives, customers: usize) -> Vec<History> {
    simulated(model, customers).iter().map(|one| one.history).collect()
}
