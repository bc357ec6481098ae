//! What a customer is worth: expected purchases, month by month, times their expected value, discounted.

use super::model::CUSTOMERS_A_PART;
use super::parallel::map_chunks;
use super::{GammaGamma, History, PurchaseModel};

/// Weeks in a month, as the PyPI package lifetimes counts them, so that figures can be compared.
pub const WEEKS_PER_MONTH: f64 = 4.345;
/// The longest horizon: a hundred years.
pub const HORIZON_WEEKS_MAX: f64 = 5_200.0;
/// The largest discount a month.
pub const DISCOUNT_MAX: f64 = 1.0;

/// Over what time, and at what discount, a customer is valued. Made only by [`Terms::new`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Terms {
    horizon_weeks: f64,
    monthly_discount: f64,
}

/// Why numbers are not [`Terms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct TermsError {
    /// The field that is wrong: `horizon_weeks` or `monthly_discount`.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl Terms {
    /// The next `horizon_weeks`, money of a month ahead being worth `1 / (1 + monthly_discount)` of today's.
    ///
    /// # Errors
    /// The horizon is not a number above 0 and at most [`HORIZON_WEEKS_MAX`], or the discount not one between 0 and
    /// [`DISCOUNT_MAX`].
    pub fn new(horizon_weeks: f64, monthly_discount: f64) -> Result<Self, TermsError> {
        if !(horizon_weeks > 0.0 && horizon_weeks <= HORIZON_WEEKS_MAX) {
            return Err(TermsError { field: "horizon_weeks", reason: "must be more than 0 and at most 5200 weeks" });
        }
        if !(0.0..=DISCOUNT_MAX).contains(&monthly_discount) {
            return Err(TermsError { field: "monthly_discount", reason: "must be between 0 and 1" });
        }
        Ok(Self { horizon_weeks, monthly_discount })
    }

    /// Weeks ahead.
    #[must_use]
    pub const fn horizon_weeks(&self) -> f64 {
        self.horizon_weeks
    }

    /// Discount a month.
    #[must_use]
    pub const fn monthly_discount(&self) -> f64 {
        self.monthly_discount
    }
}

/// The discounted value over the horizon of a customer with `history` whose repeat purchases were worth `monetary` in the
/// mean, in units of the currency:
///
/// ```text
/// value = expected_order_value · Σ (E(tᵢ) - E(tᵢ₋₁)) / (1 + d)^(tᵢ / 4.345)    tᵢ = min(4.345 i, horizon), i = 1, 2, ...
/// ```
///
/// where E is [`PurchaseModel::expected_purchases`]. Over whole months this is `customer_lifetime_value` of the PyPI package
/// lifetimes with `freq="W"`; the rest of a month is discounted to its own end.
#[must_use]
pub fn discounted_value(
    purchases: &(impl PurchaseModel + ?Sized),
    spend: &GammaGamma,
    history: &History,
    monetary: f64,
    terms: &Terms,
) -> f64 {
    let discounted = discounted_if_alive(|weeks| purchases.expected_purchases_if_alive(history, weeks), terms);
    purchases.probability_alive(history) * discounted * spend.expected_order_value(history.frequency(), monetary)
}

/// The same for many customers, each with the mean value of their repeat purchases, computed on all processors.
#[must_use]
pub fn discounted_values(
    purchases: &(impl PurchaseModel + ?Sized),
    spend: &GammaGamma,
    customers: &[(History, f64)],
    terms: &Terms,
) -> Vec<f64> {
    let histories: Vec<History> = customers.iter().map(|(history, _)| *history).collect();
    let prepared = purchases.prepare(&histories);
    let value = |(history, monetary): &(History, f64)| {
        let discounted = discounted_if_alive(|weeks| prepared.expected_purchases_if_alive(history, weeks), terms);
        prepared.probability_alive(history) * discounted * spend.expected_order_value(history.frequency(), *monetary)
    };
    map_chunks(customers, CUSTOMERS_A_PART, |part| part.iter().map(value).collect())
}

/// Purchases, of which `expected` tells the number by a week, discounted month by month.
pub(super) fn discounted_if_alive(expected: impl Fn(f64) -> f64, terms: &Terms) -> f64 {
    // At most 1,197 months.
    let (mut before, mut discounted) = (0.0, 0.0);
    let mut month = 0.0;
    while WEEKS_PER_MONTH * month < terms.horizon_weeks {
        month += 1.0;
        let end = (WEEKS_PER_MONTH * month).min(terms.horizon_weeks);
        let by_then = expected(end);
        let worth = (1.0 + terms.monthly_discount).powf(-end / WEEKS_PER_MONTH);
        // Rounding must not make a month's purchases negative.
        discounted += (by_then - before).max(0.0) * worth;
        before = by_then;
    }
    discounted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ltv::BgNbd;

    /// lifetimes 0.11.3, `GammaGammaFitter.customer_lifetime_value(BetaGeoFitter, ..., freq="W")` with the published
    /// parameters of CDNOW: 12 months at a discount of 0.01, and 24 without one.
    #[test]
    fn values_agree_with_lifetimes_over_whole_months() {
        let purchases = BgNbd::new(0.243, 4.414, 0.793, 2.426).unwrap();
        let spend = GammaGamma::new(6.25, 3.74, 15.44).unwrap();
        for ([x, recency, age, monetary], a_year, two_years) in [
            ([2.0, 30.43, 38.86, 22.35], 36.289_211_125_599_36, 65.963_417_601_100_64),
            ([0.0, 0.0, 38.86, 0.0], 8.369_004_358_920_185, 16.017_571_190_757_856),
            ([1.0, 1.71, 38.86, 11.77], 4.637_294_659_747_194, 8.582_583_127_466_435),
            (
                [29.0, 38.428_571_428_571_43, 38.857_142_857_142_854, 30.0],
                699.816_669_983_527_8,
                1_213.371_003_916_615_3,
            ),
            ([7.0, 5.0, 39.0, 50.0], 0.050_040_152_740_347_66, 0.088_251_580_390_802_03),
        ] {
            let history = History::new(x, recency, age).unwrap();
            for (months, discount, should) in [(12.0, 0.01, a_year), (24.0, 0.0, two_years)] {
                let terms = Terms::new(months * WEEKS_PER_MONTH, discount).unwrap();
                let is = discounted_value(&purchases, &spend, &history, monetary, &terms);
                assert!((is / should - 1.0).abs() < 1e-9, "{x} {months}: {is} is not {should}");
                let [batch] = discounted_values(&purchases, &spend, &[(history, monetary)], &terms)[..] else {
                    panic!()
                };
                assert!((batch / is - 1.0).abs() < 1e-13, "{batch} is not {is}");
            }
        }
    }

    #[test]
    fn without_discount_the_value_is_purchases_times_order_value_for_any_horizon() {
        let purchases = BgNbd::new(0.243, 4.414, 0.793, 2.426).unwrap();
        let spend = GammaGamma::new(6.25, 3.74, 15.44).unwrap();
        let history = History::new(2.0, 30.43, 38.86).unwrap();
        for weeks in [0.5, 4.345, 52.0, 5_200.0] {
            let value = discounted_value(&purchases, &spend, &history, 22.35, &Terms::new(weeks, 0.0).unwrap());
            let plain = purchases.expected_purchases(&history, weeks) * spend.expected_order_value(2, 22.35);
            assert!((value / plain - 1.0).abs() < 1e-9, "{weeks}");
        }
    }

    #[test]
    fn terms_name_the_field_that_is_wrong() {
        for (horizon, discount, field) in [
            (0.0, 0.01, "horizon_weeks"),
            (-1.0, 0.01, "horizon_weeks"),
            (f64::NAN, 0.01, "horizon_weeks"),
            (5_201.0, 0.01, "horizon_weeks"),
            (52.0, -0.01, "monthly_discount"),
            (52.0, f64::NAN, "monthly_discount"),
            (52.0, 1.1, "monthly_discount"),
        ] {
            assert_eq!(Terms::new(horizon, discount).unwrap_err().field, field, "{horizon} {discount}");
        }
    }
}
