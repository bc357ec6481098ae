use kiki_store::testing::{on_both, put_outbox_back};
use kiki_store::{StoreError, outbox};
use kiki_types::event::{AuditEvent, Outcome};

use super::world::World;
use crate::engage::AUDIT_TOPIC;
use crate::engage::jobs::{Relay, RelayError};

fn relay(world: &World) -> Relay {
    Relay::new(world.store.clone(), world.shield_transport(), "key".to_owned())
}

fn logged(world: &World) -> Vec<AuditEvent> {
    let rules = world.shield.0.lock().unwrap();
    rules.log.iter().map(|record| serde_json::from_str(&record.event_json).unwrap()).collect()
}

#[tokio::test]
async fn what_engage_did_is_in_the_log_in_order_and_holds_nothing_personal() {
    on_both(async |db| {
        let world = World::new(&db.store, 3).await;
        world.shield.0.lock().unwrap().consented.remove("00002");
        let id = world.campaign("100").await;
        world.run(&id).await;
        let handed_over = relay(&world).hand_over().await.unwrap();
        let events = logged(&world);
        assert_eq!(handed_over, u64::try_from(events.len()).unwrap());
        let kinds: Vec<&str> = events.iter().map(|event| event.event_type.as_str()).collect();
        assert_eq!(kinds[..2], ["campaign.create", "campaign.run"]);
        assert_eq!(kinds[2..5], ["message.send"; 3]);
        assert_eq!(kinds[5..], ["campaign.run.end"]);
        let refused: Vec<&AuditEvent> = events.iter().filter(|event| event.outcome == Outcome::Denied).collect();
        assert_eq!((refused.len(), refused[0].reason.as_str()), (1, "consent"));
        let rules = world.shield.0.lock().unwrap();
        assert!(rules.log.iter().all(|record| !record.event_json.contains("00002")));
        assert!(events.iter().all(|event| event.actor == "actor-8"));
    })
    .await;
}

#[tokio::test]
async fn an_entry_whose_answer_was_lost_is_in_the_log_once() {
    on_both(async |db| {
        let world = World::new(&db.store, 1).await;
        world.campaign("100").await;
        let mut first = relay(&world);
        assert_eq!(first.hand_over().await.unwrap(), 1);
        world.campaign("100").await;
        world.shield.0.lock().unwrap().lose_answer = true;
        assert!(matches!(first.hand_over().await, Err(RelayError::Shield(_))));
        assert_eq!(outbox::pending(&world.store, AUDIT_TOPIC, 10).await.unwrap().len(), 1);
        // After a crash, which loses nothing else.
        let mut again = relay(&world);
        assert_eq!(again.hand_over().await.unwrap(), 1);
        assert_eq!(again.hand_over().await.unwrap(), 0);
        assert_eq!(logged(&world).len(), 2);
    })
    .await;
}

#[tokio::test]
async fn a_database_that_was_put_back_hands_nothing_over_until_it_is_moved_on() {
    on_both(async |db| {
        let world = World::new(&db.store, 1).await;
        for _ in 0..3 {
            world.campaign("100").await;
        }
        assert_eq!(relay(&world).hand_over().await.unwrap(), 3);
        // As a backup of the time before the second one has it.
        put_outbox_back(&world.store, 1).await;
        let mut relay = relay(&world);
        let behind = |result| matches!(result, Err(RelayError::Store(StoreError::PutBack { last: 3, .. })));
        assert!(behind(relay.hand_over().await), "before anything is drawn again");
        for _ in 0..4 {
            world.campaign("100").await;
        }
        assert!(behind(relay.hand_over().await), "and after so much that the positions look right");
        assert_eq!(outbox::pending(&world.store, AUDIT_TOPIC, 10).await.unwrap().len(), 4);
        assert_eq!(logged(&world).len(), 3);
        outbox::advance(&world.store, AUDIT_TOPIC, 3).await.unwrap();
        assert_eq!(relay.hand_over().await.unwrap(), 4);
        assert_eq!(logged(&world).len(), 7);
    })
    .await;
}

#[tokio::test]
async fn what_another_relay_of_the_database_hands_over_first_is_no_failure() {
    on_both(async |db| {
        let world = World::new(&db.store, 1).await;
        world.campaign("100").await;
        world.shield.0.lock().unwrap().beside = Some(world.store.clone());
        assert_eq!(relay(&world).hand_over().await.unwrap(), 0);
        assert_eq!(logged(&world).len(), 1);
        world.campaign("100").await;
        world.shield.0.lock().unwrap().takes_nothing = true;
        assert!(
            matches!(relay(&world).hand_over().await, Err(RelayError::Shield(_))),
            "an answer that takes nothing is"
        );
    })
    .await;
}
