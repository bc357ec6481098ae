use super::*;
use crate::testing::on_both;

const NOW: UnixMillis = UnixMillis(1_770_000_000_000);

fn hash(text: &str) -> String {
    format!("{:x}", Sha256::digest(format!("a secret{text}")))
}

fn key(tenant: &str, key: &str, request: &str) -> Key {
    Key::new(&tenant.parse().unwrap(), "test.create", key, request.as_bytes(), hash).unwrap()
}

fn created() -> Response {
    Response { status: 201, body: b"{\"id\":7}".to_vec() }
}

async fn begin_alone(store: &Store, key: &Key, now: UnixMillis) -> Begin {
    let mut tx = store.begin().await.unwrap();
    let begun = begin(&mut tx, key, now).await.unwrap();
    tx.commit().await.unwrap();
    begun
}

async fn finish_alone(store: &Store, key: &Key) {
    let mut tx = store.begin().await.unwrap();
    assert!(finish(&mut tx, key, &created()).await.unwrap());
    tx.commit().await.unwrap();
}

#[test]
fn a_key_is_short_visible_text() {
    let tenant = TenantId::default_tenant();
    assert!(Key::new(&tenant, "test", "a-1", b"", hash).is_ok());
    for bad in ["", "a b", "ä", "a\n", &"x".repeat(256)] {
        assert_eq!(Key::new(&tenant, "test", bad, b"", hash), Err(NotAKey), "{bad:?}");
    }
}

#[test]
fn a_derived_id_depends_on_everything_that_makes_the_key() {
    let ids = [
        key("acme", "k", "a"),
        key("acme", "k", "b"),
        key("acme", "j", "a"),
        key("globex", "k", "a"),
        Key::new(&"acme".parse().unwrap(), "test.delete", "k", b"a", hash).unwrap(),
    ]
    .map(|key| key.derived_id());
    let distinct: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
    assert_eq!(key("acme", "k", "a").derived_id(), ids[0]);
    assert_eq!(ids[0].get_version_num(), 8);
}

#[test]
fn nobody_without_the_secret_can_test_what_a_key_or_a_request_was() {
    let key = key("acme", "ann.miller@example.com", "{}");
    for guess in ["ann.miller@example.com", "{}"] {
        let plain = format!("{:x}", Sha256::digest(guess));
        assert!(key.key_hash != plain && key.request_hash != plain, "{guess}");
    }
    assert_ne!(key.key_hash, key.request_hash);
}

#[tokio::test]
async fn a_key_is_fresh_then_in_progress_then_answered_and_conflicts_with_another_request() {
    on_both(async |db| {
        let (mine, other) = (key("acme", "k", "a"), key("acme", "k", "b"));
        assert_eq!(begin_alone(&db.store, &mine, NOW).await, Begin::Fresh);
        assert_eq!(begin_alone(&db.store, &mine, NOW).await, Begin::InProgress);
        assert_eq!(begin_alone(&db.store, &other, NOW).await, Begin::Conflict);
        finish_alone(&db.store, &mine).await;
        assert_eq!(begin_alone(&db.store, &mine, NOW).await, Begin::Replay(created()));
        assert_eq!(begin_alone(&db.store, &other, NOW).await, Begin::Conflict);
    })
    .await;
}

#[tokio::test]
async fn another_tenants_same_key_is_another_key() {
    on_both(async |db| {
        assert_eq!(begin_alone(&db.store, &key("acme", "k", "a"), NOW).await, Begin::Fresh);
        assert_eq!(begin_alone(&db.store, &key("globex", "k", "b"), NOW).await, Begin::Fresh);
        finish_alone(&db.store, &key("globex", "k", "b")).await;
        assert_eq!(begin_alone(&db.store, &key("acme", "k", "a"), NOW).await, Begin::InProgress);
    })
    .await;
}

#[tokio::test]
async fn what_is_rolled_back_leaves_the_key_free() {
    on_both(async |db| {
        let key = key("acme", "k", "a");
        let mut tx = db.store.begin().await.unwrap();
        assert_eq!(begin(&mut tx, &key, NOW).await.unwrap(), Begin::Fresh);
        finish(&mut tx, &key, &created()).await.unwrap();
        tx.rollback().await.unwrap();
        assert_eq!(begin_alone(&db.store, &key, NOW).await, Begin::Fresh);
    })
    .await;
}

#[tokio::test]
async fn a_lapsed_lease_frees_the_key_for_the_same_request_only() {
    on_both(async |db| {
        let (mine, other) = (key("acme", "k", "a"), key("acme", "k", "b"));
        begin_alone(&db.store, &mine, NOW).await;
        let lapsed = NOW.plus(LEASE_MS);
        assert_eq!(begin_alone(&db.store, &mine, lapsed.plus(-1)).await, Begin::InProgress);
        assert_eq!(begin_alone(&db.store, &other, lapsed).await, Begin::Conflict);
        assert_eq!(begin_alone(&db.store, &mine, lapsed).await, Begin::Fresh);
        assert_eq!(begin_alone(&db.store, &mine, lapsed).await, Begin::InProgress);
    })
    .await;
}

#[tokio::test]
async fn whoever_lost_the_key_to_another_is_told_when_they_finish() {
    on_both(async |db| {
        let key = key("acme", "k", "a");
        begin_alone(&db.store, &key, NOW).await;
        assert_eq!(begin_alone(&db.store, &key, NOW.plus(LEASE_MS)).await, Begin::Fresh);
        finish_alone(&db.store, &key).await;
        let mut tx = db.store.begin().await.unwrap();
        let late = Response { status: 201, body: b"{\"id\":8}".to_vec() };
        assert!(!finish(&mut tx, &key, &late).await.unwrap());
        tx.commit().await.unwrap();
        assert_eq!(begin_alone(&db.store, &key, NOW.plus(LEASE_MS)).await, Begin::Replay(created()));
    })
    .await;
}

async fn claim_alone(store: &Store, key: &mut Key, now: UnixMillis) -> Begin {
    let mut tx = store.begin().await.unwrap();
    let begun = claim(&mut tx, key, now).await.unwrap();
    tx.commit().await.unwrap();
    begun
}

async fn abandon_alone(store: &Store, key: &Key) {
    let mut tx = store.begin().await.unwrap();
    abandon(&mut tx, key).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn the_id_of_a_claimed_key_is_that_of_its_life() {
    on_both(async |db| {
        let [first, waiting, over, again, later, last] = &mut [(); 6].map(|()| key("acme", "k", "a"));
        claim_alone(&db.store, first, NOW).await;
        assert_eq!(claim_alone(&db.store, waiting, NOW.plus(1)).await, Begin::InProgress);
        assert_eq!(claim_alone(&db.store, over, NOW.plus(LEASE_MS)).await, Begin::Fresh);
        abandon_alone(&db.store, over).await;
        assert_eq!(claim_alone(&db.store, again, NOW.plus(LEASE_MS + 1)).await, Begin::Fresh);
        let life = again.derived_id();
        assert_eq!([&*first, &*waiting, &*over].map(Key::derived_id), [life; 3]);
        finish_alone(&db.store, again).await;
        let expired = NOW.plus(LEASE_MS + 1 + LIFE_MS);
        assert_eq!(claim_alone(&db.store, later, expired).await, Begin::Fresh);
        assert_ne!(later.derived_id(), life, "where the row is still there");
        purge(&db.store, expired.plus(LIFE_MS), 10).await.unwrap();
        assert_eq!(claim_alone(&db.store, last, expired.plus(LIFE_MS)).await, Begin::Fresh);
        assert!(![life, later.derived_id()].contains(&last.derived_id()), "where the row is gone");
    })
    .await;
}

#[tokio::test]
async fn whoever_lost_a_claim_to_another_does_not_end_that() {
    on_both(async |db| {
        let (mut slow, mut quick) = (key("acme", "k", "a"), key("acme", "k", "a"));
        claim_alone(&db.store, &mut slow, NOW).await;
        let lapsed = NOW.plus(LEASE_MS);
        assert_eq!(claim_alone(&db.store, &mut quick, lapsed).await, Begin::Fresh);
        abandon_alone(&db.store, &slow).await;
        assert_eq!(begin_alone(&db.store, &key("acme", "k", "a"), lapsed).await, Begin::InProgress);
        let mut tx = db.store.begin().await.unwrap();
        assert!(!finish(&mut tx, &slow, &created()).await.unwrap());
        assert!(finish(&mut tx, &quick, &created()).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn the_same_request_starts_from_what_its_first_try_did() {
    on_both(async |db| {
        let start = async |key: &Key, said: &[u8]| {
            let mut tx = db.store.begin().await.unwrap();
            let first = start_from(&mut tx, key, said).await.unwrap();
            tx.commit().await.unwrap();
            first
        };
        let [slow, quick, late] = &mut [(); 3].map(|()| key("acme", "k", "a"));
        claim_alone(&db.store, slow, NOW).await;
        assert_eq!(start(slow, b"first").await.unwrap(), b"first");
        claim_alone(&db.store, quick, NOW.plus(LEASE_MS)).await;
        assert_eq!(start(slow, b"slow").await, None);
        assert_eq!(start(quick, b"second").await.unwrap(), b"first");
        abandon_alone(&db.store, quick).await;
        let mut other = key("acme", "k", "b");
        claim_alone(&db.store, &mut other, NOW.plus(LEASE_MS)).await;
        assert_eq!(start(&other, b"other").await.unwrap(), b"other");
        abandon_alone(&db.store, &other).await;
        claim_alone(&db.store, late, NOW.plus(LEASE_MS + LIFE_MS)).await;
        assert_eq!(start(late, b"late").await.unwrap(), b"late", "in another life");
    })
    .await;
}

#[tokio::test]
async fn another_request_may_take_a_key_that_was_given_back() {
    on_both(async |db| {
        let (mine, other) = (key("acme", "k", "a"), key("acme", "k", "b"));
        begin_alone(&db.store, &mine, NOW).await;
        abandon_alone(&db.store, &mine).await;
        assert_eq!(begin_alone(&db.store, &other, NOW).await, Begin::Fresh);
        assert_eq!(begin_alone(&db.store, &mine, NOW).await, Begin::Conflict);
    })
    .await;
}

#[tokio::test]
async fn an_abandoned_key_is_free_and_an_answered_one_cannot_be_abandoned() {
    on_both(async |db| {
        let key = key("acme", "k", "a");
        for expected in [Begin::Fresh, Begin::Fresh] {
            assert_eq!(begin_alone(&db.store, &key, NOW).await, expected);
            abandon_alone(&db.store, &key).await;
        }
        begin_alone(&db.store, &key, NOW).await;
        finish_alone(&db.store, &key).await;
        abandon_alone(&db.store, &key).await;
        assert_eq!(begin_alone(&db.store, &key, NOW).await, Begin::Replay(created()));
    })
    .await;
}

#[tokio::test]
async fn an_expired_key_is_another_key_and_is_purged_in_batches() {
    on_both(async |db| {
        for text in ["k1", "k2", "k3"] {
            begin_alone(&db.store, &key("acme", text, "a"), NOW).await;
        }
        let expired = NOW.plus(LIFE_MS);
        assert_eq!(begin_alone(&db.store, &key("acme", "k1", "b"), expired).await, Begin::Fresh);
        assert_eq!(purge(&db.store, expired.plus(-1), 10).await.unwrap(), 0);
        assert_eq!(purge(&db.store, expired, 1).await.unwrap(), 1);
        assert_eq!(purge(&db.store, expired, 10).await.unwrap(), 1);
        assert_eq!(begin_alone(&db.store, &key("acme", "k1", "b"), expired).await, Begin::InProgress);
    })
    .await;
}

#[tokio::test]
async fn of_two_at_once_one_acts_and_the_other_gets_its_answer() {
    on_both(async |db| {
        let once = async || {
            let key = key("acme", "k", "a");
            let mut tx = db.store.begin().await.unwrap();
            let begun = begin(&mut tx, &key, NOW).await.unwrap();
            if begun == Begin::Fresh {
                finish(&mut tx, &key, &created()).await.unwrap();
            }
            tx.commit().await.unwrap();
            begun
        };
        let both = tokio::join!(once(), once());
        let expected = [(Begin::Fresh, Begin::Replay(created())), (Begin::Replay(created()), Begin::Fresh)];
        assert!(expected.contains(&both), "{both:?}");
    })
    .await;
}
