use proptest::prelude::*;

use super::*;
use crate::ltv::newton::assert_derivatives;

#[test]
fn parameters_are_read_back_and_checked() {
    let model = BgBb::new(1.204, 0.750, 0.657, 2.783).unwrap();
    let json = serde_json::to_string(&model).unwrap();
    assert_eq!(serde_json::from_str::<BgBb>(&json).unwrap(), model);
    assert_eq!(BgBb::new(1.0, 1.0, 0.0, 1.0).unwrap_err().name, "gamma");
}

/// The likelihoods of all that may happen at six opportunities add up to 1, each as often as its order can differ.
#[test]
fn likelihoods_are_a_distribution() {
    let model = BgBb::new(1.204, 0.750, 0.657, 2.783).unwrap();
    let mut whole = 0.0;
    for pattern in 0..64_u32 {
        let last = 32 - pattern.leading_zeros();
        let customer = Opportunities::new(pattern.count_ones(), last, 6).unwrap();
        whole += model.log_likelihood(&[customer]).exp();
    }
    assert!((whole - 1.0).abs() < 1e-13, "{whole}");
    let counts: f64 = (0..=6).map(|x| model.probability_of_purchases(x, 6)).sum();
    assert!((counts - 1.0).abs() < 1e-13, "{counts}");
}

proptest! {
    #[test]
    fn the_gradient_and_the_curvature_are_those_of_the_likelihood(
        donors in prop::collection::vec((1..20_u32, 0..20_u32, 0..20_u32), 1..20),
        at in [-2.0..2.0_f64, -2.0..2.0, -2.0..2.0, -2.0..3.0],
    ) {
        let donor = |(n, last, x): (u32, u32, u32)| {
            let last = last.min(n);
            Opportunities::new(x.clamp(last.min(1), last), last, n).unwrap()
        };
        let counts = Counts::new(&donors.into_iter().map(donor).collect::<Vec<_>>());
        let surface = |at: [f64; 4]| counts.surface(&at.map(f64::exp));
        assert_derivatives(surface, at, 1e-8);
    }
}
