use std::path::PathBuf;

use kiki_types::{ActorKind, UnixMillis};

use super::*;

mod slicing;

const NOON: UnixMillis = UnixMillis(1_767_614_400_000);

fn asked(amount_micros: i64) -> PolicyRequest<'static> {
    PolicyRequest {
        actor: ActorKind::Agent,
        actor_name: "a1",
        action: Action::Execute,
        target: "t1",
        account: "growth/eu",
        category: Some("ads"),
        payee: None,
        amount_micros,
        currency: "USD",
        risk: None,
        at: NOON,
    }
}

fn policy(sets: &[(&str, &str)]) -> Policy {
    tried(sets).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

fn tried(sets: &[(&str, &str)]) -> Result<Policy, PolicyErrors> {
    Policy::from_texts(sets.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
}

/// The first mistake of a rule set called `money`.
fn mistake(text: &str) -> PolicyError {
    tried(&[("money", text)]).expect_err(text).0.remove(0)
}

const ALLOW: &str = r#"@id("all") permit(principal, action, resource);"#;

fn forbid(annotations: &str) -> String {
    format!("@id(\"no\") {annotations} forbid(principal, action, resource);")
}

#[test]
fn without_a_policy_all_is_allowed() {
    let judgement = Policy::none().decide(&asked(5));
    assert_eq!((judgement.verdict, judgement.votes.len()), (Verdict::Allow, 0));
    assert_eq!(tried(&[]).unwrap().version(), Policy::none().version());
}

#[test]
fn what_no_rule_allows_is_denied() {
    let silent = r#"@id("other") permit(principal is Human, action, resource);"#;
    let judgement = policy(&[("a", silent), ("b", silent)]).decide(&asked(5));
    assert_eq!(judgement.verdict, Verdict::Deny);
    assert_eq!(judgement.reasons().collect::<Vec<_>>(), [NO_RULE_ALLOWS]);
    assert!(judgement.votes.iter().all(|vote| vote.verdict.is_none()));
}

#[test]
fn the_most_restrictive_vote_wins_wherever_it_stands() {
    let rules = [
        (Verdict::Degrade, forbid("@verdict(\"degrade\") @amount(\"0.000001\")")),
        (Verdict::Ask, forbid("@verdict(\"ask\")")),
        (Verdict::Deny, forbid("@verdict(\"deny\")")),
        (Verdict::Deny, forbid("")),
    ];
    for (one, text) in &rules {
        assert_eq!(policy(&[("a", ALLOW), ("b", text)]).decide(&asked(5)).verdict, *one, "{text}");
        for (other, more) in &rules {
            let expected = *one.max(other);
            let judgement = policy(&[("a", text), ("b", ALLOW), ("c", more)]).decide(&asked(5));
            assert_eq!(judgement.verdict, expected, "{text} {more}");
            let votes: Vec<_> = judgement.votes.iter().map(|vote| vote.verdict.unwrap()).collect();
            assert_eq!(votes, [*one, Verdict::Allow, *other]);
        }
    }
}

#[test]
fn inside_one_set_an_ask_hides_no_deny_and_a_degrade_no_ask() {
    let text = r#"
        @id("p") permit(principal, action, resource);
        @id("d") @verdict("degrade") @amount("1") forbid(principal, action, resource);
        @id("a") @verdict("ask") @reason("big") forbid(principal, action, resource) when { context.amount_micros > 10 };
        @id("n") @reason("too big") forbid(principal, action, resource) when { context.amount_micros > 5000000 };
    "#;
    let policy = policy(&[("m", text)]);
    let told = |micros| {
        let judgement = policy.decide(&asked(micros));
        let rules = judgement.deciding_rules().collect::<Vec<_>>().join(" ");
        (judgement.verdict, rules, judgement.reasons().map(str::to_owned).collect::<String>(), judgement.amount)
    };
    assert_eq!(told(10), (Verdict::Allow, "m/p".into(), String::new(), None));
    assert_eq!(told(11), (Verdict::Ask, "m/a".into(), "big".into(), None));
    assert_eq!(told(2_000_000), (Verdict::Ask, "m/a".into(), "big".into(), Some(1_000_000)));
    assert_eq!(told(5_000_001), (Verdict::Deny, "m/n".into(), "too big".into(), None));
}

#[test]
fn an_ask_or_a_degrade_stands_in_for_no_allowance() {
    for annotations in ["@verdict(\"ask\")", "@verdict(\"degrade\") @mode(\"paper\")"] {
        let judgement = policy(&[("a", &forbid(annotations))]).decide(&asked(5));
        assert_eq!(judgement.verdict, Verdict::Deny);
        assert_eq!((judgement.amount, judgement.mode.clone()), (None, None));
        assert_eq!(judgement.reasons().collect::<Vec<_>>(), [NO_RULE_ALLOWS]);
    }
}

#[test]
fn of_several_amounts_the_smallest_counts_and_of_modes_the_first() {
    let degrade =
        |id: &str, how: &str| format!("@id(\"{id}\") @verdict(\"degrade\") {how} forbid(principal, action, resource);");
    let first = degrade("a", "@amount(\"3\")") + &degrade("b", "@mode(\"paper\") @amount(\"9\")");
    let second = degrade("c", "@mode(\"dry\")") + &degrade("d", "@amount(\"2\")");
    let policy = policy(&[("z", &second), ("m", &first), ("a", ALLOW)]);
    let judgement = policy.decide(&asked(5_000_000));
    assert_eq!((judgement.verdict, judgement.amount), (Verdict::Degrade, Some(2_000_000)));
    assert_eq!(judgement.mode.as_deref(), Some("paper"), "sets count in the order of their names");
    let rules: Vec<_> = judgement.deciding_rules().collect();
    assert_eq!(rules, ["m/a", "m/b", "z/c", "z/d"]);
    let small = policy.decide(&asked(1_000_000));
    assert_eq!((small.verdict, small.amount), (Verdict::Degrade, None), "the modes still apply");
    assert_eq!(small.deciding_rules().collect::<Vec<_>>(), ["m/b", "z/c"]);
}

#[test]
fn an_amount_that_is_small_enough_is_not_degraded() {
    let policy = policy(&[("a", ALLOW), ("b", &forbid("@verdict(\"degrade\") @amount(\"5\")"))]);
    assert_eq!(policy.decide(&asked(5_000_000)).verdict, Verdict::Allow);
    assert_eq!(policy.decide(&asked(5_000_001)).amount, Some(5_000_000));
}

#[test]
fn a_rule_that_cannot_be_evaluated_denies_and_says_so() {
    let text = r#"
        @id("p") permit(principal, action, resource);
        @id("sum") @verdict("ask") forbid(principal, action, resource) when { context.amount_micros * 4 > 100 };
    "#;
    let policy = policy(&[("m", text)]);
    assert_eq!(policy.decide(&asked(26)).verdict, Verdict::Ask);
    let judgement = policy.decide(&asked(i64::MAX));
    assert_eq!(judgement.verdict, Verdict::Deny);
    assert_eq!(judgement.deciding_rules().collect::<Vec<_>>(), ["m/sum"]);
    let reason = judgement.reasons().next().unwrap();
    assert!(reason.starts_with("rule sum cannot be evaluated: ") && reason.contains("overflow"), "{reason}");
}

#[test]
fn a_time_that_no_calendar_has_is_denied() {
    let judgement = policy(&[("m", ALLOW)]).decide(&PolicyRequest { at: UnixMillis(i64::MAX), ..asked(1) });
    assert_eq!(judgement.verdict, Verdict::Deny);
}

#[test]
fn amounts_are_compared_exactly_although_decimals_have_four_digits() {
    let above = r#"@id("p") permit(principal, action, resource);
        @id("n") forbid(principal, action, resource) when { context.amount.greaterThan(decimal("50.00")) };"#;
    let up_to = r#"@id("p") permit(principal, action, resource)
        when { context.amount.lessThanOrEqual(decimal("50.00")) };"#;
    for text in [above, up_to] {
        let policy = policy(&[("m", text)]);
        for (micros, verdict) in [
            (49_999_999, Verdict::Allow),
            (50_000_000, Verdict::Allow),
            (50_000_001, Verdict::Deny),
            (i64::MAX, Verdict::Deny),
        ] {
            assert_eq!(policy.decide(&asked(micros)).verdict, verdict, "{micros}");
        }
    }
}

#[test]
fn what_a_rule_can_ask_about_is_true() {
    let text = r#"@id("p") permit(principal == Agent::"a1", action == Action::"execute", resource == Target::"t1") when {
        context.actor == "a1" && context.target like "t*" && context.account == "growth/eu" &&
        context.within.containsAll(["growth", "growth/eu"]) && !context.within.contains("grow") &&
        context has category && context.category == "ads" && !(context has payee) &&
        context.amount == decimal("0.0001") && context.amount_micros == 5 && context.currency == "USD" &&
        context has risk && context.risk == 7 && context.time.year == 2026 && context.time.month == 1 &&
        context.time.day == 5 && context.time.weekday == 1 && context.time.hour == 12 && context.time.minute == 34 &&
        context.time.minute_of_day == 754 && context.time.epoch_seconds == 1767616440 };"#;
    let at = UnixMillis::parse_rfc3339("2026-01-05T12:34:00.5Z").unwrap();
    let request = PolicyRequest { risk: Some(7), at, ..asked(5) };
    assert_eq!(policy(&[("m", text)]).decide(&request).verdict, Verdict::Allow);
}

#[test]
fn a_mistake_is_told_with_its_place_and_what_to_do() {
    let place = |text: &str| {
        let found = mistake(text);
        (found.line, found.column, format!("{} {}", found.message, found.help.unwrap_or_default()))
    };
    let (line, column, told) = place("\n@id(\"a\")\npermit(principal, action, resource) whn { true };");
    assert_eq!((line, column), (3, 37), "{told}");
    let rule = |when: &str| format!("@id(\"a\")\npermit(principal, action, resource) when {{\n  {when} }};");
    for (when, wanted) in [
        ("context.amuont_micros > 5", "amuont_micros"),
        ("context.category == \"ads\"", "category"),
        ("context.amount_micros > \"5\"", "Long"),
        ("context.time.weekdy == 5", "weekdy"),
    ] {
        let (line, _, told) = place(&rule(when));
        assert!(line == 3 && told.contains(wanted), "{line} {told}");
    }
    for (head, wanted) in [
        ("principal is Robot, action, resource", "Robot"),
        ("principal, action == Action::\"delete\", resource", "delete"),
        ("principal, action, resource == Payee::\"x\"", "Payee"),
        ("principal == ?principal, action, resource", "slot"),
    ] {
        let (.., told) = place(&format!("@id(\"a\") permit({head});"));
        assert!(told.contains(wanted), "{told}");
    }
}

#[test]
fn annotations_are_understood_or_refused() {
    for (head, wanted) in [
        ("permit", "name"),
        ("@id(\"a b\") permit", "name"),
        ("@id(\"a\") @verdit(\"ask\") forbid", "@verdit"),
        ("@id(\"a\") @verdict(\"maybe\") forbid", "maybe"),
        ("@id(\"a\") @verdict(\"ask\") permit", "@verdict belongs to a forbid"),
        ("@id(\"a\") @verdict(\"degrade\") forbid", "to what"),
        ("@id(\"a\") @verdict(\"degrade\") @amount(\"0\") forbid", "no amount"),
        ("@id(\"a\") @verdict(\"degrade\") @amount(\"1e3\") forbid", "no amount"),
        ("@id(\"a\") @verdict(\"degrade\") @mode(\"\") forbid", "mode"),
        ("@id(\"a\") @amount(\"5\") forbid", "@amount and @mode"),
        ("@id(\"a\") @reason(\"\") forbid", "@reason"),
    ] {
        let found = mistake(&format!("// one\n  {head}(principal, action, resource);"));
        assert!(found.message.contains(wanted), "{head}: {found}");
        assert_eq!((found.line, found.column), (2, 3), "{found}");
        assert!(found.help.is_some(), "{found}");
    }
    let twice = mistake(&format!("{ALLOW}\n{ALLOW}"));
    assert!(twice.line == 2 && twice.message.contains("twice"), "{twice}");
}

#[test]
fn a_rule_that_can_never_apply_is_refused() {
    let found =
        mistake("@id(\"a\") forbid(principal, action, resource) when { context.currency == \"USD\" && false };");
    assert!(found.message.contains("impossible") || found.message.contains("always evaluates to false"), "{found}");
}

#[test]
fn every_mistake_of_every_set_is_told_at_once() {
    let bad = "@id(\"a\") permit(principal, action, resource) when { context.x == 1 };";
    let mistakes = tried(&[("one", bad), ("two", bad), ("three", ALLOW)]).unwrap_err();
    assert_eq!(mistakes.0.iter().map(|mistake| mistake.rule_set.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert!(mistakes.to_string().starts_with("one.cedar:1:"), "{mistakes}");
}

#[test]
fn a_version_tells_names_and_texts_and_not_their_order() {
    let version = |sets: &[(&str, &str)]| policy(sets).version();
    let commented = format!("{ALLOW} ");
    let one = version(&[("a", ALLOW), ("b", &commented)]);
    assert_eq!(one, version(&[("b", &commented), ("a", ALLOW)]));
    let others = [
        version(&[("a", ALLOW)]),
        version(&[("b", ALLOW), ("a", &commented)]),
        version(&[("a", &commented), ("b", &commented)]),
    ];
    assert!(others.iter().all(|other| *other != one));
    assert_eq!(
        version(&[("a", ALLOW)]).to_string(),
        "2f5e3e2716a5f021041479baea29c8e0",
        "stored versions depend on it"
    );
}

#[test]
fn texts_come_back_as_they_went_in() {
    let sets = [("b", ALLOW), ("a", ALLOW)];
    let policy = policy(&sets);
    let again = Policy::from_texts(policy.texts().to_vec()).unwrap();
    assert_eq!(again.version(), policy.version());
    assert_eq!(policy.texts()[0], ("a".to_owned(), ALLOW.to_owned()));
}

#[test]
fn the_bounds_hold() {
    let names: Vec<String> = (0..=RULE_SETS_MAX).map(|at| format!("s{at}")).collect();
    let sets: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), ALLOW)).collect();
    assert!(tried(&sets[1..]).is_ok());
    assert!(tried(&sets).unwrap_err().to_string().contains("64 rule sets"));
    let long = format!("//{}", "x".repeat(TEXT_BYTES_MAX));
    assert!(tried(&[("a", &long)]).unwrap_err().to_string().contains("1048576 bytes"));
    assert!(tried(&[("a b", ALLOW)]).unwrap_err().to_string().contains("cannot name"));
    assert!(tried(&[("a", ALLOW), ("a", ALLOW)]).unwrap_err().to_string().contains("two rule sets"));
    assert!(
        tried(&[("a", ALLOW), ("b", "// none")]).unwrap_err().to_string().contains("b: the rule set holds no rule")
    );
    assert!(tried(&[("limits", ALLOW)]).unwrap_err().to_string().contains("another vote's"));
    let many: String =
        (0..=RULES_MAX).map(|at| format!("@id(\"r{at}\")permit(principal,action,resource);\n")).collect();
    assert!(tried(&[("a", &many)]).unwrap_err().to_string().contains("10000 rules"));
}

#[test]
fn a_rule_that_nests_deeply_is_refused_or_evaluated_and_breaks_nothing() {
    let wrapped = |inner: String| format!("@id(\"a\") permit(principal, action, resource) when {{ {inner} }};");
    for count in [15, 45, 95, 1_000, 100_000] {
        for text in [
            format!("context.amount_micros < {}1", "1 + ".repeat(count)),
            format!("{}true{}", "(".repeat(count), ")".repeat(count)),
            format!("{}context.currency == \"USD\"{}", "!(".repeat(count), ")".repeat(count)),
            format!("{}true{}", "if true then ".repeat(count), " else false".repeat(count)),
            format!("context.currency == \"USD\"{}", " && context.currency == \"USD\"".repeat(count)),
            format!("[{}1{}].contains(1)", "[".repeat(count), "]".repeat(count)),
        ] {
            if let Ok(policy) = tried(&[("a", &wrapped(text))]) {
                let _ = policy.decide(&asked(5));
            }
        }
    }
}

#[test]
fn a_folder_is_read_as_rule_sets() {
    let folder = tempfile::tempdir().unwrap();
    assert!(Policy::load(folder.path()).unwrap_err().to_string().contains("no rule set"));
    std::fs::write(folder.path().join("a.cedar"), ALLOW).unwrap();
    std::fs::write(folder.path().join("notes.txt"), "no rules").unwrap();
    let policy = Policy::load(folder.path()).unwrap();
    assert_eq!(policy.texts(), [("a".to_owned(), ALLOW.to_owned())]);
    assert_eq!(Policy::load(&folder.path().join("a.cedar")).unwrap().version(), policy.version());
    std::fs::write(folder.path().join("a.cedar"), [0xff]).unwrap();
    assert!(Policy::load(folder.path()).unwrap_err().to_string().contains("a.cedar"));
    assert!(Policy::load(&folder.path().join("none")).is_err());
}

fn examples() -> PathBuf {
    PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../../examples/policy")
}

#[test]
fn the_examples_pass_their_cases() {
    let policy = Policy::load(&examples()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let suites = cases::load(&examples()).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let mut ran = 0;
    for case in suites.iter().flat_map(|suite| &suite.cases) {
        ran += 1;
        case.run(&policy).unwrap_or_else(|failure| panic!("{}: {failure:#?}", case.name));
    }
    assert!(ran > 20, "{ran}");
}

#[test]
fn a_case_that_gets_another_judgement_says_in_what() {
    let text = "[[case]]\nname = \"n\"\nrequest = { actor = \"agent\", action = \"read\", amount = \"5\" }\n\
        expect = { verdict = \"degrade\", rules = [\"a/x\"], at_most = \"2\", mode = \"dry\" }";
    let case = &cases::parse(text).unwrap()[0];
    let failure = case.run(&policy(&[("a", ALLOW)])).unwrap_err();
    let expected = [
        "verdict: expected degrade, got allow",
        "rules: expected a/x, got a/all",
        "at_most: expected 2.00, got no amount",
        "mode: expected dry, got no mode",
    ];
    assert_eq!(failure.differences, expected);
}

#[test]
fn a_case_that_is_not_understood_is_refused_by_name() {
    let with = |request: &str, expect: &str| {
        cases::parse(&format!("[[case]]\nname = \"n\"\nrequest = {{ {request} }}\nexpect = {{ {expect} }}"))
            .unwrap_err()
    };
    let fine = "actor = \"agent\", action = \"read\"";
    for (request, expect, wanted) in [
        ("action = \"read\"", "verdict = \"deny\"", "request.actor is missing"),
        ("actor = \"agent\", action = \"fly\"", "verdict = \"deny\"", "fly"),
        (&format!("{fine}, amuont = \"1\""), "verdict = \"deny\"", "amuont"),
        (&format!("{fine}, amount = \"one\""), "verdict = \"deny\"", "request.amount"),
        (&format!("{fine}, risk = 101"), "verdict = \"deny\"", "request.risk"),
        (&format!("{fine}, time = \"noon\""), "verdict = \"deny\"", "request.time"),
        (&format!("{fine}, currency = \"dollar\""), "verdict = \"deny\"", "request.currency"),
        (fine, "rules = []", "verdict"),
        (fine, "verdict = \"no\"", "no"),
    ] {
        let told = with(request, expect);
        assert!(told.contains(wanted), "{told}");
    }
}
