//! The governor beside the reference as a state machine: a history that fails is shortened to what it fails by.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use kiki_spend::{Bounds, State};
use proptest::prelude::*;
use proptest::strategy::Just;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};
use support::compare::{accepted, check_answer, check_sums, told};
use support::reference::{Bar, Channel, Command, Gone, Kind, Outcome, Reference, Request, Text, Unit, Zone};

const START: i64 = 1_700_000_000_000;
const PATHS: [Text; 5] = ["t", "t/a", "t/a/x", "t/b", "t/b/z"];

/// Six limits of different kinds, whose amounts change and which go in and out of shadow.
fn limit(which: usize, amount: i64, shadow: bool) -> Command {
    let count = u32::try_from(amount / 10).unwrap();
    let (id, path, kind) = match which {
        0 => ("l0", "t", Kind::Window { amount, seconds: 60 }),
        1 => ("l1", "t/a", Kind::Total { amount: amount * 5 }),
        2 => ("l2", "t/b", Kind::Calendar { amount, unit: Unit::Day, zone: Zone::Tokyo }),
        3 => ("l3", "t", Kind::Velocity { count, seconds: 2 }),
        4 => ("l4", "t/b", Kind::Approval { above: amount / 3, seconds: 30, four_eyes: true }),
        _ => ("l5", "t/a/x", Kind::Each { least: 2, most: amount }),
    };
    Command::Limit { id, path, kind, shadow }
}

#[derive(Clone, Debug, Default)]
struct Model {
    reference: Reference,
    at: i64,
    /// Of the last command, and the account whose money it newly took.
    outcome: Option<Outcome>,
    taken: Option<Text>,
}

#[derive(Clone, Debug)]
struct Step {
    later: i64,
    command: Command,
}

fn request() -> impl Strategy<Value = Command> {
    let amount = prop_oneof![3 => 1_i64..40, 1 => 1_i64..100];
    let ttl_ms = prop_oneof![Just(500), 1_i64..60_000];
    let names = (1_u32..12, any::<bool>(), 0..PATHS.len(), prop::option::of(1_u32..3));
    (names, amount, ttl_ms, prop::option::weighted(0.2, 1_u32..3), prop::bool::weighted(0.2)).prop_map(
        |((id, has_key, path, by), amount, ttl_ms, subject, capture)| {
            Command::Authorize(Request {
                id,
                key: has_key.then_some(id),
                path: PATHS[path],
                amount,
                ttl_ms,
                consent: subject.map(|subject| (subject, true)),
                channel: by.map(|_| Channel::Email),
                category: None,
                payee: None,
                by,
                policy: None,
                capture,
            })
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    let id = || 1_u32..12;
    let amount = || 1_i64..100;
    let change_key = || prop::option::of(1_u32..4);
    let path = || (0..PATHS.len()).prop_map(|path| PATHS[path]);
    prop_oneof![
        8 => request(),
        4 => (id(), prop::option::of(amount())).prop_map(|(id, amount)| Command::Capture { id, amount }),
        2 => id().prop_map(|id| Command::Void { id }),
        2 => (id(), amount(), change_key()).prop_map(|(id, amount, key)| Command::Increase { id, amount, key }),
        2 => (id(), amount(), change_key()).prop_map(|(id, amount, key)| Command::Refund { id, amount, key }),
        1 => (prop::option::of(id()), path(), 1_i64..30).prop_map(|(id, path, amount)| {
            Command::Record(Gone { id, key: id, path, amount, category: None, payee: None })
        }),
        2 => (id(), 1_u32..3).prop_map(|(id, by)| Command::Approve { id, by }),
        1 => id().prop_map(|id| Command::Reject { id, by: 1 }),
        1 => (path(), any::<bool>()).prop_map(|(path, stops)| {
            if stops { Command::Stop { path } } else { Command::Resume { path } }
        }),
        2 => (1_u32..3, any::<bool>(), any::<bool>(), prop::option::weighted(0.3, START..START + 60_000)).prop_map(
            |(subject, granted, is_mail, until)| {
                let channel = is_mail.then_some(Channel::Email);
                Command::Consent { subject, purpose: true, granted, channel, until }
            }
        ),
        1 => (1_u32..3, any::<bool>())
            .prop_map(|(subject, set)| Command::Bar { subject, bar: Bar::Objected, set }),
        1 => (1_u32..3).prop_map(|subject| Command::Forget { subjects: vec![subject] }),
        1 => path().prop_map(|path| Command::Check { path }),
        1 => (0_usize..6, 20_i64..200, any::<bool>())
            .prop_map(|(which, amount, shadow)| limit(which, amount, shadow)),
    ]
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        Just(Self { at: START, ..Self::default() }).boxed()
    }

    fn transitions(model: &Self) -> BoxedStrategy<Step> {
        let is_limited = model.reference.standings().next().is_some();
        if !is_limited {
            let limit = (0_usize..4, 50_i64..200).prop_map(|(which, amount)| limit(which, amount, false));
            return limit.prop_map(|command| Step { later: 0, command }).boxed();
        }
        let later = prop_oneof![4 => Just(0), 4 => 0_i64..300, 1 => 0_i64..70_000, 1 => -5_000_i64..0];
        (later, command()).prop_map(|(later, command)| Step { later, command }).boxed()
    }

    fn apply(mut model: Self, step: &Step) -> Self {
        model.at += step.later;
        let before = model.reference.seen();
        let outcome = model.reference.apply(model.at, &step.command);
        model.taken = accepted(&step.command, &outcome).filter(|_| model.reference.seen() > before);
        model.outcome = Some(outcome);
        model
    }
}

struct Governor;

impl StateMachineTest for Governor {
    type SystemUnderTest = State;
    type Reference = Model;

    fn init_test(_: &Model) -> State {
        State::new(Bounds::default())
    }

    fn apply(mut state: State, model: &Model, step: Step) -> State {
        let applied = state.apply(&told(&step.command), model.at);
        let expected = model.outcome.as_ref().unwrap();
        check_answer(&applied, expected, &model.reference)
            .and_then(|()| check_sums(&mut state, &model.reference, model.taken))
            .unwrap_or_else(|problem| panic!("{:?}: {problem}", step.command));
        state
    }
}

prop_state_machine! {
    #[test]
    fn any_history_is_answered_as_the_reference_answers_it(sequential 1..80 => Governor);
}
