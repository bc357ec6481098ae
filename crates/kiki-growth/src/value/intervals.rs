//! How far a prediction is determined: standard errors and 95 % intervals, by the covariance of the model's parameters. They
//! tell what a larger sample would settle, not how one customer's purchases scatter about their expectation.

use kiki_models::ltv::{Estimate, GammaGamma, PurchaseModel, Scale, WEEKS_PER_MONTH, discounted_value};
use serde::Serialize;

use super::model::{About, Churn, Covariances, Parameters, Prediction, SavedModel, Scope};

/// Customers of one batch with intervals at the most.
pub(super) const INTERVALS_MAX: usize = 1_000;
/// Predictions that the intervals of one take.
const PREDICTIONS_OF_INTERVALS: f64 = 16.0;
/// Months of predictions after which other work gets its turn: about a millisecond.
const MONTHS_PER_TURN: f64 = 3_000.0;

/// Of a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Intervals {
    pub(super) expected_purchases: Estimate,
    pub(super) probability_alive: Estimate,
    pub(super) value: Estimate,
}

/// Of whether somebody comes back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct ChurnIntervals {
    pub(super) churn: Estimate,
    pub(super) probability_alive: Estimate,
    pub(super) probability_alive_after: Estimate,
}

impl SavedModel {
    /// What somebody is worth.
    pub(super) fn predict(&self, about: About, scope: &Scope) -> Prediction {
        let mut prediction = self.parameters.predict(about, &scope.terms);
        prediction.intervals = scope.intervals.then(|| Box::new(self.intervals(&prediction)));
        prediction
    }

    /// Whether somebody comes back within the horizon.
    pub(super) fn churn(&self, about: About, scope: &Scope) -> Churn {
        let mut churn = self.parameters.churn(about, &scope.terms);
        churn.intervals = scope.intervals.then(|| Box::new(self.churn_intervals(&churn)));
        churn
    }

    fn intervals(&self, Prediction { about, terms, .. }: &Prediction) -> Intervals {
        let (Parameters { purchases, gamma_gamma }, Covariances { purchases: own, gamma_gamma: of_spend }) =
            (&self.parameters, &self.covariances);
        let (history, weeks) = (&about.history, terms.horizon_weeks());
        let worth = |model: &dyn PurchaseModel, spend: &GammaGamma| {
            discounted_value(model, spend, history, about.monetary, terms)
        };
        Intervals {
            expected_purchases: purchases
                .estimate(own, Scale::Positive, |purchases| purchases.model().expected_purchases(history, weeks)),
            probability_alive: purchases
                .estimate(own, Scale::Probability, |purchases| purchases.model().probability_alive(history)),
            value: purchases.estimate_with(own, (gamma_gamma, of_spend), worth),
        }
    }

    fn churn_intervals(&self, Churn { about, horizon_weeks, .. }: &Churn) -> ChurnIntervals {
        let (purchases, own) = (&self.parameters.purchases, &self.covariances.purchases);
        let (history, weeks) = (&about.history, *horizon_weeks);
        ChurnIntervals {
            churn: purchases
                .estimate(own, Scale::Probability, |purchases| purchases.probability_of_silence(history, weeks)),
            probability_alive: purchases
                .estimate(own, Scale::Probability, |purchases| purchases.model().probability_alive(history)),
            probability_alive_after: purchases.estimate(own, Scale::Probability, |purchases| {
                purchases.model().probability_alive_after(history, weeks)
            }),
        }
    }
}

/// Gives other work its turn while many answers are computed.
#[derive(Debug, Default)]
pub(super) struct Turn {
    /// Since the last one.
    months: f64,
}

impl Turn {
    /// After an answer over this scope.
    pub(super) async fn after(&mut self, scope: &Scope) {
        let predictions = if scope.intervals { PREDICTIONS_OF_INTERVALS } else { 1.0 };
        self.months += predictions * (scope.terms.horizon_weeks() / WEEKS_PER_MONTH).ceil();
        if self.months >= MONTHS_PER_TURN {
            self.months = 0.0;
            tokio::task::yield_now().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::value::model::terms;

    #[tokio::test]
    async fn others_get_their_turn_the_more_often_the_longer_answers_take() {
        let turns_of = async |weeks: f64, intervals: bool| {
            let scope = Scope { terms: terms(Some(weeks), None).unwrap(), intervals };
            let turns = Cell::new(0);
            let answers = async {
                let mut turn = Turn::default();
                for _ in 0..1_000 {
                    turn.after(&scope).await;
                }
            };
            let others = async {
                loop {
                    turns.set(turns.get() + 1);
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                () = answers => turns.get(),
                () = others => 0,
            }
        };
        assert_eq!(turns_of(52.0, false).await, 4);
        assert_eq!(turns_of(520.0, false).await, 40);
        assert_eq!(turns_of(52.0, true).await, 62);
    }
}
