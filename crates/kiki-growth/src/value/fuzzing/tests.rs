//! What ever failed, and mutations of it and of the seeds.

#[path = "../../../../../fuzz/replay.rs"]
mod replay;

use super::{fields, logs, questions};
use replay::replay;

#[test]
fn any_order_log_is_read_and_reported_in_numbers_or_refused() {
    replay("logs", 600, logs);
}

#[test]
fn any_field_is_what_was_written_or_refused() {
    replay("fields", 5_000, fields);
}

#[test]
fn any_question_is_answered_in_numbers_or_refused() {
    replay("questions", 1_000, questions);
}
