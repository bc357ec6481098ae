//! What is tried again, with which key, and what callers are told.

use std::collections::HashSet;

use kiki_client::{Error, Intent, Request, Retry, Ruling, Settled, SpendError};
use serde_json::json;

use crate::service::{ID, PATIENCE, Reply, Service, authorization, away, held, usd, well};

fn request() -> Request {
    Request::new("desk", usd(5))
}

#[tokio::test]
async fn what_nobody_decided_is_asked_again_with_the_same_key() {
    let service = Service::start(|seen, before| match (seen.what.as_str(), before) {
        ("POST /v1/authorizations", 0) => away(),
        ("POST /v1/authorizations", 1) => Reply::Lost,
        _ => well(seen),
    });
    let client = service.client();
    client.authorize(request()).await.unwrap().void().await.unwrap();
    let keys: HashSet<_> = service.seen().into_iter().take(3).map(|seen| seen.key.unwrap()).collect();
    assert_eq!((service.told().len(), keys.len()), (4, 1));
    assert_eq!(keys.iter().next().unwrap().len(), 32);
    client.authorize(request()).await.unwrap().void().await.unwrap();
    assert!(!keys.contains(&service.seen()[4].key.clone().unwrap()), "another request has another key");
}

#[tokio::test]
async fn erasures_whose_answer_was_lost_are_asked_for_again_under_the_same_key_until_the_first_try_has_ended() {
    let service = Service::start(|_, before| match before {
        0 => Reply::Lost,
        1 => Reply::Json(409, json!({"code": "idempotency_in_progress"})),
        _ => Reply::Json(201, json!({"request_ids": ["r"]})),
    });
    assert_eq!(service.client().erase_customers(&["ann".to_owned()], false).await.unwrap(), ["r"]);
    let keys: HashSet<_> = service.seen().into_iter().map(|seen| seen.key.unwrap()).collect();
    assert_eq!((service.told().len(), keys.len()), (3, 1));
}

#[tokio::test]
async fn a_denial_is_an_answer_and_is_asked_once() {
    let service = Service::start(|_, _| Reply::Json(403, json!({"code": "denied", "refused_by": ["burst"]})));
    let spent = service.client().spend(request()).run(|_| async { Ok::<_, Error>(Settled::all(())) }).await;
    assert!(matches!(spent, Err(SpendError::Refused(Error::Denied(denial))) if denial.is_by("burst")));
    assert_eq!(service.told(), ["POST /v1/authorizations"]);
}

#[tokio::test]
async fn a_key_of_the_callers_own_is_sent_as_it_is() {
    let service = Service::start(|seen, _| well(seen));
    let hold = service.client().authorize(request().idempotency_key("order-17")).await.unwrap();
    hold.void().await.unwrap();
    assert_eq!(service.seen()[0].key.as_deref(), Some("order-17"));
    assert_eq!(service.seen()[0].body, json!({"account": "desk", "amount": {"amount": "5.00", "currency": "USD"}}));
}

#[tokio::test]
async fn a_key_whose_work_was_done_before_does_not_do_it_again() {
    let service = Service::start(|_, _| Reply::Json(201, authorization("captured", 5)));
    let again = service.client().spend(request().idempotency_key("order-17"));
    let spent = again.run(|_| async { panic!("done before") as Result<Settled<()>, Error> }).await;
    assert!(matches!(spent, Err(SpendError::Refused(Error::Ended(_)))), "{spent:?}");
}

#[tokio::test]
async fn an_increase_or_a_refund_without_an_answer_is_asked_again_under_its_key() {
    let service = Service::start(|seen, before| match seen.what.rsplit('/').next() {
        Some("increase" | "refund") if before == 0 => Reply::Lost,
        Some("increase") => Reply::Json(200, authorization("held", 7)),
        Some("refund") => Reply::Json(200, authorization("captured", 7)),
        _ => well(seen),
    });
    let client = service.client();
    let hold = client.authorize(request()).await.unwrap();
    assert_eq!(hold.increase(usd(2)).await.unwrap(), usd(7));
    let id = hold.id();
    hold.capture_all().await.unwrap();
    assert_eq!(service.seen().last().unwrap().body, json!({"amount": usd(7)}));
    client.refund(id, usd(1)).await.unwrap();
    for verb in ["increase", "refund"] {
        let asked: Vec<_> = service.seen().into_iter().filter(|seen| seen.what.ends_with(verb)).collect();
        let [first, again] = &asked[..] else { panic!("{asked:?}") };
        assert!(first.key.is_some() && (&first.key, &first.body) == (&again.key, &again.body), "{asked:?}");
    }
}

#[tokio::test]
async fn what_went_beyond_the_hold_is_captured_and_recorded() {
    let service = Service::start(|seen, _| well(seen));
    let spend = service.client().spend(request().category("llm"));
    let spent = spend.run(|_| async { Ok::<_, Error>(Settled::amount(usd(7), "text")) }).await.unwrap();
    let (amount, recorded) = spent.settlement.recorded.unwrap();
    assert_eq!((spent.value, amount, recorded.over), ("text", usd(2), vec!["day".to_owned()]));
    let record = service.seen().pop().unwrap();
    assert_eq!(record.body, json!({"account": "desk", "amount": usd(2), "category": "llm"}));
}

#[tokio::test]
async fn money_that_moved_after_the_hold_had_ended_is_recorded() {
    let service = Service::start(|seen, _| match seen.what.rsplit('/').next() {
        Some("capture") => Reply::Json(409, json!({"code": "already_resolved", "state": "expired"})),
        _ => well(seen),
    });
    let spend = service.client().spend(request());
    let spent = spend.run(|_| async { Ok::<_, Error>(Settled::amount(usd(3), ())) }).await.unwrap();
    assert_eq!(spent.settlement.recorded.unwrap().0, usd(3));
    assert!(spent.settlement.authorization.is_none());
}

#[tokio::test]
async fn a_cost_that_cannot_be_settled_yet_does_not_lose_the_value_and_is_settled_later() {
    let service = Service::start(|seen, before| match seen.what.rsplit('/').next() {
        Some("capture") if before < 4 => away(),
        _ => well(seen),
    });
    let client = service.builder().retry(Retry { attempts_max: 2, ..Retry::default() }).build().unwrap();
    let spent = client.spend(request()).run(|_| async { Ok::<_, Error>(Settled::amount(usd(3), "text")) }).await;
    let Err(SpendError::Unsettled(unsettled)) = spent else { panic!("{spent:?}") };
    assert_eq!((unsettled.value, unsettled.amount), ("text", usd(3)));
    assert_eq!(unsettled.held_until.unwrap().rfc3339(), "2026-02-05T10:30:00.000Z");
    assert_eq!(unsettled.error.code(), Some("authority_unavailable"));
    tokio::time::timeout(PATIENCE, client.close()).await.unwrap().unwrap();
    let last = service.seen().pop().unwrap();
    assert_eq!((last.what.ends_with("capture"), last.body), (true, json!({"amount": usd(3)})));
}

#[tokio::test]
async fn budgets_are_read_page_by_page() {
    let service = Service::start(|seen, _| {
        let budget = |id: &str| {
            json!({"id": id, "account": "desk", "limit": {"kind": "total", "amount": "5.00"}, "used": "1.00",
                "held": "0.00", "remaining": "4.00", "currency": "USD"})
        };
        let page = match seen.what.split_once("after=") {
            None => json!({"budgets": [budget("a")], "next": 1}),
            Some(_) => json!({"budgets": [budget("b")], "next": null}),
        };
        Reply::Json(200, page)
    });
    let budgets = service.client().budgets().await.unwrap();
    assert_eq!(budgets.iter().map(|budget| budget.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(service.told()[1], "GET /v1/budgets?limit=1000&after=1");
}

#[tokio::test]
async fn an_approval_is_waited_for() {
    let service = Service::start(|seen, before| match seen.what.as_str() {
        "POST /v1/authorizations" => Reply::Json(202, authorization("pending", 5)),
        what if what.ends_with(ID) && before < 2 => Reply::Json(200, authorization("pending", 5)),
        what if what.ends_with(ID) => held(),
        _ => well(seen),
    });
    let client = service.client();
    let without = client.spend(request()).run(|_| async { Ok::<_, Error>(Settled::all(())) }).await;
    assert!(matches!(without, Err(SpendError::Refused(Error::Pending(_)))));
    let spend = client.spend(request()).wait_for_approval(PATIENCE);
    spend.run(|_| async { Ok::<_, Error>(Settled::all(())) }).await.unwrap();
    assert!(service.told().last().unwrap().ends_with("capture"));
}

#[tokio::test]
async fn work_does_not_run_on_less_than_it_needs() {
    let service = Service::start(|seen, _| well(seen));
    let client = service.client();
    let spend = |least| client.spend(Request::new("desk", usd(8))).at_least(usd(least));
    let less = spend(8).run(|_| async { panic!("too little") as Result<Settled<()>, Error> }).await;
    assert!(matches!(less, Err(SpendError::Refused(Error::Degraded(granted))) if granted.amount == usd(5)));
    assert!(service.told().last().unwrap().ends_with("void"));
    let enough = spend(5).run(|hold| async move { Ok::<_, Error>(Settled::all(hold.amount())) }).await;
    assert_eq!(enough.unwrap().value, usd(5));
}

#[tokio::test]
async fn a_rule_set_that_abstains_has_no_vote() {
    let verdict = json!({"verdict": "ask", "reasons": ["large"], "mode": "paper",
        "votes": [{"rule_set": "money", "verdict": "ask", "rules": ["large"]}, {"rule_set": "safety", "verdict": null}]});
    let service = Service::start(move |_, _| Reply::Json(200, verdict.clone()));
    let intent = Intent {
        account: "desk".into(),
        action: "execute".into(),
        target: None,
        amount: Some(usd(5)),
        category: None,
        risk: Some(7),
    };
    let verdict = service.client().intent(&intent).await.unwrap();
    assert_eq!((verdict.verdict, verdict.votes[1].verdict), (Ruling::Ask, None));
    assert_eq!(service.seen()[0].body["risk"], 7);
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn nothing_is_sent_to_a_service_that_cannot_prove_who_it_is() {
    let service = Service::start(|seen, _| well(seen));
    let client = kiki_client::Client::builder(service.address().replace("http:", "https:"));
    let client = client.retry(Retry::NEVER).build().unwrap();
    let asked = client.authorize(request()).await;
    assert!(matches!(&asked, Err(Error::Transport(lost)) if !lost.was_sent), "{asked:?}");
    assert!(service.told().is_empty());
    service.client().authorize(request()).await.unwrap().leave();
}
