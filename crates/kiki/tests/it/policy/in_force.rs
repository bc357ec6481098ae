//! A policy in force, as those who spend meet it.

use std::fs;
use std::path::Path;

use hyper::{Method, StatusCode};
use kiki_audit::Reader;
use serde_json::{Value, json};

use crate::harness::{Answer, Http, PATIENCE, Serving, folder, kiki, request};

/// Small sums pass, messages cost little, bonds are traded on paper, large sums are asked about, risk is refused.
const MONEY: &str = r#"
@id("all") permit(principal, action, resource);
@id("sms") @verdict("degrade") @amount("0.10") @reason("A message costs at most 0.10.")
forbid(principal, action, resource) when { context has category && context.category == "sms" };
@id("bonds") @verdict("degrade") @mode("paper")
forbid(principal, action, resource) when { context has category && context.category == "bonds" };
@id("large") @verdict("ask") forbid(principal, action, resource)
when { context.amount.greaterThan(decimal("100.00")) };
"#;
const SAFETY: &str = r#"
@id("risky") @reason("Too risky.") forbid(principal, action, resource) when { context has risk && context.risk > 50 };
@id("changes") forbid(principal, action == Action::"mutate", resource == Target::"limits");
"#;
const ALL: &str = "@id(\"all\") permit(principal, action, resource);";
const NOTHING: &str = "@id(\"none\") forbid(principal, action, resource);";

struct Shield {
    serving: Serving,
    http: Http,
}

impl Shield {
    fn start(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let settings = [("WINDOW_SECONDS", "3600"), ("MAX_BURST_BUDGET", "1000000")];
        Self { serving: Serving::shield(folder, &[&settings, variables].concat()), http: Http::new() }
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        self.http.send(request(method, &self.serving.url("shield", path), Some(&body))).await
    }

    async fn get(&self, path: &str) -> Value {
        self.http.get(&self.serving.url("shield", path)).await.json()
    }

    /// Puts rule sets in force and returns the version.
    async fn put(&self, rule_sets: Value) -> String {
        let answer = self.call(Method::PUT, "/v1/policy", json!({"rule_sets": rule_sets})).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        answer.json()["version"].as_str().unwrap().to_owned()
    }

    async fn ask(&self, body: Value) -> (u16, Value) {
        let answer = self.call(Method::POST, "/v1/authorizations", body).await;
        (answer.status.as_u16(), answer.json())
    }

    async fn intend(&self, body: Value) -> Value {
        let answer = self.call(Method::POST, "/v1/intents", body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        answer.json()
    }

    /// The entries of the log so far.
    async fn log(&self, folder: &Path) -> Vec<Value> {
        let to = self.intend(json!({"action": "read"})).await["entry"].as_u64().unwrap();
        let mut reader = Reader::open(&folder.join("data/audit"), 0, to).unwrap();
        let mut entries = Vec::new();
        while let Some(record) = reader.next_record().unwrap() {
            entries.push(serde_json::from_slice(record.bytes).unwrap());
        }
        entries
    }

    /// Waits until the health is as wanted.
    async fn is(&self, status: &str) {
        self.until(async || self.get("/health").await["status"] == status).await;
    }

    async fn until(&self, holds: impl AsyncFn() -> bool) {
        let wait = async {
            while !holds().await {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("it comes about");
    }
}

fn usd(amount: &str) -> Value {
    json!({"amount": amount, "currency": "USD"})
}

fn both() -> Value {
    json!({"money": MONEY, "safety": SAFETY})
}

#[tokio::test]
async fn a_policy_allows_degrades_asks_and_denies_and_the_log_says_which_rules_did() {
    let folder = folder();
    let shield = Shield::start(folder.path(), &[]);
    assert_eq!(shield.get("/v1/policy").await["version"], Value::Null);
    let version = shield.put(both()).await;
    assert_eq!(shield.get("/v1/policy").await["rules"], 6);

    let (status, held) = shield.ask(json!({"amount": usd("5"), "account": "growth"})).await;
    assert_eq!((status, &held["policy"]["verdict"], &held["degraded"]), (201, &json!("allow"), &Value::Null));
    assert_eq!(held["policy"]["version"], version.as_str());

    let (status, less) = shield.ask(json!({"amount": usd("5"), "category": "sms"})).await;
    assert_eq!((status, &less["amount"]["amount"]), (201, &json!("0.10")), "{less}");
    assert_eq!(less["degraded"]["asked"]["amount"], "5.00");
    assert_eq!(less["degraded"]["reasons"], json!(["A message costs at most 0.10."]));

    let (status, paper) = shield.ask(json!({"amount": usd("5"), "category": "bonds"})).await;
    assert_eq!(
        (status, &paper["degraded"]["mode"], &paper["amount"]["amount"]),
        (201, &json!("paper"), &json!("5.00"))
    );

    let (status, waits) = shield.ask(json!({"amount": usd("100.01"), "account": "growth"})).await;
    assert_eq!((status, &waits["state"], &waits["policy"]["verdict"]), (202, &json!("pending"), &json!("ask")));
    let id = waits["id"].as_str().unwrap();
    let approved = shield.call(Method::POST, &format!("/v1/authorizations/{id}/approve"), json!({})).await;
    assert_eq!(approved.json()["state"], "held");
    let more =
        shield.call(Method::POST, &format!("/v1/authorizations/{id}/increase"), json!({"amount": usd("1")})).await;
    assert_eq!(
        (more.status.as_u16(), &more.json()["refused_by"]),
        (403, &json!(["policy"])),
        "it was judged as it was"
    );

    for (act, reasons) in
        [(json!({"risk": 51}), json!(["Too risky."])), (json!({"action": "mutate", "target": "limits"}), json!([]))]
    {
        let mut body = json!({"amount": usd("5")});
        body.as_object_mut().unwrap().extend(act.as_object().unwrap().clone());
        let (status, denied) = shield.ask(body).await;
        assert_eq!((status, &denied["refused_by"]), (403, &json!(["policy"])), "{denied}");
        assert_eq!((&denied["policy"]["verdict"], &denied["policy"]["reasons"]), (&json!("deny"), &reasons));
    }
    for (field, wrong) in [("action", json!("buy")), ("risk", json!(101)), ("target", json!("a\nb"))] {
        let (status, problem) = shield.ask(json!({"amount": usd("5"), field: wrong})).await;
        assert_eq!((status, &problem["field"]), (400, &json!(field)));
    }

    let log = shield.log(folder.path()).await;
    let told = log.iter().filter(|entry| entry["body"]["cmd"]["op"] == "authorize");
    let told: Vec<_> = told.map(|entry| entry["body"]["cmd"]["policy"].clone()).collect();
    let expected = [
        ("allow", "money/all"),
        ("degrade", "money/sms"),
        ("degrade", "money/bonds"),
        ("ask", "money/large"),
        ("deny", "safety/risky"),
        ("deny", "safety/changes"),
    ];
    assert_eq!(told, expected.map(|(verdict, rule)| json!({"version": version, "verdict": verdict, "rules": [rule]})));
    let put = log.iter().find(|entry| entry["body"]["cmd"]["op"] == "policy").unwrap();
    assert_eq!((&put["type"], &put["body"]["cmd"]["version"]), (&json!("policy.put"), &json!(version)));
}

#[tokio::test]
async fn who_asks_for_all_or_nothing_gets_nothing_where_the_policy_allows_less() {
    let folder = folder();
    let shield = Shield::start(folder.path(), &[]);
    let less =
        ALL.to_owned() + "@id(\"less\") @verdict(\"degrade\") @amount(\"20.00\") forbid(principal, action, resource);";
    shield.put(json!({"money": less})).await;
    let spend =
        async |amount: &str| shield.http.get(&shield.serving.url("shield", &format!("/spend?amount={amount}"))).await;
    assert_eq!(spend("20").await.status, StatusCode::OK);
    let refused = spend("20.01").await;
    assert_eq!((refused.status, refused.json()["refused_by"].clone()), (StatusCode::FORBIDDEN, json!(["policy"])));
    assert_eq!(refused.json()["policy"]["verdict"], "degrade");
    assert_eq!(shield.get("/v1/budgets/burst").await["used"], "20.00");
    let (_, would) = shield.ask(json!({"amount": usd("30"), "dry_run": true})).await;
    assert_eq!((&would["would_be"], &would["degraded"]["at_most"]["amount"]), (&json!("held"), &json!("20.00")));
}

#[tokio::test]
async fn a_repeat_gets_its_first_answer_whatever_the_policy_says_now() {
    let folder = folder();
    let shield = Shield::start(folder.path(), &[]);
    let ask = async |body: Value| {
        let mut asked = request(Method::POST, &shield.serving.url("shield", "/v1/authorizations"), Some(&body));
        asked.headers_mut().insert("idempotency-key", "k".parse().unwrap());
        let answer = shield.http.send(asked).await;
        (answer.status.as_u16(), answer.json())
    };
    shield.put(both()).await;
    let body = json!({"amount": usd("5"), "category": "sms", "target": "a"});
    let (_, first) = ask(body.clone()).await;
    assert_eq!(first["amount"]["amount"], "0.10");
    shield.put(json!({"money": NOTHING})).await;
    let (status, again) = ask(body.clone()).await;
    assert_eq!((status, &again["id"], &again["amount"]), (201, &first["id"], &first["amount"]));
    assert_eq!((&again["degraded"]["asked"]["amount"], &again["policy"]), (&json!("5.00"), &Value::Null));
    assert_eq!(
        ask(json!({"amount": usd("5"), "category": "sms", "target": "b"})).await.0,
        409,
        "it acts on something else"
    );
}

#[tokio::test]
async fn versions_are_kept_and_go_in_and_out_of_force() {
    let folder = folder();
    let shield = Shield::start(folder.path(), &[]);
    let is_allowed = async || shield.ask(json!({"amount": usd("1")})).await.0 == 201;
    let all = shield.put(json!({"money": ALL})).await;
    let nothing = shield.put(json!({"money": NOTHING})).await;
    assert!(!is_allowed().await);
    let entries = shield.log(folder.path()).await.len();
    assert_eq!(shield.put(json!({"money": NOTHING})).await, nothing);
    let written = &shield.log(folder.path()).await[entries..];
    assert!(written.iter().all(|entry| entry["type"] == "intent"), "what is in force is not put again: {written:?}");

    let broken = "@id(\"a\")\nforbid(principal, action, resource) when { context.amout > 7 };";
    let refused = shield.call(Method::PUT, "/v1/policy", json!({"rule_sets": {"money": ALL, "odd": broken}})).await;
    let problem = refused.json();
    assert_eq!((refused.status.as_u16(), &problem["field"]), (400, &json!("rule_sets")));
    let mistake = &problem["mistakes"][0];
    assert_eq!((&mistake["rule_set"], &mistake["line"], &mistake["column"]), (&json!("odd"), &json!(2), &json!(44)));
    for wrong in [json!({}), json!({"limits": ALL}), json!({"money": "// nothing"}), json!({"a/b": ALL})] {
        let refused = shield.call(Method::PUT, "/v1/policy", json!({"rule_sets": wrong})).await;
        assert_eq!(refused.status.as_u16(), 400, "{wrong}");
    }
    assert_eq!(shield.get("/v1/policy").await["version"], nothing.as_str(), "a mistake changes nothing");

    let back = async |version: &str| {
        shield.call(Method::POST, "/v1/policy/rollback", json!({"version": version})).await.status.as_u16()
    };
    assert_eq!(back(&all).await, 200);
    assert!(is_allowed().await);
    assert_eq!(back("00000000000000000000000000000001").await, 404);
    let versions = shield.get("/v1/policy/versions").await["versions"].clone();
    let listed: Vec<_> = versions.as_array().unwrap().iter().map(|one| (&one["version"], &one["in_force"])).collect();
    assert_eq!(listed.len(), 2);
    assert!(listed.contains(&(&json!(all), &json!(true))) && listed.contains(&(&json!(nothing), &json!(false))));

    assert_eq!(back(&nothing).await, 200);
    shield.serving.terminate();
    let shield = Shield::start(folder.path(), &[]);
    assert_eq!(shield.ask(json!({"amount": usd("1")})).await.0, 403, "it is in force after a restart");
    assert_eq!(shield.get("/v1/policy").await["version"], nothing.as_str());
    shield.call(Method::DELETE, "/v1/policy", json!({})).await;
    assert_eq!(shield.ask(json!({"amount": usd("1")})).await.0, 201);
    assert_eq!(shield.get("/v1/policy").await, json!({"version": null, "rules": 0, "rule_sets": {}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_decided_under_a_policy_after_another_is_in_force() {
    const CLIENTS: usize = 64;
    let folder = folder();
    let shield = Shield::start(folder.path(), &[]);
    let policy = |n: usize| json!({"money": format!("{ALL} // {n}")});
    shield.put(policy(0)).await;
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let clients = (0..CLIENTS).map(|_| {
        let (http, url) = (shield.http.clone(), shield.serving.url("shield", "/v1/authorizations"));
        let stopped = stopped.clone();
        tokio::spawn(async move {
            while !*stopped.borrow() {
                let answer = http.send(request(Method::POST, &url, Some(&json!({"amount": usd("0.01")})))).await;
                let is_told = answer.status == StatusCode::CREATED || answer.json()["code"] == "policy_changes";
                assert!(is_told, "{}", answer.json());
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    for n in 1..=12 {
        shield.put(policy(n)).await;
        let (status, held) = shield.ask(json!({"amount": usd("0.01")})).await;
        assert_eq!((status, &held["policy"]["version"]), (201, &shield.get("/v1/policy").await["version"]));
    }
    stop.send(true).unwrap();
    for client in clients {
        client.await.unwrap();
    }
    let (mut in_force, mut decided) = (Value::Null, 0);
    for entry in shield.log(folder.path()).await {
        let command = &entry["body"]["cmd"];
        match command["op"].as_str() {
            Some("policy") => in_force = command["version"].clone(),
            Some("authorize") => {
                decided += 1;
                assert_eq!(command["policy"]["version"], in_force, "{entry}");
            }
            _ => {}
        }
    }
    assert!(decided > 12, "{decided}");
}

#[tokio::test]
async fn a_folder_is_followed_while_it_holds_no_mistake() {
    let folder = folder();
    let rules = folder.path().join("rules");
    fs::create_dir(&rules).unwrap();
    let file = rules.join("money.cedar");
    let variables = [("POLICY_DIR", rules.to_str().unwrap())];
    let refuses = |text: &str, told: [&str; 2]| {
        fs::write(&file, text).unwrap();
        let output = kiki(folder.path()).args(["serve", "shield", "--free-ports"]).envs(variables).output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && told.iter().all(|part| complaint.contains(part)), "{complaint}");
    };
    refuses("@id(\"a\") pemit(principal, action, resource);", ["money.cedar:1:", "POLICY_DIR"]);
    refuses(
        "@id(\"a\") permit(principal, action, resource); @id(\"a\") @no forbid(principal, action, resource);",
        ["@no", "POLICY_DIR"],
    );

    fs::write(&file, ALL).unwrap();
    let shield = Shield::start(folder.path(), &variables);
    let ask = async || shield.ask(json!({"amount": usd("1")})).await;
    let in_force = async || shield.get("/v1/policy").await["version"].clone();
    assert_eq!(ask().await.0, 201);
    let all = in_force().await;
    fs::write(&file, NOTHING).unwrap();
    shield.until(async || in_force().await != all).await;
    assert_eq!(ask().await.0, 403, "the very next decision follows");
    let nothing = in_force().await;
    for broken in ["@id(\"a\") permit(principal", ""] {
        fs::write(&file, broken).unwrap();
        shield.is("degraded").await;
        assert_eq!((ask().await.0, in_force().await), (403, nothing.clone()), "what was in force stays");
        fs::write(&file, NOTHING).unwrap();
        shield.is("healthy").await;
    }
    fs::write(&file, ALL).unwrap();
    shield.until(async || in_force().await == all).await;
    assert_eq!(ask().await.0, 201);
}

#[tokio::test]
async fn an_intent_hears_every_vote_reserves_nothing_and_is_in_the_log() {
    let folder = folder();
    let shield = Shield::start(folder.path(), &[]);
    let free = shield.intend(json!({"action": "execute", "amount": usd("5")})).await;
    assert_eq!((&free["verdict"], &free["policy_version"]), (&json!("allow"), &Value::Null));
    let version = shield.put(both()).await;
    let limit = json!({"account": "growth", "limit": {"kind": "total", "amount": "10"}});
    shield.call(Method::PUT, "/v1/budgets/ten", limit).await;
    let verdicts = |answer: &Value| {
        let votes = answer["votes"].as_array().unwrap().iter();
        let told = votes
            .map(|vote| format!("{}:{}", vote["rule_set"].as_str().unwrap(), vote["verdict"].as_str().unwrap_or("-")));
        format!("{} {}", answer["verdict"].as_str().unwrap(), told.collect::<Vec<_>>().join(" "))
    };
    let agent = json!({"kind": "agent", "name": "winback"});
    let intent = |more: Value| {
        let mut body = json!({"actor": agent, "action": "execute", "account": "growth"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        shield.intend(body)
    };
    for (more, expected) in [
        (json!({}), "allow money:allow safety:-"),
        (json!({"amount": usd("9")}), "allow money:allow safety:- limits:allow"),
        (json!({"amount": usd("11")}), "deny money:allow safety:- limits:deny"),
        (json!({"amount": usd("11"), "category": "sms"}), "degrade money:degrade safety:- limits:allow"),
        (json!({"risk": 60}), "deny money:allow safety:deny"),
        (json!({"customer_id": "c", "purpose": "marketing"}), "deny money:allow safety:- consent:deny"),
    ] {
        let answer = intent(more.clone()).await;
        assert_eq!(verdicts(&answer), expected, "{more}");
        assert_eq!(answer["policy_version"], version.as_str());
    }
    let (_, held) = shield.ask(json!({"account": "growth", "amount": usd("10")})).await;
    assert_eq!(held["state"], "held", "no intent reserved anything: {held}");
    let log = shield.log(folder.path()).await;
    let denied: Vec<_> = log.iter().filter(|entry| entry["type"] == "intent" && entry["outcome"] == "DENIED").collect();
    assert_eq!(denied.len(), 3);
    assert_eq!(denied[1]["reason"], format!("deny by safety/risky under policy {version}"));
    assert!(!serde_json::to_string(&log).unwrap().contains("winback"), "names are hashes");
}
