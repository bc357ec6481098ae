//! The log-likelihood of BG/NBD with its first two derivatives.
//!
//! Equation 6 of the paper, in logarithms, for one customer with x repeat purchases, the last at t, observed until T:
//!
//! ```text
//! A1 = ln Γ(r+x) - ln Γ(r) + r ln α
//! A2 = ln Γ(a+b) - ln Γ(a+b+x) + ln Γ(b+x) - ln Γ(b)
//! A3 = -(r+x) ln(α+T)                                   still there
//! A4 = -(r+x) ln(α+t) + ln a - ln(b+x-1)                left after the last purchase; only if x > 0
//! ln L = A1 + A2 + ln(exp A3 + exp A4)
//! ```
//!
//! Rows are grouped: equal histories count together, and rows of equal x share all gamma functions. A row then costs
//! three logarithms and an exponential, whatever derivatives are wanted.

use super::History;
use super::Surface;
use crate::ltv::special::ln_rising;

/// Histories, grouped.
pub(super) struct Rows {
    rows: Vec<Row>,
    blocks: Vec<Block>,
    customers: f64,
}

/// Customers with equal histories.
#[derive(Clone, Copy)]
struct Row {
    recency: f64,
    age: f64,
    customers: f64,
}

/// The rows of customers with `frequency` repeat purchases: those up to `end`, from the end of the block before.
struct Block {
    frequency: f64,
    steps: u32,
    end: usize,
    customers: f64,
}

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

impl Rows {
    pub(super) fn group(histories: &[History]) -> Self {
        let mut sorted: Vec<(u32, u64, u64)> = histories
            .iter()
            // Not negative, so their bits are ordered as they are.
            .map(|history| (history.frequency(), history.age().to_bits(), history.recency().to_bits()))
            .collect();
        sorted.sort_unstable();
        let (mut rows, mut blocks): (Vec<Row>, Vec<Block>) = (Vec::new(), Vec::new());
        for equal in sorted.chunk_by(|one, other| one == other) {
            let (steps, age, recency) = equal[0];
            let customers = equal.len() as f64;
            rows.push(Row { recency: f64::from_bits(recency), age: f64::from_bits(age), customers });
            match blocks.last_mut() {
                Some(block) if block.steps == steps => {
                    block.end = rows.len();
                    block.customers += customers;
                }
                _ => blocks.push(Block { frequency: f64::from(steps), steps, end: rows.len(), customers }),
            }
        }
        Self { rows, blocks, customers: histories.len() as f64 }
    }

    pub(super) fn customers(&self) -> f64 {
        self.customers
    }

    /// Repeat purchases a week of observation; `None` if there are none.
    pub(super) fn rate(&self) -> Option<f64> {
        let purchases: f64 = self.blocks.iter().map(|block| block.frequency * block.customers).sum();
        let weeks: f64 = self.rows.iter().map(|row| row.age * row.customers).sum();
        // Repeats without a week of observation come from times that were never measured.
        (purchases > 0.0).then(|| purchases / weeks.max(1e-3))
    }

    /// Minus the mean log-likelihood at r, α, a, b.
    pub(super) fn surface(&self, at: &[f64; 4]) -> Surface<4> {
        let (mut value, mut gradient, mut hessian) = (0.0, [0.0; 4], [[0.0; 4]; 4]);
        let mut start = 0;
        for block in &self.blocks {
            let rows = &self.rows[start..block.end];
            start = block.end;
            value += block.add_shared(at, &mut gradient, &mut hessian);
            value += block.add_rows(rows, at, &mut gradient, &mut hessian);
        }
        Surface::from_natural(at, self.customers, value, &gradient, &hessian)
    }
}

impl Block {
    /// Adds A1 and A2, which are the same for all rows.
    fn add_shared(&self, &[r, alpha, a, b]: &[f64; 4], gradient: &mut [f64; 4], hessian: &mut [[f64; 4]; 4]) -> f64 {
        let n = self.customers;
        let (by_r, by_b, by_ab) = (ln_rising(r, self.steps), ln_rising(b, self.steps), ln_rising(a + b, self.steps));
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
        n * (by_r.value + r * alpha.ln() + by_b.value - by_ab.value)
    }

    /// Adds ln(exp A3 + exp A4).
    fn add_rows(
        &self,
        rows: &[Row],
        &[r, alpha, a, b]: &[f64; 4],
        gradient: &mut [f64; 4],
        hessian: &mut [[f64; 4]; 4],
    ) -> f64 {
        let rate = r + self.frequency;
        let (by_a, by_b) = (1.0 / a, -1.0 / (b + self.frequency - 1.0));
        let sums = match self.steps {
            0 => sum_without_repeats(rows, alpha),
            _ => sum(rows, alpha, rate, (a * -by_b).ln()),
        };
        gradient[0] += sums.by_r;
        gradient[1] += rate * sums.by_alpha;
        hessian[0][1] += sums.by_r_alpha + rate * sums.turn_r_alpha;
        hessian[1][1] += rate * sums.by_alpha_alpha + rate * rate * sums.turn_alpha_alpha;
        if self.steps > 0 {
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
        rate * sums.value
    }
}

/// Without a repeat purchase A3 is all there is. `value` and the second derivative by α are still to be multiplied by
/// r + x, as from [`sum`].
fn sum_without_repeats(rows: &[Row], alpha: f64) -> Sums {
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

/// With `offset` = ln a - ln(b+x-1), `rate` = r + x. What is to be multiplied by a power of the rate is left for the end.
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
