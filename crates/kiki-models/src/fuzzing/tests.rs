//! What ever failed, and mutations of it and of the seeds.

#[path = "../../../../fuzz/replay.rs"]
mod replay;

use super::{fits, predictions};
use replay::replay;

#[test]
fn predictions_of_any_numbers_make_sense() {
    replay("predictions", 8_000, predictions);
}

#[test]
fn fits_to_any_customers_are_maxima_or_refused() {
    replay("fits", 800, fits);
}
