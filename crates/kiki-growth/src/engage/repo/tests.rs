use kiki_store::personal::{Cause, Mint, Subject};
use kiki_store::testing::{People, RandomIds, on_both};
use kiki_store::{Columns as _, Store};
use kiki_types::id::{CampaignId, MessageId};
use kiki_types::{Currency, IdSource as _, Money, TenantId, UnixMillis};

use super::{campaigns, messages};
use crate::engage::campaign::{Audience, Campaign, Offer, RunId, Status};
use crate::engage::message::{Message, MessageState, REJECTED, Step};
use crate::engage::template::Text;

const NOW: UnixMillis = UnixMillis(1_770_000_000_000);

fn acme() -> TenantId {
    "acme".parse().unwrap()
}

fn globex() -> TenantId {
    "globex".parse().unwrap()
}

fn campaign() -> Campaign {
    Campaign {
        offer: Offer {
            campaign: CampaignId::new(&RandomIds),
            account: "growth/winback".to_owned(),
            cost: Money::new(350_000, Currency::USD),
            subject: Text::parse("We miss you").unwrap(),
            body: Text::parse("Dear {customer_id}").unwrap(),
        },
        name: "Win-back".to_owned(),
        audience: Audience { value_min: Some(0.1), horizon_weeks: Some(39.0), ..Audience::default() },
        budget: Money::new(5_000_000, Currency::USD),
        created_at: NOW,
        status: Status::Ready,
        runs: 0,
        run_until: UnixMillis(0),
    }
}

async fn person(people: &People, customer_id: &str) -> Subject {
    people.resolve(&acme(), customer_id, Mint::Yes).await.unwrap().unwrap()
}

fn message(to: &Subject) -> Message {
    Message {
        id: MessageId::new(&RandomIds),
        to: to.into(),
        state: MessageState::Pending,
        attempt: 1,
        authorization: None,
        reasons: Vec::new(),
        value: "42.17".to_owned(),
        probability_alive: "0.31".to_owned(),
        updated_at: NOW,
    }
}

fn run() -> RunId {
    RunId(RandomIds.uuid())
}

async fn kept(store: &Store) -> Campaign {
    let campaign = campaign();
    let mut tx = store.begin().await.unwrap();
    campaigns::insert(&mut tx, &acme(), &campaign).await.unwrap();
    tx.commit().await.unwrap();
    campaign
}

async fn claimed(store: &Store, to: &Subject, id: CampaignId, run: RunId, message: &Message) -> bool {
    let mut tx = store.begin().await.unwrap();
    let claimed = messages::claim(&mut tx, to, id, run, message).await.unwrap();
    tx.commit().await.unwrap();
    claimed
}

async fn recorded(store: &Store, run: RunId, message: &Message) {
    let mut tx = store.begin().await.unwrap();
    messages::record(&mut tx, &acme(), run, message).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_campaign_reads_back_as_it_was_kept_and_only_by_its_tenant() {
    on_both(async |db| {
        let campaign = kept(&db.store).await;
        assert_eq!(campaigns::find(&db.store, &acme(), campaign.id()).await.unwrap(), Some(campaign.clone()));
        assert_eq!(campaigns::find(&db.store, &globex(), campaign.id()).await.unwrap(), None);
        assert_eq!(campaigns::list(&db.store, &globex(), None, 10).await.unwrap(), []);
        assert_eq!(campaigns::list(&db.store, &acme(), Some(campaign.id()), 10).await.unwrap(), []);
        assert_eq!(campaigns::list(&db.store, &acme(), None, 10).await.unwrap(), [campaign]);
    })
    .await;
}

#[tokio::test]
async fn a_campaign_has_one_run_until_its_lease_ends() {
    on_both(async |db| {
        let (store, id) = (&db.store, kept(&db.store).await.id());
        let (first, second) = (run(), run());
        let until = NOW.plus(1_000);
        let mut tx = store.begin().await.unwrap();
        assert!(campaigns::start(&mut tx, &acme(), id, first, NOW, until).await.unwrap());
        assert!(!campaigns::start(&mut tx, &acme(), id, second, NOW.plus(999), until).await.unwrap());
        assert!(!campaigns::start(&mut tx, &globex(), id, second, until, until).await.unwrap());
        assert!(campaigns::extend(&mut tx, &acme(), id, first, until.plus(1)).await.unwrap());
        assert!(!campaigns::start(&mut tx, &acme(), id, second, until, until.plus(9)).await.unwrap());
        assert!(campaigns::start(&mut tx, &acme(), id, second, until.plus(1), until.plus(9)).await.unwrap());
        assert!(!campaigns::extend(&mut tx, &acme(), id, first, until).await.unwrap());
        assert!(!campaigns::end(&mut tx, &acme(), id, first, Status::Failed).await.unwrap());
        assert!(campaigns::end(&mut tx, &acme(), id, second, Status::Completed).await.unwrap());
        tx.commit().await.unwrap();
        let campaign = campaigns::find(store, &acme(), id).await.unwrap().unwrap();
        assert_eq!((campaign.status, campaign.runs), (Status::Completed, 2));
    })
    .await;
}

#[tokio::test]
async fn a_customer_has_one_message_of_a_campaign_and_what_is_captured_stays() {
    on_both(async |db| {
        let (store, id, first) = (&db.store, kept(&db.store).await.id(), run());
        let people = People::of(store).await;
        let ann = person(&people, "00001").await;
        let mut one = message(&ann);
        assert!(claimed(store, &ann, id, first, &one).await);
        assert!(!claimed(store, &ann, id, first, &message(&ann)).await);
        for step in [Step::Held("a-1".to_owned()), Step::Sent, Step::Captured] {
            one.step(step).unwrap();
            recorded(store, first, &one).await;
        }
        let late = Message { state: MessageState::Sent, ..one.clone() };
        recorded(store, first, &late).await;
        assert_eq!(messages::find(store, &ann, id).await.unwrap(), Some(one));
        let elsewhere = people.resolve(&globex(), "00001", Mint::Yes).await.unwrap().unwrap();
        assert_eq!(messages::find(store, &elsewhere, id).await.unwrap(), None);
        assert_eq!(messages::page(store, &people, &globex(), id, "", 10).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_at_its_end_is_unfinished_until_a_run_has_it_in_hand() {
    on_both(async |db| {
        let (store, id, first, second) = (&db.store, kept(&db.store).await.id(), run(), run());
        let people = People::of(store).await;
        let steps = [
            ("00001", vec![]),
            ("00002", vec![Step::Denied(vec!["consent".to_owned(), "cap".to_owned()])]),
            ("00003", vec![Step::Failed(REJECTED)]),
            ("00004", vec![Step::Captured]),
            ("00005", vec![Step::Held("a-5".to_owned())]),
        ];
        for (customer_id, steps) in steps {
            let to = person(&people, customer_id).await;
            let mut message = message(&to);
            claimed(store, &to, id, first, &message).await;
            for step in steps {
                message.step(step).unwrap();
            }
            recorded(store, first, &message).await;
        }
        let left = async |run: RunId, limit: i64| -> Vec<Message> {
            messages::unfinished(store, &people, &acme(), id, run, limit).await.unwrap()
        };
        let names = |left: &[Message]| {
            let mut names: Vec<String> = left.iter().map(|message| message.to.customer_id.clone()).collect();
            names.sort();
            names
        };
        assert_eq!(left(first, 10).await, []);
        let all = left(second, 10).await;
        assert_eq!(names(&all), ["00001", "00002", "00005"]);
        assert!(all.iter().all(|message| (&*message.value, &*message.probability_alive) == ("42.17", "0.31")));
        assert_eq!(left(second, 1).await, all[..1]);
        recorded(store, second, &all[0]).await;
        assert_eq!(left(second, 10).await, all[1..]);
        // Who was erased has none left.
        people.destroy(&acme(), &[all[1].to.handle], Cause::Request, "").await.unwrap();
        assert_eq!(left(second, 10).await, all[2..]);

        let counts = messages::counts(store, &acme(), id).await.unwrap();
        let counted: Vec<(&str, String, i64)> =
            counts.iter().map(|count| (count.state.as_str(), count.reasons.join("+"), count.messages)).collect();
        assert!(counted.contains(&("refused", "consent+cap".to_owned(), 1)), "{counted:?}");
        assert_eq!(counted.len(), 5);
        assert_eq!(messages::counts(store, &globex(), id).await.unwrap(), []);
        let first = messages::page(store, &people, &acme(), id, "", 2).await.unwrap();
        let rest = messages::page(store, &people, &acme(), id, &first[1].place, 10).await.unwrap();
        assert_eq!((first.len(), rest.len()), (2, 3));
        let named = first.iter().chain(&rest).filter(|outcome| outcome.customer_id.is_some());
        assert_eq!(named.count(), 4, "the one who was erased is nobody");
    })
    .await;
}

#[tokio::test]
async fn no_byte_of_a_message_tells_whom_it_is_for_or_what_they_are_worth() {
    on_both(async |db| {
        let (store, id, first) = (&db.store, kept(&db.store).await.id(), run());
        let people = People::of(store).await;
        let ann = person(&people, "ann.miller@example.com").await;
        claimed(store, &ann, id, first, &message(&ann)).await;
        let rows = sqlx::query("SELECT subject, sealed FROM engage_message").fetch_all(store.pool()).await.unwrap();
        let sealed = rows[0].bytes_opt("sealed").unwrap().unwrap();
        let holds = |text: &str| sealed.windows(text.len()).any(|part| part == text.as_bytes());
        assert!(!holds("ann.miller") && !holds("42.17") && !holds("0.31"));
        assert_eq!(rows[0].text("subject").unwrap(), ann.id.to_string());
    })
    .await;
}
