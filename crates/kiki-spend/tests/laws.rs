//! Laws that hold after every command of any history.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr, reason = "a test fails by panicking")]

use kiki_spend::command::{Bound, Notice, Record};
use kiki_spend::state::FOUR_EYES;
use kiki_spend::{Authorize, Bounds, Command, Digest, Field, LimitKind, Outcome, State, Unit, Zone, snapshot};
use kiki_types::{Bar, Channel, Purpose};
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
    let values: std::sync::Arc<[Box<str>]> = ["ads".into()].into();
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
    let change_key = || prop::option::of((1_u128..4).prop_map(|key| Digest(key.to_be_bytes())));
    let authorize = (id(), prop::option::of(id()), 0_usize..4, amount(), 1_i64..90_000, any::<bool>(), any::<bool>());
    let record = (prop::option::of(id()), 0_usize..4, 1_i64..40);
    prop_oneof![
        8 => authorize.prop_map(|(id, key, path, amount, ttl_ms, capture, asks)| {
            let consent = asks.then_some((Digest([1; 16]), Purpose::Marketing));
            let channel = (amount % 2 == 0).then_some(Channel::Sms);
            let category = asks.then(|| "ads".into());
            let request = key.map(|_| Digest([u8::try_from(amount % 3 + 1).unwrap(); 16]));
            let least = Authorize::of(id, PATHS[path], amount, ttl_ms);
            Command::Authorize(Authorize { key, request, consent, channel, category, by: Some(Digest([3; 16])), capture, ..least })
        }),
        3 => (id(), prop::option::of(amount())).prop_map(|(id, amount)| Command::Capture { id, amount }),
        2 => id().prop_map(|id| Command::Void { id }),
        2 => (id(), amount(), change_key()).prop_map(|(id, amount, key)| Command::Increase { id, amount, key }),
        2 => (id(), amount(), change_key()).prop_map(|(id, amount, key)| Command::Refund { id, amount, key }),
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
        2 => (any::<bool>(), any::<bool>(), prop::option::of(0_i64..200_000), prop::option::of(0_u64..60)).prop_map(
            |(granted, is_sms, later, asked)| {
                let until = later.filter(|_| granted).map(|later| START + later);
                let (subject, purpose, asked) = (Digest([1; 16]), Purpose::Marketing, asked.filter(|_| granted));
                Command::Consent { subject, purpose, granted, channel: is_sms.then_some(Channel::Sms), until, asked }
            }
        ),
        1 => any::<bool>().prop_map(|set| Command::Bar { subject: Digest([1; 16]), bar: Bar::Objected, set }),
        1 => Just(Command::Forget { subjects: [Digest([1; 16])].into() }),
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
    fn looking_ahead_of_whatever_changes_no_answer(history in history(), ahead in history(), every in 1_usize..20) {
        let (mut looking, mut plain) = (state(), state());
        let mut at = START;
        for (n, (later, command)) in history.iter().enumerate() {
            at += later;
            if n % every == 0 {
                // Now and then what comes next, else something else: places that do not fit are passed over.
                let (own, other) = (history.iter().skip(n), ahead.iter().skip(n / 2));
                let next: Vec<_> = if n % 3 == 0 { other.collect() } else { own.collect() };
                looking.look_ahead(next.into_iter().map(|(_, command)| command));
            }
            prop_assert_eq!(looking.apply(command, at), plain.apply(command, at), "{:?}", command);
            prop_assert_eq!(standings(&mut looking), standings(&mut plain));
        }
    }

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
    fn a_dry_run_answers_what_is_answered_next_at_any_bound(
        history in history(), holds in 0..4_u32, authorizations in 0..6_u32, accounts in 1..6_u32,
    ) {
        let mut state = State::new(Bounds {
            holds_per_tenant: holds,
            authorizations_per_tenant: authorizations,
            accounts_per_tenant: accounts,
            ..Bounds::default()
        });
        let mut at = START;
        for (later, command) in history {
            at += later;
            state.advance(at);
            let foreseen = match &command {
                Command::Authorize(request) => Some(state.preview(request).0),
                _ => None,
            };
            let answered = state.apply(&command, at).outcome;
            prop_assert_eq!(foreseen.unwrap_or_else(|| answered.clone()), answered);
        }
    }

    #[test]
    fn a_change_that_took_effect_takes_effect_once_whatever_happens_between(
        history in history(), between in history(), key in 50_u8..60,
    ) {
        let mut once = state();
        let mut at = START;
        for (later, command) in history {
            at += later;
            once.apply(&command, at);
        }
        let keyed = |change: &Command| match change.clone() {
            Command::Increase { id, amount, .. } => Some(Command::Increase { id, amount, key: Some(Digest([key; 16])) }),
            Command::Refund { id, amount, .. } => Some(Command::Refund { id, amount, key: Some(Digest([key; 16])) }),
            _ => None,
        };
        let mut twice = once.clone();
        // With the entry that made its authorization: its id may be another one's, once it is forgotten.
        let mut done: Vec<(Command, Outcome, Option<u64>)> = Vec::new();
        for (later, command) in between {
            at += later;
            let command = keyed(&command).unwrap_or(command);
            let applied = once.apply(&command, at);
            prop_assert_eq!(twice.apply(&command, at), applied.clone());
            if let (Command::Increase { id, .. } | Command::Refund { id, .. }, Outcome::Held | Outcome::Refunded, true) =
                (&command, &applied.outcome, applied.is_new)
            {
                let made = once.authorization(*id).and_then(|view| view.entry);
                done.push((command, applied.outcome, made));
            }
            for (change, answer, made) in &done {
                let (Command::Increase { id, .. } | Command::Refund { id, .. }) = change else { unreachable!() };
                let kept = twice.authorization(*id).map(|view| view.entry);
                if kept.is_some_and(|kept| kept != *made) {
                    continue;
                }
                let again = twice.apply(change, at);
                let answer = if kept.is_some() { answer.clone() } else { Outcome::Unknown };
                prop_assert_eq!((again.outcome, again.is_new), (answer, false), "{:?}", change);
            }
            prop_assert_eq!(standings(&mut twice), standings(&mut once));
        }
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

/// The names that refuse in an outcome, or that a record broke.
fn refusing(outcome: &Outcome) -> Vec<&str> {
    match outcome {
        Outcome::Denied { refused_by: names } | Outcome::Recorded { over: names } => {
            names.iter().map(|name| &**name).collect()
        }
        _ => Vec::new(),
    }
}

/// The limits in shadow that tell a refusal.
fn telling(notices: &[Notice]) -> Vec<&str> {
    let limits = notices.iter().filter_map(|notice| match notice {
        Notice::WouldRefuse { would_refuse } => Some(&**would_refuse),
        _ => None,
    });
    limits.collect()
}

proptest! {
    #[test]
    fn a_limit_in_shadow_tells_what_it_would_refuse_and_changes_nothing_else(
        history in history(),
        command in command(),
        which in 0_usize..9,
        rest in history(),
    ) {
        let mut before = state();
        let mut at = START;
        for (later, command) in history {
            at += later;
            before.apply(&command, at);
        }
        let limit = |is_shadow: bool| match limits().swap_remove(which) {
            Command::Limit { id, path, kind, .. } => Command::Limit { id, path, kind, shadow: is_shadow },
            other => other,
        };
        let Command::Limit { id, kind, .. } = limit(true) else { unreachable!() };
        let [(mut enforcing, enforced), (mut shadowing, shadowed)] = [false, true].map(|is_shadow| {
            let mut state = before.clone();
            state.apply(&limit(is_shadow), at);
            let applied = state.apply(&command, at);
            (state, applied)
        });
        // A check reads what remains, and what waits is not told of in the same place.
        let is_judged = matches!(command, Command::Authorize(_) | Command::Increase { .. } | Command::Record(_));
        let waits = matches!(kind, LimitKind::Approval { .. });
        let is_new = enforced.is_new && shadowed.is_new;
        if is_new && is_judged && !waits {
            let (mut refuses, mut tells) = (refusing(&enforced.outcome), telling(&shadowed.notices));
            prop_assert_eq!(refuses.contains(&&*id), tells.contains(&&*id), "{:?} {:?}", enforced, shadowed);
            refuses.retain(|name| *name != &*id);
            tells.retain(|name| *name != &*id);
            prop_assert_eq!(refuses, refusing(&shadowed.outcome));
            prop_assert_eq!(tells, telling(&enforced.notices));
        }
        if is_new && waits && matches!(command, Command::Authorize(_)) {
            let has_told = telling(&shadowed.notices).contains(&&*id);
            let is_denied = matches!(enforced.outcome, Outcome::Denied { .. });
            prop_assert!(is_denied || (enforced.outcome == Outcome::Pending) == has_told, "{enforced:?} {shadowed:?}");
        }
        // Where it says nothing, both are the same and stay so.
        if enforced == shadowed && !matches!(command, Command::Limit { .. } | Command::RemoveLimit { .. }) {
            enforcing.apply(&limit(true), at);
            shadowing.apply(&limit(true), at);
            for (later, command) in rest {
                at += later;
                prop_assert_eq!(enforcing.apply(&command, at), shadowing.apply(&command, at));
            }
        }
    }

    #[test]
    fn what_is_refused_passes_at_the_time_that_is_told_and_not_before(
        history in history(),
        path in 0_usize..4,
        amount in 1_i64..400,
    ) {
        const YEARS_MS: i64 = 1000 * 86_400_000;
        let mut state = state();
        let mut at = START;
        for (later, command) in history {
            at += later;
            state.apply(&command, at);
        }
        let request = Authorize::of(Digest([9; 16]), PATHS[path], amount, 1000);
        let standings = state.explain(&request);
        for standing in &standings {
            let refuses_at = |time| {
                let mut later = state.clone();
                later.advance(time);
                later.explain(&request).iter().any(|other| other.limit == standing.limit && other.refused)
            };
            match standing.passes_at {
                Some(time) if standing.refused => {
                    prop_assert!(time > state.now() && refuses_at(time - 1) && !refuses_at(time), "{standing:?}");
                }
                Some(time) => prop_assert!(time == state.now() && !refuses_at(time), "{standing:?}"),
                None => prop_assert!(refuses_at(state.now() + YEARS_MS), "{standing:?}"),
            }
        }
        // A dry run of the whole: denied until the last of those that refuse lets it pass.
        let is_stopped = !state.stops("t", None, 1).is_empty();
        let refusing = standings.iter().filter(|standing| standing.refused && !standing.is_shadow);
        let last = refusing.map(|standing| standing.passes_at).try_fold(0, |last, time| Some(time?.max(last)));
        if let Some(last) = last.filter(|last| *last > 0 && !is_stopped) {
            let is_denied_at = |time| {
                let mut later = state.clone();
                later.advance(time);
                matches!(later.preview(&request).0, Outcome::Denied { .. })
            };
            prop_assert!(is_denied_at(last - 1) && !is_denied_at(last), "{standings:?}");
        }
    }
}

#[test]
fn whoever_asked_does_not_approve_under_four_eyes() {
    let mut state = state();
    let (asked, other) = (Digest([3; 16]), Digest([4; 16]));
    let mut ask = |n: u8, by| {
        let request = Authorize { by, ..Authorize::of(Digest([n; 16]), "t/b", 200, 60_000) };
        assert_eq!(state.apply(&Command::Authorize(request), START).outcome, Outcome::Pending);
    };
    ask(1, Some(asked));
    ask(2, None);
    let refused = || Outcome::Denied { refused_by: [FOUR_EYES.into()].into_iter().collect() };
    let mut approve = |n: u8, by| state.apply(&Command::Approve { id: Digest([n; 16]), by }, START).outcome;
    assert_eq!(approve(1, asked), refused());
    assert_eq!(approve(1, other), Outcome::Held);
    assert_eq!(approve(2, other), refused(), "nobody is known to be somebody else than whoever asked");
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

/// A full table keeps no bar out, so no deletion waits for room; and what is barred is refused.
#[test]
fn what_protects_people_needs_no_room() {
    let mut state = State::new(Bounds { consents: 2, revocations: 2, ..Bounds::default() });
    let person = |n: u8| Digest([n; 16]);
    let consent = |subject, granted, asked| {
        let purpose = Purpose::Marketing;
        Command::Consent { subject, purpose, granted, channel: None, until: None, asked }
    };
    let mut answer = |command: Command| state.apply(&command, START).outcome;
    assert_eq!(answer(consent(person(1), true, None)), Outcome::Granted);
    assert_eq!(answer(consent(person(2), true, None)), Outcome::Granted);
    assert_eq!(answer(consent(person(3), true, None)), Outcome::Exhausted { of: Bound::Consents });
    for n in 1..=9 {
        for bar in Bar::ALL {
            assert_eq!(answer(Command::Bar { subject: person(n), bar, set: true }), Outcome::Barred, "{n} {bar}");
        }
        assert_eq!(answer(consent(person(n), false, None)), Outcome::Revoked);
    }
    assert_eq!(answer(Command::Forget { subjects: (1..=9).map(person).collect() }), Outcome::Forgotten);
    assert_eq!(answer(consent(person(3), true, Some(7))), Outcome::Stale, "nobody knows whether she took it back");
    assert_eq!(answer(consent(person(3), true, Some(1_000))), Outcome::Granted);
    assert_eq!(answer(consent(person(3), false, Some(1_000))), Outcome::Invalid);
}
