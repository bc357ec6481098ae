//! Stories of breaches on both databases, with a clock that is turned.

use std::sync::Arc;
use std::time::Duration;

use kiki_kit::problem::Problem;
use kiki_store::outbox;
use kiki_store::testing::on_both;
use kiki_types::UnixMillis;
use kiki_types::event::AuditEvent;

use super::model::Notification;
use super::service::{Breaches, Said};
use super::store::BreachStore;
use crate::once::Claim;
use crate::testing::{NOW, World, caller};

const HOUR: Duration = Duration::from_secs(3_600);
const MARK: &str = "a laptop with the list of subscribers was stolen";

fn said() -> Said {
    Said {
        natures: Some(vec!["confidentiality".to_owned()]),
        categories: Some(vec!["contact".to_owned()]),
        persons_about: Some(120),
        records_about: Some(340),
        risk: Some("high".to_owned()),
        facts: Some(MARK.to_owned()),
        effects: text("strangers may write to them"),
        measures: text("the thief was reported"),
        ..Said::default()
    }
}

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

/// The audit entries that wait, without those of others.
async fn entries(world: &World) -> Vec<AuditEvent> {
    let waiting = outbox::pending(&world.store, crate::jobs::AUDIT_TOPIC, 100).await.unwrap();
    let events = waiting.iter().map(|one| serde_json::from_str::<AuditEvent>(&one.event.payload).unwrap());
    events.filter(|event| event.event_type.starts_with("breach.")).collect()
}

async fn kinds(world: &World) -> Vec<(String, String)> {
    entries(world).await.into_iter().map(|event| (event.event_type, event.reason)).collect()
}

#[tokio::test]
async fn a_breach_is_sealed_and_its_entries_say_nothing_of_what_happened() {
    on_both(async |db| {
        let world = World::new(db).await;
        let breaches = Breaches::new(world.shield.clone());
        let made = breaches.record(&caller("default"), None, &said(), &Claim::NONE).await.unwrap();
        assert_eq!((made.aware_at, made.texts.facts.as_str()), (NOW, MARK));
        let found = breaches.breach(&caller("default"), made.id).await.unwrap();
        assert_eq!(found, made);
        let row = sqlx_facts(&world).await;
        assert!(!row.windows(MARK.len()).any(|part| part == MARK.as_bytes()), "the row is in the clear");
        let told = entries(&world).await;
        assert_eq!((told.len(), told[0].resource.clone()), (1, format!("breach/{}", made.id)));
        assert!(!serde_json::to_string(&told).unwrap().contains("laptop"));
        let another = breaches.breach(&caller("other"), made.id).await;
        assert_eq!(Problem::from(another.unwrap_err()).code(), "not_found");
    })
    .await;
}

async fn sqlx_facts(world: &World) -> Vec<u8> {
    super::repo::waiting(&world.store, 10).await.unwrap().remove(0).1.texts.facts
}

#[tokio::test]
async fn reminders_come_at_their_hours_each_once_until_the_authority_was_told() {
    on_both(async |db| {
        let world = World::new(db).await;
        let breaches = Breaches::new(world.shield.clone());
        let made = breaches.record(&caller("default"), None, &said(), &Claim::NONE).await.unwrap();
        assert_eq!(breaches.remind().await.unwrap(), 0);
        let mut published = Vec::new();
        for hour in 1..=80 {
            world.clock.advance(HOUR);
            let again = breaches.remind().await.unwrap() + breaches.remind().await.unwrap();
            published.extend(std::iter::repeat_n(hour, again));
        }
        assert_eq!(published, [24, 48, 66, 72]);
        let told: Vec<_> = kinds(&world).await.into_iter().skip(1).collect();
        let expected = [("breach.due", "24h"), ("breach.due", "48h"), ("breach.due", "66h"), ("breach.due", "72h")];
        assert_eq!(told, expected.map(|(kind, reason)| (kind.to_owned(), reason.to_owned())));
        let second = breaches.record(&caller("default"), None, &said(), &Claim::NONE).await.unwrap();
        world.clock.advance(HOUR * 73);
        let at = UnixMillis(NOW.0 + 80 * 3_600_000).rfc3339();
        let told = Said { authority_at: Some(at), delay_reason: text("the office was closed"), ..Said::default() };
        breaches.change(&caller("default"), made.id, &told).await.unwrap();
        assert_eq!(breaches.remind().await.unwrap(), 1, "one for the breach that nobody looked after");
        let last = kinds(&world).await.pop().unwrap();
        assert_eq!(last, ("breach.overdue".to_owned(), "72h".to_owned()));
        let second = breaches.breach(&caller("default"), second.id).await.unwrap();
        assert_eq!(second.notification(breaches.now()), Notification::Overdue);
    })
    .await;
}

#[tokio::test]
async fn a_breach_ends_only_with_what_the_law_wants_of_it() {
    on_both(async |db| {
        let world = World::new(db).await;
        let breaches = Breaches::new(world.shield.clone());
        let me = caller("default");
        let empty = Said { effects: text(""), measures: None, ..said() };
        let made = breaches.record(&me, None, &empty, &Claim::NONE).await.unwrap();
        let change = async |said: Said| breaches.change(&me, made.id, &said).await.map_err(Problem::from);
        let close = || Said { closed: Some(true), ..Said::default() };
        let gone = Said { risk: text("unlikely"), facts: text(""), ..close() };
        let refused = change(gone).await.unwrap_err();
        assert_eq!(refused.code(), "breach_incomplete");
        let wanted = "facts, effects, measures, unlikely_because";
        assert!(format!("{refused:?}").contains(wanted), "{refused:?}");
        let early = || Some(NOW.plus(-1).rfc3339());
        let before = change(Said { authority_at: early(), ..Said::default() }).await.unwrap_err();
        assert_eq!(before.field(), Some("authority_notified_at"));
        let before = change(Said { persons_at: early(), ..Said::default() }).await.unwrap_err();
        assert_eq!(before.field(), Some("persons_notified_at"));
        change(Said { effects: said().effects, measures: said().measures, ..Said::default() }).await.unwrap();
        world.clock.advance(HOUR * 72 + Duration::from_millis(1));
        let late = || Said { authority_at: Some(breaches.now().rfc3339()), ..Said::default() };
        assert_eq!(change(late()).await.unwrap_err().field(), Some("delay_reason"));
        let ahead = Said { authority_at: Some(breaches.now().plus(1).rfc3339()), ..Said::default() };
        assert_eq!(change(ahead).await.unwrap_err().field(), Some("authority_notified_at"));
        let told = change(Said { delay_reason: text("nobody was at the office"), ..late() }).await.unwrap();
        assert_eq!(
            (told.notification(breaches.now()), told.missing()),
            (Notification::Late, vec!["persons_notified_at"])
        );
        let closed = change(Said { persons_reason: text("the disk was encrypted"), ..close() }).await.unwrap();
        assert_eq!(closed.closed_at, Some(breaches.now()));
        let more = Said { effects: text("none"), ..Said::default() };
        assert_eq!(change(more).await.unwrap_err().code(), "breach_closed");
        let open = change(Said { closed: Some(false), ..Said::default() }).await.unwrap();
        assert_eq!((open.closed_at, open.texts.facts.as_str()), (None, MARK));
    })
    .await;
}

#[tokio::test]
async fn the_log_hears_from_which_risk_to_which_a_breach_went() {
    on_both(async |db| {
        let world = World::new(db).await;
        let breaches = Breaches::new(world.shield.clone());
        let made = breaches.record(&caller("default"), None, &said(), &Claim::NONE).await.unwrap();
        let unlikely = Said { risk: text("unlikely"), risk_reason: text("the disk was sealed"), ..Said::default() };
        let changed = breaches.change(&caller("default"), made.id, &unlikely).await.unwrap();
        assert_eq!(breaches.breach(&caller("default"), made.id).await.unwrap(), changed);
        assert_eq!(changed.texts.risk_reason, text("the disk was sealed"));
        let reasons: Vec<_> = kinds(&world).await.into_iter().map(|(_, reason)| reason).collect();
        assert_eq!(reasons, ["due, risk high", "not_required, risk high to unlikely"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_with_its_field() {
    on_both(async |db| {
        let world = World::new(db).await;
        let breaches = Breaches::new(world.shield.clone());
        for (field, wrong) in [
            ("nature", Said { natures: Some(vec!["theft".to_owned()]), ..said() }),
            ("nature", Said { natures: Some(Vec::new()), ..said() }),
            ("categories", Said { categories: Some(vec!["ann@mail.example".to_owned()]), ..said() }),
            ("persons_about", Said { persons_about: Some(-1), ..said() }),
            ("risk", Said { risk: text("some"), ..said() }),
            ("facts", Said { facts: Some("x".repeat(20_000)), ..said() }),
        ] {
            let refused = breaches.record(&caller("default"), None, &wrong, &Claim::NONE).await.map_err(Problem::from);
            assert_eq!(refused.unwrap_err().field(), Some(field));
        }
        let ahead = breaches.record(&caller("default"), Some("2199-01-01T00:00:00Z"), &said(), &Claim::NONE).await;
        assert_eq!(Problem::from(ahead.unwrap_err()).field(), Some("aware_at"));
        assert!(entries(&world).await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn closed_breaches_go_when_the_time_of_records_is_over_and_open_ones_stay() {
    use kiki_store::personal::{Cutoffs, Expired, PersonalStore as _};
    on_both(async |db| {
        let world = World::new(db).await;
        let breaches = Breaches::new(world.shield.clone());
        let me = caller("default");
        let mut made = Vec::new();
        for _ in 0..3 {
            let unlikely = Said { risk: text("unlikely"), risk_reason: text("the disk was sealed"), ..said() };
            made.push(breaches.record(&me, None, &unlikely, &Claim::NONE).await.unwrap().id);
        }
        for id in &made[..2] {
            breaches.change(&me, *id, &Said { closed: Some(true), ..Said::default() }).await.unwrap();
        }
        let store: Arc<BreachStore> = BreachStore::new(world.store.clone());
        let at =
            |cutoff| Cutoffs { now: cutoff, sessions: cutoff, marketing: cutoff, customers: cutoff, audit: cutoff };
        let tenant = "default".parse().unwrap();
        let expire = async |cutoff, dry| store.expire(&tenant, &at(cutoff), 1, dry).await.unwrap();
        assert_eq!(expire(NOW, false).await.rows, 0, "not before");
        assert_eq!(expire(NOW.plus(1), true).await, Expired { rows: 2, oldest: Some(NOW) });
        assert_eq!((expire(NOW.plus(1), false).await.rows, expire(NOW.plus(1), false).await.rows), (1, 1));
        assert_eq!(expire(NOW.plus(1), false).await.rows, 0);
        let left = breaches.breaches(&me, (UnixMillis(0), UnixMillis(i64::MAX)), None, 10).await.unwrap();
        assert_eq!(left.iter().map(|breach| breach.id).collect::<Vec<_>>(), [made[2]]);
    })
    .await;
}
