//! A hold is settled wherever it is dropped.

use std::sync::Arc;
use std::time::Duration;

use kiki_client::{Client, Error, Interrupted, OpenHold, Request, Retry, Settled, SpendError};
use serde_json::json;
use tokio::sync::Notify;

use crate::service::{PATIENCE, Reply, Seen, Service, authorization, away, held, usd, well};

fn request() -> Request {
    Request::new("desk", usd(5))
}

async fn closed(client: Client) {
    tokio::time::timeout(PATIENCE, client.close()).await.unwrap().unwrap();
}

fn last(service: &Service) -> Seen {
    service.seen().pop().unwrap()
}

#[tokio::test]
async fn a_dropped_hold_is_given_back_once() {
    let service = Service::start(|seen, _| well(seen));
    let client = service.client();
    drop(client.authorize(request()).await.unwrap());
    closed(client).await;
    assert_eq!(service.told(), ["POST /v1/authorizations", "POST /v1/authorizations/{id}/void"]);
}

#[tokio::test]
async fn a_hold_that_is_left_is_not_touched() {
    let service = Service::start(|seen, _| well(seen));
    let client = service.client();
    client.authorize(request()).await.unwrap().leave();
    closed(client).await;
    assert_eq!(service.told(), ["POST /v1/authorizations"]);
}

#[tokio::test]
async fn a_panic_gives_the_money_back_and_goes_on() {
    let service = Service::start(|seen, _| well(seen));
    let client = service.client();
    let spend = client.spend(request());
    let work = tokio::spawn(spend.run(|_| async { panic!("on purpose") as Result<Settled<()>, Error> }));
    assert!(work.await.unwrap_err().is_panic());
    closed(client).await;
    assert!(last(&service).what.ends_with("void"));
}

#[tokio::test]
async fn a_cancelled_spend_is_settled_for_what_had_moved() {
    for (told, interrupted, verb, body) in [
        (0, Interrupted::SpentSoFar, "void", json!(null)),
        (2, Interrupted::SpentSoFar, "capture", json!({"amount": usd(2)})),
        (2, Interrupted::CaptureAll, "capture", json!({"amount": usd(5)})),
    ] {
        let service = Service::start(|seen, _| well(seen));
        let client = service.client();
        let begun = Arc::new(Notify::new());
        let work = |hold: OpenHold| {
            let begun = begun.clone();
            async move {
                hold.spent_so_far(usd(told));
                hold.spent_so_far(usd(0));
                begun.notify_one();
                std::future::pending::<Result<Settled<()>, Error>>().await
            }
        };
        tokio::select! {
            _ = client.spend(request()).when_interrupted(interrupted).run(work) => unreachable!(),
            () = begun.notified() => {}
        }
        closed(client).await;
        assert!(last(&service).what.ends_with(verb), "{:?}", service.told());
        assert_eq!(last(&service).body, body);
    }
}

#[tokio::test]
async fn work_that_takes_too_long_is_dropped_and_settled() {
    let service = Service::start(|seen, _| well(seen));
    let spend = service.client().spend(request()).time_limit(Duration::from_millis(1));
    let spent = spend.run(|_| std::future::pending::<Result<Settled<()>, Error>>()).await;
    assert!(matches!(spent, Err(SpendError::TimedOut { captured, .. }) if captured == usd(0)), "{spent:?}");
    assert!(last(&service).what.ends_with("void"));
}

#[tokio::test]
async fn work_that_fails_after_money_moved_pays_for_it() {
    let service = Service::start(|seen, _| well(seen));
    let work = |hold: OpenHold| async move {
        hold.spent_so_far(usd(1));
        Err::<Settled<()>, _>("the provider hung up")
    };
    let spent = service.client().spend(request()).run(work).await;
    assert!(matches!(spent, Err(SpendError::Work("the provider hung up"))));
    assert_eq!(last(&service).body, json!({"amount": usd(1)}));
}

#[tokio::test]
async fn a_reservation_whose_answer_nobody_awaits_is_found_by_its_key_and_given_back() {
    let service = Service::start(|seen, before| match seen.what.as_str() {
        "POST /v1/authorizations" if before == 0 => Reply::Silence,
        "POST /v1/authorizations" => held(),
        _ => well(seen),
    });
    let client = service.client();
    let asked = tokio::spawn({
        let client = client.clone();
        async move { client.authorize(request()).await.map(drop) }
    });
    while service.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    closed(client).await;
    let seen = service.seen();
    assert_eq!((seen.len(), &seen[0].key), (3, &seen[1].key), "{seen:?}");
    assert!(seen[2].what.ends_with("void"));
}

#[tokio::test]
async fn a_reservation_that_may_stand_after_nobody_decided_is_found_and_given_back() {
    // The first attempt may have reserved the money before its answer was lost; the last one says that nobody decides.
    let service = Service::start(|seen, before| match (seen.what.as_str(), before) {
        ("POST /v1/authorizations", 0) => Reply::Lost,
        ("POST /v1/authorizations", 1) => away(),
        ("POST /v1/authorizations", _) => held(),
        _ => well(seen),
    });
    let retry = Retry { attempts_max: 2, wait: Duration::from_millis(1), ..Retry::default() };
    let client = service.builder().retry(retry).build().unwrap();
    let told = client.authorize(request()).await.unwrap_err();
    assert!(matches!(told, Error::Unavailable { .. }), "{told}");
    closed(client).await;
    let seen = service.seen();
    assert!(seen[..3].iter().all(|asked| asked.key == seen[0].key), "{seen:?}");
    assert!(seen[3].what.ends_with("void"), "{seen:?}");
}

#[tokio::test]
async fn a_cancelled_reservation_with_a_key_of_the_callers_own_stays_theirs() {
    let service = Service::start(|_, _| Reply::Silence);
    let client = service.client();
    let asked = tokio::spawn({
        let client = client.clone();
        async move { client.authorize(request().idempotency_key("order-17")).await.map(drop) }
    });
    while service.seen().is_empty() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    asked.abort();
    assert!(asked.await.unwrap_err().is_cancelled());
    closed(client).await;
    assert_eq!(service.told().len(), 1);
}

#[tokio::test]
async fn a_capture_that_is_cancelled_goes_on_as_a_capture() {
    let service = Service::start(|seen, before| match seen.what.rsplit('/').next() {
        Some("capture") if before == 0 => Reply::Silence,
        _ => well(seen),
    });
    let client = service.client();
    let hold = client.authorize(request()).await.unwrap();
    let capturing = tokio::spawn(hold.capture(usd(3)));
    while service.seen().len() < 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    capturing.abort();
    assert!(capturing.await.unwrap_err().is_cancelled());
    closed(client).await;
    assert_eq!((service.told().len(), last(&service).body), (3, json!({"amount": usd(3)})));
}

#[test]
fn a_hold_outlives_the_runtime_that_made_it_and_is_still_given_back() {
    let service = Service::start(|seen, _| well(seen));
    let client = service.client();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let hold = first.block_on(client.authorize(request())).unwrap();
    first.spawn(async move {
        let _hold = hold;
        std::future::pending::<()>().await;
    });
    drop(first);
    runtime().block_on(closed(client));
    assert!(last(&service).what.ends_with("void"));
}

#[tokio::test]
async fn what_cannot_be_settled_is_told_when_the_client_is_closed() {
    let service = Service::start(|seen, _| match seen.what.rsplit('/').next() {
        Some("void") => Reply::Json(401, json!({"code": "unauthenticated"})),
        _ => well(seen),
    });
    let client = service.client();
    drop(client.authorize(request()).await.unwrap());
    let left = client.close().await.unwrap_err();
    assert_eq!((left.waiting, left.abandoned), (0, 1));
}

#[tokio::test]
async fn a_request_that_waits_for_approval_is_withdrawn_when_nobody_comes() {
    let service = Service::start(|seen, _| match seen.what.rsplit('/').next() {
        Some("void") => well(seen),
        _ => Reply::Json(202, authorization("pending", 5)),
    });
    let spend = service.client().spend(request()).wait_for_approval(Duration::from_millis(1));
    let spent = spend.run(|_| async { Ok::<_, Error>(Settled::all(())) }).await;
    assert!(matches!(spent, Err(SpendError::Refused(Error::NotApproved(_)))), "{spent:?}");
    assert!(last(&service).what.ends_with("void"));
}
