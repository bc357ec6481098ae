//! How far a prediction is determined: standard errors and 95 % intervals, by the covariance of the model's parameters. They
//! tell what a larger sample would settle, not how one customer's purchases scatter about their expectation.

use kiki_models::ltv::{Estimate, GammaGamma, PurchaseModel, Scale, WEEKS_PER_MONTH, discounted_value};
use serde::Serialize;

use super::model::{About, Churn, Covariances, Parameters, Prediction, SavedModel, Scope};

/// Customers of one batch with intervals at the most.
pub(super) const INTERVALS_MAX: usize = 1_000;
/// Predictions that the intervals of one take.
const PREDICTIONS_OF_INTERVALS: f64 = 16.0;

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

impl Scope {
    /// What an answer takes, in months of predictions.
    pub(super) fn months(&self) -> f64 {
        let predictions = if self.intervals { PREDICTIONS_OF_INTERVALS } else { 1.0 };
        predictions * (self.terms.horizon_weeks() / WEEKS_PER_MONTH).ceil()
    }
}
