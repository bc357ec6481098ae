//! Whether what happened since a model's last day still agrees with what it says: three comparisons, each with a verdict. Pure.
//!
//! It holds: whole weeks are looked at, as the model knows no weekdays; what is expected of a customer is what would have been
//! predicted on the model's last day, of a newcomer what is expected of anybody since their first purchase; nothing is judged
//! before [`PURCHASES_JUDGED_MIN`](kiki_models::ltv::PURCHASES_JUDGED_MIN) purchases. Statistic and bounds are those of
//! `kiki_models::ltv::Comparison`. A part of the customers, drawn regardless of what they do, is as good as all: it only
//! takes longer to tell.

mod observe;
pub(super) mod watch;

use kiki_models::ltv::{Comparison, DAYS_PER_WEEK, GammaGamma, History, Scale, Seen, Summary, Verdict};
use serde::Serialize;

use super::holdout::{Group, by_frequency, day_text};
use super::model::{Covariances, Parameters, SavedModel};

const DAYS_OF_WEEK: u32 = 7;
/// The normal distribution is within this many standard deviations of its mean with a probability of 95 %.
const DEVIATIONS_95: f64 = 1.959_963_984_540_054;

/// What is looked at: whole weeks after the model's last day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    until: i32,
    weeks: u32,
}

impl Window {
    /// After the day `until`, with orders up to the day `observed`. What is ordered `today` is not all known yet.
    pub(super) fn new(until: i32, observed: Option<i32>, today: i32) -> Self {
        let last = observed.unwrap_or(until).min(today.saturating_sub(1)).max(until);
        Self { until, weeks: last.abs_diff(until) / DAYS_OF_WEEK }
    }

    pub(super) const fn is_empty(self) -> bool {
        self.weeks == 0
    }

    pub(super) const fn last_day(self) -> i32 {
        self.until.saturating_add_unsigned(self.weeks * DAYS_OF_WEEK)
    }
}

/// A customer whom the model knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Watched {
    pub(super) history: History,
    /// Mean value of the repeat purchases that the model knows.
    pub(super) monetary: f64,
    /// Days with a purchase in the window.
    pub(super) purchases: f64,
    /// What those were worth.
    pub(super) spent: f64,
}

/// Who was seen in the window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Observed {
    pub(super) known: Vec<Watched>,
    /// Whose first purchase was in it, as they are at its end.
    pub(super) newcomers: Vec<Summary>,
    /// Not everybody was looked at for newcomers.
    pub(super) more_newcomers: bool,
}

/// What a model said of the days after its last one, beside what happened.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub(super) struct Drift {
    /// `drifting` if a measure is; `too_early` while neither purchases of known customers nor those of newcomers can be judged.
    #[schema(value_type = String, example = "steady")]
    #[serde(serialize_with = "by_name")]
    pub(super) verdict: Verdict,
    /// The first day that was looked at; absent before the first whole week.
    #[schema(example = "1997-10-01")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    /// And the last.
    #[schema(example = "1998-06-30")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<String>,
    /// Whole weeks from the one to the other.
    #[schema(example = 39)]
    pub(super) weeks: u32,
    /// Purchases of customers whom the model knows.
    pub(super) purchases: Measure,
    /// What a purchase of those of them who bought was worth, in units of the currency.
    pub(super) spend_per_purchase: Measure,
    /// Repeat purchases of customers whose first purchase was in these weeks.
    pub(super) newcomers: Measure,
    /// How many such customers a week brought. Nothing is expected of that. Absent where only a part was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) newcomers_per_week: Option<f64>,
    /// Purchases of a mean customer whom the model knows, by their repeat purchases before.
    pub(super) by_frequency: Vec<Group>,
}

/// One comparison.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, utoipa::ToSchema)]
#[schema(as = DriftMeasure)]
pub(super) struct Measure {
    /// `too_early`, `steady` or `drifting`.
    #[schema(value_type = String, example = "steady")]
    #[serde(serialize_with = "by_name")]
    pub(super) verdict: Verdict,
    /// Customers that it is of.
    pub(super) customers: u64,
    /// What happened.
    pub(super) actual: f64,
    /// What the model said.
    pub(super) expected: f64,
    /// What happens is between here, with a probability of 95 % each time one looks, if the model is right,
    pub(super) low: f64,
    /// and here.
    pub(super) high: f64,
    /// How many standard errors more happened than was expected.
    pub(super) z: f64,
}

/// All there are.
pub(super) const VERDICTS: [Verdict; 3] = [Verdict::TooEarly, Verdict::Steady, Verdict::Drifting];

/// The name of a verdict.
pub(super) const fn name(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::TooEarly => "too_early",
        Verdict::Steady => "steady",
        Verdict::Drifting => "drifting",
    }
}

fn by_name<S: serde::Serializer>(verdict: &Verdict, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(name(*verdict))
}

impl Drift {
    /// Compares `observed` with what `model` says of the weeks of `window`.
    pub(super) fn of(model: &SavedModel, window: Window, observed: &Observed) -> Self {
        let (parameters, covariances) = (&model.parameters, &model.covariances);
        let weeks = f64::from(window.weeks);
        let (purchases, expected) = of_purchases(parameters, covariances, &observed.known, weeks);
        let spend_per_purchase = of_spend(&parameters.gamma_gamma, covariances, &observed.known);
        let newcomers = of_newcomers(parameters, covariances, &observed.newcomers);
        let verdict = match purchases.verdict.max(newcomers.verdict) {
            _ if spend_per_purchase.verdict == Verdict::Drifting => Verdict::Drifting,
            of_purchases => of_purchases,
        };
        let both = observed.known.iter().zip(&expected);
        let sums: Vec<_> = both.map(|(one, &all)| (one.history.frequency(), one.purchases, all)).collect();
        let days = (window.weeks > 0).then(|| (window.until.saturating_add(1), window.last_day()));
        Self {
            verdict,
            from: days.map(|(first, _)| day_text(first)),
            until: days.map(|(_, last)| day_text(last)),
            weeks: window.weeks,
            purchases,
            spend_per_purchase,
            newcomers_per_week: (window.weeks > 0 && !observed.more_newcomers)
                .then(|| observed.newcomers.len() as f64 / weeks),
            newcomers,
            by_frequency: by_frequency(&sums),
        }
    }
}

impl Measure {
    /// Judged by so many `purchases`, and told as shares of `of` each.
    fn new(comparison: Comparison, customers: usize, purchases: f64, of: f64) -> Self {
        let Comparison { actual, expected, standard_error } = comparison;
        let reach = DEVIATIONS_95 * standard_error;
        let told = |sum: f64| if of > 0.0 { sum / of } else { 0.0 };
        Self {
            verdict: comparison.verdict(purchases),
            customers: customers as u64,
            actual: told(actual),
            expected: told(expected),
            low: told((expected - reach).max(0.0)),
            high: told(expected + reach),
            z: comparison.z(),
        }
    }
}

/// And what is expected of each.
fn of_purchases(
    parameters: &Parameters,
    covariances: &Covariances,
    known: &[Watched],
    weeks: f64,
) -> (Measure, Vec<f64>) {
    let histories: Vec<History> = known.iter().map(|one| one.history).collect();
    let expected = |model: &Parameters| -> Vec<f64> {
        model.purchases.model().predict_all(&histories, weeks).iter().map(|one| one.purchases).collect()
    };
    let each = expected(parameters);
    let seen: Vec<Seen> = known.iter().zip(&each).map(|(one, &all)| Seen::purchases(one.purchases, all)).collect();
    let error = parameters.purchases.estimate(&covariances.purchases, Scale::Positive, |purchases| {
        expected(&Parameters { purchases: *purchases, ..*parameters }).iter().sum()
    });
    let comparison = Comparison::of(&seen, error.standard_error);
    (Measure::new(comparison, known.len(), comparison.expected, 1.0), each)
}

fn of_spend(spend: &GammaGamma, covariances: &Covariances, known: &[Watched]) -> Measure {
    let bought: Vec<&Watched> = known.iter().filter(|one| one.purchases > 0.0).collect();
    let seen: Vec<Seen> = bought
        .iter()
        .map(|one| spend.seen(one.spent, one.purchases, (one.history.frequency(), one.monetary)))
        .collect();
    let error = covariances.gamma_gamma.estimate(spend, Scale::Positive, |spend| {
        let worth = |one: &&Watched| spend.expected_order_value(one.history.frequency(), one.monetary);
        bought.iter().map(|one| one.purchases * worth(one)).sum()
    });
    let purchases = bought.iter().map(|one| one.purchases).sum();
    Measure::new(Comparison::of(&seen, error.standard_error), bought.len(), purchases, purchases)
}

fn of_newcomers(parameters: &Parameters, covariances: &Covariances, newcomers: &[Summary]) -> Measure {
    let oldest = newcomers.iter().map(|one| one.age_days).max().unwrap_or(0);
    // By the days since the first purchase, at most as many as the window has.
    let by_age = |purchases: &super::Purchases| -> Vec<f64> {
        (0..=oldest).map(|days| purchases.model().expected_by(f64::from(days) / DAYS_PER_WEEK)).collect()
    };
    let sum = |by_age: &[f64]| newcomers.iter().map(|one| by_age[one.age_days as usize]).sum();
    let expected = by_age(&parameters.purchases);
    let seen: Vec<Seen> =
        newcomers.iter().map(|one| Seen::purchases(one.frequency.into(), expected[one.age_days as usize])).collect();
    let error =
        parameters.purchases.estimate(&covariances.purchases, Scale::Positive, |purchases| sum(&by_age(purchases)));
    let comparison = Comparison::of(&seen, error.standard_error);
    Measure::new(comparison, newcomers.len(), comparison.expected, 1.0)
}

#[cfg(test)]
mod tests;
