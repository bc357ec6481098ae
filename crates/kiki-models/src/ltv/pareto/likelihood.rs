//! The log-likelihood of Pareto/NBD with its first two derivatives.
//!
//! The likelihood of a customer is a sum over what may have happened: still there, or left at u. Its logarithm's gradient
//! is therefore the mean, over the posterior of what happened, of the gradient for each; its second derivative the mean of
//! the second derivatives plus the covariance of the gradients. With d = 1 for having left and u = T, d = 0 for not:
//!
//! ```text
//! ln f(u) = ln Γ(r+x) - ln Γ(r) + r ln α + s ln β + d ln s - (r+x) ln(α+u) - (s+d) ln(β+u)
//! ```
//!
//! So the moments that the integral is taken at give all derivatives, to the accuracy of the integral.

use super::departure::{Departure, Moment};
use crate::ltv::groups::{Block, Groups, Row};
use crate::ltv::newton::Surface;
use crate::ltv::special::ln_rising;

/// Sums of the log-likelihood and its derivatives by r, α, s, β.
#[derive(Clone, Copy, Default)]
struct Total {
    value: f64,
    gradient: [f64; 4],
    hessian: [[f64; 4]; 4],
}

/// Minus the mean log-likelihood at r, α, s, β.
pub(super) fn surface(groups: &Groups, at: &[f64; 4]) -> Surface<4> {
    let blocks = groups.map(|block, rows| {
        let mut total = Total::default();
        total.add_shared(block, at);
        for row in rows {
            total.add_row(block, row, at);
        }
        total
    });
    Surface::from_totals(at, groups.customers(), blocks.iter().map(|of| (of.value, &of.gradient, &of.hessian)))
}

/// Sums over the posterior, not yet divided by its total.
#[derive(Clone, Copy, Default)]
struct Posterior {
    total: f64,
    left: f64,
    /// Of ln(α+u), 1/(α+u), ln(β+u) - d/s and (s+d)/(β+u), the logarithms from their values at t.
    first: [f64; 4],
    /// Of their products, the column not left of the diagonal.
    second: [[f64; 4]; 4],
    /// Of 1/(β+u) and of (s+d)/(β+u)².
    by_beta: f64,
    by_beta_twice: f64,
}

impl Posterior {
    #[inline]
    fn add(&mut self, given: &Departure, moment: &Moment, left: bool) {
        let weight = moment.weight;
        let by_alpha = 1.0 / (given.alpha + given.recency + moment.since);
        let by_beta = 1.0 / (given.beta + given.recency + moment.since);
        let (events, ln_beta) =
            if left { (given.s + 1.0, moment.ln_beta - 1.0 / given.s) } else { (given.s, moment.ln_beta) };
        let of = [moment.ln_alpha, by_alpha, ln_beta, events * by_beta];
        self.total += weight;
        for (i, one) in of.iter().enumerate() {
            let weighted = weight * one;
            self.first[i] += weighted;
            for (second, other) in self.second[i][i..].iter_mut().zip(&of[i..]) {
                *second += weighted * other;
            }
        }
        self.by_beta += weight * by_beta;
        self.by_beta_twice += weight * events * by_beta * by_beta;
    }
}

impl Total {
    /// What all rows of a block have alike.
    fn add_shared(&mut self, block: &Block, &[r, alpha, s, beta]: &[f64; 4]) {
        let Self { value, gradient, hessian } = self;
        let n = block.customers;
        let by_r = ln_rising(r, block.frequency);
        gradient[0] += n * (by_r.first + alpha.ln());
        gradient[1] += n * r / alpha;
        gradient[2] += n * beta.ln();
        gradient[3] += n * s / beta;
        hessian[0][0] += n * by_r.second;
        hessian[0][1] += n / alpha;
        hessian[1][1] -= n * r / (alpha * alpha);
        hessian[2][3] += n / beta;
        hessian[3][3] -= n * s / (beta * beta);
        *value += n * (by_r.value + r * alpha.ln() + s * beta.ln());
    }

    fn add_row(&mut self, block: &Block, row: &Row, &[r, alpha, s, beta]: &[f64; 4]) {
        let Self { value, gradient, hessian } = self;
        let rate = r + f64::from(block.frequency);
        let given = Departure { rate, alpha, s, beta, recency: row.recency, age: row.age };
        let mut posterior = Posterior::default();
        given.left(|moment| posterior.add(&given, &moment, true));
        posterior.left = posterior.total;
        posterior.add(&given, &given.stayed(), false);
        let n = row.customers;
        let whole = 1.0 / posterior.total;
        let mean = posterior.first.map(|sum| sum * whole);
        let covariance = |i: usize, j: usize| posterior.second[i][j] * whole - mean[i] * mean[j];
        let (ln_alpha, ln_beta) = ((alpha + row.recency).ln(), (beta + row.recency).ln());
        *value += n * (posterior.total.ln() - rate * ln_alpha - s * ln_beta);
        gradient[0] -= n * (ln_alpha + mean[0]);
        gradient[1] -= n * rate * mean[1];
        gradient[2] -= n * (ln_beta + mean[2]);
        gradient[3] -= n * mean[3];
        let by_alpha_twice = posterior.second[1][1] * whole;
        hessian[0][0] += n * covariance(0, 0);
        hessian[0][1] += n * (rate * covariance(0, 1) - mean[1]);
        hessian[0][2] += n * covariance(0, 2);
        hessian[0][3] += n * covariance(0, 3);
        hessian[1][1] += n * rate * (rate * covariance(1, 1) + by_alpha_twice);
        hessian[1][2] += n * rate * covariance(1, 2);
        hessian[1][3] += n * rate * covariance(1, 3);
        hessian[2][2] += n * (covariance(2, 2) - posterior.left * whole / (s * s));
        hessian[2][3] += n * (covariance(2, 3) - posterior.by_beta * whole);
        hessian[3][3] += n * (covariance(3, 3) + posterior.by_beta_twice * whole);
    }
}
