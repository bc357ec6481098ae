//! Gauss and Legendre's rules: the integral over an interval from a few points of a smooth function.

/// A rule of twice as many points as entries: places within (-1, 1), of which only the positive stand here, and weights.
pub(super) type Rule = [(f64, f64)];

/// Exact for polynomials up to degree 15. Zeros of the Legendre polynomial and their weights, from 40 digits by mpmath 1.3.
pub(super) const EIGHT: [(f64, f64); 4] = [
    (0.960_289_856_497_536_3, 0.101_228_536_290_376_26),
    (0.796_666_477_413_626_7, 0.222_381_034_453_374_48),
    (0.525_532_409_916_329, 0.313_706_645_877_887_27),
    (0.183_434_642_495_649_8, 0.362_683_783_378_362),
];

/// Exact for polynomials up to degree 31, from the same source.
pub(super) const SIXTEEN: [(f64, f64); 8] = [
    (0.989_400_934_991_649_9, 0.027_152_459_411_754_096),
    (0.944_575_023_073_232_6, 0.062_253_523_938_647_894),
    (0.865_631_202_387_831_8, 0.095_158_511_682_492_79),
    (0.755_404_408_355_003, 0.124_628_971_255_533_88),
    (0.617_876_244_402_643_8, 0.149_595_988_816_576_74),
    (0.458_016_777_657_227_37, 0.169_156_519_395_002_54),
    (0.281_603_550_779_258_9, 0.182_603_415_044_923_58),
    (0.095_012_509_837_637_44, 0.189_450_610_455_068_5),
];

/// Tells `at` the places of `rule` within an interval of `width` from `start`, and their weights.
#[inline]
pub(super) fn points(rule: &Rule, start: f64, width: f64, mut at: impl FnMut(f64, f64)) {
    let half = 0.5 * width;
    for &(place, weight) in rule {
        at(start + half * (1.0 - place), half * weight);
        at(start + half * (1.0 + place), half * weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_integrated_exactly() {
        for (rule, degree) in [(&EIGHT[..], 15), (&SIXTEEN[..], 31)] {
            for power in 0..=degree {
                let mut integral = 0.0;
                points(rule, 0.0, 2.0, |z, weight| integral += weight * (0.5 * z).powi(power));
                let should = 2.0 / f64::from(power + 1);
                assert!((integral / should - 1.0).abs() < 1e-14, "{degree} {power}: {integral} is not {should}");
            }
        }
    }
}
