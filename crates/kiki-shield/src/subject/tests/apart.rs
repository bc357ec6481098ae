//! Services with databases of their own, which are told of objections that were taken back, and of restrictions that ended.

use std::sync::atomic::Ordering;

use kiki_store::outbox;
use kiki_store::personal::{Mint, Subject};
use kiki_store::testing::{RandomIds, on_both};
use kiki_types::event::Envelope;
use kiki_types::{IdSource as _, TenantId};

use super::world::{World, officer};
use crate::consent::{Changed, OBJECTION_TOPIC};
use crate::subject::model::Kind;

/// Both services apart are to be told of `people`, who object to nothing.
async fn tell_of(world: &World, people: &[&Subject]) {
    for store in [&world.orders, &world.notes] {
        store.is_apart.store(true, Ordering::SeqCst);
        store.objected.lock().unwrap().extend(people.iter().map(|person| (person.id, true)));
    }
    let mut tx = world.requests.store().begin().await.unwrap();
    for person in people {
        let payload = serde_json::to_string(&Changed { subject: person.id }).unwrap();
        let (id, tenant, topic) = (RandomIds.uuid(), person.tenant.clone(), OBJECTION_TOPIC.to_owned());
        outbox::publish(&mut tx, Envelope { id, tenant, at: world.requests.now(), topic, payload }).unwrap();
    }
    tx.commit().await.unwrap();
}

/// Whether `person` is left out by orders and by notes.
fn left_out(world: &World, person: &Subject) -> [bool; 2] {
    [&world.orders, &world.notes].map(|store| store.objected.lock().unwrap()[&person.id])
}

#[tokio::test]
async fn a_service_that_is_away_keeps_no_other_from_being_told_however_many_wait() {
    on_both(async |db| {
        let world = World::new(db).await;
        let (ann, bea) = (world.person("ann").await, world.person("bea").await);
        world.orders.fails.store(true, Ordering::SeqCst);
        tell_of(&world, &[&ann; 100]).await;
        tell_of(&world, &[&bea]).await;
        let mut from = 0;
        assert_eq!(world.requests.tell_waiting(&mut from).await.unwrap(), 101);
        assert_eq!(left_out(&world, &bea), [true, false]);
        world.orders.fails.store(false, Ordering::SeqCst);
        assert_eq!(world.requests.tell_waiting(&mut from).await.unwrap(), 0);
        assert_eq!(left_out(&world, &bea), [false, false]);
    })
    .await;
}

#[tokio::test]
async fn a_tenant_that_has_no_way_to_a_service_keeps_no_other_tenant_from_it() {
    on_both(async |db| {
        let world = World::new(db).await;
        let other: TenantId = "other".parse().unwrap();
        let ann = world.person("ann").await;
        let eve = world.people.resolve(&other, "eve", Mint::Yes).await.unwrap().unwrap();
        *world.orders.unreachable.lock().unwrap() = Some(other);
        tell_of(&world, &[&eve, &ann]).await;
        assert_eq!(world.requests.tell_waiting(&mut 0).await.unwrap(), 1);
        assert_eq!((left_out(&world, &eve), left_out(&world, &ann)), ([true, false], [false, false]));
    })
    .await;
}

#[tokio::test]
async fn a_service_that_was_away_when_a_restriction_ended_hears_of_it_as_soon_as_it_answers() {
    on_both(async |db| {
        let world = World::new(db).await;
        let ann = world.person("ann").await;
        world.orders.is_apart.store(true, Ordering::SeqCst);
        let restriction = world.ask("ann", Kind::Restriction).await;
        world.carry_out(restriction).await;
        let restricted = || world.orders.restricted.lock().unwrap()[&ann.id];
        world.orders.fails.store(true, Ordering::SeqCst);
        assert!(world.requests.lift(&officer(), restriction).await.is_err());
        assert!(restricted());
        world.orders.fails.store(false, Ordering::SeqCst);
        assert_eq!((world.requests.tell_waiting(&mut 0).await.unwrap(), restricted()), (0, false));

        let again = world.ask("ann", Kind::Restriction).await;
        world.carry_out(again).await;
        tell_of(&world, &[&ann]).await;
        assert_eq!((world.requests.tell_waiting(&mut 0).await.unwrap(), restricted()), (0, true), "it stands");
    })
    .await;
}
