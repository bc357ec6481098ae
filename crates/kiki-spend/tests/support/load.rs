//! States of a given size, for what is measured of them.

use kiki_spend::{Authorize, Bounds, Command, Digest, LimitKind, Outcome, State};

pub const START: i64 = 1_700_000_000_000;

/// Uniform, as callers make them.
pub fn id(n: u32) -> Digest {
    let mixed = u64::from(n).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let low = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    Digest((u128::from(mixed) << 64 | u128::from(low ^ (low >> 32))).to_be_bytes())
}

pub fn empty() -> State {
    State::new(Bounds { authorizations_per_tenant: u32::MAX, holds_per_tenant: u32::MAX, ..Bounds::default() })
}

fn apply(state: &mut State, command: &Command, expected: &Outcome) {
    let outcome = state.apply(command, START).outcome;
    assert_eq!(outcome, *expected, "{command:?}");
}

/// `many` window limits, each on an account of its own; `name` tells them from others on these accounts.
pub fn limits(state: &mut State, name: &str, many: u32) {
    for n in 0..many {
        let kind = LimitKind::Window { amount: i64::MAX, seconds: 86_400 };
        let (id, path) = (format!("t/{name}-{n:07}").into(), format!("t/desk-{n:07}").into());
        apply(state, &Command::Limit { id, path, kind, shadow: false }, &Outcome::Defined);
    }
}

/// `many` authorizations with keys, counted from `first`, on one account: open, or captured at once.
pub fn authorizations(state: &mut State, first: u32, many: u32, capture: bool) {
    let outcome = if capture { Outcome::Captured } else { Outcome::Held };
    for n in first..first + many {
        let least = Authorize::of(id(n), "t/desk-0000000", 1_000, 3_600_000 + i64::from(n % 10_000));
        let request = Authorize { key: Some(id(!n)), request: Some(id(n)), capture, ..least };
        apply(state, &Command::Authorize(request), &outcome);
    }
}
