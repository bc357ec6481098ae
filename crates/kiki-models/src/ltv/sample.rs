//! A fit to part of the customers, from where the fit to all has a step or two to go.

use super::History;

/// Below this many customers a sample saves nothing.
const CUSTOMERS_MIN: usize = 50_000;
const SAMPLE: usize = 20_000;

/// What `fit` finds for every so-manieth of `histories`, where they are many; `None` otherwise, and if it finds nothing.
pub(super) fn with_sample<T, E>(histories: &[History], fit: impl Fn(&[History]) -> Result<T, E>) -> Option<T> {
    if histories.len() < CUSTOMERS_MIN {
        return None;
    }
    let sample: Vec<History> = histories.iter().step_by(histories.len() / SAMPLE).copied().collect();
    fit(&sample).ok()
}
