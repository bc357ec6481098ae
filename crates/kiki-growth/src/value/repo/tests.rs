use std::collections::BTreeSet;

use kiki_models::ltv::{BgNbd, GammaGamma, Purchase, Verdict};
use kiki_store::personal::{Mint, SubjectId};
use kiki_store::testing::{People, RandomIds, TestDb, on_both};
use kiki_types::{Currency, IdSource as _, UnixMillis};

use super::*;
use crate::value::kind::Purchases;
use crate::value::model::{Covariances, Parameters};

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn model(created_at: i64, customers: i64) -> SavedModel {
    SavedModel {
        id: ModelId::new(&RandomIds),
        version: created_at + 1,
        created_at: UnixMillis(created_at),
        promoted_at: UnixMillis(created_at + 1),
        currency: Currency::USD,
        parameters: Parameters {
            purchases: Purchases::BgNbd(
                BgNbd::new(0.242_594_522_424_173_54, 4.413_602_72, 0.792_921_83, 2.425_905_73).unwrap(),
            ),
            gamma_gamma: GammaGamma::new(6.249_572_28, 3.744_224_67, 15.443_521_02).unwrap(),
        },
        covariances: Covariances {
            purchases: vec![vec![0.25, 0.1], vec![0.1, 0.5]].try_into().unwrap(),
            gamma_gamma: vec![vec![1.0 / 3.0]].try_into().unwrap(),
        },
        purchases_log_likelihood: -9_582.429_117_3,
        gamma_gamma_log_likelihood: -4_055.917_694_8,
        data_sha256: "ab".repeat(32),
        orders: 6_919,
        customers,
        calibrate_until: "1997-09-30".to_owned(),
        figures: serde_json::json!({"weeks": 39.0}),
    }
}

/// Ids whose order differs between bytes and languages.
fn known(position: u32) -> Known {
    let prefix = ["A", "Z", "a", "ä"][position as usize % 4];
    Known {
        id: format!("{prefix}{position}").into(),
        summary: Summary {
            frequency: position,
            recency_days: position * 2,
            age_days: position * 3,
            repeat_micros: i128::from(i64::MAX - i64::from(position)),
        },
    }
}

async fn of(people: &People, tenant: &TenantId, names: &[&str], mint: Mint) -> Vec<Subject> {
    people.resolve_many(tenant, names, mint).await.unwrap().into_iter().flatten().collect()
}

fn ids(subjects: &[Subject]) -> Vec<SubjectId> {
    subjects.iter().map(|subject| subject.id).collect()
}

async fn customers_of(
    store: &Store,
    people: &People,
    tenant: &TenantId,
    model: ModelId,
    after: i64,
    limit: usize,
) -> Result<Vec<Known>, StoreError> {
    let customers = customers_after(store, people, tenant, model, after, limit).await?;
    Ok(customers.into_iter().map(|(_, _, known)| known).collect())
}

async fn save(db: &TestDb, people: &People, tenant: &TenantId, model: &SavedModel, customers: &[Known]) {
    let names: Vec<&str> = customers.iter().map(|one| &*one.id).collect();
    let subjects = of(people, tenant, &names, Mint::Yes).await;
    let rows: Vec<_> = subjects.iter().zip(customers.iter().map(|one| &one.summary)).collect();
    let mut tx = db.store.begin().await.unwrap();
    insert_model(&mut tx, tenant, model, &Revenue::default()).await.unwrap();
    insert_customers(&mut tx, tenant, model.id, 0, &rows).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_model_and_its_customers_are_read_back_as_they_were() {
    on_both(async |db| {
        let (own, other) = (tenant("a"), tenant("b"));
        let people = People::of(&db.store).await;
        let saved = model(5, 1_201);
        let customers: Vec<Known> = (0..1_201).map(known).collect();
        save(db, &people, &own, &saved, &customers).await;

        assert_eq!(current(&db.store, &own).await.unwrap().as_ref(), Some(&saved));
        assert_eq!(super::model(&db.store, &own, saved.id).await.unwrap(), Some(saved.clone()));
        let all = customers_of(&db.store, &people, &own, saved.id, -1, 5_000).await.unwrap();
        assert_eq!(all, customers);
        let some = customers_of(&db.store, &people, &own, saved.id, 600, 2).await.unwrap();
        assert_eq!(some, customers[601..603]);

        let wanted: Vec<&str> = customers.iter().step_by(2).map(|one| &*one.id).chain(["nobody"]).collect();
        let wanted = of(&people, &own, &wanted, Mint::Yes).await;
        let reading = serving::read(&db.store, &own, &ids(&wanted)).await.unwrap().unwrap();
        assert_eq!((reading.model, reading.observed_until), (saved.id, None));
        let found: Vec<Summary> = wanted.iter().filter_map(|subject| reading.of(subject).unwrap().0).collect();
        assert_eq!(found, customers.iter().step_by(2).map(|one| one.summary).collect::<Vec<_>>());

        assert_eq!(current(&db.store, &other).await.unwrap(), None);
        assert_eq!(super::model(&db.store, &other, saved.id).await.unwrap(), None);
        assert_eq!(customers_of(&db.store, &people, &other, saved.id, -1, 10).await.unwrap(), []);
        assert!(serving::read(&db.store, &other, &ids(&wanted)).await.unwrap().is_none());
    })
    .await;
}

#[tokio::test]
async fn models_stay_and_only_the_newest_and_those_in_force_keep_their_customers() {
    on_both(async |db| {
        let (own, other) = (tenant("a"), tenant("b"));
        let people = People::of(&db.store).await;
        let mut models: Vec<SavedModel> = (0..6).map(|at| model(at, 1)).collect();
        // The first one was promoted last, and the second before it.
        for (saved, at) in models.iter_mut().zip([9, 8, 0, 0, 0, 0]) {
            saved.promoted_at = UnixMillis(at);
            save(db, &people, &own, saved, &[known(0)]).await;
        }
        let elsewhere = model(0, 1);
        save(db, &people, &other, &elsewhere, &[known(0)]).await;
        let mut tx = db.store.begin().await.unwrap();
        versions::forget_customers(&mut tx, &own, 2).await.unwrap();
        tx.commit().await.unwrap();

        assert_eq!(current(&db.store, &own).await.unwrap().as_ref(), Some(&models[0]));
        let mut tx = db.store.begin().await.unwrap();
        let newest = versions::newest(&mut tx, &own).await.unwrap();
        assert_eq!((newest.version, newest.created_at, newest.promoted_at), (6, UnixMillis(5), UnixMillis(9)));
        assert_eq!(versions::newest(&mut tx, &tenant("c")).await.unwrap().version, 0);
        assert_eq!(versions::in_force(&mut tx, &own).await.unwrap(), models[..2]);
        tx.rollback().await.unwrap();
        for (saved, kept) in models.iter().zip([true, true, false, false, true, true]) {
            assert_eq!(versions::has_customers(&db.store, &own, saved.id).await.unwrap(), kept, "{}", saved.version);
        }
        assert!(!versions::has_customers(&db.store, &other, models[0].id).await.unwrap());
        let mut tx = db.store.begin().await.unwrap();
        versions::set_promoted(&mut tx, &other, models[0].id, UnixMillis(0)).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(
            current(&db.store, &own).await.unwrap().as_ref(),
            Some(&models[0]),
            "another tenant changes nothing"
        );

        let listed = versions::list(&db.store, &own, 6, 2).await.unwrap();
        assert_eq!(listed, [models[4].clone(), models[3].clone()]);
        assert_eq!(versions::of_version(&db.store, &own, 2).await.unwrap().as_ref(), Some(&models[1]));
        assert_eq!(versions::of_version(&db.store, &other, 2).await.unwrap(), None);
        assert_eq!(customers_of(&db.store, &people, &other, elsewhere.id, -1, 9).await.unwrap().len(), 1);
    })
    .await;
}

#[tokio::test]
async fn orders_are_kept_once_the_latest_word_about_each_and_by_tenant() {
    on_both(async |db| {
        let (own, other, people) = (tenant("a"), tenant("b"), People::of(&db.store).await);
        let both = of(&people, &own, &["ann", "bob"], Mint::Yes).await;
        let ordered = |day, micros, counts| live::Ordered { purchase: Purchase { day, micros }, counts };
        let put = async |rows: &[(String, &Subject, live::Ordered)], last| {
            let mut tx = db.store.begin().await.unwrap();
            live::put(&mut tx, &own, UnixMillis(5), rows).await.unwrap();
            live::observed(&mut tx, &own, last).await.unwrap();
            tx.commit().await.unwrap();
        };
        assert_eq!(live::observed_until(&db.store, &own).await.unwrap(), None);
        let key = |name: &str| name.to_owned();
        put(&[(key("1"), &both[0], ordered(20, 7, true)), (key("2"), &both[0], ordered(10, 5, true))], 20).await;
        put(&[(key("1"), &both[0], ordered(21, 3, true)), (key("3"), &both[1], ordered(11, 9, true))], 11).await;
        put(&[(key("3"), &both[1], ordered(11, 9, false))], 11).await;
        assert_eq!(live::observed_until(&db.store, &own).await.unwrap(), Some(20));
        assert_eq!(live::observed_until(&db.store, &other).await.unwrap(), None);
        let found = live::of(&db.store, &own, &both).await.unwrap();
        let purchases = [Purchase { day: 10, micros: 5 }, Purchase { day: 21, micros: 3 }];
        assert_eq!(found.get(&both[0].id).map(Vec::as_slice), Some(&purchases[..]));
        assert_eq!(found.get(&both[1].id), None, "cancelled");
        assert!(live::of(&db.store, &other, &both).await.unwrap().is_empty());

        let who_ordered =
            async |tenant, after, limit| live::who_ordered(&db.store, tenant, after, limit).await.unwrap();
        let handles = who_ordered(&own, None, 10).await;
        let both: BTreeSet<_> = both.iter().map(|one| one.id).collect();
        assert_eq!((handles.len(), handles.iter().copied().collect::<BTreeSet<_>>()), (2, both), "each once");
        assert_eq!(who_ordered(&own, None, 1).await, handles[..1]);
        assert_eq!(who_ordered(&own, Some(handles[0]), 10).await, handles[1..]);
        assert_eq!(who_ordered(&other, None, 10).await, []);
    })
    .await;
}

#[tokio::test]
async fn whom_a_model_does_not_know_and_who_may_be_looked_at_is_found_by_handle() {
    on_both(async |db| {
        let (own, other, people) = (tenant("a"), tenant("b"), People::of(&db.store).await);
        let saved = model(5, 1);
        save(db, &people, &own, &saved, &[known(0)]).await;
        let names = [&*known(0).id, "ann", "bob", "cid", "dan"];
        let subjects = of(&people, &own, &names, Mint::Yes).await;
        let handles: Vec<SubjectId> = subjects.iter().map(|subject| subject.id).collect();
        people.restrict(&own, &handles[2..3], true).await.unwrap();
        people.object(&own, &handles[3..4], true).await.unwrap();
        let found = async |tenant, model| {
            let found = live::unknown_to(&db.store, &people, tenant, model, &handles).await.unwrap();
            let is_in_order = found.is_sorted_by_key(|subject| subject.id.to_string());
            (is_in_order, found.iter().map(|subject| subject.name().to_owned()).collect::<BTreeSet<_>>())
        };
        let set = |names: &[&str]| (true, names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>());
        assert_eq!(found(&own, saved.id).await, set(&["ann", "dan"]));
        assert_eq!(found(&own, ModelId::new(&RandomIds)).await, set(&["A0", "ann", "dan"]), "of another model");
        assert_eq!(found(&other, saved.id).await, set(&[]));
    })
    .await;
}

#[tokio::test]
async fn a_reading_tells_of_each_what_the_model_in_force_knew_and_what_came_since() {
    on_both(async |db| {
        let (own, other, people) = (tenant("a"), tenant("b"), People::of(&db.store).await);
        let customers: Vec<Known> = (0..5).map(known).collect();
        let (before, now) = (model(0, 5), model(1, 3));
        save(db, &people, &own, &before, &customers).await;
        save(db, &people, &own, &now, &customers[..3]).await;
        save(db, &people, &other, &model(2, 5), &customers).await;
        let names: Vec<&str> = customers.iter().map(|one| &*one.id).collect();
        let who = of(&people, &own, &names, Mint::Yes).await;
        let ordered = |day, counts| live::Ordered { purchase: Purchase { day, micros: 7 }, counts };
        let mut tx = db.store.begin().await.unwrap();
        let rows = [(0, 31), (0, 30), (3, 32), (4, 33)];
        let rows = rows.map(|(index, day)| (day.to_string(), &who[index], ordered(day, day != 33)));
        live::put(&mut tx, &own, UnixMillis(5), &rows).await.unwrap();
        live::observed(&mut tx, &own, 33).await.unwrap();
        tx.commit().await.unwrap();
        people.restrict(&own, &[who[1].id], true).await.unwrap();
        people.object(&own, &[who[2].id], true).await.unwrap();

        for asked in [5, 4, 3, 1, 0] {
            let reading = serving::read(&db.store, &own, &ids(&who[..asked])).await.unwrap().unwrap();
            assert_eq!((reading.model, reading.observed_until), (now.id, Some(33)));
            let told: Vec<_> = who.iter().map(|subject| reading.of(subject).unwrap()).collect();
            let on = |days: &[i32]| days.iter().map(|&day| Purchase { day, micros: 7 }).collect::<Vec<_>>();
            let nothing = (None, Vec::new());
            let mut expected = vec![nothing.clone(); 5];
            expected[0] = (Some(customers[0].summary), on(&[30, 31]));
            expected[3] = (None, on(&[32]));
            expected[asked..].fill(nothing);
            assert_eq!(told, expected, "of {asked}");
        }
        // Where more rows come than are read at once, fewer people are asked for: nothing is left out.
        let whole = serving::read(&db.store, &own, &ids(&who)).await.unwrap().unwrap();
        let parts = serving::read_at_once(&db.store, &own, &ids(&who), 3).await.unwrap().unwrap();
        for subject in &who {
            assert_eq!(parts.of(subject).unwrap(), whole.of(subject).unwrap());
        }
        let orders = live::of(&db.store, &own, &who).await.unwrap();
        assert_eq!(live::of_at_once(&db.store, &own, &who, 3).await.unwrap(), orders);
        assert!(serving::read_at_once(&db.store, &own, &ids(&who), 2).await.is_err(), "two of one person");
        assert!(live::of_at_once(&db.store, &own, &who, 2).await.is_err());

        let of_other = serving::read(&db.store, &other, &ids(&who)).await.unwrap().unwrap();
        assert_eq!((of_other.observed_until, of_other.of(&who[0]).unwrap()), (None, (None, Vec::new())));
    })
    .await;
}

#[tokio::test]
async fn a_training_is_found_by_its_tenant_as_it_ended() {
    on_both(async |db| {
        let (own, other) = (tenant("a"), tenant("b"));
        let (well, badly) = (RandomIds.uuid(), RandomIds.uuid());
        let mut tx = db.store.begin().await.unwrap();
        for id in [well, badly] {
            trainings::insert(&mut tx, &own, id, (UnixMillis(1), UnixMillis(2))).await.unwrap();
        }
        trainings::end(&mut tx, &own, well, Ok(7)).await.unwrap();
        trainings::end(&mut tx, &other, badly, Ok(7)).await.unwrap();
        tx.commit().await.unwrap();
        let found = async |tenant, id| trainings::find(&db.store, tenant, id).await.unwrap();
        let done = found(&own, well).await.unwrap();
        assert_eq!((done.state.as_str(), done.version, done.lease_until), ("done", 7, UnixMillis(2)));
        assert_eq!(found(&own, badly).await.unwrap().state, "running", "another tenant ends nothing");
        assert_eq!(found(&other, well).await, None);
        let mut tx = db.store.begin().await.unwrap();
        trainings::end(&mut tx, &own, badly, Err("no")).await.unwrap();
        tx.commit().await.unwrap();
        let failed = found(&own, badly).await.unwrap();
        assert_eq!((failed.state.as_str(), failed.version, failed.problem.as_str()), ("failed", 0, "no"));
    })
    .await;
}

#[tokio::test]
async fn no_byte_of_a_row_tells_who_bought_or_what() {
    on_both(async |db| {
        let (own, people) = (tenant("a"), People::of(&db.store).await);
        let ann = Known { id: "ann.miller@example.com".into(), ..known(7) };
        save(db, &people, &own, &model(0, 1), std::slice::from_ref(&ann)).await;
        let row = sqlx::query("SELECT subject, sealed FROM value_customer").fetch_one(db.store.pool()).await.unwrap();
        let subject = of(&people, &own, &[&ann.id], Mint::No).await.remove(0);
        assert_eq!(row.text("subject").unwrap(), subject.id.to_string());
        let sealed = row.bytes_opt("sealed").unwrap().unwrap();
        let plain = sealed_form(&ann.summary).unwrap();
        assert_eq!((plain.len(), sealed.len()), (20, 20 + 29));
        assert!(plain.chunks(4).all(|part| !sealed.windows(4).any(|at| at == part)));
    })
    .await;
}

#[tokio::test]
async fn of_two_looks_at_once_one_is_kept() {
    on_both(async |db| {
        let (own, other) = (tenant("a"), tenant("b"));
        let look =
            |at, verdict| drift::Look { model: model(5, 1).id, looked_at: UnixMillis(at), until_day: 20, verdict };
        let put = async |tenant: &TenantId, before, look| {
            let mut tx = db.store.begin().await.unwrap();
            let kept = drift::put_look(&mut tx, tenant, before, look).await.unwrap();
            live::observed(&mut tx, tenant, 30).await.unwrap();
            tx.commit().await.unwrap();
            kept
        };
        let (first, second) = (look(0, Verdict::Steady), look(7, Verdict::Drifting));
        assert!(put(&own, None, first).await);
        assert!(!put(&own, None, second).await, "somebody was first");
        assert!(put(&own, Some(first), second).await);
        assert!(!put(&own, Some(first), look(8, Verdict::Steady)).await);
        assert!(put(&other, None, look(1, Verdict::TooEarly)).await, "another tenant's");
        let feeds = drift::feeds_after(&db.store, None, 10).await.unwrap();
        let found: Vec<_> = feeds.iter().map(|feed| (&feed.tenant, feed.until_day, feed.last)).collect();
        assert_eq!(found[0], (&own, 30, Some(second)));
        assert_eq!((found.len(), found[1].0), (2, &other));
        assert_eq!(drift::feeds_after(&db.store, Some(&own), 10).await.unwrap(), feeds[1..]);
        let mut verdicts = drift::verdicts(&db.store).await.unwrap();
        verdicts.sort_unstable();
        assert_eq!(verdicts, [(Verdict::TooEarly, 1), (Verdict::Drifting, 1)]);
    })
    .await;
}

#[tokio::test]
async fn who_is_watched_comes_by_handle_each_once_and_only_of_the_tenant() {
    on_both(async |db| {
        let (own, people) = (tenant("a"), People::of(&db.store).await);
        let (saved, customers) = (model(5, 30), (0..30).map(known).collect::<Vec<Known>>());
        save(db, &people, &own, &saved, &customers).await;
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = drift::known_after(&db.store, &people, &own, saved.id, after, 7).await.unwrap();
            after = page.last().map(|(person, _)| person.id);
            let is_last = page.len() < 7;
            all.extend(page);
            if is_last {
                break;
            }
        }
        assert!(all.is_sorted_by_key(|(person, _)| person.id.to_string()));
        let mut frequencies: Vec<u32> = all.iter().map(|(_, summary)| summary.frequency).collect();
        frequencies.sort_unstable();
        assert_eq!(frequencies, (0..30).collect::<Vec<u32>>());
        let elsewhere = tenant("b");
        assert_eq!(drift::known_after(&db.store, &people, &elsewhere, saved.id, None, 7).await.unwrap().len(), 0);
    })
    .await;
}
