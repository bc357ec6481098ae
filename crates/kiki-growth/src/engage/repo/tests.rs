use kiki_store::Store;
use kiki_store::testing::{RandomIds, on_both};
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

fn message(customer_id: &str) -> Message {
    Message {
        id: MessageId::new(&RandomIds),
        customer_id: customer_id.to_owned(),
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

async fn claimed(store: &Store, id: CampaignId, run: RunId, message: &Message) -> bool {
    let mut tx = store.begin().await.unwrap();
    let claimed = messages::claim(&mut tx, &acme(), id, run, message).await.unwrap();
    tx.commit().await.unwrap();
    claimed
}

async fn recorded(store: &Store, id: CampaignId, run: RunId, message: &Message) {
    let mut tx = store.begin().await.unwrap();
    messages::record(&mut tx, &acme(), id, run, message).await.unwrap();
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
        let mut one = message("00001");
        assert!(claimed(store, id, first, &one).await);
        assert!(!claimed(store, id, first, &message("00001")).await);
        for step in [Step::Held("a-1".to_owned()), Step::Sent, Step::Captured] {
            one.step(step).unwrap();
            recorded(store, id, first, &one).await;
        }
        let late = Message { state: MessageState::Sent, ..one.clone() };
        recorded(store, id, first, &late).await;
        assert_eq!(messages::find(store, &acme(), id, "00001").await.unwrap(), Some(one));
        assert_eq!(messages::find(store, &globex(), id, "00001").await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn what_is_not_at_its_end_is_unfinished_until_a_run_has_it_in_hand() {
    on_both(async |db| {
        let (store, id, first, second) = (&db.store, kept(&db.store).await.id(), run(), run());
        let steps = [
            ("00001", vec![]),
            ("00002", vec![Step::Denied(vec!["consent".to_owned(), "cap".to_owned()])]),
            ("00003", vec![Step::Failed(REJECTED)]),
            ("00004", vec![Step::Captured]),
            ("00005", vec![Step::Held("a-5".to_owned())]),
        ];
        for (customer_id, steps) in steps {
            let mut message = message(customer_id);
            claimed(store, id, first, &message).await;
            for step in steps {
                message.step(step).unwrap();
            }
            recorded(store, id, first, &message).await;
        }
        let left = async |run: RunId, limit: i64| -> Vec<String> {
            let left = messages::unfinished(store, &acme(), id, run, limit).await.unwrap();
            left.into_iter().map(|message| message.customer_id).collect()
        };
        assert_eq!(left(first, 10).await, [""; 0]);
        assert_eq!(left(second, 10).await, ["00001", "00002", "00005"]);
        assert_eq!(left(second, 1).await, ["00001"]);
        recorded(store, id, second, &message("00001")).await;
        assert_eq!(left(second, 10).await, ["00002", "00005"]);

        let counts = messages::counts(store, &acme(), id).await.unwrap();
        let counted: Vec<(&str, String, i64)> =
            counts.iter().map(|count| (count.state.as_str(), count.reasons.join("+"), count.messages)).collect();
        assert!(counted.contains(&("refused", "consent+cap".to_owned(), 1)), "{counted:?}");
        assert_eq!(counted.len(), 5);
        assert_eq!(messages::counts(store, &globex(), id).await.unwrap(), []);
        let page = messages::page(store, &acme(), id, "00003", 10).await.unwrap();
        assert_eq!(page.iter().map(|m| m.customer_id.as_str()).collect::<Vec<_>>(), ["00004", "00005"]);
    })
    .await;
}
