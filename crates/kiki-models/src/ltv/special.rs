//! The logarithm of the gamma function, its first two derivatives, and their differences `f(z + n) - f(z)`, which lose
//! nothing to cancellation.
//!
//! Each is the asymptotic series (Abramowitz and Stegun 6.1.41, 6.3.18, 6.4.12) from an argument that the recurrence
//! has raised to at least 10, where the first term left out is below 1e-16 of the sum. For positive arguments only.

use std::f64::consts::PI;

const SHIFTED_MIN: f64 = 10.0;
/// Up to this many steps a difference is added up directly.
const STEPS_MAX: u32 = 64;

/// B(2k) / (2k (2k - 1)) for k = 1..8.
const LN_GAMMA: [f64; 8] = [
    1.0 / 12.0,
    -1.0 / 360.0,
    1.0 / 1_260.0,
    -1.0 / 1_680.0,
    1.0 / 1_188.0,
    -691.0 / 360_360.0,
    1.0 / 156.0,
    -3_617.0 / 122_400.0,
];
/// B(2k) / 2k for k = 1..8.
const DIGAMMA: [f64; 8] = [
    1.0 / 12.0,
    -1.0 / 120.0,
    1.0 / 252.0,
    -1.0 / 240.0,
    1.0 / 132.0,
    -691.0 / 32_760.0,
    1.0 / 12.0,
    -3_617.0 / 8_160.0,
];
/// B(2k) for k = 1..8.
const TRIGAMMA: [f64; 8] =
    [1.0 / 6.0, -1.0 / 30.0, 1.0 / 42.0, -1.0 / 30.0, 5.0 / 66.0, -691.0 / 2_730.0, 7.0 / 6.0, -3_617.0 / 510.0];

/// ln Γ(z), its first and its second derivative: ψ(z) and ψ'(z).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LnGamma {
    pub(super) value: f64,
    pub(super) first: f64,
    pub(super) second: f64,
}

/// ln Γ at `z > 0` with its derivatives.
pub(super) fn ln_gamma(z: f64) -> LnGamma {
    let mut shifted = z;
    let (mut product, mut first, mut second) = (1.0, 0.0, 0.0);
    while shifted < SHIFTED_MIN {
        let inverse = 1.0 / shifted;
        product *= shifted;
        first -= inverse;
        second += inverse * inverse;
        shifted += 1.0;
    }
    let (inverse, ln) = (1.0 / shifted, shifted.ln());
    let square = inverse * inverse;
    let value = (shifted - 0.5) * ln - shifted + 0.5 * (2.0 * PI).ln() + inverse * series(&LN_GAMMA, square);
    first += ln - 0.5 * inverse - square * series(&DIGAMMA, square);
    second += inverse + 0.5 * square + inverse * square * series(&TRIGAMMA, square);
    LnGamma { value: value - product.ln(), first, second }
}

/// ln Γ(z + n) - ln Γ(z) with its derivatives by `z`, for `z > 0`.
pub(super) fn ln_rising(z: f64, n: u32) -> LnGamma {
    if n <= STEPS_MAX {
        return added_up(z, n);
    }
    let mut steps = 0;
    while z + f64::from(steps) < SHIFTED_MIN {
        steps += 1;
    }
    let (below, above) = (added_up(z, steps), difference(z + f64::from(steps), f64::from(n - steps)));
    LnGamma { value: below.value + above.value, first: below.first + above.first, second: below.second + above.second }
}

fn added_up(z: f64, n: u32) -> LnGamma {
    let mut sum = LnGamma::default();
    let mut product = 1.0_f64;
    for step in 0..n {
        let factor = z + f64::from(step);
        let inverse = 1.0 / factor;
        sum.first += inverse;
        sum.second -= inverse * inverse;
        product *= factor;
        // The product stays far from overflow: factors are below 2e6, and are taken out eight at a time.
        if step % 8 == 7 {
            sum.value += product.ln();
            product = 1.0;
        }
    }
    sum.value += product.ln();
    sum
}

/// The same for `z` of at least [`SHIFTED_MIN`]: the difference of two asymptotic series, in which large terms are subtracted
/// by hand.
fn difference(z: f64, n: f64) -> LnGamma {
    let end = z + n;
    let grown = (n / z).ln_1p();
    let (low, high) = (1.0 / z, 1.0 / end);
    let (low_square, high_square) = (low * low, high * high);
    // 1/z - 1/(z+n).
    let fallen = n * low * high;
    let rest = |of: fn(f64) -> f64| of(high_square) - of(low_square);
    LnGamma {
        value: (z - 0.5) * grown + n * (end.ln() - 1.0) + high * series(&LN_GAMMA, high_square)
            - low * series(&LN_GAMMA, low_square),
        first: grown + 0.5 * fallen - rest(|square| square * series(&DIGAMMA, square)),
        second: -fallen - 0.5 * fallen * (low + high)
            + (high * high_square * series(&TRIGAMMA, high_square) - low * low_square * series(&TRIGAMMA, low_square)),
    }
}

/// The same for each of 0, 1, ..., `n`.
pub(super) fn rises(z: f64, n: u32) -> Vec<LnGamma> {
    (0..=n).map(|n| ln_rising(z, n)).collect()
}

fn series(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(is: f64, should: f64, what: &str) {
        assert!((is - should).abs() <= 2e-14 * should.abs().max(1.0), "{what}: {is} is not {should}");
    }

    fn grid(name: &str) -> Vec<Vec<f64>> {
        let all = include_str!("../../tests/data/reference.json");
        let mut all: std::collections::BTreeMap<String, Vec<Vec<f64>>> = serde_json::from_str(all).unwrap();
        all.remove(name).unwrap()
    }

    /// `tools/ltv_reference.py`: loggamma, psi(0, z), psi(1, z).
    #[test]
    fn ln_gamma_and_its_derivatives_agree_with_more_digits() {
        for row in grid("gammas") {
            let is = ln_gamma(row[0]);
            assert_close(is.value, row[1], "ln gamma");
            assert_close(is.first, row[2], "digamma");
            assert_close(is.second, row[3], "trigamma");
        }
    }

    /// The same tool: differences, which a small one of large numbers must not cost.
    #[test]
    fn rising_factorials_agree_with_more_digits() {
        for row in grid("rising") {
            let n = (0..=1_000_000_u32).find(|&n| f64::from(n) >= row[1]).unwrap();
            let is = ln_rising(row[0], n);
            for (is, should) in [(is.value, row[2]), (is.first, row[3]), (is.second, row[4])] {
                assert!((is / should - 1.0).abs() < 1e-12, "{is} is not {should} for {row:?}");
            }
        }
    }

    #[test]
    fn a_rising_factorial_is_the_difference_of_two() {
        for z in [1e-6, 0.243, 3.0, 700.0, 1e6] {
            for n in [0, 1, 7, 8, 64, 65, 1_000] {
                let (is, end, start) = (ln_rising(z, n), ln_gamma(z + f64::from(n)), ln_gamma(z));
                let scale = end.value.abs().max(1.0);
                assert!((is.value - (end.value - start.value)).abs() < 1e-14 * scale, "{z} {n}: {is:?}");
                assert!((is.first - (end.first - start.first)).abs() < 1e-13 * start.first.abs().max(1.0), "{z} {n}");
                assert!((is.second - (end.second - start.second)).abs() < 1e-13 * start.second.max(1.0), "{z} {n}");
            }
        }
        assert!(ln_rising(1e6, 64).value > 884.0);
    }
}
