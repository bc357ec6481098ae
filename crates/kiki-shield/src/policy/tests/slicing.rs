//! Leaving rules out by scope and guard, against the engine asked about every rule.

use std::collections::HashSet;
use std::str::FromStr as _;

use cedar_policy::PolicySet;
use proptest::prelude::*;
use proptest::sample::select;

use super::guard::Guard;
use super::*;

/// Parts of conditions; some may fail when they are evaluated, some cannot be seen by a guard.
const PARTS: &[&str] = &[
    "context.amount.greaterThan(decimal(\"1.5\"))",
    "context.amount.lessThan(decimal(\"1.50\"))",
    "decimal(\"2.0\").lessThanOrEqual(context.amount)",
    "context.amount.greaterThanOrEqual(decimal(\"-0.5\"))",
    "context.amount == decimal(\"2.0\")",
    "context.amount_micros >= 1500000",
    "1500000 > context.amount_micros",
    "context.amount_micros != -1",
    "context.amount_micros + 9223372036854775000 > 0",
    "context.amount_micros * 4 == 6000000",
    "context.account like \"growth/*\"",
    "context.account like \"*t*/e*\"",
    "context.account like \"growth\"",
    "context.account == \"growth/eu\"",
    "\"growth\" == context.account",
    "context.within.contains(\"growth\")",
    "context.within.containsAny([\"growth\", \"trading\"])",
    "context has category",
    "(context has category && context.category == \"ads\")",
    "(context has category && context.category != \"ads\")",
    "(context has category && [\"ads\", \"email\"].contains(context.category))",
    "(context has risk && context.risk > 50)",
    "(context has risk && 50 >= context.risk)",
    "(if context has risk then context.risk < 20 else false)",
    "(context has payee && context.payee like \"m*\")",
    "context.time.hour < 8",
    "context.time.hour >= 20",
    "context.time.weekday == 1",
    "context.time.minute_of_day < 500",
    "context.time.epoch_seconds > 1767614400",
    "context.currency == \"EUR\"",
    "context.actor == \"a2\"",
    "principal == Agent::\"a1\"",
    "resource == Target::\"t1\"",
    "principal is Agent",
];

fn condition() -> impl Strategy<Value = String> {
    let part = select(PARTS).prop_map(str::to_owned);
    part.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} && {right})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left} || {right})")),
            inner.prop_map(|inner| format!("!({inner})")),
        ]
    })
}

fn rule() -> impl Strategy<Value = String> {
    let principals = [
        "principal",
        "principal is Agent",
        "principal is Human",
        "principal == Agent::\"a1\"",
        "principal == Human::\"a1\"",
        "principal in Agent::\"a2\"",
        "principal is Agent in Agent::\"a1\"",
    ];
    let actions = [
        "action",
        "action == Action::\"read\"",
        "action in [Action::\"write\", Action::\"execute\"]",
        "action in Action::\"execute\"",
        "action == Action::\"execute\"",
    ];
    let resources = [
        "resource",
        "resource == Target::\"t1\"",
        "resource == Target::\"t2\"",
        "resource is Target",
        "resource in Target::\"t1\"",
    ];
    let effects = [
        "permit",
        "forbid",
        "@verdict(\"ask\") forbid",
        "@verdict(\"degrade\") @amount(\"1.2\") forbid",
        "@verdict(\"degrade\") @mode(\"paper\") forbid",
    ];
    let clauses = proptest::collection::vec((prop::bool::ANY, condition()), 0..3);
    let parts = (
        select(effects.to_vec()),
        select(principals.to_vec()),
        select(actions.to_vec()),
        select(resources.to_vec()),
        clauses,
    );
    parts.prop_map(|(effect, principal, action, resource, clauses)| {
        let keyword = |is_when| if is_when { "when" } else { "unless" };
        let clauses: String =
            clauses.into_iter().map(|(is_when, body)| format!(" {} {{ {body} }}", keyword(is_when))).collect();
        format!("{effect}({principal}, {action}, {resource}){clauses};")
    })
}

fn request() -> impl Strategy<Value = PolicyRequest<'static>> {
    let who = (select(request::ACTORS.to_vec()), select(vec!["a1", "a2", "b"]));
    let what = (select(Action::ALL.to_vec()), select(vec!["t1", "t2", ""]));
    let account = select(vec!["", "growth", "growth/eu", "growth/eu/ads", "trading"]);
    let optional = |values: &[&'static str]| proptest::option::of(select(values.to_vec()));
    let money = (
        select(vec![0, 1, 1_500_000, 1_500_001, 2_000_000, -400_000, 9_000_000_000_000_000_000, i64::MAX, i64::MIN]),
        select(vec!["USD", "EUR"]),
        proptest::option::of(select(vec![0_u8, 20, 50, 51, 100])),
    );
    let at = select(vec![NOON, UnixMillis(0), UnixMillis(1_767_650_400_000), UnixMillis(-1)]);
    let names = (optional(&["ads", "email", "sms"]), optional(&["meta", "x"]));
    (who, what, account, names, money, at).prop_map(
        |((actor, actor_name), (action, target), account, (category, payee), (amount_micros, currency, risk), at)| {
            PolicyRequest {
                actor,
                actor_name,
                action,
                target,
                account,
                category,
                payee,
                amount_micros,
                currency,
                risk,
                at,
            }
        },
    )
}

/// Asks the engine about all rules of each set at once, once for the permits and once for the others.
fn unsliced(policy: &Policy, request: &PolicyRequest<'_>) -> Judgement {
    let engine = policy.engine.as_ref().unwrap();
    let asked = engine.vocabulary.request(&Facts::of(request).unwrap()).unwrap();
    let mut fired = Vec::new();
    for (set, (_, text)) in policy.texts.iter().enumerate() {
        let all = PolicySet::from_str(text).unwrap();
        let (mut applied, mut failed) = (HashSet::new(), HashSet::new());
        for effect in [cedar_policy::Effect::Permit, cedar_policy::Effect::Forbid] {
            let of_effect = all.policies().filter(|policy| policy.effect() == effect);
            let some = PolicySet::from_policies(of_effect.map(|one| {
                let id = cedar_policy::PolicyId::new(one.annotation("id").unwrap());
                one.new_id(id)
            }));
            let response = engine.authorizer.is_authorized(&asked, &some.unwrap(), &engine.entities);
            applied.extend(response.diagnostics().reason().map(ToString::to_string));
            failed.extend(response.diagnostics().errors().map(|error| {
                let cedar_policy::AuthorizationError::PolicyEvaluationError(inner) = error;
                (inner.policy_id().to_string(), error.to_string())
            }));
        }
        for rule in policy.rules.iter().filter(|rule| rule.set == set) {
            let error = failed.iter().find(|(id, _)| **id == *rule.id).map(|(_, error)| error.clone());
            if error.is_some() || applied.contains(&*rule.id) {
                fired.push(rule.fires(error));
            }
        }
    }
    judgement::count(&policy.names, &fired, request.amount_micros)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn what_is_left_out_changes_no_judgement(
        rules in proptest::collection::vec(rule(), 1..16),
        requests in proptest::collection::vec(request(), 1..64),
    ) {
        // A rule that can never apply is refused; the others of its policy are still worth asking.
        let schema = Schema::from_cedarschema_str(SCHEMA).unwrap().0;
        let validator = Validator::new(schema);
        let stands = |(at, text): (usize, String)| {
            let text = format!("@id(\"r{at}\") {text}\n");
            rule::read(&validator, 0, "s", &text).is_ok().then_some(text)
        };
        let rules: Vec<String> = rules.into_iter().enumerate().filter_map(stands).collect();
        let (first, second) = rules.split_at(rules.len() / 2);
        prop_assume!(!rules.is_empty());
        let texts = [("a", first.concat()), ("b", second.concat())];
        let sets = texts.iter().filter(|(_, text)| !text.is_empty()).map(|(set, text)| (*set, text.as_str()));
        let policy = policy(&sets.collect::<Vec<_>>());
        for request in requests {
            prop_assert_eq!(policy.decide(&request), unsliced(&policy, &request), "{:?}\n{:?}", request, rules);
        }
    }
}

#[test]
fn a_guard_sees_the_comparisons_that_rules_are_made_of() {
    for part in PARTS
        .iter()
        .filter(|part| !part.contains('+') && !part.contains('*') && !part.contains("like") && !part.contains("if "))
    {
        let text =
            format!("@id(\"a\") forbid(principal, action, resource) when {{ {part} && context.amount_micros > 7 }};");
        let policy = policy(&[("a", &text)]);
        let facts = asked(7);
        assert_eq!(
            policy.rules[0].guard.holds(&Facts::of(&facts).unwrap()),
            Some(false),
            "{part}: {:?}",
            policy.rules[0].guard
        );
        assert_ne!(policy.rules[0].guard, Guard::Opaque);
    }
}
