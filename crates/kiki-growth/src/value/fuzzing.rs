//! What is tried on value with any bytes at all: order logs from the file to the report, the fields of orders, and questions
//! as callers ask them. Nothing panics, what is refused is told, and no answer holds what is not a number.
//!
//! Behind the feature `fuzzing`. `fuzz/` runs it under libFuzzer; the tests replay its seeds, what ever failed, and mutations.

mod fields;
mod logs;
mod questions;
#[cfg(test)]
mod tests;

pub use fields::fields;
pub use logs::logs;
pub use questions::questions;

use serde::Serialize;
use serde_json::Value as Json;

use super::kind::ModelKind;

const KINDS: [ModelKind; 3] = [ModelKind::BgNbd, ModelKind::MbgNbd, ModelKind::ParetoNbd];

/// What may be absent from an answer. A number that is none is written as `null` too.
const NULL_ALLOWED: [&str; 3] = ["correlation", "gini", "order_days"];

/// That an answer is JSON in which every number is one.
pub(super) fn assert_numbers(answer: &impl Serialize) -> Json {
    let json = serde_json::to_value(answer).expect("an answer is JSON");
    assert_no_null("", &json);
    json
}

fn assert_no_null(name: &str, json: &Json) {
    match json {
        Json::Null => assert!(NULL_ALLOWED.contains(&name), "{name:?} is no number"),
        Json::Array(all) => all.iter().for_each(|one| assert_no_null(name, one)),
        Json::Object(all) => all.iter().for_each(|(name, one)| assert_no_null(name, one)),
        Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}
