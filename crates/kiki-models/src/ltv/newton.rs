//! Maximum likelihood by Newton's method, damped where the surface is not yet convex (Levenberg and Marquardt).
//!
//! It works in the logarithms of the parameters, so that they stay positive and the scale of time or money does not
//! matter, on the mean log-likelihood of a customer, so that one tolerance fits all sizes. The first and the second
//! derivatives are exact; [`Fit`] is returned only where the gradient vanishes and the curvature determines each parameter.

use super::{Covariance, Fit, FitError, Parametric};

/// The gradient of a fit: no component of the mean log-likelihood's derivative by the logarithm of a parameter is larger.
const GRADIENT_MAX: f64 = 1e-9;
const ITERATIONS_MAX: u32 = 200;
/// A step damped more than this changes nothing that a number could show.
const DAMPING_MAX: f64 = 1e9;
/// The largest change of a parameter in one step, as a logarithm.
const STEP_MAX: f64 = 2.0;
/// A parameter whose logarithm has a larger standard error is not determined: the data allow it to be e^5 = 150 times as
/// large or as small. That of CDNOW's b, its largest, is 0.3.
const LN_ERROR_MAX: f64 = 5.0;

/// Minus the mean log-likelihood and its derivatives by the logarithms of the parameters.
#[derive(Clone, Debug)]
pub(super) struct Surface<const N: usize> {
    pub(super) value: f64,
    pub(super) gradient: [f64; N],
    pub(super) hessian: [[f64; N]; N],
}

impl<const N: usize> Surface<N> {
    /// From the sums over `customers` of the log-likelihood and its derivatives by the parameters themselves; of
    /// `hessian` only the part where the column is not left of the diagonal is read.
    pub(super) fn from_natural(
        parameters: &[f64; N],
        customers: f64,
        value: f64,
        gradient: &[f64; N],
        hessian: &[[f64; N]; N],
    ) -> Self {
        let by_ln: [f64; N] = std::array::from_fn(|i| -gradient[i] * parameters[i] / customers);
        let second = |i: usize, j: usize| -hessian[i.min(j)][i.max(j)] * parameters[i] * parameters[j] / customers;
        let diagonal = |i: usize, j: usize| if i == j { by_ln[i] } else { 0.0 };
        Self {
            value: -value / customers,
            gradient: by_ln,
            hessian: std::array::from_fn(|i| std::array::from_fn(|j| second(i, j) + diagonal(i, j))),
        }
    }

    /// The same from parts of the sums, added in their order.
    pub(super) fn from_totals<'a>(
        parameters: &[f64; N],
        customers: f64,
        totals: impl Iterator<Item = (f64, &'a [f64; N], &'a [[f64; N]; N])>,
    ) -> Self {
        let (mut value, mut gradient, mut hessian) = (0.0, [0.0; N], [[0.0; N]; N]);
        for (part, by_one, by_two) in totals {
            value += part;
            for i in 0..N {
                gradient[i] += by_one[i];
                for j in i..N {
                    hessian[i][j] += by_two[i][j];
                }
            }
        }
        Self::from_natural(parameters, customers, value, &gradient, &hessian)
    }

    fn failure(&self, error: FitError) -> Failure {
        Failure { error, value: if self.value.is_finite() { self.value } else { f64::INFINITY } }
    }

    fn steepest(&self) -> f64 {
        largest(&self.gradient)
    }

    fn is_finite(&self) -> bool {
        self.value.is_finite() && self.hessian.iter().flatten().chain(&self.gradient).all(|number| number.is_finite())
    }

    /// The step that would end at the minimum of the surface's own parabola, damped by `damping`, and how much it
    /// promises; `None` where the damped parabola has no minimum.
    fn step(&self, damping: f64) -> Option<([f64; N], f64)> {
        let mut damped = self.hessian;
        for (i, row) in damped.iter_mut().enumerate() {
            row[i] += damping * self.hessian[i][i].abs().max(1e-6);
        }
        let factor = cholesky(&damped)?;
        let newton = solve(&factor, &self.gradient.map(|slope| -slope));
        let shortened = (STEP_MAX / largest(&newton).max(f64::MIN_POSITIVE)).min(1.0);
        let step = newton.map(|change| change * shortened);
        let linear: f64 = (0..N).map(|i| self.gradient[i] * step[i]).sum();
        let square: f64 = (0..N).map(|i| (0..N).map(|j| step[i] * self.hessian[i][j] * step[j]).sum::<f64>()).sum();
        let promised = -linear - 0.5 * square;
        (promised > 0.0).then_some((step, promised))
    }
}

/// Where the likelihood is largest.
pub(super) struct Optimum<const N: usize> {
    pub(super) parameters: [f64; N],
    pub(super) value: f64,
    pub(super) gradient: f64,
    pub(super) iterations: u32,
    /// Of the logarithms of the parameters: the inverse of the observed information.
    pub(super) covariance: [[f64; N]; N],
}

impl<const N: usize> Optimum<N> {
    /// The fit of `model` that this optimum is, to `customers`.
    pub(super) fn fit<M: Parametric>(&self, model: M, customers: u64) -> Fit<M> {
        Fit {
            model,
            log_likelihood: -self.value * customers as f64,
            iterations: self.iterations,
            gradient: self.gradient,
            customers,
            covariance: Covariance::new(&self.covariance),
        }
    }
}

/// How a search ended that found no minimum.
pub(super) struct Failure {
    error: FitError,
    /// How low it came.
    value: f64,
}

/// A search: where from, and which parameters it moves.
pub(super) struct Search<'a, const N: usize> {
    pub(super) names: [&'static str; N],
    pub(super) start: [f64; N],
    /// The least and largest values that each may take.
    pub(super) within: [(f64, f64); N],
    pub(super) customers: f64,
    pub(super) surface: &'a dyn Fn(&[f64; N]) -> Surface<N>,
}

impl<const N: usize> Search<'_, N> {
    /// Walks down to the minimum.
    pub(super) fn run(&self) -> Result<Optimum<N>, Failure> {
        let mut at = self.start.map(f64::ln);
        let mut here = (self.surface)(&self.start);
        let mut damping = 0.0_f64;
        for iterations in 0..ITERATIONS_MAX {
            if here.is_finite() && here.steepest() <= GRADIENT_MAX {
                let (parameters, gradient) = (at.map(f64::exp), here.steepest());
                let covariance = self.covariance(&here).map_err(|error| here.failure(error))?;
                return Ok(Optimum { parameters, value: here.value, gradient, iterations, covariance });
            }
            if damping > DAMPING_MAX {
                break;
            }
            let Some((step, promised)) = here.step(damping) else {
                damping = raised(damping);
                continue;
            };
            let next: [f64; N] = std::array::from_fn(|i| at[i] + step[i]);
            let there = (self.surface)(&next.map(f64::exp));
            let gained = here.value - there.value;
            // So near the minimum the values are equal to the last digit; the gradient still tells them apart.
            let level = promised <= 1e-13 * here.value.abs().max(1.0);
            let better = if level { there.steepest() < here.steepest() } else { gained >= 1e-4 * promised };
            if !there.is_finite() || !better {
                damping = raised(damping);
                continue;
            }
            damping = if level || gained > 0.5 * promised { lowered(damping) } else { raised(damping) };
            (at, here) = (next, there);
            self.check_range(&at).map_err(|error| here.failure(error))?;
        }
        // What creeps along a ridge ends where rounding hides the slope: nothing is wrong with the search.
        self.covariance(&here).map_err(|error| here.failure(error))?;
        Err(here.failure(FitError::NotConverged { iterations: ITERATIONS_MAX, gradient: here.steepest() }))
    }

    fn check_range(&self, at: &[f64; N]) -> Result<(), FitError> {
        let outside = (0..N).find(|&i| at[i] < self.within[i].0.ln() || at[i] > self.within[i].1.ln());
        outside.map_or(Ok(()), |i| Err(FitError::Undetermined { parameter: self.names[i] }))
    }

    /// The inverse of the observed information, if that determines each parameter.
    fn covariance(&self, here: &Surface<N>) -> Result<[[f64; N]; N], FitError> {
        let undetermined = |i: usize| FitError::Undetermined { parameter: self.names[i] };
        let flattest = (0..N).min_by(|&i, &j| here.hessian[i][i].total_cmp(&here.hessian[j][j])).unwrap_or(0);
        let mut covariance = [[0.0; N]; N];
        if !here.is_finite() {
            return Ok(covariance);
        }
        let factor = cholesky(&here.hessian).ok_or_else(|| undetermined(flattest))?;
        for (i, row) in covariance.iter_mut().enumerate() {
            let unit = std::array::from_fn(|j| if i == j { 1.0 } else { 0.0 });
            *row = solve(&factor, &unit).map(|entry| entry / self.customers);
            if row[i].is_nan() || row[i] > LN_ERROR_MAX * LN_ERROR_MAX {
                return Err(undetermined(i));
            }
        }
        Ok(covariance)
    }
}

/// Searches from each of `starts` until one ends in a minimum; else tells how the first one ended.
pub(super) fn first_minimum<const N: usize>(
    starts: &[[f64; N]],
    search: impl Fn([f64; N]) -> Result<Optimum<N>, Failure>,
) -> Result<Optimum<N>, FitError> {
    let mut ends = starts.iter().map(|&start| search(start));
    let first = ends.next().unwrap_or(Err(NOWHERE));
    first.or_else(|failure| ends.find_map(Result::ok).ok_or(failure.error))
}

/// Searches from each of `starts` and takes the lowest minimum. If there is none, or a search went lower without an end, tells
/// how the first search ended, or that one: a maximum of the likelihood with a higher ridge beside it says nothing.
pub(super) fn lowest_minimum<const N: usize>(
    starts: &[[f64; N]],
    search: impl Fn([f64; N]) -> Result<Optimum<N>, Failure>,
) -> Result<Optimum<N>, FitError> {
    let low = |end: &Result<Optimum<N>, Failure>| match end {
        Ok(minimum) => minimum.value,
        // A ridge that is as low as the minimum is the way to it.
        Err(failure) => failure.value + 1e-9 * failure.value.abs(),
    };
    let ends = starts.iter().map(|&start| search(start));
    let lowest = ends.reduce(|best, end| match (&best, &end) {
        (Err(_), Err(_)) => best,
        _ if low(&end) < low(&best) => end,
        _ => best,
    });
    lowest.unwrap_or(Err(NOWHERE)).map_err(|failure| failure.error)
}

const NOWHERE: Failure =
    Failure { error: FitError::NotConverged { iterations: 0, gradient: f64::INFINITY }, value: f64::INFINITY };

fn raised(damping: f64) -> f64 {
    (damping * 8.0).max(1e-3)
}

fn lowered(damping: f64) -> f64 {
    if damping < 1e-4 { 0.0 } else { damping / 8.0 }
}

fn largest<const N: usize>(numbers: &[f64; N]) -> f64 {
    numbers.iter().fold(0.0, |largest, number| if number.is_nan() { f64::NAN } else { number.abs().max(largest) })
}

/// The lower triangle L with L Lᵀ = `matrix`; `None` unless the matrix is positive definite.
fn cholesky<const N: usize>(matrix: &[[f64; N]; N]) -> Option<[[f64; N]; N]> {
    let mut lower = [[0.0; N]; N];
    for i in 0..N {
        for j in 0..=i {
            let rest: f64 = matrix[i][j] - (0..j).map(|k| lower[i][k] * lower[j][k]).sum::<f64>();
            if i == j {
                if rest.is_nan() || rest <= 1e-14 * matrix[i][i].abs() {
                    return None;
                }
                lower[i][i] = rest.sqrt();
            } else {
                lower[i][j] = rest / lower[j][j];
            }
        }
    }
    Some(lower)
}

/// x with L Lᵀ x = `right`.
fn solve<const N: usize>(lower: &[[f64; N]; N], right: &[f64; N]) -> [f64; N] {
    let mut x = *right;
    for i in 0..N {
        x[i] = (x[i] - (0..i).map(|k| lower[i][k] * x[k]).sum::<f64>()) / lower[i][i];
    }
    for i in (0..N).rev() {
        x[i] = (x[i] - (i + 1..N).map(|k| lower[k][i] * x[k]).sum::<f64>()) / lower[i][i];
    }
    x
}

/// Panics unless the derivatives of `surface` at `at`, the logarithms of the parameters, are what its values and its gradient
/// differ by nearby: the gradient to within `tolerance`, the curvature to ten times that.
#[cfg(test)]
pub(super) fn assert_derivatives<const N: usize>(
    surface: impl Fn([f64; N]) -> Surface<N>,
    at: [f64; N],
    tolerance: f64,
) {
    const STEP: f64 = 1e-5;
    let exact = surface(at);
    let tolerance = tolerance * exact.value.abs().max(1.0);
    for i in 0..N {
        let moved = |by: f64| surface(std::array::from_fn(|j| if i == j { at[j] + by } else { at[j] }));
        let (below, above) = (moved(-STEP), moved(STEP));
        let slope = (above.value - below.value) / (2.0 * STEP);
        assert!((exact.gradient[i] - slope).abs() < tolerance, "{i}: {} {slope}", exact.gradient[i]);
        for j in 0..N {
            let curve = (above.gradient[j] - below.gradient[j]) / (2.0 * STEP);
            let is = exact.hessian[i][j];
            assert!((is - curve).abs() < 10.0 * tolerance, "{i} {j}: {is} {curve}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(surface: &dyn Fn(&[f64; 2]) -> Surface<2>) -> Result<Optimum<2>, FitError> {
        let within = [(1e-6, 1e6); 2];
        let search = Search { names: ["x", "y"], start: [1.0, 1.0], within, customers: 100.0, surface };
        search.run().map_err(|failure| failure.error)
    }

    /// A narrow curved valley in ln x, ln y with its minimum at (3, 0.5).
    fn valley(at: &[f64; 2]) -> Surface<2> {
        let (u, v) = ((at[0] / 3.0).ln(), (at[1] / 0.5).ln());
        let bend = v - u * u;
        Surface {
            value: 100.0 * bend * bend + u * u,
            gradient: [-400.0 * bend * u + 2.0 * u, 200.0 * bend],
            hessian: [[1200.0 * u * u - 400.0 * v + 2.0, -400.0 * u], [-400.0 * u, 200.0]],
        }
    }

    #[test]
    fn the_bottom_of_a_curved_valley_is_found() {
        let found = search(&valley).unwrap();
        assert!((found.parameters[0] - 3.0).abs() < 1e-8 && (found.parameters[1] - 0.5).abs() < 1e-8);
        assert!(found.gradient <= GRADIENT_MAX && found.iterations < 50, "{}", found.iterations);
    }

    #[test]
    fn a_parameter_that_changes_nothing_is_named() {
        let flat = |at: &[f64; 2]| {
            let u = at[0].ln() - 1.0;
            Surface { value: u * u, gradient: [2.0 * u, 0.0], hessian: [[2.0, 0.0], [0.0, 0.0]] }
        };
        assert_eq!(search(&flat).err(), Some(FitError::Undetermined { parameter: "y" }));
    }

    #[test]
    fn a_parameter_that_runs_away_is_named() {
        let slope = |at: &[f64; 2]| {
            let (u, v) = (at[0].ln() - 1.0, at[1].ln());
            Surface { value: u * u - v, gradient: [2.0 * u, -1.0], hessian: [[2.0, 0.0], [0.0, 1e-3]] }
        };
        assert_eq!(search(&slope).err(), Some(FitError::Undetermined { parameter: "y" }));
    }

    #[test]
    fn a_surface_that_is_nowhere_a_number_does_not_converge() {
        let nowhere = |_: &[f64; 2]| Surface { value: f64::NAN, gradient: [f64::NAN; 2], hessian: [[f64::NAN; 2]; 2] };
        assert!(matches!(search(&nowhere), Err(FitError::NotConverged { .. })));
    }
}
