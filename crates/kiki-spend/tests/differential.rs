//! The governor answers random histories as the reference does. `KIKI_HISTORIES` sets how many, `KIKI_SEED` the first.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use support::compare::{self, Checks};
use support::reference::Reference;

const HISTORIES: u64 = 400;
const OPERATIONS: usize = 250;
/// Of so many histories one goes on from a snapshot.
const RESTORED: u64 = 8;

#[test]
fn random_histories_are_answered_as_the_reference_answers_them() {
    let first = compare::given("KIKI_SEED", 1);
    let folder = tempfile::tempdir().unwrap();
    for seed in first..first + compare::given("KIKI_HISTORIES", HISTORIES) {
        let checks = if seed % RESTORED == 0 { Checks::Snapshot(folder.path()) } else { Checks::Sums };
        compare::run(seed, OPERATIONS, &checks).unwrap_or_else(|problem| panic!("{problem}"));
    }
}

#[test]
fn histories_reach_every_outcome_often() {
    let mut counts = std::collections::BTreeMap::new();
    for seed in 0..200 {
        let mut generator = support::generator::Generator::new(seed);
        let mut reference = Reference::default();
        for _ in 0..OPERATIONS {
            let (at, command) = generator.next();
            let outcome = reference.apply(at, &command);
            generator.heard(&command, &outcome);
            let word = |text: String| text.split([' ', '(', '{']).next().unwrap().to_owned();
            let pair = [word(format!("{command:?}")), word(format!("{outcome:?}"))];
            *counts.entry(pair.join(" ")).or_insert(0) += 1;
            let changed_before = format!("{} again", word(format!("{command:?}")));
            *counts.entry(changed_before).or_insert(0) += usize::from(reference.is_changed_before);
            *counts.entry("share reached".to_owned()).or_insert(0) += reference.reached.len();
            *counts.entry("burst of denials".to_owned()).or_insert(0) += usize::from(reference.is_burst);
        }
    }
    for wanted in [
        "Approve Captured",
        "Approve Denied",
        "Approve Held",
        "Authorize Captured",
        "Authorize Conflict",
        "Authorize Denied",
        "Authorize Held",
        "Authorize Invalid",
        "Authorize Pending",
        "Authorize Stale",
        "Capture Captured",
        "Capture Invalid",
        "Capture Resolved",
        "Capture Unknown",
        "Capture Waiting",
        "Bar Barred",
        "Bar Unbarred",
        "Check Clear",
        "Check Denied",
        "Consent Granted",
        "Consent Invalid",
        "Consent Revoked",
        "Forget Forgotten",
        "Forget Invalid",
        "Increase Conflict",
        "Increase Denied",
        "Increase Held",
        "Increase Resolved",
        "Increase Waiting",
        "Increase again",
        "Limit Defined",
        "Policy Defined",
        "Record Conflict",
        "Record Recorded",
        "Refund Conflict",
        "Refund Invalid",
        "Refund Refunded",
        "Refund Unknown",
        "Refund again",
        "Reject Rejected",
        "RemoveLimit Removed",
        "Resume Resumed",
        "Stop Stopped",
        "Void Resolved",
        "Void Voided",
        "burst of denials",
        "share reached",
    ] {
        let count = counts.get(wanted).copied().unwrap_or(0);
        assert!(count >= 20, "{wanted}: {count} in 50,000 commands; {counts:?}");
    }
}
