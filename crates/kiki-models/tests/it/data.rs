//! Data sets, and customers drawn from a model.

use kiki_models::ltv::{History, Lives, Opportunities, Spend, simulate_history};
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

fn rows(text: &str) -> impl Iterator<Item = Vec<f64>> {
    let number = |field: &str| field.trim().parse::<f64>().unwrap();
    text.lines().skip(1).map(move |line| line.split(',').map(number).collect())
}

/// CDNOW's 2,357 customers over 39 weeks.
pub(crate) fn cdnow() -> Vec<History> {
    let rows = rows(include_str!("../../../../examples/cdnow/cdnow_customers_summary.csv"));
    rows.map(|row| History::new(row[1], row[2], row[3]).unwrap()).collect()
}

/// The mean values of their repeat purchases.
pub(crate) fn cdnow_spends() -> Vec<Spend> {
    let rows = rows(include_str!("../data/cdnow_customers_summary_with_transactions.csv"));
    rows.filter_map(|row| Spend::new(&History::new(row[1], row[2], row[3]).unwrap(), row[4])).collect()
}

/// The 11,104 donors of Fader, Hardie and Shang.
pub(crate) fn donors() -> Vec<Opportunities> {
    let whole = |number: f64| format!("{number}").parse::<u32>().unwrap();
    let rows = rows(include_str!("../data/donations.csv"));
    rows.flat_map(|row| {
        let donor = Opportunities::new(whole(row[0]), whole(row[1]), whole(row[2])).unwrap();
        std::iter::repeat_n(donor, usize::try_from(whole(row[3])).unwrap())
    })
    .collect()
}

/// Customers of `model` observed for between half and all of `weeks`.
pub(crate) fn simulated(model: &impl Lives, customers: usize, weeks: f64, seed: u64) -> Vec<History> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut draw = || {
        let age = weeks * (0.5 + 0.5 * random.random::<f64>());
        simulate_history(model, age, &mut || random.random())
    };
    (0..customers).map(|_| draw()).collect()
}
