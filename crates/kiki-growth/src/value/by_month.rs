//! The customers of a fitted log by the month of their first purchase, and what each month's are worth together.

use std::collections::BTreeMap;

use kiki_models::ltv::{CohortEstimate, History, HistoryError, Terms};
use serde::Serialize;

use super::fit::FitReport;
use super::orders::{date_of, day_number};

/// Months that are told apart; who first bought before them counts among all only.
const MONTHS_MAX: usize = 1_200;

/// Cohorts by month.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cohorts {
    /// Weeks ahead of the last day that counted.
    pub horizon_weeks: f64,
    /// Discount a month.
    pub monthly_discount: f64,
    /// All customers together.
    pub all: CohortEstimate,
    /// Earliest first.
    pub months: Vec<MonthlyCohort>,
}

/// Customers who first bought in one month.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MonthlyCohort {
    /// Such as `1997-01`.
    pub month: String,
    /// What they are worth together.
    #[serde(flatten)]
    pub estimate: CohortEstimate,
}

impl Cohorts {
    /// Of the customers that `report` was fitted to, with 95 % intervals in which what customers have in common is counted once.
    /// Predicts each of them some twenty times, on all processors.
    ///
    /// # Errors
    /// A summary of the report is no history; none that was fitted is.
    pub fn of(report: &FitReport, terms: &Terms) -> Result<Self, HistoryError> {
        let until = day_number(report.calibrate_until);
        let mut all = Vec::with_capacity(report.summaries.len());
        let mut by_month: BTreeMap<(i16, i8), Vec<(History, f64)>> = BTreeMap::new();
        for (_, summary) in &report.summaries {
            let one = (summary.history()?, summary.monetary());
            all.push(one);
            if let Some(first) = date_of(until.saturating_sub_unsigned(summary.age_days)) {
                by_month.entry((first.year(), first.month())).or_default().push(one);
            }
        }
        let estimate = |customers: &[(History, f64)]| {
            let spend = &report.gamma_gamma;
            let of_spend = (&spend.model, &spend.covariance);
            report.purchases.purchases().cohort(report.purchases.covariance(), of_spend, customers, terms)
        };
        let newest = by_month.len().saturating_sub(MONTHS_MAX);
        let months = by_month.iter().skip(newest).map(|((year, month), customers)| MonthlyCohort {
            month: format!("{year:04}-{month:02}"),
            estimate: estimate(customers),
        });
        Ok(Self {
            horizon_weeks: terms.horizon_weeks(),
            monthly_discount: terms.monthly_discount(),
            months: months.collect(),
            all: estimate(&all),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::model::terms;
    use crate::value::tests::world::report;

    /// Counted by awk over the log up to 1997-09-30.
    #[test]
    fn every_customer_is_in_the_month_of_their_first_purchase_and_among_all() {
        let cohorts = Cohorts::of(report(), &terms(Some(39.0), Some(0.0)).unwrap()).unwrap();
        let months: Vec<(&str, u64)> =
            cohorts.months.iter().map(|one| (one.month.as_str(), one.estimate.customers)).collect();
        assert_eq!(months, [("1997-01", 781), ("1997-02", 857), ("1997-03", 719)]);
        assert_eq!(cohorts.all.customers, 2_357);
        let sum = |of: fn(&CohortEstimate) -> f64| cohorts.months.iter().map(|one| of(&one.estimate)).sum::<f64>();
        let numbers: [fn(&CohortEstimate) -> f64; 3] =
            [|one| one.expected_purchases.value, |one| one.alive.value, |one| one.value.value];
        for of in numbers {
            assert!((sum(of) / of(&cohorts.all) - 1.0).abs() < 1e-12);
        }
        // What is not known of the parameters makes all months more or less at once.
        let error = |one: &CohortEstimate| one.value.standard_error;
        assert!((sum(error) / error(&cohorts.all) - 1.0).abs() < 0.01);
        // As predicted one by one: 1,653 purchases in docs/value.md.
        assert_eq!(cohorts.all.expected_purchases.value.round().to_string(), "1653");
        let json = serde_json::to_value(&cohorts).unwrap();
        assert_eq!((&json["months"][0]["month"], &json["months"][0]["customers"]), (&"1997-01".into(), &781.into()));
    }
}
