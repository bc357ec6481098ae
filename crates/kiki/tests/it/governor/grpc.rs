//! The same verbs over gRPC, as other services ask.
//!
//! On several threads: the connection has to hear that the shield ends while the test waits for its end.

use kiki_proto::shield::v1::authorization_service_client::AuthorizationServiceClient;
use kiki_proto::shield::v1::budget_service_client::BudgetServiceClient;
use kiki_proto::shield::v1::control_service_client::ControlServiceClient;
use kiki_proto::shield::v1::limit::Kind;
use kiki_proto::shield::v1::{
    ApprovalLimit, ApproveRequest, Authorization, AuthorizationState as State, AuthorizeRequest, BudgetKind,
    CalendarLimit, CalendarUnit, CaptureRequest, DefineBudgetRequest, EachLimit, GetBudgetRequest, IncreaseRequest,
    Limit, ListBudgetsRequest, ListField, ListLimit, ListPendingRequest, ListStopsRequest, Money, OccurrencesLimit,
    RecordSpendRequest, RefundRequest, RejectRequest, RemoveBudgetRequest, ResumeRequest, StopRequest, TotalLimit,
    VelocityLimit, WindowLimit,
};
use tonic::Code;
use tonic::transport::Channel;

use super::Desk;

fn usd(units: i64) -> Option<Money> {
    Some(Money { micros: units * 1_000_000, currency: "USD".into() })
}

async fn channel(desk: &Desk) -> Channel {
    Channel::from_shared(desk.serving.url("shield", "")).unwrap().connect().await.unwrap()
}

fn ask(account: &str, units: i64) -> AuthorizeRequest {
    AuthorizeRequest { account: account.into(), amount: usd(units), ..Default::default() }
}

fn define(id: &str, account: &str, kind: Kind) -> DefineBudgetRequest {
    let limit = Some(Limit { kind: Some(kind) });
    DefineBudgetRequest { id: id.into(), account: account.into(), limit, ..Default::default() }
}

fn approval(units: i64, four_eyes: bool) -> Kind {
    Kind::Approval(ApprovalLimit { above: usd(units), seconds: 3600, four_eyes })
}

/// A client of authorizations, and limits that `growth` keeps.
async fn authorizations(desk: &Desk, limits: &[(&str, Kind)]) -> AuthorizationServiceClient<Channel> {
    let channel = channel(desk).await;
    for (id, kind) in limits {
        BudgetServiceClient::new(channel.clone()).define(define(id, "growth", kind.clone())).await.unwrap();
    }
    AuthorizationServiceClient::new(channel)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denial_is_an_answer_that_explains_itself() {
    let desk = Desk::open();
    let window = Kind::Window(WindowLimit { amount: usd(10), seconds: 3600 });
    let pace = Kind::Velocity(VelocityLimit { count: 9, seconds: 3600 });
    let mut client = authorizations(&desk, &[("hour", window), ("pace", pace)]).await;
    let held = client.authorize(ask("growth/mail", 8)).await.unwrap().into_inner();
    assert_eq!((held.state(), held.limits.len(), held.passes_at_ms), (State::Held, 3, 0));
    client.capture(CaptureRequest { id: held.id, amount: None }).await.unwrap();
    let dry = AuthorizeRequest { dry_run: true, ..ask("growth/mail", 3) };
    let would_be = client.authorize(dry).await.unwrap().into_inner();
    let denied = client.authorize(ask("growth/mail", 3)).await.unwrap().into_inner();
    assert_eq!((denied.state(), &denied.refused_by), (State::Denied, &vec!["hour".to_owned()]));
    assert_eq!((&would_be.limits, would_be.passes_at_ms), (&denied.limits, denied.passes_at_ms));
    let hour = denied.limits.iter().find(|limit| limit.id == "hour").unwrap();
    let numbers = [hour.most, hour.used, hour.held, hour.remaining];
    assert_eq!(numbers, [Some(10_000_000), Some(8_000_000), Some(0), Some(2_000_000)]);
    assert!(hour.refuses && hour.passes_at_ms > 0 && hour.passes_at_ms == denied.passes_at_ms, "{hour:?}");
    let pace = denied.limits.iter().find(|limit| limit.id == "pace").unwrap();
    assert!(pace.counts_authorizations && !pace.refuses && pace.used == Some(1), "{pace:?}");
    let dry = AuthorizeRequest { dry_run: true, ..ask("growth/mail", 1) };
    let would_be = client.authorize(dry).await.unwrap().into_inner();
    assert_eq!((would_be.state(), would_be.id.as_str()), (State::Held, ""));
    assert_eq!(desk.standing("hour").await, ["8.00", "0.00", "2.00"], "a dry run takes nothing");
    desk.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn holds_grow_and_captures_are_refunded() {
    let desk = Desk::open();
    let mut client = authorizations(&desk, &[("all", Kind::Total(TotalLimit { amount: usd(10) }))]).await;
    let id = client.authorize(ask("growth", 4)).await.unwrap().into_inner().id;
    let increase =
        |units| IncreaseRequest { id: id.clone(), amount: usd(units), idempotency_key: format!("more-{units}") };
    let grown = client.increase(increase(3)).await.unwrap().into_inner();
    assert_eq!((grown.state(), grown.amount.clone()), (State::Held, usd(7)));
    let again = client.increase(increase(3)).await.unwrap().into_inner();
    assert_eq!(again, grown, "a repeat grows nothing");
    let refused = client.increase(increase(4)).await.unwrap().into_inner();
    assert_eq!((refused.state(), &refused.amount, refused.refused_by.len()), (State::Denied, &usd(7), 1));
    assert_eq!(refused.limits.iter().find(|limit| limit.refuses).unwrap().id, "all");
    client.capture(CaptureRequest { id: id.clone(), amount: None }).await.unwrap();
    let refund = |units| RefundRequest { id: id.clone(), amount: usd(units), idempotency_key: "back".into() };
    for _ in 0..2 {
        assert_eq!(client.refund(refund(5)).await.unwrap().into_inner().refunded, usd(5));
    }
    assert_eq!(client.refund(refund(3)).await.unwrap_err().code(), Code::Aborted);
    let refund = |units| RefundRequest { id: id.clone(), amount: usd(units), ..Default::default() };
    assert_eq!(client.refund(refund(3)).await.unwrap_err().code(), Code::InvalidArgument);
    let gone = RecordSpendRequest { account: "growth".into(), amount: usd(20), ..Default::default() };
    let booked = client.record(gone).await.unwrap().into_inner();
    assert_eq!((booked.over, booked.authorization.unwrap().state()), (vec!["all".to_owned()], State::Captured));
    assert_eq!(desk.standing("all").await[0], "22.00");
    desk.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_listed_and_decided() {
    let desk = Desk::open();
    let mut client = authorizations(&desk, &[("big", approval(5, true))]).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let waits = client.authorize(ask("growth", 6)).await.unwrap().into_inner();
        assert_eq!(waits.state(), State::Pending);
        ids.push(waits.id);
    }
    let list = |page_token: &str| ListPendingRequest { page_size: 1, page_token: page_token.to_owned() };
    let first = client.list_pending(list("")).await.unwrap().into_inner();
    let second = client.list_pending(list(&first.next_page_token)).await.unwrap().into_inner();
    let listed: Vec<Authorization> = [first.authorizations, second.authorizations].concat();
    assert_eq!(listed.iter().map(|one| &one.id).collect::<Vec<_>>(), ids.iter().collect::<Vec<_>>());
    let approve = ApproveRequest { id: ids[0].clone() };
    let own = client.approve(approve.clone()).await.unwrap().into_inner();
    assert_eq!((own.state(), own.refused_by), (State::Pending, vec!["four_eyes".to_owned()]));
    let mut other = tonic::Request::new(approve);
    other.metadata_mut().insert("x-internal-api-key", super::KEY.parse().unwrap());
    assert_eq!(client.approve(other).await.unwrap().into_inner().state(), State::Held);
    let rejected = client.reject(RejectRequest { id: ids[1].clone() }).await.unwrap().into_inner();
    assert_eq!(rejected.state(), State::Rejected);
    let late = client.approve(ApproveRequest { id: ids[1].clone() }).await.unwrap_err();
    assert_eq!(late.code(), Code::Aborted);
    desk.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_budget_is_defined_read_and_removed() {
    let desk = Desk::open();
    let mut budgets = BudgetServiceClient::new(channel(&desk).await);
    let list = |field: ListField| ListLimit { field: field.into(), values: vec!["ads".into(), "model".into()] };
    let (unit, zone) = (CalendarUnit::Month.into(), "Europe/Berlin".to_owned());
    for (id, kind) in [
        ("window", Kind::Window(WindowLimit { amount: usd(5), seconds: 60 })),
        ("total", Kind::Total(TotalLimit { amount: usd(5) })),
        ("calendar", Kind::Calendar(CalendarLimit { amount: usd(5), unit, zone: zone.clone() })),
        ("each", Kind::Each(EachLimit { least: usd(1), most: usd(5) })),
        ("velocity", Kind::Velocity(VelocityLimit { count: 5, seconds: 60 })),
        ("occurrences", Kind::Occurrences(OccurrencesLimit { count: 5, unit, zone })),
        ("allow", Kind::Allow(list(ListField::Category))),
        ("deny", Kind::Deny(list(ListField::Payee))),
        ("between", Kind::Between(kiki_proto::shield::v1::BetweenLimit { from_ms: Some(1), until_ms: None })),
        ("approval", approval(5, true)),
    ] {
        let defined = budgets.define(define(id, "a", kind.clone())).await.unwrap().into_inner();
        assert_eq!(defined.limit.unwrap().kind, Some(kind.clone()), "{id}");
        assert_eq!(defined.standing.unwrap().kind, id);
        budgets.define(define(id, "a", kind.clone())).await.unwrap();
        let moved = budgets.define(define(id, "b", kind.clone())).await.unwrap_err();
        assert_eq!(moved.code(), Code::AlreadyExists, "{id}");
    }
    let old = DefineBudgetRequest {
        id: "total".into(),
        account: "a".into(),
        kind: BudgetKind::Total.into(),
        amount: usd(5),
        ..Default::default()
    };
    let same = budgets.define(old).await.unwrap().into_inner();
    assert_eq!((same.kind(), same.amount), (BudgetKind::Total, usd(5)), "the former words for the same");
    let total = Kind::Total(TotalLimit { amount: usd(6) });
    let replace = DefineBudgetRequest { replace: true, shadow: true, ..define("total", "a", total) };
    assert!(budgets.define(replace).await.unwrap().into_inner().shadow);
    let mut page = ListBudgetsRequest { page_size: 4, page_token: String::new() };
    let mut ids = Vec::new();
    loop {
        let found = budgets.list(page.clone()).await.unwrap().into_inner();
        ids.extend(found.budgets.into_iter().map(|budget| budget.id));
        page.page_token = found.next_page_token;
        if page.page_token.is_empty() {
            break;
        }
    }
    assert_eq!(ids.len(), 11, "with the seeds' own: {ids:?}");
    budgets.remove(RemoveBudgetRequest { id: "each".into() }).await.unwrap();
    let unknown = budgets.get(GetBudgetRequest { id: "each".into() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    let nothing = DefineBudgetRequest { id: "x".into(), ..Default::default() };
    assert_eq!(budgets.define(nothing).await.unwrap_err().code(), Code::InvalidArgument);
    desk.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_account_is_listed_and_refuses() {
    let desk = Desk::open();
    let channel = channel(&desk).await;
    let mut control = ControlServiceClient::new(channel.clone());
    let stopped = control.stop(StopRequest { account: "growth".into() }).await.unwrap().into_inner();
    assert_eq!(stopped.stopped, ["growth"]);
    let denied = AuthorizationServiceClient::new(channel).authorize(ask("growth/mail", 1)).await.unwrap().into_inner();
    assert_eq!((denied.state(), denied.refused_by), (State::Denied, vec!["stopped".to_owned()]));
    assert_eq!(control.list_stops(ListStopsRequest::default()).await.unwrap().into_inner().stopped, ["growth"]);
    let resumed = control.resume(ResumeRequest { account: "growth".into() }).await.unwrap().into_inner();
    assert!(resumed.stopped.is_empty());
    desk.end();
}
