//! Reports of shields to which little or nothing happened.

use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use kiki_spend::LimitKind;
use kiki_store::testing::on_both;
use kiki_types::Principal;
use serde_json::{Value, json};

use super::document::Document;
use super::recipients::Configured;
use super::repo;
use super::service::{Days, Reports, Statements, Wanted};
use crate::Caller;
use crate::breach::{Breaches, Said};
use crate::once::Claim;
use crate::testing::{NOW, World, caller};

const DAY: Duration = Duration::from_secs(86_400);

fn stated() -> Statements {
    Statements {
        controller: None,
        controller_contact: None,
        data_protection_officer: None,
        days: Days { sessions: 30, marketing: 365, customers: 365, audit: 2555 },
        epoch_days: 365,
        identity: "codes",
        zone: TimeZone::UTC,
        database: "SQLite",
        recipients: Configured::default(),
        has_witnesses: false,
    }
}

fn reports(world: &World) -> Reports {
    Reports::new(world.shield.clone(), Breaches::new(world.shield.clone()), stated())
}

fn said() -> Said {
    Said { natures: Some(vec!["integrity".to_owned()]), risk: Some("high".to_owned()), ..Said::default() }
}

/// The values of `column` in the rows of the only table.
fn column<'a>(made: &'a Document, name: &str) -> Vec<&'a Value> {
    let table = &made.tables[0];
    let place = table.columns.iter().position(|column| *column == name).unwrap();
    table.rows.iter().map(|row| &row[place]).collect()
}

/// The kind of evidence of each control that has some.
fn covered(made: &Document) -> Vec<(&Value, &Value)> {
    let pairs = column(made, "control").into_iter().zip(column(made, "kind"));
    pairs.filter(|(_, kind)| !kind.is_null()).collect()
}

fn is_covered(made: &Document, id: &str) -> bool {
    covered(made).iter().any(|(control, _)| *control == id)
}

/// Defines a limit, and waits until a checkpoint has its entry.
async fn limit(world: &World, caller: &Caller, id: &str) {
    let kind = LimitKind::Window { amount: 100, seconds: 60 };
    let entry = world.shield.define_budget(caller, id, "", kind, false).await.unwrap().unwrap();
    for _ in 0..3_000 {
        if world.shield.checkpoint().is_some_and(|checkpoint| checkpoint.size > entry) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no checkpoint of entry {entry}");
}

async fn wanted(reports: &Reports, name: &str, period: Option<&str>) -> Document {
    let wanted = Wanted { period: period.map(str::to_owned), ..Wanted::default() };
    reports.make(&caller("default"), name, &wanted).await.unwrap()
}

#[tokio::test]
async fn a_period_in_which_nothing_happened_has_settings_for_evidence_and_nothing_done() {
    on_both(async |db| {
        let world = World::new(db).await;
        limit(&world, &caller("default"), "of-ann").await;
        let made = wanted(&reports(&world), "controls", Some("2001-01")).await;
        assert!(!covered(&made).is_empty(), "settings are evidence");
        for (control, kind) in covered(&made) {
            assert_eq!(kind, "setting", "{control}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_is_one_that_was_not_made_by_the_program() {
    on_both(async |db| {
        let world = World::new(db).await;
        let me = caller("default");
        let itself = Principal::service(me.principal.tenant.clone(), "kiki-shield");
        limit(&world, &Caller { principal: Arc::new(itself), network: String::new() }, "usual").await;
        let made = wanted(&reports(&world), "controls", None).await;
        assert_eq!((is_covered(&made, "10.2"), is_covered(&made, "CC8.1")), (true, false));
        limit(&world, &me, "of-ann").await;
        assert!(is_covered(&wanted(&reports(&world), "controls", None).await, "CC8.1"));
    })
    .await;
}

#[tokio::test]
async fn breaches_prove_only_what_was_done_about_them() {
    on_both(async |db| {
        let world = World::new(db).await;
        let (reports, breaches) = (reports(&world), Breaches::new(world.shield.clone()));
        let made = breaches.record(&caller("default"), None, &said(), &Claim::NONE).await.unwrap();
        let (me, name) = (caller("default"), "controls");
        let document = wanted(&reports, name, None).await;
        assert!(is_covered(&document, "P6.3"), "it was recorded");
        for id in ["CC7.3", "A.5.24", "12.10", "CC7.2"] {
            assert!(!is_covered(&document, id), "{id}: nobody did anything");
        }
        let told = Said { authority_at: Some(NOW.rfc3339()), ..Said::default() };
        breaches.change(&me, made.id, &told).await.unwrap();
        let document = wanted(&reports, name, None).await;
        for id in ["CC7.3", "A.5.24", "12.10"] {
            assert!(is_covered(&document, id), "{id}: the authority was told");
        }
        let counts = repo::breaches(&world.store, &me.principal.tenant, (NOW, NOW.plus(1))).await.unwrap();
        assert_eq!((counts.recorded, counts.handled), (1, 1));
        let before = repo::breaches(&world.store, &me.principal.tenant, (NOW.plus(-1), NOW)).await.unwrap();
        assert_eq!(before.recorded, 0);
    })
    .await;
}

#[tokio::test]
async fn the_register_has_every_breach_and_open_ones_whatever_the_period() {
    on_both(async |db| {
        let world = World::new(db).await;
        let (reports, breaches, me) = (reports(&world), Breaches::new(world.shield.clone()), caller("default"));
        let text = |text: &str| Some(text.to_owned());
        let open = breaches.record(&me, None, &said(), &Claim::NONE).await.unwrap().id;
        let unlikely = Said {
            risk: text("unlikely"),
            risk_reason: text("all was sealed"),
            facts: text("a disk was lost"),
            effects: text("none"),
            measures: text("none"),
            closed: Some(true),
            ..said()
        };
        let closed = breaches.record(&me, None, &unlikely, &Claim::NONE).await.unwrap().id;
        world.clock.advance(DAY * 800);
        let all = wanted(&reports, "breaches", None).await;
        assert_eq!((all.period, column(&all, "id").len()), (None, 2));
        assert!(column(&all, "id").contains(&&json!(closed)));
        let week = wanted(&reports, "breaches", Some("weekly")).await;
        assert_eq!(column(&week, "id"), [&json!(open)]);
        assert_eq!(column(&wanted(&reports, "breaches", Some("900d")).await, "id").len(), 2);
    })
    .await;
}
