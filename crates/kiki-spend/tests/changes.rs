//! Keys of increases and refunds: what took effect is not done again, in a state of its own and behind a log.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use kiki_spend::change::KEYED_CHANGES_MAX;
use kiki_spend::command::Bound;
use kiki_spend::{Authorize, Bounds, Command, Digest, LimitKind, Outcome, Resolution, State, snapshot};

const START: i64 = 1_700_000_000_000;
const ID: Digest = Digest([1; 16]);
const LAST: [u8; 32] = [7; 32];

/// A tenant that may spend 100, of which 40 are held.
fn held() -> State {
    let mut state = State::new(Bounds::default());
    let total = LimitKind::Total { amount: 100 };
    answer(&mut state, &Command::Limit { id: "total".into(), path: "t".into(), kind: total, shadow: false });
    let request = Command::Authorize(Authorize::of(ID, "t/a", 40, 60_000));
    assert_eq!(answer(&mut state, &request), Outcome::Held);
    state
}

fn captured() -> State {
    let mut state = held();
    assert_eq!(answer(&mut state, &Command::Capture { id: ID, amount: None }), Outcome::Captured);
    state
}

fn answer(state: &mut State, command: &Command) -> Outcome {
    state.apply(command, START).outcome
}

fn increase(amount: i64, key: u8) -> Command {
    Command::Increase { id: ID, amount, key: Some(Digest([key; 16])) }
}

fn refund(amount: i64, key: u8) -> Command {
    Command::Refund { id: ID, amount, key: Some(Digest([key; 16])) }
}

/// What is or was held, and what came back.
fn sums(state: &State) -> (i64, i64) {
    let view = state.authorization(ID).unwrap();
    (view.amount, view.refunded)
}

fn restored(state: &State) -> State {
    let folder = tempfile::tempdir().unwrap();
    snapshot::write(folder.path(), 1, LAST, state).unwrap();
    snapshot::newest(folder.path(), Bounds::default(), |_, _| true).unwrap().unwrap().1
}

#[test]
fn a_refund_that_comes_again_is_the_same_one_even_when_nothing_is_left_to_refund() {
    let mut state = captured();
    assert_eq!(answer(&mut state, &refund(40, 1)), Outcome::Refunded);
    let entries = state.entries();
    assert_eq!(answer(&mut state, &refund(40, 1)), Outcome::Refunded);
    assert_eq!((sums(&state), state.entries()), ((40, 40), entries));
    assert_eq!(answer(&mut state, &refund(40, 2)), Outcome::Invalid, "another one finds nothing left");
    let mut restored = restored(&state);
    assert_eq!(answer(&mut restored, &refund(40, 1)), Outcome::Refunded);
    assert_eq!(sums(&restored), (40, 40));
}

#[test]
fn an_increase_that_comes_again_has_its_first_answer_after_the_hold_has_ended() {
    for end in [Command::Capture { id: ID, amount: Some(5) }, Command::Void { id: ID }] {
        let mut state = held();
        assert_eq!(answer(&mut state, &increase(10, 1)), Outcome::Held);
        assert_eq!(answer(&mut state, &increase(10, 1)), Outcome::Held);
        assert_eq!(sums(&state), (50, 0));
        answer(&mut state, &end);
        let mut restored = restored(&state);
        for state in [&mut state, &mut restored] {
            let again = state.apply(&increase(10, 1), START);
            assert_eq!((again.outcome, again.is_new), (Outcome::Held, false));
            assert!(matches!(answer(state, &increase(10, 2)), Outcome::Resolved { .. }));
        }
    }
}

#[test]
fn a_key_stands_for_one_change_of_one_authorization() {
    let mut state = captured();
    assert_eq!(answer(&mut state, &refund(10, 1)), Outcome::Refunded);
    assert_eq!(answer(&mut state, &refund(11, 1)), Outcome::Conflict);
    assert_eq!(answer(&mut state, &increase(10, 1)), Outcome::Conflict);
    assert_eq!(sums(&state), (40, 10));
    let other = Digest([2; 16]);
    answer(&mut state, &Command::Authorize(Authorize::of(other, "t/a", 10, 60_000)));
    let theirs = Command::Increase { id: other, amount: 10, key: Some(Digest([1; 16])) };
    assert_eq!(answer(&mut state, &theirs), Outcome::Held);
    let nameless = Command::Increase { id: other, amount: 10, key: Some(Digest::NONE) };
    assert_eq!(answer(&mut state, &nameless), Outcome::Invalid);
}

#[test]
fn what_was_denied_is_judged_anew() {
    let mut state = held();
    assert!(matches!(answer(&mut state, &increase(61, 1)), Outcome::Denied { .. }));
    assert_eq!(answer(&mut state, &Command::RemoveLimit { id: "total".into() }), Outcome::Removed);
    assert_eq!(answer(&mut state, &increase(61, 1)), Outcome::Held);
}

#[test]
fn no_key_is_forgotten_to_make_room() {
    let mut state = captured();
    let keys = 1..=u8::try_from(KEYED_CHANGES_MAX).unwrap();
    for key in keys.clone() {
        assert_eq!(answer(&mut state, &refund(1, key)), Outcome::Refunded);
    }
    let next = *keys.end() + 1;
    assert_eq!(answer(&mut state, &refund(1, next)), Outcome::Exhausted { of: Bound::Changes });
    let ended = Outcome::Resolved { state: Resolution::Captured };
    assert_eq!(answer(&mut state, &increase(1, next)), ended, "what it is about comes first");
    for key in keys {
        assert_eq!(answer(&mut state, &refund(1, key)), Outcome::Refunded);
    }
    assert_eq!(answer(&mut state, &Command::Refund { id: ID, amount: 1, key: None }), Outcome::Refunded);
    assert_eq!(sums(&state), (40, 33));
}

#[test]
fn room_for_keys_is_found_before_a_hold_grows() {
    let mut state = held();
    for key in 1..=u8::try_from(KEYED_CHANGES_MAX).unwrap() {
        assert_eq!(answer(&mut state, &increase(1, key)), Outcome::Held);
    }
    assert_eq!(answer(&mut state, &increase(1, 99)), Outcome::Exhausted { of: Bound::Changes });
    assert_eq!(sums(&state), (72, 0));
}
