//! The log-likelihood of BG/BB with its first two derivatives.
//!
//! A customer with x purchases, the last at opportunity t of n, either is still there (u = n, d = 0) or left after
//! opportunity u with t <= u < n (d = 1). With (z)k = z (z+1) ... (z+k-1), each has the probability
//!
//! ```text
//! f(u) = (α)x (β)u-x / (α+β)u · γᵈ (δ)u / (γ+δ)u+d
//! ```
//!
//! As the likelihood is their sum, the gradient of its logarithm is the mean of the gradient of ln f over their posterior,
//! and the second derivative the mean of those of ln f plus the covariance of the gradients.

use super::Opportunities;
use crate::ltv::newton::Surface;
use crate::ltv::special::{LnGamma, rises};

/// Customers by purchases, last purchase and opportunities.
pub(super) struct Counts {
    rows: Vec<(Opportunities, f64)>,
    customers: f64,
    opportunities_max: u32,
}

/// ln (z)k for k = 0, 1, ..., with derivatives by z, for the z of the model.
pub(super) struct Rises {
    alpha: Vec<LnGamma>,
    beta: Vec<LnGamma>,
    buys: Vec<LnGamma>,
    delta: Vec<LnGamma>,
    leaves: Vec<LnGamma>,
    gamma: f64,
}

/// Posterior of what became of one customer.
pub(super) struct Posterior {
    /// ln of the likelihood.
    value: f64,
    /// The probability of u = n, d = 0.
    pub(super) stayed: f64,
}

impl Rises {
    pub(super) fn new(&[alpha, beta, gamma, delta]: &[f64; 4], opportunities: u32) -> Self {
        Self {
            alpha: rises(alpha, opportunities),
            beta: rises(beta, opportunities),
            buys: rises(alpha + beta, opportunities),
            delta: rises(delta, opportunities),
            leaves: rises(gamma + delta, opportunities),
            gamma,
        }
    }

    /// ln f(n) with d = 0.
    pub(super) fn stayed(&self, frequency: u32, n: u32) -> f64 {
        self.buys_by(frequency, n) + self.delta[n as usize].value - self.leaves[n as usize].value
    }

    /// ln f(u) with d = 1.
    pub(super) fn left(&self, frequency: u32, u: u32) -> f64 {
        let leaves = self.gamma.ln() + self.delta[u as usize].value - self.leaves[u as usize + 1].value;
        self.buys_by(frequency, u) + leaves
    }

    fn buys_by(&self, frequency: u32, u: u32) -> f64 {
        let (x, u) = (frequency as usize, u as usize);
        self.alpha[x].value + self.beta[u - x].value - self.buys[u].value
    }

    pub(super) fn posterior(&self, customer: &Opportunities) -> Posterior {
        let (x, n) = (customer.frequency(), customer.opportunities());
        let stayed = self.stayed(x, n);
        let left = |u| self.left(x, u);
        let largest = (customer.last()..n).map(left).fold(stayed, f64::max);
        let gone: f64 = (customer.last()..n).map(|u| (left(u) - largest).exp()).sum();
        let there = (stayed - largest).exp();
        Posterior { value: largest + (there + gone).ln(), stayed: there / (there + gone) }
    }

    /// The gradient of ln f by α, β, γ, δ, and its second derivatives, the column not left of the diagonal.
    fn derivatives(&self, frequency: u32, u: u32, left: bool) -> ([f64; 4], [[f64; 4]; 4]) {
        let (x, u, d) = (frequency as usize, u as usize, usize::from(left));
        let (alpha, beta, buys) = (self.alpha[x], self.beta[u - x], self.buys[u]);
        let (delta, leaves) = (self.delta[u], self.leaves[u + d]);
        let by_gamma = if left { 1.0 / self.gamma } else { 0.0 };
        let first =
            [alpha.first - buys.first, beta.first - buys.first, by_gamma - leaves.first, delta.first - leaves.first];
        let mut second = [[0.0; 4]; 4];
        second[0][0] = alpha.second - buys.second;
        second[0][1] = -buys.second;
        second[1][1] = beta.second - buys.second;
        second[2][2] = -by_gamma * by_gamma - leaves.second;
        second[2][3] = -leaves.second;
        second[3][3] = delta.second - leaves.second;
        (first, second)
    }
}

impl Counts {
    pub(super) fn new(customers: &[Opportunities]) -> Self {
        let mut sorted = customers.to_vec();
        sorted.sort_unstable();
        let equal = sorted.chunk_by(|one, other| one == other);
        Self {
            rows: equal.map(|equal| (equal[0], equal.len() as f64)).collect(),
            customers: customers.len() as f64,
            opportunities_max: customers.iter().map(Opportunities::opportunities).max().unwrap_or(0),
        }
    }

    /// Purchases an opportunity; `None` if there are none.
    pub(super) fn rate(&self) -> Option<f64> {
        let sum = |of: fn(&Opportunities) -> u32| {
            self.rows.iter().map(|(customer, count)| f64::from(of(customer)) * count).sum::<f64>()
        };
        let purchases = sum(Opportunities::frequency);
        (purchases > 0.0).then(|| purchases / sum(Opportunities::opportunities))
    }

    /// Minus the mean log-likelihood at α, β, γ, δ.
    pub(super) fn surface(&self, at: &[f64; 4]) -> Surface<4> {
        let rises = Rises::new(at, self.opportunities_max);
        let (mut value, mut gradient, mut hessian) = (0.0, [0.0; 4], [[0.0; 4]; 4]);
        for (customer, count) in &self.rows {
            let (x, n) = (customer.frequency(), customer.opportunities());
            let ln = rises.posterior(customer).value;
            let (mut mean, mut square) = ([0.0; 4], [[0.0; 4]; 4]);
            let mut add = |ln_f: f64, u: u32, left: bool| {
                let weight = (ln_f - ln).exp();
                let (first, second) = rises.derivatives(x, u, left);
                for i in 0..4 {
                    mean[i] += weight * first[i];
                    for j in i..4 {
                        square[i][j] += weight * (second[i][j] + first[i] * first[j]);
                    }
                }
            };
            add(rises.stayed(x, n), n, false);
            (customer.last()..n).for_each(|u| add(rises.left(x, u), u, true));
            value += count * ln;
            for i in 0..4 {
                gradient[i] += count * mean[i];
                for j in i..4 {
                    hessian[i][j] += count * (square[i][j] - mean[i] * mean[j]);
                }
            }
        }
        Surface::from_natural(at, self.customers, value, &gradient, &hessian)
    }
}
