//! What the state takes in memory and in a snapshot, and that a decision takes none: `docs/spend.md` states the bounds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "a module of several programs")]

#[path = "support/load.rs"]
mod load;

use allocation_counter::measure;
use kiki_spend::{Authorize, Bounds, Command, LimitKind, Outcome, State, snapshot};
use kiki_types::{Channel, Purpose};
use load::{START, authorizations, empty, id, limits};

/// Bytes of memory that each takes at the most, however full tables just are.
const ACCOUNT_BYTES_MAX: i64 = 400;
const LIMIT_BYTES_MAX: i64 = 800;
const HOLD_BYTES_MAX: i64 = 240;
const KEY_BYTES_MAX: i64 = 200;
const FIRST_CHANGE_BYTES_MAX: i64 = 140;
const CHANGE_BYTES_MAX: i64 = 32;
const CONSENT_BYTES_MAX: i64 = 60;
/// Bytes that each takes in a snapshot at the most.
const HOLD_SNAPSHOT_BYTES_MAX: u64 = 100;
const KEY_SNAPSHOT_BYTES_MAX: u64 = 110;
const CONSENT_SNAPSHOT_BYTES_MAX: u64 = 24;

/// One more than a table of hashes, or a list, holds before it doubles: then it is emptiest.
const SIZES: [u32; 2] = [57_345, 65_537];

fn bytes_per(many: u32, work: impl FnOnce()) -> i64 {
    measure(work).bytes_current / i64::from(many)
}

fn snapshot_bytes_per(many: u32, state: &State) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    snapshot::write(folder.path(), 1, [0; 32], state).unwrap();
    let file = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap();
    file.metadata().unwrap().len() / u64::from(many)
}

#[test]
fn accounts_and_limits_take_what_is_stated() {
    for many in [7_169, 8_193] {
        let mut state = empty();
        let both = bytes_per(many, || limits(&mut state, "day", many));
        let limit = bytes_per(many, || limits(&mut state, "week", many));
        assert!(limit <= LIMIT_BYTES_MAX, "{limit} bytes a limit");
        assert!(both - limit <= ACCOUNT_BYTES_MAX, "{} bytes an account", both - limit);
    }
}

#[test]
fn open_holds_take_what_is_stated() {
    for many in SIZES {
        let mut state = empty();
        let hold = bytes_per(many, || authorizations(&mut state, 0, many, false));
        assert!(hold <= HOLD_BYTES_MAX, "{hold} bytes a hold");
        let hold = snapshot_bytes_per(many, &state);
        assert!(hold <= HOLD_SNAPSHOT_BYTES_MAX, "{hold} bytes a hold in a snapshot");
    }
}

#[test]
fn kept_keys_take_what_is_stated() {
    for many in SIZES.map(|many| many * 2 - 1) {
        let mut state = empty();
        let key = bytes_per(many, || authorizations(&mut state, 0, many, true));
        assert!(key <= KEY_BYTES_MAX, "{key} bytes a key");
        let key = snapshot_bytes_per(many, &state);
        assert!(key <= KEY_SNAPSHOT_BYTES_MAX, "{key} bytes a key in a snapshot");
    }
}

#[test]
fn keys_of_changes_take_what_is_stated() {
    for many in SIZES {
        let mut state = empty();
        authorizations(&mut state, 0, many, false);
        let change = |state: &mut State, by: i64| {
            for n in 0..many {
                let key = Some(id(u32::try_from(by).unwrap()));
                let increase = Command::Increase { id: id(n), amount: by, key };
                assert_eq!(state.apply(&increase, START).outcome, Outcome::Held);
            }
        };
        let first = bytes_per(many, || change(&mut state, 1));
        assert!(first <= FIRST_CHANGE_BYTES_MAX, "{first} bytes the first key");
        let next = bytes_per(many, || change(&mut state, 2));
        assert!(next <= CHANGE_BYTES_MAX, "{next} bytes the next key");
    }
}

#[test]
fn consents_take_what_is_stated() {
    for channel in [None, Some(Channel::Email)] {
        for many in SIZES {
            let mut state = empty();
            let consent = |n| {
                let (subject, purpose, until) = (id(n), Purpose::Marketing, Some(START + 86_400_000));
                Command::Consent { subject, purpose, granted: true, channel, until, asked: None }
            };
            let grant = |state: &mut State| {
                for n in 0..many {
                    assert_eq!(state.apply(&consent(n), START).outcome, Outcome::Granted);
                }
            };
            let bytes = bytes_per(many, || grant(&mut state));
            assert!(bytes <= CONSENT_BYTES_MAX, "{bytes} bytes a consent");
            let bytes = snapshot_bytes_per(many, &state);
            assert!(bytes <= CONSENT_SNAPSHOT_BYTES_MAX, "{bytes} bytes a consent in a snapshot");
        }
    }
}

/// Few authorizations are kept, and an hour passes between two commands, so that what ends makes room for what comes.
const ROUND: u32 = 512;
const HOUR_MS: i64 = 3_600_000;

fn steady() -> State {
    let mut state = State::new(Bounds { authorizations_per_tenant: 64, ..Bounds::default() });
    let window = LimitKind::Window { amount: 1_000_000, seconds: 86_400 };
    let velocity = LimitKind::Velocity { count: 1_000_000, seconds: 86_400 };
    let each = LimitKind::Each { least: 1, most: 100 };
    for (id, path, kind) in [("w", "t", window), ("v", "t/a", velocity), ("e", "t/a/x", each)] {
        let outcome = state.apply(&Command::Limit { id: id.into(), path: path.into(), kind, shadow: false }, START);
        assert_eq!(outcome.outcome, Outcome::Defined);
    }
    state
}

/// After some rounds of `commands` another one allocates nothing.
fn assert_allocates_nothing(commands: &[(Command, Outcome)]) {
    let mut state = steady();
    let mut at = START;
    let mut round = |state: &mut State| {
        for (command, expected) in commands {
            at += HOUR_MS;
            let is_expected = state.apply(command, at).outcome == *expected;
            assert!(is_expected, "{command:?}");
        }
    };
    for _ in 0..8 {
        round(&mut state);
    }
    assert_eq!(measure(|| round(&mut state)).count_total, 0);
}

fn request(n: u32, has_key: bool, capture: bool) -> Authorize {
    let (key, request) = (has_key.then(|| id(!n)), has_key.then(|| id(n)));
    Authorize { key, request, capture, ..Authorize::of(id(n), "t/a/x", 10, 24 * HOUR_MS) }
}

#[test]
fn authorizing_and_capturing_in_one_step_allocates_nothing() {
    for has_key in [false, true] {
        let command = |n| (Command::Authorize(request(n, has_key, true)), Outcome::Captured);
        assert_allocates_nothing(&(0..ROUND).map(command).collect::<Vec<_>>());
    }
}

#[test]
fn holding_and_capturing_or_voiding_allocates_nothing() {
    let commands = (0..ROUND).flat_map(|n| {
        let end = match n % 3 {
            0 => (Command::Void { id: id(n) }, Outcome::Voided),
            1 => (Command::Capture { id: id(n), amount: Some(7) }, Outcome::Captured),
            _ => (Command::Capture { id: id(n), amount: None }, Outcome::Captured),
        };
        [(Command::Authorize(request(n, n % 2 == 0, false)), Outcome::Held), end]
    });
    assert_allocates_nothing(&commands.collect::<Vec<_>>());
}

#[test]
fn a_denial_without_a_key_allocates_nothing() {
    let denied = || Outcome::Denied { refused_by: ["e".into()].into_iter().collect() };
    let too_much = |n| Command::Authorize(Authorize { amount: 101, ..request(n, false, false) });
    assert_allocates_nothing(&(0..ROUND).map(|n| (too_much(n), denied())).collect::<Vec<_>>());
}
