//! The verbs of those who set budgets and watch, typed at a running shield.

use crate::harness::{fail, folder};

#[test]
fn a_service_that_is_away_is_told_and_nothing_is_shown() {
    let folder = folder();
    let told = fail(folder.path(), &["spend", "top", "--url", "http://127.0.0.1:1"]);
    assert!(told.contains("no answer") && told.contains("127.0.0.1:1"), "{told}");
}
