//! The logarithm of the gamma function, its first two derivatives, and their differences `f(z + n) - f(z)`.
//!
//! Each is the asymptotic series (Abramowitz and Stegun 6.1.41, 6.3.18, 6.4.12) from an argument that the recurrence
//! has raised to at least 10, where the first term left out is below 1e-16 of the sum. For positive arguments only.

use std::f64::consts::PI;

const SHIFTED_MIN: f64 = 10.0;
/// Up to this many steps a difference is added up directly, which loses nothing to cancellation.
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

impl std::ops::Sub for LnGamma {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { value: self.value - other.value, first: self.first - other.first, second: self.second - other.second }
    }
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
    if n > STEPS_MAX {
        return ln_gamma(z + f64::from(n)) - ln_gamma(z);
    }
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

fn series(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(is: f64, should: f64, what: &str) {
        assert!((is - should).abs() <= 2e-14 * should.abs().max(1.0), "{what}: {is} is not {should}");
    }

    /// By mpmath 1.3 with 30 digits: loggamma, psi(0, z), psi(1, z).
    #[test]
    fn ln_gamma_and_its_derivatives_agree_with_thirty_digits() {
        for (z, value, first, second) in REFERENCE {
            let is = ln_gamma(z);
            assert_close(is.value, value, "ln gamma");
            assert_close(is.first, first, "digamma");
            assert_close(is.second, second, "trigamma");
        }
    }

    #[test]
    fn a_rising_factorial_is_the_difference_of_two() {
        for z in [1e-6, 0.243, 3.0, 700.0, 1e6] {
            for n in [0, 1, 7, 8, 64, 65, 1_000] {
                let (is, should) = (ln_rising(z, n), ln_gamma(z + f64::from(n)) - ln_gamma(z));
                let scale = ln_gamma(z + f64::from(n)).value.abs().max(1.0);
                assert!((is.value - should.value).abs() < 1e-14 * scale, "{z} {n}: {is:?} {should:?}");
                assert!((is.first - should.first).abs() < 1e-13 * is.first.abs().max(1.0), "{z} {n}");
                assert!((is.second - should.second).abs() < 1e-13 * is.second.abs().max(1.0), "{z} {n}");
            }
        }
        assert!(ln_rising(1e6, 64).value > 884.0);
    }

    const REFERENCE: [(f64, f64, f64, f64); 6] = [
        (1e-06, 13.815509980749432, -1000000.5772140201, 1000000000001.645),
        (0.243, 1.3180435846996699, -4.351093864423211, 18.141779787095828),
        (1.0, 0.0, -0.5772156649015329, 1.6449340668482264),
        (2.426, 0.23400811688731624, 0.6662079149687963, 0.508471848480258),
        (9.5, 11.689333420797269, 2.1977378764029494, 0.11099728846909904),
        (123456.75, 1323901.5615730141, 11.723642121279044, 8.100035437610752e-06),
    ];
}
