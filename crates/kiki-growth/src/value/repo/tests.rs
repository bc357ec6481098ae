use kiki_models::ltv::{BgNbd, GammaGamma};
use kiki_store::personal::Mint;
use kiki_store::testing::{People, RandomIds, TestDb, on_both};
use kiki_types::{Currency, UnixMillis};

use super::*;
use crate::value::kind::Purchases;
use crate::value::model::Parameters;

fn tenant(name: &str) -> TenantId {
    name.parse().unwrap()
}

fn model(created_at: i64, customers: i64) -> SavedModel {
    SavedModel {
        id: ModelId::new(&RandomIds),
        created_at: UnixMillis(created_at),
        currency: Currency::USD,
        parameters: Parameters {
            purchases: Purchases::BgNbd(
                BgNbd::new(0.242_594_522_424_173_54, 4.413_602_72, 0.792_921_83, 2.425_905_73).unwrap(),
            ),
            gamma_gamma: GammaGamma::new(6.249_572_28, 3.744_224_67, 15.443_521_02).unwrap(),
        },
        purchases_log_likelihood: -9_582.429_117_3,
        gamma_gamma_log_likelihood: -4_055.917_694_8,
        data_sha256: "ab".repeat(32),
        orders: 6_919,
        customers,
        calibrate_until: "1997-09-30".to_owned(),
    }
}

/// Ids whose order differs between bytes and languages.
fn known(position: u32) -> Known {
    let prefix = ["A", "Z", "a", "ä"][position as usize % 4];
    Known {
        id: format!("{prefix}{position}").into(),
        position: position.into(),
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

async fn save(db: &TestDb, people: &People, tenant: &TenantId, model: &SavedModel, customers: &[Known]) {
    let names: Vec<&str> = customers.iter().map(|one| &*one.id).collect();
    let subjects = of(people, tenant, &names, Mint::Yes).await;
    let rows: Vec<_> = subjects.iter().zip(customers.iter().map(|one| &one.summary)).collect();
    let mut tx = db.store.begin().await.unwrap();
    insert_model(&mut tx, tenant, model).await.unwrap();
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
        let all = customers_after(&db.store, &people, &own, saved.id, -1, 5_000).await.unwrap();
        assert_eq!(all, customers);
        let some = customers_after(&db.store, &people, &own, saved.id, 600, 2).await.unwrap();
        assert_eq!(some, customers[601..603]);

        let wanted: Vec<&str> = customers.iter().step_by(2).map(|one| &*one.id).chain(["nobody"]).collect();
        let wanted = of(&people, &own, &wanted, Mint::Yes).await;
        let mut found = super::customers(&db.store, &own, saved.id, &wanted).await.unwrap();
        found.sort_by_key(|one| one.position);
        assert_eq!(found, customers.iter().step_by(2).cloned().collect::<Vec<_>>());
        assert_eq!(super::customers(&db.store, &own, saved.id, &[]).await.unwrap(), []);

        assert_eq!(current(&db.store, &other).await.unwrap(), None);
        assert_eq!(super::model(&db.store, &other, saved.id).await.unwrap(), None);
        assert_eq!(customers_after(&db.store, &people, &other, saved.id, -1, 10).await.unwrap(), []);
        let elsewhere = of(&people, &other, &["A0"], Mint::Yes).await;
        assert_eq!(super::customers(&db.store, &other, saved.id, &elsewhere).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn only_the_newest_models_of_a_tenant_are_kept() {
    on_both(async |db| {
        let (own, other) = (tenant("a"), tenant("b"));
        let people = People::of(&db.store).await;
        let models: Vec<SavedModel> = (0..4).map(|at| model(at, 1)).collect();
        for saved in &models {
            save(db, &people, &own, saved, &[known(0)]).await;
        }
        let elsewhere = model(0, 1);
        save(db, &people, &other, &elsewhere, &[known(0)]).await;
        let mut tx = db.store.begin().await.unwrap();
        delete_older(&mut tx, &own, 2).await.unwrap();
        tx.commit().await.unwrap();

        assert_eq!(current(&db.store, &own).await.unwrap().as_ref(), Some(&models[3]));
        let mut tx = db.store.begin().await.unwrap();
        assert_eq!(newest_time(&mut tx, &own).await.unwrap(), Some(UnixMillis(3)));
        assert_eq!(newest_time(&mut tx, &tenant("c")).await.unwrap(), None);
        tx.rollback().await.unwrap();
        for (saved, kept) in models.iter().zip([false, false, true, true]) {
            assert_eq!(super::model(&db.store, &own, saved.id).await.unwrap().is_some(), kept);
            assert_eq!(
                customers_after(&db.store, &people, &own, saved.id, -1, 9).await.unwrap().len(),
                usize::from(kept)
            );
        }
        assert_eq!(customers_after(&db.store, &people, &other, elsewhere.id, -1, 9).await.unwrap().len(), 1);
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
