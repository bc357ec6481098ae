use kiki_store::outbox;
use kiki_store::testing::on_both;
use kiki_types::event::{AuditEvent, Outcome};

use super::world::World;
use crate::engage::AUDIT_TOPIC;
use crate::engage::jobs::{RelayError, relay_pending};

fn logged(world: &World) -> Vec<AuditEvent> {
    let rules = world.shield.0.lock().unwrap();
    rules.log.iter().map(|record| serde_json::from_str(&record.event_json).unwrap()).collect()
}

#[tokio::test]
async fn what_engage_did_is_in_the_log_in_order_and_holds_nothing_personal() {
    on_both(async |db| {
        let world = World::new(&db.store, 3);
        world.shield.0.lock().unwrap().consented.remove("00002");
        let id = world.campaign("100").await;
        world.run(&id).await;
        let handed_over = relay_pending(&world.store, &world.shield_transport()).await.unwrap();
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
        assert!(events.iter().all(|event| event.actor == "hash-of-8"));
    })
    .await;
}

#[tokio::test]
async fn an_entry_whose_answer_was_lost_is_in_the_log_once() {
    on_both(async |db| {
        let world = World::new(&db.store, 1);
        world.campaign("100").await;
        let shield = world.shield_transport();
        world.shield.0.lock().unwrap().lose_answer = true;
        assert!(matches!(relay_pending(&world.store, &shield).await, Err(RelayError::Shield(_))));
        assert_eq!(outbox::pending(&world.store, AUDIT_TOPIC, 10).await.unwrap().len(), 1);
        assert_eq!(relay_pending(&world.store, &shield).await.unwrap(), 1);
        assert_eq!(relay_pending(&world.store, &shield).await.unwrap(), 0);
        assert_eq!(logged(&world).len(), 1);
    })
    .await;
}
