//! What the stories of the module above do not tell: exports and requests whose time is over.

use kiki_store::personal::Mint;
use kiki_store::testing::{People, on_both};
use kiki_types::{TenantId, UnixMillis};

use super::work::{Part, keep_export};
use super::*;

fn request(subject: SubjectId, number: u128, ended_at: i64) -> Request {
    Request {
        tenant: TenantId::default_tenant(),
        id: uuid::Uuid::from_u128(number).into(),
        subject,
        kind: Kind::Access,
        regime: Regime::Gdpr,
        state: State::Completed,
        outcome: Some(Outcome::Whole),
        ground: None,
        received_at: UnixMillis(1),
        received_on: "1970-01-01".to_owned(),
        acknowledge_by: UnixMillis(0),
        due_at: UnixMillis(9),
        extended_due_at: UnixMillis(0),
        acknowledged_at: UnixMillis(2),
        verified_at: UnixMillis(3),
        verified_by: "code".to_owned(),
        extended_at: UnixMillis(0),
        ended_at: UnixMillis(ended_at),
        details: b"sealed".to_vec(),
        sent: Sent { count: 1, until: UnixMillis(4) },
        reminded: 1,
        step: 2,
        next_at: UnixMillis(5),
        lease_until: UnixMillis(0),
        waived_at: UnixMillis(0),
    }
}

/// Puts what is no name in the place of everybody's.
pub(in crate::subject) async fn damage_everybody(store: &Store) {
    sqlx::query("UPDATE subject SET name = wrapped").execute(store.pool()).await.unwrap();
}

#[tokio::test]
async fn a_request_reads_back_as_it_was_written() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let who = people.resolve(&TenantId::default_tenant(), "c", Mint::Yes).await.unwrap().unwrap().id;
        let written = request(who, 1, 7);
        let mut tx = db.store.begin().await.unwrap();
        insert(&mut tx, std::slice::from_ref(&written)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(find(&db.store, &written.tenant, written.id).await.unwrap(), Some(written));
    })
    .await;
}

#[tokio::test]
async fn a_dry_run_counts_what_the_run_removes() {
    on_both(async |db| {
        let people = People::of(&db.store).await;
        let tenant = TenantId::default_tenant();
        let who = people.resolve(&tenant, "c", Mint::Yes).await.unwrap().unwrap().id;
        let requests: Vec<_> =
            [10, 20, 30, 0].iter().zip(1..).map(|(&end, number)| request(who, number, end)).collect();
        let mut tx = db.store.begin().await.unwrap();
        insert(&mut tx, &requests).await.unwrap();
        for (request, until) in requests.iter().zip([100, 200, 300, 400]) {
            let part = Part { body: b"sealed".to_vec(), sha256: String::new(), until: UnixMillis(until) };
            keep_export(&mut tx, request, &[part]).await.unwrap();
        }
        tx.commit().await.unwrap();
        let exports = async |dry| held::expire_exports(&db.store, &tenant, UnixMillis(200), 10, dry).await.unwrap();
        let counted = exports(true).await;
        assert_eq!((counted.rows, counted.oldest), (2, Some(UnixMillis(100))));
        assert_eq!((exports(false).await, exports(true).await.rows), (counted, 0));
        let ended = async |dry| held::expire_requests(&db.store, &tenant, UnixMillis(25), 1, dry).await.unwrap();
        assert_eq!((ended(true).await.rows, ended(true).await.oldest), (2, Some(UnixMillis(10))));
        assert_eq!((ended(false).await.rows, ended(false).await.rows, ended(false).await.rows), (1, 1, 0));
        assert_eq!(find(&db.store, &tenant, requests[2].id).await.unwrap().as_ref(), Some(&requests[2]));
        assert!(find(&db.store, &tenant, requests[3].id).await.unwrap().is_some(), "what has not ended stays");
    })
    .await;
}
