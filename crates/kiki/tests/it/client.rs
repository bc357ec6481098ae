//! The SDK against a real shield: whatever happens to the work, the money is settled.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kiki_client::{
    Client, Currency, Error, Figure, Limit, Money, NewBudget, OpenHold, Request, Retry, Settled, SpendError, State,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;

use crate::harness::{PATIENCE, Serving, folder};

const HOUR: &[(&str, &str)] = &[("WINDOW_SECONDS", "3600")];

fn usd(units: i64) -> Money {
    Money::new(units * 1_000_000, Currency::USD)
}

fn request(units: i64) -> Request {
    Request::new("desk/agent", usd(units))
}

fn start(folder: &Path) -> Serving {
    Serving::shield(folder, HOUR)
}

/// A client of `address`, with a budget of ten for `desk`.
async fn client_with_ten(address: SocketAddr) -> Client {
    let retry = Retry { attempts_max: u32::MAX, wait_max: Duration::from_millis(200), ..Retry::default() };
    let client = Client::builder(format!("http://{address}")).deadline(PATIENCE).retry(retry).build().unwrap();
    let ten = NewBudget::new("desk", Limit::Total { amount: usd(10).into() });
    assert_eq!(client.put_budget("ten", &ten).await.unwrap().remaining, Some(usd(10).into()));
    client
}

/// What is used and held of the ten.
async fn standing(client: &Client) -> (Figure, Figure) {
    let budget = client.budget("ten").await.unwrap();
    (budget.used.unwrap(), budget.held.unwrap())
}

fn units(used: i64, held: i64) -> (Figure, Figure) {
    (usd(used).into(), usd(held).into())
}

#[tokio::test]
async fn work_that_ends_well_is_paid_for_what_it_cost() {
    let folder = folder();
    let serving = start(folder.path());
    let client = client_with_ten(serving.address("shield")).await;
    let watching = client.clone();
    let work = |hold: OpenHold| async move {
        assert_eq!(standing(&watching).await, units(0, 6));
        assert_eq!(hold.amount(), usd(6));
        Ok::<_, Error>(Settled::amount(usd(4), "text"))
    };
    let spent = client.spend(request(6)).run(work).await.unwrap();
    let authorization = spent.settlement.authorization.unwrap();
    assert_eq!((spent.value, authorization.state, authorization.captured), ("text", State::Captured, usd(4)));
    assert_eq!(standing(&client).await, units(4, 0));
    client.close().await.unwrap();
}

#[tokio::test]
async fn work_that_fails_panics_is_cancelled_or_takes_too_long_gives_the_money_back() {
    let folder = folder();
    let serving = start(folder.path());
    let client = client_with_ten(serving.address("shield")).await;

    let failed = client.spend(request(6)).run(|_| async { Err::<Settled<()>, _>("no") }).await;
    assert!(matches!(failed, Err(SpendError::Work("no"))));
    assert_eq!(standing(&client).await, units(0, 0));

    let late = client.spend(request(6)).time_limit(Duration::from_millis(1));
    let late = late.run(|_| std::future::pending::<Result<Settled<()>, Error>>()).await;
    assert!(matches!(late, Err(SpendError::TimedOut { .. })));
    assert_eq!(standing(&client).await, units(0, 0));

    let panics = client.spend(request(6)).run(|_| async { panic!("on purpose") as Result<Settled<()>, Error> });
    assert!(tokio::spawn(panics).await.unwrap_err().is_panic());

    let begun = Notify::new();
    let work = |_| async {
        begun.notify_one();
        std::future::pending::<Result<Settled<()>, Error>>().await
    };
    tokio::select! {
        _ = client.spend(request(3)).run(work) => unreachable!(),
        () = begun.notified() => {}
    }
    client.clone().close().await.unwrap();
    assert_eq!(standing(&client).await, units(0, 0));
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_paid_as_far_as_it_came() {
    let folder = folder();
    let serving = start(folder.path());
    let client = client_with_ten(serving.address("shield")).await;
    let begun = Notify::new();
    let work = |hold: OpenHold| {
        let begun = &begun;
        async move {
            for part in 1..=3 {
                hold.spent_so_far(usd(part));
            }
            begun.notify_one();
            std::future::pending::<Result<Settled<()>, Error>>().await
        }
    };
    tokio::select! {
        _ = client.spend(request(6)).run(work) => unreachable!(),
        () = begun.notified() => {}
    }
    client.clone().close().await.unwrap();
    assert_eq!(standing(&client).await, units(3, 0));
}

#[tokio::test]
async fn a_denial_explains_itself_and_the_work_is_not_begun() {
    let folder = folder();
    let serving = start(folder.path());
    let client = client_with_ten(serving.address("shield")).await;
    let work = |_| async { panic!("not begun") as Result<Settled<()>, Error> };
    let Err(SpendError::Refused(Error::Denied(denial))) = client.spend(request(11)).run(work).await else {
        panic!("not denied")
    };
    assert!(denial.is_by("ten") && denial.problem.request_id.is_some());
    let limit = denial.limits.iter().find(|limit| limit.id == "ten").unwrap();
    assert_eq!((limit.remaining, limit.refuses), (Some(usd(10).into()), true));
}

#[tokio::test]
async fn the_same_key_does_the_work_once_also_in_another_process() {
    let folder = folder();
    let serving = start(folder.path());
    let client = client_with_ten(serving.address("shield")).await;
    let order = || client.spend(request(6).idempotency_key("order-17"));
    order().run(|_| async { Ok::<_, Error>(Settled::all(())) }).await.unwrap();
    let again = order().run(|_| async { panic!("done before") as Result<Settled<()>, Error> }).await;
    let Err(SpendError::Refused(Error::Ended(done))) = again else { panic!("{again:?}") };
    assert_eq!((done.state, done.captured), (State::Captured, usd(6)));
    let other = client.authorize(request(5).idempotency_key("order-17")).await;
    assert!(matches!(other, Err(Error::Conflict(_))), "{other:?}");
}

#[tokio::test]
async fn a_hold_grows_while_the_work_runs_and_what_was_too_much_is_refunded() {
    let folder = folder();
    let serving = start(folder.path());
    let client = client_with_ten(serving.address("shield")).await;
    let work = |hold: OpenHold| async move {
        assert_eq!(hold.increase(usd(3)).await?, usd(9));
        let denied = hold.increase(usd(2)).await;
        assert!(matches!(denied, Err(Error::Denied(denial)) if denial.is_by("ten")));
        Ok::<_, Error>(Settled::amount(usd(8), ()))
    };
    let spent = client.spend(request(6)).run(work).await.unwrap();
    let id = spent.settlement.authorization.unwrap().id;
    assert_eq!(standing(&client).await, units(8, 0));
    assert_eq!(client.refund(id, usd(5)).await.unwrap().refunded, Some(usd(5)));
    assert_eq!(standing(&client).await, units(3, 0));
    assert!(matches!(client.refund(id, usd(5)).await, Err(Error::Invalid(_))));
}

#[tokio::test]
async fn money_that_is_gone_is_counted_beyond_the_hold_and_after_it() {
    let folder = folder();
    let serving = start(folder.path());
    let client = client_with_ten(serving.address("shield")).await;
    let beyond = client.spend(request(6)).run(|_| async { Ok::<_, Error>(Settled::amount(usd(7), ())) }).await;
    assert_eq!(beyond.unwrap().settlement.recorded.unwrap().0, usd(1));
    assert_eq!(standing(&client).await, units(7, 0));

    let short = client.spend(request(3).ttl(Duration::from_secs(1)));
    let watching = client.clone();
    let after = short.run(|hold| async move {
        while watching.get(hold.id()).await?.state == State::Held {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok::<_, Error>(Settled::amount(usd(3), ()))
    });
    let settlement = after.await.unwrap().settlement;
    assert!(settlement.authorization.is_none() && settlement.recorded.unwrap().1.over.is_empty());
    assert_eq!(standing(&client).await, units(10, 0));

    let gone = client.record(&request(2)).await.unwrap();
    assert_eq!(gone.over, ["ten"]);
}

#[tokio::test]
async fn work_waits_for_approval_and_is_not_begun_without() {
    let folder = folder();
    let serving = start(folder.path());
    let client = client_with_ten(serving.address("shield")).await;
    let above_five = serde_json::json!({"kind": "approval", "above": "5.00", "seconds": 3600});
    let ask = NewBudget::new("desk", serde_json::from_value(above_five).unwrap());
    client.put_budget("ask", &ask).await.unwrap();

    let spend = || client.spend(request(6)).wait_for_approval(PATIENCE);
    let decide = |is_approved: bool| {
        let person = client.clone();
        async move {
            let waiting = loop {
                match person.approvals().await.unwrap().pop() {
                    Some(waiting) => break waiting,
                    None => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            };
            assert_eq!((waiting.state, standing(&person).await), (State::Pending, units(0, 6)));
            let decided = if is_approved { person.approve(waiting.id).await } else { person.reject(waiting.id).await };
            decided.unwrap()
        }
    };
    let (rejected, _) =
        tokio::join!(spend().run(|_| async { panic!("rejected") as Result<Settled<()>, Error> }), decide(false));
    assert!(matches!(rejected, Err(SpendError::Refused(Error::NotApproved(_)))), "{rejected:?}");
    let (approved, _) = tokio::join!(spend().run(|_| async { Ok::<_, Error>(Settled::all(())) }), decide(true));
    assert_eq!(approved.unwrap().settlement.authorization.unwrap().captured, usd(6));
}

#[tokio::test]
async fn a_request_that_nobody_approves_in_time_is_withdrawn() {
    let folder = folder();
    let serving = start(folder.path());
    let client = client_with_ten(serving.address("shield")).await;
    let above_five = serde_json::json!({"kind": "approval", "above": "5.00", "seconds": 3600});
    client.put_budget("ask", &NewBudget::new("desk", serde_json::from_value(above_five).unwrap())).await.unwrap();
    let spend = client.spend(request(6)).wait_for_approval(Duration::ZERO);
    let spent = spend.run(|_| async { Ok::<_, Error>(Settled::all(())) }).await;
    assert!(matches!(spent, Err(SpendError::Refused(Error::NotApproved(_)))), "{spent:?}");
    assert_eq!(standing(&client).await, units(0, 0));
    let Err(Error::Pending(waiting)) = client.authorize(request(6)).await else { panic!("not pending") };
    client.approve(waiting.id).await.unwrap();
    client.adopt(waiting.id).await.unwrap().void().await.unwrap();
}

#[tokio::test]
async fn a_dry_run_tells_and_holds_nothing() {
    let folder = folder();
    let serving = start(folder.path());
    let client = client_with_ten(serving.address("shield")).await;
    assert_eq!(client.dry_run(request(6)).await.unwrap().would_be, State::Held);
    let denied = client.dry_run(request(11)).await.unwrap();
    assert_eq!((denied.would_be, denied.refused_by), (State::Denied, vec!["ten".to_owned()]));
    assert_eq!(standing(&client).await, units(0, 0));
}

/// One address for services that come and go.
struct Door {
    address: SocketAddr,
    behind: Arc<Mutex<SocketAddr>>,
}

impl Door {
    async fn open(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let door = Self { address: listener.local_addr().unwrap(), behind: Arc::new(Mutex::new(behind)) };
        let behind = door.behind.clone();
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let behind = *behind.lock().unwrap();
                tokio::spawn(async move {
                    let Ok(mut service) = TcpStream::connect(behind).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut caller, &mut service).await;
                });
            }
        });
        door
    }

    /// Starts a shield on the same folder, as after a crash.
    async fn restart(&self, folder: &Path) -> Serving {
        let folder = folder.to_owned();
        let serving = tokio::task::spawn_blocking(move || start(&folder)).await.unwrap();
        *self.behind.lock().unwrap() = serving.address("shield");
        serving
    }
}

#[tokio::test]
async fn a_service_that_is_killed_while_work_runs_settles_it_when_it_is_back() {
    let folder = folder();
    let serving = start(folder.path());
    let door = Door::open(serving.address("shield")).await;
    let client = client_with_ten(door.address).await;
    let killed = Notify::new();
    let work = |_| async {
        drop(serving);
        killed.notify_one();
        Ok::<_, Error>(Settled::amount(usd(4), "text"))
    };
    let back = async {
        killed.notified().await;
        door.restart(folder.path()).await
    };
    let (spent, _serving) = tokio::join!(client.spend(request(6)).run(work), back);
    assert_eq!(spent.unwrap().settlement.authorization.unwrap().captured, usd(4));
    assert_eq!(standing(&client).await, units(4, 0));
}

#[tokio::test]
async fn a_hold_that_is_dropped_while_the_service_is_away_is_given_back_later() {
    let folder = folder();
    let serving = start(folder.path());
    let door = Door::open(serving.address("shield")).await;
    let client = client_with_ten(door.address).await;
    let hold = client.authorize(request(6)).await.unwrap();
    drop(serving);
    drop(hold);
    let _serving = door.restart(folder.path()).await;
    client.clone().close().await.unwrap();
    assert_eq!(standing(&client).await, units(0, 0));
}

#[tokio::test]
async fn consent_is_asked_for_with_the_money() {
    let folder = folder();
    let serving = start(folder.path());
    let client = client_with_ten(serving.address("shield")).await;
    let about = || request(1).customer("cust_123", kiki_client::Purpose::Marketing);
    let denied = client.authorize(about()).await;
    assert!(matches!(denied, Err(Error::Denied(denial)) if denial.is_by("consent")));
    client.grant_consent("cust_123", kiki_client::Purpose::Marketing).await.unwrap();
    client.authorize(about()).await.unwrap().capture_all().await.unwrap();
    client.revoke_consent("cust_123", kiki_client::Purpose::Marketing).await.unwrap();
    assert!(!client.consents("cust_123").await.unwrap().consents[&kiki_client::Purpose::Marketing]);
    assert!(matches!(client.authorize(about()).await, Err(Error::Denied(_))));
    assert_eq!(client.health().await.unwrap().service, "shield");
}
