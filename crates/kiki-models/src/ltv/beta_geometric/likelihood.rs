//! The log-likelihood of BG/NBD and MBG/NBD with its first two derivatives.
//!
//! Equation 6 of the paper, in logarithms, for one customer with x repeat purchases, the last at t, observed until T, with
//! k chances to leave passed if still there (x in BG/NBD, x + 1 in MBG/NBD):
//!
//! ```text
//! A1 = ln Γ(r+x) - ln Γ(r) + r ln α
//! A2 = ln Γ(a+b) - ln Γ(a+b+k) + ln Γ(b+k) - ln Γ(b)
//! A3 = -(r+x) ln(α+T)                                   still there
//! A4 = -(r+x) ln(α+t) + ln a - ln(b+k-1)                left at the last chance; only if k > 0
//! ln L = A1 + A2 + ln(exp A3 + exp A4)
//! ```
//!
//! Rows of equal x share all gamma functions. A row then costs three logarithms and an exponential, whatever derivatives
//! are wanted.

use super::chances;
use crate::ltv::groups::{Block, Groups, Row};
use crate::ltv::newton::Surface;
use crate::ltv::special::ln_rising;

/// Sums over the rows of one block, which hold r and α only through the row; a and b are the same for all of them.
#[derive(Clone, Copy, Default)]
struct Sums {
    value: f64,
    by_r: f64,
    by_alpha: f64,
    by_r_alpha: f64,
    by_alpha_alpha: f64,
    /// w, the share of exp A4, and its derivative w (1 - w), alone and times the difference of the slopes.
    left: f64,
    turn: f64,
    turn_r: f64,
    turn_alpha: f64,
    turn_r_r: f64,
    turn_r_alpha: f64,
    turn_alpha_alpha: f64,
}

/// Sums of the log-likelihood and its derivatives by the parameters themselves.
#[derive(Clone, Copy, Default)]
struct Total {
    value: f64,
    gradient: [f64; 4],
    hessian: [[f64; 4]; 4],
}

/// Minus the mean log-likelihood at r, α, a, b.
pub(super) fn surface<const FIRST: u32>(groups: &Groups, at: &[f64; 4]) -> Surface<4> {
    let blocks = groups.map(|block, rows| {
        let mut total = Total::default();
        let chances = chances::<FIRST>(block.frequency);
        total.add_shared(block, chances, at);
        total.add_rows(block, chances, rows, at);
        total
    });
    Surface::from_totals(at, groups.customers(), blocks.iter().map(|of| (of.value, &of.gradient, &of.hessian)))
}

impl Total {
    /// Adds A1 and A2, which are the same for all rows.
    fn add_shared(&mut self, block: &Block, chances: u32, &[r, alpha, a, b]: &[f64; 4]) {
        let Self { value, gradient, hessian } = self;
        let (n, x) = (block.customers, block.frequency);
        let (by_r, by_b, by_ab) = (ln_rising(r, x), ln_rising(b, chances), ln_rising(a + b, chances));
        gradient[0] += n * (by_r.first + alpha.ln());
        gradient[1] += n * r / alpha;
        gradient[2] -= n * by_ab.first;
        gradient[3] += n * (by_b.first - by_ab.first);
        hessian[0][0] += n * by_r.second;
        hessian[0][1] += n / alpha;
        hessian[1][1] -= n * r / (alpha * alpha);
        hessian[2][2] -= n * by_ab.second;
        hessian[2][3] -= n * by_ab.second;
        hessian[3][3] += n * (by_b.second - by_ab.second);
        *value += n * (by_r.value + r * alpha.ln() + by_b.value - by_ab.value);
    }

    /// Adds ln(exp A3 + exp A4).
    fn add_rows(&mut self, block: &Block, chances: u32, rows: &[Row], &[r, alpha, a, b]: &[f64; 4]) {
        let Self { value, gradient, hessian } = self;
        let rate = r + f64::from(block.frequency);
        // Adding all chances and taking one off would lose the digits of a small b.
        let (by_a, by_b) = (1.0 / a, -1.0 / (b + f64::from(chances.saturating_sub(1))));
        let sums = match chances {
            0 => sum_without_chances(rows, alpha),
            _ => sum(rows, alpha, rate, (a * -by_b).ln()),
        };
        gradient[0] += sums.by_r;
        gradient[1] += rate * sums.by_alpha;
        hessian[0][1] += sums.by_r_alpha + rate * sums.turn_r_alpha;
        hessian[1][1] += rate * sums.by_alpha_alpha + rate * rate * sums.turn_alpha_alpha;
        if chances > 0 {
            gradient[2] += by_a * sums.left;
            gradient[3] += by_b * sums.left;
            hessian[0][0] += sums.turn_r_r;
            hessian[0][2] += by_a * sums.turn_r;
            hessian[0][3] += by_b * sums.turn_r;
            hessian[1][2] += by_a * rate * sums.turn_alpha;
            hessian[1][3] += by_b * rate * sums.turn_alpha;
            hessian[2][2] += by_a * by_a * (sums.turn - sums.left);
            hessian[2][3] += by_a * by_b * sums.turn;
            hessian[3][3] += by_b * by_b * (sums.turn + sums.left);
        }
        *value += rate * sums.value;
    }
}

/// Where nobody had a chance to leave A3 is all there is. `value` and the second derivative by α are still to be multiplied by
/// r + x, as from [`sum`].
fn sum_without_chances(rows: &[Row], alpha: f64) -> Sums {
    let mut sums = Sums::default();
    for row in rows {
        let (ln, inverse) = ((alpha + row.age).ln(), 1.0 / (alpha + row.age));
        sums.value -= row.customers * ln;
        sums.by_r -= row.customers * ln;
        sums.by_alpha -= row.customers * inverse;
        sums.by_r_alpha -= row.customers * inverse;
        sums.by_alpha_alpha += row.customers * inverse * inverse;
    }
    sums
}

/// With `offset` = ln a - ln(b+k-1), `rate` = r + x. What is to be multiplied by a power of the rate is left for the end.
fn sum(rows: &[Row], alpha: f64, rate: f64, offset: f64) -> Sums {
    let mut sums = Sums::default();
    let mut ln_totals = 0.0;
    for row in rows {
        let n = row.customers;
        let (ln_age, by_age) = ((alpha + row.age).ln(), 1.0 / (alpha + row.age));
        let (ln_recency, by_recency) = ((alpha + row.recency).ln(), 1.0 / (alpha + row.recency));
        let (ahead_r, ahead_alpha) = (ln_age - ln_recency, by_age - by_recency);
        // A4 - A3, and from it the share w of exp A4 and the logarithm of the sum, without overflow.
        let ahead = offset + rate * ahead_r;
        let small = (-ahead.abs()).exp();
        let larger = 1.0 / (1.0 + small);
        let left = if ahead > 0.0 { larger } else { small * larger };
        let turn = n * small * larger * larger;
        ln_totals += n * (ahead.max(0.0) + small.ln_1p());
        sums.value -= n * ln_age;
        sums.by_r += n * (left * ahead_r - ln_age);
        sums.by_alpha += n * (left * ahead_alpha - by_age);
        sums.by_r_alpha += n * (left * ahead_alpha - by_age);
        sums.by_alpha_alpha += n * (by_age * by_age + left * (by_recency * by_recency - by_age * by_age));
        sums.left += n * left;
        sums.turn += turn;
        sums.turn_r += turn * ahead_r;
        sums.turn_alpha += turn * ahead_alpha;
        sums.turn_r_r += turn * ahead_r * ahead_r;
        sums.turn_r_alpha += turn * ahead_r * ahead_alpha;
        sums.turn_alpha_alpha += turn * ahead_alpha * ahead_alpha;
    }
    sums.value += ln_totals / rate;
    sums
}
