use kiki_audit::Entry;
use serde_json::json;

use super::*;
use crate::kind::LimitKind;
use crate::state::Bounds;

const START: i64 = 1_700_000_000_000;

/// A log that is being made: the commands as they are decided, in order.
struct History {
    state: State,
    entries: Vec<Entry>,
    now: i64,
}

impl History {
    fn new() -> Self {
        Self { state: State::new(Bounds::default()), entries: Vec::new(), now: START }
    }

    fn then(&mut self, after_ms: i64, command: &Command) -> Outcome {
        self.now += after_ms;
        let applied = self.state.apply(command, self.now);
        if applied.is_new {
            let body = json!({"at": self.now, "cmd": command, "out": applied.outcome, "notices": applied.notices});
            let entry = json!({
                "id": "00000000-0000-7000-8000-000000000001", "at": self.now, "tenant": "t", "level": "INFO",
                "type": "spend.authorize", "actor": "a", "action": "authorize", "resource": "r", "outcome": "ALLOWED",
                "body": body,
            });
            self.entries.push(Entry::parse(entry.to_string().as_bytes()).unwrap());
        }
        applied.outcome
    }

    fn ask(&mut self, name: &str, amount: i64) -> Outcome {
        let request = Authorize { key: Some(Digest::of(name)), request: Some(Digest::of(name)), ..held(name, amount) };
        self.then(1000, &Command::Authorize(request))
    }

    fn whatif(&self, from: i64, changes: Vec<Command>) -> Report {
        let plan = Plan { tenant: "t".to_owned(), changes, from, to: None, list: 100 };
        self.planned(plan)
    }

    fn planned(&self, plan: Plan) -> Report {
        let mut whatif = Whatif::new(State::new(Bounds::default()), plan).unwrap();
        for (index, entry) in (0..).zip(&self.entries) {
            if !whatif.entry(index, entry).unwrap() {
                break;
            }
        }
        whatif.finish().unwrap()
    }
}

fn held(name: &str, amount: i64) -> Authorize {
    Authorize::of(Digest::of(name), "t/desk", amount, 60_000)
}

fn limit(id: &str, kind: LimitKind) -> Command {
    Command::Limit { id: format!("t/{id}").as_str().into(), path: "t/desk".into(), kind, shadow: false }
}

fn shadow(command: Command) -> Command {
    let Command::Limit { id, path, kind, .. } = command else { panic!("a limit") };
    Command::Limit { id, path, kind, shadow: true }
}

fn total(amount: i64) -> Command {
    limit("total", LimitKind::Total { amount })
}

fn capture(name: &str, amount: Option<i64>) -> Command {
    Command::Capture { id: Digest::of(name), amount }
}

fn counts(report: &Report) -> [u64; 6] {
    [
        report.decisions.count,
        report.same.count,
        report.newly_denied.count,
        report.newly_allowed.count,
        report.newly_pending.count,
        report.no_longer_pending.count,
    ]
}

/// Three are captured of 100, and a fourth is denied.
fn four_of_a_hundred() -> History {
    let mut history = History::new();
    history.then(0, &total(100));
    for name in ["a", "b", "c"] {
        assert_eq!(history.ask(name, 30), Outcome::Held);
        assert_eq!(history.then(1000, &capture(name, None)), Outcome::Captured);
    }
    assert!(matches!(history.ask("d", 30), Outcome::Denied { .. }));
    history
}

#[test]
fn without_changes_every_decision_stays_as_it_was() {
    let history = four_of_a_hundred();
    let report = history.whatif(START + 1, vec![]);
    assert_eq!(counts(&report), [4, 4, 0, 0, 0, 0]);
    assert!(report.is_same() && report.changes.is_empty() && report.accounts.is_empty());
    assert_eq!(report.limits[0].log, report.limits[0].whatif);
}

#[test]
fn a_smaller_limit_denies_what_no_longer_fits_and_what_is_denied_is_not_captured() {
    let history = four_of_a_hundred();
    let report = history.whatif(START + 1, vec![total(60)]);
    assert_eq!(counts(&report), [4, 3, 1, 0, 0, 0]);
    let [change] = &report.changes[..] else { panic!("{:?}", report.changes) };
    assert_eq!((&*change.account, change.amount, change.passes_at), ("t/desk", 30, None));
    assert_eq!(*change.refused_by, ["t/total".into()]);
    let row = &report.limits[0];
    assert_eq!((row.log.refused.count, row.whatif.refused), (1, Sum { count: 2, amount: 60 }));
    assert_eq!(report.accounts[0].newly_denied, Sum { count: 1, amount: 30 });
    // Had the capture of what is denied counted, 45 would have been too much for `d`.
    assert_eq!(history.whatif(START + 1, vec![total(89)]).newly_denied.count, 1);
}

#[test]
fn what_is_newly_allowed_is_taken_as_captured_in_full() {
    let mut history = four_of_a_hundred();
    assert!(matches!(history.ask("e", 30), Outcome::Denied { .. }));
    let report = history.whatif(START + 1, vec![total(120)]);
    assert_eq!(counts(&report), [5, 4, 0, 1, 0, 0]);
    // The hold would have ended by now; captured, it counts.
    history.then(120_000, &total(100));
    assert!(matches!(history.ask("f", 30), Outcome::Denied { .. }));
    let report = history.whatif(START + 1, vec![total(120)]);
    assert_eq!(counts(&report), [6, 5, 0, 1, 0, 0]);
    assert_eq!(report.passed_over, ["t/total".into()]);
}

#[test]
fn what_was_spent_before_the_span_counts_and_decisions_before_it_do_not() {
    let history = four_of_a_hundred();
    // From after the capture of `b`.
    let report = history.whatif(START + 4001, vec![total(60)]);
    assert_eq!(counts(&report), [2, 1, 1, 0, 0, 0]);
    let plan =
        Plan { tenant: "t".into(), changes: vec![total(60)], from: START + 4001, to: Some(START + 6000), list: 0 };
    let report = history.planned(plan);
    assert_eq!((counts(&report), report.changes.len(), report.to), ([1, 0, 1, 0, 0, 0], 0, START + 6000));
}

#[test]
fn a_removed_limit_refuses_nothing_and_one_that_never_was_is_told() {
    let history = four_of_a_hundred();
    let remove = |id: &str| Command::RemoveLimit { id: id.into() };
    let report = history.whatif(START + 1, vec![remove("t/total"), remove("t/none")]);
    assert_eq!(counts(&report), [4, 3, 0, 1, 0, 0]);
    assert_eq!(report.never_there, ["t/none".into()]);
    // Defined within the span only: its definition is passed over.
    let report = history.whatif(START, vec![remove("t/total")]);
    assert_eq!((counts(&report), report.never_there.len()), ([4, 3, 0, 1, 0, 0], 0));
    assert_eq!(report.passed_over, ["t/total".into()]);
}

#[test]
fn in_shadow_a_limit_tells_what_it_would_refuse_and_changes_nothing() {
    let history = four_of_a_hundred();
    let each = limit("each", LimitKind::Each { least: 0, most: 29 });
    let report = history.whatif(START + 1, vec![shadow(each.clone())]);
    assert!(report.is_same());
    let row = report.limits.iter().find(|row| &*row.id == "t/each").unwrap();
    assert_eq!((row.log.would_refuse.count, row.whatif.would_refuse.count), (0, 4));
    let report = history.whatif(START + 1, vec![each]);
    assert_eq!((counts(&report), report.denied_by_others), ([4, 1, 3, 0, 0, 0], 1));
}

#[test]
fn what_newly_waits_is_approved_at_once_and_its_follow_ups_apply() {
    let history = four_of_a_hundred();
    let approval = limit("big", LimitKind::Approval { above: 20, seconds: 1, four_eyes: false });
    let report = history.whatif(START + 1, vec![approval.clone()]);
    assert_eq!(counts(&report), [4, 1, 0, 0, 3, 0]);

    let mut history = History::new();
    history.then(0, &approval);
    assert_eq!(history.ask("a", 30), Outcome::Pending);
    let report = history.whatif(START + 1, vec![Command::RemoveLimit { id: "t/big".into() }]);
    assert_eq!(counts(&report), [1, 0, 0, 0, 0, 1]);
}

#[test]
fn a_window_says_when_what_it_denies_would_pass() {
    let mut history = History::new();
    history.then(0, &total(1000));
    history.ask("a", 30);
    history.then(0, &capture("a", None));
    history.ask("b", 30);
    let report = history.whatif(START + 1, vec![limit("window", LimitKind::Window { amount: 50, seconds: 10 })]);
    let [change] = &report.changes[..] else { panic!("{:?}", report.changes) };
    let passes = change.passes_at.unwrap();
    assert!((START + 11_000..START + 11_020).contains(&passes), "{passes}");
}

#[test]
fn a_follow_up_for_more_than_there_is_takes_what_there_is() {
    let mut history = History::new();
    history.then(0, &total(1000));
    history.ask("a", 30);
    assert_eq!(history.then(1, &Command::Increase { id: Digest::of("a"), amount: 30, key: None }), Outcome::Held);
    history.then(1, &capture("a", Some(60)));
    history.then(1, &Command::Refund { id: Digest::of("a"), amount: 50, key: None });
    history.ask("b", 50);
    // 30 of `a` are captured and all of them come back.
    let report = history.whatif(START + 1, vec![total(50)]);
    assert_eq!(counts(&report), [3, 2, 1, 0, 0, 0]);
    assert_eq!(report.changes[0].asked, Asked::Increase);
    // Without its hold nobody would have asked for more.
    let report = history.whatif(START + 1, vec![total(20)]);
    assert_eq!((counts(&report), report.increases_without_hold), ([2, 0, 2, 0, 0, 0], 1));
}

#[test]
fn money_already_gone_counts_in_both_and_breaks_other_limits() {
    let mut history = History::new();
    history.then(0, &total(100));
    let gone =
        Record { id: None, key: None, request: None, path: "t/desk".into(), amount: 70, category: None, payee: None };
    history.then(1, &Command::Record(gone));
    let report = history.whatif(START + 1, vec![total(50)]);
    assert_eq!((report.records_over_others, report.limits[0].whatif.over), (1, Sum { count: 1, amount: 70 }));
    assert_eq!(report.decisions.count, 0);
}

#[test]
fn a_plan_that_makes_no_sense_is_refused() {
    let plan = |changes| Plan { tenant: "t".into(), changes, from: START, to: None, list: 0 };
    let refused = |changes| Whatif::new(State::new(Bounds::default()), plan(changes)).unwrap_err();
    assert!(refused(vec![Command::Stop { path: "t".into() }]).contains("only limits"));
    assert!(refused(vec![total(1), Command::RemoveLimit { id: "t/total".into() }]).contains("twice"));
    let whatif = Whatif::new(State::new(Bounds::default()), plan(vec![total(-1)])).unwrap();
    assert!(whatif.finish().unwrap_err().contains("invalid"));
}
