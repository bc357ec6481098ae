//! How long one decision of a policy takes, at three numbers of rules.
//!
//! Two policies of each size. In the mixed one a rule names a kind of actor, one actor, an action or a target about as
//! often as not; in the unscoped one every rule is for every request, so that nothing can be left out by scope. All have
//! conditions on amount, category, time and risk. Requests are random, and each is decided by itself, as in a service.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a benchmark fails by panicking and tells by printing"
)]

use std::fs::OpenOptions;
use std::hint::black_box;
use std::io::Write as _;
use std::time::Instant;

use kiki_shield::policy::{Action, Policy, PolicyRequest};
use kiki_types::{ActorKind, UnixMillis};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};

/// More rules of this length than the last have more bytes than a policy may.
const SIZES: [usize; 3] = [100, 1_000, 4_000];
const DECISIONS: usize = 20_000;
const WARM_UP: usize = 2_000;
const RULES_IN_A_SET: usize = 250;

const CATEGORIES: [&str; 6] = ["ads", "email", "sms", "data", "compute", "equities"];
const ACCOUNTS: [&str; 6] = ["growth", "growth/eu", "growth/eu/ads", "trading", "trading/equities", "ops"];

fn main() {
    for (what, is_scoped) in [("mixed scopes", true), ("no scopes", false)] {
        for size in SIZES {
            measure(what, size, is_scoped);
        }
    }
}

fn measure(what: &str, size: usize, is_scoped: bool) {
    let mut random = StdRng::seed_from_u64(20_260_101);
    let policy = policy(&mut random, size, is_scoped);
    let names: Vec<String> = (0..50).map(|at| format!("agent-{at}")).collect();
    let targets: Vec<String> = (0..200).map(|at| format!("target-{at}")).collect();
    let mut nanoseconds = Vec::with_capacity(DECISIONS);
    let mut verdicts = [0_usize; 4];
    for round in 0..WARM_UP + DECISIONS {
        let request = request(&mut random, &names, &targets);
        let begin = Instant::now();
        let judgement = black_box(policy.decide(black_box(&request)));
        let took = begin.elapsed();
        if round >= WARM_UP {
            nanoseconds.push(u32::try_from(took.as_nanos()).unwrap());
            verdicts[judgement.verdict as usize] += 1;
        }
    }
    nanoseconds.sort_unstable();
    println!("{what}, {size} rules: allow, degrade, ask, deny {verdicts:?}");
    for (name, at) in [("p50", DECISIONS / 2), ("p99", DECISIONS * 99 / 100)] {
        record(&json!({
            "what": format!("policy, one decision, {what}, {name}"),
            "size": format!("{size} rules"),
            "figure": f64::from(nanoseconds[at]) / 1e3,
            "unit": "µs",
        }));
    }
}

fn record(row: &Value) {
    println!("{row}");
    if let Some(folder) = std::env::var_os("KIKI_BENCH_DIR") {
        let path = std::path::Path::new(&folder).join("policy.jsonl");
        let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{row}").unwrap();
    }
}

fn policy(random: &mut StdRng, size: usize, is_scoped: bool) -> Policy {
    let sets = size.div_ceil(RULES_IN_A_SET);
    let mut texts: Vec<(String, String)> = (0..sets).map(|set| (format!("set-{set:02}"), String::new())).collect();
    texts[0].1.push_str("@id(\"base\") permit(principal, action, resource);\n");
    for at in 1..size {
        texts[at % sets].1.push_str(&rule(random, at, is_scoped));
    }
    Policy::from_texts(texts).unwrap()
}

fn rule(random: &mut StdRng, at: usize, is_scoped: bool) -> String {
    let actions = ["read", "write", "execute", "mutate"];
    let one_in = |random: &mut StdRng, count| is_scoped && random.random_range(0..count) == 0;
    let principal = match one_in(random, 2) {
        false if is_scoped => format!("principal == Agent::\"agent-{}\"", random.random_range(0..50)),
        true => format!("principal is {}", ["Human", "Agent", "System"].choose(random).unwrap()),
        false => "principal".to_owned(),
    };
    let action = if one_in(random, 2) || is_scoped && at.is_multiple_of(4) {
        format!("action == Action::\"{}\"", actions.choose(random).unwrap())
    } else {
        "action".to_owned()
    };
    let resource = if one_in(random, 2) {
        format!("resource == Target::\"target-{}\"", random.random_range(0..200))
    } else {
        "resource".to_owned()
    };
    let effect = ["permit", "forbid", "@verdict(\"ask\") forbid", "@verdict(\"degrade\") @amount(\"20.00\") forbid"];
    let (effect, first, second) = (effect.choose(random).unwrap(), condition(random), condition(random));
    format!(
        "@id(\"r{at}\") @reason(\"rule {at}\") {effect}({principal}, {action}, {resource}) when {{ {first} && {second} }};\n"
    )
}

fn condition(random: &mut StdRng) -> String {
    match random.random_range(0..6) {
        0 => format!("context.amount.greaterThan(decimal(\"{}.00\"))", random.random_range(100..5_000)),
        1 => format!("context has category && context.category == \"{}\"", CATEGORIES.choose(random).unwrap()),
        2 => format!("context.time.hour < {}", random.random_range(1..8)),
        3 => format!("context has risk && context.risk > {}", random.random_range(50..100)),
        4 => format!("context.within.contains(\"{}\")", ACCOUNTS.choose(random).unwrap()),
        _ => format!("context.account like \"{}/*\"", ACCOUNTS.choose(random).unwrap()),
    }
}

fn request<'a>(random: &mut StdRng, names: &'a [String], targets: &'a [String]) -> PolicyRequest<'a> {
    PolicyRequest {
        actor: *[ActorKind::Human, ActorKind::Agent, ActorKind::Agent, ActorKind::System].choose(random).unwrap(),
        actor_name: names.choose(random).unwrap(),
        action: *Action::ALL.choose(random).unwrap(),
        target: targets.choose(random).unwrap(),
        account: ACCOUNTS.choose(random).unwrap(),
        category: CATEGORIES.choose(random).copied().filter(|_| random.random_bool(0.8)),
        payee: None,
        amount_micros: random.random_range(10_000..6_000_000_000),
        currency: "USD",
        risk: random.random_bool(0.7).then(|| random.random_range(0..=100)),
        at: UnixMillis(1_767_225_600_000 + random.random_range(0..31_536_000_000)),
    }
}
