//! What each right comes to.

use std::sync::atomic::{AtomicBool, Ordering};

use kiki_store::personal::{Cause, Mint, PersonalStore as _};
use kiki_store::testing::on_both;
use kiki_types::{Channel, Purpose, UnixMillis};
use serde_json::json;

use super::world::{DAY, NOW, World, officer, tenant, wanted};
use crate::consent::gpc::Gpc;
use crate::subject::DecisionStore;
use crate::subject::error::SubjectError;
use crate::subject::letters::Failed;
use crate::subject::model::{Delay, Ground, Impossible, Kind, Outcome, Regime, State, reminder};
use crate::subject::repo::{self, Wanted};
use crate::subject::service::NewRequest;

#[tokio::test]
async fn who_is_erased_is_in_no_store_and_cannot_be_read_again() {
    on_both(async |db| {
        let world = World::new(db).await;
        let (person, other) = (world.person("ann@mail.example").await, world.person("bob").await);
        let id = world.ask("ann@mail.example", Kind::Deletion).await;
        let seen = world.carry_out(id).await;
        assert_eq!((seen.request.state, seen.request.outcome), (State::Completed, Some(Outcome::Whole)));
        assert_eq!(seen.customer_id, None, "nobody knows the name");
        assert_eq!((world.orders.held(person.id), world.notes.held(person.id)), (0, 0));
        assert_eq!(world.orders.held(other.id), 1, "others stay");
        assert!(world.people.by_id(&tenant(), &[person.id]).await.unwrap().is_empty());
        assert!(seen.request.details.is_empty(), "what was written went");
        let orders = seen.tasks.iter().find(|task| task.store == "orders").unwrap();
        assert_eq!((orders.is_done, orders.rows), (true, 1));
        assert_eq!(world.letters(), ["We received your request", "Your request is completed"]);
        let kinds: Vec<_> = world.entries().await.into_iter().map(|(kind, _)| kind).collect();
        assert_eq!(kinds, ["dsr.create", "dsr.vouch", "subject.erase", "dsr.complete"]);
        assert!(!world.requests.next_wave("one").await.unwrap(), "nothing is left to do");
    })
    .await;
}

#[tokio::test]
async fn many_are_erased_in_one_wave() {
    on_both(async |db| {
        let world = World::new(db).await;
        let names: Vec<_> = (0..700).map(|n| format!("c{n}")).collect();
        let mut people = Vec::new();
        for name in &names {
            people.push(world.person(name).await.id);
        }
        let wanted = names.iter().map(|name| wanted(name, Kind::Deletion)).collect();
        let made = world.requests.create(&officer(), wanted).await.unwrap();
        let ids: Vec<_> = made.iter().map(|request| request.id).collect();
        assert_eq!(world.requests.vouch_for_all(&officer(), &ids).await.unwrap(), 700);
        assert_eq!(world.requests.vouch_for_all(&officer(), &ids).await.unwrap(), 0, "once");
        world.work().await;
        let all = Wanted { state: Some(State::Completed), limit: 1_000, ..Wanted::default() };
        assert_eq!(world.requests.list(&officer(), &all).await.unwrap().len(), 700);
        assert!(world.orders.rows.lock().unwrap().is_empty());
        assert!(world.people.by_id(&tenant(), &people).await.unwrap().is_empty());
        assert!(world.letters().is_empty(), "nobody asked for mail");
    })
    .await;
}

#[tokio::test]
async fn an_export_is_kept_sealed_and_handed_out_whole() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann@mail.example").await;
        let id = world.ask("ann@mail.example", Kind::Access).await;
        let seen = world.carry_out(id).await;
        assert_eq!(seen.request.outcome, Some(Outcome::Whole));
        let kept = repo::work::export(&db.store, &seen.request, NOW).await.unwrap();
        assert!(kept[0].body[..4] != *b"PK\x03\x04", "sealed");
        let zip = world.requests.download(&officer(), id).await.unwrap();
        assert!(zip.starts_with(b"PK\x03\x04"));
        let names = String::from_utf8_lossy(&zip);
        assert!(
            ["orders/all.json", "notes/all.csv", "requests/requests.json", "manifest.json"]
                .iter()
                .all(|name| names.contains(name))
        );
        world.clock.advance(31 * DAY);
        assert!(world.requests.download(&officer(), id).await.is_err(), "its time is over");
        world.people.destroy(&tenant(), &[person.id], Cause::Request, "").await.unwrap();
        assert!(world.letters().contains(&"Your request is completed".to_owned()));
    })
    .await;
}

#[tokio::test]
async fn what_the_log_tells_of_several_people_is_told_of_each_alone() {
    on_both(async |db| {
        let world = World::new(db).await;
        let (ann, bob) = (world.person("ann").await, world.person("bob").await);
        for (name, purpose) in [("ann", Purpose::Marketing), ("bob", Purpose::Analytics)] {
            let agreed = crate::consent::Wanted::of(name.to_owned(), purpose, Channel::Any);
            world.requests.shield().give_consent(&officer(), agreed, Gpc(false)).await.unwrap();
        }
        let store = DecisionStore(world.requests.shield().clone());
        let told = store.export_all(&[&ann, &bob, &ann]).await;
        let told: Vec<_> = told.into_iter().map(|told| told.unwrap().remove(0).rows).collect();
        let purposes: Vec<Vec<_>> = told.iter().map(|rows| rows.iter().map(|row| &row["purpose"]).collect()).collect();
        assert_eq!(purposes, [["marketing"], ["analytics"], ["marketing"]]);
        assert_eq!(store.export(&bob).await.unwrap()[0].rows, told[1]);
    })
    .await;
}

#[tokio::test]
async fn a_restriction_stands_until_it_is_lifted() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        let id = world.ask("ann", Kind::Restriction).await;
        assert_eq!(world.carry_out(id).await.request.state, State::Completed);
        assert!(world.orders.restricted.lock().unwrap()[&person.id]);
        world.requests.lift(&officer(), id).await.unwrap();
        assert!(!world.orders.restricted.lock().unwrap()[&person.id]);
    })
    .await;
}

#[tokio::test]
async fn an_objection_is_known_where_people_are_profiled_until_they_agree_again() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        let id = world.ask("ann", Kind::Objection).await;
        assert_eq!(world.carry_out(id).await.request.state, State::Completed);
        assert!(world.orders.objected.lock().unwrap()[&person.id], "every store is told");
        let objects = async || world.people.resolve(&tenant(), "ann", Mint::No).await.unwrap().unwrap().objected;
        assert!(objects().await);
        let mut agreed = crate::consent::Wanted::of("ann".to_owned(), Purpose::Profiling, Channel::Any);
        (agreed.lift.wanted, agreed.evidence) = (true, Some("form 7".to_owned()));
        world.requests.shield().give_consent(&officer(), agreed, Gpc(false)).await.unwrap();
        assert!(!objects().await, "they agreed again");
    })
    .await;
}

/// Who agrees again does so at shield; a service with a database of its own would leave them out for ever.
#[tokio::test]
async fn services_apart_are_told_that_somebody_agreed_again_as_soon_as_they_answer() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        let set = |flag: &AtomicBool, to| flag.store(to, Ordering::SeqCst);
        set(&world.orders.is_apart, true);
        let object = async || {
            let id = world.ask("ann", Kind::Objection).await;
            assert_eq!(world.carry_out(id).await.request.state, State::Completed);
        };
        let agree = async || {
            let mut agreed = crate::consent::Wanted::of("ann".to_owned(), Purpose::Profiling, Channel::Any);
            (agreed.lift.wanted, agreed.evidence) = (true, Some("form 7".to_owned()));
            world.requests.shield().give_consent(&officer(), agreed, Gpc(false)).await.unwrap();
        };
        let is_left_out = || world.orders.objected.lock().unwrap()[&person.id];
        let left = async || world.requests.tell_waiting(&mut 0).await.unwrap();
        object().await;
        agree().await;
        assert!(is_left_out());
        set(&world.orders.fails, true);
        assert_eq!((left().await, is_left_out()), (1, true), "it is away");
        set(&world.orders.fails, false);
        assert_eq!((left().await, is_left_out()), (0, false));
        world.orders.objected.lock().unwrap().insert(person.id, true);
        assert_eq!((left().await, is_left_out()), (0, true), "it is told once");

        object().await;
        agree().await;
        object().await;
        assert_eq!((left().await, is_left_out()), (0, true), "what is told is what stands");
        agree().await;
        let destroyed = world.people.destroy(&tenant(), &[person.id], Cause::Request, "").await.unwrap();
        assert_eq!((destroyed.gone, left().await), (vec![person.id], 0));
        assert!(is_left_out(), "of nobody nothing is told");
    })
    .await;
}

#[tokio::test]
async fn to_lift_one_restriction_takes_nothing_else_that_restricts() {
    on_both(async |db| {
        let world = World::new(db).await;
        let person = world.person("ann").await;
        let restricted = || world.orders.restricted.lock().unwrap()[&person.id];
        let (one, other) = (world.ask("ann", Kind::Restriction).await, world.ask("ann", Kind::Restriction).await);
        world.carry_out(one).await;
        world.carry_out(other).await;
        world.requests.lift(&officer(), one).await.unwrap();
        world.requests.lift(&officer(), one).await.unwrap();
        assert!(restricted(), "the other one stands");
        world.write().await;
        let told = world.letters().into_iter().filter(|subject| subject == "Your restriction ends").count();
        assert_eq!(told, 1, "once, however often it is lifted");

        let deletion = world.ask("ann", Kind::Deletion).await;
        world.notes.fails.store(true, Ordering::SeqCst);
        world.write().await;
        world.requests.vouch(&officer(), deletion).await.unwrap();
        world.work().await;
        world.requests.lift(&officer(), other).await.unwrap();
        assert!(restricted(), "who is being erased stays restricted");
    })
    .await;
}

#[tokio::test]
async fn an_opt_out_is_followed_without_proof() {
    on_both(async |db| {
        let world = World::new(db).await;
        let id = world.ask("ann", Kind::OptOut).await;
        world.work().await;
        let request = world.see(id).await.request;
        assert_eq!((request.state, request.regime), (State::Completed, Regime::Ccpa));
        assert_eq!(world.requests.day_of(request.due_at), "2026-02-26", "15 business days");
    })
    .await;
}

#[tokio::test]
async fn who_is_not_known_is_told_so() {
    on_both(async |db| {
        let world = World::new(db).await;
        for kind in [Kind::Access, Kind::Portability, Kind::Deletion, Kind::Rectification] {
            let correction =
                (kind == Kind::Rectification).then(|| json!({"city": "Bonn"}).as_object().cloned().unwrap());
            let id = world.ask_with(NewRequest { correction, notify: true, ..wanted(kind.as_str(), kind) }).await;
            assert_eq!(world.carry_out(id).await.request.outcome, Some(Outcome::NothingHeld), "{kind}");
            let said = world.post.taken.lock().unwrap().last().unwrap().body.clone();
            assert!(said.contains("We hold nothing"), "{said}");
        }
    })
    .await;
}

#[tokio::test]
async fn time_is_extended_once_and_only_while_there_is_some() {
    on_both(async |db| {
        let world = World::new(db).await;
        let id = world.ask("ann", Kind::Access).await;
        let extended = world.requests.extend(&officer(), id, Delay::Complexity).await.unwrap();
        assert_eq!((extended.state, world.requests.day_of(extended.due())), (State::Received, "2026-05-05".to_owned()));
        let again = world.requests.extend(&officer(), id, Delay::Number).await;
        assert!(matches!(again, Err(SubjectError::State(Impossible(State::Received)))), "once");
        world.write().await;
        assert_eq!(world.letters(), ["We received your request", "Your request takes longer"]);
        let said = world.post.taken.lock().unwrap().last().unwrap().body.clone();
        assert!(said.contains("because it is complex"), "{said}");
        world.requests.vouch(&officer(), id).await.unwrap();
        assert_eq!(world.state(id).await, State::Extended);

        let late = world.ask("bob", Kind::Access).await;
        world.clock.advance(29 * DAY);
        let refused = world.requests.extend(&officer(), late, Delay::Complexity).await;
        assert!(matches!(refused, Err(SubjectError::NoExtension)), "its last day is over");
        let opt_out = world.requests.create(&officer(), vec![wanted("cem", Kind::OptOut)]).await.unwrap()[0].id;
        assert!(world.requests.extend(&officer(), opt_out, Delay::Number).await.is_err());
    })
    .await;
}

#[tokio::test]
async fn what_nobody_proves_in_time_is_refused_and_reminded_of_before() {
    on_both(async |db| {
        let world = World::new(db).await;
        let id = world.ask("ann", Kind::Access).await;
        world.requests.send_code(&officer(), id).await.unwrap();
        for _ in 0..30 {
            world.clock.advance(DAY);
            while world.requests.remind().await.unwrap() > 0 {}
        }
        let request = world.see(id).await.request;
        assert_eq!((request.state, request.ground), (State::Refused, Some(Ground::IdentityNotProven)));
        assert_eq!(request.reminded, reminder::OF_DUE);
        let told: Vec<_> =
            world.entries().await.into_iter().filter(|(kind, _)| kind.starts_with("subject_request.")).collect();
        let said: Vec<_> = told.iter().map(|(kind, left)| (kind.as_str(), left.as_str())).collect();
        let due = "subject_request.due";
        let left = ["half the time is over", "a week left", "three days left", "a day left"].map(|left| (due, left));
        assert_eq!(said, [&left[..], &[("subject_request.overdue", "")]].concat());
        let overdue = repo::overdue(&db.store, &tenant(), world.requests.now()).await.unwrap();
        assert_eq!(overdue, 0, "it has ended");
    })
    .await;
}

#[tokio::test]
async fn who_was_not_asked_who_they_are_is_not_refused_for_it() {
    on_both(async |db| {
        let world = World::new(db).await;
        let received_at = Some(NOW.plus(-60 * 86_400_000));
        let entered_late = NewRequest { received_at, notify: true, ..wanted("ann", Kind::Access) };
        let late = world.ask_with(entered_late).await;
        let unasked = world.ask("bob", Kind::Access).await;
        let unwritten = world.ask("cem", Kind::Access).await;
        world.write().await;
        world.requests.send_code(&officer(), late).await.unwrap();
        world.write().await;
        world.post.rejects.store(true, Ordering::SeqCst);
        world.requests.send_code(&officer(), unwritten).await.unwrap();
        world.requests.next_letters("one", &mut Failed::new()).await.unwrap();
        world.post.rejects.store(false, Ordering::SeqCst);
        let refuse = async || while world.requests.remind().await.unwrap() > 0 {};
        refuse().await;
        world.clock.advance(13 * DAY);
        refuse().await;
        assert_eq!(world.state(late).await, State::IdentityCheck, "somebody asked has 14 days, however late it is");
        world.clock.advance(47 * DAY);
        refuse().await;
        assert_eq!(world.state(late).await, State::Refused);
        assert_eq!(world.state(unasked).await, State::IdentityCheck, "nobody asked");
        assert_eq!(world.state(unwritten).await, State::IdentityCheck, "the code never left");
        assert_eq!(repo::overdue(&db.store, &tenant(), world.requests.now()).await.unwrap(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_officer_refuses_what_has_not_begun_and_nothing_else() {
    on_both(async |db| {
        let world = World::new(db).await;
        world.person("ann").await;
        let id = world.ask("ann", Kind::Deletion).await;
        world.requests.refuse(&officer(), id, Ground::LegalObligation).await.unwrap();
        world.write().await;
        let said = world.post.taken.lock().unwrap().last().unwrap().body.clone();
        assert!(said.contains("the law obliges us to keep the data"), "{said}");
        assert!(matches!(world.requests.vouch(&officer(), id).await, Err(SubjectError::State(_))), "it has ended");

        let begun = world.ask("ann", Kind::Deletion).await;
        world.notes.fails.store(true, Ordering::SeqCst);
        world.requests.vouch(&officer(), begun).await.unwrap();
        world.work().await;
        let refused = world.requests.refuse(&officer(), begun, Ground::Excessive).await;
        assert!(matches!(refused, Err(SubjectError::Running)), "some is erased already");
    })
    .await;
}

#[tokio::test]
async fn requests_are_counted_and_listed_for_their_tenant_alone() {
    on_both(async |db| {
        let world = World::new(db).await;
        let mut ids = Vec::new();
        for n in 0..5 {
            ids.push(world.ask(&format!("c{n}"), Kind::Access).await);
        }
        let mut found = Vec::new();
        let mut page = Wanted { limit: 2, ..Wanted::default() };
        loop {
            let seen = world.requests.list(&officer(), &page).await.unwrap();
            let Some(last) = seen.last() else { break };
            page.after = Some((last.request.received_at, last.request.id));
            found.extend(seen.iter().map(|seen| (seen.request.id, seen.customer_id.clone().unwrap())));
        }
        ids.sort_unstable_by_key(ToString::to_string);
        assert_eq!(found.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ids);
        let other = "other".parse().unwrap();
        assert!(repo::find(&db.store, &other, ids[0]).await.unwrap().is_none());
        assert!(repo::list(&db.store, &other, &Wanted { limit: 9, ..Wanted::default() }).await.unwrap().is_empty());
        let (from, to) = (NOW, NOW.plus(1));
        let tallies = repo::tallies(&db.store, &tenant(), from, to).await.unwrap();
        assert_eq!((tallies.len(), tallies[0].count), (1, 5));
        assert!(repo::tallies(&db.store, &other, from, to).await.unwrap().is_empty());
        assert!(repo::tallies(&db.store, &tenant(), UnixMillis(0), NOW).await.unwrap().is_empty());
        let due = Wanted { due_before: Some(NOW), limit: 9, ..Wanted::default() };
        assert!(repo::list(&db.store, &tenant(), &due).await.unwrap().is_empty());
        world.clock.advance(30 * DAY);
        assert_eq!(repo::overdue(&db.store, &tenant(), world.requests.now()).await.unwrap(), 5);
    })
    .await;
}
