//! Laws that hold after every command of any history.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test fails by panicking")]

use kiki_spend::command::Record;
use kiki_spend::{Authorize, Bounds, Command, Digest, Field, LimitKind, Outcome, State, Unit, Zone, snapshot};
use kiki_types::Purpose;
use proptest::prelude::*;

const START: i64 = 1_700_000_000_000;
/// The hash of the last entry before a snapshot.
const LAST: [u8; 32] = [7; 32];
const PATHS: [&str; 4] = ["t", "t/a", "t/a/x", "t/b"];

fn limits() -> Vec<Command> {
    let limit = |id: &str, path: &str, kind| {
        let shadow = id.starts_with("shadow");
        Command::Limit { id: id.into(), path: path.into(), kind, shadow }
    };
    let values: Box<[Box<str>]> = ["ads".into()].into();
    vec![
        limit("w", "t", LimitKind::Window { amount: 500, seconds: 60 }),
        limit("s", "t/a", LimitKind::Total { amount: 2_000 }),
        limit("e", "t/a/x", LimitKind::Each { least: 5, most: 200 }),
        limit("c", "t/b", LimitKind::Calendar { amount: 900, unit: Unit::Day, zone: Zone::default() }),
        limit("v", "t/b", LimitKind::Velocity { count: 9, seconds: 60 }),
        limit("o", "t", LimitKind::Occurrences { count: 60, unit: None, zone: Zone::default() }),
        limit("l", "t/a/x", LimitKind::Deny { field: Field::Category, values }),
        limit("p", "t/b", LimitKind::Approval { above: 150, seconds: 30, four_eyes: true }),
        limit("shadow", "t", LimitKind::Window { amount: 300, seconds: 10 }),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    let id = || (1_u128..40).prop_map(|id| Digest(id.to_be_bytes()));
    let amount = || 1_i64..400;
    let authorize = (id(), prop::option::of(id()), 0_usize..4, amount(), 1_i64..90_000, any::<bool>(), any::<bool>());
    let record = (prop::option::of(id()), 0_usize..4, 1_i64..40);
    prop_oneof![
        8 => authorize.prop_map(|(id, key, path, amount, ttl_ms, capture, asks)| {
            let consent = asks.then_some((Digest([1; 16]), Purpose::Marketing));
            let category = asks.then(|| "ads".into());
            let request = key.map(|_| Digest([u8::try_from(amount % 3 + 1).unwrap(); 16]));
            let least = Authorize::of(id, PATHS[path], amount, ttl_ms);
            Command::Authorize(Authorize { key, request, consent, category, by: Some(Digest([3; 16])), capture, ..least })
        }),
        3 => (id(), prop::option::of(amount())).prop_map(|(id, amount)| Command::Capture { id, amount }),
        2 => id().prop_map(|id| Command::Void { id }),
        2 => (id(), amount()).prop_map(|(id, amount)| Command::Increase { id, amount }),
        2 => (id(), amount()).prop_map(|(id, amount)| Command::Refund { id, amount }),
        1 => record.prop_map(|(id, path, amount)| {
            let (path, key) = (PATHS[path].into(), None);
            Command::Record(Record { id, key, request: None, path, amount, category: None, payee: None })
        }),
        2 => (id(), 3_u8..5).prop_map(|(id, by)| Command::Approve { id, by: Digest([by; 16]) }),
        1 => id().prop_map(|id| Command::Reject { id, by: Digest([4; 16]) }),
        1 => (0_usize..4, any::<bool>()).prop_map(|(path, stops)| {
            let path = PATHS[path].into();
            if stops { Command::Stop { path } } else { Command::Resume { path } }
        }),
        1 => any::<bool>().prop_map(|granted| {
            Command::Consent { subject: Digest([1; 16]), purpose: Purpose::Marketing, granted }
        }),
        1 => (0_usize..4).prop_map(|path| Command::Check { path: PATHS[path].into() }),
        1 => (1_i64..9).prop_map(|position| Command::Note { from: Some((Digest([2; 16]), position)) }),
        1 => (0_usize..9).prop_map(|limit| limits().swap_remove(limit)),
        1 => (0_usize..9).prop_map(|limit| match limits().swap_remove(limit) {
            Command::Limit { id, .. } => Command::RemoveLimit { id },
            other => other,
        }),
    ]
}

fn history() -> impl Strategy<Value = Vec<(i64, Command)>> {
    prop::collection::vec((prop_oneof![0_i64..50, 0_i64..70_000], command()), 1..120)
}

/// Twenty authorizations a tenant, so that histories reach the bound.
fn state() -> State {
    let mut state = State::new(Bounds { authorizations_per_tenant: 20, ..Bounds::default() });
    for limit in limits() {
        assert_eq!(state.apply(&limit, START).outcome, Outcome::Defined);
    }
    state
}

fn standings(state: &mut State) -> Vec<kiki_spend::Standing> {
    PATHS.iter().flat_map(|path| state.standings(path, 1)).collect()
}

proptest! {
    #[test]
    fn no_limit_is_ever_exceeded_by_an_authorization(history in history()) {
        let mut state = state();
        let mut at = START;
        for (later, command) in history {
            at += later;
            let before: Vec<_> = standings(&mut state).into_iter().filter_map(|s| Some((s.limit, s.room?))).collect();
            let outcome = state.apply(&command, at).outcome;
            for standing in standings(&mut state) {
                let Some(room) = standing.room else { continue };
                prop_assert!(room.held >= 0 && room.used >= 0, "{command:?}: {standing:?}");
                let is_over = room.used + room.held > room.most.into();
                // Recorded money is gone already, and a limit may be defined lower than what counts.
                let was = before.iter().find(|(limit, _)| *limit == standing.limit).map(|(_, room)| room.used + room.held);
                let grew = was.is_some_and(|was| room.used + room.held > was);
                let may = standing.is_shadow || matches!(command, Command::Record(_) | Command::Limit { .. });
                prop_assert!(!is_over || !grew || may, "{command:?} {outcome:?}: {standing:?}");
            }
        }
    }

    #[test]
    fn a_state_from_a_snapshot_goes_on_as_the_one_it_was_made_of(history in history(), at_step in 0_usize..120) {
        let folder = tempfile::tempdir().unwrap();
        let mut live = state();
        let mut restored: Option<State> = None;
        let mut at = START;
        for (step, (later, command)) in history.into_iter().enumerate() {
            if step == at_step {
                snapshot::write(folder.path(), 7, LAST, &live).unwrap();
                let bounds = Bounds { authorizations_per_tenant: 20, ..Bounds::default() };
                let (entries, state) = snapshot::newest(folder.path(), bounds, |_, last| last == LAST).unwrap().unwrap();
                prop_assert_eq!(entries, 7);
                restored = Some(state);
            }
            at += later;
            let answer = live.apply(&command, at);
            if let Some(restored) = &mut restored {
                prop_assert_eq!(restored.apply(&command, at), answer);
                prop_assert_eq!(standings(restored), standings(&mut live));
            }
        }
    }

    #[test]
    fn all_holds_end_and_leave_nothing_held(history in history()) {
        let mut state = state();
        let mut at = START;
        for (later, command) in history {
            at += later;
            state.apply(&command, at);
        }
        state.advance(at + 90_000);
        prop_assert!(standings(&mut state).iter().all(|standing| standing.room.is_none_or(|room| room.held == 0)));
    }

    #[test]
    fn looking_at_the_state_changes_no_answer(history in history()) {
        let (mut looked_at, mut alone) = (state(), state());
        let mut at = START;
        for (later, command) in history {
            looked_at.advance(at + later / 2);
            standings(&mut looked_at);
            at += later;
            prop_assert_eq!(looked_at.apply(&command, at), alone.apply(&command, at));
        }
    }
}

fn authorize(n: u8, amount: i64) -> Command {
    let (key, request) = (Some(Digest([n; 16])), Some(Digest([u8::try_from(amount).unwrap(); 16])));
    Command::Authorize(Authorize { key, request, ..Authorize::of(Digest([n; 16]), "t", amount, 1000) })
}

#[test]
fn without_room_for_its_key_new_work_is_refused_and_old_keys_still_protect() {
    let mut state = State::new(Bounds { authorizations_per_tenant: 2, ..Bounds::default() });
    let answer = |state: &mut State, n, at| state.apply(&authorize(n, 1), at).outcome;
    assert_eq!(answer(&mut state, 1, START), Outcome::Held);
    assert_eq!(answer(&mut state, 2, START), Outcome::Held);
    assert!(matches!(answer(&mut state, 3, START), Outcome::Exhausted { .. }));
    assert_eq!(answer(&mut state, 1, START), Outcome::Held, "a repeat needs no room");
    let day = 24 * 3600 * 1000;
    assert!(
        matches!(answer(&mut state, 3, START + day), Outcome::Exhausted { .. }),
        "a hold's key lives a day after its end"
    );
    assert_eq!(answer(&mut state, 3, START + day + 1000), Outcome::Held);
    assert_eq!(state.apply(&authorize(2, 9), START + day + 1000).outcome, Outcome::Conflict, "only the oldest went");
}

#[test]
fn what_no_repeat_can_ask_for_makes_room_at_once() {
    let mut state = State::new(Bounds { authorizations_per_tenant: 2, ..Bounds::default() });
    let keyless = |n: u8| match authorize(n, 1) {
        Command::Authorize(request) => Command::Authorize(Authorize { key: None, ..request }),
        other => other,
    };
    for n in 1..=9 {
        assert_eq!(state.apply(&keyless(n), START).outcome, Outcome::Held, "{n}");
        assert_eq!(state.apply(&Command::Void { id: Digest([n; 16]) }, START).outcome, Outcome::Voided, "{n}");
    }
}

#[test]
fn a_snapshot_of_another_log_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    snapshot::write(folder.path(), 3, LAST, &state()).unwrap();
    assert!(snapshot::newest(folder.path(), Bounds::default(), |_, last| last != LAST).unwrap().is_none());
}

#[test]
fn a_snapshot_with_a_flipped_byte_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = state();
    snapshot::write(folder.path(), 3, LAST, &state).unwrap();
    state.apply(&authorize(1, 1), START);
    snapshot::write(folder.path(), 4, LAST, &state).unwrap();
    let newest = folder.path().join(format!("{:020}.snap", 4));
    let whole = std::fs::read(&newest).unwrap();
    for place in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        std::fs::write(&newest, bytes).unwrap();
        assert_eq!(
            snapshot::newest(folder.path(), Bounds::default(), |_, _| true).unwrap().unwrap().0,
            3,
            "byte {place}"
        );
    }
}
