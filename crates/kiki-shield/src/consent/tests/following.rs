//! What the follower of the log does, and what it does not believe.

use kiki_store::personal::ERASED;

use super::*;
use crate::consent::follow::Follower;
use crate::consent::model::{About, Record};

impl World {
    /// What this database's own outbox is to the log.
    async fn own_source(&self) -> Digest {
        let source = self.shield.0.store.source_id().await.unwrap();
        self.shield.0.pseudonyms.source(&TenantId::default_tenant(), source)
    }

    /// The log takes an entry from an outbox.
    async fn hear_of(&self, source: Digest, position: i64, kind: &str, resource: &str, customer: &str) {
        let draft = self.shield.draft(&caller("a"), kind, "record", resource);
        let (id, at) = (rand::random(), self.clock.now());
        let event = AuditEvent { id: Uuid::from_u128(id), at, customer: customer.to_owned(), ..draft };
        self.shield.record(source, vec![(position, event)]).await.unwrap();
    }

    pub(super) async fn follow(&self) -> Follower {
        let stores = Stores::new(vec![Arc::new(ConsentStore::new(self.shield.0.store.clone()))]).unwrap();
        Follower::open(self.shield.clone(), stores).await.unwrap()
    }
}

#[tokio::test]
async fn the_register_follows_the_log_where_a_row_is_missing_or_was_never_decided() {
    on_both(async |db| {
        let world = World::new(db).await;
        let tenant: TenantId = "a".parse().unwrap();
        let made = world.give(Wanted { channel: Channel::Email, ..wanted("ann") }).await.unwrap();
        world.revoke(wanted("ann")).await;
        let who = world.shield.somebody(&tenant, "ann").await.unwrap();
        let expected = world.acts("ann").await;
        assert_eq!(expected, [(Act::Grant, State::Standing), (Act::Revoke, State::Standing)]);

        // As after the database was put back: the rows are not there.
        let store = ConsentStore::new(db.store.clone());
        assert_eq!(store.erase(&tenant, &[who.id]).await.unwrap(), 2);
        world.follow().await.catch_up().await.unwrap();
        assert_eq!(world.acts("ann").await, expected);
        let history = world.shield.consent_history(&tenant, "ann", None, 9).await.unwrap();
        assert_eq!((history[0].0.id, history[0].0.entry), (made.record.id, made.record.entry));
        assert_eq!(history[0].0.source, "log");
        world.follow().await.catch_up().await.unwrap();
        assert_eq!(world.acts("ann").await.len(), 2, "each once");

        let lost = Record { id: Uuid::from_u128(9), state: State::Noted, entry: None, ..made.record };
        let mut tx = db.store.begin().await.unwrap();
        repo::insert(&mut tx, (&tenant, who.id), &lost, &repo::Sealed::default()).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(repo::void_noted(&db.store, lost.at).await.unwrap(), 0, "it may still be decided");
        assert_eq!(repo::void_noted(&db.store, lost.at.plus(1)).await.unwrap(), 1);
    })
    .await;
}

/// The log is the second register of erasures: what tells of one must be an entry that it takes.
#[tokio::test]
async fn an_erasure_is_in_the_log_as_what_it_is() {
    on_both(async |db| {
        let world = World::new(db).await;
        let tenant: TenantId = "a".parse().unwrap();
        let who = world.shield.somebody(&tenant, "ann").await.unwrap();
        world.shield.0.subjects.destroy(&tenant, &[who.id], Cause::Request, "").await.unwrap();
        let waiting = outbox::pending(&db.store, crate::jobs::AUDIT_TOPIC, 10).await.unwrap();
        let entry = world.shield.readable(&tenant, waiting[0].position, &waiting[0].event.payload);
        assert_eq!((entry.event_type.as_str(), entry.resource), (ERASED, format!("subject/{}", who.id)));
    })
    .await;
}

#[tokio::test]
async fn who_the_log_tells_of_as_erased_is_erased_again() {
    on_both(async |db| {
        let world = World::new(db).await;
        let tenant: TenantId = "a".parse().unwrap();
        world.give(wanted("ann")).await.unwrap();
        world.give(wanted("bob")).await.unwrap();
        let who = world.shield.somebody(&tenant, "ann").await.unwrap();
        world.hear_of(world.own_source().await, 1, ERASED, &format!("subject/{}", who.id), "").await;
        world.follow().await.catch_up().await.unwrap();
        assert!(world.shield.person(&tenant, "ann", Mint::No).await.unwrap().is_none());
        assert_eq!(world.acts("bob").await, [(Act::Grant, State::Standing)]);
        assert_eq!(repo::history(&db.store, (&tenant, who.id), None, 9).await.unwrap(), []);
    })
    .await;
}

/// Whoever may add entries to the log could otherwise erase anybody, whatever holds them, and agree in their name.
#[tokio::test]
async fn what_another_service_says_of_people_is_not_believed() {
    on_both(async |db| {
        let world = World::new(db).await;
        let tenant: TenantId = "a".parse().unwrap();
        world.give(wanted("ann")).await.unwrap();
        let who = world.shield.somebody(&tenant, "ann").await.unwrap();
        let (erased, ann) = (format!("subject/{}", who.id), Digest(who.pseudonym).to_string());
        let agreed = About::Purpose(Purpose::DataSharing, Channel::Any).resource(Uuid::from_u128(7));
        let named = db.store.source_id().await.unwrap();
        for source in [Uuid::from_u128(5), named].map(|id| world.shield.0.pseudonyms.source(&tenant, id)) {
            world.hear_of(source, 1, ERASED, &erased, "").await;
            world.hear_of(source, 2, "consent.grant", &agreed, &ann).await;
        }
        world.hear_of(world.own_source().await, 1, "consent.grant", &agreed, &ann).await;
        let noted = world.shield.draft(&caller("a"), ERASED, "erase", &erased);
        world.shield.0.governor.decide(Command::Note { from: None }, noted).await.unwrap();
        world.follow().await.catch_up().await.unwrap();
        assert!(world.shield.person(&tenant, "ann", Mint::No).await.unwrap().is_some());
        assert_eq!(world.acts("ann").await, [(Act::Grant, State::Standing)], "her own, and no other");
    })
    .await;
}

/// An entry's own time is what whoever sent it says, and the governor's stays ahead of a clock that was put back.
#[tokio::test]
async fn an_entry_of_a_time_to_come_holds_nothing_up() {
    on_both(async |db| {
        let world = World::new(db).await;
        let tenant: TenantId = "a".parse().unwrap();
        let own = world.own_source().await;
        let ann = world.shield.somebody(&tenant, "ann").await.unwrap();
        world.clock.advance(DAY);
        world.hear_of(own, 1, ERASED, "subject/nobody", "").await;
        world.clock.set(NOW);
        world.hear_of(own, 2, ERASED, &format!("subject/{}", ann.id), "").await;
        let is_there = async |name| world.shield.person(&tenant, name, Mint::No).await.unwrap().is_some();
        world.follow().await.catch_up().await.unwrap();
        assert!(!is_there("ann").await, "before anything is served");

        let bob = world.shield.somebody(&tenant, "bob").await.unwrap();
        world.hear_of(own, 3, ERASED, &format!("subject/{}", bob.id), "").await;
        let mut follower = world.follow().await;
        // The views that it follows come behind the log.
        for _ in 0..1_000 {
            follower.step(30_000).await.unwrap();
            if !is_there("bob").await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("nor when it goes on");
    })
    .await;
}

/// Whoever profiles asks the person's row, and a database that was put back has it as of its day.
#[tokio::test]
async fn rows_say_what_the_log_says_of_who_objected_or_restricted_before_anything_is_served() {
    on_both(async |db| {
        let world = World::new(db).await;
        let (a, tenant): (_, TenantId) = (caller("a"), "a".parse().unwrap());
        let person = async |name| world.shield.somebody(&tenant, name).await.unwrap();
        for (name, bar) in [("ann", Bar::Objected), ("bob", Bar::Restricted), ("eve", Bar::Objected)] {
            let set = world.shield.bar(&a, &person(name).await, bar, true).await.unwrap();
            assert!(set.is_some(), "{name}");
        }
        let who = person("eve").await;
        world.shield.bar(&a, &who, Bar::Objected, false).await.unwrap();
        assert!(!person("eve").await.objected);
        // As after the database was put back: ann and bob had not asked yet, eve had not agreed again.
        let subjects = &world.shield.0.subjects;
        subjects.object(&tenant, &[person("ann").await.id], false).await.unwrap();
        subjects.restrict(&tenant, &[person("bob").await.id], false).await.unwrap();
        subjects.object(&tenant, &[person("eve").await.id], true).await.unwrap();
        let store = ConsentStore::new(db.store.clone());
        store.erase(&tenant, &[person("ann").await.id, person("eve").await.id]).await.unwrap();
        let apart = async || outbox::pending(&db.store, crate::consent::OBJECTION_TOPIC, 9).await.unwrap().len();
        let told = apart().await;
        world.follow().await.catch_up().await.unwrap();
        let flags = async |name| {
            let who = person(name).await;
            (who.objected, who.restricted)
        };
        assert_eq!((flags("ann").await, flags("bob").await), ((true, false), (false, true)));
        assert_eq!(flags("eve").await, (false, false));
        assert_eq!((told, apart().await), (1, 2), "services apart are told once more of eve alone");
    })
    .await;
}
