//! Which model of purchases: one of the three for customers who leave unseen.

use std::fmt;
use std::str::FromStr;

use kiki_models::ltv::{
    BgNbd, CohortEstimate, Covariance, Estimate, Fit, FitError, GammaGamma, History, MbgNbd, ParameterEstimate,
    Parametric, ParetoNbd, PurchaseModel, Scale, Terms, cohort_estimate, joint_estimate,
};
use serde::{Deserialize, Serialize};

/// A model of purchases, by name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ModelKind {
    /// BG/NBD: customers leave after a purchase.
    #[default]
    BgNbd,
    /// MBG/NBD: also after the first one.
    MbgNbd,
    /// Pareto/NBD: at any time.
    ParetoNbd,
}

impl ModelKind {
    /// As the literature writes it.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::BgNbd => "BG/NBD",
            Self::MbgNbd => "MBG/NBD",
            Self::ParetoNbd => "Pareto/NBD",
        }
    }
}

impl fmt::Display for ModelKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BgNbd => "bg-nbd",
            Self::MbgNbd => "mbg-nbd",
            Self::ParetoNbd => "pareto-nbd",
        })
    }
}

/// The text names no model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be bg-nbd, mbg-nbd or pareto-nbd")]
pub struct NotAModel;

impl FromStr for ModelKind {
    type Err = NotAModel;

    fn from_str(text: &str) -> Result<Self, NotAModel> {
        match text {
            "bg-nbd" => Ok(Self::BgNbd),
            "mbg-nbd" => Ok(Self::MbgNbd),
            "pareto-nbd" => Ok(Self::ParetoNbd),
            _ => Err(NotAModel),
        }
    }
}

/// A model of purchases with its parameters, times in weeks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purchases {
    /// r, alpha, a, b.
    #[serde(rename = "bgnbd")]
    BgNbd(BgNbd),
    /// r, alpha, a, b.
    #[serde(rename = "mbgnbd")]
    MbgNbd(MbgNbd),
    /// r, alpha, s, beta.
    ParetoNbd(ParetoNbd),
}

impl Purchases {
    /// What can be asked of it.
    #[must_use]
    pub fn model(&self) -> &dyn PurchaseModel {
        match self {
            Self::BgNbd(model) => model,
            Self::MbgNbd(model) => model,
            Self::ParetoNbd(model) => model,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn kind(&self) -> ModelKind {
        match self {
            Self::BgNbd(_) => ModelKind::BgNbd,
            Self::MbgNbd(_) => ModelKind::MbgNbd,
            Self::ParetoNbd(_) => ModelKind::ParetoNbd,
        }
    }

    /// The probability that a customer with `history` makes no purchase in the `weeks` after it: they are gone, or there and
    /// do not buy.
    #[must_use]
    pub fn probability_of_silence(&self, history: &History, weeks: f64) -> f64 {
        let alive = self.model().probability_alive(history);
        let silent = self.silent_if_alive(history, weeks);
        (1.0 - alive * (1.0 - silent)).clamp(0.0, 1.0)
    }

    /// `of` the model, with its standard error and 95 % interval, by the covariance of its parameters.
    pub(super) fn estimate(&self, covariance: &Covariance, scale: Scale, of: impl Fn(&Self) -> f64) -> Estimate {
        match self {
            Self::BgNbd(model) => covariance.estimate(model, scale, |model| of(&Self::BgNbd(*model))),
            Self::MbgNbd(model) => covariance.estimate(model, scale, |model| of(&Self::MbgNbd(*model))),
            Self::ParetoNbd(model) => covariance.estimate(model, scale, |model| of(&Self::ParetoNbd(*model))),
        }
    }

    /// The same of this model and that of spend together.
    pub(super) fn estimate_with(
        &self,
        covariance: &Covariance,
        spend: (&GammaGamma, &Covariance),
        of: impl Fn(&dyn PurchaseModel, &GammaGamma) -> f64,
    ) -> Estimate {
        match self {
            Self::BgNbd(model) => joint_estimate((model, covariance), spend, |model, spend| of(model, spend)),
            Self::MbgNbd(model) => joint_estimate((model, covariance), spend, |model, spend| of(model, spend)),
            Self::ParetoNbd(model) => joint_estimate((model, covariance), spend, |model, spend| of(model, spend)),
        }
    }

    /// What customers come to together, with standard errors and 95 % intervals.
    pub(super) fn cohort(
        &self,
        covariance: &Covariance,
        spend: (&GammaGamma, &Covariance),
        customers: &[(History, f64)],
        terms: &Terms,
    ) -> CohortEstimate {
        match self {
            Self::BgNbd(model) => cohort_estimate((model, covariance), spend, customers, terms),
            Self::MbgNbd(model) => cohort_estimate((model, covariance), spend, customers, terms),
            Self::ParetoNbd(model) => cohort_estimate((model, covariance), spend, customers, terms),
        }
    }

    fn silent_if_alive(&self, history: &History, weeks: f64) -> f64 {
        let (x, age) = (f64::from(history.frequency()), history.age());
        let no_purchase = |r: f64, alpha: f64| (-(r + x) * (weeks / (alpha + age)).ln_1p()).exp();
        match self {
            Self::BgNbd(model) => no_purchase(model.r(), model.alpha()),
            Self::MbgNbd(model) => no_purchase(model.r(), model.alpha()),
            Self::ParetoNbd(model) => model.probability_of_no_purchase_if_alive(history, weeks),
        }
    }
}

/// A model of purchases as it was fitted.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PurchasesFit {
    /// r, alpha, a, b.
    #[serde(rename = "bgnbd")]
    BgNbd(Fit<BgNbd>),
    /// r, alpha, a, b.
    #[serde(rename = "mbgnbd")]
    MbgNbd(Fit<MbgNbd>),
    /// r, alpha, s, beta.
    ParetoNbd(Fit<ParetoNbd>),
}

impl PurchasesFit {
    /// Fits the model of this name.
    ///
    /// # Errors
    /// [`FitError`].
    pub fn fit(kind: ModelKind, histories: &[History]) -> Result<Self, FitError> {
        Ok(match kind {
            ModelKind::BgNbd => Self::BgNbd(BgNbd::fit(histories)?),
            ModelKind::MbgNbd => Self::MbgNbd(MbgNbd::fit(histories)?),
            ModelKind::ParetoNbd => Self::ParetoNbd(ParetoNbd::fit(histories)?),
        })
    }

    /// What it found.
    #[must_use]
    pub const fn purchases(&self) -> Purchases {
        match self {
            Self::BgNbd(fit) => Purchases::BgNbd(fit.model),
            Self::MbgNbd(fit) => Purchases::MbgNbd(fit.model),
            Self::ParetoNbd(fit) => Purchases::ParetoNbd(fit.model),
        }
    }

    /// The logarithm of the likelihood.
    #[must_use]
    pub const fn log_likelihood(&self) -> f64 {
        match self {
            Self::BgNbd(fit) => fit.log_likelihood,
            Self::MbgNbd(fit) => fit.log_likelihood,
            Self::ParetoNbd(fit) => fit.log_likelihood,
        }
    }

    /// How far the data determine the parameters.
    #[must_use]
    pub const fn covariance(&self) -> &Covariance {
        match self {
            Self::BgNbd(fit) => &fit.covariance,
            Self::MbgNbd(fit) => &fit.covariance,
            Self::ParetoNbd(fit) => &fit.covariance,
        }
    }

    /// Its parameters with their standard errors and 95 % intervals, times in weeks.
    #[must_use]
    pub fn parameters(&self) -> Vec<ParameterEstimate> {
        fn of<M: Parametric>(fit: &Fit<M>) -> Vec<ParameterEstimate> {
            fit.parameters()
        }
        match self {
            Self::BgNbd(fit) => of(fit),
            Self::MbgNbd(fit) => of(fit),
            Self::ParetoNbd(fit) => of(fit),
        }
    }
}
