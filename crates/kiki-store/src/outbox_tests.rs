use futures::future::join_all;
use kiki_types::IdSource as _;
use kiki_types::TenantId;
use tokio::sync::oneshot;

use super::*;
use crate::testing::{RandomIds, TestDb, on_both};

fn event(payload: &str) -> Envelope {
    Envelope {
        id: RandomIds.uuid(),
        tenant: TenantId::default_tenant(),
        at: UnixMillis(1_000),
        topic: "audit".to_owned(),
        payload: payload.to_owned(),
    }
}

async fn publish_one(store: &Store, payload: &str) {
    let mut tx = store.begin().await.unwrap();
    publish(&mut tx, event(payload)).unwrap();
    tx.commit().await.unwrap();
}

async fn payloads(store: &Store) -> Vec<String> {
    pending(store, "audit", PAGE_MAX).await.unwrap().into_iter().map(|pending| pending.event.payload).collect()
}

#[tokio::test]
async fn an_event_leaves_as_it_came_and_in_order() {
    on_both(async |db| {
        let (one, two) = (event("{\"n\":1}"), event("two"));
        let mut tx = db.store.begin().await.unwrap();
        publish(&mut tx, one.clone()).unwrap();
        publish(&mut tx, two.clone()).unwrap();
        tx.commit().await.unwrap();
        let expected = [Pending { position: 1, event: one }, Pending { position: 2, event: two }];
        assert_eq!(pending(&db.store, "audit", 10).await.unwrap(), expected);
        assert_eq!(pending(&db.store, "audit", 1).await.unwrap(), expected[..1]);
        assert_eq!(pending(&db.store, "mail", 10).await.unwrap(), []);
        assert_eq!(pending_after(&db.store, "audit", 1, 10).await.unwrap(), expected[1..]);
        assert_eq!(pending_after(&db.store, "audit", 2, 10).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn what_is_rolled_back_or_dropped_leaves_nothing_and_no_gap() {
    on_both(async |db| {
        let mut tx = db.store.begin().await.unwrap();
        publish(&mut tx, event("rolled back")).unwrap();
        tx.rollback().await.unwrap();
        let mut tx = db.store.begin().await.unwrap();
        publish(&mut tx, event("dropped")).unwrap();
        drop(tx);
        publish_one(&db.store, "kept").await;
        let left = pending(&db.store, "audit", 10).await.unwrap();
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].position, left[0].event.payload.as_str()), (1, "kept"));
    })
    .await;
}

#[tokio::test]
async fn what_was_delivered_is_not_pending_and_goes_after_its_time() {
    on_both(async |db| {
        for payload in ["a", "b", "c"] {
            publish_one(&db.store, payload).await;
        }
        assert_eq!(delivered(&db.store, "mail", 3).await.unwrap(), 0);
        assert_eq!(delivered(&db.store, "audit", 2).await.unwrap(), 2);
        assert_eq!(delivered(&db.store, "audit", 2).await.unwrap(), 0);
        assert_eq!(payloads(&db.store).await, ["c"]);
        assert_eq!(purge(&db.store, UnixMillis(1_000), 10).await.unwrap(), 0);
        assert_eq!(purge(&db.store, UnixMillis(1_001), 1).await.unwrap(), 1);
        assert_eq!(purge(&db.store, UnixMillis(1_001), 10).await.unwrap(), 1);
        assert_eq!(payloads(&db.store).await, ["c"]);
        publish_one(&db.store, "d").await;
        assert_eq!(pending(&db.store, "audit", 10).await.unwrap()[1].position, 4);
    })
    .await;
}

/// A reader that remembers the last position it saw must not miss one: whenever it looks, what it sees starts
/// where it stopped, without gaps.
#[tokio::test]
async fn a_reader_never_sees_a_position_before_a_lower_one() {
    on_both(async |db| {
        const WRITERS: usize = 6;
        const EACH: usize = 15;
        let total = i64::try_from(WRITERS * EACH).unwrap();
        let writers = join_all((0..WRITERS).map(async |writer| {
            for number in 0..EACH {
                publish_one(&db.store, &format!("{writer}:{number}")).await;
            }
        }));
        let reader = async {
            let mut seen = 0;
            while seen < total {
                for pending in pending(&db.store, "audit", PAGE_MAX).await.unwrap() {
                    assert!(pending.position <= seen + 1, "{} before {}", pending.position, seen + 1);
                    seen = seen.max(pending.position);
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(writers, reader);
    })
    .await;
}

/// The gap of a sequence, made on purpose: the first transaction has drawn its position and not committed.
#[tokio::test]
async fn on_postgres_a_later_position_waits_for_an_earlier_one() {
    let db = TestDb::postgres().await;
    let mut first = db.store.begin().await.unwrap();
    append(first.sql(), &[event("first")]).await.unwrap();
    let (done, mut is_done) = oneshot::channel();
    let second = async {
        publish_one(&db.store, "second").await;
        done.send(()).unwrap();
    };
    let story = async {
        while !waits_for_a_lock(&db.store).await {
            assert!(is_done.try_recv().is_err(), "the second committed although the first had drawn before it");
            tokio::task::yield_now().await;
        }
        assert_eq!(payloads(&db.store).await, [""; 0]);
        first.commit().await.unwrap();
    };
    tokio::join!(second, story);
    assert_eq!(payloads(&db.store).await, ["first", "second"]);
    db.store.close().await;
}

async fn waits_for_a_lock(store: &Store) -> bool {
    let waiting = sqlx::query(
        "SELECT count(*) AS n FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
    );
    waiting.fetch_one(store.pool()).await.unwrap().int("n").unwrap() > 0
}

#[tokio::test]
async fn a_transaction_publishes_a_bounded_number_of_events() {
    let db = TestDb::sqlite().await;
    let mut tx = db.store.begin().await.unwrap();
    for _ in 0..EVENTS_PER_TX_MAX {
        publish(&mut tx, event("")).unwrap();
    }
    assert!(matches!(publish(&mut tx, event("")), Err(StoreError::TooManyEvents)));
}

#[tokio::test]
async fn a_database_that_was_put_back_is_noticed_and_can_go_on() {
    on_both(async |db| {
        let store = &db.store;
        publish_one(store, "a").await;
        delivered(store, "audit", 1).await.unwrap();
        let mut put_back = PutBack::default();
        put_back.begin(store).await.unwrap();
        assert!(put_back.is_unknown());
        // What is drawn after the start does not hide it.
        for payload in ["b", "c", "d"] {
            publish_one(store, payload).await;
        }
        for last in [3, 9] {
            let error = put_back.check(store, "audit", last).await.unwrap_err();
            assert!(matches!(error, StoreError::PutBack { last: found, position: 4 } if found == last));
        }
        assert!(put_back.is_unknown());
        assert_eq!(advance(store, "audit", 9).await.unwrap(), 12);
        let positions = |pending: Vec<Pending>| pending.iter().map(|pending| pending.position).collect::<Vec<_>>();
        assert_eq!(positions(pending(store, "audit", 9).await.unwrap()), [10, 11, 12]);
        assert_eq!(payloads(store).await, ["b", "c", "d"]);
        put_back.check(store, "audit", 9).await.unwrap();
        assert!(!put_back.is_unknown());
        assert_eq!(advance(store, "audit", 9).await.unwrap(), 12, "once is enough");
        publish_one(store, "e").await;
        assert_eq!(position(store).await.unwrap(), 13);
    })
    .await;
}

#[tokio::test]
async fn what_another_relay_or_a_lost_answer_leaves_is_no_sign_of_being_put_back() {
    on_both(async |db| {
        let store = &db.store;
        publish_one(store, "handed on, and the answer was lost").await;
        let mut put_back = PutBack::default();
        put_back.begin(store).await.unwrap();
        publish_one(store, "handed on by another relay").await;
        put_back.check(store, "audit", 2).await.unwrap_err();
        delivered(store, "audit", 2).await.unwrap();
        put_back.check(store, "audit", 2).await.unwrap();
        let mut lost = PutBack::default();
        publish_one(store, "c").await;
        lost.begin(store).await.unwrap();
        lost.check(store, "audit", 3).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn how_long_an_event_waits_is_told() {
    on_both(async |db| {
        assert_eq!(waiting_since(&db.store, "audit").await.unwrap(), None);
        publish_one(&db.store, "a").await;
        assert_eq!(waiting_since(&db.store, "audit").await.unwrap(), Some(UnixMillis(1_000)));
        delivered(&db.store, "audit", 1).await.unwrap();
        assert_eq!(waiting_since(&db.store, "audit").await.unwrap(), None);
    })
    .await;
}
